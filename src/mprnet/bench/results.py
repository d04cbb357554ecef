"""What a bench finds: a line for each case that was timed, and what is compared with what."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass
from typing import Any, NamedTuple

from mprnet.evaluation.protocols import to_json

STRAIGHTFORWARD = "straightforward"
"""The name of the engine that all others are compared with."""


class Case(NamedTuple):
    """What is timed: a network on pictures of one size, in one engine.

    Attributes:
        network: the name of a preset, or of weights.
        size_hw: height and width of the pictures in pixels.
        batch: how many pictures at a time.
        engine: `straightforward`, or the name of a backend.
        precision: what convolutions compute with.
        stage: 1, 2 or 3, where the network is left.
    """

    network: str
    size_hw: tuple[int, int]
    batch: int
    engine: str
    precision: str
    stage: int

    def __str__(self) -> str:
        height, width = self.size_hw
        batch = f", {self.batch} at a time" if self.batch > 1 else ""
        return f"{self.network} {width}×{height}{batch}, stage {self.stage}, {self.engine} {self.precision}"

    @property
    def group(self) -> tuple[str, tuple[int, int], int]:
        """What cases must share to be compared: network, size and batch."""
        return self[:3]


class Skipped(NamedTuple):
    """A case, or an engine with a precision, that was not timed, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Line:
    """One case, timed.

    Attributes:
        case: what was timed.
        macs: multiply-accumulates of the network as it is written, up to the stage; an engine may compute fewer.
        seconds: what each run took.
        first_seconds: what the first run took, in which engines prepare for the size.
        memory_bytes: what a process held at most that did only this, torch itself included; of a GPU, what torch held
            there. None where it was not measured.
        psnr_change_db: what the pictures' mean PSNR gains or, below zero, loses against the straightforward way.
    """

    case: Case
    macs: int
    seconds: tuple[float, ...]
    first_seconds: float
    memory_bytes: int | None = None
    psnr_change_db: float | None = None

    @property
    def median(self) -> float:
        """Seconds of the middle run."""
        return statistics.median(self.seconds)

    @property
    def megapixels(self) -> float:
        """Pixels of one run, of all its pictures, in millions."""
        height, width = self.case.size_hw
        return self.case.batch * height * width / 1e6

    @property
    def operations_per_second(self) -> float:
        """Two for each multiply-accumulate of the network as it is written."""
        return 2 * self.macs / self.median


@dataclass(frozen=True)
class Bench:
    """All that was found.

    Attributes:
        machine: processor or GPU, threads and versions, as text by name.
        peaks: operations a second at best, by precision, a multiply-accumulate counted as two.
        lines: what was timed.
        skipped: what was not.
    """

    machine: dict[str, str]
    peaks: dict[str, float]
    lines: tuple[Line, ...]
    skipped: tuple[Skipped, ...]

    def groups(self) -> list[tuple[Line, ...]]:
        """Return the lines that can be compared: those of one network, size and batch together."""
        groups: dict[tuple[object, ...], list[Line]] = {}
        for line in self.lines:
            groups.setdefault(line.case.group, []).append(line)
        return [tuple(lines) for lines in groups.values()]

    def speed_up(self, line: Line) -> float | None:
        """Return how many times faster a case is than the whole network the straightforward way, by medians."""
        base = self._line(line.case._replace(engine=STRAIGHTFORWARD, precision="fp32", stage=3))
        return None if base is None else base.median / line.median

    def share_of_peak(self, line: Line) -> float | None:
        """Return which part of the measured peak of its precision a case reaches; above 1 where it computes less."""
        peak = self.peaks.get(line.case.precision)
        return None if peak is None else line.operations_per_second / peak

    def over_share(self, line: Line) -> float | None:
        """Return an early exit's part of the time over its part of the operations; 1 is fair, above it is a loss."""
        whole = self._line(line.case._replace(stage=3))
        if whole is None or line.case.stage == 3:
            return None
        return (line.median / whole.median) / (line.macs / whole.macs)

    def to_json(self) -> str:
        """Return everything as JSON, the derived figures included."""
        report = {
            "machine": self.machine,
            "peak_gop_per_second": {precision: peak / 1e9 for precision, peak in self.peaks.items()},
            "lines": [self._entries(line) for line in self.lines],
            "skipped": [skipped._asdict() for skipped in self.skipped],
        }
        return to_json(report)

    def _entries(self, line: Line) -> dict[str, Any]:
        entries = line.case._asdict() | dataclasses.asdict(line)
        del entries["case"]
        return entries | {
            "median_seconds": line.median,
            "seconds_per_megapixel": line.median / line.megapixels,
            "gop_per_second": line.operations_per_second / 1e9,
            "speed_up": self.speed_up(line),
            "share_of_peak": self.share_of_peak(line),
            "over_share": self.over_share(line),
        }

    def _line(self, case: Case) -> Line | None:
        return next((line for line in self.lines if line.case == case), None)

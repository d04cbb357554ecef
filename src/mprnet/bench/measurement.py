"""The bench: every engine on the same pictures, in turn, and what each costs in time, memory and quality."""

from __future__ import annotations

import dataclasses
import math
import platform
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import psutil
import torch

from mprnet import __version__
from mprnet.backends.cache import version_of
from mprnet.backends.choice import processor
from mprnet.bench.engines import Engine
from mprnet.bench.memory import Alone, peak_memory
from mprnet.bench.peak import peak_operations
from mprnet.bench.results import STRAIGHTFORWARD, Bench, Case, Line, Skipped
from mprnet.checkpoints import load_checkpoint
from mprnet.errors import ConfigError, DataError, MPRNetError
from mprnet.evaluation.folders import pair_pictures, read_pixels
from mprnet.evaluation.metrics import rgb_psnr
from mprnet.imaging import crop, pad_to_multiple, to_pixels, to_tensor
from mprnet.network import SIZE_MULTIPLE, MPRNet, preset, stage_costs
from mprnet.restoration.memory import OutOfMemory, fitting, free_bytes, watched
from mprnet.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from mprnet.bench.plan import Plan
    from mprnet.imaging import Pixels

_LIBRARIES = ("torch", "openvino", "onnxruntime")
_FAILURES = (MPRNetError, OutOfMemory, RuntimeError)
"""What keeps one engine from being measured, and not the others."""


class Progress(NamedTuple):
    """How far a bench is.

    Attributes:
        doing: what is under way.
        done: how much of the work is done, 0 to 1.
        bench: what is known so far.
    """

    doing: str
    done: float
    bench: Bench


def run(plan: Plan, watch: Callable[[Progress], None] = lambda _: None) -> Bench:
    """Measure what a plan asks for.

    Engines that are not installed, precisions that they do not have, and pictures too large for the memory are told
    in `Bench.skipped`, and do not keep the rest from being measured.

    Args:
        plan: what to measure.
        watch: called before each step; whoever stops the run keeps the last `Progress.bench`.

    Raises:
        ConfigError: there is no such device here.
        CheckpointError, DataError, ImageError: the weights or the pairs cannot be read.

    Example:
        >>> from mprnet.bench import Plan
        >>> tiny = Plan(backends=("torch",), precisions=("fp32",), sizes_hw=((32, 32),), runs=1, memory=False)
        >>> [line.case.engine for line in run(tiny).lines]
        ['straightforward', 'torch']
    """
    bench = _Run(plan, watch)
    bench.measure()
    return bench.found()


@dataclass
class _Entrant:
    """A case that is being measured."""

    case: Case
    engine: Engine
    macs: int
    first_seconds: float
    seconds: list[float] = field(default_factory=list)
    memory_bytes: int | None = None
    psnr_change_db: float | None = None

    def line(self) -> Line:
        seconds = tuple(self.seconds)
        return Line(self.case, self.macs, seconds, self.first_seconds, self.memory_bytes, self.psnr_change_db)


class _Network(NamedTuple):
    """A network to measure, and where its weights and their quantized network lie."""

    name: str
    model: MPRNet
    weights: Path | None
    int8: Path | None


class _Run:
    """A bench under way."""

    def __init__(self, plan: Plan, watch: Callable[[Progress], None]) -> None:
        self._plan = plan
        self._watch = watch
        self._device = _device(plan.device)
        self._machine = _machine(self._device)
        self._networks = _networks(plan)
        for network in self._networks:
            network.model.config.require(min(plan.stages))
        self._pairs = _read_pairs(plan.pairs)
        self._peaks: dict[str, float] = {}
        self._entrants: list[_Entrant] = []
        self._skipped: list[Skipped] = []
        self._costs = {  # by network, size and batch, of each case
            (network.name, size_hw, batch): {
                cost.stage: cost.macs * batch for cost in stage_costs(network.model.config, size_hw)
            }
            for network in self._networks
            for size_hw in plan.sizes_hw
            for batch in plan.batches
        }
        asked = [stage for stage in plan.stages for _ in plan.engines]
        self._total = sum(costs[3] + sum(costs[stage] for stage in asked) for costs in self._costs.values())
        self._done = 0.0

    def found(self) -> Bench:
        lines = tuple(entrant.line() for entrant in self._entrants if entrant.seconds)
        return Bench(self._machine, dict(self._peaks), lines, tuple(self._skipped))

    def measure(self) -> None:
        for precision in dict.fromkeys(precision for _, precision in [(None, "fp32"), *self._plan.engines]):
            self._tell(f"what this machine can do in {precision}")
            if (peak := peak_operations(precision, self._device)) is not None:
                self._peaks[precision] = peak
        for network in self._networks:
            engines = self._open(network)
            entrants = [
                entrant
                for size_hw in self._plan.sizes_hw
                for batch in self._plan.batches
                for entrant in self._measure(network, engines, size_hw, batch)
            ]
            self._compare(network, entrants)

    def _open(self, network: _Network) -> list[Engine]:
        """Open every engine that there is, the straightforward way first."""
        engines = [Engine(network.model, STRAIGHTFORWARD, "fp32", 3, self._device)]
        for name, precision in self._plan.engines:
            self._tell(f"{network.name}: preparing {name} {precision}")
            try:
                # One a stage: some engines keep no more than two compiled networks.
                engines += [
                    Engine(network.model, name, precision, stage, self._device, network.int8)
                    for stage in self._plan.stages
                ]
            except (MPRNetError, RuntimeError) as error:
                self._skipped.append(Skipped(f"{network.name} {name} {precision}", _first_line(error)))
                for (network_name, *_), costs in self._costs.items():
                    if network_name == network.name:
                        self._done += sum(costs[stage] for stage in self._plan.stages)
        return engines

    def _measure(
        self, network: _Network, engines: Sequence[Engine], size_hw: tuple[int, int], batch: int
    ) -> list[_Entrant]:
        """Time all engines in turn on pictures of one size, then ask each for its memory."""
        shape = (batch, network.model.config.in_channels, *size_hw)
        try:
            degraded = _pictures(shape, self._device)
        except OutOfMemory as failure:
            height, width = size_hw
            what = f"{network.name} {width}×{height}, {batch} at a time"
            self._skipped.append(Skipped(what, _first_line(failure)))
            self._done += sum(self._costs[network.name, size_hw, batch][engine.stage] for engine in engines)
            return []
        costs = self._costs[network.name, size_hw, batch]
        parts = 1 + self._plan.runs + self._plan.memory
        present = []
        for engine in engines:
            case = Case(network.name, size_hw, batch, engine.name, engine.precision, engine.stage)
            macs = costs[engine.stage]
            self._tell(f"{case}: preparing", macs / parts)
            try:
                first_seconds = _prepared(engine, degraded)
            except _FAILURES as failure:
                self._skipped.append(Skipped(str(case), _first_line(failure)))
                self._done += macs * (1 - 1 / parts)
            else:
                present.append(_Entrant(case, engine, macs, first_seconds))
        self._entrants += present
        for number in range(self._plan.runs):
            for entrant in tuple(present):
                self._tell(f"{entrant.case}: run {number + 1} of {self._plan.runs}", entrant.macs / parts)
                try:
                    with watched():
                        entrant.seconds.append(entrant.engine.seconds(degraded))
                except _FAILURES as failure:
                    self._skipped.append(Skipped(str(entrant.case), _first_line(failure)))
                    self._done += entrant.macs * (self._plan.runs - number - 1 + self._plan.memory) / parts
                    self._entrants.remove(entrant)
                    present.remove(entrant)
        for entrant in present if self._plan.memory else ():
            self._tell(f"{entrant.case}: memory", entrant.macs / parts)
            entrant.memory_bytes = peak_memory(self._alone(network, entrant.case))
        return present

    def _alone(self, network: _Network, case: Case) -> Alone:
        return Alone(
            config=dataclasses.asdict(network.model.config),
            weights=None if network.weights is None else str(network.weights),
            int8=None if network.int8 is None else str(network.int8),
            engine=case.engine,
            precision=case.precision,
            stage=case.stage,
            shape=(case.batch, network.model.config.in_channels, *case.size_hw),
            device=str(self._device),
            threads=torch.get_num_threads(),
        )

    def _compare(self, network: _Network, entrants: Sequence[_Entrant]) -> None:
        """Measure what each engine changes of the pairs' PSNR; it is the same at every size of the bench."""
        psnr_db: dict[tuple[str, str, int], float] = {}
        for entrant in entrants if self._pairs else ():
            engine = entrant.engine
            if engine.name == STRAIGHTFORWARD:
                continue
            key, base = (engine.name, engine.precision, engine.stage), (STRAIGHTFORWARD, "fp32", engine.stage)
            self._tell(f"{entrant.case}: PSNR")
            try:
                if base not in psnr_db:
                    psnr_db[base] = self._psnr(Engine(network.model, *base, self._device))
                if key not in psnr_db:
                    psnr_db[key] = self._psnr(engine)
            except _FAILURES as failure:  # its times hold
                self._skipped.append(Skipped(f"{entrant.case}: PSNR", _first_line(failure)))
            else:
                # Both may be infinite, where they give the target itself.
                entrant.psnr_change_db = 0.0 if psnr_db[key] == psnr_db[base] else psnr_db[key] - psnr_db[base]

    def _psnr(self, engine: Engine) -> float:
        """Return the mean over the pairs."""
        each = []
        for degraded, target in self._pairs:
            padded = pad_to_multiple(to_tensor(degraded).unsqueeze(0), SIZE_MULTIPLE)
            restored = crop(engine.run(padded)[0], degraded.shape[:2])
            is_deep = target.dtype.itemsize == 2
            pixels = to_pixels(restored, 16 if is_deep else 8)
            each.append(rgb_psnr(pixels, target, data_range=65535 if is_deep else 255))
        return fmean(each)

    def _tell(self, doing: str, work: float = 0) -> None:
        """Say what comes, and count it as done at the next word."""
        self._watch(Progress(doing, min(1.0, self._done / self._total), self.found()))
        self._done += work


def _pictures(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw pictures, where the memory suffices."""
    needed = 4 * math.prod(shape)
    for place in {torch.device("cpu"), device}:
        if not fitting(free := free_bytes(place), needed):
            raise OutOfMemory(f"needs {needed / 1e9:.1f} GB for the pictures, and of the {free / 1e9:.1f} GB free half")
    with watched():
        return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device)


def _prepared(engine: Engine, degraded: Tensor) -> float:
    """Prepare an engine for pictures of this size, where the memory suffices, and return what the first run took."""
    needed = engine.backend.bytes_per_pixel(engine.stage) * degraded.numel() // degraded.shape[1]
    free = free_bytes(engine.device)
    if not fitting(free, needed):
        raise OutOfMemory(f"needs about {needed / 1e9:.1f} GB of memory, and of the {free / 1e9:.1f} GB free half")
    with watched():
        return engine.prepare(degraded)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _networks(plan: Plan) -> list[_Network]:
    if plan.weights is None:
        torch.manual_seed(0)
        return [_Network(name, MPRNet(preset(name)), None, None) for name in plan.presets]
    path = find_weights(plan.weights)
    return [_Network(path.stem, load_checkpoint(path), path, path.with_suffix(".int8.xml"))]


def _read_pairs(paths: tuple[Path, Path] | None) -> list[tuple[Pixels, Pixels]]:
    if paths is None:
        return []
    pairing = pair_pictures(*paths)
    for name, reason in pairing.unpaired.items():
        raise DataError(f"{name}: {reason}")
    pairs = []
    for pair in pairing.pairs:
        degraded, target = read_pixels(pair.restored), read_pixels(pair.target)
        if degraded.shape != target.shape:
            raise DataError(
                f"{pair.restored} has {degraded.shape} and {pair.target} {target.shape}; expected one shape"
            )
        pairs.append((degraded, target))
    return pairs


def _device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name!r}, and the number of GPUs that torch can use here is {torch.cuda.device_count()}; "
            "expected cpu, or one of those"
        )
    return device


def _machine(device: torch.device) -> dict[str, str]:
    """Describe what is measured, as text by name."""
    machine = {"processor": processor(), "threads": str(torch.get_num_threads())}
    if device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    machine["memory"] = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    machine["system"] = platform.platform(terse=True)
    machine["mprnet"] = __version__
    return machine | {library: number for library in _LIBRARIES if (number := version_of(library))}

"""What an evaluation found, picture by picture."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from mprnet.errors import DataError
from mprnet.evaluation.paper import ablation_of
from mprnet.evaluation.protocols import Score, mean_score
from mprnet.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

INPUT, TARGET = "input", "target"
"""What the degraded picture and the ground truth go by, beside the outputs of a method."""

_CSV_COLUMNS = (
    "dataset",
    "method",
    "sigma",
    "picture",
    "height",
    "width",
    "seconds",
    "output",
    "psnr",
    "ssim",
    "failed",
)


class PictureResult(NamedTuple):
    """What came of one picture.

    Attributes:
        size_hw: height and width in pixels.
        seconds: what restoring it took, without reading and scoring.
        scores: by `input` and by output, such as `stage3`; empty where there is no ground truth, and without `input`
            where that could not be aligned.
        sha256: of the pixels that were measured, degraded picture and ground truth.
        is_warm: whether its process had restored a picture of this size before.
        tile_px: the side of the tiles it was restored in; None where it was whole.
    """

    size_hw: tuple[int, int]
    seconds: float
    scores: dict[str, Score]
    sha256: str = ""
    is_warm: bool = False
    tile_px: int | None = None

    @property
    def pixels_per_second(self) -> float:
        return math.prod(self.size_hw) / self.seconds if self.seconds else math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "size_hw": list(self.size_hw),
            "seconds": self.seconds,
            "scores": {output: score._asdict() for output, score in self.scores.items()},
            "sha256": self.sha256,
            "is_warm": self.is_warm,
            "tile_px": self.tile_px,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned."""
        scores = {output: Score(**score) for output, score in stored["scores"].items()}
        height, width = stored["size_hw"]
        noted = (stored["sha256"], stored["is_warm"], stored["tile_px"])
        return cls((height, width), stored["seconds"], scores, *noted)


class StageResult(NamedTuple):
    """What leaving the network after a stage costs, all stages before it included.

    Attributes:
        stage: 1, 2 or 3.
        parameters: how many the stages up to this one use. The paper's Table 7 leaves out what is neither encoder,
            decoder nor fusion in the first two.
        macs: multiply-accumulates for a picture of `size_hw`.
        seconds: for that picture, measured the second time it is restored.
        size_hw: height and width in pixels.
    """

    stage: int
    parameters: int
    macs: int
    seconds: float
    size_hw: tuple[int, int]


@dataclass
class Results:
    """What an evaluation found.

    Attributes:
        settings: all that the scores depend on: data set, protocol, method with the hash of its weights, noise,
            version. Results of other settings are never mixed with these.
        outputs: what the method returns, in order; the last one is its result.
        total: how many pictures were to be measured.
        expected: how many the whole test set has.
        images: what came of each picture that was measured, in the order of the test set.
        failed: for each picture that was not, the reason in one line.
        stages: what leaving the network after each stage costs; empty for other methods.
        environment: versions and device, for the record; of all that measured, where it went on elsewhere.
    """

    settings: dict[str, Any]
    outputs: tuple[str, ...]
    total: int
    expected: int
    images: dict[str, PictureResult] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stages: list[StageResult] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """Note the versions and the device of what is measured beside those of what was.

        Example:
            >>> results = Results({}, ("restored",), 0, 0, environment={"torch": "2.12", "numpy": "2.1"})
            >>> results.add_environment({"torch": "2.13", "numpy": "2.1"})
            >>> results.environment
            {'torch': '2.12; 2.13', 'numpy': '2.1'}
        """
        for name, now in environment.items():
            past = self.environment.get(name, now)
            self.environment[name] = "; ".join(dict.fromkeys(f"{past}; {now}".split("; ")))

    @property
    def is_complete(self) -> bool:
        """Whether every picture of the test set was measured."""
        return not self.failed and len(self.images) == self.total and self.expected == self.total

    @property
    def coverage(self) -> str:
        """What the mean is over, in words: `100 pictures`, or `only 99 of 100 pictures`."""
        whole = max(self.total, self.expected)
        measured = len(self.images)
        pictures = "picture" if whole == 1 else "pictures"
        return f"{measured} {pictures}" if measured == whole else f"only {measured} of {whole} {pictures}"

    @property
    def label(self) -> str:
        """What was measured, in words: `short_label`, and what a network of Table 6 is and lacks."""
        config = self.settings["method"].get("config", {})
        if "combination" not in config:
            return self.short_label
        network = ablation_of(config, 0)
        lacks = " and ".join(name for name, given in (("SAM", network.sam), ("CSFF", network.csff)) if not given)
        return f"{self.short_label}, {network.combination}" + (f" without {lacks}" if lacks else "")

    @property
    def short_label(self) -> str:
        """The weights or the method, and what is not one pass of the whole network."""
        method = self.settings["method"]
        parts = [str(method.get("weights") or method["name"])]
        if self.outputs[-1] in ("stage1", "stage2"):
            parts.append(self.outputs[-1].replace("stage", "stage "))
        parts += [word for word, given in (("local pooling", "local"), ("ensemble", "ensemble")) if method.get(given)]
        if method.get("scales", 1) > 1:
            parts.append(f"{method['scales']} scales")
        if method.get("precision") == "int8":
            parts.append("int8")
        return ", ".join(parts)

    @property
    def in_tiles(self) -> str:
        """What was not restored whole, in words, such as `2 pictures in tiles of 256`; empty where all were."""
        tiled = [image.tile_px for image in self.images.values() if image.tile_px is not None]
        sides = " or ".join(map(str, sorted(set(tiled))))
        return f"{len(tiled)} picture{'s' * (len(tiled) > 1)} in tiles of {sides}" if tiled else ""

    @property
    def has_scores(self) -> bool:
        """Whether there is ground truth to measure against."""
        return any(image.scores for image in self.images.values())

    @property
    def seconds(self) -> float:
        """What restoring all pictures took, of all processes together."""
        return math.fsum(image.seconds for image in self.images.values())

    @property
    def timed(self) -> list[PictureResult]:
        """The pictures that tell the speed; the first of a size in its process does only where none follows."""
        warm = {image.size_hw for image in self.images.values() if image.is_warm}
        return [image for image in self.images.values() if image.is_warm or image.size_hw not in warm]

    @property
    def seconds_each(self) -> float | None:
        """What restoring a picture takes, the mean over `timed`; None where nothing was measured."""
        return fmean(image.seconds for image in self.timed) if self.images else None

    @property
    def pixels_per_second(self) -> float:
        """The speed over `timed`, of one process."""
        return pixels_per_second(self.timed)

    def means(self) -> dict[str, Score]:
        """Return the mean scores over the measured pictures, by `input` and by output; empty without ground truth.

        That of the input is over those that could be aligned, and is missing where there are none.
        """
        scores = [image.scores for image in self.images.values()]
        by_output = {output: [one[output] for one in scores if output in one] for output in (INPUT, *self.outputs)}
        return {output: mean_score(each) for output, each in by_output.items() if each}

    def mean(self) -> Score | None:
        """Return the mean score of the method's result; None without ground truth."""
        return self.means().get(self.outputs[-1])

    def to_dict(self) -> dict[str, Any]:
        """Return it as `results.json` has it.

        `protocol`, `mean.psnr`, `mean.ssim` and `images.NAME.psnr`, `.ssim` are as in the JSON of `mprnet metrics`, for
        the method's result; beside them stand the scores of the input and of every output.
        """
        means = self.means()
        whole: dict[str, Any] = {
            "protocol": self.settings["protocol"],
            "mean": self._with_last(means) if means else None,
            "measured": len(self.images),
            "total": self.total,
            "expected": self.expected,
            "complete": self.is_complete,
            "seconds": self.seconds,
            "seconds_each": self.seconds_each,
            "pixels_per_second": self.pixels_per_second,
            "settings": self.settings,
            "outputs": list(self.outputs),
            "stages": [stage._asdict() for stage in self.stages],
            "environment": self.environment,
            "images": {
                name: {**image.to_dict(), "pixels_per_second": image.pixels_per_second, **self._last(image.scores)}
                for name, image in self.images.items()
            },
        }
        if self.failed:
            whole["failed"] = self.failed
        return whole

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned."""
        return cls(
            settings=stored["settings"],
            outputs=tuple(stored["outputs"]),
            total=stored["total"],
            expected=stored["expected"],
            images={name: PictureResult.from_dict(image) for name, image in stored["images"].items()},
            failed=dict(stored.get("failed", {})),
            stages=[StageResult(**{**stage, "size_hw": tuple(stage["size_hw"])}) for stage in stored["stages"]],
            environment=stored["environment"],
        )

    def _last(self, scores: Mapping[str, Score]) -> dict[str, float]:
        return scores[self.outputs[-1]]._asdict() if scores else {}

    def _with_last(self, scores: Mapping[str, Score]) -> dict[str, Any]:
        return {**self._last(scores), **{output: score._asdict() for output, score in scores.items()}}


def to_csv(runs: list[Results]) -> str:
    """Return a row a picture and output, the input among them; a picture that failed has its reason in the last column.

    Example:
        >>> print(to_csv([Results({"dataset": "set", "method": {"name": "dct"}}, ("restored",), 0, 0)]).strip())
        dataset,method,sigma,picture,height,width,seconds,output,psnr,ssim,failed
    """
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(_CSV_COLUMNS)
    for run in runs:
        noise = run.settings.get("noise") or {}
        first = (run.settings["dataset"], run.settings["method"]["name"], noise.get("sigma", ""))
        for name, image in run.images.items():
            about = (*first, name, *image.size_hw, f"{image.seconds:.4f}")
            for output, score in image.scores.items():
                rows.writerow((*about, output, f"{score.psnr:.4f}", f"{score.ssim:.6f}", ""))
            if not image.scores:
                rows.writerow((*about, run.outputs[-1], "", "", ""))
        for name, reason in run.failed.items():
            rows.writerow((*first, name, "", "", "", "", "", "", reason))
    return out.getvalue()


def write_text(path: Path, text: str) -> None:
    r"""Write a file whole or not at all.

    What is no text in the name of a file is written as `\udce9`, which JSON reads as that name again.

    Raises:
        DataError: it cannot be written.
    """
    try:
        with written_whole(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def pixels_per_second(images: Sequence[PictureResult]) -> float:
    """Return the speed over these pictures, of one process."""
    seconds = math.fsum(image.seconds for image in images)
    return sum(math.prod(image.size_hw) for image in images) / seconds if seconds else math.inf

"""What an evaluation found, picture by picture: the journal it is taken up from, `results.json` and `results.csv`."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from mprnet.errors import DataError
from mprnet.evaluation.averages import PictureMeans
from mprnet.evaluation.protocols import Score
from mprnet.files import PathLike, written_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

INPUT, TARGET = "input", "target"
"""What the degraded picture and the ground truth go by, beside the outputs of a method."""

RESULTS_JSON, RESULTS_CSV = "results.json", "results.csv"
_JOURNALS = "results.rank*.jsonl"
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
        scores: by `input` and by output, such as `stage3`; empty where there is no ground truth.
        sha256: of the pixels that were measured, degraded picture and ground truth; empty where nobody noted it.
        is_warm: whether its process had restored a picture of this size before.
        tile_px: the side of the tiles it was restored in; None where it was whole, or where nobody noted it.
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
        """Read what `to_dict` returned, also as earlier versions wrote it."""
        scores = {output: Score(**score) for output, score in stored["scores"].items()}
        height, width = stored["size_hw"]
        later = {key: stored[key] for key in ("sha256", "is_warm", "tile_px") if key in stored}
        return cls((height, width), stored["seconds"], scores, **later)


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
        expected: how many the whole test set has; None where nobody says.
        images: what came of each picture that was measured, in the order of the test set.
        failed: for each picture that was not, the reason in one line.
        stages: what leaving the network after each stage costs; empty for other methods.
        environment: versions and device, for the record; of all that measured, where it went on elsewhere.
    """

    settings: dict[str, Any]
    outputs: tuple[str, ...]
    total: int
    expected: int | None = None
    images: dict[str, PictureResult] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stages: list[StageResult] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """Note the versions and the device of what is measured beside those of what was.

        Example:
            >>> results = Results({}, ("restored",), 0, environment={"torch": "2.12", "numpy": "2.1"})
            >>> results.add_environment({"torch": "2.13", "numpy": "2.1"})
            >>> results.environment
            {'torch': '2.12; 2.13', 'numpy': '2.1'}
        """
        for name, now in environment.items():
            past = self.environment.get(name, now)
            self.environment[name] = past if now in past.split("; ") else f"{past}; {now}"

    @property
    def is_complete(self) -> bool:
        """Whether every picture of the test set was measured."""
        return not self.failed and len(self.images) == self.total and self.expected in (None, self.total)

    @property
    def coverage(self) -> str:
        """What the mean is over, in words: `100 pictures`, or `only 99 of 100 pictures`."""
        whole = max(self.total, self.expected or 0)
        measured = len(self.images)
        pictures = "picture" if whole == 1 else "pictures"
        return f"{measured} {pictures}" if measured == whole else f"only {measured} of {whole} {pictures}"

    @property
    def label(self) -> str:
        """What was measured, in words: the weights or the method, and what is not one pass of the whole network."""
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
        """Return the mean scores over the measured pictures, by `input` and by output; empty without ground truth."""
        if not self.has_scores:
            return {}
        means = PictureMeans()
        for name, image in self.images.items():
            flat = {
                f"{output} {measure}": v for output, s in image.scores.items() for measure, v in s._asdict().items()
            }
            means.add(name, flat)
        mean = means.compute()
        return {output: Score(mean[f"{output} psnr"], mean[f"{output} ssim"]) for output in (INPUT, *self.outputs)}

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
            settings=as_now(stored["settings"]),
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


class Journal:
    """Results as they come, a line a picture, so that a run that is interrupted loses no picture that was done.

    Args:
        folder: where the journals of all processes lie, and `results.json` of a run that ended.
        settings: of this run.
        outputs: of its method; results with others are those of another run.
        rank: of this process; each writes a journal of its own.
        environment: of this process, noted beside what it measures.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        outputs: tuple[str, ...],
        rank: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._header = {"settings": dict(settings), "outputs": list(outputs)}
        self._environment = dict(environment or {})
        self._has_environment = False
        self._own = folder / _JOURNALS.replace("*", str(rank))

    def read(self) -> Results | None:
        """Return what earlier runs of these settings found; None where there were none.

        Raises:
            DataError: the folder has results of other settings or of several methods, or they cannot be read.
        """
        earlier: Results | None = None
        with _readable(self._folder):
            stored = _finished(self._folder)
            if "runs" in stored:
                raise DataError(
                    f"{self._folder} holds the results of several methods; choose another folder, or overwrite them"
                )
            if stored:
                self._check(self._folder / RESULTS_JSON, stored)
                earlier = Results.from_dict(stored)
            for path in sorted(self._folder.glob(_JOURNALS)):
                header, *lines = _whole_lines(path) or [None]
                if header is None:
                    continue
                self._check(path, header)
                earlier = earlier or Results(header["settings"], tuple(header["outputs"]), 0)
                for line in lines:
                    if "name" in line:
                        earlier.images[line["name"]] = PictureResult.from_dict(line)
                    else:
                        earlier.add_environment(line["environment"])
        return earlier

    def add(self, name: str, image: PictureResult) -> None:
        """Write down what came of a picture, on the disk when this returns.

        Raises:
            DataError: it cannot be written.
        """
        lines: list[Any] = [{"name": name, **image.to_dict()}]
        if not self._has_environment:
            lines.insert(0, {"environment": self._environment})
        if not self._own.exists():
            lines.insert(0, self._header)
        try:
            with self._own.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            self._has_environment = True
        except OSError as error:
            raise DataError(f"{self._own} cannot be written: {error.strerror or error}") from error

    def mend(self) -> None:
        """Cut off the line of this process that an interruption left half written."""
        if self._own.exists():
            content = self._own.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if not whole:
                self._own.unlink()
            elif whole != content:
                os.truncate(self._own, len(whole))

    def finish(self, results: Results) -> None:
        """Write `results.json` and `results.csv`, which take the place of the journals of all processes."""
        write_results(self._folder, [results])
        for path in self._folder.glob(_JOURNALS):
            path.unlink()

    def _check(self, path: Path, stored: Mapping[str, Any]) -> None:
        """Raise DataError unless the results of a file are of these settings and outputs."""
        was, now = (
            _flat({**as_now(header["settings"]), "outputs": header["outputs"]})
            for header in (stored, json.loads(json.dumps(self._header)))
        )
        if was == now:
            return
        first = next((key for key in {**was, **now} if was.get(key) != now.get(key)), "settings")
        raise DataError(
            f"{path} holds results of another run: {first} was {was.get(first)}, now it is {now.get(first)}; "
            "choose another folder, or overwrite them"
        )


def forget(folder: Path) -> None:
    """Remove the results that a folder holds, of whatever settings.

    Raises:
        DataError: they cannot be removed.
    """
    try:
        for path in (*folder.glob(_JOURNALS), folder / RESULTS_JSON, folder / RESULTS_CSV):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error.strerror or error}") from error


def as_now(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they are noted now: local pooling as what it came to, where `auto` was."""
    now = dict(settings)
    method = now.get("method", {})
    if method.get("local") == "auto":
        from mprnet.restoration.restorer import CROP_PX

        now["method"] = {**method, "local": method["crop_px"] >= CROP_PX}
    return now


def read_results(folder: PathLike) -> list[Results]:
    """Return what `results.json` of a folder holds: the results of one method, or of several.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    folder = Path(folder)
    with _readable(folder):
        stored = _finished(folder)
        if not stored:
            raise DataError(f"{folder} holds no {RESULTS_JSON}; expected a folder that mprnet evaluate has written")
        return [Results.from_dict(one) for one in stored.get("runs", [stored])]


def check_for_several(folder: Path) -> None:
    """Make sure that the results of several methods would replace none of a single run.

    Raises:
        DataError: the folder has results of a single run, or they cannot be read.
    """
    with _readable(folder):
        stored = _finished(folder)
        if (stored and "runs" not in stored) or any(folder.glob(_JOURNALS)):
            raise DataError(f"{folder} holds the results of a single run; choose another folder, or overwrite them")


def write_results(folder: Path, runs: list[Results]) -> None:
    """Write `results.json` and `results.csv`, each whole or not at all.

    Args:
        folder: an existing folder.
        runs: one, which `results.json` then holds as it is, or several, which stand under `runs`.
    """
    whole = runs[0].to_dict() if len(runs) == 1 else {"runs": [run.to_dict() for run in runs]}
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    # JSON has no word for infinity; parsers read this number as one.
    write_text(folder / RESULTS_JSON, re.sub(r"(?m)(: )Infinity(,?)$", r"\g<1>1e999\2", text) + "\n")
    write_text(folder / RESULTS_CSV, to_csv(runs))


def to_csv(runs: list[Results]) -> str:
    """Return a row a picture and output, the input among them; a picture that failed has its reason in the last column.

    Example:
        >>> print(to_csv([Results({"dataset": "set", "method": {"name": "dct"}}, ("restored",), 0)]).strip())
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


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say in one line that what a folder holds are no results as they are written here."""
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{folder} holds results that cannot be read ({error}); choose another folder, or overwrite them"
        ) from error


def _finished(folder: Path) -> dict[str, Any]:
    """Return what `results.json` of a folder holds; nothing where there is none."""
    path = folder / RESULTS_JSON
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return stored


def _whole_lines(path: Path) -> list[Any]:
    """Return the lines of a journal; the last one is left out where its end was not written any more."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat

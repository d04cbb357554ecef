"""A benchmark run: restore, score, keep. What is interrupted goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numpy as np
import torch

from mprnet import __version__
from mprnet.backends.cache import version_of
from mprnet.backends.choice import processor
from mprnet.checkpoints import read_metadata
from mprnet.errors import ConfigError, DataError, ImageError, MissingExtraError
from mprnet.evaluation.journal import Journal, check_for_several, forget, write_results
from mprnet.evaluation.metrics import AlignmentError
from mprnet.evaluation.processes import Processes
from mprnet.evaluation.protocols import Score, get_protocol, score
from mprnet.evaluation.results import INPUT, TARGET, PictureResult, Results, StageResult
from mprnet.evaluation.submission import forget_submission, keep_unscored, still_kept, write_submission
from mprnet.files import PathLike
from mprnet.network import SIZE_MULTIPLE, stage_costs
from mprnet.restoration.journal import sha256_of
from mprnet.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mprnet.datasets.benchmarks import Benchmark
    from mprnet.datasets.layouts import Item, ItemPictures
    from mprnet.restoration import Restorer

    Picture = NDArray[Any]
    Restore = Callable[..., Mapping[str, Picture]]

T = TypeVar("T")

_ONE_PICTURE = (ImageError, DataError, MissingExtraError, OSError, MemoryError, torch.OutOfMemoryError)
"""What may be wrong with one picture and leaves the others to be measured."""


@dataclass(frozen=True)
class Method:
    """Something that restores pictures, and what tells it from others.

    Attributes:
        name: `mprnet`, or that of a baseline.
        restore: takes `(H, W, 3)`, float32 in [0, 1]; returns a picture of this form for each of `outputs`.
        outputs: in order; the last one is the result.
        facts: all that its pictures depend on, as JSON takes it, such as the hash of its weights or its settings.
            Without any, nothing tells it from what it was before, and every run measures it anew.
        restorer: the network, where it is one.
        takes_name: whether `restore` takes the picture's name as well, as what was restored elsewhere needs it.
    """

    name: str
    restore: Restore
    outputs: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    restorer: Restorer | None = None
    takes_name: bool = False

    def restored(self, degraded: Picture, name: str) -> Mapping[str, Picture]:
        """Return what `restore` makes of the picture of this name."""
        return self.restore(degraded, name) if self.takes_name else self.restore(degraded)

    @property
    def stages(self) -> tuple[int, ...]:
        """The stages whose pictures a network returns."""
        return tuple(int(output.removeprefix("stage")) for output in self.outputs) if self.restorer else ()


class Run(NamedTuple):
    """A test set and a method for it; `noise` is what was put into the pictures, `sigma` and `seed`."""

    benchmark: Benchmark
    method: Method
    noise: Mapping[str, float] | None = None

    @property
    def label(self) -> str:
        """A name of the run, fit for a folder."""
        return f"{self.method.name}-sigma{self.noise['sigma']:g}" if self.noise else self.method.name


class Watch(NamedTuple):
    """A picture that is done: `done` of `total` of this process, and what came of it or why nothing did."""

    name: str
    done: int
    total: int
    outcome: PictureResult | str


def network_method(
    restorer: Restorer, weights: PathLike, *, stage: int | None = None, trained_on: str | None = None
) -> Method:
    """Measure a network.

    Args:
        restorer: the network.
        weights: the file it was loaded from, or its shipped name; the file's hash is kept with the results.
        stage: 1, 2 or 3, the one stage to measure, later ones not being computed; without it all, at one scale from one
            pass.
        trained_on: the sets that the weights learned from, separated by commas, where their file does not say it.

    Raises:
        ConfigError: there is no such stage, or the file of the weights says that they were trained on something else.
        CheckpointError: the weights cannot be read.
    """
    if stage not in (None, 1, 2, 3):
        raise ConfigError(f"stage is {stage!r}; expected 1, 2 or 3, or none for all")
    stages = restorer.model.config.stages if stage is None else (stage,)

    def restore(degraded: Picture) -> dict[str, Picture]:
        tensor = torch.from_numpy(degraded).permute(2, 0, 1)
        pictures = restorer.stages(tensor).computed if stage is None else (restorer(tensor, stage=stage),)
        return {
            f"stage{number}": picture.permute(1, 2, 0).numpy() for number, picture in zip(stages, pictures, strict=True)
        }

    weights = find_weights(weights)
    metadata = read_metadata(weights)
    says, trained_on = metadata.get("trained_on", ""), ", ".join(re.split(r"\s*,\s*", trained_on or ""))
    names = says.split(", ")
    if trained_on and "unknown" in names:  # of weights that training began with
        says = ", ".join(dict.fromkeys([*trained_on.split(", "), *(name for name in names if name != "unknown")]))
    elif says and trained_on not in ("", says):
        raise ConfigError(f"{weights} says that it was trained on {says}; got {trained_on}")
    of_run = weights.stem in ("best", "last")  # the same in every folder of a run, which then tells them apart
    facts: dict[str, Any] = {
        "weights": f"{weights.resolve().parent.name}/{weights.stem}" if of_run else weights.name,
        "sha256": sha256_of(weights),
        "config": restorer.model.config.entries(),
        "task": metadata.get("task", ""),
        "trained_on": says or trained_on,
        "tile_px": restorer.tile_px,
        "overlap_px": restorer.overlap_px,
        "max_whole_px": restorer.max_whole_px,
        "local": restorer.is_local,
        "crop_px": restorer.crop_px,
        "ensemble": restorer.ensemble,
        "scales": restorer.scales,
        "backend": restorer.backend.name,
        "precision": restorer.backend.precision,
    }
    if restorer.ensemble:
        facts["upright"] = restorer.upright
    if restorer.int8 and restorer.backend.precision == "int8":  # a network of its own, which may be quantized anew
        facts["quantized_sha256"] = [sha256_of(restorer.int8.with_suffix(ending)) for ending in (".xml", ".bin")]
    return Method("mprnet", restore, tuple(f"stage{number}" for number in stages), facts, restorer)


def baseline_method(name: str, *, sigma: float | None = None) -> Method:
    """Measure a method that needs no training.

    Args:
        name: a key of `mprnet.evaluation.baselines.BASELINES`.
        sigma: the noise it is told, of white = 255; without it, it estimates the noise itself where it needs to know.

    Raises:
        ConfigError: there is no such method.
    """
    from mprnet.evaluation.baselines import BASELINES

    if name not in BASELINES:
        raise ConfigError(f"unknown method {name!r}; expected mprnet, {', '.join(BASELINES)}")
    baseline = BASELINES[name]
    told = sigma if baseline.needs == "sigma" else None
    facts = {"description": baseline.description, "sigma": told}
    return Method(name, lambda degraded: {"restored": baseline(degraded, sigma=told)}, ("restored",), facts)


def evaluate_all(
    runs: Sequence[Run],
    folder: PathLike,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    processes: Processes | None = None,
    watch: Callable[[Watch], None] = lambda _: None,
) -> list[Results]:
    """Evaluate several methods, or one at several strengths of noise, and write their results together.

    Args:
        runs: each is evaluated in a folder of its label below `folder`; a single one in `folder` itself.
        folder: where `results.json` and `results.csv` of all runs are written.
        limit: as for `evaluate`, for each run.
        overwrite: as for `evaluate`.
        processes: as for `evaluate`.
        watch: as for `evaluate`.

    Raises:
        ConfigError: two runs have one label, or as `evaluate`.
        DataError: `folder` holds the results of a single run and there are several, or as `evaluate`.
    """
    folder, processes = Path(folder), processes or Processes()
    labels = [run.label for run in runs]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"a method or a noise is given twice: {', '.join(labels)}")
    if len(runs) > 1:
        _of_first(processes, lambda: (forget if overwrite else check_for_several)(folder))
    found = [
        evaluate(
            run,
            folder if len(runs) == 1 else folder / run.label,
            limit=limit,
            overwrite=overwrite,
            processes=processes,
            watch=watch,
        )
        for run in runs
    ]
    if len(runs) > 1 and processes.is_first:
        write_results(folder, found)
    return found


def evaluate(
    run: Run,
    folder: PathLike | None = None,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    processes: Processes | None = None,
    watch: Callable[[Watch], None] = lambda _: None,
) -> Results:
    """Restore the pictures of a test set and score them as its protocol says.

    A picture that cannot be read, restored or measured is named in the results and stops no other. Where several
    processes share the work, all of them call this, and all get the same results. A picture that earlier runs measured
    is measured again where its pixels, or those of its ground truth, are others now.

    Args:
        run: the test set and the method.
        folder: where a journal is kept, from which a run of the same settings goes on after an interruption, unless
            its method has no facts, and at the end `results.json` and `results.csv`; it is made where it is missing.
            Without one, nothing is written.
        limit: measure only the first so many pictures.
        overwrite: forget what earlier runs left in `folder`.
        processes: who shares the work; without it, this one does it alone.
        watch: called in each process after each of its pictures.

    Raises:
        ConfigError: `limit` is not above 0.
        DataError: the set is empty, or `folder` holds results of other settings or of more pictures.
    """
    benchmark, method = run.benchmark, run.method
    folder, processes = None if folder is None else Path(folder), processes or Processes()
    if limit is not None and limit < 1:
        raise ConfigError(f"the limit is {limit}; expected at least one picture")
    items = list(benchmark.items[:limit])
    if not items:
        raise DataError(f"{benchmark.name} holds no pictures")
    settings = _settings(run)
    results = Results(settings, method.outputs, len(items), benchmark.expected_count)
    environment = _environment(method)
    journal = _open_journal(folder, settings, method.outputs, environment, processes, overwrite)
    earlier = _of_first(processes, lambda: _earlier(journal, items))
    if earlier and method.facts:
        unchanged = results.images = _unchanged(earlier.images, items, processes)
        if folder and benchmark.name == "dnd":
            results.images = _of_first(processes, lambda: still_kept(folder, earlier.images, unchanged))
        results.environment = earlier.environment if results.images else {}
        results.stages = earlier.stages if len(results.images) == len(earlier.images) else []

    mine = processes.share([item for item in items if item.name not in results.images])
    measured: dict[str, PictureResult] = {}
    sizes: set[tuple[int, int]] = set()
    for done, item in enumerate(mine, 1):
        outcome = _outcome(item, run, folder)
        if isinstance(outcome, str):
            results.failed[item.name] = outcome
        else:
            outcome = outcome._replace(is_warm=outcome.size_hw in sizes)
            sizes.add(outcome.size_hw)
            measured[item.name] = outcome
            if journal:
                journal.add(item.name, outcome)
        watch(Watch(item.name, done, len(mine), outcome))

    for images, failed, of_process in processes.gather((measured, results.failed, environment)):
        results.images |= images
        results.failed |= failed
        if images or not results.environment:
            results.add_environment(of_process)
    order = [item.name for item in items]
    results.images = {name: results.images[name] for name in order if name in results.images}
    results.failed = {name: results.failed[name] for name in order if name in results.failed}
    if processes.is_first and not results.stages and (timed := _time_stages(method, items, results)):
        results.stages = timed
        results.add_environment(environment)
    results.stages = processes.gather(results.stages)[0]
    if journal and folder and processes.is_first:
        journal.finish(results)
        if results.is_complete and benchmark.name == "dnd":
            write_submission(folder)
    return results


def pictures_of(run: Run, name: str) -> dict[str, NDArray[np.uint8]]:
    """Restore a picture of a test set once more, to look at it.

    Args:
        run: the test set and the method.
        name: of the picture.

    Returns:
        `(H, W, 3)` uint8 by `input`, output and, where there is one, `target`.
    """
    degraded, target = next(item for item in run.benchmark.items if item.name == name).read()
    unit = _unit(degraded)
    pictures = {INPUT: unit, **run.method.restored(unit, name)}
    if target is not None:
        pictures[TARGET] = _unit(target)
    return {key: np.rint(np.clip(each, 0, 1) * 255).astype(np.uint8) for key, each in pictures.items()}


def _outcome(item: Item, run: Run, folder: Path | None) -> PictureResult | str:
    """Restore and score a picture, or say in one line why that cannot be done."""
    try:
        return _measure(item, run, folder)
    except _ONE_PICTURE as error:
        return " ".join(str(error).split()) or type(error).__name__


def _measure(item: Item, run: Run, folder: Path | None) -> PictureResult:
    method = run.method
    item_pictures = item.read()
    degraded, target = item_pictures
    protocol = get_protocol(run.benchmark.protocol) if run.benchmark.protocol else None
    scores: dict[str, Score] = {}
    if protocol:
        if target is None:
            raise DataError(f"there is no ground truth; the protocol {protocol.name} needs one")
        # First what costs little: pictures that do not fit together are found before the hard work.
        with contextlib.suppress(AlignmentError):  # what is made of such a blur may well be aligned
            scores[INPUT] = score(degraded, target, protocol)
    unit = _unit(degraded)
    start = time.perf_counter()
    pictures = {output: np.clip(picture, 0, 1) for output, picture in method.restored(unit, item.name).items()}
    seconds = time.perf_counter() - start
    if protocol and target is not None:
        scores |= {output: score(pictures[output], target, protocol) for output in method.outputs}
    elif folder:
        keep_unscored(folder, item.name, pictures[method.outputs[-1]])
    height, width = degraded.shape[:2]
    tile_px = method.restorer.last_tile_px if method.restorer else None
    return PictureResult((height, width), seconds, scores, _sha256(item_pictures), tile_px=tile_px)


def _sha256(pictures: ItemPictures) -> str:
    """Tell the pixels of a picture and its ground truth from all others."""
    digest = hashlib.sha256()
    for picture in pictures:
        if picture is not None:
            digest.update(f"{picture.dtype.str}{picture.shape}".encode())
            digest.update(picture.tobytes())
    return digest.hexdigest()


def _unit(picture: Picture) -> NDArray[np.float32]:
    """Return a picture as float32 in [0, 1]."""
    if np.issubdtype(picture.dtype, np.integer):
        return (picture / np.float32(np.iinfo(picture.dtype).max)).astype(np.float32)
    return picture.astype(np.float32)


def _time_stages(method: Method, items: Sequence[Item], results: Results) -> list[StageResult]:
    """Measure what leaving the network after each stage takes, with the first picture that could be measured.

    Each is done twice and the second time counts: the first may compile, or choose what computes.
    """
    first = next((item for item in items if item.name in results.images), None)
    if method.restorer is None or first is None:
        return []
    unit = _unit(first.read().degraded)
    tensor = torch.from_numpy(unit).permute(2, 0, 1)
    height, width = unit.shape[:2]
    padded = (height + -height % SIZE_MULTIPLE, width + -width % SIZE_MULTIPLE)
    costs = {cost.stage: cost for cost in stage_costs(method.restorer.model.config, padded)}
    timed = []
    for stage in method.stages:
        method.restorer(tensor, stage=stage)
        start = time.perf_counter()
        method.restorer(tensor, stage=stage)
        seconds = time.perf_counter() - start
        cost = costs[stage]
        timed.append(StageResult(stage, cost.parameters, cost.macs, seconds, (height, width)))
    return timed


def _open_journal(
    folder: Path | None,
    settings: Mapping[str, Any],
    outputs: tuple[str, ...],
    environment: Mapping[str, str],
    processes: Processes,
    overwrite: bool,
) -> Journal | None:
    if folder is None:
        return None
    journal = Journal(folder, settings, outputs, processes.rank, environment)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite and processes.is_first:
            forget(folder)
            forget_submission(folder)
        processes.gather(None)  # no process writes before the first one has removed what was there
        journal.mend()
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error.strerror or error}") from error
    return journal


def _of_first(processes: Processes, look: Callable[[], T]) -> T:
    """Return what the first process finds, the same in all of them, or raise its error in all of them."""
    found: T | DataError | None = None
    if processes.is_first:
        try:
            found = look()
        except DataError as error:
            found = error
    found = processes.gather(found)[0]
    if isinstance(found, DataError):
        raise found
    return cast("T", found)


def _earlier(journal: Journal | None, items: Sequence[Item]) -> Results | None:
    """Return what earlier runs found of these pictures."""
    found = journal.read() if journal else None
    if found and (others := found.images.keys() - {item.name for item in items}):
        raise DataError(
            f"the folder holds results of {len(others)} pictures that this run has not, the first is {min(others)}; "
            "choose another folder, or overwrite them"
        )
    return found


def _unchanged(
    earlier: Mapping[str, PictureResult], items: Sequence[Item], processes: Processes
) -> dict[str, PictureResult]:
    """Return those of earlier results whose pictures are still what was measured, the same in all processes."""
    same = []
    for item in processes.share([item for item in items if item.name in earlier]):
        try:
            if _sha256(item.read()) == earlier[item.name].sha256:
                same.append(item.name)
        except _ONE_PICTURE:
            continue  # measuring it says why it cannot be read
    return {name: earlier[name] for names in processes.gather(same) for name in names}


def _settings(run: Run) -> dict[str, Any]:
    benchmark, method, noise = run
    settings: dict[str, Any] = {
        "task": benchmark.task,
        "dataset": benchmark.name,
        "protocol": benchmark.protocol,
        "method": {"name": method.name, **method.facts},
        "mprnet": __version__,
    }
    if noise:
        settings["noise"] = dict(noise)
    return settings


def _environment(method: Method) -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    packages = ("torch", "numpy", "opencv-python-headless", "pillow", "scikit-image", "scipy")
    found |= {package: number for package in packages if (number := version_of(package))}
    if method.restorer is not None:
        device = next(method.restorer.model.parameters()).device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
        found["device"] = f"{device.type} ({name}), {torch.get_num_threads()} threads"
    return found

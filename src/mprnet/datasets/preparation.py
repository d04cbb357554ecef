"""Published sets made ready to train on: `input/` and `target/`, as crops or whole.

What is there is never replaced or removed. A log in the output folder tells which pictures are done, so that an
interrupted run is taken up where it stopped, and a crop is written whole or not at all.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mprnet.datasets.folders import INPUT, TARGET, read_rgb
from mprnet.datasets.layouts import FileItem, HalvesItem, Item
from mprnet.datasets.training_sets import open_training_set
from mprnet.errors import ConfigError, DataError, ImageError, MissingExtraError
from mprnet.files import remove_unfinished, written_whole
from mprnet.imaging import write_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

LOG = "prepare.log"
"""In the output folder: the settings as JSON, then the name and the `_origin` of each finished picture, one a line."""


@dataclass(frozen=True)
class GridCrops:
    """Squares that cover the picture.

    Args:
        side_px: of a square.
        overlap_px: of neighbours, at least; the last ones of a row or column end at the border.
    """

    side_px: int = 512
    overlap_px: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_px < self.side_px:
            raise ConfigError(f"crops of {self.side_px} overlap by {self.overlap_px}; expected 0 ≤ overlap < side")

    def corners(self, height: int, width: int, name: str) -> list[tuple[int, int]]:  # noqa: ARG002 (as RandomCrops)
        """Return top and left of each crop.

        Example:
            >>> len(GridCrops().corners(720, 1280, "a picture of GoPro"))
            8
        """
        tops, lefts = (self._starts(length) for length in (height, width))
        return [(top, left) for top in tops for left in lefts]

    def _starts(self, length: int) -> list[int]:
        last = length - self.side_px
        return [*range(0, last, self.side_px - self.overlap_px), last]


@dataclass(frozen=True)
class RandomCrops:
    """Squares anywhere in the picture, drawn from the seed and the picture's name.

    Args:
        side_px: of a square.
        count: squares a picture.
        seed: any integer.
    """

    side_px: int = 256
    count: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        if self.side_px < 1 or self.count < 1:
            raise ConfigError(f"{self.count} crops of {self.side_px} pixels; expected at least 1 of each")

    def corners(self, height: int, width: int, name: str) -> list[tuple[int, int]]:
        """Return top and left of each crop."""
        digest = hashlib.sha256(f"{self.seed}/".encode() + os.fsencode(name)).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        limits = (height - self.side_px + 1, width - self.side_px + 1)
        return [(int(top), int(left)) for top, left in rng.integers(limits, size=(self.count, 2))]


Crops = GridCrops | RandomCrops

DEFAULT_CROPS: dict[str, Crops] = {"gopro": GridCrops(), "sidd": RandomCrops()}
"""SIDD as the published training, GoPro in crops that are read fast and hold several of 256; others stay whole."""


class Step(NamedTuple):
    """How far a run is: `done` pictures of `total`; `failure` says in one line why the last one made nothing."""

    done: int
    total: int
    failure: str | None = None


@dataclass
class PrepareReport:
    """What came of a run.

    Attributes:
        pictures: made now, with the pairs each gave.
        earlier: pictures that an earlier run had finished.
        failed: the reason in one line, by picture.
    """

    pictures: dict[str, int] = field(default_factory=dict)
    earlier: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def prepare(
    name: str,
    source: Path | str,
    out: Path | str,
    *,
    crops: Crops | None = None,
    workers: int = 1,
    allow_partial: bool = False,
    watch: Callable[[Step], None] = lambda _: None,
) -> PrepareReport:
    """Make `out/input` and `out/target` of a published training set; a picture that fails stops no other.

    Crops are 8-bit PNG, named after their picture. Sets that stay whole are linked (a second name of the same file)
    where the file system allows it, and copied elsewhere; pictures that share a file with their ground truth become
    PNG.

    Args:
        name: a key of `TRAINING_SETS`.
        source: the folder of the set, or one that holds it.
        out: the folder to make; it may hold what an earlier run with the same settings made of the same files.
        crops: how to cut; by default `DEFAULT_CROPS`.
        workers: processes that share the work.
        allow_partial: as for `open_training_set`.
        watch: called at the beginning and after every picture.

    Raises:
        ConfigError: there is no such set, or `workers` is not positive.
        DataError: the set is incomplete; `out` is its folder, holds something else or cannot be written; or a worker
            process died.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers; expected at least 1")
    crops = crops or DEFAULT_CROPS.get(name)
    items = open_training_set(name, source, allow_partial=allow_partial).items
    out = Path(out)
    place = out.resolve()
    if place.is_relative_to(Path(source).resolve()) and any(
        place in path.resolve().parents for path in _files(items[0])
    ):
        raise DataError(f"{out} is the set itself, where what is made would be taken for it; choose another output")
    settings = {"set": name, "crops": type(crops).__name__ if crops else "whole", **(asdict(crops) if crops else {})}
    finished = _begin(out, settings)
    origins = {item.name: _origin(item) for item in items}
    _check_origins(finished, origins, Path(source), out)
    waiting = [item for item in items if item.name not in finished]
    report = PrepareReport(earlier=len(items) - len(waiting))
    watch(Step(report.earlier, len(items)))
    with (out / LOG).open("a", encoding="utf-8", errors="surrogateescape", newline="\n") as log:
        for item, outcome in _results(partial(_prepare_item, out=out, crops=crops), waiting, workers):
            if isinstance(outcome, int):
                report.pictures[item.name] = outcome
                log.write(f"{item.name}\t{origins[item.name]}\n")
                log.flush()
            else:
                report.failed[item.name] = outcome
            done = report.earlier + len(report.pictures) + len(report.failed)
            watch(Step(done, len(items), None if isinstance(outcome, int) else outcome))
    return report


def _begin(out: Path, settings: dict[str, Any]) -> dict[str, str]:
    """Make the folders, or check that they are those of an earlier run; return the origins that it noted."""
    log = out / LOG
    first = json.dumps(settings)
    try:
        for side in (INPUT, TARGET):
            folder = out / side
            if not log.exists() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise DataError(f"{folder} was not made by `mprnet prepare`; choose another output")
            folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(folder)
        remove_unfinished(out)
        if not log.exists():
            # Under its name only when the settings are in it.
            with written_whole(log) as unfinished:
                unfinished.write_bytes(f"{first}\n".encode())
        found, *lines = log.read_bytes().split(b"\n")
        if found != first.encode():
            before = found.decode(errors="replace")
            raise DataError(f"{out} was made with {before}, not with {first}; use these settings or another output")
        if lines[-1:] != [b""]:  # a name that was cut off when the run was killed
            os.truncate(log, log.stat().st_size - len(lines[-1]))
    except OSError as error:
        raise DataError(f"{out} cannot be prepared: {error.strerror}") from error
    finished = (line.decode(errors="surrogateescape").rpartition("\t") for line in lines[:-1])
    return {name: origin for name, _, origin in finished}


def _origin(item: Item) -> str:
    """Tell the files of a picture from others that go by its name: bytes and time of each."""
    found = [path.stat() for path in _files(item)]
    return " ".join(f"{file.st_size}:{file.st_mtime_ns}" for file in found)


def _files(item: Item) -> list[Path]:
    match item:
        case FileItem():
            return [item.degraded, item.target]
        case HalvesItem():
            return [item.path]
        case _:
            return []


def _check_origins(finished: dict[str, str], origins: dict[str, str], source: Path, out: Path) -> None:
    """Refuse a source whose pictures are not those that an earlier run finished."""
    for name, origin in finished.items():
        if name not in origins:
            what = f"{name}, which {source} has not"
        elif origin != origins[name]:
            what = f"{name} made from another file than that of {source}, by its size or time"
        else:
            continue
        raise DataError(f"{out} holds {what}; use the source that it was made from, or another output")


_MOST_WORKERS = 61 if sys.platform == "win32" else sys.maxsize
"""More processes than these Windows cannot wait for."""


def _results(
    work: Callable[[Item], int | str], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, int | str]]:
    if workers == 1 or len(items) < 2:
        yield from ((item, work(item)) for item in items)
        return
    # Forked processes would inherit locks that another thread of this one may hold.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(workers, len(items), _MOST_WORKERS),
        context,
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        futures = {pool.submit(work, item): item for item in items}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died, perhaps for want of memory; what is finished is kept: run again with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_item(item: Item, out: Path, crops: Crops | None) -> int | str:
    """Make the pairs of one picture; return their number, or why there are none."""
    try:
        degraded, target = item.read()
        if target is None:
            return f"{item.name} has no ground truth"
        if crops is None:
            for side, pixels in ((INPUT, degraded), (TARGET, target)):
                if isinstance(item, FileItem):
                    file = item.degraded if side == INPUT else item.target
                    _place_file(file, out / side / f"{item.name}{file.suffix.lower()}")
                else:
                    _place_pixels(pixels, out / side / f"{item.name}.png")
            return 1
        height, width = degraded.shape[:2]
        side_px = crops.side_px
        if min(height, width) < side_px:
            return (
                f"{item.name} is {width}×{height}; expected at least {side_px} pixels each way for crops of that size"
            )
        corners = crops.corners(height, width, item.name)
        digits = len(str(len(corners)))
        for number, (top, left) in enumerate(corners, 1):
            window = (slice(top, top + side_px), slice(left, left + side_px))
            for side, pixels in ((INPUT, degraded), (TARGET, target)):
                _place_pixels(pixels[window], out / side / f"{item.name}-{number:0{digits}d}.png")
        return len(corners)
    except (ImageError, DataError, MissingExtraError) as error:
        return str(error)


def _place_pixels(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write a picture, unless it is there already, from a run that was interrupted."""
    if not path.exists():
        write_image(np.ascontiguousarray(pixels), path)
    elif not np.array_equal(read_rgb(path), pixels):
        raise DataError(f"{path} is another picture, not made by this command; move it away")


def _place_file(source: Path, path: Path) -> None:
    """Give a file a second name, or copy it, unless it is there already."""
    try:
        if path.exists():
            if not filecmp.cmp(source, path, shallow=False):
                raise DataError(f"{path} is another picture, not made by this command; move it away")
            return
        try:
            path.hardlink_to(source.resolve())
        except OSError:  # another file system, or one without links
            with written_whole(path) as unfinished:
                shutil.copyfile(source, unfinished)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def usable_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

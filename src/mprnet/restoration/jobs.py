"""Files and folders of pictures: which becomes which, one after the other, and what came of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from mprnet.errors import ConfigError, ImageError
from mprnet.imaging import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mprnet.restoration.restorer import Restorer

PathLike = str | os.PathLike[str]

_MARK = "_restored"


@dataclass(frozen=True)
class Job:
    """A picture file and the file that its restoration is written to."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Failure:
    """A picture, or an input as it was given, from which nothing was made; `reason` is one line that names it."""

    source: Path
    reason: str


class Progress(NamedTuple):
    """How far a run is: `done` pictures of `total`, and the fraction of `source`, which is under work.

    `outcome` is there once `source` is done.
    """

    source: Path
    done: int
    total: int
    fraction: float
    outcome: Job | Failure | None = None


@dataclass(frozen=True)
class Report:
    """What came of a run, in its order."""

    restored: tuple[Job, ...]
    failures: tuple[Failure, ...]


def restore_files(
    restorer: Restorer,
    inputs: Sequence[PathLike],
    output: PathLike | None = None,
    *,
    stage: int = 3,
    overwrite: bool = False,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Restore picture files and folders; a picture that fails does not stop the others.

    Folders are searched with all their subfolders for PNG and JPEG files; names that begin with a dot and linked
    folders are left out. An input is never replaced, and neither is any other file unless `overwrite` is given.

    Args:
        restorer: the network to use.
        inputs: files and folders.
        output: a folder, in which files keep their names, and the files of a folder their place in it; or, for a
            single file, also a file name with the ending of a picture. Without one, `NAME.png` becomes
            `NAME_restored.png` beside it, and the folder `NAME` becomes `NAME_restored`.
        stage: 1, 2 or 3, whose picture to write.
        overwrite: replace files that exist.
        watch: called when a picture begins, now and then under work, and when it is done.

    Returns:
        Report: the pictures made, and the failures with their reasons.

    Raises:
        ConfigError: no inputs, `output` does not fit them, or as `Restorer.restore_file`.
    """
    entries = list(_plan([Path(path) for path in inputs], None if output is None else Path(output)))
    restored: list[Job] = []
    failures: list[Failure] = []
    for done, entry in enumerate(entries):
        outcome: Job | Failure = entry
        if isinstance(entry, Job):

            def progress(fraction: float, source: Path = entry.source, done: int = done) -> None:
                watch(Progress(source, done, len(entries), fraction))

            progress(0)
            try:
                restorer.restore_file(entry.source, entry.target, stage=stage, overwrite=overwrite, progress=progress)
            except ImageError as error:
                outcome = Failure(entry.source, str(error))
        if isinstance(outcome, Job):
            restored.append(outcome)
        else:
            failures.append(outcome)
        watch(Progress(entry.source, done, len(entries), 1, outcome))
    return Report(tuple(restored), tuple(failures))


def _plan(inputs: list[Path], output: Path | None) -> Iterator[Job | Failure]:
    """Say for every picture where it goes; yield a failure where it cannot go there."""
    wanted = list(_pair(inputs, output))
    sources = {_entry(job.source) for job in wanted if isinstance(job, Job)}
    taken: dict[str, Path] = {}
    for job in wanted:
        if isinstance(job, Failure):
            yield job
            continue
        source, target = _entry(job.source), _entry(job.target)
        other = taken.get(target)
        if target in sources:
            yield Failure(
                job.source, f"{job.source} would be restored to {job.target}, which is an input; choose another output"
            )
        elif other is None:
            taken[target] = job.source
            yield job
        elif _entry(other) != source:  # otherwise the same picture was given twice
            yield Failure(
                job.source,
                f"{job.source} would be restored to {job.target}, as {other} is; give them different output folders",
            )


def _pair(inputs: list[Path], output: Path | None) -> Iterator[Job | Failure]:
    """Say where every picture would go, each on its own."""
    if not inputs:
        raise ConfigError("no pictures are given; expected files or folders")
    is_file = False
    if output is not None and not _is_folder(output):
        is_file = output.suffix.lower() in Image.registered_extensions()
        if is_file and (len(inputs) > 1 or _is_folder(inputs[0])):
            raise ConfigError(f"output is the file {output}, but several pictures may be made; expected a folder")
        if not is_file and os.path.exists(output):  # noqa: PTH110 (as `_is_folder`)
            raise ConfigError(f"output is {output}, which is a file; expected a folder")
    for path in inputs:
        if _is_folder(path):
            yield from _pair_folder(path, output)
        elif output is None:
            yield Job(path, path.with_stem(path.stem + _MARK))
        else:
            yield Job(path, output if is_file else output / path.name)


def _pair_folder(folder: Path, output: Path | None) -> Iterator[Job | Failure]:
    if output is None:
        named = folder if folder.name not in ("", "..") else Path(os.path.abspath(folder))  # noqa: PTH100 (keeps links)
        output = named.parent / f"{named.name}{_MARK}"
    if _entry(output) == _entry(folder):
        raise ConfigError(f"{folder} is input and output at once; choose another output, so that no input is replaced")
    unreadable: list[OSError] = []
    empty = True
    for place, subfolders, names in os.walk(folder, onerror=unreadable.append):
        # In a fixed order, without what is hidden, and without results of an earlier run.
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and _entry(Path(place, name)) != _entry(output)
        )
        for name in sorted(names):
            source = Path(place, name)
            if not name.startswith(".") and source.suffix.lower() in FORMATS:
                empty = False
                yield Job(source, output / source.relative_to(folder))
    for error in unreadable:
        yield Failure(Path(error.filename), f"{error.filename} cannot be read: {error.strerror}")
    if empty and not unreadable:
        yield Failure(folder, f"{folder} has no PNG or JPEG files; expected at least one")


def _entry(path: Path) -> str:
    """Name the place of a file or folder in one way only; a link to a file is a place of its own."""
    return os.path.realpath(path) if _is_folder(path) else str(Path(os.path.realpath(path.parent), path.name))


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 (`Path.is_dir` fails where it may not look; reading gives the reason)

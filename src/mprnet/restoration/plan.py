"""Which file becomes which: inputs, folders and patterns to pairs of source and target."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from mprnet.errors import ConfigError
from mprnet.files import PathLike
from mprnet.imaging import FORMATS
from mprnet.imaging.video import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


LOG_NAME = "mprnet-log.jsonl"
"""What the log is called in an output folder."""

_MARK, _STRIP = "_restored", "_compare"
_EARLIER = "of an earlier run"
_WILD = re.compile(r"[*?[]")
_SYSTEM = sys.platform


@dataclass(frozen=True)
class Job:
    """A picture or video file and the file that its restoration is written to.

    `folder` is the output folder that the target belongs to; None where it stands beside its source or was named.
    """

    source: Path
    target: Path
    folder: Path | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Failure:
    """A picture, or an input as it was given, from which nothing was made; `reason` is one line that names it."""

    source: Path
    reason: str
    folder: Path | None = field(default=None, compare=False)


@dataclass(frozen=True)
class LeftOut:
    """What was found but not taken for an input: a file or folder.

    `kind` is the ending of a file that is none to restore, in small letters, or `without an ending`, `linked folder`,
    or `of an earlier run`: a folder with the log of one, or what is called `NAME_restored` beside a `NAME`.
    """

    source: Path
    kind: str


class Plan(NamedTuple):
    """What is to be done, in order, and what was left out."""

    entries: list[Job | Failure]
    left_out: list[LeftOut]


def is_video(path: Path) -> bool:
    """Tell by its name whether a file is a video."""
    return path.suffix.lower() in SUFFIXES


def beside(source: Path, ending: str | None) -> Path:
    """Return where the restoration of a file goes where no output is given, with another ending where one is given.

    Example:
        >>> beside(Path("photos/rain.png"), ".webp").name
        'rain_restored.webp'
    """
    return _ended(source.with_stem(source.stem + _MARK), ending)


def strip_of(target: Path) -> Path:
    """Return where the picture before and after is laid side by side, beside the target.

    Example:
        >>> strip_of(Path("out/a.png")).as_posix()
        'out/a_compare.jpg'
    """
    return target.with_name(f"{target.stem}{_STRIP}.jpg")


def check_ending(target: Path, ending: str | None) -> None:
    """Raise ConfigError where a picture is to be written in a format, by its ending, that its name does not say."""
    if ending is not None and FORMATS.get(target.suffix.lower()) != FORMATS[ending]:
        raise ConfigError(f"output is the file {target}, which is no {FORMATS[ending]}; name it *{ending}")


def plan(
    inputs: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    *,
    ending: str | None = None,
    compare: bool = False,
) -> Plan:
    """Say for every picture where it goes; a failure where it cannot go there.

    Args:
        inputs: as for `restore_files`.
        output: as for `restore_files`.
        ending: what the targets of pictures end in, such as `.webp`; None for that of their source.
        compare: strips before and after are written too, and need places of their own.

    Raises:
        ConfigError: no inputs, or `output` does not fit them.
    """
    if isinstance(inputs, str | os.PathLike):  # whose letters would be taken for files
        inputs = [inputs]
    if "" in (*inputs, output):  # which would stand for the current folder
        raise ConfigError("an input or the output is an empty name; expected files, folders or patterns")
    given = [at_home(name) for name in inputs]
    made_of_them = {path.parent / f"{path.name}{_MARK}" for path in given}
    results = [path for path in given if path in made_of_them and _is_result(path)]
    searched = [path for path in given if path not in results]
    found = list(_pair(searched, None if output is None else at_home(output), ending))
    named = {(job.source.parent, job.source.stem) for job in found if isinstance(job, Job)}
    wanted: list[Job | Failure] = []
    left_out = [LeftOut(path, _EARLIER) for path in results]
    for each in found:
        if isinstance(each, LeftOut):
            left_out.append(each)
        elif isinstance(each, Job) and _made_of(each.source, named):
            left_out.append(LeftOut(each.source, _EARLIER))
        else:
            wanted.append(each)
    return Plan(list(_without_clashes(wanted, compare)), sorted(left_out, key=lambda each: each.source))


def at_home(given: PathLike) -> Path:
    """Put the home folder in for a `~` that the shell has left in a name, as in `--output=~/dry`.

    A file or folder that is called `~` is itself.
    """
    path = Path(given)
    return path if path.parts and os.path.lexists(path.parts[0]) else Path(os.path.expanduser(path))  # noqa: PTH111 (fails)


def _without_clashes(wanted: list[Job | Failure], compare: bool) -> Iterator[Job | Failure]:
    sources = {_entry(job.source) for job in wanted if isinstance(job, Job) and os.path.lexists(job.source)}
    originals = {file for job in wanted if isinstance(job, Job) and (file := _file_of(job.source, links=True))}
    taken: dict[str, Path] = {}
    for job in wanted:
        if isinstance(job, Failure):
            yield job
            continue
        places = [job.target, *([strip_of(job.target)] if compare and not is_video(job.source) else [])]
        entries = [_entry(place) for place in places]
        first = taken.get(_folded(entries[0]))
        if first is not None and entries[0] not in sources and _folded(_entry(first)) == _folded(_entry(job.source)):
            continue  # the same picture given twice
        reason = None
        for place, entry in zip(places, entries, strict=True):
            if entry in sources or _file_of(place) in originals:
                reason = f"{job.source} would be restored to {place}, which is an input; choose another output"
                break
            if other := taken.get(_folded(entry)):
                reason = f"{job.source} would be restored to {place}, as {other} is; give them outputs of their own"
                break
        if reason:
            yield Failure(job.source, reason, job.folder)
        else:
            taken |= dict.fromkeys(map(_folded, entries), job.source)
            yield job


def _pair(inputs: Sequence[Path], output: Path | None, ending: str | None) -> Iterator[Job | Failure | LeftOut]:
    """Say where every picture would go, each on its own."""
    if not inputs:
        raise ConfigError("no pictures are given; expected files, folders or patterns")
    is_file = False
    if output is not None and not _is_folder(output):
        is_file = output.suffix.lower() in Image.registered_extensions() | FORMATS or is_video(output)
        if is_file and (len(inputs) > 1 or _is_folder(inputs[0]) or _wild_from(inputs[0]) is not None):
            raise ConfigError(f"output is the file {output}, but several pictures may be made; expected a folder")
        if is_file:
            check_ending(output, ending)
        if not is_file and os.path.exists(output):  # noqa: PTH110 (as `_is_folder`)
            raise ConfigError(f"output is {output}, which is a file; expected a folder")
    for path in inputs:
        if _is_folder(path):
            yield from _pair_folder(path, output, ending)
        elif (wild := _wild_from(path)) is not None:
            yield from _pair_pattern(path, wild, output, ending)
        elif output is None:
            yield Job(path, beside(path, ending))
        elif is_file:
            yield Job(path, output)
        else:
            yield Job(path, _ended(output / path.name, ending), output)


def _pair_folder(folder: Path, output: Path | None, ending: str | None) -> Iterator[Job | Failure | LeftOut]:
    root = output
    if output is None:
        named = folder if folder.name not in ("", "..") else Path(os.path.abspath(folder))  # noqa: PTH100 (keeps links)
        output = named.parent / f"{named.name}{_MARK}"
    if _entry(output) == _entry(folder):
        raise ConfigError(f"{folder} is input and output at once; choose another output, so that no input is replaced")
    unreadable: list[OSError] = []
    empty = True
    for place, subfolders, names in os.walk(folder, onerror=unreadable.append):
        # In a fixed order, without what is hidden, and without results of earlier runs, here or in folders of others.
        own = sorted(
            name for name in subfolders if not name.startswith(".") and _entry(Path(place, name)) != _entry(output)
        )
        kinds = {name: _kind_of_folder(Path(place, name)) for name in own}
        subfolders[:] = [name for name in own if kinds[name] is None]
        yield from (LeftOut(Path(place, name), kind) for name, kind in kinds.items() if kind is not None)
        for source in (Path(place, name) for name in sorted(names) if not name.startswith(".") and name != LOG_NAME):
            if source.suffix.lower() in FORMATS:
                empty = False
                yield Job(source, _ended(output / source.relative_to(folder), ending), output)
            else:
                yield LeftOut(source, _kind_of(source))
    for error in unreadable:
        yield Failure(Path(error.filename), f"{error.filename} cannot be read: {error.strerror}", root)
    if empty and not unreadable:
        yield Failure(folder, f"{folder} has no pictures; expected at least one of {', '.join(FORMATS)}", root)


def _pair_pattern(
    pattern: Path, wild: int, output: Path | None, ending: str | None
) -> Iterator[Job | Failure | LeftOut]:
    """Pair the pictures and videos that match; below `output` they keep their place below the fixed part of it."""
    base = Path(*pattern.parts[:wild])
    try:
        # `Path.glob` follows no linked folders, so no circles.
        found = sorted(path for path in base.glob(str(Path(*pattern.parts[wild:]))) if not _is_folder(path))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{str(pattern)!r} is no pattern of files: {error}") from error
    if output is not None and not _is_within(base, output):  # without what this very command has made
        found = [path for path in found if not _is_within(path.parent, output)]
    sources, results = [], set[Path]()
    for path in found:
        if any(part.startswith(".") for part in path.relative_to(base).parts) or path.name == LOG_NAME:
            continue
        ways = [base / folder for folder in path.relative_to(base).parents[:-1]]
        if result := next((folder for folder in ways if folder in results or _is_result(folder)), None):
            results.add(result)
        elif path.suffix.lower() in FORMATS or is_video(path):
            sources.append(path)
        else:
            yield LeftOut(path, _kind_of(path))
    yield from (LeftOut(folder, _EARLIER) for folder in results)
    for source in sources:
        if output is None:
            yield Job(source, beside(source, ending))
        else:
            yield Job(source, _ended(output / source.relative_to(base), ending), output)
    if not sources:
        yield Failure(pattern, f"{pattern} does not exist, and as a pattern it matches no pictures", output)


def _kind_of_folder(folder: Path) -> str | None:
    """Say why a subfolder is not searched; None where it is."""
    if folder.is_symlink():
        return "linked folder"
    return _EARLIER if _is_result(folder) else None


def _is_result(folder: Path) -> bool:
    """Tell whether a folder is what an earlier run has made: it has its log."""
    return os.path.lexists(folder / LOG_NAME)


def _kind_of(path: Path) -> str:
    return path.suffix.lower() or "without an ending"


def _made_of(path: Path, named: set[tuple[Path, str]]) -> bool:
    """Tell whether a picture is the result, or its strip, of one of those named by their folders and stems."""
    return any(
        path.stem.endswith(end) and (path.parent, path.stem.removesuffix(end)) in named
        for end in (_MARK, _MARK + _STRIP)
    )


def _ended(target: Path, ending: str | None) -> Path:
    return target if ending is None or is_video(target) else target.with_suffix(ending)


def _wild_from(given: Path) -> int | None:
    """Return the first part that is a pattern, and nothing's very name, as `[2024]` may be; None without one."""
    return next(
        (
            place
            for place, part in enumerate(given.parts)
            if _WILD.search(part) and not os.path.lexists(Path(*given.parts[: place + 1]))
        ),
        None,
    )


def _entry(path: Path) -> str:
    """Name the place of a file or folder in one way only; a link to a file is a place of its own."""
    return os.path.realpath(path) if _is_folder(path) else str(Path(os.path.realpath(path.parent), path.name))


def _folded(entry: str) -> str:
    """Name all the places alike that the common file systems of this system take for one."""
    if _SYSTEM == "darwin":
        return unicodedata.normalize("NFC", entry).casefold()
    return entry.lower() if _SYSTEM == "win32" else entry


def _file_of(path: Path, *, links: bool = False) -> tuple[int, int] | None:
    """Tell what file stands at a place, whatever it is called there; of a link itself, or of what it leads to."""
    try:
        found = path.stat() if links else path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_within(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 (`Path.is_dir` fails where it may not look; reading gives the reason)

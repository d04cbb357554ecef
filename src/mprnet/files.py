"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

_ENDING = ".unfinished"
PathLike = str | os.PathLike[str]
"""The place of a file or folder."""

MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
"""Stands for this machine in names: process numbers mean nothing on another that shares the folder."""
_UNFINISHED = re.compile(
    rf"\.[0-9a-f]{{8}}(?:[0-9a-f]{{24}})?-(?P<machine>[0-9a-f]{{8}})-(?P<process>[0-9]{{1,9}}){re.escape(_ENDING)}"
)
_ABANDONED_S = 24 * 60 * 60
"""Another machine's file that was not written to for so long is taken for left behind."""
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_NOTHING_ON_WINDOWS = (21, 123, 1921)  # a drive without a disk; a name, or a link, that leads nowhere
_SYSTEM = sys.platform
_own: set[str] = set()
"""The unfinished files that this process is writing."""


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to, which becomes `path` when the block ends well.

    Whoever opens `path` finds the older file or the whole new one, even after a crash; when the block fails, nothing
    is left.

    Args:
        path: the file to write, in a folder that exists; an older one is replaced.

    Raises:
        OSError: as writing and renaming do.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with written_whole(path) as unfinished:
        ...     _ = unfinished.write_text("whole")
        >>> path.read_text(), len(list(path.parent.iterdir()))
        ('whole', 1)
    """
    # A short name: one built from a long name, or in a deep folder, would be too long for the file system.
    unfinished = path.with_name(f".{uuid.uuid4().hex[:8]}-{MACHINE}-{os.getpid()}{_ENDING}")
    _own.add(unfinished.name)
    try:
        yield unfinished
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):  # it was renamed, or never made
            unfinished.unlink()
        _own.discard(unfinished.name)


def status_of(path: Path) -> os.stat_result | None:
    """Return what the system says of what stands at a place; None where nothing does.

    `Path.exists` raises where the system refuses to say, or not, depending on the version of Python.

    Raises:
        OSError: it may not be asked, or the name is too long.
    """
    try:
        return path.stat()
    except ValueError:  # a name that no file can have
        return None
    except OSError as error:
        if error.errno in _NOTHING or getattr(error, "winerror", None) in _NOTHING_ON_WINDOWS:
            return None
        raise


def obstacle(path: Path) -> str | None:
    """Say why a file cannot be written, as far as that can be told; None where nothing is in the way.

    Folders on the way that do not exist are none: they can be made.
    """
    try:
        if status_of(path) is not None and not os.access(path, os.W_OK):
            return f"{path} may not be written to"
        folder = next((folder for folder in path.parents if os.path.lexists(folder)), None)
        if folder is None:  # a drive, or another machine's folder
            return f"{path.anchor or path} does not exist"
        if not folder.is_dir():
            return f"{folder} is no folder"
        return None if _may_fill(folder) else f"{folder} may not be written to"
    except OSError as error:
        return error.strerror or str(error)


def _may_fill(folder: Path) -> bool:
    if _SYSTEM != "win32":
        return os.access(folder, os.W_OK | os.X_OK)
    try:  # the system says yes of every folder, on a locked card, too
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left half written in a folder; what a living one is writing stays.

    What another machine left there, on a shared folder, goes when it was not written to for a day.
    """
    for path in folder.glob(f".*{_ENDING}"):
        with contextlib.suppress(FileNotFoundError):  # it was finished meanwhile
            if (ours := _UNFINISHED.fullmatch(path.name)) and not _is_being_written(path, ours):
                path.unlink()


def _is_being_written(path: Path, name: re.Match[str]) -> bool:
    import psutil  # type: ignore[import-untyped, unused-ignore] # most files are written without a look at others

    if name["machine"] != MACHINE:
        return time.time() - path.stat().st_mtime < _ABANDONED_S
    if int(name["process"]) == os.getpid():  # in a container every process may have the same number
        return path.name in _own
    return bool(psutil.pid_exists(int(name["process"])))

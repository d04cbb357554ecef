"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

_ENDING = ".unfinished"
_UNFINISHED = re.compile(rf"\.[0-9a-f]{{32}}-(\d+){re.escape(_ENDING)}")
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
    # A name of its own length: one built from a long name would be too long for the file system.
    unfinished = path.with_name(f".{uuid.uuid4().hex}-{os.getpid()}{_ENDING}")
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


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left half written in a folder; what a living one is writing stays."""
    for path in folder.glob(f".*{_ENDING}"):
        ours = _UNFINISHED.fullmatch(path.name)
        if ours and not _is_being_written(path.name, int(ours[1])):
            path.unlink(missing_ok=True)


def _is_being_written(name: str, writer: int) -> bool:
    import psutil  # type: ignore[import-untyped, unused-ignore] # most files are written without a look at others

    if writer == os.getpid():  # in a container every process may have the same number
        return name in _own
    return bool(psutil.pid_exists(writer))

"""The control groups of Linux that hold this process, as containers do, and what their files say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def groups_of(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """Yield the version, 2 or 1, and the folder of each group that may limit this process, the innermost first.

    Any of the groups around it may be the one that is limited. Inside a container some are not to be seen, and on
    other systems there are none.

    Args:
        root: of the file system.
        controller: what is limited: `cpu` or `memory`.
    """
    for line in lines_of(root / "proc/self/cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            version, mount = 2, root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            version, mount = 1, root / "sys/fs/cgroup" / controller
        else:
            continue
        place = mount / path.strip("/")
        yield from ((version, group) for group in (place, *place.parents) if group.is_relative_to(mount))


def lines_of(path: Path) -> list[str]:
    """Return the lines of a small file of the system; none where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []

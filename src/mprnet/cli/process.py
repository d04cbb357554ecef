"""What suits a process that does nothing but run this program: its threads, how they wait, and how it keeps memory."""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path

from mprnet.control_groups import groups_of, lines_of

_SPIN_COUNT = "1000"
"""How often an idle thread of OpenMP looks for work before it sleeps, some ten microseconds."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""What glibc calls them."""

_KEPT_BYTES = 2**27
"""Blocks of a tile, but not those of a large picture in one piece, which would hold half as much again."""


def settle() -> None:
    """Set up the process; to be called before torch is loaded, which reads some of it only then.

    Two habits are changed where the system has them and the user has not chosen otherwise. Threads of OpenMP that wait
    busily take the processor from NNPACK's, which has its own, and float32 takes 1.2 to 1.6 times as long (256×256 at
    the paper's width for deraining, three paired runs on two cores). And glibc gives memory blocks above 32 MiB back to
    the system each time, which must then clear them for the next operation: 1.07 and 1.16 times the time in two paired
    runs of 1280×720 in one piece, in bf16. They are kept instead.

    And torch starts a thread for each processor that it sees, in a container whose time is limited, too, where most of
    them would only be held back: there are no more than that time is enough for.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
    allowed = _allowed_processors(Path("/"))
    if math.isfinite(allowed) and math.ceil(allowed) < len(os.sched_getaffinity(0)):
        os.environ.setdefault("OMP_NUM_THREADS", str(math.ceil(allowed)))
    if any(name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, 2**30)


def _allowed_processors(root: Path) -> float:
    """Return for how many processors the strictest of the control groups that hold this process has time."""
    return min((_allowed_by(*group) for group in groups_of(root, "cpu")), default=math.inf)


def _allowed_by(version: int, group: Path) -> float:
    names = ["cpu.max"] if version == 2 else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    lines = [line for name in names for line in lines_of(group / name)]
    quota, period = [*" ".join(lines).split(), "", ""][:2]
    if quota.isdigit() and period.isdigit():  # neither "max" nor -1, nor no such group
        return max(1, int(quota)) / max(1, int(period))
    return math.inf

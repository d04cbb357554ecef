"""What suits a process that does nothing but run this program: how its threads wait, and how it keeps memory."""

from __future__ import annotations

import ctypes
import os

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
    """
    os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
    if any(name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, 2**30)

"""How much memory there is, how large a tile may be, and what it looks like when there was too little."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from mprnet.control_groups import groups_of, lines_of
from mprnet.network import SIZE_MULTIPLE

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALLEST_TILE_PX = 128
"""Below it most of a tile is border, which its neighbours compute too."""

_SHARE = 0.5
"""How much of the free memory one pass may take; the rest is for pictures read ahead, and for what others do."""

_WORDS = (
    "out of memory",
    "can't allocate memory",
    "posix_memalign failed",
    "DefaultCPUAllocator",
    "bad allocation",
    "bad_alloc",
    "ALLOC_FAILED",  # cuDNN and cuBLAS
    "could not create a primitive",  # oneDNN, which says no more, of its convolutions' scratch memory
    "could not create a memory object",
)


class OutOfMemory(Exception):  # noqa: N818 (a state that is mended, seldom an error)
    """The memory did not suffice for a pass."""


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Turn the many shapes of too little memory into `OutOfMemory`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in _WORDS):
            raise OutOfMemory(str(error).partition("\n")[0] or "no memory is left") from error
        raise


def free_bytes(device: torch.device) -> int:
    """Return how much memory this process may still take: of the GPU, or of the machine and its control group."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    return min(psutil.virtual_memory().available, _free_of_control_group(Path("/")))


def choose_side(free: int, per_pixel: int, largest_px: int) -> int:
    """Return the side of the largest square tile that is expected to fit, between the smallest and `largest_px`.

    Example:
        >>> choose_side(free=2**30, per_pixel=4096, largest_px=512)
        360
    """
    side = math.isqrt(int(free * _SHARE) // per_pixel) // SIZE_MULTIPLE * SIZE_MULTIPLE
    return min(largest_px, max(SMALLEST_TILE_PX, side))


def fitting(free: int, needed: int) -> int:
    """Return how many passes that need so many bytes each may be under way at once; 0 where one may not.

    Example:
        >>> fitting(free=2**30, needed=2**28)
        2
    """
    return int(free * _SHARE) // max(1, needed)


def _free_of_control_group(root: Path) -> int:
    """Return what the strictest of the control groups that hold this process has left."""
    return min((_free_of(*group) for group in groups_of(root, "memory")), default=2**63)


def _free_of(version: int, group: Path) -> int:
    if version == 2:
        limit, usage, kind = "memory.max", "memory.current", ""
    else:
        limit, usage, kind = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
    most, used = ("".join(lines_of(group / name)).strip() for name in (limit, usage))
    if not most.isdigit() or not used.isdigit():  # no such group, or "max"
        return 2**63
    counts = dict(line.split(maxsplit=1) for line in lines_of(group / "memory.stat") if " " in line)
    # What files have left behind in memory, read once or again, counts as used, but makes room when it is needed.
    left_behind = sum(int(counts.get(f"{kind}{state}_file", 0)) for state in ("inactive", "active"))
    return max(0, int(most) - int(used) + left_behind)

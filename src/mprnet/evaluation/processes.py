"""Who shares the work, where several processes do."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""How long a process that is done waits for the others, which may be slower."""


class Processes(NamedTuple):
    """Who shares the work: this process is `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, work: Sequence[T]) -> Sequence[T]:
        """Return the part of the work that is this process's: every `size`-th, from `rank` on.

        Example:
            >>> Processes(1, 3).share("abcdefg")
            'be'
        """
        return work[self.rank :: self.size]

    def gather(self, one: Any) -> list[Any]:
        """Return what each process passes here, by rank, in all of them."""
        if self.size == 1:
            return [one]
        gathered = [None] * self.size
        dist.all_gather_object(gathered, one)
        return gathered


@contextmanager
def shared_work() -> Iterator[Processes]:
    """Join the processes that `torchrun`, Lightning or the caller started; alone, where there are no others.

    A process group that exists is used and left as it is. Otherwise one is made (gloo: only scores travel) where the
    environment says that there are several processes, and taken down at the end.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local and torch.cuda.is_available():  # what says only `cuda` is on the GPU of this process
        torch.cuda.set_device(local % torch.cuda.device_count())
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo", timeout=_PATIENCE)
        processes = Processes(dist.get_rank(), dist.get_world_size())
        try:
            yield processes
            processes.gather(None)  # what starts them ends all when one ends in failure: not before all are done
        finally:
            dist.destroy_process_group()
    else:
        yield Processes()

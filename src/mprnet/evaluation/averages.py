"""Means over pictures that come out the same however many processes share the work."""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from datetime import timedelta
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist

from mprnet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


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


class PictureMeans:
    """The mean of each measure over pictures, each picture counting once, as papers average.

    Scores are kept by name, so that what is repeated counts once. Sums are exact: the order does not matter.

    Example:
        >>> means = PictureMeans()
        >>> means.add("a", {"psnr": 30.0})
        >>> means.add("b", {"psnr": 32.0})
        >>> means.add("b", {"psnr": 32.0})
        >>> means.compute()
        {'psnr': 31.0}
    """

    def __init__(self) -> None:
        self.scores: dict[str, dict[str, float]] = {}

    def add(self, name: str, scores: Mapping[str, float]) -> None:
        """Take the scores of a picture; of those that come under one name the first are kept."""
        self.scores.setdefault(name, dict(scores))

    def compute(self) -> dict[str, float]:
        """Return the mean of each measure over the pictures; infinite where one of them is.

        Raises:
            DataError: there are no pictures, or they have not all the same measures.
        """
        if not self.scores:
            raise DataError("there is no mean of no pictures: nothing was measured")
        measures = list(next(iter(self.scores.values())))
        for name, scores in self.scores.items():
            if list(scores) != measures:
                raise DataError(f"{name} has {', '.join(scores)}; expected {', '.join(measures)} as for the others")
        return {measure: _mean([scores[measure] for scores in self.scores.values()]) for measure in measures}


def _mean(values: list[float]) -> float:
    return math.inf if math.inf in values else fmean(values)

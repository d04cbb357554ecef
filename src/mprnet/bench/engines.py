"""The engines of a bench, opened and run in one way: backends, and the straightforward way beside them."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

import torch

from mprnet.backends import open_backend
from mprnet.bench.peak import synchronize
from mprnet.bench.results import STRAIGHTFORWARD
from mprnet.bench.straightforward import Straightforward

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from mprnet.backends import Backend
    from mprnet.network import MPRNet

_PREPARING_RUNS = {"cpu": 1, "cuda": 3}
"""How often an engine runs before it is timed: what compiles does so in the first, CUDA graphs come after it."""


class Engine:
    """A network in an engine, up to a stage.

    Args:
        model: the network, which is copied.
        name: `straightforward`, or that of a backend.
        precision: as for a backend.
        stage: 1, 2 or 3, where the network is left.
        device: where to compute.
        int8: the quantized network of these weights, where there is one.

    Raises:
        ConfigError, MissingExtraError: as `mprnet.backends.open_backend`.
    """

    def __init__(
        self, model: MPRNet, name: str, precision: str, stage: int, device: torch.device, int8: Path | None = None
    ) -> None:
        self.name = name
        self.precision = precision
        self.stage = stage
        self.device = device
        self.backend = _opened(copy.deepcopy(model), name, precision, device, int8)

    def run(self, degraded: Tensor) -> Tensor:
        """Return the picture of the stage, as `mprnet.backends.Backend.run` does."""
        return self.backend.run(degraded, (self.stage,))[0]

    def seconds(self, degraded: Tensor) -> float:
        """Return what a run takes."""
        synchronize(self.device)
        begun = time.perf_counter()
        self.run(degraded)
        synchronize(self.device)
        return time.perf_counter() - begun

    def prepare(self, degraded: Tensor) -> float:
        """Run until the engine has prepared itself for the size, and return what the first run took."""
        first, *_ = [self.seconds(degraded) for _ in range(_PREPARING_RUNS[self.device.type])]
        return first


def _opened(model: MPRNet, name: str, precision: str, device: torch.device, int8: Path | None) -> Backend:
    if name == STRAIGHTFORWARD:
        return Straightforward(model, device)
    return open_backend(
        model,
        name=name,  # type: ignore[arg-type] # checked there
        precision=precision,  # type: ignore[arg-type] # likewise
        device=device,
        int8=int8,
    )

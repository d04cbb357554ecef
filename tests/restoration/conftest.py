from __future__ import annotations

import numpy as np
import pytest
import torch

from mprnet.backends import open_backend
from mprnet.network import MPRNetConfig, build
from mprnet.restoration import Restorer


def small_network(**changes):
    torch.manual_seed(0)
    return build(MPRNetConfig(**{"n_feat": 6, "scale_unetfeats": 2, "scale_orsnetfeats": 2, "num_cab": 1, **changes}))


@pytest.fixture(scope="session")
def make_network():
    """Build a small network of random weights, always the same."""
    return small_network


@pytest.fixture(scope="session")
def restorer():
    """A restorer of a small network of random weights."""
    return Restorer(small_network())


class Spy:
    """An engine that notes what another one is asked for."""

    def __init__(self, backend):
        self.backend, self.asked = backend, []
        self.name, self.precision, self.device = backend.name, backend.precision, backend.device
        self.bytes_per_pixel = backend.bytes_per_pixel

    def run(self, degraded, stages):
        self.asked.append((tuple(degraded.shape), stages))
        return self.backend.run(degraded, stages)


@pytest.fixture
def spy():
    """Put a spy between a restorer and its engine."""

    def hide(restorer):
        restorer.backend = Spy(restorer.backend)
        return restorer.backend.asked

    return hide


class Inverter:
    """Stands for a restorer and turns pictures into their negatives, so that tests can tell what became of them."""

    local, crop_px, ensemble, scales, upright = "auto", 256, False, 1, False

    def __init__(self, **network):
        self.model = small_network(**network)
        self.backend = open_backend(self.model, name="torch", precision="fp32", device=torch.device("cpu"))
        self.calls = []

    def restore_pixels(self, pixels, *, out=None, stage=3, strength=1.0, progress=lambda _: None):
        self.calls.append((pixels.shape, pixels.dtype.name, stage, strength))
        progress(0.5)
        out = np.empty_like(pixels) if out is None else out
        np.subtract(np.iinfo(pixels.dtype).max, pixels, out=out)
        progress(1)
        return out

    def choose_stage(self, size_hw, budget_seconds):
        return min(3, max(1, int(budget_seconds)))


@pytest.fixture
def inverter():
    return Inverter()


@pytest.fixture
def make_inverter():
    return Inverter

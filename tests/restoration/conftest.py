from __future__ import annotations

import pytest
import torch

from mprnet.network import MPRNet, MPRNetConfig
from mprnet.restoration import Restorer


def small_network(**changes):
    torch.manual_seed(0)
    return MPRNet(MPRNetConfig(**{"n_feat": 6, "scale_unetfeats": 2, "scale_orsnetfeats": 2, "num_cab": 1, **changes}))


@pytest.fixture(scope="session")
def make_network():
    """Build a small network of random weights, always the same."""
    return small_network


@pytest.fixture(scope="session")
def restorer():
    """A restorer of a small network of random weights."""
    return Restorer(small_network())

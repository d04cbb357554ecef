from __future__ import annotations

import pytest
import torch

from mprnet.network import MPRNet, MPRNetConfig


@pytest.fixture
def make_network():
    """Build a tiny network of random weights, always the same, so that it is converted once."""

    def make(**changes):
        torch.manual_seed(0)
        return MPRNet(
            MPRNetConfig(**{"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 1, **changes})
        )

    return make


@pytest.fixture
def network(make_network):
    return make_network()

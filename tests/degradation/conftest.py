from __future__ import annotations

import pytest
import torch


@pytest.fixture
def draw():
    """Make a seeded generator."""
    return lambda seed=0: torch.Generator().manual_seed(seed)


@pytest.fixture
def photograph():
    """A smooth colourful picture, `(B, C, H, W)`, within [0.05, 0.95]."""

    def make(batch=2, channels=3, height=48, width=64):
        coarse = torch.rand(batch, channels, 4, 5, generator=torch.Generator().manual_seed(7))
        fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
        return 0.05 + 0.9 * fine

    return make

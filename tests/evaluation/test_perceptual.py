"""LPIPS and DISTS are asked in the right range and order, and say what is missing.

Their networks' weights are fetched from outside on first use, so a stand-in takes their place here.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from mprnet.errors import ImageError, MissingExtraError
from mprnet.evaluation import perceptual

DISTANCES = [(perceptual.lpips, "_lpips_network"), (perceptual.dists, "_dists_network")]


@pytest.mark.parametrize(("distance", "network"), DISTANCES)
def test_the_network_is_given_both_pictures_in_the_range_from_0_to_1(distance, network, monkeypatch):
    seen = []

    def stand_in(restored, target):
        seen.extend((restored, target))
        return (restored - target).abs().mean()

    monkeypatch.setattr(perceptual, network, lambda: stand_in)
    restored, target = np.full((64, 70, 3), 255, np.uint8), np.full((64, 70, 3), 51, np.uint8)
    target[:, :, 2] = 0
    assert distance(restored, target, data_range=255) == pytest.approx((0.8 + 0.8 + 1) / 3)
    assert [tuple(each.shape) for each in seen] == [(1, 3, 64, 70)] * 2
    assert torch.equal(seen[0], torch.ones(1, 3, 64, 70))
    assert distance(restored / 255, target / 255, data_range=1) == pytest.approx((0.8 + 0.8 + 1) / 3)


@pytest.mark.parametrize(("distance", "network"), DISTANCES)
@pytest.mark.parametrize(
    ("restored", "target", "message"),
    [
        (np.zeros((64, 64)), np.zeros((64, 64, 3)), r"`restored` has the shape \(64, 64\)"),
        (np.zeros((64, 64, 3)), np.zeros((64, 65, 3)), "the sizes differ"),
        (np.zeros((20, 64, 3)), np.zeros((20, 64, 3)), "at least 64×64"),
        (np.full((64, 64, 3), 2.0), np.zeros((64, 64, 3)), r"values in \[0, 1\]: `restored`"),
        (np.zeros((64, 64, 3)), np.full((64, 64, 3), np.nan), r"values in \[0, 1\]: `target`"),
    ],
)
def test_pictures_that_do_not_fit_are_named(distance, network, restored, target, message, monkeypatch):
    monkeypatch.setattr(perceptual, network, lambda: pytest.fail("must not be asked"))
    with pytest.raises(ImageError, match=message):
        distance(restored, target, data_range=1)


@pytest.mark.parametrize(("distance", "network"), DISTANCES)
def test_without_the_extra_one_line_names_the_install_command(distance, network, monkeypatch):
    getattr(perceptual, network).cache_clear()
    monkeypatch.setitem(sys.modules, "torchvision", None)
    picture = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(
        MissingExtraError, match=r'need torchvision; install it with: pip install "mprnet\[perceptual\]"'
    ):
        distance(picture, picture, data_range=255)

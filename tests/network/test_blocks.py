from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mprnet.network.blocks import CAB, SAM, ChannelAttention, Downsample, Upsample


@pytest.fixture
def features():
    return torch.rand(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))


def test_bilinear_downsampling_is_pytorch_s_bilinear_by_one_half(features):
    block = Downsample(4, 7, "bilinear")
    expected = block.widen(F.interpolate(features, scale_factor=0.5, mode="bilinear", align_corners=False))
    torch.testing.assert_close(block(features), expected)


def test_max_pooling_keeps_the_largest_of_four(features):
    block = Downsample(4, 7, "maxpool")
    largest = features.unflatten(2, (3, 2)).unflatten(4, (4, 2)).amax(dim=(3, 5))
    torch.testing.assert_close(block(features), block.widen(largest))


def test_upsampling_doubles_bilinearly_then_narrows(features):
    block = Upsample(4, 3)
    expected = block.narrow(F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False))
    assert expected.shape == (2, 3, 12, 16)
    torch.testing.assert_close(block(features), expected)


def test_attention_weighs_whole_channels_between_0_and_1_and_adds(features):
    identity = torch.rand(features.shape, generator=torch.Generator().manual_seed(1))
    added = ChannelAttention(4, reduction=2, bias=True)(features, identity)
    gates = (added - identity) / features
    torch.testing.assert_close(gates, gates[..., :1, :1].expand_as(gates), rtol=1e-3, atol=1e-3)
    assert (gates > 0).all()
    assert (gates < 1).all()


def test_a_cab_without_gradients_equals_one_with_and_leaves_what_it_was_given(features):
    block = CAB(4, 3, 2, bias=False, activation=torch.nn.PReLU())
    given = features.clone()
    with torch.no_grad():
        without = block(given)
    torch.testing.assert_close(without, block(features).detach())
    assert torch.equal(given, features)


def test_a_cab_without_weights_is_the_identity(features):
    block = CAB(4, 3, 2, bias=False, activation=torch.nn.PReLU())
    torch.nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(features), features)


def test_sam_adds_the_residual_and_gates_by_the_picture(features):
    block = SAM(4, 3, bias=False)
    degraded = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(1))
    torch.nn.init.zeros_(block.to_residual.weight)
    assert torch.equal(block.restore(features, degraded), degraded)
    # A black picture gives the mask sigmoid(0) = 1/2 everywhere.
    black = torch.zeros_like(degraded)
    torch.testing.assert_close(block.attend(features, black), block.to_features(features) / 2 + features)

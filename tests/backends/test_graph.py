from __future__ import annotations

import pytest
import torch

from mprnet.backends.graph import exported
from mprnet.errors import ConfigError
from mprnet.imaging.padding import crop, pad_to_multiple
from mprnet.network import MPRNet, MPRNetConfig, set_local_pooling


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MPRNet(MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1)).eval()


@pytest.fixture(scope="module")
def graph(network):
    """The graph of all stages, latest first, for any size."""
    return exported(network, (3, 2, 1), padded=True).module()


@torch.no_grad()
def restored(network, degraded):
    """What the network gives, stage 1 first, for any size."""
    return [crop(picture, degraded.shape[2:]) for picture in network(pad_to_multiple(degraded, 8)).computed]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 3), (2, 8, 9), (1, 24, 16), (3, 37, 91), (1, 130, 2)], ids=str)
def test_one_graph_restores_every_size(network, graph, shape):
    batch, height, width = shape
    degraded = torch.rand(batch, 3, height, width)
    for got, expected in zip(graph(degraded), reversed(restored(network, degraded)), strict=True):
        assert got.shape == degraded.shape
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_without_padding_sides_are_multiples_of_8(network):
    graph = exported(network, (1,)).module()
    for height, width in ((8, 8), (40, 16), (16, 72)):
        degraded = torch.rand(2, 3, height, width)
        torch.testing.assert_close(graph(degraded)[0], restored(network, degraded)[0], rtol=0, atol=1e-5)
    with pytest.raises((AssertionError, RuntimeError), match=r"size\(\)\[3\]"):
        graph(torch.rand(1, 3, 16, 20))


def test_a_graph_of_fixed_size_has_local_pooling(network):
    degraded = torch.rand(1, 3, 32, 64)
    set_local_pooling(network, 16)
    try:
        graph = exported(network, (1,), size_hw=(32, 64)).module()
        local = restored(network, degraded)[0]
        with pytest.raises(ConfigError, match="local windows"):
            exported(network)
    finally:
        set_local_pooling(network, None)
    torch.testing.assert_close(graph(degraded)[0], local, rtol=0, atol=1e-5)
    assert not torch.allclose(graph(degraded)[0], restored(network, degraded)[0], atol=1e-5)


def test_half_the_bits_are_for_features_not_for_pictures(network):
    program = exported(network, (1,), size_hw=(16, 16), dtype=torch.float16)
    assert {parameter.dtype for parameter in program.parameters()} == {torch.float16}
    degraded = torch.rand(1, 3, 16, 16)
    (picture,) = program.module()(degraded)
    assert picture.dtype == torch.float32
    torch.testing.assert_close(picture, restored(network, degraded)[0], rtol=0, atol=1e-2)


def test_the_network_is_left_as_it_is(network):
    wide = MPRNet(MPRNetConfig(n_feat=8, num_cab=1)).to(torch.bfloat16).train()
    before = {name: parameter.clone() for name, parameter in wide.named_parameters()}
    exported(wide, (1,), size_hw=(16, 16))
    assert wide.training
    for name, parameter in wide.named_parameters():
        assert parameter.requires_grad
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"stages": ()}, "stages"),
        ({"stages": (4,)}, "stages"),
        ({"size_hw": (16, 20)}, "multiples of 8"),
        ({"size_hw": (0, 16), "padded": True}, "above 0"),
    ],
)
def test_what_cannot_be_is_refused(network, choices, message):
    with pytest.raises(ConfigError, match=message):
        exported(network, **choices)


def test_the_caller_s_defaults_are_not_in_the_graph(network):
    degraded = torch.rand(1, 3, 16, 16)
    expected = restored(network, degraded)[0]
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.autocast("cpu", dtype=torch.bfloat16):
            program = exported(network, (1,), padded=True)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(program.module()(degraded)[0], expected)

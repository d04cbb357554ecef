from __future__ import annotations

import platform

import pytest
import torch
import torch.nn.functional as F

from mprnet.backends import eager, open_backend
from mprnet.backends.eager import PackedCAB, PackedConvolution, TorchBackend, WinogradConvolution
from mprnet.network import fold, set_local_pooling
from mprnet.network.blocks import ChannelAttention
from mprnet.network.folding import Convolution, FoldedCAB

CPU = torch.device("cpu")
WITHIN = {"fp32": 1e-5, "bf16": 0.03, "fp16": 4e-3}
"""How far a picture of random weights is from float32's, whose residuals are as large as pictures."""

# By what torch and the machine say, not by the engine's own trial: where that fails, so are these tests to.
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
needs_winograd = pytest.mark.skipif(
    not (IS_X86 and torch.backends.nnpack.is_available()), reason="needs a torch with NNPACK, on x86"
)
needs_packed = pytest.mark.skipif(
    not (IS_X86 and torch.backends.mkldnn.is_available()), reason="needs a torch with oneDNN, on x86"
)
needs_bf16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="needs a processor that oneDNN computes bfloat16 with"
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def assert_close(ours, theirs, within=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=within)


@pytest.mark.parametrize("precision", WITHIN)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_cab": 2, "bias": True},
        {"kernel_size": 5},
        {"kernel_size": 1, "downsampling": "maxpool"},
        {"in_channels": 1, "out_channels": 1},
        pytest.param({"scale_orsnetfeats": eager.WINOGRAD_WIDTH, "bias": True}, id="wide enough for Winograd"),
    ],
)
@pytest.mark.parametrize("crop_px", [None, 32])
def test_pictures_are_those_of_the_network(make_network, precision, changes, crop_px):
    network = make_network(**changes)
    set_local_pooling(network, crop_px)
    for batch, height, width in ((2, 8, 8), (1, 136, 128)):
        degraded = torch.rand(batch, network.config.in_channels, height, width)
        with torch.no_grad():
            expected = network(degraded)
        pictures = TorchBackend(network, precision, CPU).run(degraded, (1, 2, 3))
        for ours, theirs in zip(pictures, expected, strict=True):
            assert ours.dtype == torch.float32
            assert_close(ours, theirs, WITHIN[precision])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_any_dtype_are_computed_with_as_the_precision_says(make_network, dtype):
    network = make_network().to(dtype)
    degraded = torch.rand(1, 3, 16, 24)
    (picture,) = TorchBackend(network, "fp32", CPU).run(degraded, (3,))
    with torch.no_grad():
        assert_close(picture, network.float()(degraded).stage3)


def test_the_network_it_was_opened_with_stays_as_it_was(network):
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    TorchBackend(network, "bf16", CPU).run(torch.rand(1, 3, 16, 16), (3,))
    for name, weight in network.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, before[name])


def test_a_batch_gives_what_its_pictures_give_one_by_one(make_network):
    backend = TorchBackend(make_network(num_cab=2), "fp32", CPU)
    degraded = torch.rand(2, 3, 128, 128)
    (together,) = backend.run(degraded, (3,))
    for number, picture in enumerate(degraded.split(1)):
        assert_close(together[number], backend.run(picture, (3,))[0][0], 1e-6)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("slope", [None, 0.3])
@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize(
    "replacement",
    [pytest.param(WinogradConvolution, marks=needs_winograd), pytest.param(PackedConvolution, marks=needs_packed)],
)
@torch.inference_mode()
def test_each_convolution_gives_what_the_public_one_gives(replacement, side, slope, batch):
    convolution = Convolution(torch.rand(6, 5, side, side) - 0.5, torch.rand(6), slope)
    features = torch.rand(batch, 5, 20, 13) - 0.5
    addend = None if slope else torch.rand(batch, 6, 20, 13).contiguous(memory_format=torch.channels_last)
    expected = convolution(features, None if addend is None else addend.clone())
    assert_close(replacement(convolution)(features, addend), expected, 1e-4)


@needs_packed
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 4), (5, 1), (7, 9)])
@torch.inference_mode()
def test_the_sum_of_a_convolution_follows_from_sums_of_its_input(size_hw):
    features = torch.rand(2, 4, *size_hw)
    weight = torch.rand(3, 4, 3, 3)
    expected = F.conv2d(features, weight, padding=1).sum(dim=(2, 3))
    assert_close(eager._sums(features) @ eager._weights_of_sums(weight), expected, 1e-3)


@needs_packed
@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_a_packed_cab_gates_with_its_weights_what_a_cab_gates_afterwards(make_network, bias):
    cab = FoldedCAB(make_network(bias=bias).shallow1[1])
    features = torch.rand(2, 8, 12, 10).contiguous(memory_format=torch.channels_last)
    before, packed = features.clone(), PackedCAB(cab)
    assert_close(packed(features), cab(before.clone()))
    assert torch.equal(features, before)
    packed.consumes = True
    assert packed(features).data_ptr() == features.data_ptr()
    assert_close(features, cab(before))


@needs_packed
def test_only_a_cab_that_follows_another_writes_over_its_input(make_network):
    backend = TorchBackend(make_network(num_cab=3), "fp32", CPU)
    orb = backend._network.orbs[0]
    assert [cab.consumes for cab in orb.cabs] == [False, True, True]
    assert not backend._network.decoder1.skip1.consumes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("scale_orsnetfeats", [4, eager.WINOGRAD_WIDTH])
def test_without_the_private_convolutions_the_public_ones_compute(
    make_network, monkeypatch, precision, scale_orsnetfeats
):
    monkeypatch.setattr(eager, "_has_winograd", lambda: False)
    monkeypatch.setattr(eager, "_has_packed", lambda _: False)
    network = make_network(scale_orsnetfeats=scale_orsnetfeats)
    degraded = torch.rand(1, 3, 32, 40)
    backend = TorchBackend(network, precision, CPU)
    kinds = {type(part) for part in backend._network.modules()}
    assert not {eager.WinogradCAB, WinogradConvolution, PackedCAB, PackedConvolution} & kinds
    (picture,) = backend.run(degraded, (3,))
    with torch.no_grad():
        assert_close(picture, fold(network)(degraded)[0], WITHIN[precision])


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
@pytest.mark.parametrize("scale_orsnetfeats", [4, pytest.param(eager.WINOGRAD_WIDTH, id="wide enough for Winograd")])
def test_a_channel_attention_that_was_changed_computes_itself(make_network, monkeypatch, scale_orsnetfeats, precision):
    network, degraded = make_network(scale_orsnetfeats=scale_orsnetfeats), torch.rand(1, 3, 32, 40)
    (before,) = TorchBackend(network, precision, CPU).run(degraded, (3,))
    monkeypatch.setattr(
        ChannelAttention, "_gate", lambda attention, mean: torch.tanh(attention.excite(attention.squeeze(mean)))
    )
    (picture,) = TorchBackend(network, precision, CPU).run(degraded, (3,))
    with torch.no_grad():
        assert_close(picture, network(degraded).stage3, WITHIN[precision])
    assert (picture - before).abs().max() > 2 * WITHIN[precision]


def test_an_attention_of_other_layers_computes_itself_with_local_pooling_too(make_network):
    network = make_network()
    set_local_pooling(network, 64)
    cab = next(part for part in fold(network).modules() if isinstance(part, FoldedCAB))
    assert eager._is_gated(cab)
    del cab.attention.squeeze
    assert not eager._is_gated(cab)


def test_a_convolution_that_is_missing_or_wrong_is_found_out():
    def missing(_):
        raise AttributeError

    def called_otherwise(convolution):
        return lambda features: convolution(features)

    assert not eager._agrees(missing, torch.float32)
    assert not eager._agrees(called_otherwise, torch.float32)
    assert not eager._agrees(lambda _: lambda features, _: features, torch.float32)
    assert eager._agrees(lambda convolution: convolution, torch.float32)


@needs_winograd
def test_winograds_convolutions_are_used_where_torch_has_them(make_network):
    network = make_network(scale_orsnetfeats=eager.WINOGRAD_WIDTH)
    kinds = {type(part) for part in TorchBackend(network, "fp32", CPU)._network.modules()}
    assert {eager.WinogradCAB, WinogradConvolution} <= kinds
    assert not {Convolution, FoldedCAB} & kinds


@needs_packed
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_packed_convolutions_are_used_where_torch_has_them(make_network, precision):
    kinds = {type(part) for part in TorchBackend(make_network(), precision, CPU)._network.modules()}
    assert {PackedCAB, PackedConvolution} <= kinds
    assert not {Convolution, FoldedCAB} & kinds


def test_folding_needs_nothing_of_the_device(network):
    meta = torch.device("meta")  # which holds no numbers, as others hold none of 64 bits
    assert {weight.device for weight in TorchBackend(network, "fp32", meta)._network.parameters()} == {meta}


def test_memory_is_estimated_by_stage_and_precision(network):
    full, half = (TorchBackend(network, precision, CPU) for precision in ("fp32", "bf16"))
    assert full.bytes_per_pixel(1) < full.bytes_per_pixel(3) == 2 * half.bytes_per_pixel(3)


def test_the_caller_s_autocast_changes_nothing(make_network):
    network, degraded = make_network(), torch.rand(1, 3, 24, 16)
    eager._has_winograd.cache_clear()
    eager._has_packed.cache_clear()
    expected = open_backend(network, name="torch", precision="fp32", device=CPU).run(degraded, (3,))
    eager._has_winograd.cache_clear()
    eager._has_packed.cache_clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = open_backend(network, name="torch", precision="fp32", device=CPU).run(degraded, (3,))
    assert torch.equal(found[0], expected[0])

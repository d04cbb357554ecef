"""The network rewritten for inference gives what `MPRNet` gives, with fewer operations."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from mprnet.errors import ConfigError
from mprnet.network import AblatedMPRNet, MPRNet, MPRNetConfig, StageOutputs, fold, folding, set_local_pooling
from mprnet.network.blocks import CAB, Upsample
from mprnet.network.folding import Climb, Convolution, FoldedDecoder, FoldedEncoder, Merge
from mprnet.network.mprnet import join_top_bottom, split_top_bottom
from mprnet.network.stages import Scales

TINY = MPRNetConfig(n_feat=6, scale_unetfeats=4, scale_orsnetfeats=2, num_cab=2)
BIASED = MPRNetConfig(n_feat=6, scale_unetfeats=4, scale_orsnetfeats=2, num_cab=2, bias=True)


def build(config: MPRNetConfig = TINY) -> MPRNet:
    torch.manual_seed(0)
    return MPRNet(config).eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def scales(batch: int, *, height: int = 16, width: int = 24) -> Scales:
    widths = TINY.unet_widths
    return Scales(*(noise(batch, wide, height >> level, width >> level) for level, wide in enumerate(widths)))


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 4),
    n_feat=st.integers(4, 9),
    scale_unetfeats=st.integers(0, 5),
    scale_orsnetfeats=st.integers(0, 5),
    num_cab=st.integers(1, 2),
    kernel_size=st.sampled_from([1, 3, 5]),
    reduction=st.integers(1, 4),
    bias=st.booleans(),
    downsampling=st.sampled_from(["bilinear", "maxpool"]),
    batch=st.integers(1, 2),
    height=st.integers(1, 4).map(lambda eighths: 8 * eighths),
    width=st.integers(1, 4).map(lambda eighths: 8 * eighths),
)
@torch.no_grad()
def test_every_config_gives_the_pictures_of_the_network_as_it_is_drawn(
    channels, n_feat, batch, height, width, **others
):
    model = build(MPRNetConfig(in_channels=channels, out_channels=channels, n_feat=n_feat, **others))
    degraded = noise(batch, channels, height, width)
    for ours, theirs in zip(fold(model)(degraded, (1, 2, 3)), model(degraded), strict=True):
        assert_close(ours, theirs)


@torch.no_grad()
def test_upsampling_commutes_with_a_1x1_convolution():
    block, features = Upsample(5, 3), noise(1, 5, 6, 7)
    convolved = Convolution(block.narrow.weight)(features)
    doubled = torch.nn.functional.interpolate(convolved, scale_factor=2, mode="bilinear", align_corners=False)
    assert_close(doubled, block(features))


@torch.no_grad()
def test_a_decoder_narrows_before_it_upsamples():
    decoder, encoded = build().decoder1, scales(2)
    for ours, theirs in zip(FoldedDecoder(decoder)(encoded), decoder(encoded), strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("config", [TINY, BIASED])
@torch.no_grad()
def test_a_climb_of_encoder_and_decoder_is_one_convolution_each_and_one_upsampling_a_level(config, monkeypatch):
    doubled, double = [], folding._double
    monkeypatch.setattr(folding, "_double", lambda features: doubled.append(features) or double(features))
    orsnet, encoded, features = build(config).orsnet, scales(1), noise(1, config.orsnet_width, 16, 24)
    decoded = Scales(*(level.flip(1) for level in encoded))
    for level in range(3):
        from_encoder, from_decoder = orsnet.from_encoder[level], orsnet.from_decoder[level]
        climb = Climb(from_encoder, from_decoder)
        expected = features + from_encoder(encoded[level]) + from_decoder(decoded[level])
        assert_close(climb(encoded[level], decoded[level], features.clone()), expected)
        assert sum(isinstance(part, Convolution) for part in climb.modules()) == 2
        assert len(doubled) == level
        doubled.clear()


@torch.no_grad()
def test_the_fusion_between_stages_1_and_2_is_added_by_its_own_convolutions():
    model, features, encoded = build(BIASED), noise(2, 6, 16, 24), scales(2)
    decoded = Scales(*(level.flip(1) for level in encoded))
    expected = model.encoder2(features, model.csff12(encoded, decoded))
    for ours, theirs in zip(
        FoldedEncoder(model.encoder2, model.csff12)(features, (encoded, decoded)), expected, strict=True
    ):
        assert_close(ours, theirs)


@pytest.mark.parametrize("config", [TINY, BIASED])
@torch.no_grad()
def test_a_convolution_of_concatenated_features_is_the_sum_of_two(config):
    layer, ours, before = build(config).merge23, noise(1, 6, 16, 24), noise(1, 6, 16, 24).flip(3)
    assert_close(Merge(layer)(ours, before), layer(torch.cat((ours, before), dim=1)))


@torch.no_grad()
def test_it_computes_less():
    model, degraded = build(MPRNetConfig(n_feat=16, scale_unetfeats=8, num_cab=1)), noise(1, 3, 32, 32)
    operations = []
    for network in (model, fold(model)):
        with FlopCounterMode(display=False) as counter:
            network(degraded)
        operations.append(counter.get_total_flops())
    assert operations[1] < 0.98 * operations[0]


@torch.no_grad()
def test_only_the_pictures_that_are_asked_for_come_and_in_that_order():
    network, degraded = fold(build()), noise(1, 3, 16, 16)
    all_three = network(degraded, (1, 2, 3))
    for stages in ((1,), (2,), (3,), (1, 3), (3, 1)):
        pictures = network(degraded, stages)
        assert len(pictures) == len(stages)
        assert all(torch.equal(picture, all_three[stage - 1]) for picture, stage in zip(pictures, stages, strict=True))


STAGE_1 = {"shallow1", "encoder1", "decoder1", "sam12"}


@pytest.mark.parametrize(
    ("stages", "used"), [((1,), STAGE_1), ((1, 2), STAGE_1 | {"shallow2", "merge12", "encoder2", "decoder2", "sam23"})]
)
@torch.no_grad()
def test_an_early_exit_computes_nothing_of_what_follows(stages, used):
    network, ran = fold(build()), set()
    for name, module in network.named_modules():
        if isinstance(module, Convolution):
            module.register_forward_hook(lambda *_, name=name: ran.add(name))
    network(noise(1, 3, 8, 8), stages)
    assert {name.partition(".")[0] for name in ran} == used
    last_sam = {1: "sam12", 2: "sam23"}[max(stages)]
    assert {name for name in ran if name.startswith(last_sam)} == {f"{last_sam}.to_residual"}


@torch.no_grad()
def test_local_pooling_of_the_model_acts_on_what_was_folded_from_it():
    model, degraded = build(), noise(1, 3, 64, 64)
    network = fold(model)
    (whole,) = network(degraded)
    set_local_pooling(model, 16)
    (local,) = network(degraded)
    assert (local - whole).abs().max() > 1e-4
    assert_close(local, model(degraded).stage3)


@torch.no_grad()
def test_it_has_no_gradients_and_leaves_the_model_its_own():
    model = build()
    network = fold(model)
    convolutions = [module for module in network.modules() if isinstance(module, Convolution)]
    assert not any(weight.requires_grad for module in convolutions for weight in module.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    assert network.tail.weight.data_ptr() == model.tail.weight.data_ptr()


class Dimmed(MPRNet):
    """A network of someone's own, whose forward is another."""

    def forward(self, degraded, stages=3):
        return StageOutputs(*(None if picture is None else 0.99 * picture for picture in super().forward(degraded)))


def test_a_network_that_computes_otherwise_is_refused():
    torch.manual_seed(0)
    with pytest.raises(ConfigError, match=r"pictures change by 0\.0\d+ .* expected mprnet/network/folding\.py"):
        fold(Dimmed(TINY))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "config",
    [TINY, MPRNetConfig(n_feat=6, num_cab=1, combination="unet+orsnet", sam=False, csff=False)],
    ids=["whole", "of Table 6"],
)
def test_a_block_that_was_changed_alone_is_refused(monkeypatch, config, dtype):
    model = (AblatedMPRNet if config.is_ablated else MPRNet)(config).to(dtype)
    fold(model)
    forward = CAB.forward
    monkeypatch.setattr(CAB, "forward", lambda cab, features: forward(cab, features) * 0.9)
    with pytest.raises(ConfigError, match=r"expected mprnet/network/folding\.py to compute what its blocks"):
        fold(model)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e6])
def test_weights_of_any_size_are_no_other_network(value):
    model = build()
    with torch.no_grad():
        model.shallow1[0].weight[0].fill_(value)
    fold(model)


def test_what_rounds_the_pictures_is_no_other_network(monkeypatch):
    model, forward = build(), torch.nn.Conv2d.forward
    # As where the caller lets processors shorten the numbers of convolutions.
    short = lambda layer, features: forward(layer, features.bfloat16().to(features.dtype))  # noqa: E731
    exact = lambda layer, features: forward(layer, features)  # noqa: E731
    by_dtype = {torch.float32: short, torch.float64: exact}
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda layer, given: by_dtype[given.dtype](layer, given))
    assert folding._distance(model, folding._rewritten(model)) > folding._WITHIN
    fold(model)


def test_folding_leaves_random_numbers_and_the_model_s_mode_alone():
    model = build().train()
    model.shallow1.insert(1, torch.nn.Dropout(0.5))  # which draws, unless the network is evaluated
    drawn = copy.deepcopy(model)
    before = torch.get_rng_state()
    folding._distance(drawn, folding._rewritten(build()))
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn.training
    assert drawn.shallow1[1].training


@torch.no_grad()
def test_16_bits_round_the_residual_but_not_the_picture():
    model, degraded = build(), noise(1, 3, 16, 16) / 100 + 0.5
    for sam in (model.sam12, model.sam23):
        torch.nn.init.zeros_(sam.to_residual.weight)
    torch.nn.init.zeros_(model.tail.weight)
    for picture in fold(model).bfloat16()(degraded, (1, 2, 3)):
        assert torch.equal(picture, degraded)


def test_it_can_be_exported_with_height_and_width_as_symbols():
    network = fold(build())
    height, width = (8 * torch.export.Dim(name, min=2, max=64) for name in ("height", "width"))
    with torch.no_grad():
        exported = torch.export.export(network, (noise(1, 3, 32, 40),), dynamic_shapes=({2: height, 3: width},))
        degraded = noise(1, 3, 24, 48)
        assert_close(exported.module()(degraded), network(degraded))


@torch.no_grad()
def test_halves_are_what_was_split():
    picture = noise(2, 3, 8, 6)
    assert torch.equal(join_top_bottom(split_top_bottom(picture)), picture)

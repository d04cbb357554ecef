"""The whole network: shapes, stages, patches, early exits. `tests/test_checkpoints.py` checks its numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mprnet.errors import ConfigError
from mprnet.network import MPRNet, MPRNetConfig, StageOutputs
from mprnet.network.stages import Scales

TINY = MPRNetConfig(n_feat=6, scale_unetfeats=4, scale_orsnetfeats=2, num_cab=1)


def build(config: MPRNetConfig = TINY) -> MPRNet:
    """A network in float64, in which sums in another order differ by next to nothing."""
    torch.manual_seed(0)
    return MPRNet(config).double()


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 6),
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
def test_every_config_gives_pictures_of_the_input_s_shape_from_all_three_stages(
    channels, n_feat, batch, height, width, **others
):
    config = MPRNetConfig(in_channels=channels, out_channels=channels, n_feat=n_feat, **others)
    degraded = torch.rand(batch, channels, height, width)
    with torch.no_grad():
        outputs = MPRNet(config)(degraded)
    assert [picture.shape for picture in outputs] == [degraded.shape] * 3
    assert all(picture.isfinite().all() for picture in outputs)
    assert all(picture.dtype == degraded.dtype for picture in outputs)


@pytest.mark.parametrize("stages", [1, 2])
def test_an_early_exit_equals_the_same_stage_of_a_full_pass(stages):
    model, degraded = build(), noise(2, 3, 16, 24)
    with torch.no_grad():
        early, full = model(degraded, stages=stages), model(degraded)
    assert early.computed == tuple(early)[:stages]
    assert early[stages:] == (None,) * (3 - stages)
    for ours, theirs in zip(early.computed, full, strict=False):
        assert torch.equal(ours, theirs)


STAGE_1 = {"shallow1", "encoder1", "decoder1", "sam12"}
STAGE_2 = STAGE_1 | {"shallow2", "csff12", "merge12", "encoder2", "decoder2", "sam23"}


@pytest.mark.parametrize(("stages", "used"), [(1, STAGE_1), (2, STAGE_2)])
def test_an_early_exit_computes_only_what_it_returns(stages, used):
    model, ran = build(), set()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: ran.add(name))
    with torch.no_grad():
        model(noise(1, 3, 8, 8), stages=stages)
    assert {name.partition(".")[0] for name in ran} == used
    last_sam = {1: "sam12", 2: "sam23"}[stages]
    assert {name for name in ran if name.startswith(last_sam)} == {f"{last_sam}.to_residual"}


def patch_by_patch(model: MPRNet, degraded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Section 3 with one patch of one picture at a time, for comparison."""
    encoded1, decoded1, restored1, attended1 = [], [], [], []
    halves = degraded.chunk(2, dim=2)
    for half in halves:
        left, right = (model.encoder1(model.shallow1(quarter)) for quarter in half.chunk(2, dim=3))
        encoded1.append(Scales(*(torch.cat(pair, dim=3) for pair in zip(left, right, strict=True))))
        decoded1.append(model.decoder1(encoded1[-1]))
        restored1.append(model.sam12.restore(decoded1[-1].level1, half))
        attended1.append(model.sam12.attend(decoded1[-1].level1, restored1[-1]))
    top, bottom = (
        model.encoder2(
            model.merge12(torch.cat((model.shallow2(halves[k]), attended1[k]), dim=1)),
            model.csff12(encoded1[k], decoded1[k]),
        )
        for k in (0, 1)
    )
    encoded2 = Scales(*(torch.cat(pair, dim=2) for pair in zip(top, bottom, strict=True)))
    decoded2 = model.decoder2(encoded2)
    stage2 = model.sam23.restore(decoded2.level1, degraded)
    features = torch.cat((model.shallow3(degraded), model.sam23.attend(decoded2.level1, stage2)), dim=1)
    stage3 = model.tail(model.orsnet(model.merge23(features), encoded2, decoded2)) + degraded
    return torch.cat(restored1, dim=2), stage2, stage3


def test_patches_side_by_side_in_the_batch_equal_one_patch_at_a_time():
    model, degraded = build(), noise(3, 3, 24, 16)
    with torch.no_grad():
        together = model(degraded)
        for index in range(len(degraded)):
            for stage, alone in enumerate(patch_by_patch(model, degraded[index : index + 1])):
                torch.testing.assert_close(together[stage][index : index + 1], alone, rtol=0, atol=1e-12)


def test_stage_1_sees_quarters_but_its_decoder_sees_halves():
    model, degraded = build(), noise(1, 3, 32, 32)
    changed = degraded.clone()
    changed[..., 0, 0] += 0.5  # top left
    with torch.no_grad():
        moved = [(a - b).abs().amax(dim=(0, 1)) for a, b in zip(model(degraded), model(changed), strict=True)]
    assert moved[0][:16, 16:].max() > 0  # top right, through the channel attention of the decoder
    assert moved[0][16:].max() == 0  # bottom half
    assert moved[1][16:].max() > 0  # stage 2 joins the halves


def test_the_loss_of_all_stages_reaches_every_parameter():
    model = build(MPRNetConfig(n_feat=6, num_cab=1, bias=True))
    sum(picture.square().mean() for picture in model(noise(1, 3, 16, 16))).backward()
    unreached = [name for name, parameter in model.named_parameters() if not parameter.grad.abs().sum() > 0]
    # A bias before the global mean of an attention whose ReLU is shut has no gradient; no other may lack one.
    assert [name for name in unreached if ".attention." not in name] == []


def test_one_prelu_parameter_is_shared_by_every_cab():
    model = build()
    assert [name for name, parameter in model.named_parameters() if parameter.numel() == 1] == ["activation.weight"]
    cabs = [module for module in model.modules() if type(module).__name__ == "CAB"]
    assert len(cabs) > 20
    assert all(cab.activation is model.activation for cab in cabs)


def test_an_orb_s_last_convolution_never_has_a_bias():
    with_bias = {name for name, _ in MPRNet(MPRNetConfig(n_feat=6, num_cab=1, bias=True)).named_parameters()}
    assert "orsnet.orbs.0.cabs.0.conv1.bias" in with_bias
    assert not {f"orsnet.orbs.{k}.conv.bias" for k in range(3)} & with_bias


def test_max_pooling_is_a_choice_without_weights_of_its_own():
    bilinear = build()
    maxpool = build(MPRNetConfig(**{**vars(TINY), "downsampling": "maxpool"}))
    maxpool.load_state_dict(bilinear.state_dict())
    degraded = noise(1, 3, 16, 16)
    with torch.no_grad():
        assert all(not torch.allclose(a, b) for a, b in zip(bilinear(degraded), maxpool(degraded), strict=True))


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ((3, 16, 16), "(3, 16, 16)"),
        ((1, 1, 16, 16), "(1, 1, 16, 16)"),
        ((1, 3, 20, 16), "20×16"),
        ((1, 3, 16, 4), "16×4"),
        ((1, 3, 0, 16), "0×16"),
    ],
)
def test_a_shape_that_does_not_fit_is_named(shape, named):
    with pytest.raises(ConfigError) as error:
        build()(torch.zeros(shape, dtype=torch.float64))
    assert named in str(error.value)
    assert "expected" in str(error.value)


@pytest.mark.parametrize("stages", [0, 4])
def test_a_stage_that_does_not_exist_is_refused(stages):
    with pytest.raises(ConfigError, match=f"stages is {stages}; expected 1, 2 or 3"):
        build()(noise(1, 3, 8, 8), stages=stages)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"in_channels": 1}, "in_channels is 1 and out_channels is 3; expected equal"),
        ({"n_feat": 0}, "n_feat is 0"),
        ({"num_cab": 0}, "num_cab is 0"),
        ({"scale_unetfeats": -1}, "scale_unetfeats is -1"),
        ({"scale_orsnetfeats": -2}, "scale_orsnetfeats is -2"),
        ({"kernel_size": 4}, "kernel_size is 4; expected an odd number"),
        ({"kernel_size": -1}, "kernel_size is -1"),
        ({"reduction": 0}, "reduction is 0"),
        ({"reduction": 41}, "reduction is 41, more than n_feat = 40"),
        ({"downsampling": "stride"}, "downsampling is 'stride'; expected 'bilinear' or 'maxpool'"),
        ({"n_feat": 40.0}, "n_feat is 40.0; expected int"),
        ({"n_feat": True}, "n_feat is True; expected int"),
        ({"bias": 1}, "bias is 1; expected bool"),
        ({"downsampling": None}, "downsampling is None; expected str"),
    ],
)
def test_an_impossible_hyper_parameter_is_named(values, message):
    with pytest.raises(ConfigError) as error:
        MPRNetConfig(**values)
    assert message in str(error.value)


def test_outputs_know_what_was_computed():
    pictures = torch.zeros(1), torch.ones(1)
    outputs = StageOutputs(*pictures)
    assert outputs.computed == pictures
    assert outputs.last is pictures[1]
    assert outputs.stage3 is None

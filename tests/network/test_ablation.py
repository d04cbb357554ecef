"""The networks of Table 6: `tests/restoration` and `tests/training` take one through the rest of the house."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from mprnet.errors import ConfigError
from mprnet.evaluation.paper import paper_ablations
from mprnet.network import (
    AblatedMPRNet,
    MPRNet,
    MPRNetConfig,
    build,
    fold,
    set_local_pooling,
    stage_costs,
    widen,
)
from mprnet.network.blocks import SAM, ChannelAttention
from mprnet.network.stages import EncoderFusion, ORSNet, ORSNetFusion

TINY = MPRNetConfig(n_feat=6, scale_unetfeats=4, scale_orsnetfeats=2, num_cab=1)


def network_of(row):
    """Return the hyper-parameters that make a row of Table 6."""
    stages = row.combination.replace("U-Nets", "U-Net + U-Net")
    return {"combination": stages.lower().replace("-", "").replace(" ", ""), "sam": row.sam, "csff": row.csff}


ROWS = [dataclasses.replace(TINY, **network_of(row)) for row in paper_ablations()]
OTHERS = ROWS[:-1]
rows = pytest.mark.parametrize("config", OTHERS, ids=lambda config: f"{config.combination} {config.sam} {config.csff}")

THEIRS = {
    "stages.0": {"shallow": "shallow1", "encoder": "encoder1", "decoder": "decoder1", "exit": "sam12"},
    "stages.1": {
        "shallow": "shallow2",
        "encoder": "encoder2",
        "decoder": "decoder2",
        "exit": "sam23",
        "merge": "merge12",
        "csff": "csff12",
    },
    "stages.2": {"shallow": "shallow3", "merge": "merge23", "orsnet": "orsnet", "exit": "tail"},
}


def made(config: MPRNetConfig) -> MPRNet:
    """A network in float64, in which sums in another order differ by next to nothing."""
    torch.manual_seed(0)
    return build(config).double()


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def kinds(model: MPRNet) -> list[type]:
    return [type(module) for module in model.modules()]


def test_the_table_has_nine_networks_of_which_the_last_is_the_paper_s():
    assert len(set(ROWS)) == 9
    assert ROWS[-1] == TINY
    assert type(build(TINY)) is MPRNet
    assert all(type(build(config)) is AblatedMPRNet for config in OTHERS)


def test_made_with_everything_it_is_the_network_of_the_paper():
    model, ablated = made(TINY), AblatedMPRNet(TINY).double()
    weights = model.state_dict()

    def theirs(name: str) -> str:
        stage, _, rest = name.rpartition("stages.")[2].partition(".")
        if name.startswith("activation"):
            return name
        box, _, within = rest.partition(".")
        return f"{THEIRS[f'stages.{stage}'][box]}.{within}"

    names = {name: theirs(name) for name in ablated.state_dict()}
    assert sorted(names.values()) == sorted(weights)
    ablated.load_state_dict({name: weights[other] for name, other in names.items()})
    degraded = noise(2, 3, 24, 16)
    with torch.no_grad():
        for ours, expected in zip(ablated(degraded), model(degraded), strict=True):
            assert torch.allclose(ours, expected, rtol=0, atol=1e-12)


@rows
def test_every_stage_gives_a_picture_and_every_weight_is_used(config):
    model, degraded = made(config), noise(2, 3, 16, 24)
    outputs = model(degraded)
    count = len(config.subnetworks)
    assert [picture is None for picture in outputs] == [True] * (3 - count) + [False] * count
    assert all(picture.shape == degraded.shape for picture in outputs.computed)
    sum(picture.sum() for picture in outputs.computed).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@rows
def test_it_is_made_of_the_boxes_of_its_row(config):
    boxes, stages = kinds(made(config)), config.subnetworks
    assert boxes.count(ORSNet) == stages.count("orsnet")
    assert boxes.count(SAM) == (len(stages) - 1 if config.sam else 0)
    assert boxes.count(EncoderFusion) == (1 if config.csff else 0)
    assert boxes.count(ORSNetFusion) == (6 if config.csff else 0)


def test_the_last_stage_sees_the_whole_picture_and_those_before_it_halves_and_quarters():
    model, seen = made(ROWS[5]), []
    for stage in model.stages:
        stage.shallow.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        model(noise(1, 3, 16, 32))
    assert seen == [(4, 3, 8, 16), (2, 3, 8, 32), (1, 3, 16, 32)]
    for config in OTHERS[:2]:
        whole, seen[:] = made(config), []
        whole.stages[0].shallow.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
        with torch.no_grad():
            whole(noise(1, 3, 16, 32))
        assert seen == [(1, 3, 16, 32)]


def test_an_orsnet_before_the_last_stage_sees_its_own_half_alone():
    config = next(config for config in ROWS if config.combination == "orsnet+orsnet")
    model, degraded = made(config), noise(1, 3, 16, 16)
    changed = degraded.clone()
    changed[..., 8:, :] = noise(1, 3, 8, 16) / 2
    with torch.no_grad():
        before, after = model(degraded, stages=2).stage2, model(changed, stages=2).stage2
    # The last convolution, behind the seam, sees one row further.
    assert torch.equal(before[..., :7, :], after[..., :7, :])
    assert not torch.allclose(before[..., 8:, :], after[..., 8:, :])


@rows
def test_an_early_exit_equals_the_same_stage_of_a_full_pass(config):
    model, degraded = made(config), noise(1, 3, 16, 16)
    with torch.no_grad():
        full = model(degraded)
        for stage in config.stages:
            early = model(degraded, stages=stage)
            assert torch.equal(early.last, full[stage - 1])
            assert early[stage:] == (None,) * (3 - stage)


def test_a_stage_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"stage is 1, which this network \(unet\+orsnet\) does not have"):
        made(ROWS[4])(noise(1, 3, 8, 8), stages=1)


@rows
def test_it_computes_the_same_to_be_run(config):
    model, degraded = made(config), noise(1, 3, 16, 24)
    with torch.no_grad():
        expected = model(degraded)
        pictures = fold(model)(degraded, stages=config.stages)
    assert all(torch.equal(ours, expected[k - 1]) for ours, k in zip(pictures, config.stages, strict=True))


@rows
def test_in_16_bits_the_picture_that_is_added_to_is_not_rounded(config):
    model = build(config)
    for stage in model.stages:
        last = stage.exit.to_residual if isinstance(stage.exit, SAM) else stage.exit
        torch.nn.init.zeros_(last.weight)
    degraded = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(fold(model.bfloat16())(degraded)[0], degraded)


@rows
def test_local_windows_are_set_for_every_attention_and_wide_ones_change_nothing(config):
    model, degraded = made(config), noise(1, 3, 32, 48)
    with torch.no_grad():
        expected = model(degraded).last
        set_local_pooling(model, 64)
        assert torch.allclose(model(degraded).last, expected, rtol=0, atol=1e-12)
        assert all(part.window is not None for part in model.modules() if isinstance(part, ChannelAttention))
        set_local_pooling(model, 8)
        assert not torch.allclose(model(degraded).last, expected)


def test_windows_are_as_large_as_what_a_part_sees(monkeypatch):
    model = made(ROWS[5])
    monkeypatch.setattr("mprnet.network.local_pooling.FACTOR", 1)
    set_local_pooling(model, 64)
    first, second, third = model.stages
    windows = [
        (part.window.height, part.window.width)
        for part in (
            first.shallow[1].attention,
            first.encoder.level2[0].attention,
            first.decoder.level1[0].attention,
            second.decoder.skip1.attention,
            third.orsnet.orbs[0].cabs[0].attention,
        )
    ]
    assert windows == [(32, 32), (16, 16), (32, 64), (64, 64), (64, 64)]


@rows
def test_what_it_costs_is_counted_stage_by_stage(config):
    costs = stage_costs(config, (16, 16))
    assert tuple(cost.stage for cost in costs) == config.stages
    assert costs[-1].parameters == sum(parameter.numel() for parameter in build(config).parameters())


def test_more_stages_and_csff_are_more_weights():
    counts = [stage_costs(config, (16, 16))[-1].parameters for config in ROWS]
    assert counts[0] < counts[2] < counts[5]
    assert counts[5] < counts[6]
    assert counts[7] < counts[8]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"combination": "orsnet+unet"}, "combination is 'orsnet\\+unet'; expected one of unet, orsnet, unet\\+unet"),
        ({"combination": "unet"}, "sam is true, and unet is a single stage"),
        ({"combination": "unet", "sam": False}, "csff is true, and unet has no U-Net before its last stage"),
        ({"combination": "orsnet+orsnet"}, "csff is true, and orsnet\\+orsnet has no U-Net"),
        ({"sam": 1}, "sam is 1; expected bool"),
    ],
)
def test_impossible_networks_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **changes)


def test_the_network_of_the_paper_refuses_to_be_another():
    with pytest.raises(ConfigError, match=r"`mprnet.network.build` makes the others of Table 6"):
        MPRNet(ROWS[0])


def test_it_is_not_widened():
    with pytest.raises(ConfigError, match=r"the network \(unet\+orsnet\) is one of Table 6"):
        widen(build(ROWS[4]), dataclasses.replace(ROWS[4], n_feat=8))
    with pytest.raises(ConfigError, match="sam would change from True to False"):
        widen(build(TINY), dataclasses.replace(TINY, n_feat=8, sam=False))

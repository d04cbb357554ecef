from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mprnet.network import PRESETS, MPRNet, MPRNetConfig, stage_costs


@pytest.mark.parametrize("bias", [False, True])
def test_multiply_accumulates_are_half_the_operations_that_pytorch_counts(bias):
    config = MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=2, bias=bias)
    costs = stage_costs(config, (48, 64))
    for cost in costs:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            MPRNet(config)(torch.empty(1, 3, 48, 64), stages=cost.stage)
        assert cost.macs == counter.get_total_flops() // 2


def test_early_exits_of_the_deblur_preset_cost_14_and_30_per_cent():
    first, second, whole = stage_costs(PRESETS["deblur"], (256, 256))
    assert round(whole.macs / 1e9, 1) == 759.4
    assert first.macs / whole.macs == pytest.approx(0.14, abs=0.005)
    assert second.macs / whole.macs == pytest.approx(0.30, abs=0.005)


def test_the_last_exit_uses_every_parameter_and_earlier_ones_fewer():
    model = MPRNet(PRESETS["lite"])
    costs = stage_costs(PRESETS["lite"], (16, 16))
    assert [cost.stage for cost in costs] == [1, 2, 3]
    assert costs[0].parameters < costs[1].parameters < costs[2].parameters
    assert costs[2].parameters == sum(parameter.numel() for parameter in model.parameters())


def test_cost_grows_with_the_area():
    small, large = (stage_costs(PRESETS["lite"], size)[-1].macs for size in ((64, 64), (128, 64)))
    assert large / small == pytest.approx(2, rel=1e-3)  # all but the channel attention, which sees one mean

"""What a network costs: parameters and multiply-accumulates, stage by stage."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mprnet.network.ablation import build
from mprnet.network.mprnet import MPRNetConfig


class StageCost(NamedTuple):
    """The cost of leaving the network after a stage, all stages before it included."""

    stage: int
    parameters: int
    macs: int


def stage_costs(config: MPRNetConfig, size_hw: tuple[int, int] = (256, 256)) -> list[StageCost]:
    """Count, without computing anything, what each exit of a network uses.

    Multiply-accumulates are those of the convolutions (over 99.9 % of all).

    Args:
        config: the network.
        size_hw: height and width of the picture in pixels, multiples of 8.

    Returns:
        One `StageCost` an exit, cumulative: the last one is the whole network.

    Example:
        >>> stage_costs(MPRNetConfig())[-1].parameters
        3637249
    """
    with torch.device("meta"):
        model = build(config)
        picture = torch.empty(1, config.in_channels, *size_hw)
    used: set[nn.Parameter] = set()
    macs = 0

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        used.update(module.parameters())
        if isinstance(module, nn.Conv2d):
            macs += output.numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.PReLU):
            module.register_forward_hook(count)
    costs = []
    for stage in config.stages:
        used.clear()
        macs = 0
        with torch.no_grad():
            model(picture, stages=stage)
        costs.append(StageCost(stage, sum(parameter.numel() for parameter in used), macs))
    return costs

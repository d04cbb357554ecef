"""The network of the paper's Section 3, box by box."""

from mprnet.network.ablation import AblatedMPRNet, build
from mprnet.network.cost import StageCost, stage_costs
from mprnet.network.folding import FoldedMPRNet, Unfolded, fold
from mprnet.network.local_pooling import set_local_pooling
from mprnet.network.mprnet import SIZE_MULTIPLE, MPRNet, MPRNetConfig, StageOutputs
from mprnet.network.presets import PRESETS, TASKS, preset
from mprnet.network.widening import widen

__all__ = [
    "PRESETS",
    "SIZE_MULTIPLE",
    "TASKS",
    "AblatedMPRNet",
    "FoldedMPRNet",
    "MPRNet",
    "MPRNetConfig",
    "StageCost",
    "StageOutputs",
    "Unfolded",
    "build",
    "fold",
    "preset",
    "set_local_pooling",
    "stage_costs",
    "widen",
]

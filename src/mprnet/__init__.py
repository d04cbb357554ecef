"""Take rain, blur and noise out of photographs with MPRNet (Zamir et al., CVPR 2021)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mprnet.checkpoints import load_checkpoint, save_checkpoint
    from mprnet.errors import MPRNetError
    from mprnet.network import PRESETS, TASKS, MPRNet, MPRNetConfig, StageOutputs
    from mprnet.restoration import Restorer
    from mprnet.weights import find_weights, shipped_weights

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "TASKS",
    "MPRNet",
    "MPRNetConfig",
    "MPRNetError",
    "Restorer",
    "StageOutputs",
    "__version__",
    "find_weights",
    "load_checkpoint",
    "save_checkpoint",
    "shipped_weights",
]

_HOMES = {
    "PRESETS": "mprnet.network",
    "TASKS": "mprnet.network",
    "MPRNet": "mprnet.network",
    "MPRNetConfig": "mprnet.network",
    "MPRNetError": "mprnet.errors",
    "Restorer": "mprnet.restoration",
    "StageOutputs": "mprnet.network",
    "find_weights": "mprnet.weights",
    "load_checkpoint": "mprnet.checkpoints",
    "save_checkpoint": "mprnet.checkpoints",
    "shipped_weights": "mprnet.weights",
}
_ROOMS = {
    *("backends", "bench", "checkpoints", "datasets", "degradation", "errors", "evaluation", "export", "imaging"),
    *("network", "restoration", "training", "web", "weights"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import mprnet` stays light."""
    if name in _ROOMS:
        return importlib.import_module(f"mprnet.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'mprnet' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})

"""Training: recipe, loss, data and the run itself. `train` needs the extra `train`."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from mprnet.errors import MissingExtraError
from mprnet.training.recipe import (
    CleanData,
    Data,
    Optimization,
    PairData,
    Recipe,
    Validation,
    find_recipe,
    load_recipe,
    shipped_recipes,
)

if TYPE_CHECKING:
    from mprnet.training.run import TrainingResult, changes_since, train

__all__ = [
    "CleanData",
    "Data",
    "Optimization",
    "PairData",
    "Recipe",
    "TrainingResult",
    "Validation",
    "changes_since",
    "find_recipe",
    "load_recipe",
    "shipped_recipes",
    "train",
]

_NEEDS_LIGHTNING = {"TrainingResult", "changes_since", "train"}


def __getattr__(name: str) -> Any:
    """Import what needs Lightning when it is first asked for, so that a recipe can be read without it."""
    if name not in _NEEDS_LIGHTNING:
        raise AttributeError(f"module 'mprnet.training' has no attribute {name!r}")
    missing = [package for package in ("lightning", "tensorboard") if importlib.util.find_spec(package) is None]
    if missing:
        raise MissingExtraError(f'training needs {" and ".join(missing)}: pip install "mprnet[train]"')
    return getattr(importlib.import_module("mprnet.training.run"), name)

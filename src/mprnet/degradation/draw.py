"""Seeded random numbers, one a picture of the batch, and the limits of what they may be drawn from."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from mprnet.errors import ConfigError

Range = tuple[float, float]
"""Lowest and highest value of a uniform draw."""


def uniform(batch: int, limits: Range, generator: torch.Generator) -> Tensor:
    """Draw one number a picture, evenly between the limits: `(batch, 1, 1, 1)`, float32, on the generator's device."""
    low, high = limits
    return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator, device=generator.device)


def log_uniform(batch: int, limits: Range, generator: torch.Generator) -> Tensor:
    """Draw one positive number a picture, every octave between the limits equally likely: `(batch, 1, 1, 1)`."""
    low, high = limits
    return uniform(batch, (math.log(low), math.log(high)), generator).exp()


def chosen(batch: int, share: float, generator: torch.Generator) -> Tensor:
    """Choose each picture with probability `share`: `(batch, 1, 1, 1)`, bool."""
    return uniform(batch, (0.0, 1.0), generator) < share


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers, float32, on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device)


def check_settings(degradation: object, *names: str, lowest: float = 0.0, highest: float = 1e6) -> None:
    """Raise ConfigError unless these settings lie within the limits: numbers or, where the default is one, ranges.

    Args:
        degradation: a dataclass whose fields have defaults.
        names: of the fields.
        lowest: no number is to be below.
        highest: or above; of a range the lower end comes first.
    """
    for name in names:
        value = getattr(degradation, name)
        is_range = isinstance(type(degradation).__dataclass_fields__[name].default, tuple)  # type: ignore[attr-defined]
        numbers = value if is_range and isinstance(value, tuple) else (value,)
        if len(numbers) != (2 if is_range else 1) or not all(isinstance(number, Real) for number in numbers):
            raise ConfigError(f"{name} is {value!r}; expected {'(lowest, highest)' if is_range else 'a number'}")
        if not lowest <= numbers[0] <= numbers[-1] <= highest:
            order = ", the lower end first" if is_range else ""
            raise ConfigError(f"{name} is {value}; expected {lowest:g} to {highest:g}{order}")

"""Between the numbers a picture file holds and the light they stand for (IEC 61966-2-1, the sRGB curve)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def to_linear(display: Tensor) -> Tensor:
    """Turn sRGB values into linear light; any shape, float, [0, 1] to [0, 1].

    Example:
        >>> import torch
        >>> round(to_linear(torch.tensor(0.5)).item(), 3)
        0.214
    """
    display = display.clamp(min=0)
    return (display / 12.92).where(display <= 0.04045, ((display + 0.055) / 1.055) ** 2.4)


def to_display(linear: Tensor) -> Tensor:
    """Turn linear light into sRGB values; any shape, float, [0, 1] to [0, 1]. Light below 0 becomes 0."""
    linear = linear.clamp(min=0)
    return (linear * 12.92).where(linear <= 0.0031308, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055)

"""Gaussians over a field, and the unsharp mask of a camera; both lose what lies within their reach of the edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHARPENING_REACH = 3
"""How far the unsharp mask looks, in pixels."""


def inner(whole: Tensor, reach_px: int) -> Tensor:
    """Cut so much off every side."""
    return whole[..., reach_px:-reach_px, reach_px:-reach_px]


def sharpened(field: Tensor, amount: Tensor) -> Tensor:
    """Add an unsharp mask of one pixel, `amount` `(B, 1, 1, 1)` times; `SHARPENING_REACH` is lost to either side."""
    middle = inner(field, SHARPENING_REACH)
    return middle + amount * (middle - blurred(field, torch.ones_like(amount), SHARPENING_REACH))


def blurred(field: Tensor, sigma_px: Tensor, reach_px: int, *, kept: Tensor | float = 0.0) -> Tensor:
    """Blur by a Gaussian of its own width a picture.

    Args:
        field: `(B, C, H + 2 · reach_px, W + 2 · reach_px)`, float.
        sigma_px: `(B, 1, 1, 1)`, its deviation in pixels.
        reach_px: where it is cut off, to either side.
        kept: the power to which the strength that white noise loses is given back, `(B, 1, 1, 1)` or the same for all:
            at 0 the taps sum to 1, at 1 their squares do.

    Returns:
        Tensor: `(B, C, H, W)`.
    """
    batch, channels, height, width = field.shape
    offsets = torch.arange(-reach_px, reach_px + 1, device=field.device)
    taps = torch.exp(-(offsets**2) / (2 * sigma_px.view(-1, 1) ** 2))  # (B, 2 · reach_px + 1)
    taps = taps / taps.sum(dim=1, keepdim=True)
    powers = kept.view(-1, 1) if isinstance(kept, Tensor) else kept
    taps = taps / taps.square().sum(dim=1, keepdim=True).sqrt() ** powers
    taps = taps.repeat_interleave(channels, dim=0)
    flat = field.reshape(1, batch * channels, height, width)
    flat = F.conv2d(flat, taps.view(-1, 1, len(offsets), 1), groups=batch * channels)
    flat = F.conv2d(flat, taps.view(-1, 1, 1, len(offsets)), groups=batch * channels)
    return flat.view(batch, channels, *flat.shape[-2:])

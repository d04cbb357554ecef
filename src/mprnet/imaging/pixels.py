"""Pixels of 8 or 16 bits to tensors in [0, 1] and back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mprnet.errors import ImageError

Pixels = NDArray[Any]
"""uint8 or uint16."""


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """Turn pixels into what the network takes.

    Args:
        pixels: `(H, W, 3)` or `(H, W, 1)`, uint8 or uint16.

    Returns:
        Tensor: `(C, H, W)`, float32 in [0, 1], in memory of its own, strided as the pixels are (channels last).

    Raises:
        ImageError: another shape or dtype.
    """
    check_pixels(pixels)
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1).div_(float(np.iinfo(pixels.dtype).max))


def to_pixels(picture: torch.Tensor, depth: Literal[8, 16] = 8) -> Pixels:
    """Round a picture to 8 or 16 bits, values outside [0, 1] to the nearest end.

    Args:
        picture: `(3, H, W)`, or `(1, H, W)` grey, float, nominally in [0, 1], on any device.
        depth: bits a sample.

    Returns:
        NDArray: `(H, W, C)`, uint8 or uint16: `255 × picture` (`65535 × picture`) rounded to the nearest integer,
        halves to the even one.

    Raises:
        ImageError: another shape or dtype, or a value that is not a number.

    Example:
        >>> to_pixels(torch.full((3, 1, 1), 0.5)).tolist()
        [[[128, 128, 128]]]
        >>> to_pixels(torch.ones(1, 1, 1), depth=16).tolist()
        [[[65535]]]
    """
    if not picture.is_floating_point() or picture.dim() != 3 or picture.shape[0] not in (1, 3) or not picture.numel():
        raise ImageError(
            f"picture is {picture.dtype} of shape {tuple(picture.shape)}; expected a float tensor of shape (3, H, W) "
            "or (1, H, W)"
        )
    if bool(picture.isnan().any()):
        raise ImageError("picture has values that are not numbers (NaN); expected values in [0, 1]")
    dtype, stored = (np.uint8, torch.uint8) if depth == 8 else (np.uint16, torch.int32)
    largest = np.iinfo(dtype).max
    rounded = picture.detach().float().mul(largest).round_().clamp_(0, largest)
    pixels: Pixels = rounded.to("cpu", stored).permute(1, 2, 0).contiguous().numpy().astype(dtype, copy=False)
    return pixels


def to_8_bits(samples: Pixels) -> Pixels:
    """Round uint16 samples `(H, …)` to uint8, 65535 becoming 255; uint8 ones are returned as they are.

    Example:
        >>> to_8_bits(np.array([[0, 128, 129, 65535]], np.uint16)).tolist()
        [[0, 0, 1, 255]]
    """
    if samples.dtype == np.uint8:
        return samples
    rounded = np.empty(samples.shape, np.uint8)
    for row, row_rounded in zip(samples, rounded, strict=True):
        row_rounded[...] = (row.astype(np.uint32) + 128) // 257  # a row at a time: no second picture of 32 bits
    return rounded


def check_pixels(pixels: Pixels) -> None:
    """Raise ImageError unless `pixels` are uint8 or uint16 of shape `(H, W, 3)` or `(H, W, 1)`."""
    if (
        pixels.dtype not in (np.uint8, np.uint16)
        or pixels.ndim != 3
        or pixels.shape[2] not in (1, 3)
        or not pixels.size
    ):
        raise ImageError(
            f"pixels are {pixels.dtype} of shape {pixels.shape}; expected uint8 of shape (H, W, 3), or uint16, or "
            "(H, W, 1)"
        )

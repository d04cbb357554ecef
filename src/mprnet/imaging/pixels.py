"""8-bit pixels to tensors in [0, 1] and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mprnet.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Turn 8-bit pixels into what the network takes.

    Args:
        pixels: `(H, W, 3)`, uint8, 0 to 255.

    Returns:
        Tensor: `(3, H, W)`, float32 in [0, 1], in memory of its own, strided as the pixels are (channels last).

    Raises:
        ImageError: another shape or dtype.
    """
    check_pixels(pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)


def to_pixels(picture: Tensor) -> NDArray[np.uint8]:
    """Round a picture to 8 bits, values outside [0, 1] to the nearest end.

    Args:
        picture: `(3, H, W)`, float, nominally in [0, 1], on any device.

    Returns:
        NDArray: `(H, W, 3)`, uint8: `255 × picture` rounded to the nearest integer, halves to the even one.

    Raises:
        ImageError: another shape or dtype, or a value that is not a number.

    Example:
        >>> to_pixels(torch.full((3, 1, 1), 0.5)).tolist()
        [[[128, 128, 128]]]
    """
    if not picture.is_floating_point() or picture.dim() != 3 or picture.shape[0] != 3 or not picture.numel():
        raise ImageError(
            f"picture is {picture.dtype} of shape {tuple(picture.shape)}; expected a float tensor of shape (3, H, W)"
        )
    if bool(picture.isnan().any()):
        raise ImageError("picture has values that are not numbers (NaN); expected values in [0, 1]")
    rounded = picture.detach().float().mul(255).round_().clamp_(0, 255)
    pixels: NDArray[np.uint8] = rounded.to("cpu", torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return pixels


def check_pixels(pixels: NDArray[np.uint8]) -> None:
    """Raise ImageError unless `pixels` are uint8 of shape `(H, W, 3)`."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(f"pixels are {pixels.dtype} of shape {pixels.shape}; expected uint8 of shape (H, W, 3)")

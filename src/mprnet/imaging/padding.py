"""Pictures of any size, made to fit a network that takes multiples of 8, and cut back."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Extend a picture at its bottom and right until both sides are multiples of `multiple`.

    The picture is reflected about its last row or column, without repeating it; where it has too few rows or
    columns to reflect, the last one is repeated.

    Args:
        picture: `(B, C, H, W)`, float, H and W at least 1.
        multiple: at least 1.

    Returns:
        Tensor: `(B, C, H', W')`, H' and W' the next multiples; the picture itself where nothing is missing.

    Example:
        >>> import torch
        >>> pad_to_multiple(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 4)[0, 0, :, -2:].tolist()
        [[3.0, 2.0], [3.0, 2.0], [3.0, 2.0], [3.0, 2.0]]
    """
    height, width = picture.shape[-2:]
    rows, columns = -height % multiple, -width % multiple
    if columns:
        picture = F.pad(picture, (0, columns, 0, 0), mode="reflect" if columns < width else "replicate")
    if rows:
        picture = F.pad(picture, (0, 0, 0, rows), mode="reflect" if rows < height else "replicate")
    return picture


def crop(picture: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Cut `(…, H', W')` back to the `(H, W)` it was padded from; a view."""
    height, width = size_hw
    return picture[..., :height, :width]

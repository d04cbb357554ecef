"""A picture at smaller sizes: what is too coarse for the network at the picture's own size is in its reach there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from mprnet.restoration.canvas import Canvas

_STRIP_PX = 64
"""How many rows of the smaller picture are made at a time."""


def reduced_size(size_hw: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return height and width of a picture that is reduced by `factor`.

    Example:
        >>> reduced_size((481, 320), 2)
        (241, 160)
    """
    height, width = size_hw
    return -(-height // factor), -(-width // factor)


def reduced(canvas: Canvas, factor: int) -> Tensor:
    """Return the picture made smaller: the means of squares of `factor`² pixels, at the far edges of what is left.

    Args:
        canvas: the picture, `(B, C, H, W)`.
        factor: how many pixels become one along a side.

    Returns:
        Tensor: `(B, C, ⌈H / factor⌉, ⌈W / factor⌉)`, float32, on the canvas' device.
    """
    height, width = canvas.size_hw
    strip_px = _STRIP_PX * factor
    strips = [
        F.avg_pool2d(canvas.read(slice(top, top + strip_px), slice(0, width)).float(), factor, ceil_mode=True)
        for top in range(0, height, strip_px)
    ]
    return torch.cat(strips, dim=2)


class CorrectedCanvas:
    """A picture as it is after something was changed at a smaller size; it is written to as before.

    Args:
        canvas: the picture.
        correction: what is to be added to it, as it was found at a smaller size, `(B, C, h, w)`.
        factor: how many times smaller that is.
    """

    def __init__(self, canvas: Canvas, correction: Tensor, factor: int) -> None:
        self.size_hw = canvas.size_hw
        self.write = canvas.write
        self._canvas = canvas
        self._correction = correction
        self._factor = factor

    def read(self, rows: slice, columns: slice) -> Tensor:
        part = self._canvas.read(rows, columns)
        correction = self._enlarged(2, rows.start, part.shape[2], self._correction)
        return part + self._enlarged(3, columns.start, part.shape[3], correction)

    def _enlarged(self, axis: int, start: int, count: int, correction: Tensor) -> Tensor:
        """Interpolate linearly along an axis, at `count` pixels of the picture from `start` on."""
        pixels = torch.arange(start, start + count, dtype=torch.float32, device=correction.device)
        place = (pixels + 0.5) / self._factor - 0.5
        place = place.clamp(0, correction.shape[axis] - 1)
        before = place.floor().long()
        after = (before + 1).clamp(max=correction.shape[axis] - 1)
        share = (place - before).to(correction).view([-1 if dim == axis else 1 for dim in range(4)])
        return torch.lerp(correction.index_select(axis, before), correction.index_select(axis, after), share)

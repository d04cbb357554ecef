"""Pictures too large for one pass: equal tiles that overlap, blended so that no border shows."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


class Span(NamedTuple):
    """Where a tile lies along one side of the picture, and what each of its pixels counts for there.

    At every pixel of the picture the `weights` `(length,)` of the spans that cover it add up to 1.
    """

    start: int
    weights: Tensor

    @property
    def pixels(self) -> slice:
        return slice(self.start, self.start + len(self.weights))


def lay_out(length_px: int, tile_px: int, overlap_px: int, multiple: int) -> list[Span]:
    """Divide one side of a picture into as few spans as reach, equally long and evenly spread.

    Starts and lengths are multiples of `multiple`, so that every tile is sampled as the whole picture would be.
    In each overlap one span fades out as the next fades in, along sin², which is flat at both ends: the outermost
    pixels of a tile, which know least of their surroundings, count least.

    Args:
        length_px: the side, a multiple of `multiple`.
        tile_px: the longest span, a multiple of `multiple`.
        overlap_px: the shortest overlap, a multiple of `multiple`, at most half of `tile_px`.
        multiple: what the network's sizes must be multiples of.

    Example:
        >>> [span.pixels for span in lay_out(1024, 512, 64, 8)]
        [slice(0, 384, None), slice(320, 704, None), slice(640, 1024, None)]
    """
    if length_px <= tile_px:
        return [Span(0, torch.ones(length_px))]
    count = math.ceil((length_px - overlap_px) / (tile_px - overlap_px))
    # Tiles shorter than allowed, where fewer pixels computed twice are enough.
    span_px = math.ceil((length_px + (count - 1) * overlap_px) / count / multiple) * multiple
    starts = [index * (length_px - span_px) // (count - 1) // multiple * multiple for index in range(count)]
    spans = [Span(start, torch.ones(span_px)) for start in starts]
    for span, following in itertools.pairwise(spans):
        shared_px = span.start + span_px - following.start
        rise = torch.sin((torch.arange(shared_px) + 0.5) / shared_px * (math.pi / 2)) ** 2
        following.weights[:shared_px] *= rise
        span.weights[-shared_px:] *= rise.flip(0)
    # sin² and cos² add up to 1; where small tiles, rounded to `multiple`, overlap in threes, this makes them.
    total = torch.zeros(length_px)
    for span in spans:
        total[span.pixels] += span.weights
    for span in spans:
        span.weights.div_(total[span.pixels])
    return spans


def restore_tiled(
    restore: Callable[[Tensor], Tensor],
    picture: Tensor,
    *,
    tile_px: int,
    overlap_px: int,
    multiple: int,
    progress: Callable[[float], None],
) -> Tensor:
    """Restore a picture tile by tile; memory beside the picture's own depends on the tile alone.

    Args:
        restore: maps `(B, C, h, w)` to the same shape, dtype and device.
        picture: `(B, C, H, W)`, float, H and W multiples of `multiple`.
        tile_px: the largest height and width of a tile in pixels; the other lengths are as for `lay_out`.
        overlap_px: the smallest overlap of neighbours in pixels.
        multiple: what the network's sizes must be multiples of.
        progress: called after each tile with the fraction of them that is done.

    Returns:
        Tensor: `(B, C, H, W)`, dtype and device of `picture`.
    """
    height, width = picture.shape[-2:]
    rows = lay_out(height, tile_px, overlap_px, multiple)
    columns = lay_out(width, tile_px, overlap_px, multiple)
    blended = torch.zeros_like(picture)
    for done, (row, column) in enumerate(itertools.product(rows, columns), start=1):
        place = (..., row.pixels, column.pixels)
        window = torch.outer(row.weights, column.weights).to(picture)
        blended[place] += restore(picture[place]) * window
        progress(done / (len(rows) * len(columns)))
    return blended

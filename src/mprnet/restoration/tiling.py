"""Pictures too large for one pass: equal tiles that overlap, blended so that no border shows."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mprnet.imaging import pad_to_multiple
from mprnet.restoration.memory import OutOfMemory, watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from mprnet.restoration.canvas import Canvas


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
        return [Span(0, _ones(length_px))]
    count = math.ceil((length_px - overlap_px) / (tile_px - overlap_px))
    # Tiles shorter than allowed, where fewer pixels computed twice are enough.
    span_px = math.ceil((length_px + (count - 1) * overlap_px) / count / multiple) * multiple
    starts = [index * (length_px - span_px) // (count - 1) // multiple * multiple for index in range(count)]
    spans = [Span(start, _ones(span_px)) for start in starts]
    for span, following in itertools.pairwise(spans):
        shared_px = span.start + span_px - following.start
        rise = torch.sin((torch.arange(shared_px, dtype=torch.float32) + 0.5) / shared_px * (math.pi / 2)) ** 2
        following.weights[:shared_px] *= rise
        span.weights[-shared_px:] *= rise.flip(0)
    # sin² and cos² add up to 1; where small tiles, rounded to `multiple`, overlap in threes, this makes them.
    total = torch.zeros(length_px, dtype=torch.float32)
    for span in spans:
        total[span.pixels] += span.weights
    for span in spans:
        span.weights.div_(total[span.pixels])
    return spans


def restore_tiled(
    restore: Callable[[Tensor, Callable[[float], None]], Tensor],
    canvas: Canvas,
    *,
    tile_px: int,
    overlap_px: int,
    multiple: int,
    progress: Callable[[float], None],
    shrink: Callable[[int, OutOfMemory], int],
) -> None:
    """Restore a picture tile by tile; only one row of tiles is ever held, and no row is read after it is written.

    So a picture can be restored in its own place. Where memory runs out, what is written stays, and smaller tiles
    go on below it, faded in over what the larger ones had begun.

    Args:
        restore: maps `(B, C, h, w)` to `(N, C, h, w)`; it may raise as torch does when memory runs out, and call what
            it is given besides with the fraction of the tile that is done.
        canvas: the picture, of any size from 1×1.
        tile_px: the largest height and width of a tile in pixels; the other lengths are as for `lay_out`.
        overlap_px: the smallest overlap of neighbours in pixels, less where half a tile is less.
        multiple: what the network's sizes must be multiples of; the picture is padded at its bottom and right.
        progress: called after each tile, and within where `restore` says so, with the fraction that is done.
        shrink: called when memory has run out, with the longest side of the tiles that were tried and what
            happened; returns the `tile_px` to go on with, or raises.
    """
    height, width = (side + -side % multiple for side in canvas.size_hw)
    top, done, begun = 0, 0.0, None
    while top < height:
        fitting_px = min(overlap_px, tile_px // 2 // multiple * multiple)
        rows = lay_out(height - top, tile_px, fitting_px, multiple)
        columns = lay_out(width, tile_px, fitting_px, multiple)
        tried_px = max(len(rows[0].weights), len(columns[0].weights))
        # What the rows that are begun already still want.
        missing = _ones(height - top)
        if begun is not None:
            missing[: len(begun.weights)] -= begun.weights
        first, reached, step = top, done, (1 - done) / (len(rows) * len(columns))
        count = 0
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            weighed = Span(top, row.weights * missing[row.pixels])
            strip, failure = None, None
            for column in columns:

                def within(part: float, before: float = reached + count * step, step: float = step) -> None:
                    progress(min(1.0, before + part * step))

                try:
                    with watched():
                        tile = pad_to_multiple(canvas.read(weighed.pixels, column.pixels), multiple)
                        strip = _add_tile(restore(tile, within), weighed, column, width, strip)
                        del tile
                except OutOfMemory as error:
                    failure = OutOfMemory(*error.args)  # without the frames, which hold the memory
                    break
                count += 1
                done = min(1.0, reached + count * step)
                progress(done)
            if failure is not None or strip is None:
                break
            begun = _join(begun, weighed.weights, strip)
            bottom = height if following is None else first + following.start
            canvas.write(top, begun.strip[..., : bottom - top, :])
            begun = begun.below(bottom - top)
            top = bottom
        else:
            return
        if failure is not None:
            tile_px = shrink(tried_px, failure)


class _Begun(NamedTuple):
    """Rows that some tiles have contributed to, and how much those count at each row so far."""

    weights: Tensor
    strip: Tensor

    def below(self, rows: int) -> _Begun:
        return _Begun(self.weights[rows:].clone(), self.strip[..., rows:, :].clone())


def _add_tile(restored: Tensor, row: Span, column: Span, width: int, strip: Tensor | None) -> Tensor:
    """Add a restored tile to its row of tiles, `(N, C, h, W)`, which the first tile makes."""
    if strip is None:
        strip = restored.new_zeros((*restored.shape[:3], width))
    strip[..., column.pixels] += restored * torch.outer(row.weights, column.weights).to(restored)
    return strip


def _ones(count: int) -> Tensor:
    return torch.ones(count, dtype=torch.float32)  # whatever dtype the caller has made the default


def _join(begun: _Begun | None, weights: Tensor, strip: Tensor) -> _Begun:
    """Add what is begun to the strip that begins at the same row; either may be the higher one."""
    if begun is None:
        return _Begun(weights, strip)
    lower = max(0, len(begun.weights) - len(weights))
    if lower:
        weights, strip = F.pad(weights, (0, lower)), F.pad(strip, (0, 0, 0, lower))
    weights[: len(begun.weights)] += begun.weights
    strip[..., : len(begun.weights), :] += begun.strip
    return _Begun(weights, strip)

"""Pictures as the page shows them, before and after: no larger than a screen has use for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mprnet.imaging import read_frames, write_image
from mprnet.imaging.pixels import to_8_bits

if TYPE_CHECKING:
    from pathlib import Path

    from mprnet.imaging import Pixels

LARGEST_PX = 3072
"""Of the longer side; a page can be zoomed to the pixels of pictures up to this size."""


def write_preview(source: Path, target: Path, *, largest_px: int = LARGEST_PX) -> None:
    """Write what a browser can show of a picture, of an animation the first frame: 8 bits, its colours kept.

    Args:
        source: any picture that can be restored.
        target: the file to write, a WebP.
        largest_px: the longer side that it may have; a larger picture is shrunk.

    Raises:
        ImageError: `source` cannot be read, or `target` cannot be written.
    """
    picture = next(read_frames(source).frames).picture
    alpha = None if picture.alpha is None else _shrunk(to_8_bits(picture.alpha), largest_px)
    pixels = _shrunk(to_8_bits(picture.pixels), largest_px)
    if picture.is_grey:
        pixels = pixels[..., None]
    write_image(replace(picture, pixels=pixels, alpha=alpha, exif=None), target, quality=92)


def _shrunk(samples: Pixels, largest_px: int) -> Pixels:
    """Return uint8 samples of at most `largest_px` a side; without a third axis where it has one channel."""
    image = Image.fromarray(samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples)
    image.thumbnail((largest_px, largest_px), Image.Resampling.LANCZOS)
    return np.asarray(image)

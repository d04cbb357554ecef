"""Pictures no larger than they will be looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mprnet.imaging.animation import read_frames
from mprnet.imaging.pixels import to_8_bits

if TYPE_CHECKING:
    from mprnet.files import PathLike
    from mprnet.imaging.picture import Picture
    from mprnet.imaging.pixels import Pixels


def thumbnail(picture: Picture, largest_px: int) -> Picture:
    """Return a picture in 8 bits, shrunk until its longer side fits, never enlarged; without the camera's notes.

    Args:
        picture: any; it is left as it is.
        largest_px: the longer side of the result, in pixels.

    Example:
        >>> from mprnet.imaging import Picture
        >>> thumbnail(Picture(np.zeros((40, 90, 1), np.uint16)), 30).pixels.shape
        (13, 30, 1)
    """
    pixels = shrunk(picture.pixels, largest_px)
    alpha = None if picture.alpha is None else shrunk(picture.alpha[..., None], largest_px)[..., 0]
    return replace(picture, pixels=pixels, alpha=alpha, exif=None)


def first_frame(source: PathLike) -> Picture:
    """Read a picture, of an animation the first frame.

    Raises:
        ImageError, MissingExtraError: as `read_frames`.
    """
    return next(read_frames(source).frames).picture


def shrunk(pixels: Pixels, largest_px: int) -> Pixels:
    """Return `(h, w, C)`, uint8, of at most `largest_px` a side."""
    samples = to_8_bits(pixels)
    is_grey = samples.shape[2] == 1
    image = Image.fromarray(samples[..., 0] if is_grey else samples)
    image.thumbnail((largest_px, largest_px), Image.Resampling.LANCZOS)
    small = np.asarray(image)
    return small[..., None] if is_grey else small

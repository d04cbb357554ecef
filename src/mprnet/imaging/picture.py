"""A picture in memory, as files hold it: its pixels, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mprnet.errors import ImageError
from mprnet.imaging.pixels import check_pixels, to_tensor

if TYPE_CHECKING:
    from typing import Literal

    from torch import Tensor

    from mprnet.imaging.pixels import Pixels


@dataclass(frozen=True, eq=False)
class Picture:
    """What a file holds.

    Args:
        pixels: `(H, W, 3)` RGB or `(H, W, 1)` grey, uint8 or uint16, upright.
        alpha: `(H, W)`, dtype of the pixels, 0 where the picture cannot be seen; None where the file has no such
            channel. The colours are not multiplied by it.
        icc_profile: the colour space of the pixels; sRGB is meant where there is none.
        exif: the camera's notes (TIFF structure, without the `Exif` prefix), without the orientation, which the
            pixels have already.
        format: what the file was: one of `mprnet.imaging.FORMATS`' values, or `PPM`.
        stored_as: how the file had the colours, in Pillow's words: `RGB`, `L`, `P`, `CMYK`, …
        dpi: pixels an inch across and down, at which it is meant to be printed; None where the file does not say.

    Raises:
        ImageError: another shape or dtype.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None
    format: str | None = None
    stored_as: str | None = None
    dpi: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_pixels(self.pixels)
        if self.alpha is not None and (self.alpha.dtype, self.alpha.shape) != (self.pixels.dtype, self.size_hw):
            raise ImageError(
                f"alpha is {self.alpha.dtype} of shape {self.alpha.shape}; expected {self.pixels.dtype} of shape "
                f"{self.size_hw}, as the pixels"
            )

    @property
    def depth(self) -> Literal[8, 16]:
        """Bits a sample."""
        return 8 if self.pixels.dtype == np.uint8 else 16

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def is_grey(self) -> bool:
        return bool(self.pixels.shape[2] == 1)

    @property
    def is_opaque(self) -> bool:
        """Whether nothing of the picture is transparent, with an alpha channel or without."""
        return self.alpha is None or bool(self.alpha.min() == np.iinfo(self.alpha.dtype).max)

    def rgb(self) -> Pixels:
        """Return the pixels as `(H, W, 3)`; grey ones three times over."""
        return np.repeat(self.pixels, 3, axis=2) if self.is_grey else self.pixels

    def to_tensor(self) -> Tensor:
        """Return the pixels as `(C, H, W)`, float32 in [0, 1]; 3 channels, or 1 where the picture is grey."""
        return to_tensor(self.pixels)

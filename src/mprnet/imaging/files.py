"""Picture files to pixels and back: PNG and JPEG, RGB, 8 bits.

A file is measured before it is decoded, and written whole or not at all. What this version cannot keep (alpha,
16 bits, CMYK, animation) is refused rather than silently lost.
"""

from __future__ import annotations

import os
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from mprnet.errors import ImageError
from mprnet.files import written_whole
from mprnet.imaging.pixels import check_pixels, to_pixels, to_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

PathLike = str | os.PathLike[str]

MAX_PIXELS = 128 * 1024 * 1024
"""Larger pictures are refused before they are decoded: 134 million pixels, above what any common camera makes."""

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""The endings of the files that can be read and written, in lower case, and their formats."""

_JPEG_QUALITY = 95

# Exif 2.32, 4.6.4: where row 0 and column 0 of the stored picture are when it is looked at.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """What a file holds.

    Args:
        pixels: `(H, W, 3)`, uint8 RGB, upright.
        icc_profile: the colour space of the pixels; sRGB is meant where there is none.
        exif: the camera's notes, without the orientation, which the pixels have already.
    """

    pixels: NDArray[np.uint8]
    icc_profile: bytes | None = None
    exif: bytes | None = None

    def to_tensor(self) -> Tensor:
        """Return the pixels as `(3, H, W)`, float32 in [0, 1]."""
        return to_tensor(self.pixels)


def read_image(path: PathLike, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a PNG or JPEG file.

    Grey and palette pictures become RGB, and an alpha channel that is opaque everywhere is left out: nothing is
    lost. The EXIF orientation is applied.

    Args:
        path: the file, whatever its name ends in.
        max_pixels: refuse larger pictures before they are decoded.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, too large, or of a kind that would lose
            something (see the module).
    """
    path = Path(path)
    try:
        if not path.exists():
            raise ImageError(f"{path} does not exist; expected a PNG or JPEG file")
        if not path.is_file():
            raise ImageError(f"{path} is a folder or no ordinary file; expected a PNG or JPEG file")
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # about sizes, which are checked here, and about sloppy metadata
            header = file.read(25)
            if not header:
                raise ImageError(f"{path} is empty (0 bytes); copy or download it again")
            file.seek(0)
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                _check_kind(path, image, header, max_pixels)
                image.load()
                return _to_picture(path, image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is no PNG or JPEG picture; other kinds are not supported yet") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} is too large: {error}") from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory") from error
    except Exception as error:  # damaged bytes make the decoders raise nearly anything
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"{path} cannot be read: {error.strerror}") from error
        raise ImageError(f"{path} is truncated or damaged: {error}") from error


def _check_kind(path: Path, image: Image.Image, header: bytes, max_pixels: int) -> None:
    """Raise unless the header promises a picture that can be read without loss."""
    if image.width * image.height > max_pixels:
        raise ImageError(f"{path} is {image.width}×{image.height}; expected at most {max_pixels} pixels")
    kind = None
    if image.format == "PNG" and header[24] == 16:  # the depth; Pillow would reduce it to 8 without a word
        kind = "16 bits a channel"
    elif image.mode == "CMYK":
        kind = "CMYK colours"
    elif image.format == "PNG" and getattr(image, "is_animated", False):
        kind = "an animation"
    if kind:
        raise ImageError(f"{path} has {kind}, which is not supported yet; expected RGB, 8 bits; convert it first")


def _to_picture(path: Path, image: Image.Image) -> Picture:
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise ImageError(f"{path} is transparent in places, which is not supported yet; remove its alpha channel first")
    exif = image.getexif()
    turn = _TURNS.get(exif.pop(ExifTags.Base.Orientation, 1))
    upright = image if turn is None else image.transpose(turn)
    return Picture(
        np.array(upright.convert("RGB")),
        # The profile of a grey picture does not describe RGB.
        image.info.get("icc_profile") if image.mode in ("RGB", "RGBA", "P") else None,
        _to_bytes(exif),
    )


def _to_bytes(exif: Image.Exif) -> bytes | None:
    try:
        return exif.tobytes() if len(exif) else None
    except (TypeError, ValueError, AttributeError, struct.error):
        return None  # entries of the wrong type, which sloppy programs write: no reason to lose the picture


def write_image(
    picture: Tensor | NDArray[np.uint8],
    path: PathLike,
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    jpeg_quality: int = _JPEG_QUALITY,
    overwrite: bool = False,
) -> None:
    """Write a picture as PNG or JPEG, whole or not at all.

    JPEG is written with the chroma at full resolution (4:4:4).

    Args:
        picture: `(3, H, W)`, float in [0, 1], or `(H, W, 3)`, uint8; RGB.
        path: the file to write, ending in `.png`, `.jpg` or `.jpeg`, in a folder that exists.
        icc_profile: the colour space of the picture, where it is not sRGB.
        exif: the camera's notes, as `read_image` gives them.
        jpeg_quality: 1 to 100, as libjpeg counts it.
        overwrite: replace a file that is already there.

    Raises:
        ImageError: the file exists and `overwrite` was not given, has another ending, or cannot be written; or
            the picture has another shape or dtype.
    """
    path = Path(path)
    check_target(path, overwrite)
    pixels = to_pixels(picture) if isinstance(picture, Tensor) else picture
    check_pixels(pixels)
    image = Image.fromarray(pixels)
    options: dict[str, object] = {"icc_profile": icc_profile, "exif": exif}
    if FORMATS[path.suffix.lower()] == "JPEG":
        options |= {"quality": jpeg_quality, "subsampling": "4:4:4"}
    try:
        with written_whole(path) as unfinished, unfinished.open("xb") as file:
            image.save(file, FORMATS[path.suffix.lower()], **{k: v for k, v in options.items() if v is not None})
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} cannot be written: {reason}") from error


def check_target(path: Path, overwrite: bool) -> None:
    """Raise ImageError where `write_image` would, as far as the name alone tells: ask before the hard work."""
    if path.suffix.lower() not in FORMATS:
        raise ImageError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(FORMATS)}")
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise ImageError(f"{path} cannot be written: {error.strerror or error}") from error
    if is_folder:
        raise ImageError(f"{path} is a folder; expected a file to write")
    if exists and not overwrite:
        raise ImageError(f"{path} exists; choose another name or ask to overwrite it")

"""Picture files to pixels and back: every format of `FORMATS`, in 8 bits, PNG and TIFF in 16 as well.

| | grey | alpha | 16 bits | frames | profile, EXIF | bytes a pixel beside the pixels: reading, writing |
|---|---|---|---|---|---|---|
| PNG | yes | yes | yes | yes | yes | 4, 4; in 16 bits 4, a strip |
| TIFF | yes | yes | yes | – | yes | 4, a strip; in 16 bits 4, a strip |
| JPEG | yes | – | – | – | yes | 4, 4; reading progressive ones 7 |
| WebP | as RGB | yes | – | yes | yes | 12, 10 |
| AVIF | not with alpha | yes | – | yes | yes | 10, 44 |
| HEIF | not with alpha | within rounding | – | – | yes | 7, 33 |
| BMP | yes | – | – | – | – | 4, 4 |
| GIF | as RGB | on or off | – | yes | – | 4, 14 |

A file is measured before it is decoded, and written whole or not at all. Grey that a format does not hold becomes RGB,
as palettes do; CMYK becomes sRGB, through its profile where it has one, and so does what is written with a profile to
BMP or GIF; AVIF and HEIF of 10 or 12 bits are rounded to 8. PNG, TIFF, JPEG and BMP keep how many pixels make an inch.
What cannot be kept (floating-point samples, several pages of a TIFF, animations where one picture is asked for, wide
gamut or HDR that no profile describes) is refused rather than silently lost. Of a HEIF with several pictures the
primary one is taken.
"""

from __future__ import annotations

import io
import os
import stat
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from PIL import Image, features
from torch import Tensor

from mprnet.errors import ConfigError, ImageError
from mprnet.files import PathLike, obstacle, status_of, written_whole
from mprnet.imaging.decoding import MAX_PIXELS, decode, name_of, open_picture, upright
from mprnet.imaging.formats import FORMATS, HOLD_16_BITS, check_holds, format_named
from mprnet.imaging.heif import check_heif, save_heif
from mprnet.imaging.metadata import PREFIX
from mprnet.imaging.picture import Picture
from mprnet.imaging.pixels import to_8_bits, to_pixels
from mprnet.imaging.profiles import fit_profile
from mprnet.imaging.strips import write_png, write_tiff

if TYPE_CHECKING:
    from collections.abc import Callable

    from mprnet.imaging.pixels import Pixels

Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
"""How finely JPEG, AVIF and HEIF keep colours: as finely as light, half across, half across and down."""

_QUALITY = {"JPEG": 95, "WEBP": 95, "AVIF": 90, "HEIF": 90}
_JPEG_EXIF_BYTES = 65_533 - len(PREFIX)  # what one segment holds; longer notes are left out rather than the picture
_SUBSAMPLED = frozenset({"JPEG", "AVIF", "HEIF"})


def read_image(source: PathLike | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture.

    The EXIF orientation is applied, and taken out of the EXIF data that are kept.

    Args:
        source: the file, whatever its name ends in, or a stream of bytes (a pipe too).
        max_pixels: refuse larger pictures before they are decoded.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, too large, animated (`read_frames` reads those),
            or of a kind that would lose something (see the module).
        MissingExtraError: the file is HEIF, and pillow-heif is not installed.
    """
    return upright(*_read(source, max_pixels))


def _read(source: PathLike | BinaryIO, max_pixels: int) -> tuple[Picture, int]:
    with open_picture(source, max_pixels) as opened:
        if opened.is_animated:
            raise ImageError(f"{opened.name} has an animation; expected one picture (read_frames reads every frame)")
        return decode(opened)


def write_image(
    picture: Picture | Tensor | Pixels,
    target: PathLike | BinaryIO,
    *,
    format: str | None = None,  # noqa: A002 Pillow's word for it, and the command's
    quality: int | None = None,
    subsampling: Subsampling | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    overwrite: bool = False,
    commit: Callable[[Path], None] = lambda _: None,
) -> None:
    """Write a picture, whole or not at all.

    A format of 8 bits rounds a picture of 16.

    Args:
        picture: a picture; or its pixels alone, `(H, W, C)`, uint8 or uint16, or `(C, H, W)`, float in [0, 1], which
            become 8 bits; C is 3, or 1 for grey.
        target: the file to write, in a folder that exists, or a stream of bytes, which gets nothing if the picture
            cannot be encoded.
        format: one of `FORMATS`' values; by the file's ending where not given. Streams need it.
        quality: of JPEG, WebP, AVIF and HEIF, 1 to 100, as their encoders count it; 95, for AVIF and HEIF 90, where
            not given. WebP of quality 100 loses nothing. The other formats never do, but for GIF, of 256
            colours, and take no notice.
        subsampling: of JPEG, AVIF and HEIF; "4:4:4" where not given, since fine coloured detail is what was restored.
        icc_profile: the colour space of pixels given alone, where it is not sRGB.
        exif: the camera's notes for pixels given alone, as `read_image` gives them.
        overwrite: replace a file that is already there.
        commit: called with the finished file before it gets its name; where it fails, the file is not there.

    Raises:
        ConfigError: quality, subsampling or format are none that there are.
        ImageError: the file exists and `overwrite` was not given, has another ending, or cannot be written; the
            picture has another shape or dtype, or the format cannot hold it.
        MissingExtraError: HEIF is asked for, and pillow-heif is not installed.
    """
    if not isinstance(picture, Picture):
        picture = Picture(
            to_pixels(picture) if isinstance(picture, Tensor) else picture, icc_profile=icc_profile, exif=exif
        )
    name, format_ = name_of(target), target_format(target, format)
    check_quality(quality, subsampling)
    if isinstance(target, str | os.PathLike):
        check_target(Path(target), overwrite, picture=picture, format=format_)
    else:
        check_holds(format_, picture, name)
    encoded = picture
    write_to(target, name, lambda file: _encode(encoded, file, format_, name, quality, subsampling), commit)


def target_format(target: PathLike | BinaryIO, format: str | None = None) -> str:  # noqa: A002
    """Return the format to write: the one asked for, or by the target's ending.

    Raises:
        ImageError: there is no such format, or none is asked for and the target is a stream or ends in another way; or
            Pillow was built without it.
    """
    if format is not None:
        format_ = format_named(format)
    elif not isinstance(target, str | os.PathLike):
        raise ImageError(f"{name_of(target)} has no ending to tell the format by; name the format")
    elif (ending := Path(target).suffix.lower()) in FORMATS:
        format_ = FORMATS[ending]
    else:
        raise ImageError(
            f"{target} ends in {Path(target).suffix!r}; expected one of {', '.join(FORMATS)}; or ask for a format"
        )
    if format_ in ("AVIF", "WEBP") and not features.check(format_.lower()):
        raise ImageError(f"{name_of(target)} cannot be written: this Pillow was built without {format_}")
    return format_


def check_quality(quality: int | None, subsampling: str | None = None) -> None:
    """Raise ConfigError unless encoders know such a quality and subsampling."""
    if quality is not None and not (isinstance(quality, int) and 1 <= quality <= 100):
        raise ConfigError(f"quality is {quality!r}; expected a whole number from 1 to 100")
    if subsampling not in (None, "4:4:4", "4:2:2", "4:2:0"):
        raise ConfigError(f"subsampling is {subsampling!r}; expected 4:4:4, 4:2:2 or 4:2:0")


def check_target(
    path: Path,
    overwrite: bool,
    *,
    picture: Picture | None = None,
    format: str | None = None,  # noqa: A002
) -> None:
    """Raise ImageError where `write_image` would, as far as can be told before the hard work.

    Args:
        path: the file to write.
        overwrite: whether a file that is already there may be replaced.
        picture: what is to be written, or a picture of the same size and channels.
        format: as `write_image`.

    Raises:
        ImageError: as `write_image`.
        MissingExtraError: as `write_image`.
    """
    format_ = target_format(path, format)
    if format_ == "HEIF":
        check_heif(str(path))
    if picture is not None:
        check_holds(format_, picture, str(path))
    try:
        status = status_of(path)
    except OSError as error:
        raise ImageError(f"{path} cannot be written: {error.strerror or error}") from error
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path} is a folder; expected a file to write")
    if status is not None and not overwrite:
        raise ImageError(f"{path} exists; choose another name or ask to overwrite it")
    if reason := obstacle(path):
        raise ImageError(f"{path} cannot be written: {reason}")


def write_to(
    target: PathLike | BinaryIO, name: str, encode: Callable[[BinaryIO], None], commit: Callable[[Path], None]
) -> None:
    """Let `encode` write a file or stream, whole or not at all; `commit` sees a finished file before it has its name.

    Raises:
        ImageError: it cannot be written.
    """
    try:
        if isinstance(target, str | os.PathLike):
            with written_whole(Path(target)) as unfinished:
                with unfinished.open("xb") as file:
                    encode(file)
                commit(unfinished)
        else:
            content = io.BytesIO()  # encoders seek, and what fails halfway must not be in the stream
            encode(content)
            target.write(content.getbuffer())
            target.flush()
    except (OSError, ValueError, MemoryError, RuntimeError, TypeError, SyntaxError, struct.error) as error:
        if isinstance(error, ImageError):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name} cannot be written: {reason}") from error


def _encode(
    picture: Picture, file: BinaryIO, format_: str, name: str, quality: int | None, subsampling: Subsampling | None
) -> None:
    if picture.alpha is not None and format_ in ("JPEG", "BMP"):
        picture = replace(picture, alpha=None)  # opaque, as was checked
    picture = fit_profile(picture, format_)
    if format_ == "TIFF":
        write_tiff(picture, file)
    elif picture.depth == 16 and format_ in HOLD_16_BITS:
        write_png(picture, file)
    else:
        if format_ == "GIF" and picture.alpha is not None:
            picture = replace(picture, pixels=picture.rgb())  # beside grey, Pillow's encoder forgets the alpha channel
        options = save_options(picture, format_, quality, subsampling)
        image = to_image(picture)
        if format_ == "HEIF":
            save_heif(image, file, name, **options)
        else:
            image.save(file, format_, **options)


def save_options(
    picture: Picture, format_: str, quality: int | None, subsampling: Subsampling | None
) -> dict[str, Any]:
    """Return the words by which Pillow's encoder of a format is told profile, EXIF and quality."""
    options: dict[str, Any] = {}
    if picture.icc_profile is not None:
        options["icc_profile"] = picture.icc_profile
    if picture.exif is not None and (format_ != "JPEG" or len(picture.exif) <= _JPEG_EXIF_BYTES):
        # Pillow takes the prefix out of a WebP's, but not out of an animated one's.
        options["exif"] = picture.exif if format_ == "WEBP" else PREFIX + picture.exif
    if picture.dpi is not None and format_ in ("PNG", "JPEG", "BMP"):
        options["dpi"] = picture.dpi
    if format_ in _QUALITY:
        options["quality"] = quality or _QUALITY[format_]
    if format_ in _SUBSAMPLED and not picture.is_grey:
        options["subsampling"] = subsampling or "4:4:4"
    if format_ == "WEBP":
        # "exact" keeps the colours that are restored where nothing is seen of them.
        options |= {"lossless": options["quality"] == 100, "exact": True}
    return options


def to_image(picture: Picture) -> Image.Image:
    """Return a picture as Pillow's, in 8 bits, of mode L, LA, RGB or RGBA."""
    pixels = to_8_bits(picture.pixels)
    if picture.alpha is None:
        return Image.fromarray(pixels[..., 0] if picture.is_grey else pixels)
    return Image.fromarray(np.dstack((pixels, to_8_bits(picture.alpha))))

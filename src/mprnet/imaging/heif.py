"""HEIF pictures (`.heic`, `.heif`), through pillow-heif, the extra `heif`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mprnet.errors import ImageError, MissingExtraError

if TYPE_CHECKING:
    from typing import BinaryIO

    from PIL import Image


def open_heif(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """Decode the primary picture of a HEIF file, 8 bits, turned as the file asks.

    Raises:
        ImageError: it is larger than `max_pixels`.
        MissingExtraError: pillow-heif is not installed.
    """
    heif = _pillow_heif(name).open_heif(file, convert_hdr_to_8bit=True)
    width, height = heif.size
    if width * height > max_pixels:
        raise ImageError(f"{name} is {width}×{height}; expected at most {max_pixels} pixels")
    image: Image.Image = heif.to_pillow()
    if exif := heif.info.get("exif"):
        image.info["exif"] = exif  # with its orientation, by which the sizes in it are turned, too
    return image


def save_heif(image: Image.Image, file: BinaryIO, name: str, **options: Any) -> None:
    """Encode an image of mode L, LA, RGB or RGBA.

    Raises:
        MissingExtraError: pillow-heif is not installed.
    """
    pillow_heif = _pillow_heif(name)
    if "x265" in pillow_heif.libheif_info()["encoders"]:
        # Eleven times as fast as its own choice, at the same error and an eighth more bytes.
        options["enc_params"] = {"preset": "ultrafast"}
    pillow_heif.from_pillow(image).save(file, **options)


def check_heif(name: str) -> None:
    """Raise MissingExtraError where pillow-heif is not installed."""
    _pillow_heif(name)


def _pillow_heif(name: str) -> Any:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError(f'{name} needs pillow-heif: pip install "mprnet[heif]"') from error
    return pillow_heif

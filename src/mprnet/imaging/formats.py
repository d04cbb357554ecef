"""The kinds of picture file: how a name and a file's first bytes tell them, and what each can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mprnet.errors import ImageError

if TYPE_CHECKING:
    from mprnet.imaging.picture import Picture

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".hif": "HEIF",
}
"""The endings of the files that can be read and written, in lower case, and their formats; `.heic`, `.heif`
and `.hif` need the extra `heif`."""

HOLD_ALPHA = frozenset({"PNG", "TIFF", "WEBP", "GIF", "AVIF", "HEIF"})
HOLD_16_BITS = frozenset({"PNG", "TIFF"})
HOLD_PROFILE = frozenset({"PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF"})
HOLD_FRAMES = frozenset({"GIF", "WEBP", "PNG", "AVIF"})

_LONGEST_SIDE_PX = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535, "AVIF": 32_768, "HEIF": 65_535}

HEADER_BYTES = 64
"""How much of a file `recognise` wants to see."""


def recognise(header: bytes) -> str | None:
    """Return the format that a file's first bytes promise, whatever its name; None where it is none of ours.

    Besides those of `FORMATS` it may be `PPM`, which is read and not written.

    Example:
        >>> recognise(bytes.fromhex("ffd8ffe0")), recognise(b"%PDF-1.7")
        ('JPEG', None)
    """
    if header[4:8] == b"ftyp":
        length = int.from_bytes(header[:4], "big")
        brands = {header[start : start + 4] for start in (8, *range(16, min(length, len(header)), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIF" if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"} else None
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WEBP"
    if header[:1] == b"P" and header[1:2] in b"456" and header[2:3].isspace():
        return "PPM"
    beginnings = {
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"\xff\xd8\xff": "JPEG",
        b"GIF87a": "GIF",
        b"GIF89a": "GIF",
        b"BM": "BMP",
        b"II*\0": "TIFF",
        b"MM\0*": "TIFF",
        b"II+\0": "TIFF",
    }
    return next((format_ for beginning, format_ in beginnings.items() if header.startswith(beginning)), None)


def format_named(name: str) -> str:
    """Return the format that a user calls `name`: one of `FORMATS`' values, or an ending with or without its dot.

    Raises:
        ImageError: there is none of this name.

    Example:
        >>> format_named("jpg"), format_named(".TIF"), format_named("WebP")
        ('JPEG', 'TIFF', 'WEBP')
    """
    upper = name.upper()
    found = upper if upper in FORMATS.values() else FORMATS.get("." + name.lower().removeprefix("."))
    if found is None:
        raise ImageError(
            f"{name!r} is no format of pictures; expected one of {', '.join(sorted(set(FORMATS.values())))}"
        )
    return found


def holds_grey(format_: str, *, has_alpha: bool, depth: int = 8) -> bool:
    """Tell whether a format keeps grey as grey; otherwise it becomes RGB.

    Example:
        >>> holds_grey("AVIF", has_alpha=False), holds_grey("AVIF", has_alpha=True), holds_grey("WEBP", has_alpha=False)
        (True, False, False)
    """
    if format_ == "TIFF" and has_alpha and depth == 16:  # Pillow, and so this package, reads none
        return False
    return format_ not in ("WEBP", "GIF") and not (has_alpha and format_ in ("AVIF", "HEIF"))


def check_holds(format_: str, picture: Picture, name: str) -> None:
    """Raise ImageError where a format cannot hold a picture's alpha channel or size.

    Sixteen bits are not asked for: who chooses a format of 8 bits asks for rounding.
    """
    if format_ not in HOLD_ALPHA and picture.alpha is not None and not picture.is_opaque:
        holding = ", ".join(sorted(HOLD_ALPHA))
        raise ImageError(
            f"{name} cannot be written: {format_} holds no transparency, which the picture has; choose {holding}"
        )
    longest = _LONGEST_SIDE_PX.get(format_)
    if longest is not None and max(picture.size_hw) > longest:
        height, width = picture.size_hw
        raise ImageError(
            f"{name} cannot be written: the picture is {width}×{height}, {format_} holds {longest} pixels a side at "
            "most; choose PNG or TIFF"
        )

"""Pictures of 8 and 16 bits written a strip of rows at a time, in memory that does not grow with the picture.

Pillow writes no colours of 16 bits, so these two writers stand here: PNG and TIFF, both compressed without loss.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mprnet.imaging.formats import holds_grey
from mprnet.imaging.metadata import pack_directory, texts_and_directories

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from mprnet.imaging.picture import Picture
    from mprnet.imaging.pixels import Pixels

_STRIP_BYTES = 4 * 2**20


def write_png(picture: Picture, file: BinaryIO) -> None:
    """Write a PNG with its profile and EXIF.

    Each row is stored as its difference to the one above it (filter "up"): for photographs of 16 bits within 3 % of
    the size that the choice of the best filter for every row gives.

    Source:
        W3C Portable Network Graphics (PNG) Specification, third edition, sections 9 to 11.
    """

    def chunk(kind: bytes, data: bytes) -> None:
        file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))

    height, width = picture.size_hw
    colour_type = (0 if picture.is_grey else 2) + (4 if picture.alpha is not None else 0)
    file.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, picture.depth, colour_type, 0, 0, 0))
    if picture.icc_profile is not None:
        chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc_profile))
    if picture.dpi is not None:
        chunk(b"pHYs", struct.pack(">IIB", *(round(dots / 0.0254) for dots in picture.dpi), 1))  # a metre
    if picture.exif is not None:
        chunk(b"eXIf", picture.exif)
    squeeze = zlib.compressobj()
    above: Pixels | None = None
    for samples in _strips(picture):
        rows = samples.astype(samples.dtype.newbyteorder(">"), copy=False).view(np.uint8).reshape(len(samples), -1)
        if above is None:
            above = np.zeros_like(rows[0])
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 2
        filtered[0, 1:] = rows[0] - above
        filtered[1:, 1:] = rows[1:] - rows[:-1]
        above = rows[-1].copy()
        if data := squeeze.compress(filtered.tobytes()):
            chunk(b"IDAT", data)
    chunk(b"IDAT", squeeze.flush())
    chunk(b"IEND", b"")


def write_tiff(picture: Picture, file: BinaryIO) -> None:
    """Write a TIFF with its profile and EXIF: strips, Deflate, differences along the rows.

    Of the EXIF data the texts (who, when, which camera) and the EXIF and GPS directories are kept.

    Args:
        picture: less than 4 GiB when compressed.
        file: must be able to seek.

    Source:
        TIFF 6.0, sections 2, 8, 14 and 18; TIFF Technical Note 2 (Deflate).
    """
    height, width = picture.size_hw
    if picture.is_grey and not holds_grey("TIFF", has_alpha=picture.alpha is not None, depth=picture.depth):
        picture = replace(picture, pixels=picture.rgb())
    channels = picture.pixels.shape[2] + (picture.alpha is not None)
    file.write(b"II*\0" + bytes(4))
    offsets: list[int] = []
    counts: list[int] = []
    rows_a_strip = _rows_a_strip(picture)
    for samples in _strips(picture):
        samples[:, 1:] -= samples[:, :-1].copy()
        data = zlib.compress(samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes())
        offsets.append(file.tell())
        counts.append(len(data))
        file.write(data)
    file.write(bytes(file.tell() % 2))
    texts, directories = texts_and_directories(picture.exif) if picture.exif is not None else ({}, {})
    pointers = {}
    for tag, entries in directories.items():
        pointers[tag] = file.tell()
        data = pack_directory(tag, entries, pointers[tag])
        file.write(data + bytes(len(data) % 2))
    entries_by_tag = {
        256: _longs(width),
        257: _longs(height),
        258: _shorts(*[picture.depth] * channels),
        259: _shorts(8),  # Deflate
        262: _shorts(1 if picture.is_grey else 2),  # black is zero, or RGB
        273: _longs(*offsets),
        277: _shorts(channels),
        278: _longs(rows_a_strip),
        279: _longs(*counts),
        284: _shorts(1),  # samples side by side
        317: _shorts(2),  # differences along the rows
        **{tag: _texts(text) for tag, text in texts.items()},
        **{tag: _longs(offset) for tag, offset in pointers.items()},
    }
    if picture.dpi is not None:
        entries_by_tag |= {tag: _ratio(dots) for tag, dots in zip((282, 283), picture.dpi, strict=True)}
        entries_by_tag[296] = _shorts(2)  # an inch
    if picture.alpha is not None:
        entries_by_tag[338] = _shorts(2)  # alpha that the colours are not multiplied by
    if picture.icc_profile is not None:
        entries_by_tag[34675] = (7, len(picture.icc_profile), picture.icc_profile)
    start = file.tell()
    file.write(_pack(entries_by_tag, start))
    file.seek(4)
    file.write(struct.pack("<L", start))


def _pack(entries: dict[int, tuple[int, int, bytes]], offset: int) -> bytes:
    """Return the directory of a little-endian TIFF; `entries` are kind, count and value by tag."""
    head, tail = struct.pack("<H", len(entries)), b""
    tail_offset = offset + 2 + 12 * len(entries) + 4
    for tag, (kind, count, value) in sorted(entries.items()):
        place = value.ljust(4, b"\0")
        if len(value) > 4:
            place = struct.pack("<L", tail_offset + len(tail))
            tail += value + bytes(len(value) % 2)
        head += struct.pack("<HHL", tag, kind, count) + place
    return head + bytes(4) + tail


def _shorts(*values: int) -> tuple[int, int, bytes]:
    return 3, len(values), struct.pack(f"<{len(values)}H", *values)


def _longs(*values: int) -> tuple[int, int, bytes]:
    return 4, len(values), struct.pack(f"<{len(values)}L", *values)


def _ratio(value: float) -> tuple[int, int, bytes]:
    return 5, 1, struct.pack("<LL", round(value * 10_000), 10_000)


def _texts(text: str) -> tuple[int, int, bytes]:
    data = text.encode("latin-1", "replace") + b"\0"  # the bytes that Pillow made the text of
    return 2, len(data), data


def _strips(picture: Picture) -> Iterator[Pixels]:
    """Yield the picture's rows, alpha behind the colours, in memory that may be changed."""
    step = _rows_a_strip(picture)
    for top in range(0, picture.size_hw[0], step):
        pixels = picture.pixels[top : top + step]
        yield pixels.copy() if picture.alpha is None else np.dstack((pixels, picture.alpha[top : top + step]))


def _rows_a_strip(picture: Picture) -> int:
    height, width = picture.size_hw
    return min(height, max(1, _STRIP_BYTES // (width * 4 * picture.depth // 8)))

"""The camera's notes (EXIF) of a picture: what is no longer true taken out, everything else left as it is.

That is the orientation, and the thumbnail, which shows the picture before. Nothing is interpreted but the tables of
contents, so that notes that programs do not agree on (those of the camera's maker) survive byte for byte. XMP and IPTC
are not kept.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mprnet.imaging.directories import excess_in

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = b"Exif\0\0"
"""What stands before the notes in JPEG files."""

SIDEWAYS = frozenset({5, 6, 7, 8})
"""The orientations whose stored rows are the columns that are looked at."""

_ENTRY_BYTES = 12
_SIDES = (0xA002, 0xA003)  # of the whole picture: across, down
_ASCII, _SHORT, _LONG = 2, 3, 4

TEXTS = tuple(
    int(tag)
    for tag in (
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.Software,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.HostComputer,
        ExifTags.Base.Copyright,
    )
)
"""The notes of the first directory that are texts about the picture, not about how it is stored."""

DIRECTORIES = (int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo))


def take_orientation(exif: bytes | None) -> tuple[int, bytes | None]:
    """Split EXIF data into the orientation, 1 to 8, and the rest, without the thumbnail.

    The entry is cut out of its directory and the others move up, within the room the directory had: nothing else
    moves, so that every offset stays true. Nothing leads to the thumbnail any more. Where the orientation turns the
    picture on its side, the width and height that the notes give change places.

    Args:
        exif: as files have it, with or without the `Exif` prefix.

    Returns:
        tuple: the orientation, 1 (upright) where there is none; and the data without it and without the prefix,
        None where nothing is left.

    Source:
        Exif 2.32, 4.5.2, 4.6.3 and 4.6.4; TIFF 6.0, section 2.
    """
    data = bytearray(exif or b"")
    while data.startswith(PREFIX):  # some PNGs have one of their own, before which Pillow sets another
        del data[: len(PREFIX)]
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    try:
        if order is None:
            return 1, None
        (start,) = struct.unpack_from(f"{order}L", data, 4)
        places, end = _places(data, order, start)
        tail = min(end + 4, len(data))
        data[end:tail] = bytes(tail - end)  # where the next directory is, the thumbnail's
        place = places.get(ExifTags.Base.Orientation)
        if place is None:
            return 1, bytes(data)
        _, kind, _, value = struct.unpack_from(f"{order}HHLH", data, place)
        orientation = value if kind == _SHORT and 1 <= value <= 8 else 1
        if orientation in SIDEWAYS and (notes := places.get(ExifTags.IFD.Exif)):
            _swap_sides(data, order, *struct.unpack_from(f"{order}L", data, notes + 8))
    except struct.error:
        return 1, None  # the directory is cut off: no notes worth keeping
    data[place:tail] = data[place + _ENTRY_BYTES : tail] + bytes(_ENTRY_BYTES)
    left = (end - start - 2) // _ENTRY_BYTES - 1
    struct.pack_into(f"{order}H", data, start, left)
    return orientation, bytes(data) if left else None


def _places(data: bytearray, order: str, start: int) -> tuple[dict[int, int], int]:
    """Return where the entries of a directory are, by tag, and where they end.

    Raises:
        struct.error: they are cut off.
    """
    (count,) = struct.unpack_from(f"{order}H", data, start)
    end = start + 2 + count * _ENTRY_BYTES
    found: dict[int, int] = {}
    for place in range(start + 2, end, _ENTRY_BYTES):
        (tag,) = struct.unpack_from(f"{order}H10x", data, place)
        found.setdefault(tag, place)
    return found, end


def _swap_sides(data: bytearray, order: str, start: int) -> None:
    """Let the width and the height of the picture change places in the directory that starts there."""
    try:
        places, _ = _places(data, order, start)
        width, height = (slice(places[tag] + 2, places[tag] + _ENTRY_BYTES) for tag in _SIDES)
    except (struct.error, KeyError):
        return  # they are cut off, or not said
    data[width], data[height] = data[height], data[width]


def exif_of(image: Image.Image, format_: str, turn: Any = None) -> bytes | None:
    """Return the EXIF data of an image that is loaded; `turn` is what a TIFF had for its orientation before."""
    if format_ == "TIFF":
        return _exif_of_tiff(image, turn)
    exif = image.info.get("exif")
    if exif is None and isinstance(text := image.info.get("Raw profile type exif"), str):  # ImageMagick's, in PNG
        try:
            exif = bytes.fromhex("".join(text.split("\n")[3:]))
        except ValueError:
            return None
    return exif if isinstance(exif, bytes) else None


def _exif_of_tiff(image: Image.Image, turn: Any) -> bytes | None:
    """Return the notes of a TIFF, whose first directory describes the storage too."""
    stored, kept = image.getexif(), ImageFileDirectory_v2()
    data = b"II*\0" + bytes(4)
    if turn in range(1, 9):
        kept[ExifTags.Base.Orientation] = int(turn)
    try:
        for tag in TEXTS:
            if isinstance(text := stored.get(tag), str):
                _set(kept, tag, text)
        for tag in DIRECTORIES:
            if entries := stored.get_ifd(tag):
                kept.tagtype[tag] = _LONG
                kept[tag] = len(data)
                directory = pack_directory(tag, entries, len(data))
                data += directory + bytes(len(directory) % 2)
        return data[:4] + struct.pack("<L", len(data)) + data[8:] + kept.tobytes(len(data)) if len(kept) else None
    except (TypeError, ValueError, AttributeError, struct.error):
        return None  # entries of the wrong type, which sloppy programs write: no reason to lose the picture


def texts_and_directories(exif: bytes) -> tuple[dict[int, str], dict[int, Mapping[int, Any]]]:
    """Return the texts and the EXIF and GPS directories of EXIF data, for a TIFF to be written.

    What cannot be understood is left out.
    """
    notes = Image.Exif()
    texts: dict[int, str] = {}
    directories: dict[int, Mapping[int, Any]] = {}
    if excess_in(io.BytesIO(exif)):
        return texts, directories
    try:
        notes.load(exif)
        texts = {tag: text for tag in TEXTS if isinstance(text := notes.get(tag), str)}
        for tag in DIRECTORIES:
            if entries := notes.get_ifd(tag):
                pack_directory(tag, entries, 0)
                directories[tag] = entries
    except Exception:  # noqa: BLE001 Sloppy notes make Pillow raise nearly anything: no reason to lose the picture.
        return texts, directories
    return texts, directories


def pack_directory(tag: int, entries: Mapping[int, Any], offset: int) -> bytes:
    """Return a directory's bytes as they stand at `offset` of a little-endian TIFF."""
    directory = ImageFileDirectory_v2(group=tag)
    for number, value in entries.items():
        if number != ExifTags.IFD.Interop:  # a directory of its own, whose place is no longer true
            _set(directory, number, value)
    return directory.tobytes(offset)


def _set(directory: ImageFileDirectory_v2, tag: int, value: Any) -> None:
    """Set an entry; a text as the bytes that Pillow made it of, of which it would keep ASCII alone."""
    if isinstance(value, str):
        directory.tagtype[tag] = _ASCII
        value = value.encode("latin-1", "replace")
    directory[tag] = value

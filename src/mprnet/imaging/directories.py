"""The directories of a TIFF, and of the camera's notes, counted before Pillow makes objects of what they hold."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

MAX_NUMBERS = 250_000
"""Of one directory: more than the strips and tiles of the largest pictures, and their colours, take."""

MAX_PAGES = 64
"""Of a TIFF that are looked at: its picture's small copies and masks are fewer."""

_MAX_ENTRIES = 1000  # of a directory; cameras write some hundred, and Pillow's time grows with their square
_MAX_DIRECTORIES = 8
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE = {3: "H", 4: "L", 8: "h", 9: "l", 13: "L", 16: "Q"}
_KEPT_AS_BYTES = frozenset({1, 2, 7})  # bytes, texts, anything
_PLACES = frozenset({273, 279, 324, 325})  # where strips and tiles are, and how long: counted through, of any kind
_POINTERS = frozenset({0x8769, 0x8825, 0xA005})  # to the notes, to where it was, to what programs agree on


def excess_in(file: BinaryIO) -> str | None:
    """Say what a TIFF holds more of than pictures have, or None; the file stands at its start again afterwards.

    Looked at are the pages that are read, up to `MAX_PAGES`, and the notes of each.

    Args:
        file: a TIFF of either byte order, a BigTIFF, or EXIF data without their prefix, at its start.

    Source:
        TIFF 6.0, section 2; BigTIFF (Aware Systems); Exif 2.32, 4.6.3.
    """
    header = file.read(16).ljust(16, b"\0")
    length = file.seek(0, 2)
    order = "<" if header[:2] == b"II" else ">"
    is_big = header[2] == 43  # as Pillow tells it, which reads a big-endian BigTIFF as a TIFF
    number = struct.Struct(f"{order}{'Q' if is_big else 'L'}")
    head = struct.Struct(f"{order}{'Q' if is_big else 'H'}")
    entry = struct.Struct(f"{order}HH{'Q8s' if is_big else 'L4s'}")
    (first,) = number.unpack_from(header, 8 if is_big else 4)
    places, seen = [(first, MAX_PAGES - 1)], set[int]()
    notes = total = 0
    try:
        while places:
            start, further = places.pop()
            if not 0 < start < length or start in seen:
                continue
            seen.add(start)
            notes += further < 0
            if notes > _MAX_DIRECTORIES:
                return f"more than {_MAX_DIRECTORIES} directories of notes; expected a few"
            file.seek(start)
            (count,) = head.unpack(file.read(head.size).ljust(head.size, b"\0"))
            if count > _MAX_ENTRIES:
                return f"a directory of {count} entries; expected at most {_MAX_ENTRIES}"
            data = file.read(count * entry.size)
            following = file.read(number.size)
            numbers = size = 0
            for tag, kind, values, value in entry.iter_unpack(data[: len(data) // entry.size * entry.size]):
                if kind not in _KEPT_AS_BYTES or tag in _PLACES:
                    numbers += values
                size += min(values * _SIZES.get(kind, 0), length)
                if tag in _POINTERS:
                    if values != 1 or _SIZES.get(kind, 0) > len(value):
                        return "a pointer to notes that is no place in the file"
                    place = struct.unpack_from(f"{order}{_WHOLE.get(kind, number.format[-1])}", value.ljust(8, b"\0"))
                    places.append((place[0], -1))
            total += numbers
            if numbers > MAX_NUMBERS or total > 4 * MAX_NUMBERS:
                return f"{numbers} numbers in a directory; expected at most {MAX_NUMBERS}"
            if size > 2 * length + 2**20:  # Pillow reads them all
                return f"entries of {size} bytes in a file of {length}; expected no more than there are"
            if further > 0 and len(following) == number.size:
                places.append((number.unpack(following)[0], further - 1))
        return None
    finally:
        file.seek(0)

"""The orientation is taken out of the camera's notes, and nothing else moves."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from mprnet.imaging.metadata import PREFIX, take_orientation, texts_and_directories


def exif_of(orientation=None, order="<", **entries):
    exif = Image.Exif()
    exif.endian = order
    for name, value in entries.items():
        exif[ExifTags.Base[name]] = value
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_taken_out_and_the_rest_kept(orientation, order):
    data = exif_of(orientation, order, Make="A camera of a long name", Software="s", XResolution=72.0)
    found, rest = take_orientation(data)
    assert found == orientation
    notes = Image.Exif()
    notes.load(rest)
    assert dict(notes) == {
        ExifTags.Base.Make: "A camera of a long name",
        ExifTags.Base.Software: "s",
        ExifTags.Base.XResolution: 72.0,
    }
    assert take_orientation(rest) == (1, rest)


def test_nothing_behind_the_directory_moves():
    data = exif_of(6, Make="A camera of a long name").removeprefix(PREFIX)
    _, rest = take_orientation(data)
    assert len(rest) == len(data)
    assert rest.index(b"A camera") == data.index(b"A camera")


def test_notes_without_orientation_are_kept_as_they_are():
    data = exif_of(Make="A camera")
    assert take_orientation(data) == (1, data.removeprefix(PREFIX))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_the_thumbnail_goes_and_the_sides_that_the_notes_give_are_those_that_are_seen(orientation, order):
    def directory(following, *entries):
        packed = b"".join(struct.pack(f"{order}HHL", *entry[:3]) + entry[3] for entry in entries)
        return struct.pack(f"{order}H", len(entries)) + packed + struct.pack(f"{order}L", following)

    def long(value):
        return struct.pack(f"{order}L", value)

    turned = [(0x0112, 3, 1, struct.pack(f"{order}HH", orientation, 0))] if orientation else []
    first = directory(100, (0x010F, 2, 4, b"Cam\0"), *turned, (0x8769, 4, 1, long(60)))
    notes = directory(0, (0xA002, 4, 1, long(96)), (0xA003, 4, 1, long(64)))
    thumbnail = directory(0, (0x0201, 4, 1, long(150)), (0x0202, 4, 1, long(9)))
    start = (b"II*\0" if order == "<" else b"MM\0*") + long(8)
    data = ((start + first).ljust(60, b"\0") + notes).ljust(100, b"\0") + thumbnail
    before = Image.Exif()
    before.load(data)
    assert before.get_ifd(ExifTags.IFD.IFD1) == {0x0201: 150, 0x0202: 9}
    found, rest = take_orientation(data)
    assert found == (orientation or 1)
    after = Image.Exif()
    after.load(rest)
    assert after.get_ifd(ExifTags.IFD.IFD1) == {}
    assert after[ExifTags.Base.Make] == "Cam"
    sides = (64, 96) if orientation in (5, 6, 7, 8) else (96, 64)
    assert after.get_ifd(ExifTags.IFD.Exif) == {0xA002: sides[0], 0xA003: sides[1]}
    assert len(rest) == len(data)


def test_nothing_is_left_of_notes_that_were_an_orientation():
    assert take_orientation(exif_of(6)) == (6, None)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_there_is_none_of_means_upright(value):
    found, rest = take_orientation(exif_of(value, Make="A camera"))
    assert found == 1
    assert take_orientation(rest) == (1, rest)


@pytest.mark.parametrize(
    "data", [None, b"", b"Exif\0\0", b"hello", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_what_is_cut_off_is_no_note(data):
    assert take_orientation(data) == (1, None)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", exif_of(6, Make="x")]))
def test_any_bytes_have_an_orientation(data, start):
    orientation, rest = take_orientation(start + data)
    assert 1 <= orientation <= 8
    assert rest is None or len(rest) <= len(start + data)
    texts, directories = texts_and_directories(start + data)
    assert all(isinstance(text, str) for text in texts.values())
    assert set(directories) <= {0x8769, 0x8825}

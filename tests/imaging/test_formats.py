"""Every format keeps what it can hold, in every way that pictures have colours, and says so where it cannot."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from mprnet.errors import ConfigError, ImageError, MissingExtraError
from mprnet.imaging import FORMATS, Picture, check_target, read_image, write_image
from mprnet.imaging.decoding import damage_as_errors, decode, open_picture
from mprnet.imaging.directories import excess_in
from mprnet.imaging.formats import HOLD_16_BITS, HOLD_ALPHA, format_named, recognise

RANDOM = np.random.default_rng(0)
ROWS, COLUMNS = np.mgrid[0:30, 0:26]
SMOOTH = np.stack((ROWS * 5, COLUMNS * 6, (ROWS + COLUMNS) * 3), axis=2)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = {"PNG", "TIFF", "BMP"}
WITH_METADATA = ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF"]


@pytest.fixture(autouse=True)
def extra(request):
    if "HEIF" in request.node.name:
        pytest.importorskip("pillow_heif", reason="needs the extra heif")


def picture_of(*, grey=False, alpha=False, depth=8, **others):
    """A photograph's like: smooth, so that lossy formats come near to it."""
    scale, dtype = (1, np.uint8) if depth == 8 else (257, np.uint16)
    pixels = (SMOOTH * scale).astype(dtype)
    if depth == 16:
        pixels += RANDOM.integers(0, 200, pixels.shape, dtype)
    # Soft in WebP and the like, on or off in GIF.
    alpha_samples = np.where(COLUMNS > 8, 255 * scale, 0).astype(dtype) if alpha else None
    return Picture(pixels[..., :1] if grey else pixels, alpha_samples, **others)


def exif_of(**entries):
    exif = Image.Exif()
    for name, value in entries.items():
        exif[ExifTags.Base[name]] = value
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.5, ExifTags.Base.MakerNote: b"its own business" * 3}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (60.0, 10.0, 5.0)}
    return exif.tobytes().removeprefix(b"Exif\0\0")


def there_and_back(picture, format_, **options):
    file = io.BytesIO()
    write_image(picture, file, format=format_, **options)
    file.seek(0)
    return read_image(file)


def assert_same(found, expected):
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


# What each format holds


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("format_", sorted(set(FORMATS.values())))
def test_colour_grey_and_alpha_come_back(format_, grey, alpha):
    picture = picture_of(grey=grey, alpha=alpha)
    if alpha and format_ not in HOLD_ALPHA:
        with pytest.raises(ImageError, match=rf"the stream cannot be written: {format_} holds no transparency"):
            there_and_back(picture, format_)
        return
    found = there_and_back(picture, format_)
    assert found.format == format_
    holds_grey = format_ not in ("WEBP", "GIF") and not (alpha and format_ in ("AVIF", "HEIF"))
    assert found.is_grey == (grey and holds_grey)
    assert (found.alpha is None) == (not alpha)
    if alpha:
        assert np.abs(found.alpha.astype(int) - picture.alpha).max() <= (2 if format_ == "HEIF" else 0)
    if format_ in LOSSLESS:
        assert_same(found.pixels, picture.pixels)
    else:
        seen = COLUMNS > 8 if alpha else COLUMNS >= 0
        difference = np.abs(found.rgb().astype(int) - picture.rgb())[seen]
        assert difference.mean() < (5 if format_ == "GIF" else 3)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("format_", sorted(HOLD_16_BITS))
def test_16_bits_come_back_bit_for_bit_with_profile_and_exif(format_, grey, alpha):
    picture = picture_of(grey=grey, alpha=alpha, depth=16, icc_profile=PROFILE, exif=exif_of(Make="A camera"))
    found = there_and_back(picture, format_)
    assert found.depth == 16
    if format_ == "TIFF" and grey and alpha:
        assert_same(found.pixels, picture.rgb())  # no TIFF of grey and alpha in 16 bits can be read
    else:
        assert_same(found.pixels, picture.pixels)
    assert found.icc_profile == PROFILE
    if alpha:
        assert_same(found.alpha, picture.alpha)
    notes = Image.Exif()
    notes.load(found.exif)
    assert notes[ExifTags.Base.Make] == "A camera"


def grey_profile(exponent):
    """Build the least ICC profile of grey: light is the value to the power of `exponent`."""
    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(exponent * 256))
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(78 + 1)
    tags, place = b"", 128 + 4 + 12 * 3
    for sign, data in ((b"desc", name), (b"wtpt", white), (b"kTRC", curve)):
        tags += sign + struct.pack(">II", place, len(data))
        place += len(data)
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x", place, 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp", 63190, 65536, 54061
    )
    return header + struct.pack(">I", 3) + tags + name + white + curve


@pytest.mark.parametrize("format_", ["TIFF", "WEBP"])
def test_grey_that_becomes_colour_is_converted_and_not_shown_by_another_curve(format_):
    linear = replace(picture_of(grey=True, alpha=True, depth=16), icc_profile=grey_profile(1))
    linear = replace(linear, pixels=np.full_like(linear.pixels, 13107))  # a fifth of the light: 0.484 in sRGB
    found = there_and_back(linear, format_, quality=100)
    assert found.icc_profile is None
    scale = 255 if found.depth == 8 else 65535
    assert np.abs(found.rgb()[COLUMNS > 12] / scale - 0.484).max() < 0.01


def test_a_png_holds_the_profile_of_a_printer():
    large = PROFILE + np.random.default_rng(0).bytes(2**21)
    assert there_and_back(picture_of(icc_profile=large), "PNG").icc_profile == large


@pytest.mark.parametrize("format_", sorted(HOLD_16_BITS))
@pytest.mark.parametrize("alpha", [False, True])
def test_other_programs_read_the_16_bits_that_are_written(format_, alpha):
    picture, file = picture_of(alpha=alpha, depth=16), io.BytesIO()
    write_image(picture, file, format=format_)
    theirs = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert_same(theirs[..., [2, 1, 0]], picture.pixels)
    if alpha:
        assert_same(theirs[..., 3], picture.alpha)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_the_16_bits_that_other_programs_write_are_read(suffix, channels):
    samples = RANDOM.integers(0, 65536, (12, 17, channels), np.uint16)
    packed = [1, 5, 8, 32773] if suffix == ".tiff" else [None]  # none, LZW, Deflate, PackBits
    for compression in packed:
        options = [] if compression is None else [cv2.IMWRITE_TIFF_COMPRESSION, compression]
        file = io.BytesIO(cv2.imencode(suffix, samples, options)[1].tobytes())
        picture = read_image(file)
        assert_same(picture.pixels, samples if channels == 1 else samples[..., 2::-1])
        if channels == 4:
            assert_same(picture.alpha, samples[..., 3])


def test_strips_are_joined_without_seams(monkeypatch):
    monkeypatch.setattr("mprnet.imaging.strips._STRIP_BYTES", 850)  # 8 or 4 of the 30 rows
    monkeypatch.setattr("mprnet.imaging.decoding._STRIP_PIXELS", 110)  # 4 rows
    for depth in (8, 16):
        for format_ in ("PNG", "TIFF"):
            picture = picture_of(depth=depth, alpha=True)
            found = there_and_back(picture, format_)
            assert_same(found.pixels, picture.pixels)
            assert_same(found.alpha, picture.alpha)


def test_a_transparent_colour_of_16_bits_is_an_alpha_channel():
    samples = np.zeros((3, 4, 3), np.uint16)
    samples[1, 2] = 300, 400, 500
    file = io.BytesIO()
    write_image(samples, file, format="png")
    content = file.getvalue()
    key = chunk(b"tRNS", np.array((300, 400, 500), ">u2").tobytes())
    alpha = read_image(io.BytesIO(content[:33] + key + content[33:])).alpha
    assert np.argwhere(alpha == 0).tolist() == [[1, 2]]
    assert alpha.max() == 65535


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "BMP", "GIF", "AVIF", "HEIF"])
def test_a_format_of_8_bits_rounds_16(format_):
    deep = picture_of(depth=16)
    found = there_and_back(deep, format_)
    assert found.depth == 8
    assert np.abs(found.pixels - deep.pixels / 257).mean() < 5
    if format_ in LOSSLESS:
        assert np.array_equal(found.pixels, np.rint(deep.pixels / 257))


def test_an_alpha_channel_that_hides_nothing_is_no_reason_to_refuse():
    opaque = replace(picture_of(), alpha=np.full((30, 26), 255, np.uint8))
    assert there_and_back(opaque, "JPEG").alpha is None
    assert there_and_back(opaque, "PNG").alpha.min() == 255


@pytest.mark.parametrize("format_", WITH_METADATA)
def test_profile_and_notes_are_kept_and_the_picture_is_not_turned_again(format_):
    turned = Image.Exif()
    turned.load(exif_of(Make="A camera", Artist="She", Orientation=6))
    file = io.BytesIO()
    Image.fromarray(SMOOTH.astype(np.uint8)).save(file, "JPEG", exif=turned.tobytes(), icc_profile=PROFILE)
    file.seek(0)
    picture = read_image(file)
    assert picture.size_hw == (26, 30)
    found = there_and_back(picture, format_)
    assert found.size_hw == (26, 30)
    assert found.icc_profile == PROFILE
    notes = Image.Exif()
    notes.load(found.exif)
    assert ExifTags.Base.Orientation not in notes
    assert (notes[ExifTags.Base.Make], notes[ExifTags.Base.Artist]) == ("A camera", "She")
    assert notes.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] == b"its own business" * 3
    assert notes.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (60, 10, 5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_how_many_pixels_make_an_inch_is_turned(orientation):
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    Image.fromarray(SMOOTH.astype(np.uint8)).save(file, "JPEG", exif=turned.tobytes(), dpi=(300, 150))
    file.seek(0)
    assert read_image(file).dpi == ((150, 300) if orientation > 4 else (300, 150))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "JPEG", "BMP"])
def test_how_many_pixels_make_an_inch_is_kept(format_, depth):
    picture = replace(picture_of(depth=depth), dpi=(150, 300))
    assert there_and_back(picture, format_).dpi == pytest.approx((150, 300), abs=0.02)


def test_a_tiff_that_does_not_say_how_many_pixels_make_an_inch_has_no_inch_of_one():
    assert there_and_back(picture_of(), "TIFF").dpi is None


@pytest.mark.parametrize("dpi", [None, (0, 0), (1e9, 1e9), ("a", 1), 5])
def test_an_inch_of_no_sense_is_none(dpi):
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "BMP")
    file.seek(0)
    with open_picture(file, 100) as opened:
        opened.image.info["dpi"] = dpi
        assert decode(opened)[0].dpi is None


def test_colours_that_only_code_points_tell_are_refused():
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    plain = file.getvalue()

    def with_cicp(primaries, transfer):
        chunk = b"cICP" + bytes([primaries, transfer, 0, 1])
        return plain[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + plain[33:]

    assert read_image(io.BytesIO(with_cicp(1, 13))).size_hw == (8, 8)
    for primaries, transfer in ((9, 16), (12, 13), (1, 16), (1, 18)):
        told = rf"code points {primaries} and {transfer} \(wide gamut or HDR\) without a profile"
        with pytest.raises(ImageError, match=told):
            read_image(io.BytesIO(with_cicp(primaries, transfer)))


@pytest.mark.parametrize("points", [(12, 13), (1, 16), (1, 18)])
@pytest.mark.parametrize("profile", [None, PROFILE])
@pytest.mark.parametrize("format_", ["AVIF", "HEIF"])
def test_wide_gamut_or_hdr_in_a_box_needs_a_profile(format_, profile, points):
    if format_ == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs the extra heif")
    file = io.BytesIO()
    write_image(replace(picture_of(), icc_profile=profile), file, format=format_)
    content = file.getvalue()
    place = content.find(b"colrnclx") + 8
    wide = content[:place] + struct.pack(">HH", *points) + content[place + 4 :] if place >= 8 else content
    if profile is not None:  # beside which an encoder may write no code points
        assert read_image(io.BytesIO(wide)).icc_profile == PROFILE
        return
    with pytest.raises(ImageError, match=f"code points {points[0]} and {points[1]}"):
        read_image(io.BytesIO(wide))


def test_notes_too_long_for_jpeg_do_not_lose_the_picture():
    long = replace(picture_of(), exif=exif_of(Make="x" * 70_000))
    assert there_and_back(long, "PNG").exif == long.exif
    assert there_and_back(long, "JPEG").exif is None


def with_orientation(content, orientation):
    """A TIFF with a new directory behind it, with an orientation among the tags."""
    start = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[start : start + 2], "little")
    entries = [content[start + 2 + 12 * n :][:12] for n in range(count)]
    entries.append(b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0]))
    entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    directory = (count + 1).to_bytes(2, "little") + b"".join(entries) + bytes(4)
    return content[:4] + len(content).to_bytes(4, "little") + content[8:] + directory


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_a_tiff_is_turned_once(orientation, deep):
    samples = SMOOTH.astype(np.uint16) * 257 if deep else SMOOTH.astype(np.uint8)
    file = io.BytesIO()
    write_image(samples, file, format="tiff")
    content = file.getvalue()
    with Image.open(io.BytesIO(content)) as image:
        assert 274 not in image.tag_v2
    turned = with_orientation(content, orientation)
    expected = {
        1: samples,
        2: samples[:, ::-1],
        3: samples[::-1, ::-1],
        4: samples[::-1],
        5: samples.swapaxes(0, 1),
        6: samples[::-1].swapaxes(0, 1),
        7: samples[::-1, ::-1].swapaxes(0, 1),
        8: samples[:, ::-1].swapaxes(0, 1),
    }[orientation]
    assert_same(read_image(io.BytesIO(turned)).pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_the_notes_and_the_inch_of_a_tiff_are_turned_with_it(orientation, deep):
    notes, file = Image.Exif(), io.BytesIO()
    notes[ExifTags.IFD.Exif] = {ExifTags.Base.ExifImageWidth: 26, ExifTags.Base.ExifImageHeight: 30}
    samples = SMOOTH.astype(np.uint16) if deep else SMOOTH.astype(np.uint8)
    write_image(Picture(samples, exif=notes.tobytes().removeprefix(b"Exif\0\0"), dpi=(300, 150)), file, format="tiff")
    found = read_image(io.BytesIO(with_orientation(file.getvalue(), orientation)))
    kept = Image.Exif()
    kept.load(found.exif)
    sides = tuple(kept.get_ifd(ExifTags.IFD.Exif)[tag] for tag in (0xA002, 0xA003))
    assert (found.size_hw, found.dpi, sides) == (
        ((26, 30), (150, 300), (30, 26)) if orientation > 4 else ((30, 26), (300, 150), (26, 30))
    )
    assert ExifTags.Base.Orientation not in kept


def test_cmyk_of_print_goes_through_its_profile(monkeypatch):
    """No profile of inks comes with Pillow, so a stand-in tells that it is asked, and with what."""
    file, asked = io.BytesIO(), []
    Image.new("CMYK", (4, 3), (10, 200, 30, 40)).save(file, "JPEG", icc_profile=PROFILE, quality=100)

    def build(profile, output, from_mode, to_mode, intent):
        asked.append((profile.read(), from_mode, to_mode))
        return "a transform"

    monkeypatch.setattr(ImageCms, "buildTransform", build)
    monkeypatch.setattr(ImageCms, "applyTransform", lambda image, transform: Image.new("RGB", image.size, (1, 2, 3)))
    file.seek(0)
    picture = read_image(file)
    assert asked == [(PROFILE, "CMYK", "RGB")]
    assert np.unique(picture.pixels.reshape(-1, 3), axis=0).tolist() == [[1, 2, 3]]
    assert picture.icc_profile is None


# What photographers have


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


@pytest.mark.parametrize(("bits", "key"), [(1, 1), (2, 3), (2, 1), (4, 15), (4, 6), (8, 200)])
def test_a_transparent_grey_of_few_bits_is_an_alpha_channel(bits, key):
    row = [key, 0, 0, 0, 0, 0, 0, key]
    packed = int("".join(f"{value:0{bits}b}" for value in row), 2).to_bytes(bits, "big")
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0))
    content += chunk(b"tRNS", key.to_bytes(2, "big")) + chunk(b"IDAT", zlib.compress(b"\0" + packed))
    picture = read_image(io.BytesIO(content + chunk(b"IEND", b"")))
    assert picture.pixels.ravel().tolist() == [value * 255 // (2**bits - 1) for value in row]
    assert picture.alpha.tolist() == [[0, 255, 255, 255, 255, 255, 255, 0]]


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
def test_notes_behind_the_pixels_of_a_png_are_read(depth, alpha, grey):
    plain, turned = io.BytesIO(), Image.Exif()
    turned.load(exif_of(Make="A camera", Orientation=6))
    write_image(picture_of(depth=depth, alpha=alpha, grey=grey), plain, format="png")
    content = plain.getvalue()
    notes = chunk(b"eXIf", turned.tobytes().removeprefix(b"Exif\0\0"))
    picture = read_image(io.BytesIO(content[:-12] + notes + content[-12:]))
    assert picture.size_hw == (26, 30)
    assert b"A camera" in picture.exif


def test_notes_of_a_png_with_a_prefix_of_their_own_are_read():
    file = io.BytesIO()
    write_image(picture_of(), file, format="png")
    content, notes = file.getvalue(), chunk(b"eXIf", b"Exif\0\0" + exif_of(Make="A camera", Orientation=6))
    picture = read_image(io.BytesIO(content[:-12] + notes + content[-12:]))
    assert picture.size_hw == (26, 30)
    assert b"A camera" in picture.exif


def test_notes_that_imagemagick_writes_as_text_are_read():
    file = io.BytesIO()
    write_image(picture_of(), file, format="png")
    content, notes = file.getvalue(), b"Exif\0\0" + exif_of(Make="A camera", Orientation=6)

    def read(numbers):
        lines = [numbers[start : start + 72] for start in range(0, len(numbers), 72)]
        text = "\n".join(["", "exif", f"{len(notes):8}", *lines, ""])
        told = chunk(b"tEXt", b"Raw profile type exif\0" + text.encode())
        return read_image(io.BytesIO(content[:33] + told + content[33:]))

    found = read(notes.hex())
    assert found.size_hw == (26, 30)
    assert b"A camera" in found.exif
    damaged = read("x" + notes.hex())
    assert damaged.exif is None
    assert_same(damaged.pixels, picture_of().pixels)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"tile": (16, 32), "compression": "zlib"}])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("grey", [False, True])
def test_tiffs_of_any_byte_order_tiled_and_not_are_read(byteorder, options, depth, grey):
    tifffile, file = pytest.importorskip("tifffile"), io.BytesIO()
    samples = picture_of(depth=depth).pixels
    samples = samples[..., 0] if grey else samples
    with tifffile.TiffWriter(file, byteorder=byteorder) as writer:
        writer.write(samples, photometric="minisblack" if grey else "rgb", **options)
    file.seek(0)
    assert_same(read_image(file).pixels, samples[..., None] if grey else samples)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_of_16_bits_are_refused_rather_than_read_as_8(compression):
    tifffile = pytest.importorskip("tifffile")
    for alpha in (False, True):
        samples = RANDOM.integers(0, 65536, (4 if alpha else 3, 20, 24), np.uint16)
        file = io.BytesIO()
        options = {"extrasamples": ["unassalpha"]} if alpha else {}
        tifffile.imwrite(file, samples, photometric="rgb", planarconfig="separate", compression=compression, **options)
        file.seek(0)
        with pytest.raises(ImageError, match="colours of 16 bits in planes of their own, which is not supported"):
            read_image(file)
        file = io.BytesIO()
        samples = (samples >> 8).astype(np.uint8)
        tifffile.imwrite(file, samples, photometric="rgb", planarconfig="separate", compression=compression, **options)
        file.seek(0)
        assert_same(read_image(file).pixels, np.ascontiguousarray(samples[:3].transpose(1, 2, 0)))


@pytest.mark.parametrize(
    "text", ["© 2024 José", "© 2024 José".encode().decode("latin-1"), "雨".encode().decode("latin-1")]
)
def test_notes_that_are_not_ascii_go_through_tiff_byte_for_byte(text):
    written = text.encode("latin-1")
    notes = Image.Exif()
    notes[ExifTags.Base.Copyright] = written
    notes[ExifTags.IFD.Exif] = {ExifTags.Base.LensModel: "x" * len(written)}
    exif = notes.tobytes().removeprefix(b"Exif\0\0").replace(b"x" * len(written), written)
    once = there_and_back(picture_of(exif=exif), "TIFF")
    for _ in range(2):
        found = Image.Exif()
        found.load(once.exif)
        assert found[ExifTags.Base.Copyright] == text
        assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == text
        once = there_and_back(once, "TIFF")


def linear_profile(*, grey):
    """An ICC profile of light that is counted as it is, with the primaries of sRGB."""

    def xyz(*values):
        return b"XYZ \0\0\0\0" + b"".join(round(value * 65536).to_bytes(4, "big") for value in values)

    curve = b"curv\0\0\0\0\0\0\0\1\1\0\0\0"
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249)}
    if grey:
        tags[b"kTRC"] = curve
    else:
        tags |= {b"rXYZ": xyz(0.4361, 0.2225, 0.0139), b"gXYZ": xyz(0.3851, 0.7169, 0.0971)}
        tags |= {b"bXYZ": xyz(0.1431, 0.0606, 0.7141), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, data = len(tags).to_bytes(4, "big"), b""
    for tag, value in tags.items():
        table += tag + (132 + 12 * len(tags) + len(data)).to_bytes(4, "big") + len(value).to_bytes(4, "big")
        data += value
    head = b"\2\x40\0\0mntr" + (b"GRAY" if grey else b"RGB ") + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    head += xyz(0.9642, 1, 0.8249)[8:] + bytes(48)
    return (8 + len(head) + len(table) + len(data)).to_bytes(4, "big") + bytes(4) + head + table + data


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    ("format_", "grey", "alpha", "converted"),
    [
        ("BMP", False, False, True),
        ("BMP", True, False, True),
        ("GIF", False, False, True),
        ("WEBP", True, False, True),
        ("WEBP", False, False, False),
        ("AVIF", True, True, True),
        ("AVIF", True, False, False),
        ("PNG", True, True, False),
        ("JPEG", True, False, False),
    ],
)
def test_a_profile_that_a_format_cannot_hold_is_applied(format_, grey, alpha, converted, depth):
    scale, dtype = (257, np.uint16) if depth == 16 else (1, np.uint8)
    profile = linear_profile(grey=grey)
    pixels = np.full((16, 16, 1 if grey else 3), 55 * scale, dtype)
    clear = np.full((16, 16), 255 * scale, dtype) if alpha else None
    found = there_and_back(Picture(pixels, clear, icc_profile=profile), format_, quality=100)
    assert (
        np.abs(found.pixels.astype(float) / (257 if found.depth == 16 else 1) - (128 if converted else 55)).max() <= 2
    )
    assert found.icc_profile == (None if converted else profile)


@pytest.mark.parametrize("format_", ["BMP", "GIF"])
def test_a_profile_of_colours_is_applied_to_grey(format_):
    grey = Picture(np.full((16, 16, 1), 55, np.uint8), icc_profile=linear_profile(grey=False))
    found = there_and_back(grey, format_)
    assert np.abs(found.pixels.astype(int) - 128).max() <= 2
    assert found.icc_profile is None


def test_a_damaged_profile_is_no_reason_to_lose_the_picture():
    for profile in (b"no profile", linear_profile(grey=False)[:180], PROFILE[:400]):
        assert_same(there_and_back(picture_of(icc_profile=profile), "BMP").pixels, picture_of().pixels)


def test_a_profile_of_numbers_is_none():
    file, entries = io.BytesIO(), TiffImagePlugin.ImageFileDirectory_v2()
    entries.tagtype[34675] = 3
    entries[34675] = 7
    Image.new("RGB", (4, 4)).save(file, "TIFF", tiffinfo=entries)
    file.seek(0)
    assert read_image(file).icc_profile is None


def test_what_others_print_while_a_tiff_is_decoded_is_heard(monkeypatch, capfd):
    file = io.BytesIO()
    write_image(picture_of(), file, format="tiff")
    load, spoken = TiffImagePlugin.TiffImageFile.load, []

    def speak(image):
        spoken.append(os.write(2, b"heard"))
        return load(image)

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", speak)
    file.seek(0)
    read_image(file)
    assert capfd.readouterr().err == "heard" * len(spoken)
    assert spoken


# What is refused


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (Image.new("F", (4, 4)), {}, "has floating-point samples, which is not supported; convert it to RGB or grey"),
        (Image.new("I", (4, 4)), {}, "has (signed samples|samples of kind I)"),
        (Image.new("L", (4, 4)), {"tiffinfo": {339: 2}}, "has signed samples"),
        (Image.new("LAB", (4, 4)), {}, "has samples of kind LAB"),
        (
            Image.new("L", (4, 4)),
            {"save_all": True, "append_images": [Image.new("L", (4, 4))]},
            "has several pages, which is not supported; save each page as a file",
        ),
    ],
)
def test_a_tiff_that_would_lose_something_is_refused(image, options, message):
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    file.seek(0)
    with pytest.raises(ImageError, match=message):
        read_image(file)


def test_a_small_copy_behind_a_tiff_is_no_second_page():
    file, small = io.BytesIO(), Image.new("L", (2, 2))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.new("L", (4, 4)).save(file, "TIFF", save_all=True, append_images=[small])
    file.seek(0)
    assert read_image(file).size_hw == (4, 4)
    Image.new("L", (4, 4)).save(file, "TIFF", save_all=True, append_images=[small, Image.new("L", (4, 4))])
    file.seek(0)
    with pytest.raises(ImageError, match="has several pages"):
        read_image(file)


@pytest.mark.parametrize(
    ("mode", "tags", "message"),
    [
        ("RGB", {254: 1}, "has only a small copy of its picture.*; develop it to TIFF or JPEG first"),
        ("RGB", {50706: b"\1\4\0\0"}, "has only a small copy of its picture.*; develop it to TIFF or JPEG first"),
        ("RGBX", {}, "has a further channel, such as a saved selection.*; remove that channel"),
    ],
)
def test_a_tiff_that_holds_more_than_its_first_picture_shows_is_refused(mode, tags, message):
    file = io.BytesIO()
    Image.new(mode, (4, 4)).save(file, "TIFF", tiffinfo=tags)
    file.seek(0)
    with pytest.raises(ImageError, match=message):
        read_image(file)


def test_a_tiff_is_not_turned_by_its_xmp(tmp_path):
    file = io.BytesIO()
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description tiff:Orientation="6" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"/></rdf:RDF></x:xmpmeta>'
    )
    Image.new("RGB", (6, 4)).save(file, "TIFF", tiffinfo={700: xmp})
    file.seek(0)
    assert read_image(file).size_hw == (4, 6)


@pytest.mark.parametrize("name", ["a.jpe", "a.jfif"])
def test_other_endings_of_jpeg_are_known(name, tmp_path):
    write_image(np.zeros((4, 6, 3), np.uint8), tmp_path / name)
    assert (tmp_path / name).read_bytes()[:2] == b"\xff\xd8"
    assert read_image(tmp_path / name).size_hw == (4, 6)


@pytest.mark.parametrize(
    ("size", "format_"), [((1, 65_535), "WEBP"), ((65_535, 1), "JPEG"), ((70_000, 1), "GIF"), ((1, 32_769), "AVIF")]
)
def test_a_sliver_longer_than_a_format_holds_is_one_clear_line(size, format_, tmp_path):
    sliver = np.zeros((*size, 3), np.uint8)
    path = tmp_path / f"a.{format_.lower()}"
    with pytest.raises(ImageError, match=rf"{format_} holds \d+ pixels a side at most; choose PNG or TIFF"):
        check_target(path, False, picture=Picture(sliver))
    with pytest.raises(ImageError, match="holds"):
        write_image(sliver, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 65_535), (65_535, 1)])
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "BMP"])
def test_specks_and_slivers_come_back(size, format_):
    for dtype in (np.uint8, np.uint16):
        pixels = RANDOM.integers(0, np.iinfo(dtype).max, (*size, 3), dtype)
        found = there_and_back(pixels, format_)
        if found.depth == dtype().itemsize * 8:
            assert_same(found.pixels, pixels)
        else:
            assert format_ == "BMP"


@pytest.mark.parametrize("format_", ["TIFF", "WEBP", "BMP", "GIF", "AVIF", "HEIF"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_truncated_file_of_any_format_is_refused(format_, share):
    file = io.BytesIO()
    noise = RANDOM.integers(0, 256, (64, 64, 3), np.uint8)
    write_image(noise, file, format=format_)
    with pytest.raises(ImageError) as refused:
        read_image(io.BytesIO(file.getvalue()[: int(len(file.getvalue()) * share)]))
    assert "\n" not in str(refused.value)


def test_a_damaged_tiff_is_refused_in_silence(capfd):
    file = io.BytesIO()
    write_image(picture_of(depth=16), file, format="tiff")
    content = bytearray(file.getvalue())
    content[40:90] = bytes(50)
    with pytest.raises(ImageError):
        read_image(io.BytesIO(content))
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_of_a_thousand_scans_is_refused_before_it_is_decoded():
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    scans = content.index(b"\xff\xda")
    with pytest.raises(ImageError, match="has more than 100 scans"):
        read_image(io.BytesIO(content[:scans] + content[scans:-2] * 1000 + content[-2:]))


def jpeg_of_scans(scans, between=b""):
    """A JPEG that is not progressive, the channels in scans of their own, over and over."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", subsampling=0)
    content = file.getvalue()
    one = b"".join(b"\xff\xda\0\x08\1" + bytes([channel, 0, 0, 63, 0]) + bytes(40) for channel in (1, 2, 3))
    return content[: content.index(b"\xff\xda")] + (one + between) * scans + b"\xff\xd9"


def tiff_of(*entries, room=0):
    """A grey TIFF of 16×16 pixels, one row a strip, and further entries."""
    entries = sorted(
        [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1),
         (278, 4, 1, 1), *entries]
    )  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHLL", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<L", 8 + room) + bytes(room) + directory


def big_tiff_of(count):
    """A BigTIFF that has so many entries."""
    entries = struct.pack("<HHQQ", 60_000, 4, 1, 1) * count
    return struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, count) + entries + bytes(8)


def directory_of(*entries):
    return struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHLL", *entry) for entry in entries) + bytes(4)


BOMBS = {
    "strips": (tiff_of((273, 4, 400_000, 8), (279, 4, 1, 8), room=1_600_000), r"4000\d\d numbers in a directory"),
    "strips in bytes": (tiff_of((273, 1, 400_000, 8), (279, 4, 1, 8), room=400_000), r"4000\d\d numbers"),
    "entries": (big_tiff_of(70_000), "a directory of 70000 entries; expected at most 1000"),
    "the same bytes": (
        tiff_of(*((60_000 + n, 7, 1_000_000, 8) for n in range(30)), room=1_000_000),
        r"entries of 30\d* bytes in a file of 1000\d*; expected no more",
    ),
    "notes": (
        b"II*\0" + struct.pack("<L", 8) + directory_of((0x8769, 3, 1, 0xFFFF_0000 + 26))
        + directory_of((0x9999, 5, 300_000, 200)),
        "300000 numbers in a directory",
    ),
    "a second page": (
        b"II*\0" + struct.pack("<L", 8) + directory_of((256, 4, 1, 8))[:-4] + struct.pack("<L", 26)
        + directory_of((279, 4, 300_000, 200)),
        "300000 numbers in a directory",
    ),
    "a third page": (
        b"II*\0" + struct.pack("<L", 8) + directory_of((254, 4, 1, 1))[:-4] + struct.pack("<L", 26)
        + directory_of((254, 4, 1, 1))[:-4] + struct.pack("<L", 44) + directory_of((273, 1, 300_000, 200)),
        "300000 numbers in a directory",
    ),
    "notes elsewhere": (
        b"II*\0" + struct.pack("<L", 8) + directory_of((0x8769, 4, 2, 200)) + bytes(200),
        "a pointer to notes that is no place in the file",
    ),
    "notes in notes": (
        b"II*\0" + struct.pack("<L", 8) + b"".join(directory_of((0xA005, 4, 1, 26 + 18 * n)) for n in range(20)),
        "more than 8 directories",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BOMBS)
def test_a_tiff_of_more_than_any_picture_has_is_refused_unopened(what, monkeypatch):
    fine = tiff_of((273, 4, 16, 8), (279, 4, 16, 8), room=64)
    assert read_image(io.BytesIO(fine)).size_hw == (16, 16)
    bomb, message = BOMBS[what]
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ImageError, match=f"has {message}"):
        read_image(io.BytesIO(bomb))


def test_the_number_of_bigtiff_hides_nothing_where_pillow_reads_a_tiff():
    entry = struct.pack(">HHLL", 0x9999, 5, 300_000, 40)
    disguised = b"MM\0+" + struct.pack(">L", 16) + bytes(8) + struct.pack(">H", 1) + entry + bytes(4)
    assert "300000 numbers in a directory" in (excess_in(io.BytesIO(disguised)) or "")
    with pytest.raises(ImageError, match="is no picture of a kind that is read here"):
        read_image(io.BytesIO(disguised))


def test_a_plain_jpeg_of_a_thousand_scans_is_refused_too():
    assert read_image(io.BytesIO(jpeg_of_scans(1))).size_hw == (64, 64)
    with pytest.raises(ImageError, match="has more than 100 scans"):
        read_image(io.BytesIO(jpeg_of_scans(1000)))
    with pytest.raises(ImageError, match="has more than 10000 segments"):
        read_image(io.BytesIO(jpeg_of_scans(1, b"\xff\xfe\0\2" * 20_000)))


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (b"\xff\xe1\0\x08Exif\0\0" * 300, "has more than 256 segments of notes"),
        (b"\xff\xe0\0\2" * 20_000, "has more than 10000 segments"),
        # What Pillow steps over, two bytes at a time, hides nothing.
        (b"\xff\xd9" + b"\xff\xe1\0\x08Exif\0\0" * 300, "has more than 256 segments of notes"),
        (b"\xff\xf0\xff\xe1\0\x08Exif\0\0" * 300, "has more than 256 segments of notes"),
        (b"\xff\xc8\xff\xe1\0\x08Exif\0\0" * 300, "has more than 256 segments of notes"),
    ],
)
def test_a_jpeg_of_many_segments_is_refused_unopened(segments, message, monkeypatch):
    plain = jpeg_of_scans(1)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ImageError, match=message):
        read_image(io.BytesIO(plain[:2] + segments + plain[2:]))


def test_scans_behind_a_later_one_of_all_channels_are_counted():
    plain = jpeg_of_scans(1)
    together = b"\xff\xda\0\x0c\3\1\0\2\0\3\0\0\x3f\0" + bytes(40)
    with pytest.raises(ImageError, match="has more than 100 scans"):
        read_image(io.BytesIO(plain[:-2] + together * 200 + plain[-2:]))


def test_pictures_in_plain_numbers_are_none_of_ours():
    with pytest.raises(ImageError, match="is no picture of a kind that is read here"):
        read_image(io.BytesIO(b"P2\n1 1\n255\n" + b"#\n" * 1000 + b"0\n"))


@pytest.mark.parametrize("progressive", [False, True])
def test_what_stands_behind_a_jpeg_is_none_of_its_scans(progressive):
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", progressive=progressive)
    film = b"\xff\xda and more" * 300
    assert read_image(io.BytesIO(file.getvalue() + film)).size_hw == (64, 64)


def test_a_webp_that_promises_a_huge_canvas_is_refused_unopened(monkeypatch):
    huge = b"RIFF\x1e\0\0\0WEBPVP8X\n\0\0\0\x10\0\0\0" + b"\0\x40\0" + b"\0\x40\0" + bytes(30)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ImageError, match="is 16385×16385; expected at most"):
        read_image(io.BytesIO(huge))


def test_text_that_inflates_does_not_fill_the_memory():
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "PNG")
    text = chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(2**27)))
    content = file.getvalue()
    with pytest.raises(ImageError, match="too large"):
        read_image(io.BytesIO(content[:33] + text + content[33:]))


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        (chunk(b"iCCP", b"x\0\0" + zlib.compress(PROFILE)) * 100, "has more than 64 compressed chunks"),
        (chunk(b"zTXt", b"\0\0" + zlib.compress(b"note")) * 100, "has more than 64 compressed chunks"),
        (chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b"note")) * 100, "has more than 64 compressed chunks"),
        (chunk(b"iTXt", b"a" * 90 + b"\0\1\0\0\0" + zlib.compress(b"note")) * 100, "has more than 64 compressed"),
        (chunk(b"prVt", b"") * 60_000, "has more than 50000 chunks beside those of its pixels"),
    ],
)
@pytest.mark.parametrize("place", [33, -12])
def test_a_png_of_many_chunks_is_refused_unopened(chunks, message, place, monkeypatch):
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "PNG")
    content = file.getvalue()
    few = (
        chunk(b"tEXt", b"a\0b") * 200
        + chunk(b"iTXt", "a\0\0\0\0\0雨".encode()) * 200
        + chunk(b"zTXt", b"a\0\0" + zlib.compress(b"note")) * 40
    )
    assert read_image(io.BytesIO(content[:place] + few + content[place:])).size_hw == (4, 4)
    assert read_image(io.BytesIO(content + chunks)).size_hw == (4, 4)  # behind its end it is none of the picture
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ImageError, match=message):
        read_image(io.BytesIO(content[:place] + chunks + content[place:]))


def test_pictures_read_at_once_leave_no_warning_of_the_process_ignored():
    before = list(warnings.filters)
    with contextlib.ExitStack() as one, contextlib.ExitStack() as other:
        one.enter_context(damage_as_errors("one"))
        other.enter_context(damage_as_errors("other"))
        one.close()
        warnings.warn("of Pillow, in the other", UserWarning, stacklevel=1)
    assert warnings.filters == before


# Choices


def test_a_format_can_be_chosen_against_the_name(tmp_path):
    write_image(picture_of(), tmp_path / "a.dat", format="jpg")
    assert read_image(tmp_path / "a.dat").format == "JPEG"
    with pytest.raises(ImageError, match="'psd' is no format of pictures; expected one of AVIF"):
        write_image(picture_of(), tmp_path / "b.png", format="psd")
    with pytest.raises(ImageError, match="no ending to tell the format by"):
        write_image(picture_of(), io.BytesIO())
    assert [format_named(name) for name in ("png", ".jpeg", "TIF", "webp", "heic")] == [
        "PNG", "JPEG", "TIFF", "WEBP", "HEIF",
    ]  # fmt: skip


@pytest.mark.parametrize(("format_", "quality"), [("JPEG", 95), ("WEBP", 95), ("AVIF", 90), ("HEIF", 90)])
def test_quality_and_subsampling_are_settable(format_, quality):
    noise = RANDOM.integers(0, 256, (64, 64, 3), np.uint8)

    def size(**options):
        file = io.BytesIO()
        write_image(noise, file, format=format_, **options)
        return len(file.getvalue())

    assert size(quality=20) < 0.7 * size()
    assert size(quality=quality - 3) < size(quality=quality) == size() < size(quality=quality + 3)
    if format_ != "WEBP":
        assert size(subsampling="4:2:0") < size(subsampling="4:2:2") < size() == size(subsampling="4:4:4")


def test_webp_of_quality_100_loses_nothing():
    pixels = RANDOM.integers(0, 256, (20, 20, 3), np.uint8)
    assert_same(there_and_back(pixels, "WEBP", quality=100).pixels, pixels)


@pytest.mark.parametrize("options", [{"quality": 0}, {"quality": 101}, {"subsampling": "4:1:1"}])
def test_a_quality_that_there_is_none_of_is_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        there_and_back(picture_of(), "JPEG", **options)


def test_colours_under_full_transparency_are_kept():
    hidden = replace(picture_of(), alpha=np.zeros((30, 26), np.uint8))
    for format_, quality in (("PNG", None), ("TIFF", None), ("WEBP", 100)):
        assert_same(there_and_back(hidden, format_, quality=quality).pixels, hidden.pixels)


# Streams and the extra


def test_a_pipe_is_read_and_written(tmp_path):
    write_image(picture_of(alpha=True), tmp_path / "a.png")
    program = (
        "import sys; from mprnet.imaging import *;"
        "write_image(read_image(sys.stdin.buffer), sys.stdout.buffer, format='tiff')"
    )
    with (tmp_path / "a.png").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", program], input=file.read(), capture_output=True, check=True, timeout=120
        )
    found = read_image(io.BytesIO(done.stdout))
    assert found.format == "TIFF"
    assert_same(found.pixels, picture_of().pixels)


def test_a_stream_gets_nothing_when_the_picture_cannot_be_encoded(monkeypatch):
    def save(image, file, *arguments, **options):
        file.write(b"half")
        raise OSError("encoder error")

    monkeypatch.setattr(Image.Image, "save", save)
    file = io.BytesIO()
    with pytest.raises(ImageError, match="the stream cannot be written: encoder error"):
        write_image(picture_of(), file, format="png")
    assert file.getvalue() == b""


def test_a_stream_can_be_read_again():
    file = io.BytesIO()
    write_image(picture_of(), file, format="png")
    file.seek(0)
    assert np.array_equal(read_image(file).pixels, read_image(file).pixels)


def test_without_the_extra_one_line_names_what_to_install(tmp_path, monkeypatch):
    ordinary = builtins.__import__

    def refuse(name, *arguments):
        if name == "pillow_heif":
            raise ImportError(name)
        return ordinary(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1")
    for act in (
        lambda: read_image(tmp_path / "a.heic"),
        lambda: check_target(tmp_path / "b.heic", False),
        lambda: write_image(picture_of(), tmp_path / "b.heic"),
    ):
        with pytest.raises(MissingExtraError, match=r'needs pillow-heif: pip install "mprnet\[heif\]"'):
            act()
    assert [path.name for path in tmp_path.iterdir()] == ["a.heic"]


def test_a_file_of_every_format_is_recognised_by_its_first_bytes():
    for format_ in sorted(set(FORMATS.values()) - {"HEIF"}):
        file = io.BytesIO()
        write_image(picture_of(), file, format=format_)
        assert recognise(file.getvalue()[:64]) == format_
    assert recognise(b"") is None
    assert recognise(b"%PDF-1.7") is None


def test_a_picture_checks_what_it_is_made_of():
    with pytest.raises(ImageError, match=r"alpha is uint8 of shape \(2, 2\); expected uint8 of shape \(3, 4\)"):
        Picture(np.zeros((3, 4, 3), np.uint8), np.zeros((2, 2), np.uint8))
    with pytest.raises(ImageError, match="pixels are float64"):
        Picture(np.zeros((3, 4, 3)))
    assert Picture(np.full((3, 4, 1), 65535, np.uint16)).to_tensor().equal(torch.ones(1, 3, 4))


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="the fuzzer needs fork")
def test_damaged_files_of_every_kind_neither_crash_nor_hang_nor_fill_the_memory():
    program = Path(__file__).resolve().parent.parent / "checks" / "fuzz_files.py"
    done = subprocess.run(
        [sys.executable, program, "--files", "200", "--seed", "1"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 files, seed 1" in done.stdout

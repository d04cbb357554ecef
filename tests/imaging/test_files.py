from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from mprnet.errors import ImageError
from mprnet.imaging import MAX_PIXELS, read_image, write_image
from mprnet.imaging.decoding import open_picture

ORIENTATION = ExifTags.Base.Orientation


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (11, 7, 3), np.uint8)


def smooth(height, width):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack((rows * 5, columns * 5, (rows + columns) * 2), axis=2).astype(np.uint8)


def exif_of(orientation, **entries):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    for name, value in entries.items():
        exif[ExifTags.Base[name]] = value
    return exif


def stored_exif(path):
    with Image.open(path) as image:
        return image.getexif()


def profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# Reading


def test_a_png_is_read_as_it_is(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, pixels)
    assert (picture.icc_profile, picture.exif) == (None, None)
    assert picture.to_tensor().shape == (3, 11, 7)


def test_a_jpeg_is_read_by_what_is_in_it_not_by_its_name(tmp_path):
    Image.fromarray(smooth(16, 16)).save(tmp_path / "a.png", "JPEG", quality=95, subsampling=0)
    assert np.abs(read_image(str(tmp_path / "a.png")).pixels.astype(int) - smooth(16, 16)).max() < 12


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_once(orientation, format_, tmp_path):
    upright = smooth(24, 16)
    stored = {  # what a camera held that way stores
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = exif_of(orientation, Make="A camera")
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a", format_, exif=exif, quality=100, subsampling=0)
    picture = read_image(tmp_path / "a")
    assert picture.pixels.shape == upright.shape
    assert np.abs(picture.pixels.astype(int) - upright).max() < 12
    write_image(picture.pixels, tmp_path / "b.png", exif=picture.exif)
    again = read_image(tmp_path / "b.png")
    assert np.array_equal(again.pixels, picture.pixels)
    kept = stored_exif(tmp_path / "b.png")
    assert kept[ExifTags.Base.Make] == "A camera"
    assert ORIENTATION not in kept


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_pictures_stay_grey(mode, pixels, tmp_path):
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png")
    assert picture.is_grey
    assert np.array_equal(picture.pixels[..., 0], np.array(image.convert("L")))
    assert np.array_equal(picture.rgb(), np.array(image.convert("RGB")))


def test_palette_pictures_become_rgb(pixels, tmp_path):
    image = Image.fromarray(pixels).convert("P")
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, np.array(image.convert("RGB")))


def test_a_profile_is_kept_in_grey_and_in_colour(pixels, tmp_path):
    for name, mode in (("grey.png", "L"), ("colour.png", "RGB"), ("few.png", "P")):
        Image.fromarray(pixels).convert(mode).save(tmp_path / name, icc_profile=profile())
        assert read_image(tmp_path / name).icc_profile == profile()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparency_is_read_whatever_way_it_is_stored(mode, tmp_path):
    image = Image.new(mode, (4, 3))
    options = {"transparency": (0, 0, 0) if mode == "RGB" else 0} if mode in ("P", "RGB", "L") else {}
    image.save(tmp_path / "a.png", **options)
    picture = read_image(tmp_path / "a.png")
    assert picture.alpha.tolist() == np.zeros((3, 4)).tolist()
    assert picture.is_grey == (mode in ("LA", "L"))


def test_cmyk_becomes_rgb_without_a_profile_and_with_a_damaged_one(tmp_path):
    inks = np.random.default_rng(0).integers(0, 256, (9, 8, 4), np.uint8)
    image = Image.fromarray(inks, "CMYK")
    image.save(tmp_path / "plain.tif")
    plain = read_image(tmp_path / "plain.tif")
    assert np.array_equal(plain.pixels, np.array(image.convert("RGB")))
    assert (plain.stored_as, plain.icc_profile) == ("CMYK", None)
    image.save(tmp_path / "damaged.tif", icc_profile=b"no profile")
    assert np.array_equal(read_image(tmp_path / "damaged.tif").pixels, plain.pixels)


def test_an_animation_is_refused_where_one_picture_is_asked_for(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for name in ("a.png", "a.gif", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(ImageError, match="has an animation; expected one picture"):
            read_image(tmp_path / name)


def png_of_size(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [16_400, 60_000, 2**31 - 1])
def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(side, tmp_path):
    assert side * side > MAX_PIXELS == 2**28
    (tmp_path / "bomb.png").write_bytes(png_of_size(side, side))
    with pytest.raises(ImageError, match=r"bomb.png is (too large|16400×16400)"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".gif"])
def test_pillow_s_own_limit_is_raised_while_a_picture_is_read(suffix, pixels, tmp_path, monkeypatch):
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)  # and twice as many are an error
    with pytest.raises(Image.DecompressionBombError), Image.open(tmp_path / f"a{suffix}") as image:
        image.load()
    assert read_image(tmp_path / f"a{suffix}").size_hw == (11, 7)
    assert Image.MAX_IMAGE_PIXELS == 30
    with open_picture(tmp_path / f"a{suffix}", 100), pytest.raises(ImageError, match="expected at most 76"):
        read_image(tmp_path / f"a{suffix}", max_pixels=76)
    assert Image.MAX_IMAGE_PIXELS == 30


def test_the_most_pixels_can_be_chosen(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_pixels=77).pixels.shape == (11, 7, 3)
    with pytest.raises(ImageError, match=r"a\.png is 7×11; expected at most 76 pixels"):
        read_image(tmp_path / "a.png", max_pixels=76)


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_refused(format_, share, tmp_path):
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(whole, format_)
    (tmp_path / "a").write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])
    with pytest.raises(ImageError, match=r"a is truncated(, damaged,)? or ") as refused:
        read_image(tmp_path / "a")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"hello", "is no picture of a kind"), (b"\xff\xd8\xff", "is truncated, damaged, or")],
)
def test_what_is_no_picture_is_refused(content, message, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a.jpg")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read: File name too long"):
        read_image(tmp_path / ("x" * 252 + ".png"))
    with pytest.raises(ImageError, match="folder or no ordinary file"):
        read_image(tmp_path)
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "loop.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="no ordinary file"):
        read_image(tmp_path / "pipe.png")


_SEEDS = []
for _format in ("PNG", "JPEG"):
    _file = io.BytesIO()
    Image.fromarray(smooth(20, 20)).save(_file, _format, exif=exif_of(6, Make="A camera"), icc_profile=profile())
    _SEEDS.append(_file.getvalue())


@settings(deadline=None)
@given(seed=st.sampled_from(_SEEDS), changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=8))
def test_damaged_bytes_give_a_picture_or_a_clear_error(tmp_path_factory, seed, changes):
    content = bytearray(seed)
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    with contextlib.suppress(ImageError):
        pixels = read_image(path, max_pixels=1_000_000).pixels
        assert pixels.dtype in (np.uint8, np.uint16)
        assert pixels.shape[2] in (1, 3)


def test_sloppy_exif_does_not_lose_the_picture(tmp_path):
    exif = bytearray(exif_of(6, Make="A camera").tobytes())
    exif[exif.index(b"\x01\x0f") + 1] = 0x1A  # the resolution, a fraction, is now the text "A camera"
    Image.fromarray(smooth(16, 24)).save(tmp_path / "a.jpg", exif=bytes(exif))
    picture = read_image(tmp_path / "a.jpg")
    assert picture.pixels.shape == (24, 16, 3)
    write_image(picture, tmp_path / "b.jpg")
    assert read_image(tmp_path / "b.jpg").exif == picture.exif


# Writing


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "雨の写真.png", "фото [1].png", "x" * 251 + ".png"])
def test_a_png_comes_back_bit_for_bit(name, pixels, tmp_path):
    write_image(pixels, tmp_path / name)
    assert np.array_equal(read_image(tmp_path / name).pixels, pixels)
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_tensor_is_written_as_its_pixels(pixels, tmp_path):
    write_image(torch.from_numpy(pixels).permute(2, 0, 1) / 255, tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, pixels)


def test_jpeg_keeps_fine_colours(pixels, tmp_path):
    write_image(pixels, tmp_path / "a.jpeg")
    with Image.open(tmp_path / "a.jpeg") as image:
        assert image.format == "JPEG"
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3  # 4:4:4
    assert np.abs(read_image(tmp_path / "a.jpeg").pixels.astype(int) - pixels).mean() < 4
    write_image(pixels, tmp_path / "b.jpeg", quality=20)
    assert (tmp_path / "b.jpeg").stat().st_size < 0.8 * (tmp_path / "a.jpeg").stat().st_size


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_profile_and_exif_are_kept(suffix, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}", exif=exif_of(1, Model="Two"), icc_profile=profile())
    picture = read_image(tmp_path / f"a{suffix}")
    write_image(picture.pixels, tmp_path / f"b{suffix}", icc_profile=picture.icc_profile, exif=picture.exif)
    again = read_image(tmp_path / f"b{suffix}")
    assert again.icc_profile == profile()
    assert again.exif == picture.exif
    assert stored_exif(tmp_path / f"b{suffix}")[ExifTags.Base.Model] == "Two"


def test_an_existing_file_is_kept_unless_overwritten(pixels, tmp_path):
    (tmp_path / "a.png").write_text("precious")
    with pytest.raises(ImageError, match="exists; choose another name or ask to overwrite it"):
        write_image(pixels, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "precious"
    write_image(pixels, tmp_path / "a.png", overwrite=True)
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, pixels)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_nothing(error, pixels, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_text("precious")

    def save(image, file, *arguments, **options):
        file.write(b"half")
        raise error

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(ImageError if isinstance(error, OSError) else KeyboardInterrupt) as raised:
        write_image(pixels, tmp_path / "a.png", overwrite=True)
    if isinstance(error, OSError):
        assert str(raised.value).endswith("a.png cannot be written: No space left on device")
    assert (tmp_path / "a.png").read_text() == "precious"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.psd", "ends in '.psd'; expected one of .png"),
        ("none/a.png", "No such file"),
        ("file.txt/a.png", "file.txt is no folder"),
        ("x" * 252 + ".png", "File name too long"),
        (".", "ends in ''"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_clear_line(name, message, pixels, tmp_path):
    (tmp_path / "file.txt").write_text("precious")
    with pytest.raises(ImageError, match=message):
        write_image(pixels, tmp_path / name)


def test_a_folder_is_not_replaced(pixels, tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ImageError, match="is a folder"):
        write_image(pixels, tmp_path / "a.png", overwrite=True)


def test_a_picture_too_wide_for_jpeg_is_one_clear_line(tmp_path):
    with pytest.raises(ImageError, match=r"a\.jpg cannot be written: the picture is 65536×1, JPEG holds 65500"):
        write_image(np.zeros((1, 65_536, 3), np.uint8), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_real_photograph_is_read(shared):
    path = Path(shared, "data/real/rain/1.jpg")
    with Image.open(path) as image:
        assert read_image(path).pixels.shape == (image.height, image.width, 3)

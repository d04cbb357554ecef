"""Animations: every frame and its time there and back, one at a time, and no more than fits."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mprnet.errors import ImageError
from mprnet.imaging import Frame, Picture, read_frames, read_image, write_frames, write_image
from mprnet.imaging.decoding import open_picture

FORMATS = ["GIF", "WEBP", "PNG", "AVIF"]
DURATIONS = [40, 100, 250]


def frame(number, *, alpha=False, height=24, width=32):
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[:, 8 * number : 8 * number + 8] = (240, 60 * number, 10)
    clear = None
    if alpha:
        clear = np.full((height, width), 255, np.uint8)
        clear[4:12, 4 * number : 4 * number + 4] = 0
    return Picture(pixels, clear)


def frames(**options):
    return [Frame(frame(number, **options), duration) for number, duration in enumerate(DURATIONS)]


def written(made, format_, **options):
    file = io.BytesIO()
    write_frames(made, file, format=format_, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("format_", FORMATS)
def test_every_frame_and_its_time_come_back(format_, alpha):
    file = written(frames(alpha=alpha), format_)
    with open_picture(file, 10**6) as opened:
        assert opened.is_animated
    animation = read_frames(file)
    assert (animation.count, animation.format, animation.size_hw) == (3, format_, (24, 32))
    found = list(animation.frames)
    assert [one.duration_ms for one in found] == DURATIONS
    for one, made in zip(found, frames(alpha=alpha), strict=True):
        seen = np.s_[...] if not alpha else made.picture.alpha > 0
        difference = np.abs(one.picture.rgb().astype(int) - made.picture.pixels)[seen]
        assert difference.mean() < (1 if format_ in ("GIF", "PNG") else 6)
        if alpha:
            assert np.array_equal(one.picture.alpha > 127, made.picture.alpha > 0)
        else:
            assert one.picture.is_opaque


@pytest.mark.parametrize("loop", [0, 1, 2, 5])
@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG"])
def test_how_often_it_is_played_is_kept(format_, loop):
    file = written(frames(), format_, loop=loop)
    animation = read_frames(file)
    assert animation.loop == loop
    again = written(animation.frames, format_, loop=animation.loop)
    assert read_frames(again).loop == loop


def test_times_that_are_no_whole_milliseconds_do_not_add_up_to_an_error():
    made = [Frame(frame(number % 3), 33.4) for number in range(30)]
    found = read_frames(written(made, "WEBP"))
    assert sum(one.duration_ms for one in found.frames) == pytest.approx(30 * 33.4, abs=1)


@pytest.mark.parametrize(("duration_ms", "each"), [(33.4, 33.4), (1000 / 60, 20), (10, 10), (0, 0)])
def test_times_finer_than_those_of_a_gif_do_not_add_up_and_none_is_shown_for_longer(duration_ms, each):
    made = [Frame(frame(number % 3), duration_ms) for number in range(30)]
    found = [one.duration_ms for one in read_frames(written(made, "GIF")).frames]
    assert sum(found) == pytest.approx(30 * each, abs=5)
    assert duration_ms <= 10 or min(found) >= 20  # what is shorter, browsers show for 100 ms


def test_a_pause_after_frames_that_a_gif_cannot_hold_keeps_its_length():
    made = [Frame(frame(number % 3), 15) for number in range(40)] + [Frame(frame(1), 100)]
    *_, pause = read_frames(written(made, "GIF")).frames
    assert pause.duration_ms == pytest.approx(100, abs=10)


def test_a_file_of_one_picture_is_one_frame():
    file = io.BytesIO()
    write_image(frame(0), file, format="tiff")
    file.seek(0)
    with open_picture(file, 10**6) as opened:
        assert not opened.is_animated
    animation = read_frames(file)
    assert animation.count == 1
    assert np.array_equal(next(animation.frames).picture.pixels, frame(0).pixels)


def test_frames_of_files_with_damage_are_given_up_to_it():
    content = written(frames(), "PNG").getvalue()
    animation = read_frames(io.BytesIO(content[: content.rindex(b"fdAT") + 12]))
    for made in frames()[:2]:
        assert np.array_equal(next(animation.frames).picture.pixels, made.picture.pixels)
    with pytest.raises(ImageError) as refused:
        next(animation.frames)
    assert "\n" not in str(refused.value)


def test_all_frames_together_are_measured_before_they_are_decoded():
    file = written(frames(), "GIF")
    assert read_frames(file, max_pixels=3 * 24 * 32).count == 3
    with pytest.raises(ImageError, match="has 3 frames of 32×24; expected at most 2303 pixels in all of them"):
        read_frames(file, max_pixels=3 * 24 * 32 - 1)


def test_one_frame_is_decoded_at_a_time(monkeypatch):
    decoded = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda image: (decoded.append(image), load(image))[1])
    found = read_frames(written(frames(), "PNG")).frames
    next(found)
    first = len(decoded)
    list(found)
    assert 0 < first < len(decoded)


def test_between_two_frames_warnings_are_the_callers_again():
    found = read_frames(written(frames(), "GIF")).frames
    warnings.simplefilter("error")
    next(found)
    with pytest.raises(UserWarning, match="mine"):
        warnings.warn("mine", UserWarning, stacklevel=1)


def test_the_picture_for_programs_without_animation_is_no_frame():
    images = [Image.fromarray(frame(number).pixels) for number in range(3)]
    file = io.BytesIO()
    images[0].save(file, "PNG", save_all=True, default_image=True, append_images=images[1:], duration=50)
    file.seek(0)
    animation = read_frames(file)
    found = list(animation.frames)
    assert animation.count == len(found) == 2
    assert np.array_equal(found[0].picture.pixels, frame(1).pixels)


def test_16_bits_are_rounded_in_frames():
    fine = np.random.default_rng(0).integers(0, 257, (24, 32, 3), np.uint16)
    deep = [frame(number).pixels * np.uint16(257) + fine for number in range(3)]
    found = list(read_frames(written([Frame(Picture(pixels), 40) for pixels in deep], "PNG")).frames)
    for one, pixels in zip(found, deep, strict=True):
        assert np.array_equal(one.picture.pixels, np.rint(pixels / 257))


def test_frames_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def broken():
        yield frames()[0]
        raise RuntimeError("the network stopped")

    with pytest.raises(RuntimeError, match="the network stopped"):
        write_frames(broken(), tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []
    write_frames(frames(), tmp_path / "a.gif")
    with pytest.raises(ImageError, match="exists"):
        write_frames(frames(), tmp_path / "a.gif")
    write_frames(frames()[:2], tmp_path / "a.gif", overwrite=True)
    assert read_frames(tmp_path / "a.gif").count == 2
    with pytest.raises(ImageError, match="has an animation"):
        read_image(tmp_path / "a.gif")

    def save(image, file, *arguments, **options):
        file.write(b"half")
        raise OSError("encoder error")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(ImageError, match=r"a\.gif cannot be written: encoder error"):
        write_frames(frames(), tmp_path / "a.gif", overwrite=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.gif"]
    assert read_frames(tmp_path / "a.gif").count == 2


def test_what_holds_no_animation_is_refused():
    with pytest.raises(ImageError, match="JPEG holds no animation; choose AVIF, GIF, PNG, WEBP"):
        written(frames(), "JPEG")
    with pytest.raises(ImageError, match="there are no frames"):
        written([], "GIF")
    with pytest.raises(ImageError, match="its frames differ in size"):
        written([*frames(), Frame(frame(0, height=20), 10)], "GIF")


def test_frames_of_16_bits_are_refused():
    def chunk(kind, *data):
        content = kind + b"".join(data)
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    def control(number):
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 4, 3, 0, 0, 1, 25, 0, 0))

    rows = zlib.compress(bytes(3 * (1 + 2 * 4)))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 0, 0, 0, 0))
    content += chunk(b"acTL", struct.pack(">II", 2, 0)) + control(0) + chunk(b"IDAT", rows)
    content += control(1) + chunk(b"fdAT", struct.pack(">I", 2), rows) + chunk(b"IEND")
    with pytest.raises(ImageError, match="has frames of 16 bits, which is not supported; convert it to 8"):
        next(read_frames(io.BytesIO(content)).frames)


def test_frames_of_several_sizes_are_refused():
    content = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    for left in (0, 1):
        content += b"," + struct.pack("<HHHHB", left, 0, 1, 1, 0) + b"\2\2\x44\1\0"  # a pixel
    found = read_frames(io.BytesIO(content + b";")).frames
    assert next(found).picture.size_hw == (1, 1)
    with pytest.raises(ImageError, match="has frames of several sizes, which is not supported"):
        next(found)


def test_colours_of_an_avif_are_as_fine_as_asked_for(tmp_path):
    rows, columns = np.mgrid[0:32, 0:32]
    checks = np.where((rows + columns)[..., None] % 2, (200, 30, 30), (30, 30, 200)).astype(np.uint8)
    errors = {}
    for subsampling in ("4:4:4", "4:2:0"):
        moving = [Frame(Picture(np.roll(checks, shift, axis=1)), 40) for shift in range(3)]
        write_frames(moving, tmp_path / "a.avif", quality=95, subsampling=subsampling, overwrite=True)
        found = next(read_frames(tmp_path / "a.avif").frames).picture.pixels
        errors[subsampling] = np.abs(found.astype(int) - checks).mean()
    assert 3 * errors["4:4:4"] < errors["4:2:0"]


def test_colours_that_come_after_a_grey_frame_are_as_fine_as_asked_for():
    rows, columns = np.mgrid[0:32, 0:32]
    checks = np.where((rows + columns)[..., None] % 2, (200, 30, 30), (30, 30, 200)).astype(np.uint8)
    moving = [Frame(Picture(np.full((32, 32, 1), 90, np.uint8)), 40), Frame(Picture(checks), 40)]
    errors = {}
    for subsampling in (None, "4:2:0"):
        _, found = read_frames(written(moving, "AVIF", subsampling=subsampling)).frames
        errors[subsampling] = np.abs(found.picture.pixels.astype(int) - checks).mean()
    assert 3 * errors[None] < errors["4:2:0"]


def test_grey_with_transparency_stays_grey_and_its_profile_true():
    made = [replace(one.picture, pixels=one.picture.pixels[..., :1]) for one in frames(alpha=True)]
    profile = b"\0" * 16 + b"GRAY" + b"\0" * 108
    file = written([Frame(replace(one, icc_profile=profile), 40) for one in made], "PNG")
    for found, one in zip(read_frames(file).frames, made, strict=True):
        assert (found.picture.is_grey, found.picture.icc_profile) == (True, profile)
        assert np.array_equal(found.picture.pixels, one.pixels)
        assert np.array_equal(found.picture.alpha, one.alpha)

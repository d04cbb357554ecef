from __future__ import annotations

import errno
import io

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from mprnet.errors import ConfigError, ImageError
from mprnet.imaging import Picture, read_frames, read_image, write_image
from mprnet.restoration import PictureOptions, restore_picture

rng = np.random.default_rng(0)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def draw(path, shape=(5, 7, 3), dtype=np.uint8, **more):
    pixels = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    write_image(Picture(pixels, **more), path)
    return pixels


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (1, 1, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_depth_and_grey_are_kept_through_several_networks(make_inverter, tmp_path, shape, dtype, times):
    before = draw(tmp_path / "a.png", shape, dtype)
    restorers = [make_inverter() for _ in range(times)]
    restore_picture(restorers, tmp_path / "a.png", tmp_path / "b.png")
    after = read_image(tmp_path / "b.png").pixels
    assert (after.dtype, after.shape) == (dtype, shape)
    np.testing.assert_array_equal(after, np.iinfo(dtype).max - before if times % 2 else before)
    between = "uint8" if dtype == np.uint8 and times == 1 else "uint16"
    assert [call[1] for restorer in restorers for call in restorer.calls] == [between] * times


def test_real_networks_follow_each_other_without_rounding_between(restorer, tmp_path):
    before = draw(tmp_path / "a.png", (13, 21, 3))
    restore_picture([restorer, restorer], tmp_path / "a.png", tmp_path / "b.png")
    once = restorer.restore_pixels(before.astype(np.uint16) * 257)
    twice = np.rint(restorer.restore_pixels(once) / 257)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").pixels, twice)


def test_transparency_profile_and_notes_are_kept(inverter, tmp_path):
    alpha = rng.integers(0, 256, (5, 7), np.uint8)
    with Image.new("RGB", (1, 1)) as image:
        exif = image.getexif()
    exif[271] = "Maker"
    draw(tmp_path / "a.png", alpha=alpha, icc_profile=PROFILE, exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    restore_picture([inverter], tmp_path / "a.png", tmp_path / "new/b.png")
    restored = read_image(tmp_path / "new/b.png")
    np.testing.assert_array_equal(restored.alpha, alpha)
    assert restored.icc_profile == PROFILE
    assert b"Maker" in restored.exif


def test_stage_and_strength_reach_every_network(make_inverter, tmp_path):
    draw(tmp_path / "a.png")
    restorers = [make_inverter(), make_inverter()]
    restore_picture(restorers, tmp_path / "a.png", tmp_path / "b.png", options=PictureOptions(stage=2, strength=0.25))
    assert [call[2:] for restorer in restorers for call in restorer.calls] == [(2, 0.25), (2, 0.25)]


@pytest.mark.parametrize(("budget", "networks", "stage"), [(3, 1, 3), (4, 2, 2), (0.1, 1, 1), (100, 3, 3)])
def test_the_budget_is_shared_by_the_networks(make_inverter, tmp_path, budget, networks, stage):
    draw(tmp_path / "a.png")
    restorers = [make_inverter() for _ in range(networks)]
    options = PictureOptions(stage="auto", budget_seconds=budget)
    restore_picture(restorers, tmp_path / "a.png", tmp_path / "b.png", options=options)
    assert {call[2] for restorer in restorers for call in restorer.calls} == {stage}


def test_progress_goes_through_all_networks(make_inverter, tmp_path):
    draw(tmp_path / "a.png")
    seen = []
    restore_picture([make_inverter(), make_inverter()], tmp_path / "a.png", tmp_path / "b.png", progress=seen.append)
    assert seen == [0.25, 0.5, 0.75, 1]


def test_a_strip_shows_before_and_after_and_large_pictures_shrunk(inverter, tmp_path):
    write_image(np.full((300, 2400, 3), 250, np.uint8), tmp_path / "a.png")
    restore_picture([inverter], tmp_path / "a.png", tmp_path / "b.png", options=PictureOptions(compare=True))
    strip = read_image(tmp_path / "b_compare.jpg").pixels
    assert 1600 <= strip.shape[1] < 1700
    halves = [half[strip.shape[0] * 2 // 3, 400].mean() for half in np.array_split(strip, 2, axis=1)]
    assert halves == pytest.approx([250, 5], abs=3)


@pytest.mark.parametrize("shape", [(9, 4, 1), (1, 3000, 3)])
def test_a_strip_of_grey_deep_and_very_long_pictures(inverter, tmp_path, shape):
    draw(tmp_path / "a.png", shape, np.uint16)
    restore_picture([inverter], tmp_path / "a.png", tmp_path / "b.png", options=PictureOptions(compare=True))
    assert read_image(tmp_path / "b_compare.jpg").depth == 8


def test_an_existing_strip_is_found_before_the_work(inverter, tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / "b_compare.jpg").write_text("precious")
    options = PictureOptions(compare=True)
    with pytest.raises(ImageError, match=r"b_compare\.jpg exists"):
        restore_picture([inverter], tmp_path / "a.png", tmp_path / "b.png", options=options)
    assert inverter.calls == []
    assert (tmp_path / "b_compare.jpg").read_text() == "precious"
    assert not (tmp_path / "b.png").exists()


@pytest.fixture
def animated(tmp_path):
    """An animation of three frames, with times of their own."""
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=[40, 80, 120], lossless=True)
    return tmp_path / "a.webp"


def test_every_frame_of_an_animation_is_restored_and_its_time_kept(inverter, animated, tmp_path):
    seen = []
    options = PictureOptions(stage="auto", budget_seconds=6, quality=100, compare=True)
    restore_picture([inverter], animated, tmp_path / "b.webp", options=options, progress=seen.append)
    frames = list(read_frames(tmp_path / "b.webp").frames)
    assert [frame.picture.pixels[3, 3].tolist() for frame in frames] == [[0, 255, 255], [255, 0, 255], [255, 255, 0]]
    assert [frame.duration_ms for frame in frames] == [40, 80, 120]
    assert [call[2] for call in inverter.calls] == [2, 2, 2]  # each frame has a third of the budget
    assert seen == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert (tmp_path / "b_compare.jpg").exists()


def test_an_animation_and_its_strip_have_its_profile(inverter, tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], icc_profile=PROFILE)
    restore_picture([inverter], tmp_path / "a.webp", tmp_path / "b.webp", options=PictureOptions(compare=True))
    for name in ("b.webp", "b_compare.jpg"):
        with Image.open(tmp_path / name) as image:
            assert image.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("format_", ["avif", "webp"])
def test_a_pillow_without_a_format_is_told_before_the_work(inverter, tmp_path, monkeypatch, format_):
    monkeypatch.setattr(features, "check", lambda _: False)
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=f"this Pillow was built without {format_.upper()}"):
        restore_picture([inverter], tmp_path / "a.png", tmp_path / f"b.{format_}")
    assert inverter.calls == []


def test_an_animation_is_not_worked_on_for_a_format_that_holds_none(inverter, animated, tmp_path):
    with pytest.raises(ImageError, match=r"b\.jpg cannot be written: JPEG holds no animation"):
        restore_picture([inverter], animated, tmp_path / "b.jpg")
    assert inverter.calls == []
    assert list(tmp_path.iterdir()) == [animated]


def test_transparency_is_not_worked_on_for_a_format_that_holds_none(inverter, tmp_path):
    draw(tmp_path / "a.png", alpha=np.zeros((5, 7), np.uint8))
    with pytest.raises(ImageError, match="holds no transparency"):
        restore_picture([inverter], tmp_path / "a.png", tmp_path / "b.jpg")
    assert inverter.calls == []


def test_that_raw_photographs_are_not_supported_is_said_before_a_name_that_nobody_gave(inverter, tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "IMG.NEF", "TIFF", tiffinfo={254: 1})
    with pytest.raises(ImageError, match=r"IMG\.NEF has only a small copy.*; develop it to TIFF or JPEG"):
        restore_picture([inverter], tmp_path / "IMG.NEF", tmp_path / "IMG_restored.NEF")
    Image.new("RGB", (8, 6)).save(tmp_path / "photograph", "JPEG")
    with pytest.raises(ImageError, match=r"photograph_restored ends in ''; .*; or ask for a format"):
        restore_picture([inverter], tmp_path / "photograph", tmp_path / "photograph_restored")
    assert inverter.calls == []


@pytest.mark.parametrize(
    ("asked", "given", "written"),
    [(None, "png", "PNG"), (None, "bmp", "BMP"), ("webp", "png", "WEBP"), (None, "ppm", "PNG")],
)
def test_a_stream_gets_the_format_of_the_input_or_what_is_asked_for(inverter, asked, given, written):
    source, target = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (5, 3), "teal").save(source, given)
    source.seek(0)
    restore_picture([inverter], source, target, options=PictureOptions(format=asked))
    with Image.open(target) as image:
        assert (image.format, image.size) == (written, (5, 3))


def test_a_stream_whose_format_cannot_hold_the_picture_is_refused_before_the_work(inverter):
    source = io.BytesIO()
    Image.new("RGBA", (5, 3), (1, 2, 3, 9)).save(source, "PNG")
    source.seek(0)
    with pytest.raises(ImageError, match="transparen"):
        restore_picture([inverter], source, io.BytesIO(), options=PictureOptions(format="jpg"))
    assert inverter.calls == []


def test_an_animation_goes_through_a_pipe(inverter, animated):
    target = io.BytesIO()
    restore_picture([inverter], io.BytesIO(animated.read_bytes()), target)
    with Image.open(target) as image:
        assert (image.format, image.n_frames) == ("WEBP", 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "standard input is empty"), (b"\x89PNG\r\n\x1a\n and no more", "standard input is truncated")],
)
def test_a_stream_that_is_no_picture_is_one_clear_line_and_nothing_is_written(inverter, content, message):
    target = io.BytesIO()
    with pytest.raises(ImageError, match=message):
        restore_picture([inverter], io.BytesIO(content), target)
    assert target.getvalue() == b""


def test_a_strip_has_no_place_beside_a_stream(inverter, tmp_path):
    draw(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="the output is a stream; name a file"):
        restore_picture([inverter], tmp_path / "a.png", io.BytesIO(), options=PictureOptions(compare=True))


def test_without_a_network_there_is_nothing_to_do(tmp_path):
    draw(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="no restorers are given"):
        restore_picture([], tmp_path / "a.png", tmp_path / "b.png")


def test_a_full_disk_leaves_nothing_and_names_the_target(inverter, tmp_path, monkeypatch):
    draw(tmp_path / "a.png")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ImageError, match=r"b\.png cannot be written: No space left on device"):
        restore_picture([inverter], tmp_path / "a.png", tmp_path / "b.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_target_that_came_while_the_network_worked_is_kept(make_inverter, tmp_path):
    draw(tmp_path / "a.png")
    restorer = make_inverter()

    def progress(_):
        (tmp_path / "b.png").write_text("precious")

    with pytest.raises(ImageError, match=r"b\.png exists"):
        restore_picture([restorer], tmp_path / "a.png", tmp_path / "b.png", progress=progress)
    assert (tmp_path / "b.png").read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage": 4}, "stage is 4; expected 1, 2, 3 or auto"),
        ({"stage": "auto"}, "belong together"),
        ({"budget_seconds": 1}, "belong together"),
        ({"stage": "auto", "budget_seconds": 0}, "the budget is 0 seconds; expected more than 0"),
        ({"stage": "auto", "budget_seconds": float("nan")}, "the budget is nan seconds"),
        ({"strength": 1.1}, "strength is 1.1; expected 0 to 1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"format": "psd"}, "'psd' is no format of pictures"),
        ({"quality": 0}, "quality is 0"),
        ({"subsampling": "4:1:1"}, "subsampling is '4:1:1'"),
    ],
)
def test_an_impossible_option_is_one_clear_line(options, message):
    with pytest.raises(ConfigError, match=message):
        PictureOptions(**options)


@pytest.mark.parametrize(
    ("name", "ending"), [("jpg", ".jpg"), ("JPEG", ".jpeg"), (".tif", ".tif"), ("heif", ".heif"), (None, None)]
)
def test_a_format_says_what_its_files_end_in(name, ending):
    assert PictureOptions(format=name).ending == ending


def test_a_heif_picture_is_decoded_once(inverter, tmp_path, monkeypatch):
    pytest.importorskip("pillow_heif", reason='HEIF needs pillow-heif: pip install "mprnet[heif]"')
    from mprnet.imaging import decoding

    draw(tmp_path / "a.heic", (64, 64, 3))
    opened = []
    open_heif = decoding.open_heif
    monkeypatch.setattr(decoding, "open_heif", lambda *given: opened.append(given) or open_heif(*given))
    restore_picture([inverter], tmp_path / "a.heic", tmp_path / "b.png")
    assert len(opened) == 1
    expected = 255 - read_image(tmp_path / "a.heic").pixels
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").pixels, expected)


def test_all_frames_of_an_animation_are_of_one_stage(make_inverter, animated, tmp_path):
    first, second = make_inverter(), make_inverter()
    choices = iter((3, 1, 2, 3, 1, 2, 3))
    asked = []
    first.choose_stage = lambda size_hw, seconds: asked.append(seconds) or next(choices)
    second.choose_stage = lambda size_hw, seconds: asked.append(seconds) or 2
    options = PictureOptions(stage="auto", budget_seconds=60)
    restore_picture([first, second], animated, tmp_path / "b.gif", options=options)
    assert {call[2] for call in first.calls + second.calls} == {2}
    assert asked == [60 / 2 / len(first.calls)] * 2


def test_a_picture_that_does_not_fit_into_memory_is_one_clear_line(inverter, tmp_path, monkeypatch):
    draw(tmp_path / "a.png")

    def fail(pixels, **more):
        raise MemoryError

    monkeypatch.setattr(inverter, "restore_pixels", fail)
    with pytest.raises(ImageError, match=r"a\.png does not fit into memory"):
        restore_picture([inverter], tmp_path / "a.png", tmp_path / "b.png")

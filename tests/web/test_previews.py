from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from mprnet.imaging import Picture, read_image, write_image
from mprnet.web.previews import write_preview

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = np.linspace(0, 65535, 40 * 60).reshape(40, 60, 1).astype(np.uint16)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_preview_has_8_bits_and_at_most_so_many_pixels_a_side(tmp_path, channels):
    write_image(np.repeat(GREY, channels, axis=2), tmp_path / "a.png")
    write_preview(tmp_path / "a.png", tmp_path / "small.webp", largest_px=30)
    write_preview(tmp_path / "a.png", tmp_path / "same.webp")
    assert read_image(tmp_path / "small.webp").size_hw == (20, 30)
    same = read_image(tmp_path / "same.webp")
    assert (same.depth, same.size_hw) == (8, (40, 60))
    assert np.abs(same.rgb() - GREY / 257).max() < 6


def test_colours_and_transparency_are_kept_and_camera_notes_are_not(tmp_path):
    alpha = (GREY[..., 0] // 257).astype(np.uint8)
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    picture = Picture(
        np.full((40, 60, 3), 99, np.uint8),
        alpha=alpha,
        icc_profile=PROFILE,
        exif=exif.tobytes().removeprefix(b"Exif\0\0"),
    )
    write_image(picture, tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").exif
    write_preview(tmp_path / "a.png", tmp_path / "a.webp")
    preview = read_image(tmp_path / "a.webp")
    assert preview.icc_profile == PROFILE
    assert preview.exif is None
    assert np.array_equal(preview.alpha, alpha)


def test_of_an_animation_the_first_frame_is_shown(tmp_path):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    write_preview(tmp_path / "a.gif", tmp_path / "a.webp")
    red, _, blue = read_image(tmp_path / "a.webp").pixels[5, 10]
    assert red > 200 > 50 > blue

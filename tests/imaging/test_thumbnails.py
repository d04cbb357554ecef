from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mprnet.imaging import Picture, first_frame, thumbnail

GREY = np.linspace(0, 65535, 40 * 60).reshape(40, 60, 1).astype(np.uint16)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_thumbnail_has_8_bits_and_at_most_so_many_pixels_a_side(channels):
    picture = Picture(np.repeat(GREY, channels, axis=2), icc_profile=b"theirs", exif=b"notes", alpha=GREY[..., 0])
    small, same = thumbnail(picture, 30), thumbnail(picture, 60)
    assert (small.depth, small.pixels.shape, small.alpha.shape) == (8, (20, 30, channels), (20, 30))
    assert (small.icc_profile, small.exif) == (b"theirs", None)
    for kept in (same.rgb(), same.alpha[..., None]):
        assert np.abs(kept - GREY / 257).max() <= 0.5
    assert picture.depth == 16


def test_of_an_animation_there_is_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    red, _, blue = first_frame(tmp_path / "a.gif").pixels[5, 10]
    assert red > 200 > 50 > blue

from __future__ import annotations

import io

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from mprnet.degradation import jpeg


@pytest.fixture(scope="module")
def photo():
    """A part of a photograph of odd size, 8 bits."""
    return np.ascontiguousarray(skimage.data.astronaut()[20:153, 160:337])


def by_libjpeg(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file, "JPEG", quality=quality, **({} if pixels.ndim == 2 else {"subsampling": "4:2:0"})
    )
    return np.array(Image.open(file))


def to_batch(pixels):
    return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1)[None].float() / 255


def psnr_db(first, second):
    return float(-10 * (first - second).square().mean().log10())


def qualities(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
def test_it_is_what_libjpeg_makes(photo, quality):
    ours, theirs = jpeg(to_batch(photo), qualities(quality)), to_batch(by_libjpeg(photo, quality))
    assert psnr_db(ours, theirs) > 40
    assert psnr_db(ours, theirs) > psnr_db(to_batch(photo), theirs) + 6


@pytest.mark.parametrize("quality", [20, 75])
def test_a_grey_picture_is_compressed_as_one(photo, quality):
    grey = np.array(Image.fromarray(photo).convert("L"))
    assert psnr_db(jpeg(to_batch(grey), qualities(quality)), to_batch(by_libjpeg(grey, quality))) > 47


def test_each_picture_has_its_quality(photo):
    picture = to_batch(photo)
    both = jpeg(picture.expand(2, -1, -1, -1), qualities(30, 90))
    assert torch.equal(both[:1], jpeg(picture, qualities(30)))
    assert torch.equal(both[1:], jpeg(picture, qualities(90)))


def test_the_best_quality_changes_grey_next_to_nothing(photo):
    grey = to_batch(np.array(Image.fromarray(photo).convert("L")))
    assert (jpeg(grey, qualities(100)) - grey).abs().max() < 2.5 / 255


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_is_kept(photo, dtype):
    picture = to_batch(photo)[..., :40, :40].to(dtype)
    compressed = jpeg(picture, qualities(60))
    assert compressed.dtype == dtype
    assert torch.equal(compressed, jpeg(picture.float(), qualities(60)).to(dtype))

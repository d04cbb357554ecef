from __future__ import annotations

import numpy as np
import pytest
import torch

from mprnet.errors import ImageError
from mprnet.imaging import to_pixels, to_tensor
from mprnet.imaging.pixels import to_8_bits


def test_every_8_bit_value_survives_the_way_there_and_back():
    pixels = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    picture = to_tensor(pixels)
    assert picture.shape == (3, 16, 16)
    assert picture.dtype == torch.float32
    assert (picture.min(), picture.max()) == (0, 1)
    assert picture[2, 0, 1] == pixels[0, 1, 2] / np.float32(255)
    assert np.array_equal(to_pixels(picture), pixels)


def test_every_16_bit_value_survives_the_way_there_and_back():
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    picture = to_tensor(pixels)
    assert picture.shape == (1, 256, 256)
    assert (picture.min(), picture.max()) == (0, 1)
    assert to_pixels(picture, depth=16).dtype == np.uint16
    assert np.array_equal(to_pixels(picture, depth=16), pixels)


def test_16_bits_are_rounded_to_the_nearest_of_8():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(to_8_bits(values), np.rint(values / 257).astype(np.uint8))


def test_a_tensor_has_memory_of_its_own():
    pixels = np.zeros((1, 1, 3), np.uint8)
    to_tensor(pixels).fill_(1)
    assert pixels.max() == 0


def test_values_are_rounded_to_the_nearest_and_clamped():
    values = torch.tensor([-0.5, 0.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.7]).expand(3, 1, 6)
    assert to_pixels(values)[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype_can_be_written(dtype):
    assert to_pixels(torch.ones(3, 2, 4, dtype=dtype)).tolist() == np.full((2, 4, 3), 255).tolist()


def test_infinite_values_are_the_ends_of_the_range_but_nan_is_refused():
    assert to_pixels(torch.full((3, 1, 1), torch.inf)).max() == 255
    with pytest.raises(ImageError, match="not numbers"):
        to_pixels(torch.full((3, 1, 1), torch.nan))


@pytest.mark.parametrize(
    "picture", [torch.zeros(1, 3, 4, 4), torch.zeros(2, 4, 4), torch.zeros(3, 4, 4).byte(), torch.zeros(3, 0, 4)]
)
def test_another_shape_or_dtype_of_tensor_is_refused(picture):
    with pytest.raises(ImageError, match="expected a float tensor"):
        to_pixels(picture)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_another_shape_or_dtype_of_pixels_is_refused(pixels):
    with pytest.raises(ImageError, match=r"expected uint8 of shape \(H, W, 3\)"):
        to_tensor(pixels)

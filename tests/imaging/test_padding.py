from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mprnet.imaging import crop, pad_to_multiple

sides = st.integers(1, 40)


@settings(deadline=None)
@given(height=sides, width=sides)
def test_any_size_is_padded_to_the_next_multiple_and_cut_back(height, width):
    picture = torch.rand(2, 3, height, width)
    padded = pad_to_multiple(picture, 8)
    assert padded.shape == (2, 3, height + -height % 8, width + -width % 8)
    assert torch.equal(crop(padded, (height, width)), picture)


def test_a_picture_that_fits_is_left_alone():
    picture = torch.rand(1, 3, 16, 8)
    assert pad_to_multiple(picture, 8) is picture


def test_padding_reflects_without_repeating_the_edge():
    row = torch.arange(5.0).expand(1, 1, 8, 5)
    assert pad_to_multiple(row, 8)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_where_there_is_too_little_to_reflect_the_edge_is_repeated(size):
    column = torch.arange(float(size)).view(1, 1, size, 1).expand(1, 1, size, 8)
    assert pad_to_multiple(column, 8)[0, 0, size:].unique().tolist() == [size - 1]


def test_each_side_is_padded_in_its_own_way():
    picture = torch.rand(1, 1, 2, 7)  # too few rows to reflect, enough columns
    padded = pad_to_multiple(picture, 8)
    assert torch.equal(padded[..., 7], padded[..., 5])
    assert torch.equal(padded[..., 7, :], padded[..., 1, :])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_padding_keeps_the_dtype(dtype):
    assert pad_to_multiple(torch.rand(1, 3, 5, 1).to(dtype), 8).dtype == dtype

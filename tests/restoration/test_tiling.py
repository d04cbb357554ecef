from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mprnet.restoration.tiling import lay_out, restore_tiled


def ignore(_):
    pass


@st.composite
def layouts(draw):
    tile = draw(st.integers(2, 12))
    return 8 * draw(st.integers(1, 80)), 8 * tile, 8 * draw(st.integers(1, tile // 2))


@settings(deadline=None)
@given(layout=layouts())
def test_spans_are_equal_reach_everywhere_and_share_enough(layout):
    length_px, tile_px, overlap_px = layout
    spans = lay_out(length_px, tile_px, overlap_px, 8)
    assert len({len(span.weights) for span in spans}) == 1
    assert spans[0].start == 0
    assert spans[-1].pixels.stop == length_px
    assert all(span.start % 8 == 0 and len(span.weights) % 8 == 0 for span in spans)
    assert len(spans[0].weights) <= tile_px
    for span, following in itertools.pairwise(spans):
        assert span.pixels.stop - following.start >= overlap_px
        assert following.start > span.start


@settings(deadline=None)
@given(layout=layouts())
def test_the_weights_add_up_to_one_everywhere(layout):
    total = torch.zeros(layout[0])
    for span in lay_out(*layout, 8):
        total[span.pixels] += span.weights
        assert span.weights.min() > 0
    torch.testing.assert_close(total, torch.ones(layout[0]), rtol=0, atol=1e-6)


def test_no_more_tiles_are_used_than_are_needed():
    assert len(lay_out(512, 512, 64, 8)) == 1
    assert len(lay_out(520, 512, 64, 8)) == 2
    assert len(lay_out(960, 512, 64, 8)) == 2
    assert len(lay_out(968, 512, 64, 8)) == 3


@settings(deadline=None)
@given(rows=st.integers(1, 20), columns=st.integers(1, 20))
def test_tiles_of_a_network_that_does_nothing_are_the_picture(rows, columns):
    picture = torch.rand(2, 3, 8 * rows, 8 * columns)
    tiled = restore_tiled(lambda tile: tile, picture, tile_px=32, overlap_px=16, multiple=8, progress=ignore)
    torch.testing.assert_close(tiled, picture, rtol=0, atol=1e-6)


def test_what_a_tile_cannot_know_at_its_edge_does_not_show():
    """A blur that takes everything beyond the tile for black: cut hard, its tiles would have dark borders."""
    picture = torch.rand(1, 1, 200, 160) / 2 + 0.5
    kernel = torch.full((1, 1, 3, 3), 1 / 9)

    def blur(tile):
        return F.conv2d(tile, kernel, padding=1)

    tiled = restore_tiled(blur, picture, tile_px=64, overlap_px=32, multiple=8, progress=ignore)
    assert (blur(picture[..., :64, :64])[..., :-1, -1] - blur(picture)[..., :63, 63]).abs().max() > 0.2
    assert (tiled - blur(picture)).abs().max() < 1e-3


def test_tiles_of_different_brightness_meet_without_a_step():
    brightness = iter(range(1000))
    picture = torch.zeros(1, 1, 8, 200)
    tiled = restore_tiled(
        lambda tile: tile + next(brightness) % 2, picture, tile_px=64, overlap_px=16, multiple=8, progress=ignore
    )
    steps = tiled.diff(dim=-1).abs()
    assert tiled.max() == 1
    assert 0 < steps.max() <= math.pi / 2 / 16
    assert steps[..., [0, -1]].max() == 0


def test_tiles_have_one_size_and_progress_counts_them():
    sizes, fractions = set(), []

    def restore(tile):
        sizes.add(tile.shape)
        return tile

    restore_tiled(restore, torch.zeros(1, 3, 104, 72), tile_px=48, overlap_px=8, multiple=8, progress=fractions.append)
    assert sizes == {(1, 3, 40, 40)}
    assert fractions == pytest.approx([(index + 1) / 6 for index in range(6)])

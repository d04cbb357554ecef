from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mprnet.restoration.canvas import TensorCanvas
from mprnet.restoration.memory import OutOfMemory
from mprnet.restoration.tiling import lay_out, restore_tiled


def tile(restore, picture, progress=lambda _: None, shrink=None, **sizes):
    """Restore a batch in tiles of itself, so that a row that is read after it is written shows."""
    restored = picture.clone()
    canvas = TensorCanvas(restored, [restored], 1)
    restore_tiled(lambda each, _: restore(each), canvas, multiple=8, progress=progress, shrink=shrink, **sizes)
    return restored


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
@given(height=st.integers(1, 150), width=st.integers(1, 150))
def test_tiles_of_a_network_that_does_nothing_are_the_picture(height, width):
    picture = torch.rand(2, 3, height, width)
    tiled = tile(lambda part: part, picture, tile_px=32, overlap_px=16)
    torch.testing.assert_close(tiled, picture, rtol=0, atol=1e-6)


def test_what_a_tile_cannot_know_at_its_edge_does_not_show():
    """A blur that takes everything beyond the tile for black: cut hard, its tiles would have dark borders."""
    picture = torch.rand(1, 1, 200, 160) / 2 + 0.5
    kernel = torch.full((1, 1, 3, 3), 1 / 9)

    def blur(part):
        return F.conv2d(part, kernel, padding=1)

    tiled = tile(blur, picture, tile_px=64, overlap_px=32)
    assert (blur(picture[..., :64, :64])[..., :-1, -1] - blur(picture)[..., :63, 63]).abs().max() > 0.2
    assert (tiled - blur(picture)).abs().max() < 1e-3


def test_tiles_of_different_brightness_meet_without_a_step():
    brightness = iter(range(1000))
    picture = torch.zeros(1, 1, 8, 200)
    tiled = tile(lambda part: part + next(brightness) % 2, picture, tile_px=64, overlap_px=16)
    steps = tiled.diff(dim=-1).abs()
    assert tiled.max() == 1
    assert 0 < steps.max() <= math.pi / 2 / 16
    assert steps[..., [0, -1]].max() == 0


def test_tiles_have_one_size_and_progress_counts_them():
    sizes, fractions = set(), []

    def restore(part):
        sizes.add(part.shape)
        return part

    tile(restore, torch.zeros(1, 3, 104, 72), fractions.append, tile_px=48, overlap_px=8)
    assert sizes == {(1, 3, 40, 40)}
    assert fractions == pytest.approx([(index + 1) / 6 for index in range(6)])


def test_a_picture_restored_in_its_own_place_is_as_one_restored_apart():
    """A blur mixes rows: one that is written too early would be blurred twice."""
    picture, kernel = torch.rand(1, 1, 173, 90), torch.full((1, 1, 7, 7), 1 / 49)

    def blur(part):
        return F.conv2d(part, kernel, padding=3)

    apart = torch.empty_like(picture)
    restore_tiled(
        lambda each, _: blur(each),
        TensorCanvas(picture, [apart], 1),
        tile_px=48,
        overlap_px=24,
        multiple=8,
        progress=lambda _: None,
        shrink=None,
    )
    assert torch.equal(tile(blur, picture, tile_px=48, overlap_px=24), apart)


@pytest.mark.parametrize("failing", [0, 3, 8, 13, 24])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_smaller_tiles_go_on_where_memory_runs_out(failing, error):
    picture, kernel = torch.rand(2, 1, 505, 250), torch.full((1, 1, 3, 3), 1 / 9)
    seen, sizes, fractions = iter(range(1000)), [], []

    def blur(part):
        sizes.append(part.shape[2])
        if next(seen) == failing:
            raise error
        return F.conv2d(part, kernel, padding=1)

    def shrink(tried_px, failure):
        assert isinstance(failure, OutOfMemory)
        return tried_px // 2

    tiled = tile(blur, picture, fractions.append, shrink, tile_px=64, overlap_px=16)
    assert max(sizes[failing + 1 :]) <= 32 < sizes[0]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    inner = (..., slice(1, 500), slice(1, 245))  # where no padding is reflected
    assert (tiled - F.conv2d(picture, kernel, padding=1))[inner].abs().max() < 0.02


def test_where_no_memory_is_left_at_all_the_rows_above_stay():
    picture = torch.zeros(1, 1, 200, 32)
    seen = iter(range(1000))

    def restore(part):
        if next(seen) >= 2:
            raise MemoryError
        return part + 1

    def shrink(tried_px, failure):
        raise failure

    restored = picture.clone()
    with pytest.raises(OutOfMemory, match="no memory is left"):
        restore_tiled(
            lambda each, _: restore(each),
            TensorCanvas(picture, [restored], 1),
            tile_px=64,
            overlap_px=16,
            multiple=8,
            progress=lambda _: None,
            shrink=shrink,
        )
    assert restored[0, 0, :, 0].sum() > 80
    assert restored[..., -1, :].max() == 0


def test_another_error_is_not_taken_for_too_little_memory():
    def restore(part):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        tile(restore, torch.zeros(1, 1, 8, 8), tile_px=64, overlap_px=16)

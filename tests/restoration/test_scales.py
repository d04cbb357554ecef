"""Pictures restored at smaller sizes first: what is too coarse for the network at their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mprnet import Restorer
from mprnet.errors import ConfigError, ImageError
from mprnet.restoration.canvas import PixelCanvas, TensorCanvas
from mprnet.restoration.scales import CorrectedCanvas, reduced

WHOLE = slice(0, 1000)


@pytest.fixture
def draw():
    return lambda *shape, seed=0: torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def canvas_of(picture):
    return TensorCanvas(picture, [], 1)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_picture_is_reduced_to_the_means_of_squares_strip_by_strip(draw, factor):
    picture = draw(2, 3, 70 * factor, 6 * factor)
    expected = picture.unflatten(3, (6, factor)).unflatten(2, (70, factor)).mean(dim=(3, 5))
    torch.testing.assert_close(reduced(canvas_of(picture), factor), expected, rtol=0, atol=1e-6)


def test_the_far_edges_are_the_means_of_what_is_left(draw):
    picture = draw(1, 3, 5, 7)
    small = reduced(canvas_of(picture), 2)
    assert small.shape == (1, 3, 3, 4)
    torch.testing.assert_close(small[..., -1, -1], picture[..., -1, -1])
    torch.testing.assert_close(small[..., 0, -1], picture[..., :2, -1].mean(dim=2))


@pytest.mark.parametrize(("height", "width", "factor"), [(24, 40, 2), (32, 16, 4), (23, 39, 2), (1, 3, 2)])
def test_a_correction_is_enlarged_linearly_whatever_part_is_read(draw, height, width, factor):
    picture = draw(1, 3, height, width)
    correction = draw(1, 3, -(-height // factor), -(-width // factor), seed=1)
    enlarged = F.interpolate(correction, scale_factor=factor, mode="bilinear")[..., :height, :width]
    corrected = CorrectedCanvas(canvas_of(picture), correction, factor)
    torch.testing.assert_close(corrected.read(WHOLE, WHOLE), picture + enlarged, rtol=0, atol=1e-6)
    part = (slice(height // 3, height // 3 + 9), slice(width // 2, width))
    torch.testing.assert_close(corrected.read(*part), (picture + enlarged)[..., part[0], part[1]], rtol=0, atol=1e-6)


def test_what_is_written_and_blended_is_that_of_the_picture_itself():
    pixels = np.full((8, 8, 3), 100, np.uint8)
    out = np.empty_like(pixels)
    corrected = CorrectedCanvas(PixelCanvas(pixels, out, 3, 0.5), torch.full((1, 3, 4, 4), 0.9), 2)
    corrected.write(0, torch.full((1, 3, 8, 8), 200 / 255))
    assert (out == 150).all()


class Darker:
    """Takes a tenth off every pixel, and notes the sizes it saw."""

    def __init__(self, restorer):
        self.backend, self.sizes = restorer.backend, []
        self.name = self.backend.name
        self.device, self.bytes_per_pixel = self.backend.device, self.backend.bytes_per_pixel

    def run(self, tile, stages):
        self.sizes.append(tuple(tile.shape[2:]))
        return tuple(tile - 0.1 for _ in stages)


@pytest.fixture
def darker(make_network):
    def make(**options):
        restorer = Restorer(make_network(), **options)
        restorer.backend = Darker(restorer)
        return restorer

    return make


def test_each_size_goes_on_from_the_smaller_one(darker):
    restorer = darker(scales=3)
    restored = restorer(torch.full((3, 64, 96), 0.8))
    assert restorer.backend.sizes == [(16, 24), (32, 48), (64, 96)]
    torch.testing.assert_close(restored, torch.full((3, 64, 96), 0.5), rtol=0, atol=1e-6)


def test_pixels_and_batches_and_stages_are_restored_at_every_size(darker):
    restorer = darker(scales=2)
    assert (restorer.restore_pixels(np.full((17, 9, 1), 51000, np.uint16)) == 51000 - 13107).all()
    for picture in restorer.stages(torch.full((2, 3, 16, 16), 0.8), stage=2).computed:
        torch.testing.assert_close(picture, torch.full((2, 3, 16, 16), 0.6), rtol=0, atol=1e-6)


def test_strength_blends_with_the_picture_as_it_was(darker):
    restored = darker(scales=2)(torch.full((3, 16, 16), 0.8), strength=0.25)
    torch.testing.assert_close(restored, torch.full((3, 16, 16), 0.75), rtol=0, atol=1e-6)


def test_pixels_may_be_restored_in_their_own_place(make_network):
    restorer = Restorer(make_network(), scales=2, tile_px=32, overlap_px=8, max_whole_px=0)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    expected = restorer.restore_pixels(pixels)
    restorer.restore_pixels(pixels, out=pixels)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_dtype_is_that_of_the_picture(make_network, draw, dtype):
    assert Restorer(make_network(), scales=2)(draw(3, 16, 16).to(dtype)).dtype == dtype


def test_progress_goes_from_size_to_size_to_the_end(make_network, draw):
    seen = []
    Restorer(make_network(), scales=3)(draw(3, 32, 32), progress=seen.append)
    assert seen == pytest.approx([1 / 21, 5 / 21, 1])


def test_a_further_size_is_expected_to_cost_a_quarter_of_the_next(make_network):
    one, two = Restorer(make_network()), Restorer(make_network(), scales=2)
    one._seconds_per_px = two._seconds_per_px = {3: 1e-6}
    assert two.seconds((256, 256)) == pytest.approx(1.25 * one.seconds((256, 256)))


@pytest.mark.parametrize("scales", [0, 6, 1.5])
def test_an_impossible_number_of_sizes_is_one_clear_line(make_network, scales):
    with pytest.raises(ConfigError, match=f"scales is {scales}; expected 1 to 5"):
        Restorer(make_network(), scales=scales)


def test_too_little_memory_for_a_smaller_size_is_one_clear_line(make_network, monkeypatch):
    def no_memory(canvas, factor):
        raise MemoryError

    monkeypatch.setattr("mprnet.restoration.restorer.reduced", no_memory)
    with pytest.raises(ImageError, match=r"the memory does not suffice .* of a picture of 30×20"):
        Restorer(make_network(), scales=2)(torch.rand(3, 20, 30))


def test_coarse_rain_goes_at_a_smaller_size_alone():
    generator = torch.Generator().manual_seed(0)
    seeds = (torch.rand(1, 1, 30, 64, generator=generator) > 0.985).float()
    clean = 0.35 + 0.1 * F.interpolate(torch.rand(1, 3, 6, 6, generator=generator), size=(384, 384), mode="bicubic")[0]

    def what_stays(width_px, scales):
        # As in a large photograph; over three times as long as wide.
        streaks = F.interpolate(seeds, scale_factor=(20 * width_px // 6, width_px), mode="bilinear")
        rainy = (clean + 0.4 * streaks[0, :, :384, :384]).clamp(0, 1)
        restored = Restorer.from_pretrained("derain", scales=scales)(rainy)
        return float((restored - clean).square().mean().sqrt() / (rainy - clean).square().mean().sqrt())

    assert what_stays(12, scales=1) > 0.8
    assert what_stays(12, scales=3) < 0.6
    assert what_stays(6, scales=1) < 0.6  # since the ninth edition


def test_each_stage_begins_at_the_smallest_size_with_itself(darker, draw):
    restorer, seen = darker(scales=2), []
    restorer.backend.run = lambda tile, stages: tuple(tile - stage / 20 for stage in stages)
    picture = 0.5 + draw(3, 16, 24) / 2
    outputs = restorer.stages(picture, progress=seen.append)
    for stage, restored in enumerate(outputs.computed, 1):
        torch.testing.assert_close(restored, restorer(picture, stage=stage), rtol=0, atol=0)
        torch.testing.assert_close(restored, picture - stage / 10, rtol=0, atol=1e-6)
    assert seen == sorted(seen)
    assert seen[-1] == 1

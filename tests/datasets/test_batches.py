from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mprnet.datasets import CropBatches, FolderPair, Growth, PairSource, PictureSource
from mprnet.datasets.batches import PictureCache
from mprnet.degradation import GaussianNoise, MotionBlur
from mprnet.errors import DataError


@dataclass(frozen=True)
class Darker:
    """Halve the light."""

    margin_px: int = 0

    def __call__(self, clean, generator):
        return clean / 2


@dataclass(frozen=True)
class Moved:
    """Bring in what lies three pixels to the left."""

    margin_px: int = 3

    def __call__(self, clean, generator):
        return clean.roll(3, -1)


def places(height=40, width=50):
    """A picture that tells where a crop was taken: red counts columns, green rows."""
    y, x = np.mgrid[:height, :width]
    return np.stack((x, y, np.full_like(x, 200)), axis=-1).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path, draw):
    """Three files with different noise."""
    noise = np.random.default_rng(0).integers(256, size=(3, 40, 50, 3)).astype(np.uint8)
    return [draw(tmp_path / f"{number}.png", pixels) for number, pixels in enumerate(noise)]


@pytest.fixture
def batches(pictures):
    degradations = [(GaussianNoise(), 0.7), (MotionBlur(extent_px=(2, 4)), 0.3)]
    source = PictureSource(pictures, degradations, shrink=(0.7, 1.0))
    return CropBatches([source], batch=3, crop_px=16, seed=1)


def same(first, second):
    return all(map(torch.equal, first, second))


def take(batches, count):
    return list(itertools.islice(batches, count))


def in_levels(batch):
    return (batch * 255).round().int()


def test_a_batch_has_the_form_that_training_takes(batches):
    degraded, target = batches.make(0)
    assert degraded.shape == target.shape == (3, 3, 16, 16)
    assert degraded.dtype == target.dtype == torch.float32
    for pictures in (degraded, target):
        assert 0 <= pictures.min() <= pictures.max() <= 1
        assert torch.allclose(pictures * 255, in_levels(pictures).float(), atol=1e-4)
    assert not torch.equal(degraded, target)


def test_a_batch_depends_on_the_seed_and_its_number_alone(batches, pictures):
    first = batches.make(5)
    assert same(first, batches.make(5))
    assert same(first, replace(batches, start=3).make(5))
    assert not same(first, batches.make(6))
    assert not same(first, replace(batches, seed=2).make(5))


def test_crops_grow_at_the_step_that_is_told_on_every_rank(batches):
    grown = replace(batches, growth=(Growth(2, 24, 2), Growth(4, 32, 1)))
    sizes = [(3, 3, 16, 16)] * 2 + [(2, 3, 24, 24)] * 2 + [(1, 3, 32, 32)] * 2
    assert [tuple(target.shape) for _, target in take(grown, 6)] == sizes
    assert [tuple(target.shape) for _, target in take(replace(grown, rank=1, ranks=2), 6)] == sizes
    assert same(grown.make(1), batches.make(1))


def test_a_run_is_taken_up_where_it_stopped(batches):
    whole = take(batches, 5)
    rest = take(replace(batches, start=3), 2)
    assert all(map(same, whole[3:], rest))


def test_processes_share_the_batches_out(batches):
    whole = take(batches, 6)
    for rank in range(2):
        own = take(replace(batches, rank=rank, ranks=2), 3)
        assert all(map(same, whole[rank::2], own))


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine with a single core
def test_worker_processes_change_nothing(batches):
    whole = take(batches, 4)
    loaded = take(DataLoader(batches, batch_size=None, num_workers=2), 4)
    assert all(map(same, whole, loaded))


def test_the_margin_is_cut_off_after_it_has_served(tmp_path, draw):
    file = draw(tmp_path / "a.png", places())
    degraded, target = CropBatches([PictureSource([file], [(Moved(), 1.0)])], batch=8, crop_px=16, seed=0).make(0)
    for moved, still in zip(in_levels(degraded), in_levels(target), strict=True):
        difference = (moved - still)[:2]
        across, down = difference.abs().amax(dim=(1, 2)).tolist()
        assert sorted((across, down)) == [0, 3]  # turned by a right angle or not, but the same everywhere
        assert difference.abs().amin(dim=(1, 2)).tolist() == [across, down]


def test_clean_pictures_are_flipped_and_turned(tmp_path, draw):
    file = draw(tmp_path / "a.png", places())
    _, target = CropBatches([PictureSource([file], [(Darker(), 1.0)])], batch=64, crop_px=8, seed=0).make(0)
    red_grows = {
        (int(crop[0, 0, 1] - crop[0, 0, 0]), int(crop[0, 1, 0] - crop[0, 0, 0]), int(crop[1].diff(dim=0).sum().sign()))
        for crop in in_levels(target)
    }
    across = {(step, 0, green) for step in (-1, 1) for green in (-1, 1)}
    down = {(0, step, 0) for step in (-1, 1)}
    assert red_grows == across | down


def test_the_degradation_is_applied_to_what_is_the_target(tmp_path, draw):
    file = draw(tmp_path / "a.png", places() // 2 * 2)
    degraded, target = CropBatches([PictureSource([file], [(Darker(), 1.0)])], batch=4, crop_px=16, seed=0).make(0)
    assert torch.equal(in_levels(degraded) * 2, in_levels(target))


def test_pairs_stay_pairs_and_upright(tmp_path, draw):
    pair = FolderPair("a", draw(tmp_path / "in.png", places() // 2), draw(tmp_path / "out.png", places()))
    degraded, target = CropBatches([PairSource([pair])], batch=32, crop_px=16, seed=0).make(0)
    assert torch.equal(in_levels(degraded), in_levels(target) // 2)
    # Red counts columns: it is the same down every column of a crop that was not turned.
    assert int(in_levels(target)[:, 0].diff(dim=1).abs().max()) == 0
    assert set(in_levels(target)[:, 0].diff(dim=2).flatten().tolist()) == {-1, 1}


def test_a_pair_of_two_sizes_is_one_clear_line(tmp_path, draw):
    pair = FolderPair("a", draw(tmp_path / "in.png", size=(20, 30)), draw(tmp_path / "out.png", size=(20, 31)))
    with pytest.raises(DataError, match=r"in\.png and .*out\.png are 20×30 and 20×31; expected one size"):
        CropBatches([PairSource([pair])], batch=1, crop_px=8, seed=0).make(0)


def test_a_picture_smaller_than_the_crop_is_mirrored(tmp_path, draw):
    file = draw(tmp_path / "a.png", places(5, 3))
    _, target = CropBatches([PictureSource([file], [(Darker(2), 1.0)])], batch=4, crop_px=16, seed=0).make(0)
    assert target.shape == (4, 3, 16, 16)
    mirrored = np.pad(places(5, 3), ((0, 15), (0, 17), (0, 0)), mode="symmetric")[2:18, 2:18]
    turned = [np.rot90(side, quarters) for side in (mirrored, mirrored[:, ::-1]) for quarters in range(4)]
    for crop in in_levels(target).permute(0, 2, 3, 1).numpy():
        assert any(np.array_equal(crop, one) for one in turned)


def test_pictures_are_shrunk_before_they_are_cropped(tmp_path, draw):
    file = draw(tmp_path / "a.png", places(160, 160))
    source = PictureSource([file], [(Darker(), 1.0)], shrink=(0.25, 0.25))
    _, target = CropBatches([source], batch=4, crop_px=16, seed=0).make(0)
    for axis in (2, 3):
        steps = in_levels(target)[:, :2].diff(dim=axis).abs()
        assert 3 <= int(steps.max()) <= 5


def test_softened_pictures_are_their_own_targets(pictures):
    sharp = PictureSource(pictures, [(Darker(), 1.0)])

    def made(source):
        return CropBatches([source], batch=6, crop_px=24, seed=0).make(0)

    def detail(crops):
        return float(crops.diff(dim=3).square().mean())

    degraded, target = made(replace(sharp, soften_px=(1.0, 1.0)))
    assert torch.allclose(degraded, target / 2, atol=0.5 / 255)
    # White noise under a Gaussian of 1 pixel keeps 1 / (4 pi) of its power, its differences 0.0176.
    assert detail(target) / detail(made(sharp)[1]) == pytest.approx(0.0176, rel=0.25)
    assert same(made(replace(sharp, soften_px=(0.0, 0.0))), made(sharp))


def test_grey_pictures_are_grey_noise_and_all(pictures):
    coloured = PictureSource(pictures, [(GaussianNoise((20, 20)), 1.0)])
    degraded, target = CropBatches([replace(coloured, grey=True)], batch=6, crop_px=24, seed=0).make(0)
    assert degraded.shape == target.shape == (6, 3, 24, 24)
    for crops in (degraded, target):
        assert torch.equal(crops, crops[:, :1].expand_as(crops))
    assert not torch.equal(degraded, target)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    in_colour = CropBatches([coloured], batch=6, crop_px=24, seed=0).make(0)[1]
    torch.testing.assert_close(target[:, 0], (in_colour * luma).sum(dim=1), atol=1 / 255, rtol=0)


def test_sources_and_degradations_are_drawn_by_their_weights(tmp_path, draw):
    dark, bright = (draw(tmp_path / f"{name}.png", name, size=(20, 20)) for name in ("black", "white"))
    halved = [(GaussianNoise((0, 0)), 1.0), (Darker(), 3.0)]
    sources = [PictureSource([dark], halved, weight=1), PictureSource([bright], halved, weight=3)]
    degraded, target = CropBatches(sources, batch=400, crop_px=8, seed=0).make(0)
    assert float(target.mean()) == pytest.approx(3 / 4, abs=0.08)
    assert float(degraded.mean() / target.mean()) == pytest.approx(1 / 4 + 3 / 4 / 2, abs=0.05)
    alone = [replace(sources[0], weight=0), sources[1]]
    assert float(CropBatches(alone, batch=20, crop_px=8, seed=0).make(0)[1].min()) == 1


def test_pictures_are_kept_up_to_the_limit(tmp_path, draw):
    first, second = (draw(tmp_path / f"{name}.png", size=(600, 600)) for name in "ab")  # 1.03 MiB each
    cache = PictureCache(limit_mib=2)
    assert cache.read(first) is cache.read(first)
    assert cache.read(second) is not cache.read(second)

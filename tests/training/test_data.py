from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch

from mprnet.datasets import Growth, PictureSource
from mprnet.datasets.batches import PairSource
from mprnet.degradation import Rain, RainLayers
from mprnet.errors import DataError, MPRNetError
from mprnet.training.data import RecipeData
from mprnet.training.recipe import load_recipe


def test_sources_are_those_of_the_recipe(tiny, data, pairs):
    changes = [
        "task=derain",
        "degradation={enlarged_share=0.25, enlarge=[1, 2]}",
        f"data.pairs=[{{folder='{pairs}', weight=0.25}}]",
        "data.clean=[{folder='clean', shrink=[0.5, 0.8], soften_px=[0, 1], grey=true, weight=2}]",
        f"data.rain_layers=['{pairs}']",
        "data.rain_layer_share=0.75",
    ]
    clean, paired = RecipeData(load_recipe(tiny, changes)).sources
    assert isinstance(clean, PictureSource)
    assert isinstance(paired, PairSource)
    assert [path.parent for path in clean.pictures] == [data / "clean"] * 3
    assert (clean.shrink, clean.soften_px, clean.grey, clean.weight) == ((0.5, 0.8), (0.0, 1.0), True, 2.0)
    assert [share for _, share in clean.degradations] == [0.25, 0.75]
    drawn, layers = (degradation for degradation, _ in clean.degradations)
    assert isinstance(drawn, Rain)
    assert isinstance(layers, RainLayers)
    assert (drawn.enlarged_share, drawn.enlarge) == (layers.enlarged_share, layers.enlarge) == (0.25, (1, 2))
    assert ([pair.name for pair in paired.pairs], paired.weight) == (["0", "1"], 0.25)


@pytest.mark.parametrize("change", ["data.clean=[]", "data.rain_layer_share=0"])
def test_layers_that_are_never_drawn_are_neither_read_nor_recorded(tiny, pairs, change):
    changes = ["task=derain", "degradation={}", "validation.degradation={}", "data.rain_layers=['missing']"]
    recipe = load_recipe(tiny, [*changes, f"data.pairs=[{{folder='{pairs}'}}]", change])
    assert isinstance(RecipeData(recipe).sources[-1], PairSource)
    assert "missing" not in recipe.data.names
    assert "missing" in load_recipe(tiny, changes).data.names


@pytest.mark.parametrize(
    "change",
    [
        "data.root=nowhere",
        "data.clean=[{folder='missing'}]",
        "data.pairs=[{folder='missing'}]",
        "data.pairs=[{folder='clean'}]",
        "validation.clean=missing",
        "validation={pairs='missing'}",
    ],
)
def test_a_missing_folder_is_named_at_once(tiny, change):
    with pytest.raises(DataError, match="expected a folder") as error:
        RecipeData(load_recipe(tiny, [change]))
    assert "\n" not in str(error.value)


def test_the_batches_are_made_as_the_recipe_says(tiny):
    changes = ["data.batch=3", "data.crop_px=24", "data.cache_mib=7", "seed=5"]
    changes += ["data.growth=[{ step = 2, crop_px = 32, batch = 1 }]"]
    batches = RecipeData(load_recipe(tiny, changes)).train_dataloader().dataset
    assert (batches.batch, batches.crop_px, batches.cache_mib, batches.seed) == (3, 24, 7, 5)
    assert batches.growth == (Growth(2, 32, 1),)


def test_the_seed_decides_the_batches(tiny):
    def first(seed):
        return next(iter(RecipeData(load_recipe(tiny, [f"seed={seed}"])).train_dataloader()))

    for one, again, other in zip(first(1), first(1), first(2), strict=True):
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


def test_batches_are_crops_of_the_recipe_s_size(tiny):
    degraded, target = next(iter(RecipeData(load_recipe(tiny)).train_dataloader()))
    assert degraded.shape == target.shape == (2, 3, 16, 16)
    assert degraded.dtype == target.dtype == torch.float32
    assert 0.1 < (degraded - target).std() < 0.25  # σ = 50 of 255, clipped


def test_validation_pictures_are_whole_degraded_alike_each_time_and_held_in_8_bits(tiny):
    recipe = load_recipe(tiny)
    first, again = RecipeData(recipe), RecipeData(recipe)
    batches = list(first.val_dataloader())
    assert [tuple(target.shape) for _, target in batches] == [(1, 3, 24, 40), (1, 3, 33, 27)]
    for (degraded, _), (once_more, _) in zip(first.validation, again.validation, strict=True):
        assert torch.equal(degraded, once_more)
        assert torch.equal(degraded, degraded.mul(255).round().div(255))


def test_validation_has_its_own_degradation_and_count(tiny):
    changes = ["validation.degradation={sigma=[0, 0], camera_share=0}", "validation.count=1"]
    [(degraded, target)] = RecipeData(load_recipe(tiny, changes)).validation
    assert torch.equal(degraded, target)


def test_validation_pairs_are_taken_as_they_are(tiny, pairs):
    recipe = load_recipe(tiny, [f"validation={{pairs='{pairs}', count=1}}"])
    [(degraded, target)] = RecipeData(recipe).validation
    stored = cv2.imread(str(pairs / "input" / "0.png"))[..., ::-1]
    np.testing.assert_array_equal(degraded.mul(255).round().permute(1, 2, 0).numpy(), stored)
    assert not torch.equal(degraded, target)


def test_a_validation_pair_of_two_sizes_is_named_at_once(tiny, pairs):
    cv2.imwrite(str(pairs / "target" / "1.png"), np.zeros((24, 32, 3), dtype=np.uint8))
    with pytest.raises(MPRNetError, match=r"1\.png .*40×24 and 32×24; expected one size"):
        RecipeData(load_recipe(tiny, [f"validation={{pairs='{pairs}'}}"]))


def test_validation_pictures_do_not_depend_on_the_seed_or_on_one_another(tiny, data, tmp_path):
    def pictures(*changes):
        return RecipeData(load_recipe(tiny, list(changes))).validation

    one, other = pictures("seed=1"), pictures("seed=2")
    for (degraded, _), (again, _) in zip(one, other, strict=True):
        assert torch.equal(degraded, again)
    shutil.copy(data / "unseen" / "1.png", tmp_path)
    [(alone, _)] = pictures(f"validation.clean={tmp_path.as_posix()}")
    assert torch.equal(alone, one[1][0])

"""Pictures of a test set that another program has restored."""

from __future__ import annotations

import numpy as np
import pytest

from mprnet.datasets.benchmarks import open_benchmark
from mprnet.errors import DataError
from mprnet.evaluation.benchmark import Run, evaluate, pictures_of
from mprnet.evaluation.own_sets import paired_set
from mprnet.evaluation.protocols import score
from mprnet.evaluation.restored import restored_method
from mprnet.imaging import write_image


def pixels(seed, shape=(24, 32, 3)):
    return np.random.default_rng(seed).integers(40, 200, shape).astype(np.uint8)


def save(path, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(pixels(seed, **options), path)


@pytest.fixture
def gopro(tmp_path):
    """Two scenes, whose pictures have the same names."""
    for scene in range(2):
        for number in range(2):
            save(tmp_path / "GoPro" / "test" / f"scene{scene}" / "blur" / f"{number}.png", 10 * scene + number)
            save(tmp_path / "GoPro" / "test" / f"scene{scene}" / "sharp" / f"{number}.png", 100)
    return open_benchmark("gopro", tmp_path / "GoPro", allow_partial=True)


@pytest.mark.parametrize(
    "place",
    ["scene{0}-{1}.png", "scene{0}/blur/{1}.png", "test/scene{0}/blur/{1}.webp", "GoPro/test/scene{0}/blur/{1}.png"],
)
def test_pictures_are_found_by_their_name_and_by_their_place_in_the_set(gopro, tmp_path, place):
    for scene in range(2):
        for number in range(2):
            path = tmp_path / "theirs" / place.format(scene, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(pixels(50 + 10 * scene + number), path, **({"quality": 100} if path.suffix == ".webp" else {}))
            # Whoever restored the whole tree has these as well.
            save(tmp_path / "theirs" / f"scene{scene}" / "sharp" / f"{number}.png", 1)
    method = restored_method(tmp_path / "theirs", gopro)
    results = evaluate(Run(gopro, method), tmp_path / "out")
    assert (method.name, results.label, results.failed) == ("theirs", "theirs", {})
    assert list(results.images) == ["scene0-0", "scene0-1", "scene1-0", "scene1-1"]
    if not place.endswith(".webp"):
        expected = score(pixels(61), pixels(100), "gopro")
        assert results.images["scene1-1"].scores["restored"] == pytest.approx(expected)
        assert np.array_equal(pictures_of(Run(gopro, method), "scene1-1")["restored"], pixels(61))


def test_the_same_name_in_two_scenes_stands_for_neither(gopro, tmp_path):
    for number in range(2):
        save(tmp_path / "theirs" / f"{number}.png", 1)
    expected = r"theirs holds no picture of gopro; expected such as scene0-0 or scene0/blur/0, with any ending"
    with pytest.raises(DataError, match=expected):
        restored_method(tmp_path / "theirs", gopro)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        restored_method(tmp_path / "nowhere", gopro)


def test_names_that_only_pair_after_a_change_are_those_of_the_degraded_pictures(tmp_path):
    for name in ("001", "002"):
        save(tmp_path / "Rain100L" / "rainy" / f"rain-{name}.png", 1)
        save(tmp_path / "Rain100L" / f"norain-{name}.png", 2)
        save(tmp_path / "theirs" / f"rain-{name}.png", 3)
    benchmark = open_benchmark("rain100l", tmp_path / "Rain100L", allow_partial=True)
    results = evaluate(Run(benchmark, restored_method(tmp_path / "theirs", benchmark)))
    assert results.images["001"].scores["restored"] == pytest.approx(score(pixels(3), pixels(2), "rain"))


@pytest.fixture
def pairs(tmp_path):
    for name in "abcd":
        save(tmp_path / "set" / "input" / f"{name}.png", 1)
        save(tmp_path / "set" / "target" / f"{name}.png", 2)
        save(tmp_path / "theirs" / f"{name}.png", 3)
    return paired_set(tmp_path / "set", "deblur")


def test_what_is_missing_twice_or_of_another_size_is_the_failure_of_its_picture(pairs, tmp_path):
    (tmp_path / "theirs" / "b.png").unlink()
    save(tmp_path / "theirs" / "input" / "c.png", 4)
    (tmp_path / "theirs" / "d.png").unlink()
    save(tmp_path / "theirs" / "d.png", 5, shape=(24, 30, 3))
    results = evaluate(Run(pairs, restored_method(tmp_path / "theirs", pairs)))
    assert list(results.images) == ["a"]
    assert list(results.failed) == ["b", "c", "d"]
    assert results.failed["b"].endswith("theirs holds no picture for b; expected one")
    assert results.failed["c"].endswith("theirs holds c.png and input/c.png for c; expected one")
    assert results.failed["d"].endswith("d.png is 30×24 and the degraded picture 32×24; expected one size")


def test_a_folder_that_has_changed_is_not_taken_for_what_it_was(pairs, tmp_path):
    evaluate(Run(pairs, restored_method(tmp_path / "theirs", pairs)), tmp_path / "out")
    (tmp_path / "theirs" / "b.png").unlink()
    save(tmp_path / "theirs" / "b.png", 4)
    changed = Run(pairs, restored_method(tmp_path / "theirs", pairs))
    with pytest.raises(DataError, match=r"another run: method\.sha256 was .*; choose another folder, or overwrite"):
        evaluate(changed, tmp_path / "out")
    results = evaluate(changed, tmp_path / "out", overwrite=True)
    assert results.images["b"].scores["restored"] == pytest.approx(score(pixels(4), pixels(2), "gopro"))

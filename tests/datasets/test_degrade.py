from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import mprnet.datasets.degrade
from mprnet.datasets import degrade_folder, pair_folders
from mprnet.degradation import GaussianNoise, Rain, make_degradation
from mprnet.errors import DataError, ImageError, MissingExtraError
from mprnet.network import TASKS

NOISE = GaussianNoise((20, 20))


@pytest.fixture
def clean(tmp_path, draw):
    """A folder of three pictures."""
    pixels = np.random.default_rng(0).integers(256, size=(3, 10, 14, 3)).astype(np.uint8)
    for name, picture in zip(("a.png", "b.jpg", "c.png"), pixels, strict=True):
        draw(tmp_path / "clean" / name, picture)
    return tmp_path / "clean"


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def read(path):
    with Image.open(path) as image:
        return np.array(image)


def test_a_folder_becomes_pairs(clean, tmp_path):
    report = degrade_folder(clean, tmp_path / "out", NOISE)
    assert files(tmp_path / "out") == [f"{side}/{name}.png" for side in ("input", "target") for name in "abc"]
    assert report.failed == {}
    assert list(report.pairs) == pair_folders(tmp_path / "out")
    for pair, source in zip(report.pairs, ("a.png", "b.jpg", "c.png"), strict=True):
        assert np.array_equal(read(pair.target), read(clean / source))
        assert read(pair.degraded).dtype == np.uint8
        assert read(pair.degraded).shape == read(pair.target).shape
        assert not np.array_equal(read(pair.degraded), read(pair.target))


def test_a_picture_is_degraded_the_same_whatever_lies_beside_it(clean, tmp_path):
    degrade_folder(clean, tmp_path / "all", NOISE, seed=3)
    report = degrade_folder(clean / "c.png", tmp_path / "one", NOISE, seed=3)
    assert [pair.name for pair in report.pairs] == ["c"]
    assert (tmp_path / "one/input/c.png").read_bytes() == (tmp_path / "all/input/c.png").read_bytes()


def test_seed_and_name_decide_what_is_drawn(tmp_path, draw):
    for name in "ab":
        draw(tmp_path / f"clean/{name}.png", "grey")
    for seed in (-1, 0):
        degrade_folder(tmp_path / "clean", tmp_path / f"out{seed}", NOISE, seed=seed)
    results = {(tmp_path / f"out{seed}/input/{name}.png").read_bytes() for seed in (-1, 0) for name in "ab"}
    assert len(results) == 4


def test_the_noise_is_rounded_and_clipped_to_8_bits(tmp_path, draw):
    draw(tmp_path / "grey.png", "#808080", size=(120, 100))
    draw(tmp_path / "black.png", "black", size=(120, 100))
    degrade_folder(tmp_path, tmp_path / "out", GaussianNoise((25, 25)))
    grey, black = (read(tmp_path / f"out/input/{name}.png").astype(float) for name in ("grey", "black"))
    assert (grey - 128).std() == pytest.approx(25, rel=0.02)
    assert np.square(black).mean() == pytest.approx(25**2 / 2, rel=0.05)


@pytest.mark.parametrize("task", TASKS)
def test_a_picture_without_colour_stays_so(tmp_path, draw, task):
    draw(tmp_path / "clean/grey.png", "#808080", size=(40, 40))
    draw(tmp_path / "clean/red.png", "red", size=(40, 40))
    degradation = make_degradation(task, {"camera_share": 0.5} if task == "denoise" else {})
    for seed in range(4):
        degrade_folder(tmp_path / "clean", tmp_path / f"out{seed}", degradation, seed=seed)
        degraded = read(tmp_path / f"out{seed}/input/grey.png")
        assert degraded.shape == (40, 40, 3)
        assert np.array_equal(degraded, degraded[..., :1].repeat(3, axis=2))
        in_colour = read(tmp_path / f"out{seed}/input/red.png")
        assert not np.array_equal(in_colour, in_colour[..., :1].repeat(3, axis=2))


def test_a_picture_too_large_for_memory_stops_no_other(clean, tmp_path):
    class Greedy:
        margin_px = 0

        def __call__(self, picture, generator):
            if not degraded:
                degraded.append(picture)
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return picture

    degraded = []
    report = degrade_folder(clean, tmp_path / "out", Greedy())
    assert len(report.pairs) == 2
    assert list(report.failed.values()) == [f"{clean / 'a.png'} does not fit into memory with what is drawn for it"]


def test_what_exists_is_kept_unless_overwritten(clean, tmp_path):
    out = tmp_path / "out"
    degrade_folder(clean / "a.png", out, NOISE)
    before = (out / "input/a.png").read_bytes()
    (out / "target/c.png").write_text("precious")
    report = degrade_folder(clean, out, NOISE, seed=1)
    assert [pair.name for pair in report.pairs] == ["b"]
    assert [path.name for path in report.failed] == ["a.png", "c.png"]
    assert "input/a.png exists; choose another name" in report.failed[clean / "a.png"].replace("\\", "/")
    assert (out / "input/a.png").read_bytes() == before
    assert (out / "target/c.png").read_text() == "precious"
    assert not (out / "input/c.png").exists()
    assert len(degrade_folder(clean, out, NOISE, seed=1, overwrite=True).pairs) == 3
    assert (out / "input/a.png").read_bytes() != before


def test_a_picture_that_needs_an_extra_does_not_stop_the_others(clean, tmp_path, monkeypatch):
    def read(path):
        if path.stem == "b":
            raise MissingExtraError('HEIF needs pip install "mprnet[heif]"')
        return original(path)

    original = mprnet.datasets.degrade.read_rgb_picture
    monkeypatch.setattr(mprnet.datasets.degrade, "read_rgb_picture", read)
    report = degrade_folder(clean, tmp_path / "out", NOISE)
    assert [pair.name for pair in report.pairs] == ["a", "c"]
    assert report.failed == {clean / "b.jpg": 'HEIF needs pip install "mprnet[heif]"'}


def test_one_bad_picture_does_not_stop_the_others(clean, tmp_path):
    (clean / "b.jpg").write_bytes(b"\xff\xd8 and nothing more")
    report = degrade_folder(clean, tmp_path / "out", NOISE)
    assert [pair.name for pair in report.pairs] == ["a", "c"]
    assert list(report.failed) == [clean / "b.jpg"]
    assert files(tmp_path / "out") == ["input/a.png", "input/c.png", "target/a.png", "target/c.png"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_half_a_pair_is_none(clean, tmp_path, monkeypatch, overwrite):
    out = tmp_path / "out"
    if overwrite:
        degrade_folder(clean / "a.png", out, NOISE)
    write = mprnet.datasets.degrade.write_image

    def fail_on_targets(picture, path, **options):
        if path.parent.name == "target":
            raise ImageError(f"{path} cannot be written: No space left on device")
        write(picture, path, **options)

    monkeypatch.setattr(mprnet.datasets.degrade, "write_image", fail_on_targets)
    report = degrade_folder(clean / "a.png", out, NOISE, seed=1, overwrite=overwrite)
    assert report.failed[clean / "a.png"].endswith("No space left on device")
    assert files(out) == []


def test_a_folder_that_cannot_be_made_is_a_failure(clean, tmp_path):
    (tmp_path / "out").write_text("precious")
    report = degrade_folder(clean, tmp_path / "out", NOISE)
    assert len(report.failed) == 3
    assert "cannot be" in report.failed[clean / "a.png"]
    assert (tmp_path / "out").read_text() == "precious"


def test_two_pictures_of_one_name_make_one_pair(clean, tmp_path, draw):
    draw(clean / "a.jpg", "red")
    report = degrade_folder(clean, tmp_path / "out", NOISE)
    assert len(report.pairs) == 3
    assert list(report.failed) == [clean / "a.png"]
    assert "would become a second" in report.failed[clean / "a.png"]


@pytest.mark.parametrize("source", ["data/target", "data/target/a.png", "data/input/../target"])
def test_the_clean_pictures_are_never_written_over(tmp_path, draw, source):
    draw(tmp_path / "data/target/a.png")
    (tmp_path / "data/input").mkdir()
    with pytest.raises(DataError, match="target holds the clean pictures and would be written to"):
        degrade_folder(tmp_path / source, tmp_path / "data", NOISE, overwrite=True)
    assert files(tmp_path) == [str(Path("data", "target", "a.png"))]


def test_a_source_without_pictures_is_an_error_and_makes_nothing(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        degrade_folder(tmp_path / "none.png", tmp_path / "out", NOISE)
    assert files(tmp_path) == []


def test_the_colour_profile_stays_with_both(tmp_path, draw):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    draw(tmp_path / "a.png", icc_profile=profile)
    for pair in degrade_folder(tmp_path / "a.png", tmp_path / "out", NOISE).pairs:
        for path in (pair.degraded, pair.target):
            with Image.open(path) as image:
                assert image.info["icc_profile"] == profile


def test_progress_walks_through_the_pictures(clean, tmp_path):
    seen = []

    def progress(paths):
        for path in paths:
            seen.append(path.name)
            yield path

    degrade_folder(clean, tmp_path / "out", Rain(), progress=progress)
    assert seen == ["a.png", "b.jpg", "c.png"]

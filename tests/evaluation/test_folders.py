"""Two folders scored by name, with everything that can be wrong in them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from mprnet.errors import ConfigError, DataError, ImageError, MissingExtraError
from mprnet.evaluation import folders, score, score_folders

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(0)
TARGET = RANDOM.integers(20, 230, (24, 30, 3), dtype=np.uint8)
RESTORED = (TARGET + RANDOM.integers(-9, 10, TARGET.shape)).astype(np.uint8)


def save(pixels: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    save(RESTORED, tmp_path / "restored" / "good.png")
    return tmp_path / "restored"


@pytest.fixture
def theirs(tmp_path: Path, ours: Path) -> Path:
    save(TARGET, tmp_path / "target" / "good.png")
    return tmp_path / "target"


def test_pairs_go_by_name_not_by_place_or_suffix(ours: Path, theirs: Path) -> None:
    save(RESTORED, ours / "a.first.tif")
    save(TARGET, theirs / "a.first.png")
    save(RESTORED, ours / "sequence" / "0001.png")
    save(TARGET, theirs / "sequence" / "0001.bmp")
    pairing = folders.pair_pictures(ours, theirs)
    assert [pair.name for pair in pairing.pairs] == ["a.first", "good", "sequence/0001"]
    assert pairing.pairs[0].restored == ours / "a.first.tif"
    assert pairing.pairs[2].target == theirs / "sequence" / "0001.bmp"
    assert not pairing.unpaired


def test_the_mean_is_over_pictures_whatever_their_size(ours: Path, theirs: Path) -> None:
    save(RESTORED[:12, :12], ours / "small.png")
    save(TARGET[:12, :12], theirs / "small.png")
    scores = score_folders(ours, theirs, "gopro")
    singles = [score(RESTORED, TARGET, "gopro"), score(RESTORED[:12, :12], TARGET[:12, :12], "gopro")]
    assert list(scores.images.values()) == singles
    assert scores.mean == pytest.approx(np.mean(singles, axis=0))
    assert not scores.failed


def test_hidden_files_and_other_kinds_of_file_are_passed_over(ours: Path, theirs: Path) -> None:
    (ours / "results.json").write_text("{}")
    (ours / ".good.png").write_bytes(b"")
    (theirs / ".cache").mkdir()
    save(TARGET, theirs / ".cache" / "x.png")
    scores = score_folders(ours, theirs, "rgb")
    assert list(scores.images) == ["good"]
    assert not scores.failed


def test_what_has_no_partner_or_too_many_is_named_and_the_rest_measured(ours: Path, theirs: Path) -> None:
    save(RESTORED, ours / "lonely.png")
    save(TARGET, theirs / "missed.png")
    for suffix in ("png", "jpg"):
        save(RESTORED, ours / f"twice.{suffix}")
    save(TARGET, theirs / "twice.png")
    scores = score_folders(ours, theirs, "rain")
    assert list(scores.images) == ["good"]
    assert scores.failed == {
        "lonely": f"no picture of this name in {theirs}",
        "missed": f"no picture of this name in {ours}",
        "twice": f"2 pictures of this name in {ours}: twice.jpg, twice.png",
    }


def deep(path: Path) -> None:
    cv2.imwrite(str(path), RESTORED.astype(np.uint16) * 257)


def truncated(path: Path) -> None:
    save(RESTORED, path)
    path.write_bytes(path.read_bytes()[:-600])


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: save(RESTORED[:-1], path), "sizes differ: restored 30×23, target 30×24"),
        (deep, "bit depths differ: restored uint16, target uint8"),
        (lambda path: save(np.dstack([RESTORED, RESTORED[..., :1]]), path), "has an alpha channel"),
        (lambda path: save(RESTORED[..., 0], path), "is grey"),
        (lambda path: save(RESTORED[..., 0].astype(np.uint16) * 257, path), "is grey"),
        (lambda path: Image.new("CMYK", (30, 24)).save(path, "JPEG"), "is CMYK"),
        (truncated, "is truncated or damaged"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("not a picture"), "is no picture"),
    ],
)
def test_a_bad_picture_is_named_and_the_rest_measured(ours: Path, theirs: Path, write: object, words: str) -> None:
    write(ours / "bad.png")
    save(TARGET, theirs / "bad.png")
    scores = score_folders(ours, theirs, "gopro")
    assert list(scores.images) == ["good"]
    assert list(scores.failed) == ["bad"]
    assert words in scores.failed["bad"]
    assert json.loads(scores.to_json())["failed"] == scores.failed


def test_a_picture_that_needs_an_extra_is_named_and_the_rest_measured(ours, theirs, monkeypatch):
    read = folders.read_image

    def needing(path):
        if path == ours / "phone.png":
            raise MissingExtraError('HEIF needs pillow-heif: pip install "mprnet[heif]"')
        return read(path)

    save(RESTORED, ours / "phone.png")
    save(TARGET, theirs / "phone.png")
    monkeypatch.setattr(folders, "read_image", needing)
    scores = score_folders(ours, theirs, "rgb")
    assert list(scores.images) == ["good"]
    assert "mprnet[heif]" in scores.failed["phone"]


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
def test_16_bit_pictures_keep_their_bits(tmp_path: Path, suffix: str) -> None:
    pixels = RANDOM.integers(0, 65536, (12, 14, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"deep.{suffix}"), pixels[..., ::-1])
    read = folders.read_pixels(tmp_path / f"deep.{suffix}")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, pixels)


def test_a_palette_of_colours_is_read_as_rgb(tmp_path: Path) -> None:
    few = np.kron(RANDOM.integers(0, 256, (3, 4, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
    Image.fromarray(few).quantize(12).save(tmp_path / "few.png")
    read = folders.read_pixels(tmp_path / "few.png")
    assert read.shape == few.shape
    with Image.open(tmp_path / "few.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(read, np.asarray(image.convert("RGB")))


def test_a_transparent_palette_counts_as_an_alpha_channel(tmp_path: Path) -> None:
    Image.fromarray(RESTORED).quantize(8).save(tmp_path / "clear.png", transparency=0)
    with pytest.raises(ImageError, match="alpha channel"):
        folders.read_pixels(tmp_path / "clear.png")


def test_a_photo_is_turned_as_its_exif_data_asks(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RESTORED).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(folders.read_pixels(tmp_path / "turned.png"), np.rot90(RESTORED, -1))


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "huge.ppm"
    path.write_bytes(b"P6 16400 16400 255\n")
    with pytest.raises(ImageError, match="is 16400×16400; expected at most"):
        folders.read_pixels(path)


def test_two_files_are_a_pair_whatever_their_names(tmp_path: Path) -> None:
    restored, target = save(RESTORED, tmp_path / "mine.png"), save(TARGET, tmp_path / "truth.png")
    assert score_folders(restored, target, "rain").images == {"mine": score(RESTORED, TARGET, "rain")}


def test_identical_pictures_make_the_mean_infinite_and_are_told(ours: Path, theirs: Path) -> None:
    save(TARGET, ours / 'same "psnr": Infinity.png')
    save(TARGET, theirs / 'same "psnr": Infinity.png')
    scores = score_folders(ours, theirs, "rgb")
    assert scores.mean.psnr == math.inf
    assert scores.mean.ssim < 1
    assert scores.identical == ['same "psnr": Infinity']

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    report = json.loads(scores.to_json(), parse_constant=refuse)
    assert report["mean"]["psnr"] == math.inf
    assert report["images"]['same "psnr": Infinity']["psnr"] == math.inf
    assert math.isfinite(report["images"]["good"]["psnr"])


def test_the_json_of_a_complete_folder_has_exactly_three_entries(ours: Path, theirs: Path) -> None:
    expected = score(RESTORED, TARGET, "rgb")._asdict()
    report = json.loads(score_folders(ours, theirs, "rgb").to_json())
    assert report == {"protocol": "rgb", "mean": expected, "images": {"good": expected}}


def test_nothing_measured_has_no_mean(ours: Path, theirs: Path) -> None:
    (ours / "good.png").write_bytes(b"")
    scores = score_folders(ours, theirs, "rain")
    with pytest.raises(DataError, match="none of 1 pictures could be measured"):
        _ = scores.mean
    with pytest.raises(DataError, match="none of 1"):
        scores.to_json()


def test_folders_that_cannot_be_paired_at_all_are_an_error(tmp_path: Path, ours: Path, theirs: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no pictures in"):
        score_folders(empty, empty, "rain")
    with pytest.raises(DataError, match="nowhere does not exist"):
        score_folders(ours, tmp_path / "nowhere", "rain")
    with pytest.raises(DataError, match="give two files or two folders"):
        score_folders(ours / "good.png", theirs, "rain")
    with pytest.raises(ConfigError, match="unknown protocol"):
        score_folders(ours, theirs, "ssim")

"""The metrics, held against the original scripts' figures, scikit-image and SciPy."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mprnet.errors import ImageError
from mprnet.evaluation import metrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAIRS = [f"{scene}_{change}" for scene in ("astronaut", "coffee") for change in ("noise", "blur", "shifted")]
TOLERANCES = {
    "y_psnr": 0.01,
    "y_ssim": 0.0005,
    "rgb_psnr": 0.01,
    "rgb_ssim_3d": 0.0005,
    "aligned_psnr": 0.03,
    "aligned_ssim": 0.001,
}


def aligned_psnr(restored: np.ndarray, target: np.ndarray, *, data_range: float) -> float:
    return metrics.masked_psnr(*metrics.align(restored, target, data_range=data_range))


def aligned_ssim(restored: np.ndarray, target: np.ndarray, *, data_range: float) -> float:
    return metrics.masked_ssim(*metrics.align(restored, target, data_range=data_range))


RANGED = [
    metrics.rgb_psnr,
    metrics.rgb_ssim_3d,
    metrics.rgb_ssim_per_channel,
    aligned_psnr,
    aligned_ssim,
]
ALIGNED = {"aligned_psnr": aligned_psnr, "aligned_ssim": aligned_ssim}


def textured_pair(height: int = 40, width: int = 52, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A target with structure and a noisy version of it, uint8."""
    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.uniform(-1, 1, (height, width, 3)), (3, 3, 0))
    target = np.rint(128 + 90 * smooth / np.abs(smooth).max()).astype(np.uint8)
    noisy = target + random.normal(0, 8, target.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), target


@pytest.mark.parametrize("name", PAIRS)
def test_every_figure_of_the_original_scripts_is_met(shared: Path, name: str) -> None:
    folder = shared / "golden" / "metrics"
    expected = json.loads((folder / "expected.json").read_text())[name]
    assert len(expected) >= 4
    with Image.open(folder / f"{name}.png") as a, Image.open(folder / f"{name.split('_')[0]}_target.png") as b:
        restored, target = np.asarray(a), np.asarray(b)
    for metric, figure in expected.items():
        measure = ALIGNED.get(metric) or getattr(metrics, metric)
        options = {} if metric.startswith("y_") else {"data_range": 255}
        assert measure(restored, target, **options) == pytest.approx(figure, abs=TOLERANCES[metric]), metric


def test_the_luma_is_the_rounded_one_of_every_colour_cube_corner_and_of_scikit_image() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    colours[0, :8] = np.stack(np.meshgrid([0, 255], [0, 255], [0, 255]), axis=-1).reshape(8, 3)
    np.testing.assert_array_equal(metrics.luma(colours), np.rint(rgb2ycbcr(colours)[..., 0]))


def test_psnr_is_that_of_scikit_image() -> None:
    restored, target = textured_pair()
    expected = peak_signal_noise_ratio(target, restored, data_range=255)
    assert metrics.rgb_psnr(restored, target, data_range=255) == pytest.approx(expected, abs=1e-9)


def test_y_figures_are_those_of_scikit_image_on_the_luma() -> None:
    restored, target = textured_pair()
    lumas = metrics.luma(target), metrics.luma(restored)
    ssim = structural_similarity(*lumas, gaussian_weights=True, use_sample_covariance=False, data_range=255)
    assert metrics.y_psnr(restored, target) == pytest.approx(peak_signal_noise_ratio(*lumas, data_range=255), abs=1e-9)
    assert metrics.y_ssim(restored, target) == pytest.approx(ssim, abs=1e-9)


def test_per_channel_ssim_is_that_of_scikit_image() -> None:
    restored, target = textured_pair()
    expected = structural_similarity(
        target, restored, channel_axis=2, gaussian_weights=True, use_sample_covariance=False, data_range=255
    )
    assert metrics.rgb_ssim_per_channel(restored, target, data_range=255) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("size", [(40, 52), (5, 7), (1, 1)])
def test_volume_ssim_blurs_the_colours_too_and_takes_any_size(size: tuple[int, int]) -> None:
    restored, target = textured_pair(*size)

    def blur(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, mode="nearest", radius=5)

    x, y = restored / 255, target / 255
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    c1, c2 = 1e-4, 9e-4
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    expected = (luminance * (2 * cov + c2) / (var_x + var_y + c2)).mean()
    assert metrics.rgb_ssim_3d(restored, target, data_range=255) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", RANGED)
def test_8_bit_and_float_pictures_of_the_same_content_score_the_same(metric: Callable[..., float]) -> None:
    restored, target = textured_pair()
    as_floats = metric((restored / 255).astype(np.float32), target / 255, data_range=1)
    assert as_floats == pytest.approx(metric(restored, target, data_range=255), abs=1e-4)


def test_identical_pictures_have_infinite_psnr_and_ssim_one() -> None:
    _, target = textured_pair()
    assert metrics.y_psnr(target, target) == math.inf
    assert metrics.rgb_psnr(target, target, data_range=255) == math.inf
    assert metrics.y_ssim(target, target) == pytest.approx(1)
    assert metrics.rgb_ssim_3d(target, target, data_range=255) == pytest.approx(1)
    assert metrics.rgb_ssim_per_channel(target, target, data_range=255) == pytest.approx(1)


def test_aligned_identical_pictures_are_nearly_identical() -> None:
    blocks = np.kron(np.random.default_rng(0).integers(0, 256, (12, 16, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    assert aligned_psnr(blocks, blocks, data_range=255) > 60
    assert aligned_ssim(blocks, blocks, data_range=255) > 0.9999


@settings(max_examples=25, deadline=None)
@given(height=st.integers(11, 30), width=st.integers(11, 30), seed=st.integers(0, 2**32 - 1))
def test_ssim_is_symmetric_and_at_most_one_on_any_size(height: int, width: int, seed: int) -> None:
    restored, target = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    for metric in (metrics.rgb_ssim_3d, metrics.rgb_ssim_per_channel):
        there, back = metric(restored, target, data_range=255), metric(target, restored, data_range=255)
        assert -1 <= there <= 1
        assert there == pytest.approx(back, abs=1e-12)


def test_alignment_undoes_a_shift_and_a_change_of_brightness() -> None:
    _, scene = textured_pair(90, 110)
    target = scene[3:-3, 3:-3]
    moved = np.rint(scene[5:-1, 2:-4] * 0.8).astype(np.uint8)
    aligned = metrics.align(moved, target, data_range=255)
    assert metrics.rgb_psnr(moved, target, data_range=255) < 22
    assert metrics.masked_psnr(*aligned) > 40
    assert metrics.masked_ssim(*aligned) > 0.98
    assert 0.9 < aligned.mask.mean() < 1


@pytest.mark.parametrize(
    ("restored", "words"),
    [
        (np.zeros((32, 32, 3), np.uint8), "black everywhere"),
        (np.full((32, 32, 3), 9, np.uint8), "cannot be aligned"),
        (np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8), "cannot be aligned"),
    ],
)
def test_a_picture_that_cannot_be_aligned_is_an_error_in_one_line(restored: np.ndarray, words: str) -> None:
    target = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with pytest.raises(ImageError, match=words):
        aligned_psnr(restored, target, data_range=255)


def test_data_range_must_be_given() -> None:
    restored, target = textured_pair()
    for metric in RANGED:
        with pytest.raises(TypeError, match="data_range"):
            metric(restored, target)


@pytest.mark.parametrize(
    ("restored", "target", "words"),
    [
        (np.zeros((12, 16, 3)), np.zeros((12, 18, 3)), "sizes differ: restored 16×12, target 18×12"),
        (np.zeros((12, 16)), np.zeros((12, 16)), r"expected an RGB picture"),
        (np.zeros((12, 16, 4)), np.zeros((12, 16, 4)), r"expected an RGB picture"),
        (np.zeros((0, 16, 3)), np.zeros((0, 16, 3)), r"expected an RGB picture"),
        (np.full((12, 16, 3), 2, np.uint8), np.zeros((12, 16, 3), np.uint8), "2 is above the data_range of 1"),
        (np.full((12, 16, 3), np.nan), np.zeros((12, 16, 3)), "not finite"),
    ],
)
def test_what_would_give_a_wrong_figure_is_refused(restored: np.ndarray, target: np.ndarray, words: str) -> None:
    for metric in RANGED:
        with pytest.raises(ImageError, match=words):
            metric(restored, target, data_range=1)


def test_luma_takes_only_8_bit_pictures() -> None:
    for metric in (metrics.y_psnr, metrics.y_ssim):
        with pytest.raises(ImageError, match="float64, expected uint8"):
            metric(np.zeros((12, 16, 3)), np.zeros((12, 16, 3)))


def test_a_picture_smaller_than_the_window_is_refused_where_the_window_must_fit() -> None:
    small = np.zeros((10, 40, 3), np.uint8)
    with pytest.raises(ImageError, match="at least 11×11 pixels: got 40×10"):
        metrics.y_ssim(small, small)
    with pytest.raises(ImageError, match="at least 11×11"):
        metrics.rgb_ssim_per_channel(small, small, data_range=255)
    assert metrics.y_psnr(small, small) == math.inf

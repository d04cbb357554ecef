"""The table of baselines, the classical methods, and the estimate of the noise."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage.restoration import estimate_sigma as estimate_of_scikit_image

from mprnet.errors import ConfigError, ImageError, MissingExtraError
from mprnet.evaluation.baselines import BASELINES, classical, estimate_sigma
from mprnet.evaluation.metrics import rgb_psnr
from mprnet.imaging import read_image

DENOISERS = ["dct", "nlm", "wavelet", "tv"]
DEBLURRERS = ["unsharp", "wiener", "richardson-lucy"]
DERAINERS = ["median", "guided"]
NON_BLIND = ["wiener", "richardson-lucy"]


def photograph(height: int = 96, width: int = 80) -> np.ndarray:
    """Sharp shapes on a slow gradient, in colours."""
    y, x = np.mgrid[:height, :width] / 40
    picture = np.stack((0.3 + 0.2 * x / 2, 0.6 - 0.2 * y / 2, 0.4 + 0.1 * np.sin(x * y)), axis=-1)
    picture[(x - 1) ** 2 + (y - 1.2) ** 2 < 0.4] = (0.8, 0.3, 0.2)
    picture[int(height * 0.6) :, int(width * 0.5) :: 6] *= 0.6
    return picture.astype(np.float32)


def with_noise(picture: np.ndarray, sigma: float) -> np.ndarray:
    noisy = np.rint(255 * picture + np.random.default_rng(0).normal(0, sigma, picture.shape))
    return (noisy.clip(0, 255) / 255).astype(np.float32)


def psnr(restored: np.ndarray, target: np.ndarray) -> float:
    return rgb_psnr(restored, target, data_range=1)


def shake() -> np.ndarray:
    """A kernel that is no mirror image of itself: a hook."""
    kernel = np.zeros((9, 7))
    kernel[1:8, 1] = 1
    kernel[1, 1:6] = 2
    return kernel / kernel.sum()


def blurred(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    # OpenCV correlates; a convolution is a correlation with the kernel turned round.
    return cv2.filter2D(picture, -1, kernel[::-1, ::-1].copy(), borderType=cv2.BORDER_REFLECT).clip(0, 1)


def test_every_task_has_its_baselines() -> None:
    assert DENOISERS == ["dct", "nlm", "wavelet", "tv"]
    assert DEBLURRERS == ["unsharp", "wiener", "richardson-lucy"]
    assert DERAINERS == ["median", "guided"]
    assert all(name == row.name for name, row in BASELINES.items())
    assert {name for name, row in BASELINES.items() if row.needs == "sigma"} == set(DENOISERS)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("size_hw", [(37, 50), (5, 9)])
def test_a_picture_keeps_its_size_and_range(name: str, size_hw: tuple[int, int]) -> None:
    noisy = with_noise(photograph()[: size_hw[0], : size_hw[1]] * 2 - 0.5, 30)
    noisy.flags.writeable = False
    before = noisy.copy()
    restored = BASELINES[name](noisy, sigma=30)
    assert restored.shape == noisy.shape
    assert restored.dtype == np.float32
    assert restored.min() >= 0
    assert restored.max() <= 1
    np.testing.assert_array_equal(noisy, before)


@pytest.mark.parametrize("name", BASELINES)
def test_a_single_pixel_is_no_accident(name: str) -> None:
    pixel = np.full((1, 1, 3), 0.5, dtype=np.float32)
    np.testing.assert_allclose(BASELINES[name](pixel), pixel, atol=1e-3)


@pytest.mark.parametrize("name", BASELINES)
def test_a_flat_picture_stays_flat(name: str) -> None:
    flat = np.full((24, 31, 3), np.float32([0.2, 0.5, 0.7]), dtype=np.float32)
    np.testing.assert_allclose(BASELINES[name](flat, sigma=5), flat, atol=2e-3)


@pytest.mark.parametrize(("name", "gain_db"), [("dct", 9), ("nlm", 4), ("wavelet", 4), ("tv", 6)])
def test_a_denoiser_removes_noise_and_keeps_colours(name: str, gain_db: float) -> None:
    target = photograph()
    noisy = with_noise(target, 25)
    restored = BASELINES[name](noisy, sigma=25)
    assert psnr(restored, target) > psnr(noisy, target) + gain_db
    np.testing.assert_allclose(restored.mean(axis=(0, 1)), target.mean(axis=(0, 1)), atol=1 / 255)


def test_wavelets_remove_noise_without_colour_from_a_grey_picture() -> None:
    target = photograph().mean(axis=2, keepdims=True).repeat(3, axis=2)
    noisy = with_noise(target, 25)[..., :1].repeat(3, axis=2)
    restored = BASELINES["wavelet"](noisy, sigma=25)
    assert psnr(restored, target) > psnr(noisy, target) + 4
    assert np.array_equal(restored, restored[..., :1].repeat(3, axis=2))


def test_the_multi_scale_dct_is_the_strongest_denoiser_of_a_photograph(shared: Path) -> None:
    target = read_image(shared / "data" / "measure" / "Kodak24" / "kodim23.png").pixels[100:228, 300:428] / np.float32(
        255
    )
    noisy = with_noise(target, 25)
    reached = {name: psnr(BASELINES[name](noisy, sigma=25), target) for name in DENOISERS}
    assert reached["dct"] > max(reached[name] for name in DENOISERS if name != "dct") + 0.5, reached


@pytest.mark.parametrize("name", DENOISERS)
def test_sigma_is_estimated_when_it_is_not_told(name: str) -> None:
    noisy = with_noise(photograph(), 25)
    told = BASELINES[name](noisy, sigma=estimate_sigma(noisy))
    np.testing.assert_array_equal(BASELINES[name](noisy), told)


@pytest.mark.parametrize("name", DENOISERS)
def test_a_denoiser_told_of_no_noise_changes_nothing(name: str) -> None:
    np.testing.assert_allclose(BASELINES[name](photograph(), sigma=0), photograph(), atol=2e-5)


@pytest.mark.parametrize("sigma", [5, 15, 40])
def test_the_estimate_of_the_noise_is_near_and_agrees_with_scikit_image(sigma: float) -> None:
    noisy = (photograph(160, 160) + np.random.default_rng(1).normal(0, sigma / 255, (160, 160, 3))).astype(np.float32)
    assert estimate_sigma(noisy) == pytest.approx(sigma, rel=0.1)
    other = 255 * estimate_of_scikit_image(noisy, channel_axis=2, average_sigmas=True)
    unclipped = (noisy - noisy.min()) / (noisy.max() - noisy.min()) * 0.98 + 0.01
    scale = 0.98 / (noisy.max() - noisy.min())
    assert estimate_sigma(unclipped.astype(np.float32)) == pytest.approx(other * scale, rel=0.1)


def test_clipped_noise_does_not_lower_the_estimate() -> None:
    half_black = np.full((128, 128, 3), 0.5)
    half_black[:80] = 0
    noisy = with_noise(half_black, 30)
    assert estimate_sigma(noisy) == pytest.approx(30, rel=0.1)
    assert 255 * estimate_of_scikit_image(noisy, channel_axis=2, average_sigmas=True) < 24


def test_nothing_but_black_has_no_noise_and_neither_has_a_speck() -> None:
    assert estimate_sigma(np.zeros((32, 32, 3), dtype=np.float32)) == 0
    assert estimate_sigma(np.ones((3, 200, 3), dtype=np.float32)) == 0


@pytest.mark.parametrize(("name", "gain_db"), [("wiener", 3), ("richardson-lucy", 2)])
def test_a_known_kernel_is_undone(name: str, gain_db: float) -> None:
    target = photograph()
    soft = blurred(target, shake())
    settings = {"wiener": {"balance": 0.001}, "richardson-lucy": {"iterations": 40}}[name]
    reached = psnr(BASELINES[name](soft, kernel=shake(), **settings), target)
    assert reached > psnr(soft, target) + gain_db
    assert reached > psnr(BASELINES[name](soft, kernel=shake()[::-1, ::-1], **settings), target) + gain_db


@pytest.mark.parametrize("name", DEBLURRERS)
def test_a_soft_picture_gets_sharper_without_a_kernel(name: str) -> None:
    target = photograph()
    soft = blurred(target, classical.generic_kernel())
    assert psnr(BASELINES[name](soft), target) > psnr(soft, target) + 0.3


@pytest.mark.parametrize("name", NON_BLIND)
def test_a_kernel_counts_by_its_shape_not_its_scale(name: str) -> None:
    soft = blurred(photograph(), shake())
    one, many = (BASELINES[name](soft, kernel=scale * shake()) for scale in (1, 255))
    np.testing.assert_allclose(one, many, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (np.ones((4, 4)), "odd sides"),
        (np.ones(5), "odd sides"),
        (np.zeros((3, 3)), "none above 0"),
        (np.array([[1, -1, 1]]), "negative"),
        (np.array([[np.nan, 1, 1]]), "none above 0"),
    ],
)
@pytest.mark.parametrize("name", NON_BLIND)
def test_what_is_no_kernel_is_refused(name: str, kernel: np.ndarray, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        BASELINES[name](photograph(16, 16), kernel=kernel)


def test_the_generic_kernel_is_round_and_of_its_deviation() -> None:
    kernel = classical.generic_kernel(2.0)
    offset = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1)
    assert np.sqrt((kernel.sum(axis=0) * offset**2).sum()) == pytest.approx(2.0, rel=0.02)
    np.testing.assert_allclose(kernel, kernel.T)


@pytest.mark.parametrize("name", DERAINERS)
def test_thin_bright_streaks_are_weakened(name: str) -> None:
    target = photograph()
    target[int(96 * 0.6) :] = target[int(96 * 0.6) - 1]
    rainy = target.copy()
    rainy[:, 3::9] = np.minimum(rainy[:, 3::9] + 0.35, 1)
    assert psnr(BASELINES[name](rainy), target) > psnr(rainy, target) + 1


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.zeros((8, 8, 3)), "float64"),
        (np.zeros((8, 8, 3), dtype=np.uint8), "uint8"),
        (np.zeros((8, 8), dtype=np.float32), "shape"),
        (np.zeros((0, 8, 3), dtype=np.float32), "shape"),
        (np.full((8, 8, 3), 2, dtype=np.float32), "from 2 to 2"),
        (np.full((8, 8, 3), np.nan, dtype=np.float32), "nan"),
    ],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        BASELINES["dct"](picture, sigma=10)


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_a_sigma_that_is_none_is_refused(sigma: float) -> None:
    with pytest.raises(ConfigError, match=r"sigma is .* 0 or more"):
        BASELINES["nlm"](photograph(8, 8), sigma=sigma)


@pytest.mark.parametrize(("name", "missing"), [("tv", "skimage"), ("wavelet", "pywt"), ("wiener", "skimage")])
def test_a_missing_package_is_named_with_the_command_that_brings_it(
    name: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def without(package: str, *rest: Any) -> ModuleSpec | None:
        return None if package == missing else find(package, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(MissingExtraError, match=rf'{missing}: pip install "mprnet\[evaluate\]"'):
        BASELINES[name](photograph(8, 8), sigma=10)


def test_the_dct_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    extras = {"scipy", "skimage", "pywt"}
    for package in extras | {name for name in sys.modules if name.partition(".")[0] in extras}:
        monkeypatch.setitem(sys.modules, package, None)
    assert BASELINES["dct"](photograph(16, 16)).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("median", {"width_px": 4}, "width_px is 4; expected 3 or 5"),
        ("median", {"width_px": 7}, "width_px is 7; expected 3 or 5"),
        ("guided", {"radius_px": -1}, "radius_px is -1; expected 0 or more"),
        ("unsharp", {"radius_px": 0}, "radius_px is 0; expected more than 0"),
        ("dct", {"sigma": 10, "size": 3}, "dct has no setting size; expected sigma"),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_line(name, settings, told):
    with pytest.raises(ConfigError, match=told):
        BASELINES[name](np.full((9, 9, 3), 0.5, np.float32), **settings)

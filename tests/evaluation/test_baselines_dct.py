"""Multi-scale DCT denoising, held against SciPy's transforms and against what the method promises."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from mprnet.errors import ConfigError
from mprnet.evaluation.baselines import dct as module
from mprnet.evaluation.baselines.dct import dct_matrix, halving, multi_scale_dct, overlapped, patch_spectra
from mprnet.evaluation.metrics import rgb_psnr

RANDOM = np.random.default_rng(0)


def photograph(height: int = 96, width: int = 80) -> np.ndarray:
    """Sharp shapes on a slow gradient, in colours."""
    y, x = np.mgrid[:height, :width] / 40
    picture = np.stack((0.3 + 0.2 * x / 2, 0.6 - 0.2 * y / 2, 0.4 + 0.1 * np.sin(x * y)), axis=-1)
    picture[(x - 1) ** 2 + (y - 1.2) ** 2 < 0.4] = (0.8, 0.3, 0.2)
    picture[int(height * 0.6) :, int(width * 0.5) :: 6] *= 0.6
    return picture.astype(np.float32)


def with_noise(picture: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    noisy = np.rint(255 * picture + np.random.default_rng(seed).normal(0, sigma, picture.shape))
    return (noisy.clip(0, 255) / 255).astype(np.float32)


def psnr(restored: np.ndarray, target: np.ndarray) -> float:
    return rgb_psnr(restored.clip(0, 1), target, data_range=1)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 37])
def test_the_transform_is_scipys_orthonormal_dct(size: int) -> None:
    expected = scipy.fft.dct(np.eye(size), axis=0, norm="ortho")
    np.testing.assert_allclose(dct_matrix(size).numpy(), expected, atol=1e-6)


def test_the_spectrum_of_every_patch_is_scipys() -> None:
    planes = torch.rand(2, 1, 11, 13, generator=torch.Generator().manual_seed(0))
    spectra = patch_spectra(planes, 8)
    assert spectra.shape == (2, 64, 4, 6)
    for plane, top, left in ((0, 0, 0), (1, 3, 5), (0, 2, 1)):
        patch = planes[plane, 0, top : top + 8, left : left + 8].numpy()
        expected = scipy.fft.dctn(patch, norm="ortho").ravel()
        np.testing.assert_allclose(spectra[plane, :, top, left].numpy(), expected, atol=1e-5)


def test_patches_laid_back_give_the_picture_as_often_as_they_overlap() -> None:
    planes = torch.rand(1, 1, 9, 12, generator=torch.Generator().manual_seed(1))
    there = overlapped(patch_spectra(planes, 4), 4)
    across, down = (np.convolve(np.ones(side - 3), np.ones(4)) for side in (12, 9))
    np.testing.assert_allclose(there[0, 0].numpy(), planes[0, 0].numpy() * np.outer(down, across), atol=1e-5)


@pytest.mark.parametrize("size", [16, 17, 35])
def test_halving_keeps_the_slow_half_of_the_spectrum_and_the_mean(size: int) -> None:
    signal, half = RANDOM.random(size), size // 2
    small = halving(size).numpy() @ signal
    kept = scipy.fft.dct(signal, norm="ortho")[:half]
    np.testing.assert_allclose(small, scipy.fft.idct(kept, norm="ortho") * np.sqrt(half / size), atol=1e-5)
    assert small.mean() == pytest.approx(signal.mean(), abs=1e-6)


def test_halved_noise_is_white_and_half_as_strong() -> None:
    covariance = (halving(64) @ halving(64).T).numpy()
    np.testing.assert_allclose(covariance, np.eye(32) / 2, atol=1e-6)  # for one axis; both give a quarter


def slow_reference(noisy: np.ndarray, sigma: float, threshold: float, size: int) -> np.ndarray:
    """One scale, patch by patch, in float64: the publication's two steps in words of SciPy."""
    margin = size - 1

    def padded(planes: np.ndarray) -> np.ndarray:
        return np.pad(planes, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")

    def average(guide: np.ndarray | None) -> np.ndarray:
        total, weights = np.zeros_like(planes), np.zeros_like(planes)
        for top in range(planes.shape[0] - margin):
            for left in range(planes.shape[1] - margin):
                for colour in range(3):
                    where = slice(top, top + size), slice(left, left + size), colour
                    spectrum = scipy.fft.dctn(planes[where], norm="ortho")
                    if guide is None:
                        gain = (np.abs(spectrum) > threshold * sigma).astype(float)
                    else:
                        power = scipy.fft.dctn(guide[where], norm="ortho") ** 2
                        gain = power / (power + sigma**2)
                    gain[0, 0] = 1
                    weight = 1 / (gain**2).sum()
                    total[where] += weight * scipy.fft.idctn(spectrum * gain, norm="ortho")
                    weights[where] += weight
        return (total / weights)[margin:-margin, margin:-margin]

    opponent = scipy.fft.dct(np.eye(3), axis=0, norm="ortho")
    planes = padded(noisy.astype(np.float64) @ opponent.T)
    return average(padded(average(None))) @ opponent


def test_one_scale_is_what_a_loop_over_patches_gives() -> None:
    noisy = with_noise(photograph()[30:41, 20:33], 25)
    expected = slow_reference(noisy, 25 / 255, 2.7, 4)
    actual = multi_scale_dct(noisy, sigma=25, scales=1, patch_px=4, threshold=2.7)
    # A coefficient exactly at the threshold may fall on either side in another precision; none does here.
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("patch_px", [8, 16])
def test_without_noise_the_picture_comes_back(patch_px: int) -> None:
    picture = photograph(70, 75)
    np.testing.assert_allclose(multi_scale_dct(picture, sigma=0, patch_px=patch_px), picture, atol=2e-5)


@pytest.mark.parametrize(("sigma", "gain_db"), [(10, 5), (25, 9), (50, 11)])
def test_noise_is_removed(sigma: float, gain_db: float) -> None:
    target = photograph()
    noisy = with_noise(target, sigma)
    assert psnr(multi_scale_dct(noisy, sigma=sigma), target) > psnr(noisy, target) + gain_db


def test_noise_without_colour_is_removed_from_a_grey_picture() -> None:
    target = photograph().mean(axis=2, keepdims=True).repeat(3, axis=2)
    noisy = with_noise(target, 25)[..., :1].repeat(3, axis=2)
    restored = multi_scale_dct(noisy, sigma=25)
    assert psnr(restored, target) > psnr(noisy, target) + 6
    np.testing.assert_allclose(restored, restored[..., :1].repeat(3, axis=2), atol=1e-5)


def test_the_second_step_improves_on_the_first() -> None:
    target = photograph()
    noisy = with_noise(target, 25)
    planes = torch.from_numpy(noisy).permute(2, 0, 1).unsqueeze(1)
    settings = module._Settings(8, 0.5, 2.5)
    first = module._denoised(planes, None, 25 / 255, settings)
    second = module._denoised(planes, first, 25 / 255, settings)
    pictures = [plane.squeeze(1).permute(1, 2, 0).numpy() for plane in (first, second)]
    assert psnr(pictures[1], target) > psnr(pictures[0], target) + 0.2


def test_several_scales_remove_slow_noise_that_one_leaves() -> None:
    target = np.full((128, 128, 3), 0.5, dtype=np.float32)
    noisy = with_noise(target, 40)
    one, four = (multi_scale_dct(noisy, sigma=40, scales=scales) for scales in (1, 4))
    slow = [picture.reshape(8, 16, 8, 16, 3).mean(axis=(1, 3)).std() for picture in (noisy, one, four)]
    assert slow[1] > 0.8 * slow[0]
    assert slow[2] < 0.5 * slow[0]


def test_a_coarse_scale_of_share_0_changes_nothing() -> None:
    noisy = with_noise(photograph(), 25)
    one, two = multi_scale_dct(noisy, sigma=25, scales=1), multi_scale_dct(noisy, sigma=25, scales=2, recomposition=0)
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_flat_colours_are_kept() -> None:
    target = np.ones((64, 96, 3), dtype=np.float32)
    target[:, :48] *= np.float32([0.8, 0.3, 0.2])
    target[:, 48:] *= np.float32([0.25, 0.4, 0.7])
    restored = multi_scale_dct(with_noise(target, 25), sigma=25)
    for half in (slice(4, 44), slice(52, 92)):
        np.testing.assert_allclose(restored[4:-4, half].mean(axis=(0, 1)), target[0, half.start], atol=3 / 255)


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = with_noise(photograph(40, 30), 25)
    whole = multi_scale_dct(noisy, sigma=25)
    monkeypatch.setattr(module, "_STRIP_COEFFICIENTS", 1)
    np.testing.assert_allclose(multi_scale_dct(noisy, sigma=25), whole, atol=1e-5)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (5, 3), (8, 8), (33, 71)])
def test_any_size_is_denoised(size_hw: tuple[int, int]) -> None:
    noisy = with_noise(np.full((*size_hw, 3), 0.5, dtype=np.float32), 20)
    restored = multi_scale_dct(noisy, sigma=20)
    assert restored.shape == noisy.shape
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()
    assert np.abs(restored - 0.5).mean() <= np.abs(noisy - 0.5).mean() + 1e-6


def test_a_read_only_view_is_left_as_it_was() -> None:
    noisy = with_noise(photograph(40, 40), 25)[::-1, ::-1]
    noisy.flags.writeable = False
    before = noisy.copy()
    restored = multi_scale_dct(noisy, sigma=25)
    np.testing.assert_array_equal(noisy, before)
    np.testing.assert_allclose(restored, multi_scale_dct(before, sigma=25), atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"patch_px": 1}, {"scales": 0}, {"recomposition": 1.5}, {"threshold": -1}, {"threshold": float("nan")}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected at least 2, at least 1, 0 to 1, and 0 or more"):
        multi_scale_dct(np.zeros((8, 8, 3), dtype=np.float32), sigma=10, **wrong)  # type: ignore[arg-type]

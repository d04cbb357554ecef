"""What holds for each of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mprnet.degradation import CameraNoise, FilmGrain, GaussianNoise, MotionBlur, Noise, Rain, RainLayers
from mprnet.errors import ConfigError

LAYERS = (torch.rand(20, 30, generator=torch.Generator().manual_seed(1)) * 0.3,)

every = pytest.mark.parametrize(
    "degradation",
    [
        Rain(),
        Rain(jpeg_share=0.5, sharpening=(0, 1)),
        Rain(enlarged_share=0.5),
        RainLayers(LAYERS),
        RainLayers(LAYERS, enlarged_share=1),
        MotionBlur(),
        GaussianNoise(),
        FilmGrain(),
        CameraNoise(jpeg_share=0.5, sharpening=(0, 1)),
        Noise(camera_share=0.5, grain_share=0.5),
    ],
    ids=lambda degradation: type(degradation).__name__,
)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_result_has_shape_and_dtype_and_range_of_a_picture(degradation, draw, photograph, dtype):
    clean = (photograph() * 1.2 - 0.1).clamp(0, 1).to(dtype)
    degraded = degradation(clean, draw())
    assert (degraded.shape, degraded.dtype) == (clean.shape, dtype)
    assert 0 <= degraded.min() <= degraded.max() <= 1
    assert not torch.equal(degraded, clean)


@every
@pytest.mark.parametrize(
    "shape", [(2, 3, 1, 1), (1, 3, 1, 40), (1, 3, 40, 2), (2, 1, 20, 24), (1, 2, 9, 9), (1, 5, 9, 17)]
)
def test_tiny_and_grey_and_many_channelled_pictures_are_pictures(degradation, draw, shape):
    degraded = degradation(torch.full(shape, 0.4), draw())
    assert degraded.shape == shape
    assert bool(((degraded >= 0) & (degraded <= 1)).all())


@every
def test_the_seed_decides(degradation, draw, photograph):
    clean = photograph()
    degraded = degradation(clean, draw(3))
    assert torch.equal(degraded, degradation(clean, draw(3)))
    assert not torch.equal(degraded, degradation(clean, draw(4)))


@every
def test_the_pictures_of_a_batch_are_treated_differently(degradation, draw, photograph):
    clean = photograph(batch=1).expand(2, -1, -1, -1)
    first, second = degradation(clean, draw())
    assert not torch.equal(first, second)


def light(degraded):
    return degraded.mean(dim=(1, 2, 3)) - 0.5


def strength(degraded):
    return degraded.std(dim=(1, 2, 3))


def coarseness(degraded):
    return 1 / degraded.diff(dim=3).std(dim=(1, 2, 3))


DRIZZLE = Rain(
    (1, 1), (1, 1), (0.02, 0.02), length_px=(6, 6), sigma_px=(0.5, 0.5), veil_share=0, dry_share=0, linear_share=0
)
QUIET = CameraNoise((1e-6, 1e-6), (1e-6, 1e-6), (1, 1), (0.1, 0.1), spread_px=(0.1, 0.1), jpeg_share=0)
EVEN = FilmGrain((10, 10), (0.5, 0.5), (0, 0), jpeg_share=0)


@pytest.mark.parametrize(
    ("degradation", "measured"),
    [
        (replace(DRIZZLE, coverage=(0.4, 4)), light),
        (replace(DRIZZLE, brightness=(0.01, 0.1)), light),
        (replace(QUIET, gain=(1e-5, 1e-2)), strength),
        (replace(QUIET, read=(1e-3, 3e-2)), strength),
        (replace(EVEN, sigma=(2, 40)), strength),
        (replace(EVEN, size_px=(0.3, 3)), coarseness),
    ],
    ids=["coverage", "brightness", "gain", "read", "sigma", "size"],
)
def test_every_picture_of_a_batch_has_its_own_of_a_range(degradation, measured, draw):
    found = measured(degradation(torch.full((40, 3, 64, 64), 0.5), draw()))
    assert found.max() > 2.5 * found.min()  # chance alone makes it less than twice


@every
def test_the_clean_picture_is_left_alone(degradation, draw, photograph):
    clean = photograph()
    before = clean.clone()
    degradation(clean, draw())
    assert torch.equal(clean, before)


@every
def test_the_picture_decides_nothing_about_what_is_drawn_after_it(degradation, draw, photograph):
    first, second = draw(), draw()
    degradation(photograph(), first)
    degradation(1 - photograph(), second)
    assert torch.equal(torch.rand(4, generator=first), torch.rand(4, generator=second))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
@every
def test_a_picture_on_the_gpu_is_treated_like_one_on_the_cpu(degradation, draw, photograph):
    clean = photograph()
    degraded = degradation(clean.cuda(), draw())
    assert degraded.is_cuda
    # Rounding differs, and JPEG turns the difference into a step of a few levels here and there.
    assert (degraded.cpu() - degradation(clean, draw())).abs().mean() < 1e-3
    on_gpu = degradation(clean.cuda(), torch.Generator("cuda").manual_seed(0))
    assert torch.equal(on_gpu, degradation(clean.cuda(), torch.Generator("cuda").manual_seed(0)))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Rain, {"layers": (0, 2)}, r"layers is \(0, 2\); expected 1 to 100, the lower end first"),
        (Rain, {"length_px": (0.0, 9.0)}, r"length_px is \(0.0, 9.0\); expected 1e-06 to 1e\+06, the lower end first"),
        (Rain, {"coverage": (2.0, 1.0)}, r"coverage is \(2.0, 1.0\); .* the lower end first"),
        (Rain, {"veil_share": 1.5}, r"veil_share is 1.5; expected 0 to 1$"),
        (Rain, {"jpeg_share": 1.5}, r"jpeg_share is 1.5; expected 0 to 1$"),
        (Rain, {"sharpening": (1.0, 0.5)}, r"sharpening is \(1.0, 0.5\); .* the lower end first"),
        (Rain, {"enlarge": (0.5, 2.0)}, r"enlarge is \(0.5, 2.0\); expected 1 to 100"),
        (RainLayers, {"layers": LAYERS, "enlarged_share": 2.0}, r"enlarged_share is 2.0; expected 0 to 1$"),
        (RainLayers, {"layers": ()}, "layers is empty; expected at least one"),
        (MotionBlur, {"extent_px": (-1.0, 4.0)}, "extent_px is"),
        (MotionBlur, {"roll_share": float("nan")}, "roll_share is nan; expected 0 to 1$"),
        (MotionBlur, {"exposures": 0}, "exposures is 0; expected 1 to"),
        (GaussianNoise, {"sigma": (-1.0, 5.0)}, "sigma is"),
        (CameraNoise, {"spread_px": (0.0, 1.0)}, "spread_px is"),
        (CameraNoise, {"quality": (50.0, 101.0)}, "expected 1 to 100"),
        (Noise, {"camera_share": -0.1}, "camera_share is -0.1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_clear_line(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind(**settings)

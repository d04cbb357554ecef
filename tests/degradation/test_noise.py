from __future__ import annotations

import pytest
import torch

from mprnet.degradation import CameraNoise, GaussianNoise, Noise
from mprnet.degradation.light import to_display, to_linear

GREEN = 1  # the white balance leaves it alone


def grey(value, size=128, batch=1):
    return torch.full((batch, 3, size, size), value)


def correlation(noise, pixels):
    """How alike neighbours so many pixels apart are."""
    noise = noise - noise.mean()
    return float((noise[..., pixels:] * noise[..., :-pixels]).mean() / noise.square().mean())


@pytest.mark.parametrize("sigma", [5, 25, 40])
def test_white_noise_has_the_strength_that_is_asked(draw, sigma):
    noise = GaussianNoise((sigma, sigma))(grey(0.5), draw()) - 0.5
    assert float(noise.std() * 255) == pytest.approx(sigma, rel=0.02)
    assert abs(float(noise.mean())) < 0.002
    assert abs(correlation(noise, 1)) < 0.02
    assert abs(float((noise[:, 0] * noise[:, 1]).mean() / noise.square().mean())) < 0.03


def test_no_noise_changes_nothing(draw, photograph):
    assert torch.equal(GaussianNoise((0, 0))(photograph(), draw()), photograph())


def test_blind_noise_has_another_strength_in_every_picture(draw):
    sigmas = (GaussianNoise((0, 55))(grey(0.5, 32, batch=40), draw()) - 0.5).std(dim=(1, 2, 3)) * 255
    assert sigmas.min() < 10
    assert sigmas.max() > 45


def test_white_noise_is_clipped_at_black_and_white(draw):
    noisy = GaussianNoise((50, 50))(torch.cat((grey(0.0, 32), grey(1.0, 32))), draw())
    assert (noisy == torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)).float().mean() == pytest.approx(0.5, abs=0.05)


def test_the_variance_of_camera_noise_grows_with_the_light(draw):
    camera = CameraNoise(gain=(0.01, 0.01), read=(0.02, 0.02), spread_px=(0.2, 0.2), jpeg_share=0)
    for light in (0.2, 0.6):
        clean = to_display(torch.tensor(light)).expand(1, 3, 128, 128)
        variance = to_linear(camera(clean, draw()))[:, GREEN].var()
        assert float(variance) == pytest.approx(0.01 * light + 0.02**2, rel=0.08)


def test_the_white_balance_amplifies_red_and_blue(draw):
    noise = CameraNoise(gain=(1e-6, 1e-6), read=(0.01, 0.01), jpeg_share=0)(grey(0.5, 64, batch=12), draw()) - 0.5
    red, green, blue = noise.std(dim=(2, 3)).mean(dim=0)
    assert 1.2 < red / green < 1.8
    assert 1.2 < blue / green < 1.8


def test_camera_noise_is_alike_between_neighbours_and_as_strong(draw):
    settings = {"gain": (0.004, 0.004), "read": (0.001, 0.001), "jpeg_share": 0}
    fine, coarse = (
        (CameraNoise(**settings, spread_px=(spread, spread))(grey(0.5), draw()) - 0.5)[:, GREEN]
        for spread in (0.2, 0.8)
    )
    assert abs(correlation(fine, 1)) < 0.03
    # Two Gaussians of deviation s, 1 apart, overlap by exp(-1 / 4 s²).
    assert correlation(coarse, 1) == pytest.approx(0.68, abs=0.05)
    assert abs(correlation(coarse, 6)) < 0.05
    assert float(coarse.std() / fine.std()) == pytest.approx(1, abs=0.05)


def test_some_pictures_of_a_camera_are_compressed(draw):
    for share in (0, 1):
        noisy = CameraNoise(jpeg_share=share)(grey(0.5, 32), draw()) * 255
        assert torch.allclose(noisy, noisy.round(), atol=1e-3) == bool(share)


def test_noise_is_white_on_some_pictures_and_of_a_camera_on_the_others(draw):
    clean = grey(0.5, 8, batch=64)
    untouched = (Noise(sigma=(0, 0), camera_share=0.25)(clean, draw()) == clean).all(dim=(1, 2, 3))
    assert 38 <= int(untouched.sum()) <= 58
    assert torch.equal(Noise(sigma=(0, 0), camera_share=0)(clean, draw()), clean)

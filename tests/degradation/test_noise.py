from __future__ import annotations

import math

import pytest
import torch

from mprnet.degradation import CameraNoise, FilmGrain, GaussianNoise, Noise
from mprnet.degradation.light import to_display, to_linear
from mprnet.degradation.noise import _demosaick
from mprnet.errors import ConfigError

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


def same_in_all_colours(noise):
    """Of each picture, whether it is so to a thousandth of its strength."""
    difference = (noise - noise.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2, 3))
    return difference < 1e-6 * noise.square().mean(dim=(1, 2, 3))


@pytest.mark.parametrize("kind", [GaussianNoise, Noise, CameraNoise])
def test_the_share_that_is_asked_for_has_the_same_noise_in_all_colours(draw, kind):
    settings = {CameraNoise: {"jpeg_share": 0}, Noise: {"camera_share": 0}}.get(kind, {})
    for share, least, most in ((0.0, 0, 0), (0.3, 18, 42), (1.0, 100, 100)):
        noisy = kind(**settings, grey_share=share)(grey(0.5, 32, batch=100), draw())
        assert least <= int(same_in_all_colours(noisy - 0.5).sum()) <= most


def test_noise_that_is_the_same_in_all_colours_is_white_and_of_the_same_strength(draw):
    noise = GaussianNoise((20, 20), grey_share=1)(grey(0.5), draw()) - 0.5
    assert float(noise.std() * 255) == pytest.approx(20, rel=0.02)
    assert abs(correlation(noise, 1)) < 0.02


@pytest.mark.parametrize("kind", [GaussianNoise, Noise, CameraNoise])
def test_a_share_must_be_one(kind):
    with pytest.raises(ConfigError, match=r"grey_share is 1\.5; expected 0 to 1"):
        kind(grey_share=1.5)


@pytest.mark.parametrize("size_px", [0.7, 1.0, 2.0])
def test_grain_has_the_strength_and_coarseness_that_is_asked_and_no_colour(draw, size_px):
    grain = FilmGrain(sigma=(15, 15), size_px=(size_px, size_px), jpeg_share=0)(grey(0.5, batch=8), draw()) - 0.5
    assert float(grain.std() * 255) == pytest.approx(15, rel=0.05)
    # Two Gaussians of deviation s, d apart, overlap by exp(-d² / 4 s²).
    for distance in (1, 2):
        expected = math.exp(-(distance**2) / (4 * size_px**2))
        assert correlation(grain, distance) == pytest.approx(expected, abs=0.05)
    assert bool(same_in_all_colours(grain).all())


@pytest.mark.parametrize(("fading", "left"), [(0, 1), (0.5, 0.82), (1, 0.64)])
def test_grain_fades_towards_black_and_white(draw, fading, left):
    film = FilmGrain(sigma=(10, 10), fading=(fading, fading), jpeg_share=0)
    middle = (film(grey(0.5), draw()) - 0.5).std()
    for tone in (0.2, 0.8):  # 0.6 of the way to black or white: 0.36 of what fades is gone
        assert float((film(grey(tone), draw()) - tone).std() / middle) == pytest.approx(left, abs=0.02)


def test_some_grain_is_stored_as_jpeg(draw):
    for share in (0, 1):
        grainy = FilmGrain(jpeg_share=share)(grey(0.5, 32), draw()) * 255
        assert torch.allclose(grainy, grainy.round(), atol=1e-3) == bool(share)


def test_the_share_that_is_asked_for_has_grain_where_the_noise_is_not_of_a_camera(draw):
    noise = Noise(sigma=(0, 0), camera_share=0.5, grain_share=0.25)(grey(0.5, 32, batch=200), draw()) - 0.5
    nothing = (noise == 0).all(dim=3).all(dim=2).all(dim=1)
    assert 55 <= int(nothing.sum()) <= 95  # 3 in 8: white noise, of which there is none
    assert 12 <= int((same_in_all_colours(noise) & ~nothing).sum()) <= 40  # 1 in 8


def test_the_lowest_and_highest_of_grain_come_in_order():
    with pytest.raises(ConfigError, match=r"size_px is \(2, 1\); expected 1e-06 to 3, the lower end first"):
        FilmGrain(size_px=(2, 1))
    with pytest.raises(ConfigError, match=r"size_px is \(2, 4\); expected 1e-06 to 3"):  # which would not be drawn so
        FilmGrain(size_px=(2, 4))
    with pytest.raises(ConfigError, match=r"grain_share is 1\.5; expected 0 to 1"):
        Noise(grain_share=1.5)


def of_camera(value, draw, size=128, batch=1, **settings):
    """What `CameraNoise` adds to grey, without any compression."""
    fine = {"gain": (0.004, 0.004), "read": (0.001, 0.001), "colour_spread_px": (0.1, 0.1), "jpeg_share": 0}
    camera = CameraNoise(**{**fine, **settings})
    return camera(grey(value, size, batch), draw()) - value


def test_the_variance_of_camera_noise_grows_with_the_light(draw):
    camera = CameraNoise(gain=(0.01, 0.01), read=(0.02, 0.02), spread_px=(0.1, 0.1), jpeg_share=0)
    for light in (0.2, 0.6):
        clean = to_display(torch.tensor(light)).expand(1, 1, 128, 128)  # one channel: nothing is demosaicked
        assert float(to_linear(camera(clean, draw())).var()) == pytest.approx(0.01 * light + 0.02**2, rel=0.08)


def test_the_white_balance_amplifies_red_and_blue(draw):
    noise = of_camera(0.5, draw, size=64, batch=12, gain=(1e-6, 1e-6), read=(0.01, 0.01), saturation=(1, 1))
    red, green, blue = noise.std(dim=(2, 3)).mean(dim=0)
    assert 1.1 < red / green < 1.8
    assert 1.1 < blue / green < 1.8


def test_demosaicking_makes_camera_noise_fine_in_brightness_and_coarse_in_colour(draw):
    noise = of_camera(0.6, draw, batch=8, spread_px=(0.1, 0.1), saturation=(1.6, 1.6))
    brightness = noise.mean(dim=1)
    colour = noise[:, 0] - noise[:, GREEN]
    # On flat places of pictures of SIDD: 0.27 and -0.12 in brightness, 0.67 and 0.23 in colour.
    assert correlation(brightness, 1) == pytest.approx(0.27, abs=0.08)
    assert correlation(brightness, 2) == pytest.approx(-0.12, abs=0.08)
    assert correlation(colour, 1) == pytest.approx(0.67, abs=0.08)
    assert correlation(colour, 2) == pytest.approx(0.23, abs=0.08)
    assert abs(correlation(brightness, 6)) < 0.05


def test_a_camera_may_average_colour_and_leave_brightness_alone(draw):
    settings = {"spread_px": (0.1, 0.1), "saturation": (1.6, 1.6)}
    sharp, averaged = (of_camera(0.6, draw, **settings, colour_spread_px=(px, px)) for px in (0.1, 2))
    torch.testing.assert_close(averaged.mean(dim=1), sharp.mean(dim=1), rtol=0, atol=0.02)
    colour = averaged[:, 0] - averaged[:, GREEN]
    # On pictures of PolyU: 0.92, 0.83 and 0.59.
    assert correlation(colour, 1) == pytest.approx(0.92, abs=0.04)
    assert correlation(colour, 2) == pytest.approx(0.83, abs=0.08)
    assert correlation(colour, 4) == pytest.approx(0.59, abs=0.25)
    assert float(colour.std()) < 0.6 * float((sharp[:, 0] - sharp[:, GREEN]).std())


def test_the_colour_matrix_amplifies_what_differs_between_colours(draw):
    pale, vivid = (of_camera(0.6, draw, saturation=(factor, factor)) for factor in (1, 1.6))
    ratio = (vivid[:, 0] - vivid[:, GREEN]).std() / (pale[:, 0] - pale[:, GREEN]).std()
    assert float(ratio) == pytest.approx(1.6, rel=0.03)
    assert float(vivid.mean(dim=1).std() / pale.mean(dim=1).std()) == pytest.approx(1, rel=0.03)


def test_every_place_of_the_bayer_pattern_begins_a_picture(draw):
    sensed = torch.rand(40, 3, 16, 16, generator=draw(5))
    kept = _demosaick(sensed, draw()) == sensed[..., 2:-2, 2:-2]
    places = [kept[..., row::2, column::2].all(dim=(2, 3)) for row in (0, 1) for column in (0, 1)]
    red, green, blue = torch.stack(places).unbind(dim=2)  # whether the colour was measured there: (places, pictures)
    assert (red.sum(dim=0) == 1).all()
    assert red.any(dim=1).all()
    assert torch.equal(blue, red.flip(0))
    assert torch.equal(green, ~(red | blue))

    camera = CameraNoise(gain=(0.01, 0.01), spread_px=(0.1, 0.1), jpeg_share=0)
    noise = camera(grey(0.5, 64, batch=16), draw()) - 0.5
    # Where red was measured its noise is independent of green's neighbours: the strength differs between the places.
    strength = torch.stack([noise[:, GREEN, row::2, column::2].std(dim=(1, 2)) for row in (0, 1) for column in (0, 1)])
    measured = (strength[0] + strength[3]) > (strength[1] + strength[2])  # green on this diagonal, or on the other
    assert 3 <= int(measured.sum()) <= 13


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_smoothing_keeps_the_strength_of_white_noise_and_the_smallest_picture_its_size(draw, channels):
    settings = {"gain": (0.004, 0.004), "read": (0.001, 0.001), "colour_spread_px": (0.1, 0.1), "jpeg_share": 0}
    clean = torch.full((2, channels, 1, 2), 0.5)
    assert CameraNoise()(clean, draw()).shape == clean.shape
    if channels != 3:
        fine, coarse = (
            CameraNoise(**settings, spread_px=(spread, spread))(torch.full((1, channels, 128, 128), 0.5), draw()) - 0.5
            for spread in (0.2, 0.8)
        )
        # Two Gaussians of deviation s, 1 apart, overlap by exp(-1 / 4 s²).
        assert correlation(coarse, 1) == pytest.approx(0.68, abs=0.05)
        assert float(coarse.std() / fine.std()) == pytest.approx(1, abs=0.06)


def test_sharpening_makes_noise_stronger_and_neighbours_opposed(draw):
    fine = {"gain": (0.001, 0.001), "spread_px": (0.1, 0.1)}
    plain, sharpened = (
        of_camera(0.6, draw, batch=8, **fine, sharpening=(amount, amount)).mean(dim=1) for amount in (0, 1)
    )
    assert float(sharpened.std() / plain.std()) > 1.4
    assert correlation(sharpened, 1) < correlation(plain, 1) - 0.1
    assert correlation(sharpened, 2) < -0.1


def test_sharpening_leaves_the_picture_alone(draw):
    quiet = {"gain": (1e-6, 1e-6), "read": (1e-6, 1e-6), "jpeg_share": 0}
    edge = torch.cat((grey(0.3, 32), grey(0.7, 32)), dim=3)
    torch.testing.assert_close(CameraNoise(**quiet, sharpening=(1, 1))(edge, draw()), edge, rtol=0, atol=0.02)


def test_some_pictures_of_a_camera_are_compressed(draw):
    for share in (0, 1):
        noisy = CameraNoise(jpeg_share=share)(grey(0.5, 32), draw()) * 255
        assert torch.allclose(noisy, noisy.round(), atol=1e-3) == bool(share)


def test_noise_is_white_on_some_pictures_and_of_a_camera_on_the_others(draw):
    clean = grey(0.5, 8, batch=64)
    untouched = (Noise(sigma=(0, 0), camera_share=0.25)(clean, draw()) == clean).all(dim=(1, 2, 3))
    assert 38 <= int(untouched.sum()) <= 58
    assert torch.equal(Noise(sigma=(0, 0), camera_share=0)(clean, draw()), clean)


def test_compressed_white_noise_stays_fine_in_brightness_and_becomes_coarse_in_colour(draw):
    noise = Noise(sigma=(25, 25), camera_share=0, jpeg_share=1, quality=(95, 95))(grey(0.5), draw()) - 0.5
    brightness = (noise * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1)
    colour = noise[:, 0] - noise[:, 1]
    # On flat places of a picture of RNI15, the dog: -0.02 in brightness, 0.72 and 0.22 in colour.
    assert abs(correlation(brightness, 1)) < 0.05
    assert correlation(colour, 1) == pytest.approx(0.72, abs=0.08)
    assert correlation(colour, 2) == pytest.approx(0.22, abs=0.12)


def test_white_noise_is_compressed_on_the_share_that_is_asked_for(draw):
    noisy = Noise(sigma=(25, 25), camera_share=0, jpeg_share=0.25)(grey(0.5, 32, batch=64), draw()) * 255
    compressed = torch.isclose(noisy, noisy.round(), rtol=0, atol=1e-3).all(dim=(1, 2, 3))
    assert 8 <= int(compressed.sum()) <= 26


@pytest.mark.parametrize("kept", [0.25, 1])
def test_colour_keeps_what_is_asked_of_its_strength_where_it_is_averaged(draw, kept):
    settings = {"batch": 8, "spread_px": (0.1, 0.1), "colour_spread_px": (2.5, 2.5)}
    averaged, coarse = (of_camera(0.6, draw, **settings, colour_kept=(power, power)) for power in (0, kept))
    weaker, stronger = (float((noise[:, 0] - noise[:, GREEN]).std()) for noise in (averaged, coarse))
    assert stronger / weaker == pytest.approx((2 * math.sqrt(math.pi) * 2.5) ** kept, rel=0.1)
    assert float((coarse - averaged).mean(dim=1).abs().mean()) < 0.1 * stronger


def test_bands_run_along_rows_or_columns(draw):
    settings = {"gain": (1e-6, 1e-6), "read": (0.01, 0.01), "spread_px": (0.1, 0.1), "banding": (2, 2)}
    noise = of_camera(0.5, draw, batch=40, **settings)[:, GREEN]
    along_rows, along_columns = (noise.mean(dim=dim).std(dim=1) / noise.std(dim=(1, 2)) for dim in (2, 1))
    assert ((along_rows > 0.7) ^ (along_columns > 0.7)).all()
    assert 8 <= int((along_rows > 0.7).sum()) <= 32


def test_hot_pixels_are_few_bright_and_coloured(draw):
    settings = {"gain": (1e-6, 1e-6), "read": (1e-6, 1e-6), "spread_px": (0.1, 0.1)}
    dark = 0.2
    noise = of_camera(dark, draw, batch=32, **settings, hot_pixels=(1e-4, 1e-4))
    light = to_linear(noise + dark) - to_linear(torch.tensor(dark))
    brightest = light.amax(dim=1)
    assert float((brightest > 0.02).float().mean()) < 25e-4  # each within 5×5
    assert float(light.amax()) > 0.9
    around = torch.nn.functional.max_pool2d(brightest, 5, stride=1, padding=2)
    # Between the noise and white, where nothing is clipped.
    spots = light.movedim(1, 3)[(brightest == around) & (brightest > 0.1) & (brightest < 0.9)]
    assert 15 <= len(spots) <= 60  # of 52
    # Demosaicking gives the other colours 1/2, 5/8 or 3/4 of it, and the colour matrix takes some away.
    assert (spots.amin(dim=1) < 0.65 * spots.amax(dim=1)).all()


def test_the_share_that_is_asked_for_stays_clean(draw, photograph):
    clean = photograph(batch=200, height=16, width=16)
    for share, least, most in ((0, 0, 0), (0.25, 30, 70), (1, 200, 200)):
        noisy = Noise(sigma=(20, 30), camera_share=0.3, grain_share=0.3, clean_share=share)(clean, draw())
        assert least <= int((noisy == clean).all(dim=3).all(dim=2).all(dim=1).sum()) <= most


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (CameraNoise, {"colour_kept": (0, 1.5)}, r"colour_kept is \(0, 1\.5\); expected 0 to 1, the lower end first"),
        (CameraNoise, {"hot_pixels": (0, 2)}, r"hot_pixels is \(0, 2\); expected 0 to 1, the lower end first"),
        (CameraNoise, {"banding": (-1, 0)}, r"banding is \(-1, 0\); expected 0 to 1e\+06, the lower end first"),
        (Noise, {"clean_share": 1.5}, r"clean_share is 1\.5; expected 0 to 1"),
    ],
)
def test_what_a_camera_does_beside_has_its_limits(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind(**settings)

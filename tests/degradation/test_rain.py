from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mprnet.degradation import Rain, RainLayers, rain_layer

PLAIN = {"veil_share": 0, "linear_share": 0, "dry_share": 0}


def correlation(layer, rows, columns):
    """How alike a field and itself moved by so many pixels are: 1 is the same, 0 has nothing to do with it."""
    centred = layer - layer.mean()
    return float((centred * centred.roll((rows, columns), (-2, -1))).mean() / centred.square().mean())


@pytest.mark.parametrize("linear_share", [0, 1])
def test_rain_only_adds_light(draw, photograph, linear_share):
    clean = photograph(batch=6)
    rainy = Rain(veil_share=0, linear_share=linear_share, dry_share=0)(clean, draw())
    assert bool((rainy >= clean - 1e-5).all())
    assert (rainy - clean).amax(dim=(1, 2, 3)).min() > 0.01


def test_streaks_are_grey(draw):
    rain = Rain(**PLAIN)(torch.full((2, 3, 32, 32), 0.2), draw()) - 0.2
    assert torch.equal(rain[:, 0], rain[:, 1])
    assert torch.equal(rain[:, 0], rain[:, 2])


def test_the_light_that_is_added_is_coverage_times_brightness(draw):
    rain = Rain(layers=(1, 3), coverage=(0.5, 0.5), brightness=(0.1, 0.1)).streaks(4, (128, 128), draw())
    assert float(rain.mean()) == pytest.approx(0.87 * 0.5 * 0.1, rel=0.1)
    assert rain.min() >= 0


def test_dense_rain_is_dimmed(draw):
    dense = {"coverage": (4.0, 4.0), "brightness": (0.3, 0.3)}
    assert float(Rain(**dense, most_light=0.2).streaks(2, (96, 96), draw()).mean()) == pytest.approx(
        0.87 * 0.2, rel=0.1
    )


def test_streaks_fall_along_their_direction(draw):
    upright = Rain(layers=(1, 1), tilt_deg=0, crossing_deg=0, length_px=(24, 24), coverage=(0.3, 0.3))
    layer = upright.streaks(1, (128, 128), draw())
    assert correlation(layer, 8, 0) > 0.4
    assert abs(correlation(layer, 0, 8)) < 0.1


def test_streaks_are_about_as_wide_and_long_as_asked(draw):
    settings = {"layers": (1, 1), "tilt_deg": 0, "crossing_deg": 0, "coverage": (0.3, 0.3)}
    thin, wide = (
        Rain(**settings, length_px=(30, 30), sigma_px=(sigma, sigma)).streaks(1, (128, 128), draw())
        for sigma in (0.5, 1.0)
    )
    # Two Gaussian profiles of deviation s, d apart, overlap by exp(-d² / 4 s²).
    assert correlation(thin, 0, 2) == pytest.approx(0.02, abs=0.1)
    assert correlation(wide, 0, 2) == pytest.approx(0.37, abs=0.1)
    short = Rain(**settings, length_px=(6, 6)).streaks(1, (128, 128), draw())
    assert correlation(short, 10, 0) < 0.1 < correlation(wide, 10, 0)


def test_a_tilt_leans_the_streaks(draw):
    rain = Rain(layers=(1, 1), tilt_deg=60, crossing_deg=0, length_px=(24, 24), coverage=(0.3, 0.3))
    layers = rain.streaks(8, (128, 128), draw())
    leans = [correlation(layer, 8, 8) - correlation(layer, 8, -8) for layer in layers]
    assert min(leans) < -0.15
    assert max(leans) > 0.15


def test_layers_cross(draw):
    def spread(layers):
        """How far from one direction the energy of the spectrum lies, from 0 to 1."""
        settings = {"tilt_deg": 0, "crossing_deg": 30, "length_px": (40, 40), "coverage": (0.3, 0.3)}
        power = torch.fft.fft2(Rain(layers=layers, **settings).streaks(6, (128, 128), draw())).abs().square()
        frequency = torch.fft.fftfreq(128)
        fy, fx = torch.meshgrid(frequency, frequency, indexing="ij")
        xx, yy, xy = ((power * product).sum(dim=(1, 2, 3)) for product in (fx * fx, fy * fy, fx * fy))
        return float((1 - ((xx - yy).square() + 4 * xy.square()).sqrt() / (xx + yy)).mean())

    assert spread((4, 4)) > 1.5 * spread((1, 1))


def test_a_veil_brightens_and_dims_what_is_behind_it(draw):
    clean = torch.zeros(4, 1, 32, 32)
    clean[..., 16:] = 0.6
    faint = {"brightness": (1e-6, 1e-6), "linear_share": 0, "dry_share": 0}
    veiled = Rain(**faint, veil_share=1)(clean, draw())
    dark, bright = veiled[..., :16].mean(dim=(1, 2, 3)), veiled[..., 16:].mean(dim=(1, 2, 3))
    assert bool((dark > 0.015).all())
    assert bool((bright - dark < 0.6).all())
    assert torch.allclose(Rain(**faint, veil_share=0)(clean, draw()), clean, atol=1e-4)


def test_light_that_is_added_as_light_shows_less_where_it_is_bright(draw):
    clean = torch.full((1, 1, 64, 64), 0.1)
    clean[..., 32:] = 0.7
    even, linear = (
        (
            Rain(coverage=(0.5, 0.5), brightness=(0.1, 0.1), veil_share=0, linear_share=share, dry_share=0)(
                clean, draw()
            )
            - clean
        )
        for share in (0, 1)
    )
    assert float(even[..., :32].mean() / even[..., 32:].mean()) == pytest.approx(1, abs=0.25)
    assert float(linear[..., :32].mean() / linear[..., 32:].mean()) > 2


def test_the_layer_is_what_rain_added_even_where_a_channel_is_white():
    layer = torch.zeros(4, 5)
    layer[1, 2] = 0.3
    clean = torch.tensor([0.9, 0.5, 0.2]).view(3, 1, 1).expand(3, 4, 5)
    assert torch.allclose(rain_layer((clean + layer).clamp(0, 1), clean), layer)


def test_real_layers_are_laid_over_in_any_size(draw):
    layer = torch.arange(12.0).view(3, 4) / 100 + 0.1
    rain = RainLayers((layer,), gain=(1, 1), sparse_share=0, dry_share=0)
    for size in ((2, 2), (3, 4), (7, 9)):
        rainy = rain(torch.zeros(3, 3, *size), draw())
        assert set(rainy.unique().tolist()) <= set(layer.unique().tolist())
        assert torch.equal(rainy[:, 0], rainy[:, 2])
    piece = rain(torch.zeros(1, 1, 3, 4), draw())[0, 0]
    assert torch.equal(piece, layer) or torch.equal(piece, layer.flip(1))


def test_enlarged_rain_is_wider_and_longer_and_no_brighter(draw):
    settings = {"layers": (1, 1), "tilt_deg": 0, "crossing_deg": 0, "coverage": (0.3, 0.3), "brightness": (0.1, 0.1)}
    small = Rain(**settings, length_px=(12, 12), sigma_px=(0.5, 0.5))
    plain, enlarged = (
        replace(small, enlarged_share=share, enlarge=(2, 2)).streaks(2, (128, 128), draw()) for share in (0, 1)
    )
    for rows, columns in ((0, 1), (0, 2), (6, 0)):
        there = correlation(enlarged, 2 * rows, 2 * columns)
        assert there == pytest.approx(correlation(plain, rows, columns), abs=0.1)
    assert float(enlarged.mean()) == pytest.approx(float(plain.mean()), rel=0.1)


def test_real_layers_are_enlarged(draw):
    layer = torch.zeros(32, 32)
    layer[:, ::8] = 0.5
    rain = RainLayers((layer,), gain=(1, 1), sparse_share=0, dry_share=0, enlarged_share=1, enlarge=(2, 2))
    row = rain(torch.zeros(1, 1, 40, 40), draw())[0, 0]
    assert torch.allclose(row, row[:1].expand_as(row), atol=1e-6)
    bright = (row[0] > 0.2).nonzero().flatten()
    assert len(bright) in {4, 5, 6}  # every 16 pixels one streak of two
    assert bright.diff().max() == 15
    assert rain(torch.zeros(2, 3, 5, 131), draw()).shape == (2, 3, 5, 131)


def test_a_share_of_the_rain_is_enlarged(draw):
    layer = torch.zeros(64, 64)
    layer[::2] = 0.5
    rain = RainLayers((layer,), gain=(1, 1), sparse_share=0, dry_share=0, enlarged_share=0.5, enlarge=(2, 3))
    steps = rain(torch.zeros(60, 1, 24, 24), draw()).diff(dim=2).abs().amin(dim=(1, 2, 3))
    assert 15 < int((steps > 0.49).sum()) < 45


def test_every_layer_is_used(draw):
    rain = RainLayers(
        tuple(torch.full((8, 8), value) for value in (0.1, 0.2, 0.3)), gain=(1, 1), sparse_share=0, dry_share=0
    )
    added = rain(torch.zeros(30, 1, 4, 4), draw()).amax(dim=(1, 2, 3))
    assert sorted(set(added.tolist())) == pytest.approx([0.1, 0.2, 0.3])


def test_sparse_rain_keeps_the_brightest_streaks(draw):
    layer = torch.zeros(16, 16) + 0.1
    layer[:, ::8] = 0.5
    rainy = RainLayers((layer,), gain=(1, 1), sparse_share=1, dry_share=0)(torch.zeros(4, 1, 16, 16), draw())
    assert float((rainy > 0.3).float().mean()) == pytest.approx(2 / 16)
    assert float((rainy < 0.06).float().mean()) == pytest.approx(14 / 16)


def test_the_gain_is_drawn(draw):
    rain = RainLayers((torch.full((4, 4), 0.4),), gain=(0.5, 2), sparse_share=0, dry_share=0)
    added = rain(torch.zeros(50, 1, 4, 4), draw()).amax(dim=(1, 2, 3))
    assert 0.2 <= added.min() < 0.25
    assert 0.6 < added.max() <= 0.8


def test_some_pictures_stay_dry(draw, photograph):
    clean = photograph(batch=40)
    layer = torch.full((8, 8), 0.3)
    for rain in (Rain(dry_share=0.5), RainLayers((layer,), sparse_share=0, dry_share=0.5)):
        rainy = rain(clean, draw())
        dry = [torch.equal(picture, given) for picture, given in zip(rainy, clean, strict=True)]
        assert 10 < sum(dry) < 30


def test_real_rain_falls_on_pictures_of_any_size():
    large = torch.zeros(1, 3, 1, 2**24 + 9)
    rainy = RainLayers((torch.rand(4, 64),), dry_share=0)(large, torch.Generator().manual_seed(0))
    assert rainy.shape == large.shape
    assert rainy.amax() > 0


def test_sharpening_opposes_what_lies_beside_a_streak(draw):
    dense = {**PLAIN, "coverage": (2, 2), "brightness": (0.1, 0.1), "sigma_px": (0.7, 0.7), "crossing_deg": 0}
    plain, sharp = (
        Rain(**dense, sharpening=(amount, amount))(torch.full((4, 1, 96, 96), 0.4), draw()) for amount in (0, 1)
    )
    assert float(sharp.mean()) == pytest.approx(float(plain.mean()), abs=0.01)
    assert float(sharp.std()) > 1.2 * float(plain.std())
    assert correlation(sharp, 0, 2) < correlation(plain, 0, 2) - 0.05


def test_sharpening_leaves_the_picture_alone(draw, photograph):
    clean = photograph()
    faint = Rain(**PLAIN, brightness=(1e-6, 1e-6), sharpening=(1.5, 1.5))
    assert torch.allclose(faint(clean, draw()), clean, atol=1e-4)


def test_rain_is_compressed_and_dry_pictures_are_not(draw, photograph):
    clean = photograph(batch=4)
    stored = {"jpeg_share": 1, "quality": (30, 30), "veil_share": 0}
    rainy, dry = (Rain(**stored, dry_share=share)(clean, draw()) for share in (0, 1))
    assert torch.allclose(rainy * 255, (rainy * 255).round(), atol=1e-3)
    assert torch.equal(dry, clean)


def test_layers_of_8_bits_give_the_rain_of_those_of_floats(draw):
    layer = torch.randint(0, 256, (20, 30), generator=draw(3), dtype=torch.uint8)
    clean = torch.rand(4, 3, 24, 24, generator=draw(4))
    floats, bits = (RainLayers((kept,), enlarged_share=0.5)(clean, draw(5)) for kept in (layer / 255, layer.numpy()))
    assert torch.equal(floats, bits)

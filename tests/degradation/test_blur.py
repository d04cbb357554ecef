from __future__ import annotations

import math

import pytest
import torch

from mprnet.degradation import MotionBlur
from mprnet.degradation.jpeg import jpeg
from mprnet.degradation.light import to_display, to_linear
from mprnet.errors import ConfigError

STILL = {"noise_sigma": (0, 0), "sharp_share": 0, "roll_share": 0, "object_share": 0}


def dots(places, size=96, sigma=1.5):
    """A dark picture with soft dots of light, each 1 in all, at these (x, y) from the middle."""
    axis = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    light = sum(torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for cx, cy in places)
    return to_display(light).expand(1, 3, size, size)


def moments(picture):
    """Centre `(x, y)` and covariance of the light of `(C, H, W)`, about the middle of the picture."""
    light = to_linear(picture.double()).mean(dim=0)
    light = light * (light > 1e-4)  # what bicubic sampling leaves round the dot
    light = light / light.sum()
    axis = torch.arange(light.shape[0]) - (light.shape[0] - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    places = torch.stack((x, y)).flatten(1).double()
    centre = (places * light.flatten()).sum(dim=1)
    offset = places - centre[:, None]
    return centre, (offset * light.flatten()) @ offset.T


def test_a_constant_stays_constant(draw):
    grey = torch.full((4, 3, 24, 40), 0.37)
    assert torch.allclose(MotionBlur(noise_sigma=(0, 0))(grey, draw()), grey, atol=1e-4)


def test_light_is_kept(draw):
    clean = dots([(0, 0), (8, -5)])
    for seed in range(4):
        blurred = MotionBlur(**STILL)(clean, draw(seed))
        assert float(to_linear(blurred).mean()) == pytest.approx(float(to_linear(clean).mean()), rel=0.01)
        assert blurred.max() < 0.95 * clean.max()


def test_the_sharp_picture_lies_in_the_middle_of_the_blurred_one(draw):
    for seed in range(4):
        centre, _ = moments(MotionBlur(**STILL, extent_px=(16, 16))(dots([(0, 0)]), draw(seed))[0])
        assert centre.abs().max() < 0.2


def test_the_extent_is_the_larger_side_of_the_path(draw):
    for seed in range(4):
        blurred = MotionBlur(**STILL, extent_px=(20, 20))(dots([(0, 0)], sigma=0.7), draw(seed))
        lit = to_linear(blurred)[0, 0] > 2e-3
        sides = [int(line.nonzero().max() - line.nonzero().min()) for line in (lit.any(0), lit.any(1))]
        assert 19 <= max(sides) <= 25


def test_with_much_inertia_the_path_is_straight_and_with_little_it_wanders(draw):
    def narrowness(inertia):
        blur = MotionBlur(**STILL, extent_px=(20, 20), inertia=(inertia, inertia))
        return [eccentricity(moments(blur(dots([(0, 0)]), draw(seed))[0])[1]) for seed in range(4)]

    def eccentricity(covariance):
        least, most = torch.linalg.eigvalsh(covariance)
        return float((least - 1.5**2) / (most - 1.5**2))

    assert max(narrowness(1000)) < 0.02
    assert max(narrowness(0.05)) > 0.1


def test_a_path_lingers_where_it_turns(draw):
    """Positions lie closest where the velocity is least, so light is not spread evenly along the path."""
    path, _ = MotionBlur(extent_px=(20, 20), inertia=(0.1, 0.1))._path(40, draw())
    steps = path.diff(dim=1)
    lengths = steps.norm(dim=-1)
    assert (lengths.std(dim=1) / lengths.mean(dim=1)).mean() > 0.3  # 0.52 of a path without an end
    straightness = torch.cosine_similarity(steps[:, 1:], steps[:, :-1], dim=-1)
    slow = lengths[:, 1:] < lengths.median(dim=1, keepdim=True).values
    assert straightness[slow].mean() < straightness[~slow].mean() - 0.1


def test_every_picture_of_a_batch_is_blurred_along_a_path_of_its_own_extent(draw):
    noise = torch.rand(1, 3, 48, 48, generator=draw(5)).expand(40, -1, -1, -1)
    left = MotionBlur(**STILL, extent_px=(0.1, 24), inertia=(1000, 1000))(noise, draw()).std(dim=(1, 2, 3))
    assert left.max() > 3 * left.min()


def test_the_kernel_varies_over_the_picture_when_the_camera_rolls(draw):
    corners = dots([(-28, -28), (28, 28)])

    def difference(**settings):
        blurred = to_linear(MotionBlur(**(STILL | settings), extent_px=(6, 6), field_px=0)(corners, draw(2)))[0, 0]
        first, second = blurred[4:36, 4:36], blurred[60:92, 60:92]
        return float((first - second).abs().sum() / first.sum())

    assert difference() < 1e-3
    assert difference(roll_share=1, roll_deg=10) > 0.2


def test_without_a_roll_the_faster_way_gives_the_same_blur(draw):
    noise = torch.rand(6, 3, 21, 40, generator=draw(5))  # lower than the blur is long, so it is mirrored twice
    settings = {"extent_px": (3, 30), "noise_sigma": (0, 0), "sharp_share": 0, "object_share": 0.5, "roll_share": 1}
    settings["exposures"] = 72
    still = MotionBlur(**settings, roll_deg=0)(noise, draw())  # a roll of 0: as a convolution
    barely = MotionBlur(**settings, roll_deg=1e-7)(noise, draw())  # sampled position by position
    assert float((to_linear(still) - to_linear(barely)).abs().max()) < 1e-4
    assert float((still - noise).abs().max()) > 0.1


def test_fewer_positions_of_short_rolled_paths_give_nearly_the_same_blur(draw):
    noise = torch.rand(6, 3, 21, 40, generator=draw(5))  # where it shows most
    settings = STILL | {"extent_px": (3, 30), "roll_share": 1}
    every_position, fewer = (to_linear(MotionBlur(**settings, roll_deg=roll)(noise, draw())) for roll in (0, 1e-7))
    assert float((every_position - fewer).abs().mean()) < 0.2 * float(
        (every_position - every_position.mean()).abs().mean()
    )


def test_a_part_moves_along_a_path_of_its_own(draw):
    places = [(x, y) for x in (-30, 0, 30) for y in (-30, 0, 30)]

    def shapes(share):
        """The covariance of the light round every dot."""
        picture = MotionBlur(**(STILL | {"object_share": share}), extent_px=(8, 8))(dots(places), draw(1))[0]
        middle = picture.shape[-1] // 2
        cut = [picture[:, middle + y - 14 : middle + y + 14, middle + x - 14 : middle + x + 14] for x, y in places]
        return torch.stack([moments(piece)[1] for piece in cut])

    alone, moving = shapes(0), shapes(1)
    assert float((alone - alone[0]).abs().max()) < 0.2
    changed = (moving - alone).abs().amax(dim=(1, 2))
    assert float(changed.max()) > 1
    assert float(changed.min()) < 0.2


def test_some_pictures_stay_sharp(draw, photograph):
    clean = photograph(batch=3)
    sharp = MotionBlur(sharp_share=1, noise_sigma=(0, 0))(clean, draw())
    assert torch.allclose(sharp, clean, atol=1e-5)


def test_one_exposure_blurs_nothing(draw, photograph):
    clean = photograph()
    assert torch.allclose(MotionBlur(**STILL, exposures=1)(clean, draw()), clean, atol=1e-5)


def test_a_short_path_is_sampled_as_often_as_it_needs(draw, photograph):
    clean, settings = photograph(), STILL | {"roll_share": 1, "roll_deg": 1e-7, "extent_px": (5, 5)}
    few, all_of_them = (MotionBlur(**settings, exposures=exposures)(clean, draw()) for exposures in (None, 12))
    assert torch.equal(few, all_of_them)
    among_long_ones = MotionBlur(**(settings | {"extent_px": (5, 24)}))
    path = torch.linspace(0, 1, 58)[None, :, None] * torch.tensor([1.0, 0.5, 0])
    few = [among_long_ones._few(path * px, torch.zeros(1, 2), (64, 64)).shape for px in (1, 5, 10, 24, 30)]
    assert few == [(1, number, 3) for number in (9, 12, 24, 58, 58)]


def test_a_roll_shows_a_large_picture_blurred_and_not_several_times_over():
    blur, path = MotionBlur(), torch.zeros(1, 58, 3)
    path[0, :, :2] = 3 * torch.linspace(0, 1, 58)[:, None]
    path[0, :, 2] = 0.02 * torch.linspace(0, 1, 58)
    few = blur._few(path, torch.tensor([[100.0, -50.0]]), (3000, 4000))
    corner = math.hypot(2100, 1550)
    steps = few.diff(dim=1).abs()[0]
    assert float(steps[:, 0].max() + corner * steps[:, 2].max()) < 1.1
    torch.testing.assert_close(few[:, [0, -1]], path[:, [0, -1]])
    assert blur._few(path, torch.zeros(1, 2), (64, 64)).shape == (1, 9, 3)
    assert MotionBlur(exposures=58)._few(path, torch.zeros(1, 2), (3000, 4000)) is path


def test_a_share_is_compressed(draw):
    noise = torch.rand(4, 3, 32, 32, generator=draw(5))
    settings = STILL | {"sharp_share": 1, "quality": (50, 50)}
    untouched, compressed = (MotionBlur(**settings, jpeg_share=share)(noise, draw()) for share in (0, 1))
    assert torch.allclose(untouched, noise, atol=1e-5)
    torch.testing.assert_close(compressed, jpeg(untouched, torch.full((4, 1, 1, 1), 50.0)), atol=1e-6, rtol=0)


def test_noise_of_the_strength_that_is_asked_is_added(draw):
    noisy = MotionBlur(noise_sigma=(0.01, 0.01))(torch.full((1, 3, 64, 64), 0.5), draw())
    assert float(noisy.std()) == pytest.approx(0.01, rel=0.05)


def test_the_margin_keeps_the_mirrored_border_out(draw):
    noise = torch.rand(8, 3, 120, 120, generator=draw(5))
    blur = MotionBlur(noise_sigma=(0, 0), sharp_share=0, object_share=0)
    assert blur.margin_px == 14
    inner = (..., slice(blur.margin_px, -blur.margin_px), slice(blur.margin_px, -blur.margin_px))
    surrounded = blur(noise, draw())[..., 20:100, 20:100]
    cropped = blur(noise[..., 20:100, 20:100], draw())
    assert torch.allclose(cropped[inner], surrounded[inner], atol=1e-4)
    assert not torch.allclose(cropped, surrounded, atol=1e-2)


@pytest.mark.parametrize("settings", [{"extent_px": (3, 20_000)}, {"exposures": 50_000}, {"roll_deg": 400}])
def test_what_would_take_all_memory_is_one_line(settings):
    with pytest.raises(ConfigError, match=rf"{next(iter(settings))} is .*; expected"):
        MotionBlur(**settings)

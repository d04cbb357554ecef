"""Local pooling against means that are taken window by window."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mprnet.errors import ConfigError
from mprnet.network import MPRNet, MPRNetConfig, set_local_pooling
from mprnet.network.blocks import ChannelAttention
from mprnet.network.local_pooling import Window

TINY = MPRNetConfig(n_feat=6, scale_unetfeats=4, scale_orsnetfeats=2, num_cab=1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MPRNet(TINY).double().eval().requires_grad_(False)


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def start_of(centre: float, window: float, size: int) -> float:
    return min(max(centre - window / 2, 0), size - window)


def test_every_window_s_mean_is_that_of_its_pixels():
    """Squares of 4, windows of 12 and 20: those around the centres of squares start and end with a pixel."""
    features = noise(2, 3, 40, 56)
    means = Window(12, 20, 4).mean(features)
    assert means.shape == (2, 3, 10, 14)
    # 12 = 3 squares and 20 = 5, so that each window is made of whole squares and its mean exact.
    for row in range(10):
        top = int(start_of(4 * row + 2, 12, 40))
        for column in range(14):
            left = int(start_of(4 * column + 2, 20, 56))
            expected = features[:, :, top : top + 12, left : left + 20].mean(dim=(2, 3))
            torch.testing.assert_close(means[:, :, row, column], expected)


def test_a_window_for_every_pixel_counts_a_pixel_that_it_cuts_by_its_part():
    features = noise(1, 2, 9, 1)
    means = Window(3.5, 1, 1).mean(features)
    for row in range(9):
        start = start_of(row + 0.5, 3.5, 9)
        parts = torch.tensor([max(0.0, min(p + 1, start + 3.5) - max(p, start)) for p in range(9)]).double()
        assert parts.sum() == 3.5
        torch.testing.assert_close(means[0, :, row, 0], (features[0, :, :, 0] * parts).sum(1) / 3.5)


def test_where_the_last_square_is_cut_off_the_mean_over_everything_is_still_exact():
    features = noise(1, 2, 20, 12)  # 2½ squares of 8 by 1½
    means = Window(20, 50, 8).mean(features)
    torch.testing.assert_close(means, features.mean(dim=(2, 3), keepdim=True))


def test_a_window_that_covers_one_axis_slides_along_the_other():
    features = noise(1, 2, 16, 32)
    means = Window(16, 8, 8).mean(features)
    assert means.shape == (1, 2, 1, 4)
    torch.testing.assert_close(means[0, :, 0], features[0].unflatten(2, (4, 8)).mean(dim=(1, 3)))
    assert Window(16, 8, 8).refine(means, features).shape == (1, 2, 1, 8)


def test_gates_between_grid_points_are_interpolated_and_serve_squares():
    gate = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 1, 1, 3).expand(1, 1, 3, 3)
    refined = Window(8, 8, 8).refine(gate, torch.empty(1, 1, 20, 24))
    assert refined.shape == (1, 1, 5, 6)  # squares of 4, which divide 20 where 8 does not
    torch.testing.assert_close(refined[0, 0, 0], torch.tensor([0.0, 0.25, 0.75, 0.75, 0.25, 0.0]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_attention_with_a_window_weighs_each_square_by_its_gate(layout):
    torch.manual_seed(0)
    attention = ChannelAttention(4, reduction=2, bias=True).double()
    attention.window = Window(8, 12, 4)
    residual, identity = (noise(2, 4, 24, 20).add(shift).to(memory_format=layout) for shift in (1, -1))
    with torch.no_grad():
        gate = attention._gate(attention.window.mean(residual))
        gate = attention.window.refine(gate, residual).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        assert gate.std(dim=(2, 3)).min() > 0
        expected = residual * gate + identity
        found = attention(residual.clone(), identity)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=layout)
    with torch.enable_grad():
        torch.testing.assert_close(attention(residual.clone(), identity).detach(), expected)


@pytest.mark.parametrize("shape", [(1, 3, 48, 64), (2, 3, 40, 24)])
def test_windows_as_large_as_the_picture_give_the_mean_over_everything(model, shape, monkeypatch):
    degraded = noise(*shape)
    whole = model(degraded)
    monkeypatch.setattr("mprnet.network.local_pooling.FACTOR", 1)
    set_local_pooling(model, 64)
    for found, expected in zip(model(degraded), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_smaller_windows_change_the_picture_and_none_brings_it_back(model):
    degraded = noise(1, 3, 72, 104)
    whole = model(degraded)
    set_local_pooling(model, 32)
    assert all((a - b).abs().max() > 1e-6 for a, b in zip(model(degraded), whole, strict=True))
    set_local_pooling(model, None)
    assert all(torch.equal(a, b) for a, b in zip(model(degraded), whole, strict=True))


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("shallow1.1", Window(48, 48, 8)),
        ("encoder1.level1.0", Window(48, 48, 8)),
        ("encoder1.level2.1", Window(24, 24, 4)),
        ("encoder1.level3.0", Window(12, 12, 2)),
        ("decoder1.level1.0", Window(48, 96, 8)),
        ("decoder1.skip1", Window(48, 96, 8)),
        ("decoder1.skip2", Window(24, 48, 4)),
        ("decoder1.level3.1", Window(12, 24, 2)),
        ("shallow2.1", Window(48, 96, 8)),
        ("encoder2.level2.0", Window(24, 48, 4)),
        ("decoder2.level3.0", Window(24, 24, 2)),
        ("decoder2.skip2", Window(48, 48, 4)),
        ("shallow3.1", Window(96, 96, 8)),
        ("orsnet.orbs.2.cabs.0", Window(96, 96, 8)),
    ],
)
def test_each_attention_gets_one_and_a_half_times_what_it_saw_of_a_crop_of_64(model, name, window):
    set_local_pooling(model, 64)
    assert model.get_submodule(f"{name}.attention").window == window


def test_every_attention_is_set_and_none_in_a_new_network(model):
    attentions = [module for module in model.modules() if isinstance(module, ChannelAttention)]
    assert all(attention.window is None for attention in attentions)
    set_local_pooling(model, 64)
    assert all(attention.window is not None for attention in attentions)


def test_what_a_crop_s_attentions_see_is_its_whole_window(model, monkeypatch):
    """With factor 1, on a picture of the size of the crops, every window is exactly all there is."""
    monkeypatch.setattr("mprnet.network.local_pooling.FACTOR", 1)
    set_local_pooling(model, 48)
    sizes = {}
    for name, module in model.named_modules():
        if isinstance(module, ChannelAttention):
            module.register_forward_hook(lambda _m, inputs, _o, n=name: sizes.update({n: inputs[0].shape[2:]}))
    model(noise(1, 3, 48, 48))
    assert len(sizes) > 20
    for name, (height, width) in sizes.items():
        window = model.get_submodule(name).window
        assert (window.height, window.width) == (height, width), name


def test_the_state_dict_does_not_tell(model):
    before = list(model.state_dict())
    set_local_pooling(model, 64)
    assert list(model.state_dict()) == before


def test_far_away_pixels_no_longer_matter(model, monkeypatch):
    degraded = noise(1, 3, 16, 512)
    changed = degraded.clone()
    changed[..., 480:] = 0
    monkeypatch.setattr("mprnet.network.local_pooling.FACTOR", 1)
    set_local_pooling(model, 16)
    moved = (model(degraded).stage3 - model(changed).stage3).abs().amax(dim=(0, 1, 2))
    assert moved[480:].max() > 1e-3
    assert moved[:16].max() == 0


def test_bfloat16_follows_float32():
    torch.manual_seed(0)
    model = MPRNet(TINY).eval().requires_grad_(False)
    set_local_pooling(model, 32)
    degraded = noise(1, 3, 48, 64).float()
    expected = model(degraded)
    low = copy.deepcopy(model).bfloat16()(degraded.bfloat16())
    for found, wanted in zip(low, expected, strict=True):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), wanted, rtol=0, atol=0.05)


def test_windows_of_a_wide_bfloat16_field_lie_where_they_do_in_float32():
    features, window = noise(1, 2, 16, 512).bfloat16(), Window(12, 13, 2)  # bfloat16 has no odd number above 256
    means = window.mean(features)
    assert means.dtype == torch.bfloat16
    torch.testing.assert_close(means.float(), window.mean(features.float()), rtol=0, atol=0.01)


@pytest.mark.parametrize("crop_px", [0, -8, 12, 64.0, True])
def test_an_impossible_crop_is_named(model, crop_px):
    with pytest.raises(ConfigError, match=f"crop_px is {crop_px}; expected a multiple of 8"):
        set_local_pooling(model, crop_px)


def test_a_network_that_restored_can_still_be_trained(model):
    model.requires_grad_(True)
    set_local_pooling(model, 32)
    degraded = noise(1, 3, 56, 72)  # of no other test, so that nothing is known of its windows
    with torch.inference_mode():
        model(degraded)
    model(degraded).stage3.mean().backward()
    assert model.tail.weight.grad is not None


def test_a_trace_leaves_nothing_behind(model):
    set_local_pooling(model, 16)
    degraded = noise(1, 3, 32, 40)
    model.float()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert model(mode.from_tensor(degraded.float())).last.shape == degraded.shape
    assert model(degraded.float()).last.isfinite().all()

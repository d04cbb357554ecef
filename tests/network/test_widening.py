"""A widened network computes what the narrow one did, and all of it can learn."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mprnet.errors import ConfigError
from mprnet.network import MPRNet, MPRNetConfig, preset, widen

NARROW = MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=2, num_cab=1)
WIDE = MPRNetConfig(n_feat=11, scale_unetfeats=5, scale_orsnetfeats=3, num_cab=2)


def build(config: MPRNetConfig = NARROW) -> MPRNet:
    torch.manual_seed(0)
    return MPRNet(config).double()


def picture(channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 4),
    sizes=st.tuples(st.integers(4, 8), st.integers(0, 4), st.integers(0, 4), st.integers(1, 2)),
    more=st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)),
    kernel_size=st.sampled_from([1, 3]),
    reduction=st.integers(1, 4),
    bias=st.booleans(),
    downsampling=st.sampled_from(["bilinear", "maxpool"]),
)
@torch.no_grad()
def test_every_stage_gives_the_pictures_of_the_narrow_network(channels, sizes, more, **others):
    names = ("n_feat", "scale_unetfeats", "scale_orsnetfeats", "num_cab")
    narrow = MPRNetConfig(in_channels=channels, out_channels=channels, **dict(zip(names, sizes, strict=True)), **others)
    larger = [size + added for size, added in zip(sizes, more, strict=True)]
    wide = dataclasses.replace(narrow, **dict(zip(names, larger, strict=True)))
    model = build(narrow)
    wider = widen(model, wide)
    assert wider.config == wide
    for ours, theirs in zip(wider(picture(channels)), model(picture(channels)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_every_weight_learns_by_the_third_step():
    model = widen(build(), WIDE)
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):  # what leads to a weight of zero has no gradient until that has left zero
        optimizer.zero_grad()
        sum((output - 0.5).square().mean() for output in model(picture())).backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        if "attention" not in name:  # of its few squeezed features the ReLU may cut off any
            still = value == begun[name]
            assert not still.flatten(1).all(dim=1).any() if value.dim() > 1 else not still.any(), name


def test_the_new_features_are_not_all_alike():
    model = widen(build(), WIDE)
    new = model.encoder1.level1[0].conv1.weight[8:]
    assert new.flatten(1).std(dim=0).min() > 0


def test_the_narrow_network_stays_as_it_is_and_shares_nothing():
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wider = widen(model, NARROW)
    with torch.no_grad():
        for parameter in wider.parameters():
            parameter.add_(1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_dtype_stays():
    assert {value.dtype for value in widen(build(), WIDE).parameters()} == {torch.float64}


def test_the_shipped_width_fits_into_the_paper_s():
    for name in ("derain", "denoise", "deblur"):
        assert widen(MPRNet(preset("lite")), preset(name)).config == preset(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_feat": 7}, "the width at full resolution would shrink from 8 to 7; expected at least 8"),
        ({"n_feat": 9, "scale_unetfeats": 2}, "the width at half resolution would shrink from 12 to 11"),
        ({"n_feat": 12, "scale_unetfeats": 1}, "the width at quarter resolution would shrink from 16 to 14"),
        ({"scale_orsnetfeats": 0}, "the width of ORSNet would shrink from 10 to 8"),
        ({"reduction": 5}, "the squeezed width at full resolution would shrink from 2 to 1"),
        ({"num_cab": 0}, "num_cab is 0"),
        ({"kernel_size": 5}, "kernel_size would change from 3 to 5; expected the same in both networks"),
        ({"bias": True}, "bias would change from False to True"),
        ({"downsampling": "maxpool"}, "downsampling would change from 'bilinear' to 'maxpool'"),
        ({"in_channels": 1, "out_channels": 1}, "in_channels would change from 3 to 1"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, message):
    with pytest.raises(ConfigError) as error:
        widen(build(), dataclasses.replace(NARROW, **changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)

from __future__ import annotations

import torch

from mprnet.bench.straightforward import Straightforward
from mprnet.network import MPRNet, MPRNetConfig


def test_the_straightforward_way_gives_the_network_s_own_pictures():
    torch.manual_seed(0)
    model = MPRNet(MPRNetConfig(n_feat=8, num_cab=1)).eval()
    degraded = torch.rand(2, 3, 24, 40)
    with torch.no_grad():
        expected = model(degraded)
    pictures = Straightforward(model, torch.device("cpu")).run(degraded, (3, 1, 2))
    for stage, picture in zip((3, 1, 2), pictures, strict=True):
        torch.testing.assert_close(picture, expected[stage - 1], rtol=0, atol=1e-6)


def test_each_quarter_and_each_half_goes_alone():
    model = MPRNet(MPRNetConfig(n_feat=8, num_cab=1)).eval()
    seen = []
    for name in ("shallow1", "shallow2", "shallow3"):
        part = getattr(model, name)
        part.register_forward_pre_hook(lambda _, inputs, name=name: seen.append((name, tuple(inputs[0].shape))))
    Straightforward(model, torch.device("cpu")).run(torch.rand(1, 3, 16, 32), (1,))
    quarters, halves = [("shallow1", (1, 3, 8, 16))] * 4, [("shallow2", (1, 3, 8, 32))] * 2
    assert seen == [*quarters, *halves, ("shallow3", (1, 3, 16, 32))]


def test_an_earlier_stage_saves_no_memory():
    straightforward = Straightforward(MPRNet(MPRNetConfig(n_feat=8, num_cab=1)), torch.device("cpu"))
    assert straightforward.bytes_per_pixel(1) == straightforward.bytes_per_pixel(3) > 0

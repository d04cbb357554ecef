from __future__ import annotations

import pytest
import torch

from mprnet.degradation.light import to_display, to_linear


@pytest.mark.parametrize(
    ("display", "linear"), [(0.0, 0.0), (0.02, 0.02 / 12.92), (0.5, 0.21404), (0.9, 0.78741), (1.0, 1.0)]
)
def test_the_curve_is_that_of_srgb(display, linear):
    assert float(to_linear(torch.tensor(display))) == pytest.approx(linear, abs=1e-5)
    assert float(to_display(torch.tensor(linear))) == pytest.approx(display, abs=1e-5)


def test_there_and_back_is_the_same():
    display = torch.linspace(0, 1, 256, dtype=torch.float64)
    assert torch.allclose(to_display(to_linear(display)), display, atol=1e-6)


def test_light_below_nothing_is_nothing():
    below = torch.tensor([-0.5, -1e-9])
    assert to_display(below).tolist() == to_linear(below).tolist() == [0, 0]

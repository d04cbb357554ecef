from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mprnet.training.loss import EDGE_WEIGHT, charbonnier, laplacian, restoration_loss

TAPS = np.array([0.05, 0.25, 0.4, 0.25, 0.05])


def picture(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def scipy_laplacian(picture: np.ndarray) -> np.ndarray:
    """`x − G(up(down(G(x))))` of a picture `(H, W)`, with the filters of SciPy."""

    def smooth(values: np.ndarray) -> np.ndarray:
        once = ndimage.correlate1d(values, TAPS, axis=0, mode="nearest")
        return ndimage.correlate1d(once, TAPS, axis=1, mode="nearest")

    sparse = np.zeros_like(picture)
    sparse[::2, ::2] = 4 * smooth(picture)[::2, ::2]
    return picture - smooth(sparse)


def numpy_loss(outputs: list[np.ndarray], target: np.ndarray, axes: tuple[int, ...] = ()) -> float:
    """Equations 1 to 3 in float64, written out: the Laplacians are taken of both pictures, then subtracted.

    The squares are averaged over `axes` before the root.
    """
    total = 0.0
    for restored in outputs:
        total += np.sqrt(np.mean((restored - target) ** 2, axes) + 1e-6).mean()
        edges = [
            [scipy_laplacian(restored[b, c]) - scipy_laplacian(target[b, c]) for c in range(target.shape[1])]
            for b in range(target.shape[0])
        ]
        total += 0.05 * np.sqrt(np.mean(np.square(edges), axes) + 1e-6).mean()
    return total


def test_charbonnier_is_the_mean_of_the_smoothed_distances():
    difference = torch.tensor([[3.0, -4.0], [0.0, 1e-3]]).view(2, 1, 1, 2)
    by_hand = (np.sqrt(9 + 1e-6) + np.sqrt(16 + 1e-6) + 1e-3 + np.sqrt(2) * 1e-3) / 4
    assert charbonnier(difference).item() == pytest.approx(by_hand, rel=1e-6)
    by_hand = (np.sqrt(12.5 + 1e-6) + np.sqrt(0.5e-6 + 1e-6)) / 2
    assert charbonnier(difference, "pictures").item() == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("root_over", ["numbers", "pictures"])
def test_charbonnier_of_equal_pictures_has_a_gradient_of_zero_not_nan(root_over):
    difference = torch.zeros(1, 3, 4, 4, requires_grad=True)
    charbonnier(difference, root_over).backward()
    assert difference.grad is not None
    assert difference.grad.abs().max() == 0


@given(height=st.integers(3, 24), width=st.integers(3, 24), seed=st.integers(0, 99))
def test_the_laplacian_is_that_of_scipy_s_filters(height, width, seed):
    given_picture = picture(seed, 2, 3, height, width)
    ours = laplacian(given_picture)
    for batch in range(2):
        for channel in range(3):
            theirs = scipy_laplacian(given_picture[batch, channel].double().numpy())
            np.testing.assert_allclose(ours[batch, channel], theirs, atol=1e-6)


def test_a_flat_picture_has_no_edges_away_from_the_border():
    edges = laplacian(torch.full((1, 3, 16, 16), 0.7))
    assert edges[..., 2:-2, 2:-2].abs().max() < 1e-6
    assert edges[..., 0, 0].abs().max() > 0.1  # the border, as in the published training


def test_a_step_has_edges_beside_it_alone():
    step = torch.zeros(1, 1, 32, 32)
    step[..., 16:] = 1
    strength = laplacian(step)[0, 0, 16].abs()
    assert strength[13:19].max() > 0.2
    assert strength[4:10].max() < 1e-6


def test_the_laplacian_is_linear():
    one, other = picture(1, 1, 3, 17, 22), picture(2, 1, 3, 17, 22)
    torch.testing.assert_close(laplacian(2 * one - 3 * other), 2 * laplacian(one) - 3 * laplacian(other))


@pytest.mark.parametrize(("root_over", "axes"), [("numbers", ()), ("pictures", (1, 2, 3))])
def test_the_loss_is_that_of_the_equations(root_over, axes):
    outputs, target = [picture(seed, 2, 3, 16, 24) for seed in (1, 2, 3)], picture(4, 2, 3, 16, 24)
    expected = numpy_loss([output.double().numpy() for output in outputs], target.double().numpy(), axes)
    assert restoration_loss(outputs, target, root_over=root_over).item() == pytest.approx(expected, rel=1e-6)


def test_every_stage_counts_once_and_the_edges_by_their_weight():
    restored, target = picture(1, 1, 3, 16, 16), picture(2, 1, 3, 16, 16)
    once = restoration_loss([restored], target)
    assert restoration_loss([restored] * 3, target).item() == pytest.approx(3 * once.item(), rel=1e-6)
    without_edges = restoration_loss([restored], target, edge_weight=0)
    assert without_edges == charbonnier(restored - target)
    edges = charbonnier(laplacian(restored - target))
    torch.testing.assert_close(once, without_edges + EDGE_WEIGHT * edges)


def test_the_loss_is_computed_in_float32_under_autocast_and_of_16_bits():
    restored, target = picture(1, 1, 3, 32, 32), picture(2, 1, 3, 32, 32)
    exact = restoration_loss([restored], target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert restoration_loss([restored], target) == exact
    half, half_target = restored.bfloat16(), target.bfloat16()
    loss = restoration_loss([half], half_target)
    assert loss.dtype == torch.float32
    assert loss == restoration_loss([half.float()], half_target.float())

from __future__ import annotations

import itertools
import math

import pytest

from mprnet.training.schedule import learning_rate


def rates(steps: int, warmup: int, peak: float = 2e-4, final: float = 1e-6) -> list[float]:
    return [learning_rate(step, steps=steps, warmup=warmup, peak=peak, final=final) for step in range(steps + 1)]


def test_the_warm_up_rises_in_equal_steps_to_the_peak():
    assert rates(100, 4)[:5] == pytest.approx([0.5e-4, 1e-4, 1.5e-4, 2e-4, 2e-4])


def test_the_cosine_falls_from_the_peak_to_the_final_rate():
    curve = rates(1000, 0)
    assert curve[0] == 2e-4
    assert curve[500] == pytest.approx((2e-4 + 1e-6) / 2)
    assert curve[250] == pytest.approx(1e-6 + (2e-4 - 1e-6) * (1 + math.sqrt(0.5)) / 2)
    assert curve[-1] == pytest.approx(1e-6)
    assert all(later < earlier for earlier, later in itertools.pairwise(curve))


def test_beyond_the_end_the_rate_stays_final():
    assert learning_rate(500, steps=100, warmup=10, peak=1.0, final=0.1) == pytest.approx(0.1)


def test_the_cosine_follows_what_is_further_on_the_steps_or_the_time():
    def rate(step, passed):
        return learning_rate(step, steps=1000, warmup=10, peak=1.0, final=0.0, passed=passed)

    assert rate(20, 0.5) == pytest.approx(0.5)
    assert rate(505, 0.1) == pytest.approx(0.5)
    assert rate(20, 1.2) == 0
    assert rate(4, 0.9) == pytest.approx(0.5)  # warm-up counts steps


def test_a_run_shorter_than_its_warm_up_only_rises():
    assert rates(3, 10, peak=1.0)[:3] == pytest.approx([0.1, 0.2, 0.3])

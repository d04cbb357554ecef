"""The table of protocols, and a pair measured by its rows."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from mprnet.errors import ConfigError, ImageError
from mprnet.evaluation import PROTOCOLS, Score, metrics, score
from mprnet.evaluation.protocols import mean_score

RANDOM = np.random.default_rng(0)
TARGET = np.kron(RANDOM.integers(40, 200, (5, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
RESTORED = (TARGET + RANDOM.integers(-9, 10, TARGET.shape)).astype(np.uint8)

EXPECTED = {
    "rain": (metrics.y_psnr(RESTORED, TARGET), metrics.y_ssim(RESTORED, TARGET)),
    **dict.fromkeys(
        ("gopro", "hide", "sidd"),
        (
            metrics.rgb_psnr(RESTORED, TARGET, data_range=255),
            metrics.rgb_ssim_3d(RESTORED, TARGET, data_range=255),
        ),
    ),
    "realblur": (
        metrics.masked_psnr(*metrics.align(RESTORED, TARGET, data_range=255)),
        metrics.masked_ssim(*metrics.align(RESTORED, TARGET, data_range=255)),
    ),
    "rgb": (
        metrics.rgb_psnr(RESTORED, TARGET, data_range=255),
        metrics.rgb_ssim_per_channel(RESTORED, TARGET, data_range=255),
    ),
}


def test_every_benchmark_has_its_row() -> None:
    assert set(PROTOCOLS) == {"rain", "gopro", "hide", "realblur", "sidd", "rgb"}
    assert all(name == row.name for name, row in PROTOCOLS.items())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_row_measures_with_its_own_metrics(name: str) -> None:
    assert score(RESTORED, TARGET, name) == pytest.approx(EXPECTED[name], abs=1e-9)
    assert score(RESTORED, TARGET, PROTOCOLS[name]) == score(RESTORED, TARGET, name)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_rows_functions_are_bound_to_its_data_range(name: str) -> None:
    row = PROTOCOLS[name]
    bound = [function for function in (row.psnr, row.ssim, row.alignment) if isinstance(function, partial)]
    assert bound or name == "rain"
    assert all(function.keywords == {"data_range": 1 if name == "sidd" else 255} for function in bound)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_same_picture_in_other_depths_scores_the_same(name: str) -> None:
    expected = score(RESTORED, TARGET, name)
    as_floats = score((RESTORED / 255).astype(np.float32), TARGET, name)
    deep = score(RESTORED.astype(np.uint16) * 257, TARGET.astype(np.uint16) * 257, name)
    assert as_floats == pytest.approx(expected, abs=1e-3)
    assert deep == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_only_sidd_sees_what_rounding_to_8_bits_takes_away(name: str) -> None:
    restored = np.clip(TARGET / 255 + 0.4 / 255, 0, 1)
    scores = score(restored, TARGET, name)
    if name == "sidd":
        assert scores.psnr == pytest.approx(20 * math.log10(255 / 0.4))
        return
    assert scores == score(TARGET, TARGET, name)
    if name != "realblur":  # the search for the alignment leaves its trace
        assert scores.psnr == math.inf


@pytest.mark.parametrize(
    ("restored", "words"),
    [
        (RESTORED.astype(np.uint16), "bit depths differ: restored uint16, target uint8"),
        (RESTORED[:-1], "sizes differ"),
        (RESTORED.astype(np.float32), r"expected \[0, 1\]; clamp or divide"),
        (np.full(TARGET.shape, np.nan), r"expected \[0, 1\]"),
        (RESTORED > 99, "picture of bool"),
        (RESTORED[..., 0], "expected an RGB picture"),
    ],
)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_pair_that_cannot_be_compared_is_an_error(name: str, restored: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        score(restored, TARGET, name)


def test_an_unknown_protocol_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'matlab': choose one of rain, gopro, hide, realblur, sidd, rgb"):
        score(RESTORED, TARGET, "matlab")


def test_one_infinite_psnr_makes_the_mean_infinite():
    assert mean_score([Score(math.inf, 1.0), Score(30.0, 0.5)]) == (math.inf, 0.75)

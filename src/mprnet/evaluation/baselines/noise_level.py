"""How strong the white noise of a picture is, from the picture alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROOT = np.sqrt(3.0)
_WAVELET = np.array([1 - _ROOT, _ROOT - 3, 3 + _ROOT, -1 - _ROOT]) / np.sqrt(32)
"""The fast filter of Daubechies with two vanishing moments: blind to flat areas and to slopes."""

_MEDIAN_OF_NORMAL = 0.6744897501960817
"""Median of the absolute value of a normal variable of deviation 1."""

_FEWEST = 64
"""Places that a median is taken of, at least."""


def estimate_sigma(degraded: NDArray[np.float32]) -> float:
    """Estimate the standard deviation of white noise by the median of the finest diagonal wavelet coefficients.

    Edges are few, so a median hardly sees them; a picture full of fine texture reads up to a few levels too much.
    Black and white cut the noise off (clipping), so places whose filter touches 0 or 1 are left out, unless fewer
    than 64 others remain.

    Args:
        degraded: `(H, W, 3)`, float32 in [0, 1]; the noise is taken as equally strong in all three colours.

    Returns:
        The standard deviation, of white = 255; 0 for a picture smaller than the filter's 4×4 pixels.

    Example:
        >>> noisy = np.random.default_rng(0).normal(0.5, 25 / 255, (64, 64, 3)).astype(np.float32)
        >>> 24 < estimate_sigma(noisy) < 26
        True

    Source: Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81, 1994.
    """
    taps = len(_WAVELET)
    if min(degraded.shape[:2]) < taps:
        return 0.0
    inside = slice(taps // 2, 1 - taps // 2), slice(taps // 2, 1 - taps // 2)  # where the filter needs no border
    diagonal = np.abs(cv2.sepFilter2D(degraded, cv2.CV_32F, _WAVELET, _WAVELET)[inside])
    cut = ((degraded <= 0) | (degraded >= 1)).astype(np.uint8)
    free = cv2.dilate(cut, np.ones((taps, taps), np.uint8))[inside] == 0
    chosen = diagonal[free] if free.sum() >= _FEWEST else diagonal
    return float(np.median(chosen) / _MEDIAN_OF_NORMAL * 255)

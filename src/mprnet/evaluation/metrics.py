"""PSNR and SSIM as the tables of the field were measured: pure functions on two pictures.

Every function takes `restored` and `target` as arrays `(H, W, 3)`, RGB, of equal size, and computes in float64. The
`y_*` functions take uint8. The others take integers or floats in `[0, data_range]`; `data_range` has no default,
because 255 and 1 are both common and the wrong one gives a believable figure. PSNR is in dB, and `inf` for identical
pictures. SSIM is at most 1. Which function belongs to which benchmark is in `mprnet.evaluation.protocols`.

There are as many SSIMs here as the field uses under one name:

- `y_ssim`: of the rounded luma, valid region (deraining);
- `rgb_ssim_3d`: the colours taken as depth of a volume, as MATLAB's `ssim` does (GoPro, HIDE, SIDD);
- `rgb_ssim_per_channel`: of each colour alone, then their mean, as most Python programs do;
- `masked_ssim`: the same after `align`, where both pictures are known (RealBlur).

Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
2004, for SSIM (Equation 13, K₁ = 0.01, K₂ = 0.03, Gaussian window of 11 taps and σ = 1.5 throughout).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mprnet.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = NDArray[Any]
    Floats = NDArray[np.float64]
    Filter = Callable[[Floats], Floats]

WINDOW_RADIUS_PX = 5
WINDOW_SIGMA_PX = 1.5
ECC_ITERATIONS = 100
ECC_FILTER_PX = 5


class AlignmentError(ImageError):
    """A picture cannot be laid over its target."""


class Alignment(NamedTuple):
    """A restored picture laid over its target: all three `(H, W, 3)` float64 in [0, 1], black where unknown."""

    restored: Floats
    target: Floats
    mask: Floats


def luma(picture: Picture) -> NDArray[np.uint8]:
    """Return the luma of MATLAB's `rgb2ycbcr`: ITU-R BT.601, 16 to 235, rounded to 8 bits.

    Args:
        picture: `(H, W, 3)` uint8, RGB.

    Returns:
        `(H, W)` uint8.

    Raises:
        ImageError: the picture is not uint8 RGB.

    Example:
        >>> luma(np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], dtype=np.uint8))
        array([[235,  16,  81]], dtype=uint8)
    """
    if picture.dtype != np.uint8:
        raise ImageError(f"luma is measured on 8-bit pictures: got {picture.dtype}, expected uint8; round it first")
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise ImageError(f"expected an RGB picture (H, W, 3): got the shape {picture.shape}")
    # The weights of BT.601 in thousandths, so that rounding is exact.
    weighted = picture.astype(np.int32) @ np.array([65481, 128553, 24966], dtype=np.int32)
    return ((weighted + 127500) // 255000 + 16).astype(np.uint8)


def y_psnr(restored: Picture, target: Picture) -> float:
    """Return the PSNR in dB of the rounded luma, as the deraining papers measure it.

    Args:
        restored: `(H, W, 3)` uint8, RGB.
        target: the same size and kind.

    Returns:
        dB; `inf` where the lumas are identical, which two slightly different pictures can have.

    Raises:
        ImageError: not uint8 RGB, or of different sizes.

    Example:
        >>> black = np.zeros((16, 16, 3), dtype=np.uint8)
        >>> round(y_psnr(black + 10, black), 2)  # ten grey levels are nine of luma
        29.05
    """
    _check_shapes(restored, target)
    return _psnr(_mean_square(luma(restored).astype(np.float64) - luma(target)), 255.0)


def y_ssim(restored: Picture, target: Picture) -> float:
    """Return the SSIM of the rounded luma, over the region where the window lies inside the picture.

    Args:
        restored: `(H, W, 3)` uint8, RGB, at least 11×11.
        target: the same size and kind.

    Returns:
        SSIM, at most 1.

    Raises:
        ImageError: not uint8 RGB, smaller than the window, or of different sizes.
    """
    _check_shapes(restored, target)
    _check_window_fits(target)
    luma_r, luma_t = (luma(picture).astype(np.float64) / 255 for picture in (restored, target))
    return float(_ssim_map(luma_r, luma_t, _blur_inside).mean())


def rgb_psnr(restored: Picture, target: Picture, *, data_range: float) -> float:
    """Return the PSNR in dB over all pixels and colours together, as MATLAB's `psnr`.

    Args:
        restored: `(H, W, 3)`, RGB, integers or floats in [0, data_range].
        target: the same size and range.
        data_range: 255 for 8-bit pictures, 65535 for 16-bit, 1 for floats.

    Returns:
        dB; `inf` for identical pictures.

    Raises:
        ImageError: not RGB, of different sizes, not finite, or integers above `data_range`.

    Example:
        >>> black = np.zeros((16, 16, 3), dtype=np.uint8)
        >>> round(rgb_psnr(black + 10, black, data_range=255), 2)
        28.13
        >>> rgb_psnr(black, black, data_range=255)
        inf
    """
    _check_shapes(restored, target)
    return _psnr(_mean_square(_normalised(restored, data_range) - _normalised(target, data_range)), 1.0)


def rgb_ssim_3d(restored: Picture, target: Picture, *, data_range: float) -> float:
    """Return what MATLAB's `ssim` gives for a colour picture: it takes the three colours for the depth of a volume.

    The Gaussian runs along height, width and colour, with replicated borders, and the mean is over the whole map. As
    the window mixes the colours, the figure is usually above that of `rgb_ssim_per_channel`.

    Args:
        restored: `(H, W, 3)`, RGB, integers or floats in [0, data_range].
        target: the same size and range.
        data_range: 255 for 8-bit pictures, 65535 for 16-bit, 1 for floats.

    Returns:
        SSIM, at most 1.

    Raises:
        ImageError: not RGB, of different sizes, not finite, or integers above `data_range`.
    """
    _check_shapes(restored, target)
    return float(_ssim_map(_normalised(restored, data_range), _normalised(target, data_range), _blur_volume).mean())


def rgb_ssim_per_channel(restored: Picture, target: Picture, *, data_range: float) -> float:
    """Return the mean of the SSIMs of red, green and blue, over the valid region, as most Python programs print.

    This is scikit-image's `structural_similarity` with `channel_axis=2`, `gaussian_weights=True` and
    `use_sample_covariance=False`; its defaults (a flat window of 7×7) are yet another figure.

    Args:
        restored: `(H, W, 3)`, RGB, integers or floats in [0, data_range], at least 11×11.
        target: the same size and range.
        data_range: 255 for 8-bit pictures, 65535 for 16-bit, 1 for floats.

    Returns:
        SSIM, at most 1.

    Raises:
        ImageError: not RGB, smaller than the window, of different sizes, not finite, or integers above `data_range`.
    """
    _check_shapes(restored, target)
    _check_window_fits(target)
    return float(_ssim_map(_normalised(restored, data_range), _normalised(target, data_range), _blur_inside).mean())


def align(restored: Picture, target: Picture, *, data_range: float) -> Alignment:
    """Lay a restored picture over its target, as RealBlur needs: its two cameras do not see exactly the same.

    The brightness is scaled by least squares; the homography that maximises the enhanced correlation coefficient
    between the grey pictures is searched from the identity; the restored picture is warped by it with cubic
    interpolation; and what came from outside the picture is masked out of both.

    Args:
        restored: `(H, W, 3)`, RGB, integers or floats in [0, data_range].
        target: the same size and range.
        data_range: 255 for 8-bit pictures, 65535 for 16-bit, 1 for floats.

    Returns:
        Both pictures and the mask (1 where known, else 0), which `masked_psnr` and `masked_ssim` take.

    Raises:
        AlignmentError: no alignment is found (a picture without structure, or two that share none).
        ImageError: as `rgb_psnr`.

    Source:
        Rim, Lee, Won, Cho, "Real-World Blur Dataset for Learning and Benchmarking Deblurring Algorithms", 2020;
        Evangelidis, Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization", 2008.
    """
    import cv2

    _check_shapes(restored, target)
    moving, fixed = (_normalised(picture, data_range).astype(np.float32) for picture in (restored, target))
    energy = float(np.square(moving, dtype=np.float64).sum())
    if energy == 0:
        raise AlignmentError("the restored picture is black everywhere, so it cannot be aligned with its target")
    moving *= np.float32(float(np.multiply(moving, fixed, dtype=np.float64).sum()) / energy)

    # An epsilon of 0 is never met: all iterations run.
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ECC_ITERATIONS, 0.0)
    fixed_grey, moving_grey = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (fixed, moving))
    everywhere = np.full(target.shape[:2], 255, dtype=np.uint8)
    search = (np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, criteria)
    lost = AlignmentError("the restored picture cannot be aligned with its target: are they the same scene?")
    try:
        _, homography = cv2.findTransformECC(fixed_grey, moving_grey, *search, everywhere, ECC_FILTER_PX)
    except cv2.error:
        raise lost from None

    def warp(picture: NDArray[np.float32], interpolation: int, border: int) -> Floats:
        height, width = target.shape[:2]
        flags = interpolation | cv2.WARP_INVERSE_MAP
        warped = cv2.warpPerspective(picture, homography, (width, height), flags=flags, borderMode=border)
        return warped.astype(np.float64)

    mask = warp(np.ones_like(moving), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    if not mask.any():
        raise lost
    return Alignment(warp(moving, cv2.INTER_CUBIC, cv2.BORDER_REFLECT) * mask, fixed * mask, mask)


def masked_psnr(restored: Floats, target: Floats, mask: Floats) -> float:
    """Return the PSNR in dB over what the mask of an `Alignment` keeps.

    Args:
        restored: `(H, W, 3)` float64 in [0, 1], 0 where the mask is.
        target: the same.
        mask: `(H, W, 3)` float64, 1 where the picture is known and 0 elsewhere.

    Returns:
        dB; `inf` for identical pictures, which after `align` are not quite so, as the search leaves a trace of a warp:
        above 100 dB for a photograph, far less for a small picture with little structure.
    """
    return _psnr(float(np.square(restored - target).sum() / mask.sum()), 1.0)


def masked_ssim(restored: Floats, target: Floats, mask: Floats) -> float:
    """Return the per-channel SSIM over what the mask of an `Alignment` keeps, 5 pixels from the border of the picture.

    Args:
        restored: `(H, W, 3)` float64 in [0, 1], 0 where the mask is, at least 11×11.
        target: the same.
        mask: `(H, W, 3)` float64, 1 where the picture is known and 0 elsewhere.

    Returns:
        SSIM, at most 1.

    Raises:
        AlignmentError: nothing is known that far from the border.
        ImageError: smaller than the window.
    """
    _check_window_fits(target)
    inner_mask = _inside(mask)
    if not inner_mask.any():
        raise AlignmentError("after the alignment restored picture and target share no more than the border")
    weighted = _ssim_map(restored, target, _blur_inside) * inner_mask
    return float(np.mean(weighted.sum(axis=(0, 1)) / inner_mask.sum(axis=(0, 1))))


def _check_shapes(restored: Picture, target: Picture) -> None:
    for name, picture in (("restored", restored), ("target", target)):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
            raise ImageError(f"expected an RGB picture (H, W, 3): `{name}` has the shape {picture.shape}")
    if restored.shape != target.shape:
        sizes = [f"{picture.shape[1]}×{picture.shape[0]}" for picture in (restored, target)]
        raise ImageError(f"the sizes differ: restored {sizes[0]}, target {sizes[1]} (width × height)")


def _check_window_fits(picture: Picture) -> None:
    side = 2 * WINDOW_RADIUS_PX + 1
    if min(picture.shape[:2]) < side:
        height, width = picture.shape[:2]
        raise ImageError(f"SSIM needs at least {side}×{side} pixels: got {width}×{height}")


def _normalised(picture: Picture, data_range: float) -> Floats:
    """Return the picture as float64 of range 1, refusing what would give a believable wrong figure."""
    if np.issubdtype(picture.dtype, np.integer):
        if picture.max() > data_range:
            raise ImageError(f"a value of {picture.max()} is above the data_range of {data_range:g}")
    elif not np.isfinite(picture).all():
        raise ImageError("a picture holds values that are not finite")
    return picture.astype(np.float64) / data_range


def _mean_square(difference: Floats) -> float:
    return float(np.square(difference).mean())


def _psnr(mean_square_error: float, peak: float) -> float:
    return math.inf if mean_square_error == 0 else 10 * math.log10(peak**2 / mean_square_error)


def _window() -> Floats:
    taps = np.exp(-0.5 * (np.arange(-WINDOW_RADIUS_PX, WINDOW_RADIUS_PX + 1) / WINDOW_SIGMA_PX) ** 2)
    return np.asarray(taps / taps.sum())


def _blur(picture: Floats) -> Floats:
    """Filter along height and width with replicated borders."""
    import cv2

    window = _window()
    return np.asarray(cv2.sepFilter2D(picture, cv2.CV_64F, window, window, borderType=cv2.BORDER_REPLICATE))


def _inside(picture: Floats) -> Floats:
    return picture[WINDOW_RADIUS_PX:-WINDOW_RADIUS_PX, WINDOW_RADIUS_PX:-WINDOW_RADIUS_PX]


def _blur_inside(picture: Floats) -> Floats:
    return _inside(_blur(picture))


def _blur_volume(picture: Floats) -> Floats:
    """Filter along height, width and colour with replicated borders."""
    channels = picture.shape[2]
    mix = np.zeros((channels, channels))
    for offset, tap in enumerate(_window(), start=-WINDOW_RADIUS_PX):
        for channel in range(channels):
            mix[min(max(channel + offset, 0), channels - 1), channel] += tap
    return _blur(picture) @ mix


def _ssim_map(restored: Floats, target: Floats, blur: Filter) -> Floats:
    """Compare two pictures of range 1 under the window that `blur` slides over them."""
    c1, c2 = 0.01**2, 0.03**2
    mean_r, mean_t = blur(restored), blur(target)
    variances = blur(restored * restored) - mean_r * mean_r + blur(target * target) - mean_t * mean_t
    covariance = blur(restored * target) - mean_r * mean_t
    numerator = (2 * mean_r * mean_t + c1) * (2 * covariance + c2)
    return np.asarray(numerator / ((mean_r * mean_r + mean_t * mean_t + c1) * (variances + c2)))

"""The methods of the text books, from OpenCV and scikit-image: what a network has to beat.

Every function takes `degraded` `(H, W, 3)`, float32 in [0, 1], of any size, and returns the same shape, float32,
nominally in [0, 1] and not clipped. `sigma` is the standard deviation of white noise, of white = 255. A kernel is
`(h, w)` with odd sides, centred, of any scale: what a point of light became in the picture.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mprnet.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


_WAVELET_PX = 8
"""The smallest side that two taps a level and their border can split."""


def nlm(degraded: Floats, *, sigma: float) -> Floats:
    """Average each pixel with those whose surroundings look alike: non-local means.

    Patches of 5×5 pixels, compared up to 6 pixels away, h = 0.6 sigma.

    Source: Buades, Coll, Morel, "A non-local algorithm for image denoising", CVPR 2005; scikit-image, fast variant.
    """
    if not sigma:
        return degraded.copy()
    unit = sigma / 255
    return _float32(
        _scikit_image().denoise_nl_means(
            degraded, patch_size=5, patch_distance=6, h=0.6 * unit, sigma=unit, fast_mode=True, channel_axis=2
        )
    )


def wavelet(degraded: Floats, *, sigma: float) -> Floats:
    """Shrink wavelet coefficients towards 0, by a threshold for each band that Bayes' rule gives: BayesShrink.

    Source: Chang, Yu, Vetterli, "Adaptive wavelet thresholding for image denoising and compression", 2000.
    """
    if not sigma:
        return degraded.copy()
    restoration = _scikit_image("pywt")
    height, width = degraded.shape[:2]
    wide_enough = np.pad(
        degraded, ((0, max(0, _WAVELET_PX - height)), (0, max(0, _WAVELET_PX - width)), (0, 0)), mode="symmetric"
    )
    has_colour = bool((degraded != degraded[..., :1]).any())
    return _float32(
        restoration.denoise_wavelet(
            wide_enough,
            sigma=sigma / 255,
            wavelet="db2",
            mode="soft",
            method="BayesShrink",
            # Which takes the noise of each colour for another: that of grey would count as two thirds of itself.
            convert2ycbcr=has_colour,
            rescale_sigma=True,
            channel_axis=2,
        )[:height, :width]
    )


def tv(degraded: Floats, *, sigma: float) -> Floats:
    """Find the picture nearest to the noisy one that varies little: total variation.

    Source: Chambolle, "An algorithm for total variation minimization and applications", 2004.
    """
    if not sigma:
        return degraded.copy()
    # The default accuracy stops before a large picture has settled.
    return _float32(_scikit_image().denoise_tv_chambolle(degraded, weight=0.7 * sigma / 255, eps=2e-6, channel_axis=2))


def unsharp(degraded: Floats, *, radius_px: float = 3.0, amount: float = 0.5) -> Floats:
    """Add what a Gaussian blur of deviation `radius_px` takes away, `amount` times: unsharp masking.

    Raises:
        ConfigError: `radius_px` is not above 0.
    """
    if not radius_px > 0:
        raise ConfigError(f"radius_px is {radius_px}; expected more than 0")
    soft = cv2.GaussianBlur(degraded, (0, 0), radius_px)
    return _float32(degraded + amount * (degraded - soft))


def wiener(degraded: Floats, *, kernel: NDArray[Any] | None = None, balance: float = 0.2) -> Floats:
    """Undo a known blur as far as the noise allows, in the spectrum: the Wiener–Hunt filter.

    Args:
        degraded: the blurred picture.
        kernel: its blur; `None` takes `generic_kernel()`.
        balance: weight of smoothness against sharpness; more noise needs more.

    Raises:
        ConfigError: not a kernel.

    Source: Hunt, "A matrix theory proof of the discrete convolution theorem", 1971; Orieux et al., 2010.
    """
    restoration = _scikit_image()
    return _deconvolved(
        degraded, kernel, lambda plane, psf: restoration.wiener(plane, psf, balance=balance, clip=False)
    )


def richardson_lucy(degraded: Floats, *, kernel: NDArray[Any] | None = None, iterations: int = 10) -> Floats:
    """Undo a known blur step by step, as the likeliest light behind counted photons: Richardson and Lucy.

    Args:
        degraded: the blurred picture.
        kernel: its blur; `None` takes `generic_kernel()`.
        iterations: more sharpen more, and raise more noise.

    Raises:
        ConfigError: not a kernel.

    Source: Richardson, "Bayesian-based iterative method of image restoration", 1972; Lucy, 1974.
    """
    restoration = _scikit_image()
    return _deconvolved(
        degraded,
        kernel,
        # A step divides by the picture it expects, which black would make 0.
        lambda plane, psf: restoration.richardson_lucy(
            plane, psf, num_iter=iterations, clip=False, filter_epsilon=1e-6
        ),
    )


def generic_kernel(deviation_px: float = 2.0) -> NDArray[np.float64]:
    """Return the blur to assume where none is known: a Gaussian, since a shake of unknown direction has no direction.

    Returns:
        `(N, N)` float64 of sum 1, N odd, reaching three deviations.
    """
    line = cv2.getGaussianKernel(2 * int(np.ceil(3 * deviation_px)) + 1, deviation_px)
    return np.asarray(line @ line.T, dtype=np.float64)


def median(degraded: Floats, *, width_px: int = 5) -> Floats:
    """Replace each pixel by the median of a square round it, each colour alone; thin streaks vanish, so does detail.

    Args:
        degraded: the picture.
        width_px: side of the square, 3 or 5.

    Raises:
        ConfigError: `width_px` is another.
    """
    if width_px not in (3, 5):
        raise ConfigError(f"width_px is {width_px}; expected 3 or 5")
    return _float32(cv2.medianBlur(np.ascontiguousarray(degraded), width_px))


def guided(degraded: Floats, *, radius_px: int = 4, softness: float = 0.3) -> Floats:
    """Smooth each colour except at its own edges: the guided filter, guided by the picture itself.

    Args:
        degraded: the picture.
        radius_px: how far the square windows reach.
        softness: standard deviation, of white = 1, below which a window counts as flat and is averaged.

    Raises:
        ConfigError: `radius_px` is below 0.

    Source: He, Sun, Tang, "Guided image filtering", ECCV 2010.
    """
    if radius_px < 0:
        raise ConfigError(f"radius_px is {radius_px}; expected 0 or more")
    side = 2 * radius_px + 1

    def mean(values: NDArray[Any]) -> NDArray[Any]:
        return cv2.blur(values, (side, side))

    centre = mean(degraded)
    variance = np.maximum(mean(degraded * degraded) - centre * centre, 0)
    slope = variance / (variance + softness**2)
    return _float32(mean(slope) * degraded + mean(centre - slope * centre))


def _deconvolved(
    degraded: Floats, kernel: NDArray[Any] | None, undo: Callable[[Floats, NDArray[np.float64]], NDArray[Any]]
) -> Floats:
    """Undo a blur of each colour; the border is mirrored first, so that it is no edge."""
    psf = _checked(generic_kernel() if kernel is None else kernel)
    up, left = (2 * side for side in psf.shape)  # far enough that the end of the frame is not seen
    height, width = degraded.shape[:2]
    mirrored = np.pad(degraded, ((up, up), (left, left), (0, 0)), mode="symmetric")
    planes = [undo(np.ascontiguousarray(mirrored[..., colour]), psf) for colour in range(3)]
    return _float32(np.stack(planes, axis=-1)[up : up + height, left : left + width])


def _checked(kernel: NDArray[Any]) -> NDArray[np.float64]:
    psf = np.asarray(kernel, dtype=np.float64)
    if psf.ndim != 2 or not all(side % 2 for side in psf.shape):
        raise ConfigError(
            f"the kernel has the shape {psf.shape}: expected (h, w) with odd sides, so that it has a middle"
        )
    if not (np.isfinite(psf).all() and psf.min() >= 0 and psf.sum() > 0):
        raise ConfigError("the kernel has negative values, or none above 0: expected shares of light")
    return np.asarray(psf / psf.sum())


def _scikit_image(*others: str) -> Any:
    """Return `skimage.restoration`, or say how to install what is missing."""
    missing = [package for package in ("skimage", *others) if importlib.util.find_spec(package) is None]
    if missing:
        raise MissingExtraError(f'this baseline needs {" and ".join(missing)}: pip install "mprnet[evaluate]"')
    return importlib.import_module("skimage.restoration")


def _float32(picture: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(picture, dtype=np.float32)

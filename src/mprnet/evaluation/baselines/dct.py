"""Multi-scale DCT denoising: every patch is denoised in its cosine spectrum, at several sizes of the picture.

One scale takes two steps. The first keeps the coefficients of every overlapping patch that stand out of the noise;
the second shrinks the noisy coefficients as Wiener's filter would if the first result were the truth. Where patches
overlap, those that needed few coefficients count more. A patch of 8 pixels cannot tell slow noise from the picture,
so the same is done on a pyramid of halved pictures, in which slow noise is fast, and the slow part of every scale is
taken from the next coarser one.

Source: Pierazzo, Morel, Facciolo, "Multi-Scale DCT Denoising", Image Processing On Line 7, 2017, pages 288–308,
https://doi.org/10.5201/ipol.2017.201, written from its description. docs/baselines.md says which choices are ours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F

from mprnet.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

THRESHOLD = 2.5
"""Of the first step, in standard deviations of the noise; 3 is usual, and 0.2 to 0.3 dB worse on photographs."""

SCALES = 4

RECOMPOSITION = 0.5
"""Share of a coarse scale's frequencies, along each side, that is taken from it: the slow ones."""

_STRIP_COEFFICIENTS = 4_000_000
"""About how many coefficients are held at once, so that the memory does not grow with the picture's height."""


class _Settings(NamedTuple):
    patch_px: int
    recomposition: float
    threshold: float


class _Shrunk(NamedTuple):
    spectra: Tensor  # (C, N·N, H, W), what is left of every patch's coefficients
    weight: Tensor  # (C, 1, H, W), how much the patch counts where patches overlap


def multi_scale_dct(
    degraded: NDArray[np.float32],
    *,
    sigma: float,
    patch_px: int = 8,
    scales: int = SCALES,
    recomposition: float = RECOMPOSITION,
    threshold: float = THRESHOLD,
) -> NDArray[np.float32]:
    """Remove white noise of known strength.

    Args:
        degraded: `(H, W, 3)`, float32 in [0, 1], any size.
        sigma: standard deviation of the noise in each colour, of white = 255; a picture without colour has the same in
            all.
        patch_px: side N of a patch.
        scales: sizes of the picture at most, each half of the one before; 1 is DCT denoising in one scale. A scale
            whose shorter side is less than two patches is left out.
        recomposition: share of a coarse scale's frequencies, along each side, that is taken from it.
        threshold: of the first step, in standard deviations of the noise.

    Returns:
        `(H, W, 3)` float32, nominally in [0, 1], not clipped.

    Raises:
        ConfigError: a setting is out of its range.
    """
    if patch_px < 2 or scales < 1 or not 0 <= recomposition <= 1 or not threshold >= 0:
        raise ConfigError(
            f"patch_px={patch_px}, scales={scales}, recomposition={recomposition}, threshold={threshold}: "
            "expected at least 2, at least 1, 0 to 1, and 0 or more"
        )
    settings = _Settings(patch_px, recomposition, threshold)
    opponent = dct_matrix(3)  # brightness, and two differences of colours; orthonormal, so the noise stays white
    colours = torch.from_numpy(degraded.copy())
    if bool((colours == colours[..., :1]).all()):
        sigma *= math.sqrt(3)  # noise without colour is all in the brightness
    planes = (colours @ opponent.T).permute(2, 0, 1).unsqueeze(1)  # (3, 1, H, W)
    clean = _multi_scale(planes, sigma / 255, scales, settings)
    restored: NDArray[np.float32] = (clean.squeeze(1).permute(1, 2, 0) @ opponent).contiguous().numpy()
    return restored


def dct_matrix(size: int) -> Tensor:
    """Return the orthonormal DCT-II of `size` values as a matrix `(size, size)`, float32, a frequency a row.

    Example:
        >>> dct_matrix(2)
        tensor([[ 0.7071,  0.7071],
                [ 0.7071, -0.7071]])
    """
    index = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi / size * index.unsqueeze(1) * (index + 0.5)) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.float()


def patch_spectra(planes: Tensor, patch_px: int) -> Tensor:
    """Return the DCT of every overlapping patch, `(C, N·N, H − N + 1, W − N + 1)`, of planes `(C, 1, H, W)`."""
    rows = dct_matrix(patch_px).view(patch_px, 1, patch_px, 1)
    columns = rows.transpose(2, 3).repeat(patch_px, 1, 1, 1)
    return F.conv2d(F.conv2d(planes, rows), columns, groups=patch_px)


def overlapped(spectra: Tensor, patch_px: int) -> Tensor:
    """Return the sum of patches where they lie, `(C, 1, H, W)`: the transpose of `patch_spectra`."""
    rows = dct_matrix(patch_px).view(patch_px, 1, patch_px, 1)
    columns = rows.transpose(2, 3).repeat(patch_px, 1, 1, 1)
    return F.conv_transpose2d(F.conv_transpose2d(spectra, columns, groups=patch_px), rows)


def halving(size: int) -> Tensor:
    """Return the matrix `(size // 2, size)` that halves a signal by keeping the slow half of its spectrum.

    The mean stays, and white noise stays white; its standard deviation falls by √(size // 2 / size).
    """
    half = size // 2
    return math.sqrt(half / size) * dct_matrix(half).T @ dct_matrix(size)[:half]


def _multi_scale(planes: Tensor, sigma: float, scales: int, settings: _Settings) -> Tensor:
    """Denoise planes `(C, 1, H, W)` and replace their slow part by that of the denoised halved planes."""
    clean = _one_scale(planes, sigma, settings)
    height, width = planes.shape[2:]
    if scales == 1 or min(height, width) // 2 < 2 * settings.patch_px:
        return clean
    down, across = halving(height), halving(width).T
    fall = math.sqrt(down.shape[0] / height * across.shape[1] / width)  # 1/2, or a little less at odd sizes
    coarse = _multi_scale(down @ planes @ across, sigma * fall, scales - 1, settings)
    # What the coarse scale says otherwise, in its slow frequencies alone, brought back to full size.
    change = coarse - down @ clean @ across
    return clean + _raising(height, settings.recomposition) @ change @ _raising(width, settings.recomposition).T


def _raising(size: int, share: float) -> Tensor:
    """Return the matrix `(size, size // 2)` that doubles a signal, keeping the slowest `share` of its spectrum."""
    half = size // 2
    kept = math.ceil(share * half)
    return math.sqrt(size / half) * dct_matrix(size)[:kept].T @ dct_matrix(half)[:kept]


def _one_scale(planes: Tensor, sigma: float, settings: _Settings) -> Tensor:
    """Denoise planes `(C, 1, H, W)` in two steps; the border is mirrored, so that every pixel lies in N·N patches."""
    height, width = planes.shape[2:]
    margin = settings.patch_px - 1
    rows, columns = _mirrored(height, margin), _mirrored(width, margin)
    inside = slice(margin, margin + height), slice(margin, margin + width)
    noisy = planes[:, :, rows][:, :, :, columns]
    first = _denoised(noisy, None, sigma, settings)[:, :, *inside]
    guide = first[:, :, rows][:, :, :, columns]
    return _denoised(noisy, guide, sigma, settings)[:, :, *inside]


def _mirrored(side: int, margin: int) -> Tensor:
    """Return the indices of a line with `margin` more at both ends, mirrored there as often as needed."""
    index = torch.arange(-margin, side + margin) % (2 * side)
    return torch.minimum(index, 2 * side - 1 - index)


def _denoised(noisy: Tensor, guide: Tensor | None, sigma: float, settings: _Settings) -> Tensor:
    """Shrink every patch of `(C, 1, H, W)`, by its guide's coefficients if there is one, and average the patches."""
    patch_px = settings.patch_px
    total, weights = torch.zeros_like(noisy), torch.zeros_like(noisy)
    channels, _, height, width = noisy.shape
    last = height - patch_px + 1
    strip = max(1, _STRIP_COEFFICIENTS // (channels * patch_px**2 * width))
    box = torch.ones(1, 1, patch_px, 1)
    for top in range(0, last, strip):
        reach = slice(top, min(top + strip, last) + patch_px - 1)
        spectra = patch_spectra(noisy[:, :, reach], patch_px)
        if guide is None:
            shrunk = _thresholded(spectra, settings.threshold * sigma)
        else:
            shrunk = _wiener(spectra, patch_spectra(guide[:, :, reach], patch_px), sigma)
        total[:, :, reach] += overlapped(shrunk.spectra * shrunk.weight, patch_px)
        weights[:, :, reach] += F.conv_transpose2d(F.conv_transpose2d(shrunk.weight, box), box.transpose(2, 3))
    return total / weights


def _thresholded(spectra: Tensor, least: float) -> _Shrunk:
    """Drop coefficients that do not stand out of the noise; the mean of a patch (frequency 0) is kept."""
    kept = spectra.abs() > least
    kept[:, 0] = True
    return _Shrunk(spectra * kept, 1 / kept.sum(dim=1, keepdim=True))


def _wiener(spectra: Tensor, guide: Tensor, sigma: float) -> _Shrunk:
    """Shrink each coefficient by the share that the picture, as the guide has it, has in it."""
    power = guide.square()
    gain = power / (power + max(sigma, 1e-6) ** 2)
    gain[:, 0] = 1
    return _Shrunk(spectra * gain, 1 / gain.square().sum(dim=1, keepdim=True))

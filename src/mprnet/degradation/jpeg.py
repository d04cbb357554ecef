"""JPEG compression as arithmetic on tensors: what it does to the picture, without the file (ITU-T T.81)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mprnet.degradation.draw import Range, chosen, uniform

# ITU-T T.81, Annex K.1: the example tables that nearly every encoder scales by its quality setting.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# ITU-T T.871 (JFIF): RGB to Y, Cb, Cr.
_YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)


def jpeg(picture: Tensor, quality: Tensor) -> Tensor:
    """Compress and decompress a batch: RGB with the chroma at half resolution, other channels each as a grey picture.

    Args:
        picture: `(B, C, H, W)`, float, sRGB in [0, 1].
        quality: `(B, 1, 1, 1)`, 1 to 100, as libjpeg counts it; on the same device.

    Returns:
        Tensor: of the shape, dtype and device of `picture`, in [0, 1], multiples of 1/255.
    """
    height, width = picture.shape[-2:]
    # libjpeg's scaling of the tables.
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    padded = F.pad(picture.float() * 255, (0, -width % 16, 0, -height % 16), mode="replicate")
    if picture.shape[1] == 3:
        matrix = torch.tensor(_YCBCR, device=picture.device)
        ycbcr = torch.einsum("kc,bchw->bkhw", matrix, padded)
        luma = _quantize(ycbcr[:, :1] - 128, _table(_LUMA, scale)) + 128
        chroma = _quantize(F.avg_pool2d(ycbcr[:, 1:], 2), _table(_CHROMA, scale))
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
        decoded = torch.einsum("kc,bchw->bkhw", torch.linalg.inv(matrix), torch.cat((luma, chroma), dim=1))
    else:
        decoded = _quantize(padded - 128, _table(_LUMA, scale)) + 128
    return (decoded[..., :height, :width].round() / 255).clamp(0, 1).to(picture.dtype)


def partly_compressed(pictures: Tensor, share: float, quality: Range, generator: torch.Generator) -> Tensor:
    """Store a share of the pictures `(B, C, H, W)` as JPEG, each of a quality of its own."""
    batch, device = pictures.shape[0], pictures.device
    compressed = jpeg(pictures, uniform(batch, quality, generator).to(device))
    return torch.where(chosen(batch, share, generator).to(device), compressed, pictures)


def _table(table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    steps = torch.tensor(table, dtype=torch.float32, device=scale.device) * scale  # (B, 1, 8, 8)
    return (steps + 0.5).floor().clamp(1, 255)[:, :, None, None]  # (B, 1, 1, 1, 8, 8), halves up as libjpeg does


def _quantize(plane: Tensor, steps: Tensor) -> Tensor:
    """Round the cosine coefficients of each 8×8 block of `(B, C, H, W)` to multiples of `steps`."""
    batch, channels, height, width = plane.shape
    k = torch.arange(8, device=plane.device)
    dct = torch.cos(math.pi / 8 * (k.view(1, 8) + 0.5) * k.view(8, 1)) / 2  # orthonormal, frequency × place
    dct[0] /= math.sqrt(2)
    blocks = plane.view(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = dct @ blocks @ dct.T
    blocks = dct.T @ ((coefficients / steps).round() * steps) @ dct
    return blocks.transpose(3, 4).reshape(batch, channels, height, width)

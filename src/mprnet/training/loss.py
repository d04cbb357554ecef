"""The loss of Equations 1 to 3."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-3
EDGE_WEIGHT = 0.05
_BURT_ADELSON = (0.05, 0.25, 0.4, 0.25, 0.05)


def charbonnier(difference: Tensor) -> Tensor:
    """Return the mean over pixels and channels of `sqrt(d² + ε²)`, ε = 10⁻³.

    The paper writes the norm of the whole picture; the published training takes the mean over its numbers,
    which does not grow with the crop, and so do we.

    Args:
        difference: restored minus target, any shape, float.

    Example:
        >>> round(charbonnier(torch.zeros(1, 3, 4, 4)).item(), 6)
        0.001

    Source: Equation 2.
    """
    return (difference.square() + EPSILON**2).sqrt().mean()


def laplacian(picture: Tensor) -> Tensor:
    """Return what a Gaussian pyramid's next level cannot hold: `x − G(up(down(G(x))))`.

    The paper only says "Laplacian operator". The published training takes this one: G is the 5-tap Burt–Adelson
    kernel along each axis with the border repeated, down keeps every second pixel, up puts zeros between
    them and multiplies by 4.

    Args:
        picture: `(B, C, H, W)`, float.

    Source: Equation 3; Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983.
    """
    smooth = _smooth(picture)
    sparse = torch.zeros_like(smooth)
    sparse[..., ::2, ::2] = 4 * smooth[..., ::2, ::2]
    return picture - _smooth(sparse)


def _smooth(picture: Tensor) -> Tensor:
    channels = picture.shape[1]
    taps = picture.new_tensor(_BURT_ADELSON)
    kernel = torch.outer(taps, taps).expand(channels, 1, 5, 5)
    return F.conv2d(F.pad(picture, (2, 2, 2, 2), mode="replicate"), kernel, groups=channels)


def restoration_loss(outputs: Sequence[Tensor], target: Tensor, edge_weight: float = EDGE_WEIGHT) -> Tensor:
    """Return the loss of all stages: Charbonnier plus `edge_weight` times the Charbonnier of the Laplacians.

    Args:
        outputs: the picture of each stage, each `(B, C, H, W)`, any float dtype.
        target: ground truth, `(B, C, H, W)`, float.
        edge_weight: λ of Equation 1.

    Returns:
        Tensor: a float32 scalar, the sum over the stages.

    Source: Equations 1 and 3.
    """
    total = torch.zeros((), device=target.device)
    for restored in outputs:
        difference = restored.float() - target.float()
        # The Laplacian is linear: that of the difference is the difference of the two.
        total = total + charbonnier(difference) + edge_weight * charbonnier(laplacian(difference))
    return total

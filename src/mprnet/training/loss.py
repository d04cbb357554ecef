"""The loss of Equations 1 to 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

EPSILON = 1e-3
EDGE_WEIGHT = 0.05
_BURT_ADELSON = (0.05, 0.25, 0.4, 0.25, 0.05)

RootOver = Literal["numbers", "pictures"]
"""Whether the root of Equation 2 is taken of each number, or of each picture."""


def charbonnier(difference: Tensor, root_over: RootOver = "numbers") -> Tensor:
    """Return the mean of `sqrt(d² + ε²)`, ε = 10⁻³.

    The published training takes the root of each number and then the mean: what is far off counts by how far. The paper
    writes the norm of the whole picture: within a picture errors count squared, as in PSNR. Ours of a picture is the
    root of the mean, which does not grow with the crop.

    Args:
        difference: restored minus target, `(B, C, H, W)`, float.
        root_over: `numbers`, as the published training; `pictures`, as the paper writes.

    Returns:
        Tensor: a scalar, at least ε.

    Example:
        >>> round(charbonnier(torch.zeros(1, 3, 4, 4)).item(), 6)
        0.001

    Source: Equation 2.
    """
    squared = difference.square()
    if root_over == "pictures":
        squared = squared.mean(dim=(1, 2, 3))
    return (squared + EPSILON**2).sqrt().mean()


def laplacian(picture: Tensor) -> Tensor:
    """Return what a Gaussian pyramid's next level cannot hold: `x − G(up(down(G(x))))`.

    The paper only says "Laplacian operator". The published training takes this one: G is the 5-tap Burt–Adelson
    kernel along each axis with the border repeated, down keeps every second pixel, up puts zeros between
    them and multiplies by 4. Repeating the border between those zeros weighs it wrongly, so that a flat picture
    vanishes everywhere but in the two rows and columns at the border.

    Args:
        picture: `(B, C, H, W)`, float.

    Returns:
        Tensor: the same shape and dtype.

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


def restoration_loss(
    outputs: Sequence[Tensor],
    target: Tensor,
    edge_weight: float = EDGE_WEIGHT,
    root_over: RootOver = "numbers",
) -> Tensor:
    """Return the loss of all stages: Charbonnier plus `edge_weight` times the Charbonnier of the Laplacians.

    Args:
        outputs: the picture of each stage, each `(B, C, H, W)`, any float dtype.
        target: ground truth, `(B, C, H, W)`, float.
        edge_weight: λ of Equation 1.
        root_over: as for `charbonnier`, of the pictures and of their Laplacians.

    Returns:
        Tensor: a float32 scalar, the sum over the stages; computed in float32 also where autocast is on.

    Example:
        >>> picture = torch.rand(1, 3, 8, 8)
        >>> round(restoration_loss([picture, picture, picture], picture).item(), 6)  # three times ε + 0.05 ε
        0.00315

    Source: Equations 1 and 3.
    """
    total = torch.zeros((), device=target.device)
    # Autocast would smooth in bfloat16, whose steps are as large as the edges that are left late in training.
    with torch.autocast(target.device.type, enabled=False):
        for restored in outputs:
            difference = restored.float() - target.float()
            # The Laplacian is linear: that of the difference is the difference of the two.
            edges = charbonnier(laplacian(difference), root_over)
            total = total + charbonnier(difference, root_over) + edge_weight * edges
    return total

"""Channel attention over a window 1.5 times as large as what training saw, in place of the whole picture.

Training shows the network crops, so its channel attentions learned means over a crop; in a large picture the mean over
everything has another distribution. At test time each can average over a window around every pixel instead.

Means are taken on a grid of one point for every 8×8 pixels of the picture, the same grid at every scale of the network.
Between its points the gates are interpolated, and one gate serves 4×4 pixels: a window moves little in so few.

Source: Chu, Chen, Chen, Lu, "Improving Image Restoration by Revisiting Global Information Aggregation", 2022.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from mprnet.errors import ConfigError
from mprnet.network.blocks import ChannelAttention

if TYPE_CHECKING:
    from torch import Tensor

    from mprnet.network.mprnet import MPRNet

FACTOR = 1.5
"""Window over training crop, as the paper has it."""

BLOCK_PX = 8
"""Distance of the grid's points in pixels of the picture."""

_SCALES = {"level2": 2, "skip2": 2, "level3": 4}
"""How much coarser than a stage's full resolution its other parts are."""


@dataclass(frozen=True)
class Window:
    """A window for the channel attention of one CAB, in pixels of the features that it sees.

    Args:
        height: of the window; it need not be whole, since a pixel that is cut counts by its part.
        width: likewise.
        block: side of the squares that have one grid point each, at their centre.
    """

    height: float
    width: float
    block: int

    def mean(self, features: Tensor) -> Tensor:
        """Average over the window around each grid point.

        Windows that would reach over a border are moved inside, and are cut to the features where they are larger.

        Args:
            features: `(B, C, H, W)`, any float dtype.

        Returns:
            Tensor: `(B, C, ⌈H/block⌉, ⌈W/block⌉)`, in the dtype and memory format of `features`; 1 in place of
                an axis that the window covers, where all means are equal. Of the pixels that a window cuts, a block's
                mean stands for each.
        """
        blocks = F.avg_pool2d(features, self.block, ceil_mode=True)
        exact = blocks.to(torch.promote_types(blocks.dtype, torch.float32))
        rows = self._coverage(features.shape[2], self.height, exact)
        columns = self._coverage(features.shape[3], self.width, exact)
        channels_last = features.is_contiguous(memory_format=torch.channels_last)
        return (rows @ exact @ columns.T).to(
            features.dtype, memory_format=torch.channels_last if channels_last else torch.contiguous_format
        )

    def refine(self, gate: Tensor, features: Tensor) -> Tensor:
        """Bring the gates of the grid points to a grid twice as fine, which always divides the features.

        Args:
            gate: of the shape that `mean` returned.
            features: `(B, C, H, W)`, what `mean` was given; H and W multiples of `block / 2`.

        Returns:
            Tensor: `(B, C, 2H/block, 2W/block)`, or 1 in place of an axis that the window covers.
        """
        if gate.shape[2:] == (1, 1):
            return gate
        factors = [2.0 if points > 1 else 1.0 for points in gate.shape[2:]]
        refined = F.interpolate(gate, scale_factor=factors, mode="bilinear", align_corners=False)
        height, width = (2 * size // self.block for size in features.shape[2:])
        return refined[..., :height, :width]

    def _coverage(self, size: int, window: float, like: Tensor) -> Tensor:
        key = (size, window, self.block, like.device, like.dtype)
        known = _known.get(key)
        if known is None:
            known = _coverage(*key)
            if not torch.compiler.is_compiling() and type(known) is torch.Tensor:  # traced, it is no array of numbers
                _keep(key, known)
        return known


_known: dict[tuple[int, float, int, torch.device, torch.dtype], Tensor] = {}
"""Coverages that were computed; pictures of one size need the same ones."""

_MOST_KNOWN = 1024  # small ones: a picture needs about a dozen

_keeping = threading.Lock()


def _keep(key: tuple[int, float, int, torch.device, torch.dtype], coverage: Tensor) -> None:
    with _keeping:
        while len(_known) >= _MOST_KNOWN:
            del _known[next(iter(_known))]  # the one that has been there longest
        _known[key] = coverage


@torch.inference_mode(False)  # what is kept from a restoration is to serve training too
def _coverage(size: int, window: float, block: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return which part of each grid point's window lies in each block along one axis: `(points, blocks)`."""
    edges = torch.arange(0, size + block, block, device=device, dtype=dtype).clamp(max=size)
    if window >= size:
        return (edges.diff() / size).unsqueeze(0)
    blocks = len(edges) - 1
    centres = torch.arange(blocks, device=device, dtype=dtype) * block + block / 2
    starts = (centres - window / 2).clamp(0, size - window).unsqueeze(1)
    covered = torch.minimum(edges[1:], starts + window) - torch.maximum(edges[:-1], starts)
    return covered.clamp(min=0) / window


def set_local_pooling(model: MPRNet, crop_px: int | None) -> None:
    """Let every channel attention average over a local window, or over the whole picture again.

    The window is `FACTOR` times what the attention saw in training: of a crop, stage 1 sees quarters and its decoder
    halves, stage 2 halves and its decoder the whole, stage 3 the whole. One that covers the features gives the mean
    over all of them. Weights do not change, and `model.state_dict()` does not tell.

    Args:
        model: the network; it is off in a new one.
        crop_px: height and width of the training crops in pixels, a multiple of 8; `None` for the whole picture.

    Raises:
        ConfigError: `crop_px` is impossible.

    Example:
        >>> from mprnet.network import MPRNet, MPRNetConfig
        >>> model = MPRNet(MPRNetConfig(n_feat=8, num_cab=1))
        >>> set_local_pooling(model, 64)
        >>> model.encoder1.level2[0].attention.window
        Window(height=24.0, width=24.0, block=4)

    Source: Chu et al., 2022.
    """
    if crop_px is not None and (type(crop_px) is not int or crop_px < BLOCK_PX or crop_px % BLOCK_PX):
        raise ConfigError(f"crop_px is {crop_px!r}; expected a multiple of {BLOCK_PX} from {BLOCK_PX}, or None")
    for part, (height, width) in model.seen():
        for name, module in part.named_modules():
            if isinstance(module, ChannelAttention):
                module.window = None
                if crop_px is not None:
                    scale = _SCALES.get(name.partition(".")[0], 1)
                    side = FACTOR * crop_px / scale
                    module.window = Window(side * height, side * width, BLOCK_PX // scale)

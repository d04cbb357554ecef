"""The network as a graph of tensor operations, which other engines can read.

It is that of the folded network (`mprnet.network.fold`), on the CPU, without tiles or clamping. Sizes stay symbolic, so
that one graph serves every picture whose sides are multiples of 8, or with padding every picture at all.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
import torch.fx.experimental._config
from torch import Tensor, nn

from mprnet.errors import ConfigError
from mprnet.imaging.padding import crop
from mprnet.network import SIZE_MULTIPLE, MPRNet
from mprnet.network.blocks import ChannelAttention
from mprnet.network.folding import FoldedMPRNet, Unfolded, fold

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_CONFIG: Any = torch.fx.experimental._config  # its `patch` is added when it is imported, which no checker sees

LONGEST_PX = 32768
"""The longest side that a graph with symbolic sizes is promised to take."""


def exported(
    model: MPRNet,
    stages: tuple[int, ...] = (3,),
    *,
    size_hw: tuple[int, int] | None = None,
    padded: bool = False,
    dtype: torch.dtype = torch.float32,
) -> ExportedProgram:
    """Trace the network into a graph, its parameters included.

    Args:
        model: the network, on any device and in any dtype; it is copied.
        stages: 1, 2 or 3 each; the graph computes what these need and returns their pictures in this order.
        size_hw: height and width in pixels that the graph is bound to, multiples of 8 unless `padded`. Without it,
            the batch, height and width are symbolic: any batch, and sides that are multiples of 8, or with `padded`
            any. With it, the batch is 1.
        padded: whether the graph itself pads as `mprnet.imaging.pad_to_multiple` does, and cuts its pictures back.
        dtype: of the parameters and of the features; pictures are float32 all the same.

    Returns:
        ExportedProgram: takes `degraded` `(B, C, H, W)`, float32 in [0, 1]; returns a tuple with a float32 picture of
            this shape a stage, not clamped.

    Raises:
        ConfigError: a stage is none, a size does not fit, or the network's channel attention averages over local
            windows (`set_local_pooling`), whose number depends on the size, and `size_hw` is missing.

    Example:
        >>> from mprnet.network import MPRNetConfig
        >>> program = exported(MPRNet(MPRNetConfig(n_feat=8, num_cab=1)), stages=(1,), size_hw=(16, 16))
        >>> [tuple(picture.shape) for picture in program.module()(torch.zeros(1, 3, 16, 16))]
        [(1, 3, 16, 16)]
    """
    if not stages or any(stage not in (1, 2, 3) for stage in stages):
        raise ConfigError(f"stages is {stages!r}; expected 1, 2 or 3 each")
    model.config.require(min(stages))
    if size_hw is None and is_local(model):
        raise ConfigError(
            "the network averages over local windows, whose number depends on the size; expected size_hw, or the mean "
            "over the whole picture (set_local_pooling(model, None))"
        )
    if size_hw is not None and (min(size_hw) < 1 or (not padded and any(side % SIZE_MULTIPLE for side in size_hw))):
        raise ConfigError(f"size_hw is {size_hw!r}; expected multiples of {SIZE_MULTIPLE} above 0")
    network = copy.deepcopy(model).to("cpu", torch.float32)  # products of rounded weights would be rounded twice
    graph = _Graph(fold(network), stages, padded).to(dtype).eval().requires_grad_(False)
    for parameter in graph.parameters():  # parts of others, or channels-last, are not read by every engine
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    # Two sides that are equal would be taken for one.
    batch, (height, width) = (2, (24, 16)) if size_hw is None else (1, size_hw)
    # Whatever the caller's defaults are: the graph is kept for others.
    degraded = torch.zeros(batch, network.config.in_channels, height, width, dtype=torch.float32, device="cpu")
    with (
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        _CONFIG.patch(backed_size_oblivious=True),
    ):  # sides of 1 are sides like others
        if is_local(network):
            graph(degraded)  # so that what the windows cover is known, and kept as numbers instead of how to find them
        shapes = None if size_hw else {"degraded": _symbolic_shape(padded)}
        return torch.export.export(graph, (degraded,), dynamic_shapes=shapes, strict=False)


def is_local(model: MPRNet) -> bool:
    """Tell whether a channel attention averages over a window instead of the whole picture."""
    return any(isinstance(part, ChannelAttention) and part.window is not None for part in model.modules())


def _symbolic_shape(padded: bool) -> dict[int, object]:
    from torch.export import Dim

    if padded:
        sides = [Dim(name, min=1, max=LONGEST_PX) for name in ("height", "width")]
    else:
        sides = [SIZE_MULTIPLE * Dim(name, min=1, max=LONGEST_PX // SIZE_MULTIPLE) for name in ("rows", "columns")]
    return {0: Dim("batch", min=1), 2: sides[0], 3: sides[1]}


class _Graph(nn.Module):
    """What is traced: padding where asked for, the network, and the pictures of the stages asked for."""

    def __init__(self, network: FoldedMPRNet | Unfolded, stages: tuple[int, ...], padded: bool) -> None:
        super().__init__()
        self.network = network
        self.stages = stages
        self.padded = padded

    def forward(self, degraded: Tensor) -> tuple[Tensor, ...]:
        height, width = degraded.shape[2:]
        if self.padded:
            degraded = _extend(_extend(degraded, 3), 2)
        pictures: tuple[Tensor, ...] = self.network(degraded, self.stages)
        return tuple(crop(picture, (height, width)) for picture in pictures) if self.padded else pictures


def _extend(picture: Tensor, dim: int) -> Tensor:
    """Extend one axis to the next multiple of 8, as `mprnet.imaging.pad_to_multiple` does, whatever its length."""
    length = picture.shape[dim]
    positions = torch.arange((length + SIZE_MULTIPLE - 1) // SIZE_MULTIPLE * SIZE_MULTIPLE, device=picture.device)
    # Not by the absolute value: where the size is fixed, OpenVINO 2026.4 takes that of whole numbers as they are.
    reflected = torch.minimum(positions, 2 * (length - 1) - positions)
    repeated = positions.clamp(max=length - 1)
    # A choice among numbers: a choice among branches would bind the graph to the one that was traced.
    return picture.index_select(dim, torch.where(reflected[-1] >= 0, reflected, repeated))

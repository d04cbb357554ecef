"""The engine that is always there: torch, computing operation by operation.

On processors the convolutions are those that torch has under private names: of oneDNN with weights laid out in advance,
what is added and the leaky ReLU included; or Winograd's of NNPACK. Each is tried once on a small picture; where torch
lacks it, or it gives something else, the public one computes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mprnet.backends.precision import DTYPES, float32_products
from mprnet.network import MPRNet, MPRNetConfig, fold
from mprnet.network.blocks import ChannelAttention
from mprnet.network.folding import Convolution, FoldedCAB

WINOGRAD_WIDTH = 40
"""ORSNet's width from which Winograd's convolutions are faster in float32: 1.5 times at 40, as fast as others at 32."""

_COPIES = {1: 8, 2: 14, 3: 14}
"""By stage: how many times the features of full resolution are held at most.

Tensors alone are 6.4, 11.6 and 11.0 times at the width of `lite`, and less at those of the paper's networks; the rest
is for the convolutions' scratch memory.
"""


class TorchBackend:
    """A network computed by torch, on a processor or a GPU."""

    name = "torch"

    def __init__(self, model: MPRNet, precision: str, device: torch.device) -> None:
        self.precision, self.device = precision, device
        self._config = model.config
        dtype = DTYPES[precision]
        # Convolutions are a fifth faster with the channels of a pixel side by side; Winograd's wants them apart.
        self._memory_format = torch.channels_last
        # Folded in 32 bits: products of weights that were rounded before would be rounded twice.
        # On the processor, since folding takes 64 bits, which not every device has.
        network = fold(copy.deepcopy(model).to("cpu", torch.float32))
        is_gated = device.type == "cpu" and all(
            _is_gated(part) for part in network.modules() if isinstance(part, FoldedCAB)
        )
        network.to(device, dtype)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device.type == "cpu":
            if dtype == torch.float32 and model.config.orsnet_width >= WINOGRAD_WIDTH and _has_winograd():
                self._memory_format = torch.contiguous_format
                if is_gated:
                    _replace(network, FoldedCAB, WinogradCAB)
                _replace(network, Convolution, WinogradConvolution)
            elif _has_packed(dtype):
                if is_gated:
                    _mark_consumers(network)
                    _replace(network, FoldedCAB, PackedCAB)
                _replace(network, Convolution, PackedConvolution)
        self._network = network

    @torch.inference_mode()
    def run(self, degraded: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Restore pictures that are padded already, as `Backend` says."""
        moved = degraded.to(self.device, torch.float32, memory_format=self._memory_format)
        # The caller's autocast would change some operations and not others.
        with float32_products(self.precision, self.device), torch.autocast(self.device.type, enabled=False):
            pictures = self._network(moved, stages)
        return tuple(picture.to(degraded.device) for picture in pictures)

    def bytes_per_pixel(self, stage: int) -> int:
        """Estimate what `run` needs for each pixel, as `Backend` says."""
        return bytes_per_pixel(self._config, stage, DTYPES[self.precision].itemsize)


def bytes_per_pixel(config: MPRNetConfig, stage: int, itemsize: int = 4) -> int:
    """Estimate what torch needs for each pixel of a tile.

    Args:
        config: the network.
        stage: 1, 2 or 3, where it is left.
        itemsize: bytes of a number: 4 for float32.
    """
    return _COPIES[stage] * config.width_of(stage) * itemsize


class WinogradConvolution(nn.Module):
    """`Convolution` by NNPACK: Winograd's algorithm with tiles of 8×8, float32, channels apart.

    It rounds 25 times as much as a direct convolution, which over the whole network changes a picture by less than
    10⁻⁵. The channels of one pixel are mixed by a matrix product, which is what a 1×1 convolution is.
    """

    def __init__(self, convolution: Convolution) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight.detach().contiguous(), convolution.bias
        self.slope = convolution.slope

    def forward(self, features: Tensor, addend: Tensor | None = None) -> Tensor:
        side = self.weight.shape[-1]
        if side == 1:
            mixed = torch.matmul(self.weight.flatten(1), features.flatten(2))  # (B, C_out, H·W)
            output = mixed.view(*mixed.shape[:2], *features.shape[2:])
            if self.bias is not None:
                output += self.bias.view(-1, 1, 1)
        elif side == 3:
            # Of a batch NNPACK computes one picture after the other anyhow, by an algorithm made for training.
            pictures = [_winograd(picture, self.weight, self.bias) for picture in torch.split(features, 1)]
            output = pictures[0] if len(pictures) == 1 else torch.cat(pictures)
        else:
            output = F.conv2d(features, self.weight, self.bias, padding=side // 2)
        if addend is not None:
            output += addend
        return output if self.slope is None else F.leaky_relu_(output, self.slope)


def _winograd(picture: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch._nnpack_spatial_convolution(picture, weight, bias, [1, 1], [1, 1])


class PackedConvolution(nn.Module):
    """`Convolution` by oneDNN in one pass over memory: weights in its own layout, sum and leaky ReLU in the kernel."""

    def __init__(self, convolution: Convolution) -> None:
        super().__init__()
        self.padding = [convolution.weight.shape[-1] // 2] * 2
        self.packed = _pack(convolution.weight.detach())
        self.bias = convolution.bias
        self.after = ("none", []) if convolution.slope is None else ("leaky_relu", [convolution.slope])

    def forward(self, features: Tensor, addend: Tensor | None = None) -> Tensor:
        features = features.contiguous(memory_format=torch.channels_last)
        if addend is not None:
            return _add_convolution(addend, features, self.packed, self.bias, self.padding)
        ones = [1, 1]
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(
            features, self.packed, self.bias, self.padding, ones, ones, 1, *self.after, ""
        )
        return output


def _pack(weight: Tensor) -> Tensor:
    side, ones = weight.shape[-1], [1, 1]
    padding, like = [side // 2, side // 2], [1, weight.shape[1], 256, 256]  # the size is a hint
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weight, padding, ones, ones, 1, like)
    return packed


def _add_convolution(
    addend: Tensor, features: Tensor, packed: Tensor, bias: Tensor | None, padding: list[int]
) -> Tensor:
    """Add a convolution to `addend`, in place."""
    ones = [1, 1]
    total: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
        addend, features, packed, bias, padding, ones, ones, 1, "add", 1.0, None, [], None
    )
    return total


class Gates(nn.Module):
    """The two layers of a channel attention, of means already taken, in float32."""

    def __init__(self, attention: ChannelAttention) -> None:
        super().__init__()
        self.squeeze, self.excite = (
            (layer.weight.detach().float().flatten(1), None if layer.bias is None else layer.bias.detach().float())
            for layer in (attention.squeeze, attention.excite)
        )

    def forward(self, mean: Tensor) -> Tensor:
        """Return a gate a channel, `(B, C)`, of `(B, C)`."""
        return torch.sigmoid(F.linear(F.relu(F.linear(mean, *self.squeeze)), *self.excite))


@torch.inference_mode()
def _is_gated(cab: FoldedCAB) -> bool:
    """Tell whether the channel attention of a CAB, in float32, is what `Gates` computes; a changed one is not."""
    channels = len(cab.conv2.weight)
    wave = torch.arange(2 * channels * 6, dtype=torch.float32, device="cpu").sin()
    residual, identity = wave.view(2, 1, channels, 2, 3)
    try:
        gates = Gates(cab.attention)
        if cab.attention.window is not None:  # then it computes itself
            return True
        with torch.autocast("cpu", enabled=False):
            expected = residual * gates(residual.mean((2, 3)))[..., None, None] + identity
            attended = cab.attention(residual.clone(), identity)
        return torch.allclose(attended, expected, rtol=0, atol=1e-4, equal_nan=True)
    except (AttributeError, RuntimeError, TypeError):  # its layers are others
        return False


class WinogradCAB(nn.Module):
    """`FoldedCAB` for each picture of a batch alone, as NNPACK computes, without joining them in between."""

    def __init__(self, cab: FoldedCAB) -> None:
        super().__init__()
        self.conv1, self.conv2 = WinogradConvolution(cab.conv1), WinogradConvolution(cab.conv2)
        self.attention, self.gates = cab.attention, Gates(cab.attention)

    def forward(self, features: Tensor) -> Tensor:
        if self.attention.window is not None:
            attended: Tensor = self.attention(self.conv2(self.conv1(features)), features)
            return attended
        weighed = torch.empty_like(features)
        for index in range(len(features)):
            one = slice(index, index + 1)
            residual = self.conv2(self.conv1(features[one]))
            gate = self.gates(residual.mean((2, 3)))[..., None, None]
            torch.addcmul(features[one], residual, gate, out=weighed[one])
        return weighed


class PackedCAB(nn.Module):
    """`FoldedCAB` with the gates of its attention in the weights of its second convolution.

    The mean of what a convolution gives follows from sums of what it is given, so the gates are known before it: then
    it can gate, and add the identity path, in the one pass in which it computes.
    """

    def __init__(self, cab: FoldedCAB) -> None:
        super().__init__()
        self.conv1, self.conv2 = PackedConvolution(cab.conv1), PackedConvolution(cab.conv2)
        self.attention, self.gates = cab.attention, Gates(cab.attention)
        self.consumes: bool = getattr(cab, "consumes", False)
        weight = cab.conv2.weight.detach().float()
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.of_sums = _weights_of_sums(weight) if weight.shape[-1] == 3 else None

    def forward(self, features: Tensor) -> Tensor:
        inner = self.conv1(features)
        if self.attention.window is not None or self.of_sums is None:
            attended: Tensor = self.attention(self.conv2(inner), features)
            return attended
        weighed = features if self.consumes else features.clone(memory_format=torch.channels_last)
        mean = _sums(inner) @ self.of_sums / inner[0, 0].numel()
        bias = self.conv2.bias
        gates = self.gates(mean if bias is None else mean + bias)
        for index, gate in enumerate(gates):
            one, packed = slice(index, index + 1), _pack((self.weight * gate.view(-1, 1, 1, 1)).to(inner.dtype))
            gated_bias = None if bias is None else (bias * gate).to(inner.dtype)
            _add_convolution(weighed[one], inner[one], packed, gated_bias, [1, 1])
        return weighed


def _sums(features: Tensor) -> Tensor:
    """Add up features over the picture, its edges, and its corners: `(B, 9C)`, float32; see `_weights_of_sums`."""
    # A product with ones: adding over both axes is slow where channels lie side by side, above all in 16 bits.
    ones = features.new_ones(1, features.shape[3])
    rows = torch.matmul(ones, features.permute(0, 2, 3, 1)).squeeze(2).float()  # (B, H, C)
    left_right = torch.stack((features[..., 0], features[..., -1]), dim=1).float()  # (B, 2, C, H)
    parts = (rows.sum(1), rows[:, 0], rows[:, -1], left_right.sum(3), left_right[..., 0], left_right[..., -1])
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def _weights_of_sums(weight: Tensor) -> Tensor:
    """Return what turns sums of features into the sum of their 3×3 convolution with `weight`: `(9C, C_out)`.

    Every tap adds up the picture, without the row or column that it cannot see: one that looks up sees the padding
    above the top instead of the bottom row. A corner is in a row and a column, and must not be taken off twice.
    """
    taps = weight.permute(2, 3, 1, 0)  # (3, 3, C, C_out)
    top, bottom, left, right = 2, 0, 2, 0  # by what does not see it
    return torch.cat(
        (
            taps.sum((0, 1)),
            *(-taps[row].sum(0) for row in (top, bottom)),
            *(-taps[:, column].sum(0) for column in (left, right)),
            *(taps[row, column] for row in (top, bottom) for column in (left, right)),
        )
    )


def _mark_consumers(network: nn.Module) -> None:
    """Let each CAB that follows another write over its input, which nobody else reads."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for cab in list(module)[1:]:
                cab.consumes = True  # type: ignore[assignment]


def _replace(module: nn.Module, old: type[nn.Module], new: Callable[..., nn.Module]) -> None:
    """Put `new(part)` in the place of each part that is an `old`."""
    for name, part in module.named_children():
        if isinstance(part, old):
            setattr(module, name, new(part))
        else:
            _replace(part, old, new)


@lru_cache
def _has_winograd() -> bool:
    return bool(torch.backends.nnpack.is_available()) and _agrees(WinogradConvolution, torch.float32)  # type: ignore[no-untyped-call]


@lru_cache
def _has_packed(dtype: torch.dtype) -> bool:
    return bool(torch.backends.mkldnn.is_available()) and _agrees(PackedConvolution, dtype)  # type: ignore[no-untyped-call]


@torch.inference_mode()
def _agrees(replacement: Callable[[Convolution], nn.Module], dtype: torch.dtype) -> bool:
    """Tell whether a convolution is there and gives what the public one gives."""
    wave = torch.arange(3 * 24 * 24, dtype=torch.float32, device="cpu").sin()
    features = wave[: 3 * 16 * 16].view(1, 3, 16, 16).to(dtype, memory_format=torch.channels_last)
    with torch.autocast("cpu", enabled=False):  # the caller's, which would change the public one alone
        for addend, slope in ((None, 0.2), (torch.zeros_like(features), None)):
            reference = Convolution(
                wave[:81].view(3, 3, 3, 3).to(dtype, memory_format=torch.channels_last), slope=slope
            )
            try:
                output = replacement(reference)(features, addend)
            except (AttributeError, NotImplementedError, RuntimeError, TypeError):  # gone, or called otherwise
                return False
            if not torch.allclose(output, reference(features), rtol=0.02, atol=0.1 if dtype.itemsize < 4 else 1e-3):
                return False
    return True

"""The network as inference computes it: the same function as Figure 2 with fewer operations and passes over memory.

What is rewritten, each time without changing the result but for rounding:

- A 1×1 convolution and bilinear upsampling commute, since the weights of the four pixels add up to one: convolving
  first has a quarter of the pixels to do, and fewer channels to upsample.
- The chain of 1×1 convolutions that brings a scale of stage 2 up to ORSNet becomes one, at the coarse scale; those of
  the encoder and the decoder are added there, and upsampled together.
- A convolution of concatenated features is the sum of two convolutions.
- What is added to a convolution, and the PReLU after it, belong to the convolution, so that an engine can do all in
  one pass.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mprnet.errors import ConfigError
from mprnet.network.ablation import AblatedMPRNet
from mprnet.network.blocks import CAB, ChannelAttention
from mprnet.network.mprnet import (
    SIZE_MULTIPLE,
    MPRNet,
    join_left_right,
    join_top_bottom,
    split_left_right,
    split_top_bottom,
)
from mprnet.network.stages import Scales

if TYPE_CHECKING:
    from mprnet.network.blocks import SAM, Downsample, Upsample
    from mprnet.network.stages import ORB, Decoder, Encoder, EncoderFusion, ORSNet, ORSNetFusion

_WITHIN = 1e-4
"""How far the pictures of a network and of what it is rewritten to may be apart, over their largest number.

Rounding takes less than 10⁻⁶ of it; what the one computes and the other leaves out, more.
"""


def fold(model: MPRNet) -> FoldedMPRNet | Unfolded:
    """Rewrite a network for inference; of those of Table 6 the CABs alone.

    Args:
        model: the network. Its weights are shared where they stay as they are, and its channel attentions are, so that
            `set_local_pooling(model, …)` acts on both; products of weights are computed now.

    Raises:
        ConfigError: the network computes something else than this module rewrites it to, as with a block that was
            changed in `mprnet.network.blocks` alone.

    Example:
        >>> from mprnet.network import MPRNetConfig
        >>> model = MPRNet(MPRNetConfig(n_feat=8, num_cab=1))
        >>> fold(model)(torch.zeros(1, 3, 16, 24), stages=(1, 3))[1].shape
        torch.Size([1, 3, 16, 24])
    """
    folded = _rewritten(model)
    weight = next(model.parameters())
    if (weight.device.type, weight.dtype) != ("cpu", torch.float32) or _distance(model, folded) > _WITHIN:
        # In 64 bits neither the weights nor what the caller has set for the whole process round the pictures.
        exact = copy.deepcopy(model).to("cpu", torch.float64)
        distance = _distance(exact, _rewritten(exact))
        if distance > _WITHIN:
            raise ConfigError(
                f"the network's pictures change by {distance:.2g} where it is rewritten for inference; expected "
                "mprnet/network/folding.py to compute what its blocks and its forward compute"
            )
    return folded


def _rewritten(model: MPRNet) -> FoldedMPRNet | Unfolded:
    return Unfolded(model) if isinstance(model, AblatedMPRNet) else FoldedMPRNet(model)


@torch.no_grad()
def _distance(model: MPRNet, folded: FoldedMPRNet | Unfolded) -> float:
    """Return how far the pictures of both are apart, over their largest number or 1; NaN where they are not finite."""
    modes = [(part, part.training) for part in model.modules()]
    noise = torch.rand(
        *(1, model.config.in_channels, SIZE_MULTIPLE, 2 * SIZE_MULTIPLE),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float32,
        device="cpu",
    ).to(next(model.parameters()).dtype)
    try:
        with torch.autocast("cpu", enabled=False):
            drawn = model.eval()(noise).computed
            pairs = zip(folded(noise, model.config.stages), drawn, strict=True)
            return max(float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1)) for ours, theirs in pairs)
    finally:
        for part, mode in modes:
            part.training = mode


class Convolution(nn.Module):
    """A size-keeping convolution, what is added to its output, and the leaky ReLU after it.

    Engines put another module of the same `forward` in its place.

    Args:
        weight: `(C_out, C_in, k, k)`, k odd.
        bias: `(C_out,)`, or none.
        slope: of the leaky ReLU below zero; without one, there is none.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, slope: float | None = None) -> None:
        super().__init__()
        self.weight, self.bias = _frozen(weight), None if bias is None else _frozen(bias)
        self.slope = slope

    def forward(self, features: Tensor, addend: Tensor | None = None) -> Tensor:
        """Return `leaky_relu(conv(features) + addend)`, `(B, C_out, H, W)`, maybe in the memory of `addend`."""
        output = F.conv2d(features, self.weight, self.bias, padding=self.weight.shape[-1] // 2)
        if addend is not None:
            output += addend
        return output if self.slope is None else F.leaky_relu_(output, self.slope)


def _frozen(tensor: Tensor) -> nn.Parameter:
    """Share the memory of a weight, without its gradients."""
    return nn.Parameter(tensor.detach(), requires_grad=False)


def _convolution(layer: nn.Conv2d, slope: float | None = None) -> Convolution:
    return Convolution(layer.weight, layer.bias, slope)


def _convolutions(layers: nn.ModuleList) -> nn.ModuleList:
    return nn.ModuleList(_convolution(cast("nn.Conv2d", layer)) for layer in layers)


class FoldedCAB(nn.Module):
    """`blocks.CAB`, its PReLU in its first convolution."""

    def __init__(self, cab: CAB) -> None:
        super().__init__()
        self.conv1 = _convolution(cab.conv1, slope=cab.activation.weight.item())
        self.conv2 = _convolution(cab.conv2)
        self.attention = cab.attention

    def forward(self, features: Tensor) -> Tensor:
        weighed: Tensor = self.attention(self.conv2(self.conv1(features)), features)
        return weighed


def _cabs(layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(FoldedCAB(cast("CAB", cab)) for cab in layers.children()))


class Shallow(nn.Module):
    """The first convolution of a stage and its CAB."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.conv, self.cab = _convolution(cast("nn.Conv2d", layers[0])), FoldedCAB(cast("CAB", layers[1]))

    def forward(self, picture: Tensor) -> Tensor:
        features: Tensor = self.cab(self.conv(picture))
        return features


class FoldedDownsample(nn.Module):
    """`blocks.Downsample`."""

    def __init__(self, down: Downsample) -> None:
        super().__init__()
        self.pool = F.max_pool2d if down.method == "maxpool" else F.avg_pool2d
        self.widen = _convolution(down.widen)

    def forward(self, features: Tensor) -> Tensor:
        widened: Tensor = self.widen(self.pool(features, 2))  # (B, out_channels, H/2, W/2)
        return widened


class FoldedEncoder(nn.Module):
    """`stages.Encoder`, and the CSFF before it as two more convolutions that are added."""

    def __init__(self, encoder: Encoder, fusion: EncoderFusion | None = None) -> None:
        super().__init__()
        self.levels = nn.ModuleList(map(_cabs, (encoder.level1, encoder.level2, encoder.level3)))
        self.downs = nn.ModuleList(map(FoldedDownsample, (encoder.down12, encoder.down23)))
        self.from_encoder, self.from_decoder = nn.ModuleList(), nn.ModuleList()
        if fusion is not None:
            self.from_encoder, self.from_decoder = (
                _convolutions(fusion.from_encoder),
                _convolutions(fusion.from_decoder),
            )

    def forward(self, features: Tensor, before: tuple[Scales, Scales] | None = None) -> Scales:
        levels = []
        for number, cabs in enumerate(self.levels):
            if number:
                features = self.downs[number - 1](features)
            features = cabs(features)
            if before is not None:
                encoded, decoded = before
                features = self.from_encoder[number](encoded[number], features)
                features = self.from_decoder[number](decoded[number], features)
            levels.append(features)
        return Scales(*levels)


class FoldedDecoder(nn.Module):
    """`stages.Decoder`, narrowing before it upsamples."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.level1, self.level2, self.level3 = map(_cabs, (decoder.level1, decoder.level2, decoder.level3))
        self.skip1, self.skip2 = FoldedCAB(decoder.skip1), FoldedCAB(decoder.skip2)
        self.narrow21, self.narrow32 = _convolution(decoder.up21.narrow), _convolution(decoder.up32.narrow)

    def forward(self, encoded: Scales) -> Scales:
        level3 = self.level3(encoded.level3)
        level2 = self.level2(_double(self.narrow32(level3)).add_(self.skip2(encoded.level2)))  # (B, …, H/2, W/2)
        level1 = self.level1(_double(self.narrow21(level2)).add_(self.skip1(encoded.level1)))  # (B, n_feat, H, W)
        return Scales(level1, level2, level3)


def _double(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


class FoldedSAM(nn.Module):
    """`blocks.SAM`."""

    def __init__(self, sam: SAM) -> None:
        super().__init__()
        self.to_features, self.to_residual = _convolution(sam.to_features), _convolution(sam.to_residual)
        self.to_mask = _convolution(sam.to_mask)

    def restore(self, features: Tensor, degraded: Tensor) -> Tensor:
        """Return the stage's picture, in the dtype of `degraded`."""
        residual: Tensor = self.to_residual(features)
        return residual.to(degraded.dtype) + degraded

    def attend(self, features: Tensor, restored: Tensor) -> Tensor:
        """Return the features for the next stage, gated by the mask that `restored` gives."""
        mask = torch.sigmoid_(self.to_mask(restored.to(features.dtype)))
        attended: Tensor = torch.addcmul(features, self.to_features(features), mask)
        return attended


class Merge(nn.Module):
    """A convolution of two features side by side, as the sum of a convolution of each."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        ours, before = layer.weight.chunk(2, dim=1)
        self.ours, self.before = Convolution(ours, layer.bias), Convolution(before)

    def forward(self, ours: Tensor, before: Tensor) -> Tensor:
        merged: Tensor = self.ours(ours, self.before(before))
        return merged


class Climb(nn.Module):
    """`stages.ORSNetFusion` of one scale, encoder and decoder together: one 1×1 convolution each, then upsampling."""

    def __init__(self, from_encoder: ORSNetFusion, from_decoder: ORSNetFusion) -> None:
        super().__init__()
        self.from_encoder, self.from_decoder = _chain(from_encoder), _chain(from_decoder)
        self.doublings = len(from_encoder.up)

    def forward(self, encoded: Tensor, decoded: Tensor, features: Tensor) -> Tensor:
        """Return the sum of both at full resolution and `features`, `(B, orsnet_width, H, W)`."""
        if not self.doublings:
            at_full: Tensor = self.from_decoder(decoded, self.from_encoder(encoded, features))
            return at_full
        climbed: Tensor = self.from_decoder(decoded, self.from_encoder(encoded))
        for _ in range(self.doublings):
            climbed = _double(climbed)
        return climbed.add_(features)


def _chain(fusion: ORSNetFusion) -> Convolution:
    """Multiply the 1×1 convolutions of a climb to one; in 64 bits, so that only the product is rounded."""
    weight = fusion.project.weight.double().flatten(1)
    for up in reversed(fusion.up):
        weight = weight @ cast("Upsample", up).narrow.weight.double().flatten(1)
    return Convolution(weight.to(fusion.project.weight.dtype)[..., None, None], fusion.project.bias)


class FoldedORB(nn.Module):
    """An ORB of ORSNet and the CSFF after it."""

    def __init__(self, orb: ORB, climb: Climb) -> None:
        super().__init__()
        self.cabs, self.conv, self.climb = _cabs(orb.cabs), _convolution(orb.conv), climb

    def forward(self, features: Tensor, encoded: Tensor, decoded: Tensor) -> Tensor:
        residual = self.cabs(features)
        restored: Tensor = self.conv(residual, self.climb(encoded, decoded, features))
        return restored


def _orbs(orsnet: ORSNet) -> nn.ModuleList:
    parts = zip(orsnet.orbs, orsnet.from_encoder, orsnet.from_decoder, strict=True)
    return nn.ModuleList(
        FoldedORB(cast("ORB", orb), Climb(cast("ORSNetFusion", encoder), cast("ORSNetFusion", decoder)))
        for orb, encoder, decoder in parts
    )


class Unfolded(nn.Module):
    """A network of Table 6, of which the CABs alone are rewritten; to be called as a `FoldedMPRNet`."""

    def __init__(self, model: AblatedMPRNet) -> None:
        super().__init__()
        self.config = model.config
        shared = {part for part in model.modules() if isinstance(part, ChannelAttention)} | set(model.parameters())
        self.model = copy.deepcopy(model, {id(part): part for part in shared})
        for part in self.model.modules():
            for name, child in part.named_children():
                if isinstance(child, CAB):
                    setattr(part, name, FoldedCAB(child))
        self.eval()

    def forward(self, degraded: Tensor, stages: tuple[int, ...] = (3,)) -> tuple[Tensor, ...]:
        """Restore a batch of pictures, as `FoldedMPRNet` does."""
        pictures = self.model(degraded, max(stages))
        return tuple(pictures[stage - 1] for stage in stages)


class FoldedMPRNet(nn.Module):
    """`MPRNet` rewritten for inference, see the top of this module; `fold` makes it.

    Features have the dtype of its weights, or autocast's; the residual is added to the picture in the dtype of the
    picture, so that 16 bits do not round it.

    Args:
        model: the network to rewrite.
    """

    def __init__(self, model: MPRNet) -> None:
        super().__init__()
        self.config = model.config
        self.shallow1, self.shallow2, self.shallow3 = map(Shallow, (model.shallow1, model.shallow2, model.shallow3))
        self.encoder1, self.decoder1 = FoldedEncoder(model.encoder1), FoldedDecoder(model.decoder1)
        self.sam12, self.merge12 = FoldedSAM(model.sam12), Merge(model.merge12)
        self.encoder2 = FoldedEncoder(model.encoder2, model.csff12)
        self.decoder2 = FoldedDecoder(model.decoder2)
        self.sam23, self.merge23 = FoldedSAM(model.sam23), Merge(model.merge23)
        self.orbs = _orbs(model.orsnet)
        self.tail = _convolution(model.tail)
        self.eval()

    def forward(self, degraded: Tensor, stages: tuple[int, ...] = (3,)) -> tuple[Tensor, ...]:
        """Restore a batch of pictures, computing only what the pictures that are asked for need.

        Args:
            degraded: `(B, in_channels, H, W)`, float, nominally in [0, 1]; H and W multiples of 8.
            stages: whose pictures to return, each 1, 2 or 3.

        Returns:
            tuple: a picture for each of `stages`, in their order, of the shape and dtype of `degraded`, not clamped.
        """
        last = max(stages)
        halves = split_top_bottom(degraded)  # (2B, C, H/2, W)
        quarters = split_left_right(halves)  # (4B, C, H/2, W/2)
        pictures: dict[int, Tensor] = {}

        # Stage 1
        encoded1 = Scales(*map(join_left_right, self.encoder1(self.shallow1(self._input(quarters)))))
        decoded1 = self.decoder1(encoded1)  # (2B, n_feat, H/2, W) …
        restored1 = self.sam12.restore(decoded1.level1, halves)  # (2B, C, H/2, W)
        if 1 in stages:
            pictures[1] = join_top_bottom(restored1)  # (B, C, H, W)
        if last > 1:
            # Stage 2
            attended = self.sam12.attend(decoded1.level1, restored1)
            features = self.merge12(self.shallow2(self._input(halves)), attended)  # (2B, n_feat, H/2, W)
            encoded2 = Scales(*map(join_top_bottom, self.encoder2(features, (encoded1, decoded1))))
            decoded2 = self.decoder2(encoded2)  # (B, n_feat, H, W) …
            pictures[2] = self.sam23.restore(decoded2.level1, degraded)
        if last > 2:
            # Stage 3
            attended = self.sam23.attend(decoded2.level1, pictures[2])
            features = self.merge23(self.shallow3(self._input(degraded)), attended)  # (B, orsnet_width, H, W)
            for orb, encoder_features, decoder_features in zip(self.orbs, encoded2, decoded2, strict=True):
                features = orb(features, encoder_features, decoder_features)
            pictures[3] = self.tail(features).to(degraded.dtype) + degraded
        return tuple(pictures[stage] for stage in stages)

    def _input(self, picture: Tensor) -> Tensor:
        return picture.to(next(self.parameters()).dtype)

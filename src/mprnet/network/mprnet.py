"""Figure 2: the three stages, the patches each one sees, and what passes between them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from mprnet.errors import ConfigError
from mprnet.network.blocks import CAB, SAM, Downsampling, conv
from mprnet.network.stages import Combination, Decoder, Encoder, EncoderFusion, ORSNet, Scales

Share = tuple[float, float]
"""Height and width of what a part of the network sees, over those of the picture."""

QUARTERS, HALVES, WHOLE = (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)

SIZE_MULTIPLE = 8
"""Height and width must be multiples of this: stage 1 halves the picture, its encoder halves it twice more."""


@dataclass(frozen=True)
class MPRNetConfig:
    """The hyper-parameters of one MPRNet; the defaults are the published deraining network.

    Args:
        in_channels: channels of the degraded picture (3 for RGB, 1 for grey, any for multispectral).
        out_channels: must equal `in_channels`, since every stage adds its residual to the input.
        n_feat: width of the features at full resolution.
        scale_unetfeats: features added at each coarser scale of the encoder-decoders.
        scale_orsnetfeats: features added in ORSNet.
        num_cab: CABs in each of ORSNet's three ORBs.
        kernel_size: side of the convolutions that are not 1×1, odd.
        reduction: factor by which the channel attention squeezes.
        bias: whether the convolutions have one (the published checkpoints: no).
        downsampling: `bilinear` as the published checkpoints, or `maxpool` as the paper's Section 4.2.
        combination: the subnetworks of the stages, first to last. All but the default are for the ablations of Table 6,
            as is doing without the following two; `mprnet.network.build` makes such networks.
        sam: whether a SAM lies between every two stages.
        csff: whether features of a stage's scales are fused into the next stage.

    Raises:
        ConfigError: a value is impossible; the message names it.

    Example:
        >>> MPRNetConfig(n_feat=24, scale_unetfeats=12, scale_orsnetfeats=8).unet_widths
        (24, 36, 48)
    """

    in_channels: int = 3
    out_channels: int = 3
    n_feat: int = 40
    scale_unetfeats: int = 20
    scale_orsnetfeats: int = 16
    num_cab: int = 8
    kernel_size: int = 3
    reduction: int = 4
    bias: bool = False
    downsampling: Downsampling = "bilinear"
    combination: Combination = "unet+unet+orsnet"
    sam: bool = True
    csff: bool = True

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            expected = type(field.default)
            if type(value) is not expected:
                raise ConfigError(f"{field.name} is {value!r}; expected {expected.__name__}")
        for name in ("in_channels", "out_channels", "n_feat", "num_cab", "reduction"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("scale_unetfeats", "scale_orsnetfeats"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if self.in_channels != self.out_channels:
            raise ConfigError(
                f"in_channels is {self.in_channels} and out_channels is {self.out_channels}; expected equal numbers, "
                "since every stage adds its residual to the input picture"
            )
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size is {self.kernel_size}; expected an odd number, so that sizes are kept")
        if self.reduction > self.n_feat:
            raise ConfigError(
                f"reduction is {self.reduction}, more than n_feat = {self.n_feat}; expected at most n_feat, "
                "so that the channel attention keeps a channel"
            )
        if self.downsampling not in ("bilinear", "maxpool"):
            raise ConfigError(f"downsampling is {self.downsampling!r}; expected 'bilinear' or 'maxpool'")
        if self.combination not in get_args(Combination):
            raise ConfigError(
                f"combination is {self.combination!r}; expected one of {', '.join(get_args(Combination))}"
            )
        *earlier, _ = self.subnetworks
        if self.sam and not earlier:
            raise ConfigError(f"sam is true, and {self.combination} is a single stage; expected sam = false")
        if self.csff and set(earlier) != {"unet"}:
            raise ConfigError(
                f"csff is true, and {self.combination} has no U-Net before its last stage, whose scales could be "
                "fused; expected csff = false"
            )

    @property
    def subnetworks(self) -> list[str]:
        """The subnetwork of each stage, `unet` or `orsnet`, first to last."""
        return self.combination.split("+")

    @property
    def first_stage(self) -> int:
        """The number of the first stage: the last one, which sees the whole picture, is always 3."""
        return 4 - len(self.subnetworks)

    @property
    def stages(self) -> tuple[int, ...]:
        """The numbers of the stages."""
        return tuple(range(self.first_stage, 4))

    def require(self, stage: int, name: str = "stage") -> None:
        """Raise ConfigError where a network of fewer stages lacks this one, of 1, 2 and 3; `name` is its name there."""
        if stage < self.first_stage:
            raise ConfigError(
                f"{name} is {stage}, which this network ({self.combination}) does not have, since its last one counts "
                f"as 3; expected {' or '.join(map(str, self.stages))}"
            )

    def width_of(self, stage: int) -> int:
        """Return the width of a stage's features at full resolution."""
        return self.n_feat if self.subnetworks[stage - self.first_stage] == "unet" else self.orsnet_width

    @property
    def is_ablated(self) -> bool:
        """Whether something of the paper's network is left out or exchanged, as in Table 6."""
        return (self.combination, self.sam, self.csff) != (MPRNetConfig.combination, True, True)

    def entries(self) -> dict[str, Any]:
        """Return the hyper-parameters by name, as files keep them; those of Table 6 only where they are not usual."""
        ablation = () if self.is_ablated else ("combination", "sam", "csff")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in ablation}

    @property
    def unet_widths(self) -> tuple[int, int, int]:
        """Feature widths of the encoder-decoders at full, half and quarter resolution."""
        return (self.n_feat, self.n_feat + self.scale_unetfeats, self.n_feat + 2 * self.scale_unetfeats)

    @property
    def orsnet_width(self) -> int:
        """Feature width of ORSNet."""
        return self.n_feat + self.scale_orsnetfeats


class StageOutputs(NamedTuple):
    """The restored picture of each stage, in natural order; `None` where an early exit did not compute it.

    Networks of fewer stages (Table 6) have no first one, or no first two.

    Each is `(B, out_channels, H, W)`, in the dtype and nominal range [0, 1] of the input, not clamped.
    """

    stage1: Tensor | None = None
    stage2: Tensor | None = None
    stage3: Tensor | None = None

    @property
    def computed(self) -> tuple[Tensor, ...]:
        """The pictures that were computed, first stage first."""
        return tuple(picture for picture in self if picture is not None)

    @property
    def last(self) -> Tensor:
        """The picture of the last stage that was computed: the best one."""
        return self.computed[-1]


class MPRNet(nn.Module):
    """Multi-stage progressive restoration network.

    Stage 1 sees the picture as four quarters, stage 2 as two halves (top and bottom), stage 3 whole. Patches
    that share weights travel side by side in the batch. Quarters are joined left–right before the stage-1
    decoder, halves top–bottom before the stage-2 decoder.

    Args:
        config: the hyper-parameters; without one, the published deraining network.

    Raises:
        ConfigError: `config` is one of the other networks of Table 6, which `mprnet.network.build` makes.

    Example:
        >>> outputs = MPRNet(MPRNetConfig(n_feat=8, num_cab=1))(torch.zeros(1, 3, 16, 24))
        >>> outputs.stage3.shape
        torch.Size([1, 3, 16, 24])

    Source: Section 3, Figure 2.
    """

    def __init__(self, config: MPRNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MPRNetConfig()
        # One parameter for the whole network: the published checkpoints repeat the same value under 55 names,
        # since a single PReLU was handed to every CAB.
        self.activation = nn.PReLU()
        self._build()

    def make_cab(self, width: int) -> CAB:
        """Make a CAB that shares the network's PReLU."""
        return CAB(width, self.config.kernel_size, self.config.reduction, self.config.bias, self.activation)

    def make_shallow(self) -> nn.Sequential:
        """Make what a stage begins with: a convolution and a CAB."""
        config = self.config
        return nn.Sequential(
            conv(config.in_channels, config.n_feat, config.kernel_size, config.bias), self.make_cab(config.n_feat)
        )

    def _build(self) -> None:
        """Make the boxes of Figure 2."""
        config, make_cab = self.config, self.make_cab
        if config.is_ablated:
            raise ConfigError(
                f"combination is {config.combination}, sam {config.sam} and csff {config.csff}; expected the network "
                "of the paper. `mprnet.network.build` makes the others of Table 6"
            )
        widths, orsnet_width = config.unet_widths, config.orsnet_width
        self.shallow1, self.shallow2, self.shallow3 = (self.make_shallow() for _ in range(3))

        self.encoder1 = Encoder(widths, make_cab, config.downsampling)
        self.decoder1 = Decoder(widths, make_cab)
        self.sam12 = SAM(config.n_feat, config.out_channels, config.bias)
        self.csff12 = EncoderFusion(widths, config.bias)
        self.merge12 = conv(2 * config.n_feat, config.n_feat, config.kernel_size, config.bias)

        self.encoder2 = Encoder(widths, make_cab, config.downsampling)
        self.decoder2 = Decoder(widths, make_cab)
        self.sam23 = SAM(config.n_feat, config.out_channels, config.bias)
        self.merge23 = conv(2 * config.n_feat, orsnet_width, config.kernel_size, config.bias)

        self.orsnet = ORSNet(widths, orsnet_width, config.num_cab, config.kernel_size, config.bias, make_cab)
        self.tail = conv(orsnet_width, config.out_channels, config.kernel_size, config.bias)

    def forward(self, degraded: Tensor, stages: int = 3) -> StageOutputs:
        """Restore a batch of pictures, computing only what the first `stages` stages return.

        Args:
            degraded: `(B, in_channels, H, W)`, float, nominally in [0, 1]; H and W multiples of 8.
            stages: 1, 2 or 3; the last stage to compute.

        Returns:
            StageOutputs: a picture of the input's shape for each stage up to `stages`, not clamped.

        Raises:
            ConfigError: the shape or `stages` does not fit.
        """
        self._check(degraded, stages)
        halves = split_top_bottom(degraded)  # (2B, C, H/2, W)
        quarters = split_left_right(halves)  # (4B, C, H/2, W/2)

        # Stage 1
        encoded1 = Scales(*map(join_left_right, self.encoder1(self.shallow1(quarters))))  # (2B, n_feat, H/2, W) …
        decoded1 = self.decoder1(encoded1)
        restored1 = self.sam12.restore(decoded1.level1, halves)  # (2B, C, H/2, W)
        stage1 = join_top_bottom(restored1)  # (B, C, H, W)
        if stages == 1:
            return StageOutputs(stage1)

        # Stage 2
        attended = self.sam12.attend(decoded1.level1, restored1)
        features = self.merge12(torch.cat((self.shallow2(halves), attended), dim=1))  # (2B, n_feat, H/2, W)
        encoded2 = Scales(*map(join_top_bottom, self.encoder2(features, self.csff12(encoded1, decoded1))))
        decoded2 = self.decoder2(encoded2)  # (B, n_feat, H, W) …
        stage2 = self.sam23.restore(decoded2.level1, degraded)
        if stages == 2:
            return StageOutputs(stage1, stage2)

        # Stage 3
        attended = self.sam23.attend(decoded2.level1, stage2)
        features = self.merge23(torch.cat((self.shallow3(degraded), attended), dim=1))  # (B, orsnet_width, H, W)
        stage3 = self.tail(self.orsnet(features, encoded2, decoded2)) + degraded
        return StageOutputs(stage1, stage2, stage3)

    def seen(self) -> tuple[tuple[nn.Module, Share], ...]:
        """Return the parts that have channel attentions, and how much of the picture each sees."""
        return (
            (self.shallow1, QUARTERS),
            (self.encoder1, QUARTERS),
            (self.decoder1, HALVES),
            (self.shallow2, HALVES),
            (self.encoder2, HALVES),
            (self.decoder2, WHOLE),
            (self.shallow3, WHOLE),
            (self.orsnet, WHOLE),
        )

    def _check(self, degraded: Tensor, stages: int) -> None:
        if degraded.dim() != 4 or degraded.shape[1] != self.config.in_channels:
            raise ConfigError(
                f"degraded has shape {tuple(degraded.shape)}; expected (B, {self.config.in_channels}, H, W)"
            )
        height, width = degraded.shape[-2:]
        if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE or not degraded.numel():
            raise ConfigError(
                f"degraded is {height}×{width} (H×W); expected multiples of {SIZE_MULTIPLE} above 0. "
                "`mprnet.Restorer` pads and crops any size"
            )
        if stages not in (1, 2, 3):
            raise ConfigError(f"stages is {stages!r}; expected 1, 2 or 3")
        self.config.require(stages)


def split_top_bottom(picture: Tensor) -> Tensor:
    """Return the upper and the lower half, `(2B, C, H/2, W)`, side by side in the batch."""
    return torch.cat(_two(picture, 2), dim=0)


def split_left_right(picture: Tensor) -> Tensor:
    """Return the left and the right half, `(2B, C, H, W/2)`, side by side in the batch."""
    return torch.cat(_two(picture, 3), dim=0)


def join_top_bottom(halves: Tensor) -> Tensor:
    """Undo `split_top_bottom`."""
    return torch.cat(_two(halves, 0), dim=2)


def join_left_right(quarters: Tensor) -> Tensor:
    """Undo `split_left_right`."""
    return torch.cat(_two(quarters, 0), dim=3)


def _two(tensor: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    # Not `chunk`, which counts its pieces: with sizes that are symbols, in an export, it cannot.
    middle = tensor.shape[dim] // 2
    return tensor.narrow(dim, 0, middle), tensor.narrow(dim, middle, tensor.shape[dim] - middle)

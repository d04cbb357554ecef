"""The subnetworks of Figure 3: the encoder and decoder of stages 1 and 2, and the ORSNet of stage 3."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor, nn

from mprnet.network.blocks import CAB, Downsample, Downsampling, Upsample, conv

Combination = Literal["unet", "orsnet", "unet+unet", "orsnet+orsnet", "unet+orsnet", "unet+unet+orsnet"]
"""The subnetworks of a network's stages, first to last (Table 6); the last one is the paper's."""

CabFactory = Callable[[int], CAB]
"""Makes a CAB of a given width; the network binds kernel, reduction, bias and the shared PReLU once."""


class Scales(NamedTuple):
    """Features at full, half and quarter resolution of what a stage sees."""

    level1: Tensor
    level2: Tensor
    level3: Tensor


class EncoderFusion(nn.Module):
    """CSFF between stages 1 and 2: 1×1 convolutions of both paths of stage 1, to be added in stage 2's encoder.

    Source: Section 3.2, Figure 3c.
    """

    def __init__(self, widths: tuple[int, int, int], bias: bool) -> None:
        super().__init__()
        self.from_encoder = nn.ModuleList(conv(width, width, 1, bias) for width in widths)
        self.from_decoder = nn.ModuleList(conv(width, width, 1, bias) for width in widths)

    def forward(self, encoded: Scales, decoded: Scales) -> Scales:
        return Scales(
            *(
                from_encoder(encoder_features) + from_decoder(decoder_features)
                for from_encoder, encoder_features, from_decoder, decoder_features in zip(
                    self.from_encoder, encoded, self.from_decoder, decoded, strict=True
                )
            )
        )


class Encoder(nn.Module):
    """The contracting path: two CABs a scale, over three scales.

    Source: Section 3.1, Figure 3a. With `fused` features given, each is added at its scale before the next
    downsampling (CSFF).
    """

    def __init__(self, widths: tuple[int, int, int], make_cab: CabFactory, downsampling: Downsampling) -> None:
        super().__init__()
        self.level1, self.level2, self.level3 = (nn.Sequential(make_cab(width), make_cab(width)) for width in widths)
        self.down12 = Downsample(widths[0], widths[1], downsampling)
        self.down23 = Downsample(widths[1], widths[2], downsampling)

    def forward(self, features: Tensor, fused: Scales | None = None) -> Scales:
        level1 = self.level1(features)
        if fused is not None:
            level1 = level1 + fused.level1
        level2 = self.level2(self.down12(level1))  # (B, widths[1], H/2, W/2)
        if fused is not None:
            level2 = level2 + fused.level2
        level3 = self.level3(self.down23(level2))  # (B, widths[2], H/4, W/4)
        if fused is not None:
            level3 = level3 + fused.level3
        return Scales(level1, level2, level3)


class Decoder(nn.Module):
    """The expanding path: two CABs a scale, and a CAB on each skip connection.

    Source: Section 3.1, Figure 3a.
    """

    def __init__(self, widths: tuple[int, int, int], make_cab: CabFactory) -> None:
        super().__init__()
        self.level1, self.level2, self.level3 = (nn.Sequential(make_cab(width), make_cab(width)) for width in widths)
        self.skip1 = make_cab(widths[0])
        self.skip2 = make_cab(widths[1])
        self.up21 = Upsample(widths[1], widths[0])
        self.up32 = Upsample(widths[2], widths[1])

    def forward(self, encoded: Scales) -> Scales:
        level3 = self.level3(encoded.level3)
        level2 = self.level2(self.up32(level3) + self.skip2(encoded.level2))  # (B, widths[1], H/2, W/2)
        level1 = self.level1(self.up21(level2) + self.skip1(encoded.level1))  # (B, widths[0], H, W)
        return Scales(level1, level2, level3)


class ORB(nn.Module):
    """Original-resolution block: CABs, a convolution that never has a bias, and the identity path.

    Source: Section 3.1, Figure 3b.
    """

    def __init__(self, width: int, num_cab: int, kernel_size: int, make_cab: CabFactory) -> None:
        super().__init__()
        self.cabs = nn.Sequential(*(make_cab(width) for _ in range(num_cab)))
        self.conv = conv(width, width, kernel_size)

    def forward(self, features: Tensor) -> Tensor:
        residual: Tensor = self.conv(self.cabs(features))
        return residual + features


class ORSNetFusion(nn.Module):
    """CSFF between stages 2 and 3, one path: bring a scale of stage 2 to full resolution and to ORSNet's width.

    Source: Section 3.2, Figure 3d. `widths` are the scales to climb, coarsest first; the last is full resolution.
    """

    def __init__(self, widths: tuple[int, ...], out_channels: int, bias: bool) -> None:
        super().__init__()
        self.up = nn.Sequential(*(Upsample(coarse, fine) for coarse, fine in itertools.pairwise(widths)))
        self.project = conv(widths[-1], out_channels, 1, bias)

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.project(self.up(features))  # (B, out_channels, H, W)
        return projected


class ORSNet(nn.Module):
    """Original-resolution subnetwork: three ORBs without any downsampling, fed by CSFF after each.

    Source: Section 3.1 and 3.2, Figures 2 and 3d. Without `csff`, as in Table 6, nothing is fed.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],
        orsnet_width: int,
        num_cab: int,
        kernel_size: int,
        bias: bool,
        make_cab: CabFactory,
        csff: bool = True,
    ) -> None:
        super().__init__()
        climbs = (widths[:1], widths[1::-1], widths[::-1])
        self.orbs = nn.ModuleList(ORB(orsnet_width, num_cab, kernel_size, make_cab) for _ in climbs)
        fused = climbs if csff else ()
        self.from_encoder = nn.ModuleList(ORSNetFusion(climb, orsnet_width, bias) for climb in fused)
        self.from_decoder = nn.ModuleList(ORSNetFusion(climb, orsnet_width, bias) for climb in fused)

    def forward(self, features: Tensor, encoded: Scales | None = None, decoded: Scales | None = None) -> Tensor:
        if encoded is None or decoded is None:
            for orb in self.orbs:
                features = orb(features)
            return features
        for orb, from_encoder, encoder_features, from_decoder, decoder_features in zip(
            self.orbs, self.from_encoder, encoded, self.from_decoder, decoded, strict=True
        ):
            features = orb(features) + from_encoder(encoder_features) + from_decoder(decoder_features)
        return features

"""Table 6: the networks that the paper compares its own with, made of the same boxes.

The paper says which subnetworks their stages have, and whether SAM and CSFF join them. What it leaves open is as close
to the whole network as can be: the last stage sees the whole picture, the one before it two halves, the one before that
four quarters; a U-Net joins its patches before its decoder, an ORSNet behind its last block; a stage whose picture no
SAM predicts predicts it by a 3×3 convolution, as the last one does, and hands its features on as they are. (Section 3.3
says of other networks that they hand on the picture alone; of its own without SAM the paper does not say so, and SAM's
Figure 4 takes features and gives features.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mprnet.network.blocks import SAM, conv
from mprnet.network.mprnet import (
    HALVES,
    QUARTERS,
    WHOLE,
    MPRNet,
    MPRNetConfig,
    Share,
    StageOutputs,
    join_left_right,
    join_top_bottom,
    split_left_right,
    split_top_bottom,
)
from mprnet.network.stages import Decoder, Encoder, EncoderFusion, ORSNet, Scales


def build(config: MPRNetConfig) -> MPRNet:
    """Make the network of these hyper-parameters, one of Table 6 included.

    Example:
        >>> single = MPRNetConfig(n_feat=8, num_cab=1, combination="unet", sam=False, csff=False)
        >>> [picture is None for picture in build(single)(torch.zeros(1, 3, 16, 24))]
        [True, True, False]
    """
    return AblatedMPRNet(config) if config.is_ablated else MPRNet(config)


class Passed(NamedTuple):
    """What a stage hands to the next one: its features, and of a U-Net those of its scales."""

    features: Tensor
    encoded: Scales | None = None
    decoded: Scales | None = None


class Stage(nn.Module, ABC):
    """One stage of an `AblatedMPRNet`: shallow features, a subnetwork (`UNetStage`, `ORSNetStage`), and its picture.

    Args:
        network: the network that it is part of.
        number: 1, 2 or 3, where 3 is the last.
        width_before: of the features that the stage before hands on; 0 for the first stage.
        width: of its own.
    """

    def __init__(self, network: AblatedMPRNet, number: int, width_before: int, width: int) -> None:
        super().__init__()
        config = network.config
        self.is_fused: bool = config.csff and width_before > 0
        self.join = {1: join_left_right, 2: join_top_bottom, 3: _whole}[number]
        self.shallow = network.make_shallow()
        self.merge: nn.Module = nn.Identity()
        if width_before or width != config.n_feat:
            self.merge = conv(config.n_feat + width_before, width, config.kernel_size, config.bias)
        self.exit = (
            SAM(width, config.out_channels, config.bias)
            if config.sam and number < 3
            else conv(width, config.out_channels, config.kernel_size, config.bias)
        )

    @abstractmethod
    def compute(self, features: Tensor, before: Passed | None) -> Passed:
        """Return the subnetwork's features, joined; `before` is given where its scales are fused into them."""

    def forward(self, patches: Tensor, joined: Tensor, before: Passed | None) -> tuple[Tensor, Passed]:
        """Restore what the stage sees.

        Args:
            patches: what it sees, `(N, C, h, w)`, side by side in the batch.
            joined: the same picture as the next stage sees it: half as many patches, twice as large.
            before: what the stage before hands on; of the first, none.

        Returns:
            tuple: the restored picture, shaped as `joined`, and what the next stage gets.
        """
        features = self.shallow(patches.to(next(self.parameters()).dtype))
        if before is not None:
            features = torch.cat((features, before.features), dim=1)
        passed = self.compute(self.merge(features), before if self.is_fused else None)
        if not isinstance(self.exit, SAM):
            return self.exit(passed.features) + joined, passed
        restored = self.exit.restore(passed.features, joined)
        attended = self.exit.attend(passed.features, restored.to(passed.features.dtype))
        return restored, passed._replace(features=attended)


class UNetStage(Stage):
    """A stage that is an encoder-decoder; its patches are joined between the two."""

    def __init__(self, network: AblatedMPRNet, number: int, width_before: int) -> None:
        config = network.config
        super().__init__(network, number, width_before, config.n_feat)
        self.encoder = Encoder(config.unet_widths, network.make_cab, config.downsampling)
        self.decoder = Decoder(config.unet_widths, network.make_cab)
        self.csff = EncoderFusion(config.unet_widths, config.bias) if self.is_fused else None

    def compute(self, features: Tensor, before: Passed | None) -> Passed:
        fused = self.csff(before.encoded, before.decoded) if self.csff is not None and before is not None else None
        encoded = Scales(*map(self.join, self.encoder(features, fused)))
        decoded = self.decoder(encoded)
        return Passed(decoded.level1, encoded, decoded)


class ORSNetStage(Stage):
    """A stage that stays at full resolution; its patches are joined behind it."""

    def __init__(self, network: AblatedMPRNet, number: int, width_before: int) -> None:
        config, width = network.config, network.config.orsnet_width
        super().__init__(network, number, width_before, width)
        self.orsnet = ORSNet(
            config.unet_widths,
            width,
            config.num_cab,
            config.kernel_size,
            config.bias,
            network.make_cab,
            csff=self.is_fused,
        )

    def compute(self, features: Tensor, before: Passed | None) -> Passed:
        scales = (None, None) if before is None else (before.encoded, before.decoded)
        return Passed(self.join(self.orsnet(features, *scales)))


def _whole(features: Tensor) -> Tensor:
    return features


class AblatedMPRNet(MPRNet):
    """A network of Table 6: other stages, or without what joins them.

    Its stages are counted from the last one, 3, which sees the whole picture. Made with everything that the paper's
    network has, it is that network under other names.

    Source: Section 4.6, Table 6.
    """

    def _build(self) -> None:
        config = self.config
        self.stages = nn.ModuleList()
        width_before = 0
        for number, subnetwork in zip(config.stages, config.subnetworks, strict=True):
            kind = UNetStage if subnetwork == "unet" else ORSNetStage
            self.stages.append(kind(self, number, width_before))
            width_before = config.width_of(number)

    def forward(self, degraded: Tensor, stages: int = 3) -> StageOutputs:
        """Restore a batch of pictures, as `MPRNet` does; the stages that it does not have are `None`."""
        self._check(degraded, stages)
        halves = split_top_bottom(degraded)
        seen = {1: split_left_right(halves), 2: halves, 3: degraded}
        pictures: list[Tensor | None] = [None] * 3
        before: Passed | None = None
        for number, stage in zip(self.config.stages, self.stages, strict=True):
            if number > stages:
                break
            restored, before = stage(seen[number], seen[min(number + 1, 3)], before)
            pictures[number - 1] = join_top_bottom(restored) if number == 1 else restored
        return StageOutputs(*pictures)

    def seen(self) -> tuple[tuple[nn.Module, Share], ...]:
        """Return the parts, and how much of the picture each sees."""
        parts: list[tuple[nn.Module, Share]] = []
        shares = (QUARTERS, HALVES, WHOLE, WHOLE)
        for number, stage in zip(self.config.stages, self.stages, strict=True):
            for name, part in stage.named_children():
                parts.append((part, shares[number if name == "decoder" else number - 1]))
        return tuple(parts)

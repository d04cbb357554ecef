"""The building blocks of Figures 3 and 4: convolution, CAB, SAM, and the resampling between scales.

Every block works on features `(B, C, H, W)` of any float dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from mprnet.network.local_pooling import Window

Downsampling = Literal["bilinear", "maxpool"]


def conv(in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> nn.Conv2d:
    """Build the size-keeping convolution used everywhere in the network."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


class ChannelAttention(nn.Module):
    """Weigh each channel of a residual by a gate computed from its mean, and add what the residual belongs to.

    Attributes:
        window: what the mean is taken over, where it is not the whole picture; `set_local_pooling` sets it.

    Source: Section 3.1, Figure 3b; Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel
    Attention Networks", 2018.
    """

    def __init__(self, channels: int, reduction: int, bias: bool) -> None:
        super().__init__()
        self.squeeze = conv(channels, channels // reduction, 1, bias)
        self.excite = conv(channels // reduction, channels, 1, bias)
        self.window: Window | None = None

    def forward(self, residual: Tensor, identity: Tensor) -> Tensor:
        """Return `residual · gate + identity`; without gradients, in the memory of `residual`."""
        if self.window is None:
            return _weigh_and_add(residual, self._gate(residual.mean(dim=(2, 3), keepdim=True)), identity)
        gate = self.window.refine(self._gate(self.window.mean(residual)), residual)
        # In a view with axes for the pixels of a square they share its gate, without a full-sized tensor of gates.
        weighed = _weigh_and_add(
            _in_squares(residual, gate), gate.unsqueeze(3).unsqueeze(5), _in_squares(identity, gate)
        )
        return weighed.flatten(4, 5).flatten(2, 3)

    def _gate(self, mean: Tensor) -> Tensor:
        return torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))


def _in_squares(features: Tensor, gate: Tensor) -> Tensor:
    """View `(B, C, H, W)` as `(B, C, h, H/h, w, W/w)`, where the gate is `(B, C, h, w)`."""
    (batch, channels, height, width), (rows, columns) = features.shape, gate.shape[2:]
    return features.view(batch, channels, rows, height // rows, columns, width // columns)


def _weigh_and_add(residual: Tensor, gate: Tensor, identity: Tensor) -> Tensor:
    # One pass over memory, and none of it fresh where nobody will ask for gradients: a tenth of a CAB's time.
    # Torch's compiler fuses it all by itself, and would cut the network in two at every `out`.
    is_compiled = torch.compiler.is_dynamo_compiling()
    fresh = torch.is_grad_enabled() or residual.dtype != identity.dtype or is_compiled
    return torch.addcmul(identity, residual, gate, out=None if fresh else residual)


class CAB(nn.Module):
    """Channel attention block: convolution, PReLU, convolution, channel attention, and the identity path.

    Args:
        channels: width of the features that come in and go out.
        kernel_size: side of both convolutions, odd.
        reduction: the attention squeezes `channels` to `channels // reduction`.
        bias: whether the convolutions have one.
        activation: the PReLU; the network hands the same one-parameter module to all its CABs, as the
            published checkpoints do.

    Source: Section 3.1, Figure 3b.
    """

    def __init__(self, channels: int, kernel_size: int, reduction: int, bias: bool, activation: nn.PReLU) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, kernel_size, bias)
        self.activation = activation
        self.conv2 = conv(channels, channels, kernel_size, bias)
        self.attention = ChannelAttention(channels, reduction, bias)

    def forward(self, features: Tensor) -> Tensor:
        residual = self.conv2(self.activation(self.conv1(features)))
        weighed: Tensor = self.attention(residual, features)
        return weighed


class SAM(nn.Module):
    """Supervised attention module: predict the stage's picture, and let it gate the features that go on.

    All three convolutions are 1×1, as the paper says.

    Source: Section 3.3, Figure 4.
    """

    def __init__(self, n_feat: int, image_channels: int, bias: bool) -> None:
        super().__init__()
        self.to_features = conv(n_feat, n_feat, 1, bias)
        self.to_residual = conv(n_feat, image_channels, 1, bias)
        self.to_mask = conv(image_channels, n_feat, 1, bias)

    def restore(self, features: Tensor, degraded: Tensor) -> Tensor:
        """Return the stage's picture `X = I + R`, all that an early exit needs."""
        residual: Tensor = self.to_residual(features)
        return residual + degraded

    def attend(self, features: Tensor, restored: Tensor) -> Tensor:
        """Return the features for the next stage, gated by the mask that `restored` gives."""
        mask = torch.sigmoid(self.to_mask(restored))
        gated: Tensor = self.to_features(features) * mask
        return gated + features


class Downsample(nn.Module):
    """Halve height and width, then widen the features by a 1×1 convolution without bias.

    `bilinear` is what the published checkpoints were trained with; scaling by 0.5 samples exactly between
    four pixels, so it is their mean. `maxpool` is what the paper's Section 4.2 says.
    """

    def __init__(self, in_channels: int, out_channels: int, method: Downsampling) -> None:
        super().__init__()
        self.method = method
        self.widen = conv(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        pool = F.max_pool2d if self.method == "maxpool" else F.avg_pool2d
        widened: Tensor = self.widen(pool(features, 2))  # (B, out_channels, H/2, W/2)
        return widened


class Upsample(nn.Module):
    """Double height and width bilinearly, then narrow the features by a 1×1 convolution without bias.

    Source: Section 3.1 (chosen over transposed convolution for its lack of checkerboard artefacts).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.narrow = conv(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        upsampled = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        narrowed: Tensor = self.narrow(upsampled)  # (B, out_channels, 2H, 2W)
        return narrowed

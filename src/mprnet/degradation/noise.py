"""Noise: white Gaussian of unknown strength, or what a camera makes of little light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mprnet.degradation.draw import Range, check_settings, chosen, log_uniform, normal, uniform
from mprnet.degradation.jpeg import jpeg
from mprnet.degradation.light import to_display, to_linear

_REACH = 3
"""How far demosaicking spreads a value, in pixels."""


@dataclass(frozen=True)
class GaussianNoise:
    """Add white Gaussian noise to the display values, and clip, as the blind denoising benchmarks do.

    Args:
        sigma: standard deviation, of white = 255, drawn evenly; equal limits fix it.

    Example:
        >>> noisy = GaussianNoise(sigma=(25, 25))(torch.full((1, 3, 64, 64), 0.5), torch.Generator().manual_seed(0))
        >>> 24 < float(noisy.std() * 255) < 26
        True
    """

    sigma: Range = (0.0, 55.0)

    margin_px = 0

    def __post_init__(self) -> None:
        check_settings(self, "sigma")

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` `(B, C, H, W)`, sRGB in [0, 1], with noise, clipped to [0, 1]."""
        sigma = uniform(clean.shape[0], self.sigma, generator) / 255
        return (clean + (sigma * normal(tuple(clean.shape), generator)).to(clean)).clamp(0, 1)


@dataclass(frozen=True)
class CameraNoise:
    """Make the noise of a camera: stronger in the light, correlated between neighbours, compressed as JPEG.

    In linear light the variance is `gain · light + read²` (Foi et al., "Practical Poissonian-Gaussian Noise
    Modeling and Fitting for Single-Image Raw-Data", 2008). White balance amplifies red and blue; demosaicking
    spreads each value over its neighbours; the file is compressed.

    Args:
        gain: variance that full light has; its square root is the relative noise of a white pixel.
        read: standard deviation of the noise in the dark.
        spread_px: standard deviation of the Gaussian that stands for demosaicking.
        jpeg_share: share of pictures that are compressed.
        quality: JPEG quality.
    """

    gain: Range = (1e-4, 2e-2)
    read: Range = (5e-4, 2e-2)
    spread_px: Range = (0.2, 1.0)
    jpeg_share: float = 0.7
    quality: Range = (60.0, 98.0)

    margin_px = 0

    def __post_init__(self) -> None:
        check_settings(self, "gain", "read", "spread_px", lowest=1e-6)
        check_settings(self, "quality", lowest=1, highest=100)
        check_settings(self, "jpeg_share", highest=1)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` `(B, C, H, W)`, sRGB in [0, 1], as a camera would, clipped to [0, 1]."""
        batch, channels = clean.shape[:2]
        device = clean.device
        light = to_linear(clean.float())
        extra = (1.0, 0.0, 0.8) if channels == 3 else (0.0,) * channels
        balance = 1 + torch.cat([uniform(batch, (0.0, most), generator) for most in extra], dim=1).to(device)
        gain = log_uniform(batch, self.gain, generator).to(device)
        read = log_uniform(batch, self.read, generator).to(device)
        spread = uniform(batch, self.spread_px, generator).to(device)
        grain = _spread(normal(tuple(clean.shape), generator).to(device), spread)
        # Light `x` was `x / balance` on the sensor.
        deviation = balance * (gain * light / balance + read**2).sqrt()
        noisy = to_display(light + deviation * grain).clamp(0, 1)
        compressed = jpeg(noisy, uniform(batch, self.quality, generator).to(device))
        return torch.where(chosen(batch, self.jpeg_share, generator).to(device), compressed, noisy).to(clean.dtype)


@dataclass(frozen=True)
class Noise:
    """White noise on some pictures of the batch, camera noise on the others.

    Args:
        sigma: standard deviation of the white noise, of white = 255.
        camera_share: share of pictures with camera noise.
        camera: what that is like.
    """

    sigma: Range = (0.0, 55.0)
    camera_share: float = 0.25
    camera: CameraNoise = CameraNoise()

    margin_px = 0

    def __post_init__(self) -> None:
        check_settings(self, "sigma")
        check_settings(self, "camera_share", highest=1)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` `(B, C, H, W)`, sRGB in [0, 1], with noise, clipped to [0, 1]."""
        from_camera = chosen(clean.shape[0], self.camera_share, generator).to(clean.device)
        white = GaussianNoise(self.sigma)(clean, generator)
        return torch.where(from_camera, self.camera(clean, generator), white) if self.camera_share else white


def _spread(grain: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur unit noise `(B, C, H, W)` by a Gaussian of its own width a picture, keeping its variance at 1."""
    batch, channels, height, width = grain.shape
    reach = torch.arange(-_REACH, _REACH + 1, device=grain.device)
    taps = torch.exp(-(reach**2) / (2 * sigma_px.view(-1, 1) ** 2))
    taps = taps / taps.square().sum(dim=1, keepdim=True).sqrt()  # (B, 2 · reach + 1)
    taps = taps.repeat_interleave(channels, dim=0)
    # The grain goes on at the opposite border, several times round in a picture smaller than the reach.
    rows, columns = (torch.arange(-_REACH, side + _REACH, device=grain.device) % side for side in (height, width))
    flat = grain.reshape(1, batch * channels, height, width).index_select(2, rows).index_select(3, columns)
    flat = F.conv2d(flat, taps.view(-1, 1, len(reach), 1), groups=batch * channels)
    flat = F.conv2d(flat, taps.view(-1, 1, 1, len(reach)), groups=batch * channels)
    return flat.view(batch, channels, height, width)

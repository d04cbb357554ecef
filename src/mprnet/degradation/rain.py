"""Rain: layers of bright streaks added to a picture.

The streaks of Rain100H and Rain100L (Yang et al., "Deep Joint Rain Detection and Removal from a Single Image",
2017) are grey, are added to the *display* values, and are clipped at white; measured on their training pairs, a
streak is 1.5 to 2.5 pixels wide, mostly 12 to 100 long, and within 35 degrees of the vertical. Rain in front of a
camera adds *light*. `Rain` does either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mprnet.degradation.draw import Range, check_settings, chosen, log_uniform, uniform
from mprnet.degradation.jpeg import partly_compressed
from mprnet.degradation.light import to_display, to_linear
from mprnet.degradation.smoothing import SHARPENING_REACH, sharpened
from mprnet.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Rain:
    """Add streaks of random density, direction, length, width and brightness, and sometimes a veil.

    Every quantity is drawn once a picture; the crossing layers of a picture then vary around it.

    Args:
        layers: how many crossing layers, lowest and highest.
        coverage: streaks that lie over a pixel on average (0.1 is the make of Rain100L, 2 that of Rain100H).
        brightness: what the middle of a streak adds, of white = 1; each streak has 0.2 to 2.2 times this, and
            0.87 times on average.
        most_light: the most that all streaks together may add on average; dense rain is dimmed to it.
        length_px: length of the streaks; on a picture that is lower, they lie over themselves.
        sigma_px: the profile across a streak is a Gaussian of this standard deviation.
        tilt_deg: largest direction from the vertical, to either side.
        crossing_deg: largest further tilt of a layer.
        veil_share: share of pictures with a veil, smooth mist that also dims what is behind it.
        linear_share: share of pictures on which the rain is added in linear light.
        sharpening: what the camera's unsharp mask of one pixel adds to the rain: rain less its blurred self, times
            this. The picture itself stays, or the network would learn to soften it.
        jpeg_share: share of the rainy pictures that are then compressed.
        quality: JPEG quality of these.
        dry_share: share of pictures left dry, so that what only looks like rain (fringes, twigs) stays.
        enlarged_share: share of pictures whose streaks are longer and wider, as in large photographs.
        enlarge: by what factor these are.

    Example:
        >>> clean = torch.full((2, 3, 32, 48), 0.2)
        >>> bool((Rain(veil_share=0)(clean, torch.Generator().manual_seed(1)) >= clean - 1e-6).all())
        True
    """

    layers: tuple[int, int] = (1, 4)
    coverage: Range = (0.04, 4.0)
    brightness: Range = (0.04, 0.3)
    most_light: float = 0.4
    length_px: Range = (12.0, 100.0)
    sigma_px: Range = (0.5, 1.0)
    tilt_deg: float = 35.0
    crossing_deg: float = 12.0
    veil_share: float = 0.15
    linear_share: float = 0.1
    sharpening: Range = (0.0, 0.0)
    jpeg_share: float = 0.0
    quality: Range = (75.0, 99.0)
    dry_share: float = 0.05
    enlarged_share: float = 0.0
    enlarge: Range = (1.0, 3.0)

    margin_px = 0

    def __post_init__(self) -> None:
        check_settings(self, "layers", lowest=1, highest=100)
        check_settings(self, "coverage", "brightness", "length_px", "sigma_px", lowest=1e-6)
        check_settings(self, "most_light", "tilt_deg", "crossing_deg", "sharpening")
        check_settings(self, "quality", lowest=1, highest=100)
        check_settings(self, "enlarge", lowest=1, highest=100)
        check_settings(self, "veil_share", "linear_share", "jpeg_share", "dry_share", "enlarged_share", highest=1)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` in the rain.

        Args:
            clean: `(B, C, H, W)`, float, sRGB in [0, 1], any device.
            generator: draws everything; the same seed on the same device gives the same rain.

        Returns:
            Tensor: of the shape, dtype and device of `clean`, in [0, 1].
        """
        batch, _, height, width = clean.shape
        rain = self.streaks(batch, (height, width), generator).to(clean)
        veil = (uniform(batch, (0.02, 0.25), generator) * chosen(batch, self.veil_share, generator)).to(clean)
        linear = chosen(batch, self.linear_share, generator).to(clean.device)
        behind = clean * (1 - veil) + 0.8 * veil
        rainy = torch.where(linear, to_display(to_linear(behind) + to_linear(rain)), behind + rain)
        if self.sharpening[1] > 0:
            added = F.pad((rainy - behind).float(), (SHARPENING_REACH,) * 4, mode="replicate")
            amount = uniform(batch, self.sharpening, generator).to(clean.device)
            rainy = behind + sharpened(added, amount).to(clean.dtype)
        rainy = rainy.clamp(0, 1)
        if self.jpeg_share:
            rainy = partly_compressed(rainy, self.jpeg_share, self.quality, generator)
        return torch.where(chosen(batch, self.dry_share, generator).to(clean.device), clean, rainy)

    def streaks(self, batch: int, size_hw: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw what the rain adds: `(batch, 1, H, W)`, float32, 0 and above, white = 1."""
        device = generator.device
        height, width = size_hw
        fy = torch.fft.fftfreq(height, device=device).view(1, 1, height, 1)  # cycles a pixel
        fx = torch.fft.rfftfreq(width, device=device).view(1, 1, 1, -1)
        low, high = self.layers
        count = torch.randint(low, high + 1, (batch, 1, 1, 1), generator=generator, device=device)
        coverage = log_uniform(batch, self.coverage, generator)
        brightness = log_uniform(batch, self.brightness, generator).minimum(self.most_light / coverage)
        coverage = coverage / count
        length = log_uniform(batch, self.length_px, generator)
        tilt = uniform(batch, (-1, 1), generator)
        tilt = tilt * tilt.abs() * self.tilt_deg  # steep rain is rarer
        scale = _scale(batch, self.enlarged_share, self.enlarge, generator)
        total = torch.zeros(batch, 1, height, width, device=device)
        for layer in range(high):
            layer_length = (length * log_uniform(batch, (0.6, 1.6), generator)).clamp(*self.length_px) * scale
            sigma = uniform(batch, self.sigma_px, generator) * scale
            angle = (tilt + uniform(batch, (-self.crossing_deg, self.crossing_deg), generator)) * (math.pi / 180)
            area = layer_length * sigma * math.sqrt(2 * math.pi)  # of one streak, in pixels
            places = torch.rand(total.shape, generator=generator, device=device) < coverage / area
            strength = 2 * torch.rand(total.shape, generator=generator, device=device) ** 2 + 0.2
            drops = torch.fft.rfft2(places * strength * area * brightness)
            # A drop smeared along a segment and softened by a Gaussian, as its transfer function. The field
            # is periodic: a streak that leaves at the bottom comes in at the top, which rain may.
            along = layer_length * (fx * angle.sin() + fy * angle.cos())
            smear = torch.sinc(along) * torch.exp(-2 * (math.pi * sigma) ** 2 * (fx**2 + fy**2))
            streaks = torch.fft.irfft2(drops * smear, s=(height, width))
            total += streaks.clamp(min=0) * (layer < count)
        return total


@dataclass(frozen=True)
class RainLayers:
    """Add layers taken from real rainy pairs (rainy minus clean) instead of drawn ones.

    Args:
        layers: each `(H, W)`, what the rain added: float32, 0 and above, white = 1, or a quarter of that in memory,
            uint8, white = 255.
        gain: a layer is brightened or dimmed by a factor drawn from this range.
        sparse_share: share of pictures that keep only the brightest part of the layer, as light rain has.
        dry_share: share of pictures left dry, as for `Rain`.
        enlarged_share: share of pictures for which the layer is enlarged, as for `Rain`.
        enlarge: by what factor.
    """

    layers: tuple[Tensor | NDArray[np.uint8], ...]
    gain: Range = (0.4, 1.3)
    sparse_share: float = 0.5
    dry_share: float = 0.1
    enlarged_share: float = 0.0
    enlarge: Range = (1.0, 3.0)

    margin_px = 0

    def __post_init__(self) -> None:
        check_settings(self, "gain", lowest=1e-6)
        check_settings(self, "enlarge", lowest=1, highest=100)
        check_settings(self, "sparse_share", "dry_share", "enlarged_share", highest=1)
        if not self.layers:
            raise ConfigError("layers is empty; expected at least one layer of rain")

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` `(B, C, H, W)`, sRGB in [0, 1], under a random piece of a random layer each."""
        batch, _, height, width = clean.shape
        scales = _scale(batch, self.enlarged_share, self.enlarge, generator).flatten().tolist()
        rain = torch.stack([self._piece((height, width), scale, generator) for scale in scales]).unsqueeze(1)
        sparse = chosen(batch, self.sparse_share, generator)
        threshold = _upper_quartile(rain.flatten(1)).view(-1, 1, 1, 1) * uniform(batch, (0.5, 1.2), generator)
        rain = torch.where(sparse, (rain - threshold).clamp(min=0), rain) * log_uniform(batch, self.gain, generator)
        rain = torch.where(chosen(batch, self.dry_share, generator), 0, rain)
        return (clean + rain.to(clean)).clamp(0, 1)

    def _piece(self, size_hw: tuple[int, int], scale: float, generator: torch.Generator) -> Tensor:
        layer = torch.as_tensor(self.layers[_integer(len(self.layers), generator)], device=generator.device)
        for axis in (0, 1):
            layer = layer.index_select(axis, _run(layer.shape[axis], math.ceil(size_hw[axis] / scale), generator))
        if layer.dtype == torch.uint8:
            layer = layer / 255
        if layer.shape != size_hw:
            layer = F.interpolate(layer[None, None], size_hw, mode="bicubic").clamp(min=0)[0, 0]
        return layer.flip(1) if _integer(2, generator) else layer


def _scale(batch: int, share: float, limits: Range, generator: torch.Generator) -> Tensor:
    """Draw by what the rain of each picture is enlarged, `(batch, 1, 1, 1)`: by 1 but for a share of the pictures."""
    if not share:  # and draw nothing: what is off leaves the rain of every seed as it was
        return torch.ones(batch, 1, 1, 1, device=generator.device)
    return torch.where(chosen(batch, share, generator), log_uniform(batch, limits, generator), 1.0)


def _upper_quartile(values: Tensor) -> Tensor:
    """Return the 0.75 quantile of each row; of long rows, which `torch.quantile` refuses, of every so many-th value."""
    return values[:, :: values.numel() // 2**24 + 1].quantile(0.75, dim=1)


def rain_layer(rainy: Tensor, clean: Tensor) -> Tensor:
    """Return what rain added to a picture, for `RainLayers`.

    The largest difference over the channels is taken, since a channel clipped at white shows less than was added.

    Args:
        rainy: `(3, H, W)`, float, sRGB in [0, 1].
        clean: likewise, the same picture without rain.

    Returns:
        Tensor: `(H, W)`, 0 and above.
    """
    return (rainy - clean).amax(dim=0).clamp(min=0)


def _integer(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator, device=generator.device))


def _run(available: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Return `wanted` neighbouring indices from a random start, going round where the layer is too short."""
    start = _integer(available, generator)
    if wanted <= available:
        start = start % (available - wanted + 1)
    return (torch.arange(wanted, device=generator.device) + start) % available

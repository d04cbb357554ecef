"""Noise: white Gaussian of unknown strength, the grain of film, or what a camera makes of little light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mprnet.degradation.draw import Range, check_settings, chosen, log_uniform, normal, uniform
from mprnet.degradation.jpeg import partly_compressed
from mprnet.degradation.light import to_display, to_linear
from mprnet.degradation.smoothing import SHARPENING_REACH, blurred, inner, sharpened

_GRAIN_REACH = 6
_SMOOTHING_REACH = 3
_COLOUR_REACH = 10
_DEMOSAICKING_REACH = 2
"""How far each spreads a value, in pixels."""

# Malvar, He and Cutler 2004, Figure 2, in eighths.
_MALVAR = (
    # green at red and blue
    ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0)),
    # red or blue at green, its neighbours in the row
    ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0)),
    # red or blue at green, its neighbours in the column
    ((0, 0, -1, 0, 0), (0, -1, 4, -1, 0), (0.5, 0, 5, 0, 0.5), (0, -1, 4, -1, 0), (0, 0, -1, 0, 0)),
    # red at blue, blue at red
    ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0)),
)


@dataclass(frozen=True)
class GaussianNoise:
    """Add white Gaussian noise to the display values, and clip, as the blind denoising benchmarks do.

    Args:
        sigma: standard deviation, of white = 255, drawn evenly; equal limits fix it.
        grey_share: share of pictures whose noise is the same in all colours, as the grain of a black-and-white film.

    Example:
        >>> noisy = GaussianNoise(sigma=(25, 25))(torch.full((1, 3, 64, 64), 0.5), torch.Generator().manual_seed(0))
        >>> 24 < float(noisy.std() * 255) < 26
        True
    """

    sigma: Range = (0.0, 55.0)
    grey_share: float = 0.0

    margin_px = 0

    def __post_init__(self) -> None:
        check_settings(self, "sigma")
        check_settings(self, "grey_share", highest=1)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` `(B, C, H, W)`, sRGB in [0, 1], with noise, clipped to [0, 1]."""
        sigma = uniform(clean.shape[0], self.sigma, generator) / 255
        noise = normal(tuple(clean.shape), generator)
        if self.grey_share:
            noise = torch.where(chosen(clean.shape[0], self.grey_share, generator), noise[:, :1], noise)
        return (clean + (sigma * noise).to(clean)).clamp(0, 1)


@dataclass(frozen=True)
class FilmGrain:
    """Add the grain of a film that was scanned: the same in all colours, coarse, and stored as JPEG.

    Args:
        sigma: standard deviation in the middle tones, of white = 255.
        size_px: standard deviation of the Gaussian that makes white noise as coarse as the scan shows the grain.
        fading: by how much less of it bright and dark tones have: 0 is the same everywhere, 1 is none in black and
            in white, for there all of the silver is left in the film, or none.
        jpeg_share: share of pictures that are compressed.
        quality: JPEG quality.

    Example:
        >>> grainy = FilmGrain(sigma=(20, 20), jpeg_share=0)(
        ...     torch.full((1, 3, 64, 64), 0.5), torch.Generator().manual_seed(0)
        ... )
        >>> 18 < float(grainy.std() * 255) < 22, bool((grainy[:, 0] == grainy[:, 2]).all())
        (True, True)
    """

    sigma: Range = (2.0, 30.0)
    size_px: Range = (0.4, 2.0)
    fading: Range = (0.0, 1.0)
    jpeg_share: float = 0.5
    quality: Range = (75.0, 99.0)

    margin_px = 0

    def __post_init__(self) -> None:
        check_settings(self, "sigma")
        check_settings(self, "size_px", lowest=1e-6, highest=_GRAIN_REACH / 2)
        check_settings(self, "fading", "jpeg_share", highest=1)
        check_settings(self, "quality", lowest=1, highest=100)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` `(B, C, H, W)`, sRGB in [0, 1], with grain, clipped to [0, 1]."""
        batch, _, height, width = clean.shape
        sigma, size_px, fading = (
            uniform(batch, limits, generator).to(clean.device) for limits in (self.sigma, self.size_px, self.fading)
        )
        white = normal((batch, 1, height + 2 * _GRAIN_REACH, width + 2 * _GRAIN_REACH), generator).to(clean.device)
        grain = blurred(white, size_px, _GRAIN_REACH, kept=1.0)
        tone = clean.float().mean(dim=1, keepdim=True)
        strength = sigma / 255 * (1 - fading * (2 * tone - 1).square())
        grainy = (clean.float() + strength * grain).clamp(0, 1)
        return partly_compressed(grainy, self.jpeg_share, self.quality, generator).to(clean.dtype)


@dataclass(frozen=True)
class CameraNoise:
    """Make the noise of a camera: stronger in the light, coarser in colour than in brightness, compressed as JPEG.

    In linear light the variance is `gain · light + read²` (Foi et al., "Practical Poissonian-Gaussian Noise
    Modeling and Fitting for Single-Image Raw-Data", 2008). White balance amplifies red and blue. Each photosite
    measures one colour; demosaicking makes the others from its neighbours, and so shares the noise between colours
    and spreads it (Malvar, He and Cutler, "High-Quality Linear Interpolation for Demosaicing of Bayer-Patterned Color
    Images", 2004). The colour matrix amplifies what differs between the colours; the camera averages that over a
    neighbourhood, since the eye is slow to see it, smooths all a little, and compresses the file.

    Args:
        gain: variance that full light has; its square root is the relative noise of a white pixel.
        read: standard deviation of the noise in the dark.
        saturation: factor by which the colour matrix amplifies the difference to the mean of the colours.
        colour_spread_px: standard deviation of the Gaussian over which colour is averaged: next to nothing on crops of
            SIDD, 2 pixels on those of PolyU. It is cut off after 10 pixels, so that 5 comes out as 4.5.
        colour_kept: the power to which the strength that fine noise loses in that average is given back: at 0 it is
            lost, at 1 coarse colour is as strong as fine colour would be.
        spread_px: standard deviation of the Gaussian that stands for the camera's smoothing; it is scaled so that
            white noise would keep its strength.
        sharpening: what the camera's unsharp mask of one pixel adds to the noise: noise less its blurred self, times
            this. The picture itself stays, or the network would learn to soften it.
        banding: deviation of what all photosites of a row, or of a column, have in common, in units of `read`.
        hot_pixels: share of the photosites that are brighter than the light, by up to all there is.
        jpeg_share: share of pictures that are compressed.
        quality: JPEG quality.
        grey_share: share of pictures whose noise is the same in all colours: the camera has smoothed the rest away.
    """

    gain: Range = (1e-4, 3e-2)
    read: Range = (5e-4, 2e-2)
    saturation: Range = (1.0, 1.8)
    colour_spread_px: Range = (0.1, 2.5)
    colour_kept: Range = (0.0, 0.0)
    spread_px: Range = (0.1, 0.8)
    sharpening: Range = (0.0, 0.0)
    banding: Range = (0.0, 0.0)
    hot_pixels: Range = (0.0, 0.0)
    jpeg_share: float = 0.6
    quality: Range = (60.0, 98.0)
    grey_share: float = 0.0

    margin_px = 0

    def __post_init__(self) -> None:
        check_settings(self, "gain", "read", "saturation", lowest=1e-6)
        check_settings(self, "spread_px", lowest=1e-6, highest=_SMOOTHING_REACH / 2)
        check_settings(self, "colour_spread_px", lowest=1e-6, highest=6)
        check_settings(self, "sharpening", "banding")
        check_settings(self, "colour_kept", "hot_pixels", highest=1)
        check_settings(self, "quality", lowest=1, highest=100)
        check_settings(self, "jpeg_share", "grey_share", highest=1)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` `(B, C, H, W)`, sRGB in [0, 1], as a camera would, clipped to [0, 1]."""
        batch, channels = clean.shape[:2]
        device = clean.device
        light = to_linear(clean.float())
        extra = (1.0, 0.0, 0.8) if channels == 3 else (0.0,) * channels
        balance = 1 + torch.cat([uniform(batch, (0.0, most), generator) for most in extra], dim=1).to(device)
        gain = log_uniform(batch, self.gain, generator).to(device)
        read = log_uniform(batch, self.read, generator).to(device)
        saturation = uniform(batch, self.saturation, generator)
        if self.grey_share:
            saturation = torch.where(chosen(batch, self.grey_share, generator), 0.0, saturation)
        saturation = saturation.to(device)
        colour_spread = log_uniform(batch, self.colour_spread_px, generator).to(device)
        spread = uniform(batch, self.spread_px, generator).to(device)
        sharpens = self.sharpening[1] > 0
        # Light `x` was `x / balance` on the sensor.
        deviation = balance * (gain * light / balance + read**2).sqrt()
        reach = _SMOOTHING_REACH + _COLOUR_REACH + _DEMOSAICKING_REACH + (SHARPENING_REACH if sharpens else 0)
        deviation = F.pad(deviation, (reach,) * 4, mode="replicate")
        sensed = deviation * normal(tuple(deviation.shape), generator).to(device)
        if self.banding[1] > 0:
            sensed = sensed + balance * read * uniform(batch, self.banding, generator).to(device) * _bands(
                sensed, generator
            )
        if self.hot_pixels[1] > 0:
            sensed = sensed + balance * _hot(sensed, uniform(batch, self.hot_pixels, generator), generator)
        grain = _demosaick(sensed, generator)
        common = grain.mean(dim=1, keepdim=True)
        kept = uniform(batch, self.colour_kept, generator).to(device) if self.colour_kept[1] > 0 else 0.0
        colour = blurred(grain - common, colour_spread, _COLOUR_REACH, kept=kept)
        grain = blurred(inner(common, _COLOUR_REACH) + saturation * colour, spread, _SMOOTHING_REACH, kept=1.0)
        if sharpens:
            grain = sharpened(grain, uniform(batch, self.sharpening, generator).to(device))
        noisy = to_display(light + grain).clamp(0, 1)
        return partly_compressed(noisy, self.jpeg_share, self.quality, generator).to(clean.dtype)


@dataclass(frozen=True)
class Noise:
    """White noise on some pictures of the batch, camera noise on others, and the grain of film on the rest.

    Args:
        sigma: standard deviation of the white noise, of white = 255.
        camera_share: share of pictures with camera noise.
        camera: what that is like.
        grain_share: share of the others that have the grain of film.
        grain: what that is like.
        jpeg_share: share of the pictures with white noise that are then compressed: it stays white in brightness, and
            becomes weaker and coarse in colour.
        quality: JPEG quality of these.
        grey_share: share of the pictures with white noise on which it is the same in all colours.
        clean_share: share of all the pictures that are left as they are, so that clean photographs stay so.
    """

    sigma: Range = (0.0, 55.0)
    camera_share: float = 0.25
    camera: CameraNoise = CameraNoise()
    grain_share: float = 0.0
    grain: FilmGrain = FilmGrain()
    jpeg_share: float = 0.0
    quality: Range = (75.0, 99.0)
    grey_share: float = 0.0
    clean_share: float = 0.0

    margin_px = 0

    def __post_init__(self) -> None:
        check_settings(self, "sigma")
        check_settings(self, "quality", lowest=1, highest=100)
        check_settings(self, "camera_share", "grain_share", "jpeg_share", "grey_share", "clean_share", highest=1)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` `(B, C, H, W)`, sRGB in [0, 1], with noise, clipped to [0, 1]."""
        from_camera = chosen(clean.shape[0], self.camera_share, generator).to(clean.device)
        noisy = GaussianNoise(self.sigma, self.grey_share)(clean, generator)
        if self.jpeg_share:
            noisy = partly_compressed(noisy, self.jpeg_share, self.quality, generator)
        if self.grain_share:
            from_film = chosen(clean.shape[0], self.grain_share, generator).to(clean.device)
            noisy = torch.where(from_film, self.grain(clean, generator), noisy)
        if self.camera_share:
            noisy = torch.where(from_camera, self.camera(clean, generator), noisy)
        if self.clean_share:
            noisy = torch.where(chosen(clean.shape[0], self.clean_share, generator).to(clean.device), clean, noisy)
        return noisy


def _bands(sensed: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a standard normal number for every row of half of the pictures, for every column of the others."""
    batch, _, height, width = sensed.shape
    rows, columns = (normal((batch, 1, *shape), generator) for shape in ((height, 1), (1, width)))
    return torch.where(chosen(batch, 0.5, generator), rows, columns).to(sensed.device)


def _hot(sensed: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """Choose a `share` `(B, 1, 1, 1)` of the photosites, and draw how bright each is, evenly between 0 and 1."""
    drawn = torch.rand(tuple(sensed.shape), generator=generator, device=generator.device)
    # Below the share the draw is even there: it serves as the brightness, too.
    return torch.where(drawn < share, drawn / share.clamp(min=1e-12), 0.0).to(sensed.device)


def _demosaick(sensed: Tensor, generator: torch.Generator) -> Tensor:
    """Keep at each photosite of a Bayer pattern the colour it sees, and interpolate the others.

    Other than three channels come from sensors that see all of them everywhere, and are cut alone.

    Args:
        sensed: `(B, C, H + 4, W + 4)`, float.
        generator: says where in the pattern each picture begins.

    Returns:
        Tensor: `(B, C, H, W)`.
    """
    batch, channels, height, width = sensed.shape
    if channels != 3:
        return inner(sensed, _DEMOSAICKING_REACH)
    device = sensed.device
    odd = [chosen(batch, 0.5, generator).to(device) for _ in range(2)]
    red_row, red_column = (
        (torch.arange(side, device=device).view(shape) % 2 == 0) ^ begins
        for side, shape, begins in zip((height, width), ((1, 1, -1, 1), (1, 1, 1, -1)), odd, strict=True)
    )
    is_red, is_blue = red_row & red_column, ~red_row & ~red_column
    red, green, blue = (colour.unsqueeze(1) for colour in sensed.unbind(1))
    mosaic = torch.where(is_red, red, torch.where(is_blue, blue, green))
    kernels = torch.tensor(_MALVAR, device=device).div(8).unsqueeze(1)
    made = F.conv2d(mosaic, kernels)  # (B, 4, H, W)
    cross, in_row, in_column, diagonal = (colour.unsqueeze(1) for colour in made.unbind(1))
    mosaic, is_red, is_blue = (inner(whole, _DEMOSAICKING_REACH) for whole in (mosaic, is_red, is_blue))
    red_row = red_row[..., _DEMOSAICKING_REACH:-_DEMOSAICKING_REACH, :]
    return torch.cat(
        (
            torch.where(is_red, mosaic, torch.where(is_blue, diagonal, torch.where(red_row, in_row, in_column))),
            torch.where(is_red | is_blue, cross, mosaic),
            torch.where(is_blue, mosaic, torch.where(is_red, diagonal, torch.where(red_row, in_column, in_row))),
        ),
        dim=1,
    )

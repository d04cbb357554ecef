"""Motion blur: the picture that a moving camera gathers while its shutter is open."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mprnet.degradation.draw import Range, check_settings, chosen, log_uniform, normal, uniform
from mprnet.degradation.jpeg import partly_compressed
from mprnet.degradation.light import to_display, to_linear


@dataclass(frozen=True)
class MotionBlur:
    """Average the picture along a random camera path, in linear light, and add a little noise.

    The camera shifts and rolls about a random point, so the kernel varies over the picture. Its velocity is random
    and has inertia: kept for long it makes the path a stroke; soon forgotten, the path turns, crosses itself, and
    lingers where it turns (after Boracchi and Foi, "Modeling the Performance of Image Restoration from Motion Blur",
    2012). It is centred, so that the sharp picture lies in the middle of the blurred one. In some pictures a part, with
    a soft edge, moves along a path of its own, as people and cars do in front of GoPro's camera.

    Args:
        extent_px: the larger side of the box round the path; short ones are as frequent as long ones by ratio.
        inertia: after which part of the exposure the velocity is forgotten (its autocorrelation falls to 1/e):
            much more than 1 is a straight line.
        roll_deg: standard deviation of the rotation over the exposure.
        roll_share: share of pictures whose camera rolls at all.
        field_px: the camera rolls about a point up to half of this away from the middle.
        object_share: share of pictures with a part that moves by itself.
        sharp_share: share of pictures left sharp, so that sharp photographs stay as they are.
        noise_sigma: standard deviation of the white noise added afterwards, of white = 1.
        jpeg_share: share of pictures that are then compressed.
        quality: JPEG quality of these.
        exposures: how many positions of the path are averaged; `None` takes, where the camera rolls, the more of 2.4 a
            pixel of the box round the path and one a pixel of that box and what the roll adds in the corner farthest
            from its centre; otherwise 2.4 a pixel of the largest box; at least 9.

    Example:
        >>> grey = torch.full((1, 3, 24, 24), 0.5)
        >>> blurred = MotionBlur(noise_sigma=(0, 0))(grey, torch.Generator().manual_seed(1))
        >>> torch.allclose(blurred, grey, atol=1e-4)
        True
    """

    extent_px: Range = (3.0, 24.0)
    inertia: Range = (0.05, 1.0)
    roll_deg: float = 0.5
    roll_share: float = 0.5
    field_px: float = 480.0
    object_share: float = 0.3
    sharp_share: float = 0.03
    noise_sigma: Range = (0.0, 0.012)
    jpeg_share: float = 0.0
    quality: Range = (60.0, 98.0)
    exposures: int | None = None

    def __post_init__(self) -> None:
        check_settings(self, "noise_sigma", "field_px")
        check_settings(self, "extent_px", highest=1000)
        check_settings(self, "roll_deg", highest=30)
        check_settings(self, "inertia", lowest=1e-3)
        check_settings(self, "roll_share", "object_share", "sharp_share", "jpeg_share", highest=1)
        check_settings(self, "quality", lowest=1, highest=100)
        if self.exposures is not None:
            check_settings(self, "exposures", lowest=1, highest=10_000)

    @property
    def margin_px(self) -> int:
        """Pixels that must surround a crop, since the blur brings in what lies beside it.

        A path that lingers at one end, or a strong roll, looks up to 4 pixels further; about 1 path in 100 does.
        """
        return math.ceil(self.extent_px[1] / 2) + 2

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean` as a shaken camera takes it.

        Args:
            clean: `(B, C, H, W)`, float, sRGB in [0, 1], any device. Its border is mirrored; cut `margin_px`
                off the result where that matters.
            generator: draws everything; the same seed on the same device gives the same blur.

        Returns:
            Tensor: of the shape, dtype and device of `clean`, in [0, 1].
        """
        batch, _, height, width = clean.shape
        light = to_linear(clean.float())
        gathered = self._gathered(light, generator, torch.ones(batch, dtype=torch.bool))
        moves = chosen(batch, self.object_share, generator).flatten()
        part = _soft_part(batch, (height, width), generator)
        moving = self._gathered(light, generator, moves)
        gathered = torch.where(
            moves.view(-1, 1, 1, 1).to(clean.device), gathered.lerp(moving, part.to(light)), gathered
        )
        sharp = chosen(batch, self.sharp_share, generator).to(clean.device)
        blurred = to_display(torch.where(sharp, light, gathered))
        sigma = uniform(batch, self.noise_sigma, generator)
        noise = sigma * normal(tuple(clean.shape), generator)
        blurred = (blurred + noise.to(clean.device)).clamp(0, 1)
        if self.jpeg_share:
            blurred = partly_compressed(blurred, self.jpeg_share, self.quality, generator)
        return blurred.to(clean.dtype)

    def _gathered(self, light: Tensor, generator: torch.Generator, of: Tensor) -> Tensor:
        """Average each picture of `light` `(B, C, H, W)` that is one `of` `(B,)` these along a path of its own."""
        batch = light.shape[0]
        shift, roll = self._path(batch, generator)
        centre = torch.cat([uniform(batch, (-0.5, 0.5), generator) for _ in range(2)], dim=1)[..., 0, 0]
        of, shift, roll, centre = (drawn.to(light.device) for drawn in (of, shift, roll, centre * self.field_px))
        rolls = of & (roll != 0).any(dim=1)
        shifts = of & ~rolls
        result = torch.zeros_like(light)
        for one in rolls.nonzero():
            few = self._few(torch.cat((shift[one], roll[one].unsqueeze(-1)), dim=-1), centre[one], light.shape[-2:])
            result[one] = _gather_rolled(light[one], few[..., :2], few[..., 2], centre[one])
        if shifts.any():  # no convolution takes no picture
            result[shifts] = _gather_shifted(light[shifts], shift[shifts])
        return result

    def _few(self, path: Tensor, centre: Tensor, size_hw: torch.Size) -> Tensor:
        """Choose as many positions of one path `(1, P, 3)`, shift and roll, as it needs: a short one spares work.

        A roll moves what is far from its centre further than the path is long: as many positions as what it passes
        there has pixels, or a large picture would be seen several times over.
        """
        drawn = path.shape[1]
        if self.exposures:
            return path
        across, down, turn = (path.amax(dim=1) - path.amin(dim=1))[0].tolist()
        farthest = math.hypot(
            *(side / 2 + abs(off) for side, off in zip(size_hw[::-1], centre[0].tolist(), strict=True))
        )
        extent = max(across, down)
        enough, rolled = min(drawn, _enough(extent)), math.ceil(extent + turn * farthest)
        if rolled > enough:
            return F.interpolate(path.transpose(1, 2), rolled, mode="linear", align_corners=True).transpose(1, 2)
        return path[:, torch.linspace(0, drawn - 1, enough, device=path.device).round().long()]

    def _path(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the camera's shift `(B, positions, 2)` in pixels (x, y) and roll `(B, positions)` in radians."""
        positions = self.exposures or _enough(self.extent_px[1])
        inertia = log_uniform(batch, self.inertia, generator)[:, 0]  # (B, 1, 1)
        path = _velocity(inertia, normal((batch, positions, 2), generator)).cumsum(dim=1)
        box = (path.amax(dim=1) - path.amin(dim=1)).amax(dim=-1).view(-1, 1, 1)
        short, long = (max(extent, 1e-3) for extent in self.extent_px)  # 0 has no logarithm
        extent = log_uniform(batch, (short, long), generator)[:, 0]  # (B, 1, 1)
        path = (path - path.mean(dim=1, keepdim=True)) * extent / box.clamp(min=1e-6)
        turn = normal((batch, positions), generator).cumsum(dim=1) / positions
        turn = (turn - turn.mean(dim=1, keepdim=True)) * math.radians(self.roll_deg) * math.sqrt(positions)
        return path, turn * chosen(batch, self.roll_share, generator)[:, 0, :, 0]


def _enough(extent_px: float) -> int:
    """Return how many positions of a path are averaged: 2.4 a pixel of the box round it, at least 9."""
    return max(9, math.ceil(2.4 * extent_px))


def _velocity(inertia: Tensor, pushes: Tensor) -> Tensor:
    """Let velocities decay, from each of P positions to the next, and random `pushes` `(B, P, 2)` renew them.

    An Ornstein–Uhlenbeck process: all velocities have deviation 1. `inertia` `(B, 1, 1)` is of the whole exposure.
    """
    number = torch.arange(pushes.shape[1], device=pushes.device)
    passed = number[:, None] - number  # since a push, (P, P)
    kept = (-1 / (inertia * len(number))).exp()  # from one position to the next
    weight = torch.where(passed >= 0, kept ** passed.clamp(min=0), 0)
    strength = torch.where(number == 0, 1, (1 - kept**2).sqrt())  # the first one is the velocity to begin with
    return (weight * strength) @ pushes


def _gather_rolled(light: Tensor, shift: Tensor, roll: Tensor, centre: Tensor) -> Tensor:
    """Average `light` `(B, C, H, W)` over P positions: shifted `(B, P, 2)`, rolled `(B, P)` about `centre` `(B, 2)`."""
    height, width = light.shape[-2:]
    x = torch.arange(width, device=light.device) - (width - 1) / 2
    y = torch.arange(height, device=light.device) - (height - 1) / 2
    gathered = torch.zeros_like(light)
    for position in range(shift.shape[1]):
        angle = roll[:, position].view(-1, 1, 1)
        from_x = x.view(1, 1, -1) - centre[:, 0].view(-1, 1, 1)
        from_y = y.view(1, -1, 1) - centre[:, 1].view(-1, 1, 1)
        # For the small angles of a hand, sin a = a and cos a = 1 to 1 in 10,000.
        source_x = x.view(1, 1, -1) - angle * from_y + shift[:, position, 0].view(-1, 1, 1)
        source_y = y.view(1, -1, 1) + angle * from_x + shift[:, position, 1].view(-1, 1, 1)
        grid = torch.stack((source_x * (2 / width), source_y * (2 / height)), dim=-1)  # (B, H, W, 2)
        # Bilinear sampling would soften what is not blurred at all.
        gathered += F.grid_sample(light, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return gathered / shift.shape[1]


def _gather_shifted(light: Tensor, shift: Tensor) -> Tensor:
    """Do what `_gather_rolled` does of the same positions without a roll: as a convolution, with far less work."""
    batch, channels, *size_hw = light.shape
    reach = math.ceil(float(shift.abs().max())) + 1
    offsets = torch.arange(-reach, reach + 1, device=light.device)
    across, down = (_cubic(offsets - shift[..., axis, None]) for axis in (0, 1))  # (B, P, 2 reach + 1)
    kernel = torch.einsum("bpy,bpx->byx", down, across) / shift.shape[1]
    for axis, side in zip((2, 3), size_hw, strict=True):
        places = torch.arange(-reach, side + reach, device=light.device) % (2 * side)
        light = light.index_select(axis, torch.minimum(places, 2 * side - 1 - places))  # mirrored at the border
    kernels = kernel.repeat_interleave(channels, dim=0).unsqueeze(1)
    return F.conv2d(light.flatten(0, 1).unsqueeze(0), kernels, groups=batch * channels).view(batch, channels, *size_hw)


def _cubic(distance: Tensor) -> Tensor:
    """Return the weight of a pixel so far away in bicubic sampling as PyTorch does it (Keys 1981, a = -0.75)."""
    t = distance.abs()
    near = (1.25 * t - 2.25) * t**2 + 1
    far = -0.75 * (((t - 5) * t + 8) * t - 4)
    return torch.where(t <= 1, near, far) * (t < 2)


def _soft_part(batch: int, size_hw: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw an ellipse with a soft edge in each picture: `(batch, 1, H, W)`, 1 inside it, 0 far from it."""
    distance = torch.zeros(batch, 1, *size_hw, device=generator.device)
    for axis, side in ((2, size_hw[0]), (3, size_hw[1])):
        middle = uniform(batch, (0.2, 0.8), generator) * side
        radius = uniform(batch, (0.15, 0.45), generator) * side
        places = torch.arange(side, device=generator.device).view([-1 if dim == axis else 1 for dim in range(4)])
        distance = distance + ((places - middle) / radius) ** 2
    return torch.sigmoid(6 * (1 - distance.sqrt()))

"""Rain, motion blur and noise, made on purpose: seeded, batched, on tensors of any device.

A `Degradation` is called with clean pictures and a `torch.Generator` and returns them degraded.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from mprnet.degradation.blur import MotionBlur
from mprnet.degradation.jpeg import jpeg
from mprnet.degradation.noise import CameraNoise, GaussianNoise, Noise
from mprnet.degradation.rain import Rain, RainLayers, rain_layer


class Degradation(Protocol):
    """What every degradation of this package is.

    `margin_px` is how far beyond a pixel it looks: crop that much larger, and cut it off both pictures afterwards.
    """

    @property
    def margin_px(self) -> int: ...

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Degrade `clean` `(B, 3, H, W)`, sRGB in [0, 1]; the result has its shape, dtype, device and range."""
        ...


DEGRADATIONS: dict[str, type[Rain] | type[MotionBlur] | type[Noise]] = {
    "derain": Rain,
    "deblur": MotionBlur,
    "denoise": Noise,
}
"""What each task undoes."""

__all__ = [
    "DEGRADATIONS",
    "CameraNoise",
    "Degradation",
    "GaussianNoise",
    "MotionBlur",
    "Noise",
    "Rain",
    "RainLayers",
    "jpeg",
    "rain_layer",
]

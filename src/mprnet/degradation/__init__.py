"""Rain, motion blur and noise, made on purpose: seeded, batched, on tensors of any device.

A `Degradation` is called with clean pictures and a `torch.Generator` and returns them degraded.
"""

from mprnet.degradation.blur import MotionBlur
from mprnet.degradation.jpeg import jpeg
from mprnet.degradation.noise import CameraNoise, FilmGrain, GaussianNoise, Noise
from mprnet.degradation.rain import Rain, RainLayers, rain_layer
from mprnet.degradation.tasks import DEGRADATIONS, Degradation, make_degradation

__all__ = [
    "DEGRADATIONS",
    "CameraNoise",
    "Degradation",
    "FilmGrain",
    "GaussianNoise",
    "MotionBlur",
    "Noise",
    "Rain",
    "RainLayers",
    "jpeg",
    "make_degradation",
    "rain_layer",
]

"""Make the sample pictures of this folder: `python samples/make.py`. The clean ones come with scikit-image."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import skimage.data
from PIL import Image

from mprnet.datasets import degrade_folder
from mprnet.degradation import CameraNoise, GaussianNoise, MotionBlur, Rain

if TYPE_CHECKING:
    from mprnet.degradation import Degradation


class Sample(NamedTuple):
    """A picture of `skimage.data`, the width it is shrunk to, and what is done to it."""

    task: str
    picture: str
    width_px: int
    degradation: Degradation
    seed: int


RAIN = Rain(layers=(2, 3), coverage=(0.4, 1.0), brightness=(0.1, 0.16), veil_share=0, linear_share=0)
SHAKE = MotionBlur(extent_px=(9, 14), roll_share=1, object_share=0, sharp_share=0, noise_sigma=(0, 0.004), exposures=34)
CAMERA = CameraNoise(gain=(0.005, 0.01), read=(0.004, 0.01), spread_px=(0.4, 0.6), jpeg_share=1, quality=(85, 95))
WHITE = GaussianNoise(sigma=(30, 30))

SAMPLES = (
    Sample("derain", "rocket", 480, RAIN, seed=3),
    Sample("deblur", "astronaut", 384, SHAKE, seed=4),
    Sample("denoise", "chelsea", 451, CAMERA, seed=0),
    Sample("denoise", "coffee", 420, WHITE, seed=0),
)


def make_samples(folder: Path) -> None:
    """Write every sample to `folder/TASK/input` and `folder/TASK/target`, over those that are there."""
    for sample in SAMPLES:
        clean = Image.fromarray(getattr(skimage.data, sample.picture)())
        size = (sample.width_px, round(clean.height * sample.width_px / clean.width))
        with tempfile.TemporaryDirectory() as shrunk:
            path = Path(shrunk, f"{sample.picture}.png")
            clean.resize(size, Image.Resampling.LANCZOS).save(path)
            degrade_folder(path, folder / sample.task, sample.degradation, seed=sample.seed, overwrite=True)


if __name__ == "__main__":
    make_samples(Path(__file__).parent)

"""Hold weights of `denoise` side by side on kinds of noise, and on pictures as soft as those of cameras.

    python tests/checks/kinds_of_noise.py ../shared/data/validation/clean BEFORE.safetensors AFTER.safetensors

PSNR in dB, RGB, 8-bit input and output, on the middles (192×192) of eight pictures, as they are and softened by a
Gaussian of 0.8 pixels. The softened ones under weak, coarse noise are like PolyU40, and foretold it of some weights
(docs/decisions/0017-pictures-as-soft-as-cameras.md), not of all (0018-three-editions-in-one.md): it must be measured.
"""

from __future__ import annotations

import argparse
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from mprnet.checkpoints import load_checkpoint
from mprnet.degradation import CameraNoise
from mprnet.imaging import read_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.float64]
    """`(H, W, C)`, sRGB in [0, 1]."""

SIDE_PX = 192
LUMA = np.array([0.299, 0.587, 0.114])
CAMERA = CameraNoise(spread_px=(0.1, 1.2), colour_spread_px=(0.2, 5.0), sharpening=(0, 1))
WEAK = replace(CAMERA, gain=(1e-4, 1e-3), read=(5e-4, 1e-3))
AS_POLYU = CameraNoise(
    gain=(1e-4, 6e-4),
    read=(5e-4, 2e-3),
    colour_kept=(0.2, 0.2),
    colour_spread_px=(1.5, 5),
    sharpening=(0, 0.3),
    spread_px=(0.7, 1.2),
    quality=(85, 98),
)
STRONGER = replace(CAMERA, gain=(1e-3, 1e-2), read=(2e-3, 1e-2), sharpening=(0, 0.6))


def in_8_bits(picture: Pixels) -> Pixels:
    return np.round(np.clip(picture, 0, 1) * 255) / 255


def psnr(one: Pixels, other: Pixels) -> float:
    return min(80.0, -10 * math.log10(float(((one - other) ** 2).mean()) + 1e-12))


def by(camera: CameraNoise, picture: Pixels, seed: int) -> Pixels:
    clean = torch.from_numpy(picture).float().permute(2, 0, 1)[None]
    return camera(clean, torch.Generator().manual_seed(seed))[0].permute(1, 2, 0).numpy().astype(np.float64)


def as_jpeg(picture: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file).convert("RGB"), dtype=np.float64) / 255


def cases(sharp: Pixels, seed: int) -> Iterator[tuple[str, Pixels, Pixels]]:
    """Yield the name of each case, the noisy picture and the clean one."""
    random = np.random.default_rng(seed)

    def white(sigma: float, channels: int = 3) -> Pixels:
        return random.standard_normal((*sharp.shape[:2], channels)) * sigma / 255

    def smooth(noise: Pixels, sigma_px: float) -> Pixels:
        fine = np.random.default_rng(0).standard_normal((256, 256))
        return gaussian_filter(noise, (sigma_px, sigma_px, 0)) / gaussian_filter(fine, sigma_px).std()

    soft = in_8_bits(gaussian_filter(sharp, (0.8, 0.8, 0)))
    grey = in_8_bits((sharp @ LUMA)[..., None].repeat(3, axis=2))
    for sigma in (10, 25, 40):
        yield f"white, σ {sigma}", sharp + white(sigma), sharp
    yield "grain of 1.2 pixels, σ 15", sharp + smooth(white(15, 1), 1.2), sharp
    yield "the same in all colours, σ 10", sharp + white(10, 1), sharp
    yield "camera", by(CAMERA, sharp, seed), sharp
    yield "camera, weak", by(WEAK, sharp, seed), sharp
    yield "JPEG of quality 50, no noise", as_jpeg(sharp, 50), sharp
    yield "clean", sharp, sharp
    yield "clean, made grey", grey, grey
    yield "softened, noise as PolyU's", by(AS_POLYU, soft, seed), soft
    yield "softened, stronger camera noise", by(STRONGER, soft, seed + 50), soft
    yield "softened, white, σ 25", soft + white(25), soft
    yield "softened, clean", soft, soft
    yield "made grey, σ 40", grey + white(40, 1), grey


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clean", type=Path, help="folder of clean pictures; the ninth to the sixteenth are taken")
    parser.add_argument("weights", type=Path, nargs="+")
    chosen = parser.parse_args()
    networks = [load_checkpoint(path).eval() for path in chosen.weights]
    rows: dict[str, list[list[float]]] = {}
    for seed, path in enumerate(sorted(chosen.clean.iterdir())[8:16]):
        whole = read_image(path).pixels.astype(np.float64) / 255
        top, left = (side // 2 - SIDE_PX // 2 for side in whole.shape[:2])
        for name, given, clean in cases(whole[top : top + SIDE_PX, left : left + SIDE_PX], seed):
            noisy = in_8_bits(given)
            batch = torch.from_numpy(noisy).float().permute(2, 0, 1)[None]
            restored = [network(batch).stage3[0].permute(1, 2, 0).double().numpy() for network in networks]
            rows.setdefault(name, []).append([psnr(noisy, clean), *(psnr(in_8_bits(r), clean) for r in restored)])
    print(f"| | noisy | {' | '.join(path.stem for path in chosen.weights)} |\n|{'---|' * (len(networks) + 2)}")
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in np.mean(values, axis=0))} |")


if __name__ == "__main__":
    main()

"""Measure Richardson–Lucy told the true mean kernel of each picture, which no blind method knows.

    python tests/checks/told_the_blur.py DATA/validation/blur

The kernel is found from the pair: the one whose convolution with the sharp picture explains the blurred one best, in
linear light, over the whole picture. Printed is the mean RGB PSNR of 8-bit pictures for each number of iterations.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mprnet.datasets import pair_folders, read_rgb
from mprnet.degradation.light import to_display, to_linear
from mprnet.evaluation.baselines.classical import richardson_lucy
from mprnet.evaluation.metrics import rgb_psnr
from mprnet.imaging import to_pixels, to_tensor

SIDE_PX = 41
ITERATIONS = (5, 10, 20, 40)


def mean_kernel(blurred: torch.Tensor, sharp: torch.Tensor) -> NDArray[np.float64]:
    """Return the `(SIDE_PX, SIDE_PX)` kernel, of sum 1, between two pictures `(3, H, W)` in linear light."""
    height, width = sharp.shape[-2:]
    window = torch.outer(torch.hann_window(height), torch.hann_window(width))
    before, after = (
        torch.fft.rfft2((picture - picture.mean(dim=(-2, -1), keepdim=True)) * window) for picture in (sharp, blurred)
    )
    power = before.abs().square().sum(dim=0)
    ratio = (after * before.conj()).sum(dim=0) / (power + 1e-3 * power.mean())
    kernel = torch.fft.fftshift(torch.fft.irfft2(ratio, s=(height, width)))
    top, left = height // 2 - SIDE_PX // 2, width // 2 - SIDE_PX // 2
    kernel = kernel[top : top + SIDE_PX, left : left + SIDE_PX]
    kernel = torch.where(kernel > 0.05 * kernel.amax(), kernel, 0)
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="a folder with input/ and target/")
    figures: dict[str, list[float]] = {"blurred": []}
    for pair in pair_folders(parser.parse_args().pairs):
        degraded, target = read_rgb(pair.degraded), read_rgb(pair.target)
        light = to_linear(to_tensor(degraded))
        kernel = mean_kernel(light, to_linear(to_tensor(target)))
        figures["blurred"].append(rgb_psnr(degraded, target, data_range=255))
        for iterations in ITERATIONS:
            found = richardson_lucy(light.permute(1, 2, 0).numpy(), kernel=kernel, iterations=iterations)
            restored = to_pixels(to_display(torch.from_numpy(found).clamp(0, 1).permute(2, 0, 1)))
            psnr_db = rgb_psnr(restored, target, data_range=255)
            figures.setdefault(f"{iterations} iterations", []).append(psnr_db)
    for name, values in figures.items():
        print(f"{name:>14}  {np.mean(values):6.2f} dB  (least {min(values):.2f}, most {max(values):.2f})")


if __name__ == "__main__":
    main()

"""Measure how much of the PSNR after deblurring is lost by where the picture lies, not by how it looks.

    mprnet restore --task deblur DATA/validation/blur/input -o OUT
    python tests/checks/placement.py OUT DATA/validation/blur/target

A camera that moved was in many places, and a blurred picture does not tell which of them its sharp partner shows; a
quarter of a pixel costs PSNR. Each picture is moved as a whole, by fractions of a pixel, to where it fits its target
best. Printed are the RGB PSNR in dB without `BORDER_PX` at each side, before and after, and the shift (right, down).
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path

import torch
from torch import Tensor

from mprnet.datasets import read_rgb
from mprnet.imaging import to_tensor

BORDER_PX = 8
STEPS_PX = (0.5, 0.25, 0.125)
REACH = 3
"""Steps that are tried to either side, of each size."""


def moved(picture: Tensor, right_px: float, down_px: float) -> Tensor:
    """Move `(C, H, W)` by the shift theorem, which softens nothing."""
    height, width = picture.shape[-2:]
    turns = torch.fft.fftfreq(height)[:, None] * down_px + torch.fft.rfftfreq(width) * right_px
    turned = torch.fft.rfft2(picture) * torch.exp(-2j * math.pi * turns)
    return torch.fft.irfft2(turned, s=(height, width)).clamp(0, 1)


def psnr_db(picture: Tensor, target: Tensor) -> float:
    inner = (..., slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    return -10 * math.log10(float((picture[inner] - target[inner]).square().mean()))


def best_placed(picture: Tensor, target: Tensor) -> tuple[float, float, float]:
    """Return the highest PSNR, and the shift that gives it."""
    best = (psnr_db(picture, target), 0.0, 0.0)
    for step_px in STEPS_PX:
        _, right, down = best
        for across, along in itertools.product(range(-REACH, REACH + 1), repeat=2):
            place = (right + across * step_px, down + along * step_px)
            best = max(best, (psnr_db(moved(picture, *place), target), *place))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("restored", type=Path)
    parser.add_argument("target", type=Path)
    chosen = parser.parse_args()
    rows = []
    for path in sorted(chosen.target.iterdir()):
        picture, target = (to_tensor(read_rgb(file)).double() for file in (chosen.restored / path.name, path))
        best, right, down = best_placed(picture, target)
        rows.append((psnr_db(picture, target), best))
        print(f"{path.name:>24}  {rows[-1][0]:6.2f} dB  {best:6.2f} dB moved by {right:+.3f}, {down:+.3f}")
    before, after = torch.tensor(rows).mean(dim=0).tolist()
    print(f"{'mean':>24}  {before:6.2f} dB  {after:6.2f} dB")


if __name__ == "__main__":
    main()

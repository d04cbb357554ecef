"""Measure what the shipped networks do where nothing is to be restored, or what they were not trained on.

    python tests/checks/unharmed.py DATA/validation/clean -o out/unharmed

Clean photographs, the same compressed as JPEG and darkened to a night, and a page of text are
given to every network. Printed is the PSNR between what comes out and what went in, over RGB: the higher, the less was
changed; and for what has a known truth, by how much the picture came closer to it. Text is also degraded as each task's
training degrades, and restored. OUT gets a sheet of each kind, as given and out of the three networks, and
`overview.png` with a picture of each. Nights are shown as much brighter as they were made darker.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mprnet import Restorer
from mprnet.datasets import list_pictures, read_rgb
from mprnet.degradation import make_degradation
from mprnet.degradation.jpeg import jpeg
from mprnet.degradation.light import to_display, to_linear
from mprnet.imaging import contact_sheet, to_pixels, to_tensor
from mprnet.network import TASKS

Pixels = NDArray[np.uint8]

SPARING_NONE = {"derain": {"dry_share": 0}, "deblur": {"sharp_share": 0}}
"""Settings of the degradations that leave no picture as it is."""

NIGHT = "night, 5 stops down"

TEXT = "It was the best of times, it was the worst of times, 0123456789 (quoted) & weighed; Il1|O0. "


def page(size: int, ink: tuple[int, int, int], paper: tuple[int, int, int]) -> Pixels:
    """Set a page of text, 480×320, in letters of so many pixels."""
    picture = Image.new("RGB", (480, 320), paper)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=size)
    for line, top in enumerate(range(6, 320 - size, round(size * 1.4))):
        draw.text((8 - 37 * line % 120, top), TEXT * 2, ink, font)
    return np.asarray(picture)


def compressed(picture: Pixels, quality: int) -> Pixels:
    return to_pixels(jpeg(to_tensor(picture)[None], torch.full((1, 1, 1, 1), float(quality)))[0])


def exposed(picture: Pixels, stops: int) -> Pixels:
    """Give the picture so many stops more of light."""
    return to_pixels(to_display((to_linear(to_tensor(picture)) * 2.0**stops).clamp(max=1)))


def write(path: Path, rows: list[list[tuple[str, Pixels]]]) -> None:
    cv2.imwrite(str(path), contact_sheet(rows, cell_px=480)[..., ::-1])


def psnr(one: Pixels, other: Pixels) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what is changed where nothing is to be restored.")
    parser.add_argument("folders", type=Path, nargs="+", help="folders of clean photographs")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/unharmed"))
    parser.add_argument("--count", type=int, default=12, help="photographs of each kind")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    paths = [path for folder in given.folders for path in list_pictures(folder)]
    clean = [read_rgb(path)[:320, :480] for path in paths[: given.count]]
    texts = [page(14, (20, 20, 20), (250, 250, 246)), page(22, (240, 226, 180), (24, 26, 40))]
    kinds: dict[str, list[tuple[Pixels, Pixels]]] = {
        "clean photographs": [(picture, picture) for picture in clean],
        "JPEG, quality 50": [(compressed(picture, 50), picture) for picture in clean],
        "JPEG, quality 20": [(compressed(picture, 20), picture) for picture in clean],
        NIGHT: [(exposed(picture, -5), exposed(picture, -5)) for picture in clean],
        "text": [(text, text) for text in texts],
    }
    restorers = {task: Restorer.from_pretrained(task) for task in TASKS}
    print(f"| | pictures | {' | '.join(TASKS)} |\n|{'---|' * (len(TASKS) + 2)}")
    overview = []
    for number, (kind, pictures) in enumerate(kinds.items()):
        cells, sheet = [], [[(kind, picture)] for picture, _ in pictures]
        for task, restorer in restorers.items():
            restored = [restorer.restore_pixels(picture) for picture, _ in pictures]
            changed = np.mean([psnr(out, picture) for out, (picture, _) in zip(restored, pictures, strict=True)])
            gained = np.mean([psnr(out, to) - psnr(of, to) for out, (of, to) in zip(restored, pictures, strict=True)])
            cells.append(f"{changed:.1f}" + (f" ({gained:+.2f})" if "JPEG" in kind else ""))
            for row, out in zip(sheet, restored, strict=True):
                row.append((task, out))
        print(f"| {kind} | {len(pictures)} | {' | '.join(cells)} |", flush=True)
        if kind == NIGHT:
            sheet = [[(caption, exposed(picture, 5)) for caption, picture in row] for row in sheet]
        name = kind.replace(",", "").replace(" ", "-")
        write(given.out / f"{name}.png", sheet)
        overview.append(sheet[number % len(sheet)])
    write(given.out / "overview.png", overview)
    cells, sheet = [], []
    for task, restorer in restorers.items():
        degradation, gains = make_degradation(task, SPARING_NONE.get(task, {})), []
        for seed, text in enumerate(texts * 3):
            bad = to_pixels(degradation(to_tensor(text)[None], torch.Generator().manual_seed(seed))[0])
            out = restorer.restore_pixels(bad)
            gains.append(psnr(out, text) - psnr(bad, text))
            if seed < len(texts):
                sheet.append([(f"{task}: given", bad), ("restored", out)])
        cells.append(f"{np.mean(gains):+.2f}")
    print(f"| text, degraded as in training: gain | {3 * len(texts)} | {' | '.join(cells)} |")
    write(given.out / "text-degraded.png", sheet)


if __name__ == "__main__":
    main()

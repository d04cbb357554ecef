"""Measure time and peak memory of `mprnet restore` on photographs of several sizes.

    python tests/checks/memory_check.py --megapixels 1,2,12,24,100 -- --task denoise

Each photograph is a JPEG, a sample enlarged to 3:2, with fresh noise so that no two places are alike. What follows `--`
goes to `mprnet restore`. Peak memory is what the operating system counts for the whole process, start to end.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "denoise" / "input"
STRIP_PX = 256


def make_photograph(path: Path, megapixels: float) -> tuple[int, int]:
    """Write a JPEG of about that size, and return its width and height."""
    height = round(math.sqrt(megapixels * 1e6 / 1.5))
    width = round(1.5 * height)
    sample = Image.open(sorted(SAMPLE.iterdir())[0]).convert("RGB")
    random = np.random.default_rng(0)
    photograph = Image.new("RGB", (width, height))
    for top in range(0, height, STRIP_PX):
        bottom = min(top + STRIP_PX, height)
        box = (0, top * sample.height / height, sample.width, bottom * sample.height / height)
        strip = np.asarray(sample.resize((width, bottom - top), Image.Resampling.BICUBIC, box=box), dtype=np.float32)
        strip = strip + random.normal(scale=8, size=strip.shape)
        photograph.paste(Image.fromarray(strip.clip(0, 255).round().astype(np.uint8)), (0, top))
    photograph.save(path, quality=92)
    return width, height


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command, and return its wall time in seconds and its peak memory in bytes."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - begun, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megapixels", default="1,2,12,24", help="sizes, with commas between")
    parser.add_argument("options", nargs="*", help="options of `mprnet restore`, after --")
    arguments = parser.parse_args()
    print("| photograph | peak memory | time | per megapixel |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in map(float, arguments.megapixels.split(",")):
            source, target = Path(folder) / "photograph.jpg", Path(folder) / "restored.jpg"
            width, height = make_photograph(source, megapixels)
            mprnet = Path(sys.executable).with_name("mprnet")
            options = arguments.options or ["--task", "denoise"]
            seconds, peak = measure([str(mprnet), "restore", str(source), "-o", str(target), "--overwrite", *options])
            print(
                f"| {width}×{height} ({width * height / 1e6:.1f} MP) | {peak / 1e9:.2f} GB | {seconds:.0f} s | "
                f"{seconds / (width * height / 1e6):.1f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()

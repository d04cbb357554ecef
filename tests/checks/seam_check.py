"""Look for the borders of tiles in a restored photograph: compare two tilings of it.

    python tests/checks/seam_check.py PHOTOGRAPH --task denoise --tiles 512,448

Where the first tiling's tiles meet, the two results may differ more than elsewhere: that would be a seam. Printed are
the mean difference in steps of 8 bits within 4 pixels of the first tiling's borders and elsewhere, and of the steps
from one pixel to the next across those borders and elsewhere. `--megapixels N` measures a made photograph instead.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from mprnet import Restorer
from mprnet.imaging import read_image
from mprnet.restoration.restorer import OVERLAP_PX
from mprnet.restoration.tiling import lay_out

REACH_PX = 4


def borders(length_px: int, tile_px: int) -> list[int]:
    """Return where tiles begin and end inside one side of the picture."""
    spans = lay_out(length_px + -length_px % 8, tile_px, OVERLAP_PX, 8)
    inner = {edge for span in spans for edge in (span.pixels.start, span.pixels.stop)}
    return sorted(edge for edge in inner if 0 < edge < length_px)


def near(length_px: int, edges: list[int]) -> np.ndarray:
    """Mark the places within reach of an edge."""
    marked = np.zeros(length_px, bool)
    for edge in edges:
        marked[max(0, edge - REACH_PX) : edge + REACH_PX] = True
    return marked


def report(name: str, values: np.ndarray, at_border: np.ndarray) -> None:
    """Print the means of `values` where tiles meet and elsewhere."""
    there, elsewhere = values[at_border].mean(), values[~at_border].mean()
    print(f"| {name} | {there:.4f} | {elsewhere:.4f} | {there / elsewhere:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photograph", nargs="?", type=Path)
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--task", default="denoise")
    parser.add_argument("--tiles", default="512,448")
    parser.add_argument("--stage", type=int, default=3)
    arguments = parser.parse_args()
    from memory_check import make_photograph  # beside this program

    with tempfile.TemporaryDirectory() as folder:
        path = arguments.photograph or Path(folder) / "photograph.jpg"
        if arguments.photograph is None:
            make_photograph(path, arguments.megapixels)
        pixels = read_image(path).rgb()
    first, second = (int(tile) for tile in arguments.tiles.split(","))
    one, other = (
        Restorer.from_pretrained(arguments.task, tile_px=tile).restore_pixels(pixels, stage=arguments.stage)
        for tile in (first, second)
    )
    difference = np.abs(one.astype(np.int16) - other).mean(axis=2, dtype=np.float32)
    height, width = difference.shape
    rows, columns = (near(side, borders(side, first)) for side in (height, width))
    at_border = rows[:, None] | columns[None, :]
    print(f"{width}×{height}, tiles of {first} against {second}; in steps of 8 bits")
    print("| | at borders | elsewhere | ratio |\n|---|---|---|---|")
    report("difference of the two", difference, at_border)
    signed = (one.astype(np.int16) - other).mean(axis=2, dtype=np.float32)
    across_columns, across_rows = np.abs(np.diff(signed, axis=1)), np.abs(np.diff(signed, axis=0))
    report("its step across columns", across_columns, np.broadcast_to(columns[1:], across_columns.shape))
    report("its step across rows", across_rows, np.broadcast_to(rows[1:, None], across_rows.shape))
    print(f"largest difference {int(difference.max())}; {100 * (difference > 2).mean():.4f} % of pixels above 2")


if __name__ == "__main__":
    main()

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

TINY = """
task = "denoise"

[network]
n_feat = 8
scale_unetfeats = 4
scale_orsnetfeats = 4
num_cab = 1

[degradation]
sigma = [50, 50]
camera_share = 0

[data]
root = "{root}"
crop_px = 16
batch = 2
clean = [{{ folder = "clean" }}]

[validation]
clean = "unseen"
every = 4
log_every = 1

[optimization]
steps = 8
rate = 2e-3
warmup = 2
ema_decay = 0.5
"""


def make_pictures(folder: Path, sizes_hw: list[tuple[int, int]], seed: int) -> None:
    """Write smooth colourful pictures: what is smooth can be told from noise by a small network in few steps."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number, (height, width) in enumerate(sizes_hw):
        picture = cv2.resize(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), (width, height))
        cv2.imwrite(str(folder / f"{number}.png"), picture)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders to train on: `clean`, and `unseen` whose pictures are no multiples of 8 and of different sizes."""
    root = tmp_path_factory.mktemp("data")
    make_pictures(root / "clean", [(40, 48), (32, 32), (20, 64)], seed=1)
    make_pictures(root / "unseen", [(24, 40), (33, 27)], seed=2)
    return root


@pytest.fixture(scope="session")
def tiny(data: Path) -> Path:
    """A recipe for a run of seconds: eight steps, a validation at every fourth."""
    path = data / "tiny.toml"
    path.write_text(TINY.format(root=data.as_posix()), encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder of pairs."""
    make_pictures(tmp_path / "pairs" / "input", [(32, 32), (24, 40)], seed=3)
    make_pictures(tmp_path / "pairs" / "target", [(32, 32), (24, 40)], seed=4)
    return tmp_path / "pairs"

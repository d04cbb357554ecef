from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write a small picture, another for every path, below the temporary folder, making its folders."""

    def write(path: str, *, height: int = 6, width: int = 8) -> Path:
        pixels = np.random.default_rng(zlib.crc32(path.encode())).integers(256, size=(height, width, 3), dtype=np.uint8)
        return _write(tmp_path / path, Image.fromarray(pixels))

    return write


@pytest.fixture
def draw() -> Callable[..., Path]:
    """Write a picture of these pixels `(H, W, 3)`, or of one colour, making its folders."""

    def write(
        path: Path, picture: str | NDArray[np.uint8] = "teal", size: tuple[int, int] = (12, 9), **options: object
    ) -> Path:
        image = Image.new("RGB", size, picture) if isinstance(picture, str) else Image.fromarray(picture)
        return _write(path, image, **options)

    return write


def _write(path: Path, image: Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path

"""SIDD and DND, the sets of real noise, as their authors publish them: blocks and boxes in MATLAB files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mprnet.datasets.layouts import Item, ItemPictures
from mprnet.datasets.matlab import MatlabArray, read_struct_field, write_mat
from mprnet.errors import DataError, ImageError
from mprnet.files import PathLike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIDD_NOISY, SIDD_TARGET = "ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb"
"""The two files of SIDD's validation set, and the variables in them."""

DND_INFO, DND_IMAGES, DND_VARIABLE = "info.mat", "images_srgb", "InoisySRGB"

DND_BOXES = 20
"""The boxes of each of DND's 50 pictures that are scored."""


@dataclass(frozen=True)
class SiddItem:
    """A block of SIDD's validation set: uint8."""

    name: str
    noisy: MatlabArray
    target: MatlabArray
    picture: int
    block: int

    def read(self) -> ItemPictures:
        everything = slice(None)
        index = (self.picture, self.block, everything, everything, everything)
        return ItemPictures(self.noisy[index], self.target[index])


@dataclass(frozen=True)
class SiddBlocks:
    """SIDD's validation set: two arrays of pictures × blocks × height × width × 3 (40 × 32 × 256 × 256 × 3)."""

    def __str__(self) -> str:
        return f"{SIDD_NOISY}.mat with {SIDD_TARGET}.mat"

    def find(self, place: Path) -> list[Item]:
        files = [place / f"{name}.mat" for name in (SIDD_NOISY, SIDD_TARGET)]
        missing = [file for file in files if not file.is_file()]
        if len(missing) == len(files):
            return []
        if missing:
            raise DataError(f"{missing[0]} does not exist; expected {self}")
        noisy, target = (MatlabArray(file, file.stem) for file in files)
        shapes = (noisy.shape, target.shape)
        for file, shape in zip(files, shapes, strict=True):
            if len(shape) != 5 or shape[-1] != 3:
                raise DataError(f"{file}: {file.stem} is {_shown(shape)}; expected pictures × blocks × H × W × 3")
        if shapes[0] != shapes[1]:
            raise DataError(f"{place}: {' and '.join(map(_shown, shapes))} in {self}; expected one shape")
        return [
            SiddItem(f"{picture + 1:04d}_{block + 1:02d}", noisy, target, picture, block)
            for picture, block in itertools.product(range(shapes[0][0]), range(shapes[0][1]))
        ]


@dataclass(frozen=True)
class DndItem:
    """A box of a picture of DND: floats in [0, 1], without ground truth."""

    name: str
    picture: MatlabArray
    box: tuple[int, int, int, int]

    def read(self) -> ItemPictures:
        top, left, bottom, right = self.box
        # MATLAB counts from 1 and includes the last row and column.
        crop = self.picture[slice(top - 1, bottom), slice(left - 1, right), slice(None)]
        if crop.shape != (bottom - top + 1, right - left + 1, 3):
            raise ImageError(f"{self.picture.path} does not hold the box {self.box} of {DND_INFO} in RGB")
        return ItemPictures(crop, None)


@dataclass(frozen=True)
class DndBoxes:
    """DND: `info.mat` with the boxes of every picture, and `images_srgb/0001.mat` to `0050.mat`."""

    def __str__(self) -> str:
        return f"{DND_INFO} with {DND_IMAGES}/0001.mat to 0050.mat"

    def find(self, place: Path) -> list[Item]:
        info = place / DND_INFO
        files = {int(file.stem): file for file in (place / DND_IMAGES).glob("*.mat") if file.stem.isdecimal()}
        if not info.is_file() and not files:
            return []
        if not info.is_file() or not files:
            missing = f"{place / DND_IMAGES} holds no NNNN.mat" if info.is_file() else f"{info} does not exist"
            raise DataError(f"{missing}; expected {self}")
        boxes = read_struct_field(info, "info", "boundingboxes")
        items: list[Item] = []
        for number, file in sorted(files.items()):
            if not 1 <= number <= len(boxes):
                raise DataError(f"{info} has the boxes of {len(boxes)} pictures, but {file} is there besides")
            of_picture = boxes[number - 1]
            if of_picture.ndim != 2 or of_picture.shape[1] != 4:
                raise DataError(f"{info}: the boxes of picture {number} are {_shown(of_picture.shape)}; expected 20×4")
            array = MatlabArray(file, DND_VARIABLE)
            for box, (top, left, bottom, right) in enumerate(of_picture.astype(int).tolist(), 1):
                items.append(DndItem(f"{number:04d}_{box:02d}", array, (top, left, bottom, right)))
        return items


def write_dnd_submission(
    folder: PathLike, picture: int, boxes: Sequence[NDArray[Any]], *, overwrite: bool = False
) -> Path:
    """Write the denoised boxes of one picture as DND's server takes them: `folder/0001.mat` and so on.

    The file holds what the authors' submission kit writes: `Idenoised`, a 1×20 cell of singles, `israw`, false, and
    `eval_version`, "1.0".

    Args:
        folder: is made if it is not there.
        picture: its number, 1 to 50.
        boxes: the 20 denoised boxes in their order, `(H, W, 3)`, floats in [0, 1].
        overwrite: replace a file that is there.

    Returns:
        The file.

    Raises:
        ImageError: there are not 20 boxes, or one of them is not RGB in floats in [0, 1].
        DataError: the file exists or cannot be written.
        MissingExtraError: SciPy is not installed.
    """
    folder = Path(folder)
    if len(boxes) != DND_BOXES:
        raise ImageError(f"{len(boxes)} boxes for picture {picture} of DND; expected {DND_BOXES}")
    cell = np.empty((1, DND_BOXES), dtype=object)
    for number, box in enumerate(boxes):
        is_rgb = box.ndim == 3 and box.shape[2] == 3 and np.issubdtype(box.dtype, np.floating)
        if not (is_rgb and box.min() >= 0 and box.max() <= 1):  # written so that NaN fails too
            raise ImageError(
                f"box {number + 1} of picture {picture} of DND is {_shown(box.shape)}, {box.dtype}; "
                "expected H×W×3 floats in [0, 1]"
            )
        cell[0, number] = box.astype(np.float32)
    path = folder / f"{picture:04d}.mat"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made: {error.strerror}") from error
    write_mat(path, {"Idenoised": cell, "israw": False, "eval_version": "1.0"}, overwrite=overwrite)
    return path


def _shown(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))

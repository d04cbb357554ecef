"""Pictures whose ground truth a server keeps (DND): kept until all are there, then written as the server takes them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mprnet.datasets.real_noise import write_dnd_submission
from mprnet.errors import DataError
from mprnet.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

T = TypeVar("T")

SUBMISSION = "submission"
"""The folder, below that of the results, whose files go to the server."""

_UNSCORED = "restored"
_PICTURE = "[0-9][0-9][0-9][0-9]"
_BOX = f"{_PICTURE}_[0-9][0-9]"  # what else lies in such folders is not ours


def keep_unscored(folder: Path, name: str, picture: NDArray[Any]) -> None:
    """Keep a restored picture, `(H, W, 3)` in [0, 1], that nothing here can score.

    Raises:
        DataError: it cannot be written.
    """
    path = folder / _UNSCORED / f"{name}.npy"
    try:
        path.parent.mkdir(exist_ok=True)
        with written_whole(path) as unfinished, unfinished.open("xb") as file:
            np.save(file, picture.astype(np.float32))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def still_kept(folder: Path, earlier: Mapping[str, T], unchanged: Mapping[str, T]) -> dict[str, T]:
    """Return what need not be restored again: boxes that are kept, and those of a picture whose file holds them all.

    Args:
        folder: that of the results.
        earlier: what earlier runs found, by box.
        unchanged: those of them whose pixels are still the same.
    """
    kept = {path.stem for path in folder.glob(f"{_UNSCORED}/{_BOX}.npy")}
    written = {path.stem for path in folder.glob(f"{SUBMISSION}/{_PICTURE}.mat")}
    # A file is written of all its boxes at once, which are then no longer kept: one that is new takes all of them.
    written -= {_picture_of(box) for box in (*kept, *(earlier.keys() - unchanged.keys()))}
    return {box: found for box, found in unchanged.items() if box in kept or _picture_of(box) in written}


def forget_submission(folder: Path) -> None:
    """Remove the kept boxes and the files for the server that an earlier run left, perhaps of other weights.

    Raises:
        DataError: they cannot be removed.
    """
    try:
        for path in (*folder.glob(f"{_UNSCORED}/{_BOX}.npy"), *folder.glob(f"{SUBMISSION}/{_PICTURE}.mat")):
            path.unlink()
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error.strerror or error}") from error


def write_submission(folder: Path) -> None:
    """Turn the kept boxes of DND, `0001_01` to `0050_20`, into the files that its server takes.

    Args:
        folder: that of the results; boxes are taken out of it once their file is written.
    """
    kept = sorted(folder.glob(f"{_UNSCORED}/{_BOX}.npy"))
    for number, group in groupby(kept, key=lambda path: _picture_of(path.stem)):
        boxes = list(group)
        pictures = [np.load(path) for path in boxes]
        write_dnd_submission(folder / SUBMISSION, int(number), pictures, overwrite=True)
        for path in boxes:
            path.unlink()


def _picture_of(box: str) -> str:
    return box.split("_")[0]

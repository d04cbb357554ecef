"""Pictures whose ground truth a server keeps (DND): kept until all are there, then written as the server takes them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from mprnet.datasets.real_noise import write_dnd_submission
from mprnet.errors import DataError
from mprnet.files import written_whole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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


def write_submission(folder: Path) -> list[Path]:
    """Turn the kept boxes of DND, `0001_01` to `0050_20`, into the files that its server takes.

    Args:
        folder: that of the results; boxes are taken out of it once their file is written.

    Returns:
        The files; none where no boxes are kept, since they were written before.
    """
    kept = sorted(folder.glob(f"{_UNSCORED}/{_BOX}.npy"))
    written = []
    for number, group in groupby(kept, key=lambda path: path.stem.split("_")[0]):
        boxes = list(group)
        pictures = [np.load(path) for path in boxes]
        written.append(write_dnd_submission(folder / SUBMISSION, int(number), pictures, overwrite=True))
        for path in boxes:
            path.unlink()
    return written

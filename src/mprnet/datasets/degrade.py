"""Paired folders made from clean pictures: what a task undoes, done on purpose."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mprnet.datasets.folders import INPUT, TARGET, FolderPair, list_pictures, read_rgb_picture
from mprnet.errors import DataError, ImageError, MissingExtraError
from mprnet.files import PathLike
from mprnet.imaging import check_target, write_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from mprnet.degradation import Degradation


@dataclass(frozen=True)
class DegradeReport:
    """What came of a run: the pairs made, and for each picture that made none, the reason in one line."""

    pairs: tuple[FolderPair, ...]
    failed: dict[Path, str]


def degrade_folder(
    source: PathLike,
    out: PathLike,
    degradation: Degradation,
    *,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> DegradeReport:
    """Make the paired folders `out/input` and `out/target` from clean pictures; one that fails stops no other.

    Both are 8-bit PNG of the picture's name, written both or not at all; the target is the clean picture pixel for
    pixel. What is drawn for a picture depends on `seed` and its name without suffix alone, not on the others.

    Args:
        source: a picture file, or a folder of them, without its subfolders.
        out: the folder to make the two folders in; it may exist.
        degradation: what to do to the pictures, whole, one by one.
        seed: of everything drawn, any integer.
        overwrite: replace pairs that exist. A file of `source` is never replaced.
        progress: wraps the pictures while they are walked through, as `rich.progress.track` does.

    Raises:
        DataError: `source` does not exist or holds no picture, or it lies in a folder that would be written to.
    """
    source, out = Path(source), Path(out)
    pictures = [source] if source.is_file() else list_pictures(source)
    for folder in (out / INPUT, out / TARGET):
        if folder.exists() and folder.samefile(pictures[0].parent):
            raise DataError(f"{folder} holds the clean pictures and would be written to; choose another output")
    pairs: dict[str, FolderPair] = {}
    failed: dict[Path, str] = {}
    for path in progress(pictures):
        name = path.stem
        pair = FolderPair(name, *(out / side / f"{name}.png" for side in (INPUT, TARGET)))
        try:
            if name in pairs:
                raise ImageError(f"{path} would become a second {pair.target}; give it another name")
            _degrade_file(path, pair, degradation, seed, overwrite)
            pairs[name] = pair
        except (ImageError, MissingExtraError) as error:
            failed[path] = str(error)
    return DegradeReport(tuple(pairs.values()), failed)


def _degrade_file(path: Path, pair: FolderPair, degradation: Degradation, seed: int, overwrite: bool) -> None:
    for side in (pair.degraded, pair.target):
        check_target(side, overwrite)
    picture = read_rgb_picture(path)
    try:
        degraded = degrade_picture(picture.to_tensor(), degradation, seed, pair.name)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise ImageError(f"{path} does not fit into memory with what is drawn for it") from error
        raise
    for side in (pair.degraded, pair.target):
        try:
            side.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{side.parent} cannot be made: {error.strerror}") from error
    write_image(degraded, pair.degraded, icc_profile=picture.icc_profile, overwrite=overwrite)
    with contextlib.ExitStack() as undo:
        # Half a new pair is removed, together with the half of an old one that would stand beside it.
        undo.callback(pair.degraded.unlink)
        undo.callback(pair.target.unlink, missing_ok=True)
        write_image(picture.pixels, pair.target, icc_profile=picture.icc_profile, overwrite=overwrite)
        undo.pop_all()


def degrade_picture(clean: Tensor, degradation: Degradation, seed: int, name: str) -> Tensor:
    """Degrade a picture, the same in every run; one without colour stays so, as from a black-and-white film.

    Args:
        clean: `(3, H, W)`, sRGB in [0, 1].
        degradation: what to do to it.
        seed: of what is drawn, together with `name`; see `seeded_generator`.
        name: of the picture, without suffix.

    Returns:
        Tensor: of the shape of `clean`.
    """
    is_grey = bool((clean == clean[:1]).all())
    degraded = degradation(clean[None, :1] if is_grey else clean[None], seeded_generator(seed, name))[0]
    return degraded.expand_as(clean)


def seeded_generator(seed: int, name: str) -> torch.Generator:
    """Return what draws for a picture: it depends on `seed` and the picture's name without suffix alone."""
    digest = hashlib.sha256(f"{seed}/".encode() + os.fsencode(name)).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))

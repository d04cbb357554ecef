"""Folders of pictures, and pairs of folders whose pictures belong together by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mprnet.errors import DataError, ImageError
from mprnet.files import PathLike
from mprnet.imaging import FORMATS, read_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mprnet.imaging import Picture

INPUT, TARGET = "input", "target"
"""The two folders of a paired set: degraded pictures and ground truth."""


class FolderPair(NamedTuple):
    """A degraded picture and its ground truth."""

    name: str
    degraded: Path
    target: Path


def list_pictures(folder: PathLike) -> list[Path]:
    """Return the pictures of a folder, without its subfolders and hidden files, sorted by name.

    Raises:
        DataError: the folder does not exist, cannot be read, or holds none.
    """
    folder = Path(folder)
    try:
        if not folder.is_dir():
            found = "is not a folder" if folder.exists() else "does not exist"
            raise DataError(f"{folder} {found}; expected a folder with pictures")
        pictures = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in FORMATS and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    if not pictures:
        raise DataError(f"{folder} holds no picture; expected files that end in {', '.join(sorted(FORMATS))}")
    return pictures


def pair_folders(folder: PathLike) -> list[FolderPair]:
    """Return the pairs of `folder/input` and `folder/target`, matched by name without suffix, sorted.

    Raises:
        DataError: a folder is missing or empty, a name stands twice, or a picture has no partner.
    """
    folder = Path(folder)
    sides: list[dict[str, Path]] = []
    for side in (INPUT, TARGET):
        by_name: dict[str, Path] = {}
        for path in list_pictures(folder / side):
            if path.stem in by_name:
                both = f"{by_name[path.stem].name} and {path.name}"
                raise DataError(f"{folder / side} holds {both}; expected one of them")
            by_name[path.stem] = path
        sides.append(by_name)
    degraded, target = sides
    lonely = sorted(degraded.keys() ^ target.keys())
    if lonely:
        raise DataError(
            f"{folder}: {len(lonely)} of the pictures in {INPUT}/ and {TARGET}/ have no partner of their name, "
            f"the first is {lonely[0]!r}; expected each name in both"
        )
    return [FolderPair(name, degraded[name], target[name]) for name in sorted(degraded)]


def read_rgb(path: PathLike) -> NDArray[np.uint8]:
    """Read a picture as `(H, W, 3)` uint8, grey as RGB.

    Raises:
        ImageError: as `read_rgb_picture`.
    """
    return read_rgb_picture(path).pixels


def read_rgb_picture(path: PathLike) -> Picture:
    """Read a picture, made RGB where it is grey, with its profile.

    Raises:
        ImageError: see `mprnet.imaging.read_image`; or it has 16 bits or is transparent in places, which would be
            lost.
    """
    picture = read_image(path)
    kind = "16 bits a channel" if picture.depth == 16 else None if picture.is_opaque else "transparent places"
    if kind:
        raise ImageError(
            f"{path} has {kind}; expected 8 bits and no transparency in a set of pictures; convert it first"
        )
    # The profile of a grey picture does not describe RGB.
    profile = None if picture.is_grey else picture.icc_profile
    return replace(picture, pixels=picture.rgb(), alpha=None, icc_profile=profile)

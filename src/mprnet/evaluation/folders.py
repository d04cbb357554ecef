"""Two folders, or two files, scored picture by picture: paired by name, and nothing left out in silence."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mprnet.errors import DataError, ImageError, MissingExtraError
from mprnet.evaluation.protocols import Protocol, Score, get_protocol, mean_score, score, to_json
from mprnet.files import PathLike
from mprnet.imaging import FORMATS, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

PICTURE_SUFFIXES = frozenset({*FORMATS, ".pnm", ".ppm"})

_RGB = frozenset({"RGB", "P"})


class PicturePair(NamedTuple):
    """A restored picture and its target, under the name they share."""

    name: str
    restored: Path
    target: Path


@dataclass(frozen=True)
class Pairing:
    """What two folders hold: the pairs, and for each name that makes none, the reason."""

    pairs: list[PicturePair]
    unpaired: dict[str, str]


@dataclass
class FolderScores:
    """The scores of the pictures of a folder.

    Attributes:
        protocol: how they were measured.
        images: score by name.
        failed: for each name that could not be measured, the reason in one line.
        rounded: the names of the measured pictures that are stored in 8 bits.
    """

    protocol: Protocol
    images: dict[str, Score] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rounded: list[str] = field(default_factory=list)

    @property
    def mean(self) -> Score:
        """The mean over the measured pictures, each counting once; one infinite PSNR makes the mean infinite.

        Raises:
            DataError: nothing was measured.
        """
        if not self.images:
            raise DataError(f"none of {len(self.failed)} pictures could be measured")
        return mean_score(self.images.values())

    @property
    def identical(self) -> list[str]:
        """The names of the pictures whose PSNR is infinite."""
        return [name for name, one in self.images.items() if math.isinf(one.psnr)]

    def to_json(self) -> str:
        """Return `{"protocol", "mean", "images"}`, and `"failed"` besides if a picture was not measured.

        An infinite PSNR is written as `1e999`: JSON has no word for infinity, and parsers read that number as one.

        Raises:
            DataError: nothing was measured.
        """
        report: dict[str, Any] = {
            "protocol": self.protocol.name,
            "mean": self.mean._asdict(),
            "images": {name: one._asdict() for name, one in self.images.items()},
        }
        if self.failed:
            report["failed"] = self.failed
        return to_json(report)


def pair_pictures(restored: PathLike, target: PathLike) -> Pairing:
    """Pair the pictures of two folders by name: the path inside the folder, without its suffix.

    Hidden files and files that are not pictures by their suffix are passed over.

    Args:
        restored: a folder, searched with its subfolders, or a file.
        target: the same; two files are a pair whatever their names, and go by that of `restored`.

    Raises:
        DataError: a path does not exist, one is a file and the other a folder, or both folders hold no picture.
    """
    restored, target = Path(restored), Path(target)
    for path in (restored, target):
        if not path.exists():
            raise DataError(f"{path} does not exist")
    if restored.is_file() and target.is_file():
        return Pairing([PicturePair(restored.stem, restored, target)], {})
    if restored.is_file() or target.is_file():
        file, folder = (restored, target) if restored.is_file() else (target, restored)
        raise DataError(f"{file} is a file and {folder} a folder: give two files or two folders")
    files = {folder: pictures_by_name(folder) for folder in (restored, target)}
    pairing = Pairing([], {})
    for name in sorted(files[restored].keys() | files[target].keys()):
        found = [(folder, files[folder].get(name, [])) for folder in (restored, target)]
        reasons = [f"no picture of this name in {folder}" for folder, paths in found if not paths]
        for folder, paths in found:
            if len(paths) > 1:
                reasons.append(f"{len(paths)} pictures of this name in {folder}: {', '.join(p.name for p in paths)}")
        if reasons:
            pairing.unpaired[name] = "; ".join(reasons)
        else:
            pairing.pairs.append(PicturePair(name, *(paths[0] for _, paths in found)))
    if not pairing.pairs and not pairing.unpaired:
        raise DataError(f"no pictures in {restored} nor in {target}: expected {', '.join(sorted(PICTURE_SUFFIXES))}")
    return pairing


def score_folders(
    restored: PathLike,
    target: PathLike,
    protocol: Protocol | str,
    progress: Callable[[Sequence[PicturePair]], Iterable[PicturePair]] = iter,
) -> FolderScores:
    """Score every picture of a folder against its target; what cannot be measured is named, the rest goes on.

    Args:
        restored: a folder or a file.
        target: a folder or a file.
        protocol: a row of `mprnet.evaluation.protocols.PROTOCOLS`, or its name.
        progress: wraps the pairs while they are walked through, as `rich.progress.track` does.

    Raises:
        ConfigError: there is no such protocol.
        DataError: there is nothing to pair, as `pair_pictures`.
    """
    row = get_protocol(protocol) if isinstance(protocol, str) else protocol
    pairing = pair_pictures(restored, target)
    scores = FolderScores(row, failed=dict(pairing.unpaired))
    for pair in progress(pairing.pairs):
        try:
            pixels = read_pixels(pair.restored)
            scores.images[pair.name] = score(pixels, read_pixels(pair.target), row)
            if pixels.dtype == np.uint8:
                scores.rounded.append(pair.name)
        except (ImageError, MissingExtraError) as error:
            scores.failed[pair.name] = str(error)
    scores.failed = dict(sorted(scores.failed.items()))
    return scores


def read_pixels(path: Path) -> NDArray[Any]:
    """Read the numbers of an RGB picture, converting nothing but the orientation that its EXIF data asks for.

    Returns:
        `(H, W, 3)` RGB, uint8 or uint16 as the file has it.

    Raises:
        ImageError: the file is broken or too large, or the picture is grey, has an alpha channel or is not RGB.
    """
    picture = read_image(path)
    if picture.alpha is not None:
        raise ImageError(f"{path} has an alpha channel: save it without one, as RGB")
    if picture.is_grey or picture.stored_as not in _RGB:
        kind = "grey" if picture.is_grey else picture.stored_as
        raise ImageError(f"{path} is {kind}: the benchmarks measure RGB pictures; convert both to RGB")
    return picture.pixels


def pictures_by_name(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures of a folder and its subfolders by the path inside it, without the suffix."""
    found = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in inside.parts)
        if not is_hidden and path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
            found[inside.with_suffix("").as_posix()].append(path)
    return dict(found)

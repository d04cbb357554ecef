"""Test sets of the user's own: folders of pairs, and clean pictures that noise is put into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mprnet.datasets.benchmarks import BENCHMARKS, Benchmark
from mprnet.datasets.degrade import degrade_picture
from mprnet.datasets.folders import INPUT, TARGET, list_pictures, read_rgb
from mprnet.datasets.layouts import FileItem, ItemPictures
from mprnet.degradation import GaussianNoise
from mprnet.errors import ConfigError, DataError
from mprnet.evaluation.folders import pair_pictures
from mprnet.files import PathLike
from mprnet.imaging import to_pixels, to_tensor

if TYPE_CHECKING:
    from mprnet.datasets.layouts import Item

PROTOCOL_OF_TASK = {"derain": "rain", "deblur": "gopro", "denoise": "rgb"}
"""How pairs are measured where nobody says."""


@dataclass(frozen=True)
class UnreadableItem:
    """A name that stands for no picture; reading it says why, so that it is counted as what could not be measured."""

    name: str
    reason: str

    def read(self) -> ItemPictures:
        raise DataError(self.reason)


@dataclass(frozen=True)
class NoisyItem:
    """A clean picture and what it is with white Gaussian noise, rounded and clipped to 8 bits as a file would be."""

    name: str
    path: Path
    sigma: float
    seed: int

    def read(self) -> ItemPictures:
        clean = read_rgb(self.path)
        noise = GaussianNoise((self.sigma, self.sigma))
        return ItemPictures(to_pixels(degrade_picture(to_tensor(clean), noise, self.seed, self.name)), clean)


def paired_set(root: PathLike, task: str, protocol: str | None = None) -> Benchmark:
    """Take a folder with `input/` and `target/` as a test set of the folder's name.

    A name without partner, or that stands twice, is an item that cannot be read: the others are measured.

    Args:
        root: the folder.
        task: `derain`, `deblur` or `denoise`.
        protocol: a key of `PROTOCOLS`; without one, the usual one of the task.

    Raises:
        ConfigError: there is no such task.
        DataError: one of the two folders is missing, or both are empty.
    """
    root = Path(root)
    if task not in PROTOCOL_OF_TASK:
        raise ConfigError(f"task is {task!r}; expected one of {', '.join(PROTOCOL_OF_TASK)}")
    pairing = pair_pictures(root / INPUT, root / TARGET)
    items: list[Item] = [FileItem(*pair) for pair in pairing.pairs]
    items += [UnreadableItem(name, reason) for name, reason in pairing.unpaired.items()]
    items.sort(key=lambda item: item.name)
    return Benchmark(_name(root), task, items, len(items), protocol or PROTOCOL_OF_TASK[task])


def noisy_set(folder: PathLike, sigma: float, *, seed: int = 0, protocol: str | None = None) -> Benchmark:
    """Take a folder of clean pictures, with white Gaussian noise in them, as a test set.

    The noise of a picture depends on `seed` and its name alone and is what `mprnet degrade --sigma` draws; that of a
    picture without colour is the same in all colours.

    Args:
        folder: pictures of any format of `mprnet.imaging.FORMATS`, without its subfolders.
        sigma: standard deviation, of white = 255, above 0.
        seed: another one draws other noise.
        protocol: a key of `PROTOCOLS`; without one, `rgb`.

    Raises:
        ConfigError: `sigma` is not above 0.
        DataError: the folder does not exist or holds no picture.
    """
    folder = Path(folder)
    if not sigma > 0:
        raise ConfigError(f"the noise is {sigma:g}; expected a standard deviation above 0, of white = 255")
    items: dict[str, Item] = {}
    for path in list_pictures(folder):
        if path.stem in items:
            items[path.name] = UnreadableItem(path.name, f"{path}: another picture has the name {path.stem!r}")
        else:
            items[path.stem] = NoisyItem(path.stem, path, sigma, seed)
    how = protocol or PROTOCOL_OF_TASK["denoise"]
    return Benchmark(_name(folder), "denoise", list(items.values()), len(items), how)


def _name(folder: Path) -> str:
    """Name a set by its folder, yet never as a published one, whose count and layout nobody has checked here."""
    name = folder.resolve().name
    return f"{name}-pictures" if name.lower() in BENCHMARKS else name

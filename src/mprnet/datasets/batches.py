"""Batches of training crops, each made from its number alone, so that a run can be taken up anywhere."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from mprnet.datasets.folders import FolderPair, read_rgb
from mprnet.errors import DataError, MPRNetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mprnet.degradation import Degradation

Pixels = NDArray[np.uint8]


class PictureCache:
    """Decoded pictures, kept up to a limit: decoding a JPEG costs more than a crop's share of a training step."""

    def __init__(self, limit_mib: int) -> None:
        self._left = limit_mib * 2**20
        self._kept: dict[Path, Pixels] = {}

    def read(self, path: Path) -> Pixels:
        """Return the picture `(H, W, 3)`, uint8; not to be written to."""
        if (kept := self._kept.get(path)) is not None:
            return kept
        pixels = read_rgb(path)
        if pixels.nbytes <= self._left:
            self._kept[path] = pixels
            self._left -= pixels.nbytes
        return pixels


@dataclass(frozen=True)
class PictureSource:
    """Clean pictures that are degraded on the fly.

    Args:
        pictures: files to draw from, all equally likely.
        degradations: what may be done to them, each with its relative weight.
        shrink: a picture is first scaled by a factor drawn from this range; below 1, it takes the blocks of
            JPEG compression out of what is learned as detail.
        weight: how often this source is drawn, relative to the others.
        soften_px: a crop is softened by a Gaussian whose standard deviation is drawn from this range, target
            and all: a photograph that is a little out of focus is to stay so.
        grey: whether they are made black and white, and degraded so, as a file with one channel is.
    """

    pictures: Sequence[Path]
    degradations: Sequence[tuple[Degradation, float]]
    shrink: tuple[float, float] = (1.0, 1.0)
    weight: float = 1.0
    soften_px: tuple[float, float] = (0.0, 0.0)
    grey: bool = False


@dataclass(frozen=True)
class PairSource:
    """Pairs that are taken as they are; flipped, never rotated, since rain falls.

    Args:
        pairs: files to draw from, all equally likely.
        weight: how often this source is drawn, relative to the others.
    """

    pairs: Sequence[FolderPair]
    weight: float = 1.0


@dataclass(frozen=True)
class Growth:
    """From a step on, crops of another side and number: small ones teach quickly, large ones teach what lies far.

    Args:
        step: the first one with these crops.
        crop_px: side of a crop, a multiple of 8.
        batch: crops a batch.
    """

    step: int
    crop_px: int
    batch: int


@dataclass
class CropBatches(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless run of batches `(degraded, target)`, each `(batch, 3, crop_px, crop_px)`, float32 in [0, 1].

    Batch number n depends on `seed` and n alone: worker processes, ranks and resumption change nothing. Where a picture
    cannot be read, a worker process hands the error on in place of the batch.

    Args:
        sources: where the crops come from.
        batch: crops a batch.
        crop_px: side of a crop, a multiple of 8.
        seed: of everything drawn.
        start: number of the first batch.
        rank: of this process among `ranks`.
        ranks: processes that share the work; each takes every `ranks`-th batch.
        cache_mib: memory for decoded pictures, in each worker process.
        growth: other sides and numbers of crops from some steps on, by step.
    """

    sources: Sequence[PictureSource | PairSource]
    batch: int
    crop_px: int
    seed: int
    start: int = 0
    rank: int = 0
    ranks: int = 1
    cache_mib: int = 1024
    growth: Sequence[Growth] = ()
    _cache: PictureCache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._cache = PictureCache(self.cache_mib)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        offset, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for step in itertools.count(self.start + offset, stride):
            try:
                yield self.make(step * self.ranks + self.rank)
            except MPRNetError as error:
                if worker is None:
                    raise
                yield error  # type: ignore[misc] # raised there, PyTorch would make a page of it

    def make(self, number: int) -> tuple[Tensor, Tensor]:
        """Make batch `number`."""
        rng = np.random.default_rng((self.seed, number))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        weights = np.array([source.weight for source in self.sources])
        reached = [size for size in self.growth if size.step <= number // self.ranks]
        batch, crop_px = (reached[-1].batch, reached[-1].crop_px) if reached else (self.batch, self.crop_px)
        drawn = rng.choice(len(self.sources), size=batch, p=weights / weights.sum())
        degraded, target = [], []
        for index, count in zip(*np.unique(drawn, return_counts=True), strict=True):
            source = self.sources[index]
            if isinstance(source, PairSource):
                parts = [self._pair(source, int(count), crop_px, rng)]
            else:
                parts = list(self._degrade(source, int(count), crop_px, rng, generator))
            for part_degraded, part_target in parts:
                degraded.append(part_degraded)
                target.append(part_target)
        # Files hold 8 bits.
        return torch.cat(degraded).mul(255).round().div(255), torch.cat(target)

    def _pair(self, source: PairSource, count: int, crop_px: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        crops = []
        for _ in range(count):
            pair = source.pairs[int(rng.integers(len(source.pairs)))]
            crops.append(_turned(_crop(self._read_pair(pair), crop_px, rng), rng, turns=False))
        stacked = torch.stack([_to_tensor(crop) for crop in crops])
        return stacked[:, :3], stacked[:, 3:]

    def _read_pair(self, pair: FolderPair) -> Pixels:
        """Return both pictures as one `(H, W, 6)`."""
        degraded, target = self._cache.read(pair.degraded), self._cache.read(pair.target)
        if degraded.shape != target.shape:
            sizes = " and ".join(f"{width}×{height}" for height, width, _ in (degraded.shape, target.shape))
            raise DataError(f"{pair.degraded} and {pair.target} are {sizes}; expected one size")
        return np.concatenate((degraded, target), axis=2)

    def _degrade(
        self, source: PictureSource, count: int, crop_px: int, rng: np.random.Generator, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        weights = np.array([weight for _, weight in source.degradations])
        drawn = rng.choice(len(weights), size=count, p=weights / weights.sum())
        for index, number in zip(*np.unique(drawn, return_counts=True), strict=True):
            degradation = source.degradations[index][0]
            margin = degradation.margin_px
            crops = [self._clean_crop(source, crop_px + 2 * margin, rng) for _ in range(number)]
            clean = torch.stack([_to_tensor(crop) for crop in crops])
            inner = (..., slice(margin, margin + crop_px), slice(margin, margin + crop_px))
            degraded, target = degradation(clean, generator)[inner], clean[inner]
            yield degraded.expand(-1, 3, -1, -1), target.expand(-1, 3, -1, -1)

    def _clean_crop(self, source: PictureSource, side: int, rng: np.random.Generator) -> Pixels:
        picture = self._cache.read(source.pictures[int(rng.integers(len(source.pictures)))])
        factor = rng.uniform(*source.shrink)
        if factor != 1:
            # Cut first, so that only what is needed is scaled.
            picture = _crop(picture, round(side / factor) + 1, rng)
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        crop = _turned(_crop(picture, side, rng), rng, turns=True)
        if source.soften_px[1] > 0 and (sigma := rng.uniform(*source.soften_px)) > 0:
            crop = cv2.GaussianBlur(np.ascontiguousarray(crop), (0, 0), sigma).astype(np.uint8, copy=False)
        if source.grey:
            crop = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)[..., None]
        return crop


def _crop(picture: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    """Cut a random square; a picture that is too small is mirrored at its border first."""
    short = [max(0, side - length) for length in picture.shape[:2]]
    if any(short):
        picture = np.pad(picture, ((0, short[0]), (0, short[1]), (0, 0)), mode="symmetric")
    top, left = (rng.integers(length - side + 1) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _turned(picture: Pixels, rng: np.random.Generator, *, turns: bool) -> Pixels:
    """Flip at random (Section 4.2 of the paper), and turn by a right angle where that makes sense."""
    across, down, quarter = rng.integers(2, size=3)
    picture = picture[:: -1 if down else 1, :: -1 if across else 1]
    return picture.transpose(1, 0, 2) if turns and quarter else picture


def _to_tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255

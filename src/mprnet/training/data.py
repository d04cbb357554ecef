"""From a recipe to the batches it trains on and the pictures it is validated on."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mprnet.datasets import CropBatches, FolderPair, PictureSource, list_pictures, pair_folders, read_rgb
from mprnet.datasets.batches import PairSource
from mprnet.datasets.degrade import degrade_picture
from mprnet.degradation import Degradation, Rain, RainLayers, make_degradation, rain_layer
from mprnet.errors import DataError, MPRNetError
from mprnet.imaging import to_tensor
from mprnet.training.recipe import Recipe

_GRACE_S = 60
"""How long a process that makes crops goes on after SIGTERM: longer than the step under way takes."""


class RecipeData(pl.LightningDataModule):
    """The pictures of a recipe.

    Batch n of a run depends on the recipe and n alone; a run that is taken up at step n begins with batch n.

    Args:
        recipe: what to read.

    Raises:
        DataError: a folder is missing, empty, or its pairs do not match; raised at once, not hours later.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.root = Path(recipe.data.root)
        self.sources = self._sources()
        self.validation = self._validation()

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        data, trainer = self.recipe.data, self.trainer
        batches = CropBatches(
            self.sources,
            batch=data.batch,
            crop_px=data.crop_px,
            seed=self.recipe.seed,
            start=trainer.global_step if trainer else 0,
            rank=trainer.global_rank if trainer else 0,
            ranks=trainer.world_size if trainer else 1,
            cache_mib=data.cache_mib,
            growth=data.growth,
        )
        return DataLoader(
            batches,
            batch_size=None,
            num_workers=data.workers,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=4 if data.workers else None,
            worker_init_fn=_leave_stopping_to_the_run,
            generator=torch.Generator(),  # for seeds that nothing here takes; without it, of the caller's numbers
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.validation, batch_size=1, generator=torch.Generator())  # type: ignore[arg-type]  # a list is a data set

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, MPRNetError):  # as a process that makes crops hands it on
            raise batch
        return batch

    def _sources(self) -> list[PictureSource | PairSource]:
        recipe, data = self.recipe, self.recipe.data
        drawn = make_degradation(recipe.task, recipe.degradation)
        degradations: list[tuple[Degradation, float]] = [(drawn, 1.0)]
        if data.drawn_layers:
            share = data.rain_layer_share
            degradations = [(drawn, 1 - share), (self._rain_layers(drawn), share)]
        sources: list[PictureSource | PairSource] = [
            PictureSource(
                list_pictures(self.root / clean.folder),
                degradations,
                clean.shrink,
                clean.weight,
                clean.soften_px,
                clean.grey,
            )
            for clean in data.clean
        ]
        sources += [PairSource(pair_folders(self.root / pairs.folder), pairs.weight) for pairs in data.pairs]
        return sources

    def _rain_layers(self, drawn: Degradation) -> RainLayers:
        """Return the rain of real pairs, enlarged as often and as much as the drawn rain."""
        if not isinstance(drawn, Rain):
            raise TypeError(f"the drawn degradation is {drawn!r}; expected Rain")
        pairs = [pair for folder in self.recipe.data.drawn_layers for pair in pair_folders(self.root / folder)]
        # In 8 bits, as they are in the files, and of NumPy, whose arrays any number may be handed to other processes.
        layers = tuple(rain_layer(*_read(pair)).mul(255).round().byte().numpy() for pair in pairs)
        return RainLayers(layers, enlarged_share=drawn.enlarged_share, enlarge=drawn.enlarge)

    def _validation(self) -> list[tuple[Tensor, Tensor]]:
        chosen = self.recipe.validation
        if chosen.pairs:
            return [_read(pair) for pair in pair_folders(self.root / chosen.pairs)[: chosen.count]]
        degradation = make_degradation(self.recipe.task, chosen.degradation)
        pictures = []
        for path in list_pictures(self.root / chosen.clean)[: chosen.count]:
            clean = to_tensor(read_rgb(path))
            degraded = degrade_picture(clean, degradation, 0, path.stem)  # the same for every run
            pictures.append((degraded.mul(255).round().div(255), clean))  # files hold 8 bits
        return pictures


def _leave_stopping_to_the_run(_: int) -> None:
    """Let what reaches every process stop the training process alone: it still needs this one's crops.

    Ctrl-C does, and the SIGTERM of a batch system, which also ends processes that are left over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_S))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _read(pair: FolderPair) -> tuple[Tensor, Tensor]:
    degraded, target = to_tensor(read_rgb(pair.degraded)), to_tensor(read_rgb(pair.target))
    if degraded.shape != target.shape:
        sizes = " and ".join(f"{picture.shape[2]}×{picture.shape[1]}" for picture in (degraded, target))
        raise DataError(f"{pair.degraded} and {pair.target} are {sizes}; expected one size")
    return degraded, target

"""From a recipe to the batches it trains on and the pictures it is validated on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mprnet.datasets import CropBatches, PictureSource, list_pictures, pair_folders, read_rgb
from mprnet.datasets.batches import PairSource
from mprnet.degradation import Degradation, RainLayers, rain_layer
from mprnet.errors import ConfigError
from mprnet.imaging import to_tensor
from mprnet.training.recipe import Recipe, make_degradation


class RecipeData(pl.LightningDataModule):
    """The pictures of a recipe.

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
        )
        return DataLoader(
            batches,
            batch_size=None,
            num_workers=data.workers,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=4 if data.workers else None,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.validation, batch_size=1)  # type: ignore[arg-type]

    def _sources(self) -> list[PictureSource | PairSource]:
        data = self.recipe.data
        degradations: list[tuple[Degradation, float]] = [(make_degradation(self.recipe.task, self.recipe.degradation), 1.0)]
        if data.rain_layers:
            if self.recipe.task != "derain":
                raise ConfigError(f"data.rain_layers is for the task derain; got the task {self.recipe.task}")
            drawn = degradations[0][0]
            degradations = [(drawn, 1 - data.rain_layer_share), (self._rain_layers(), data.rain_layer_share)]
        sources: list[PictureSource | PairSource] = [
            PictureSource(list_pictures(self.root / clean.folder), degradations, clean.shrink, clean.weight)
            for clean in data.clean
        ]
        sources += [PairSource(pair_folders(self.root / pairs.folder), pairs.weight) for pairs in data.pairs]
        return sources

    def _rain_layers(self) -> RainLayers:
        pairs = [pair for folder in self.recipe.data.rain_layers for pair in pair_folders(self.root / folder)]
        return RainLayers(tuple(rain_layer(_read(pair.degraded), _read(pair.target)) for pair in pairs))

    def _validation(self) -> list[tuple[Tensor, Tensor]]:
        chosen = self.recipe.validation
        if chosen.pairs:
            pairs = pair_folders(self.root / chosen.pairs)[: chosen.count]
            return [(_read(pair.degraded), _read(pair.target)) for pair in pairs]
        degradation = make_degradation(self.recipe.task, chosen.degradation)
        generator = torch.Generator().manual_seed(self.recipe.seed)
        pictures = []
        for path in list_pictures(self.root / chosen.clean)[: chosen.count]:
            clean = _read(path)
            pictures.append((degradation(clean[None], generator)[0].mul(255).round().div(255), clean))
        return pictures


def _read(path: Path) -> Tensor:
    return to_tensor(read_rgb(path))

"""`train`: from a recipe to weights."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from mprnet.checkpoints import load_checkpoint, save_checkpoint
from mprnet.errors import TrainingError
from mprnet.network import MPRNet, preset
from mprnet.training.data import RecipeData
from mprnet.training.module import RestorationModule
from mprnet.training.progress import PlainProgress
from mprnet.training.recipe import Recipe
from mprnet.weights import find_weights

LAST, BEST = "last", "best"


@dataclass(frozen=True)
class TrainingResult:
    """What a run left in its folder: weights files for `Restorer.from_checkpoint`, and the best PSNR in dB."""

    best: Path
    last: Path
    psnr_db: float


def train(recipe: Recipe, folder: str | Path, *, resume: bool = False) -> TrainingResult:
    """Train a network as a recipe says.

    The folder receives `last.ckpt` and `best.ckpt` (to resume from), `last.safetensors` and `best.safetensors`
    (to restore with), `recipe.json`, and logs for TensorBoard and as CSV. Best is by PSNR on the validation
    pictures. On one processor with the same number of threads, a resumed run gives the losses of an
    uninterrupted one bit for bit.

    Args:
        recipe: everything that decides the run.
        folder: where the run is kept.
        resume: continue the run that `folder` holds.

    Raises:
        TrainingError: the folder holds a run and `resume` is not set, it holds none and `resume` is set, or the
            loss is not finite.
        DataError: a folder of the recipe is missing, empty, or its pairs do not match.
        CheckpointError: the weights to begin with cannot be read.
    """
    folder = Path(folder)
    checkpoint = folder / f"{LAST}.ckpt"
    if checkpoint.exists() and not resume:
        raise TrainingError(f"{folder} already holds a run; resume it, or choose another folder")
    if resume and not checkpoint.exists():
        raise TrainingError(f"{folder} holds no {checkpoint.name} to resume from")
    data = RecipeData(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2), encoding="utf-8")

    pl.seed_everything(recipe.seed, verbose=False)
    model = load_checkpoint(find_weights(recipe.weights)) if recipe.weights else MPRNet(preset(recipe.preset))
    module = RestorationModule(model.to(memory_format=torch.channels_last), recipe.optimization, folder)
    best = ModelCheckpoint(
        folder,
        filename=BEST,
        monitor="validation/psnr_db",
        mode="max",
        save_last=False,
        enable_version_counter=False,
    )
    last = ModelCheckpoint(
        folder, filename=LAST, every_n_train_steps=recipe.validation.every, enable_version_counter=False
    )
    trainer = _trainer(recipe, folder, [EMAWeightAveraging(decay=recipe.optimization.ema_decay), last, best])
    with warnings.catch_warnings():
        # Crops are made in the training process on purpose where `data.workers` is 0.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
        trainer.fit(module, datamodule=data, ckpt_path=str(checkpoint) if resume else None, weights_only=False)
    if trainer.interrupted:
        raise KeyboardInterrupt
    trainer.save_checkpoint(checkpoint)
    metadata = {"task": recipe.task, "training_crop_px": str(recipe.data.crop_px)}
    results = {
        name: export_weights(folder / f"{name}.ckpt", folder / f"{name}.safetensors", model, metadata)
        for name in (BEST, LAST)
    }
    return TrainingResult(results[BEST], results[LAST], float(best.best_model_score or 0))


def export_weights(checkpoint: Path, target: Path, model: MPRNet, metadata: Mapping[str, str]) -> Path:
    """Write the averaged weights of a run's checkpoint as a weights file in half precision.

    Args:
        checkpoint: `last.ckpt` or `best.ckpt` of a run.
        target: the `.safetensors` to write; an older one is replaced.
        model: a network of the run's shape; its weights are replaced.
        metadata: what to write beside the weights.

    Returns:
        Path: `target`.
    """
    content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    prefix = "model."
    model.load_state_dict({name.removeprefix(prefix): value for name, value in content["state_dict"].items()})
    save_checkpoint(
        model,
        target,
        metadata={**metadata, "training_steps": str(content["global_step"])},
        dtype=torch.float16,
        overwrite=True,
    )
    return target


def _trainer(recipe: Recipe, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    optimization, every = recipe.optimization, recipe.validation.every
    progress = RichProgressBar() if sys.stdout.isatty() else PlainProgress(optimization.steps)
    return pl.Trainer(
        accelerator="auto",
        devices="auto",
        precision="bf16-mixed" if optimization.precision == "bf16" else "32-true",
        max_steps=optimization.steps,
        gradient_clip_val=optimization.clip_norm or None,
        val_check_interval=every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=min(50, every),
        logger=[TensorBoardLogger(str(folder), name="", version="tensorboard"), CSVLogger(str(folder), name="", version="csv")],
        callbacks=[*callbacks, progress],
        default_root_dir=folder,
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
        use_distributed_sampler=False,
    )

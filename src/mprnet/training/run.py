"""`train`: from a recipe to weights."""

from __future__ import annotations

import json
import logging
import math
import pickle
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, Timer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from mprnet import __version__
from mprnet.backends.compiled import prepare_compiler
from mprnet.backends.precision import float32_products
from mprnet.checkpoints import load_checkpoint, read_metadata, trained_stages_of
from mprnet.degradation import make_degradation
from mprnet.errors import CheckpointError, TrainingError
from mprnet.files import PathLike, remove_unfinished, written_whole
from mprnet.network import MPRNet, build, widen
from mprnet.settings import flattened
from mprnet.training.callbacks import Checkpoints, Logs, Stopped, is_end_of_worker
from mprnet.training.data import RecipeData
from mprnet.training.files import BEST, LAST, Past, RunFiles
from mprnet.training.module import RestorationModule
from mprnet.training.progress import ShownProgress
from mprnet.training.recipe import Recipe
from mprnet.weights import find_weights

_RECIPE = "recipe.json"

_HARDWARE: dict[str, Any] = {"accelerator": "auto", "devices": "auto"}
"""What Lightning trains on: GPUs where there are any, all of them."""

_PATIENCE_S = 30
"""How long a process waits for those of other devices to end."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run left in its folder: weights files for `Restorer.from_pretrained`, and the best PSNR in dB."""

    best: Path
    last: Path
    psnr_db: float


def train(
    recipe: Recipe,
    folder: PathLike,
    *,
    resume: bool = False,
    console: Console | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> TrainingResult:
    """Train a network as a recipe says.

    The folder receives `last.ckpt` and `best.ckpt` (to resume from), `last.safetensors` and `best.safetensors`
    (to restore with), `recipe.json`, and logs for TensorBoard and as CSV. Best is by PSNR on the validation
    pictures. All are written at each validation, and the last ones when a signal stops the run.

    On one processor with the same number of threads, a resumed run gives the losses and weights of an uninterrupted
    one bit for bit, unless `optimization.minutes` is given: the rate then follows the clock.

    Args:
        recipe: everything that decides the run.
        folder: where the run is kept.
        resume: continue the run that `folder` holds; where the recipe differs from the one it began with, the new one
            holds from there on.
        console: where to show step, loss, speed and time left; without one, nothing is shown.
        callbacks: of Lightning, called on the way, such as to follow the run from a program; no progress bars and no
            `ModelCheckpoint`, for which there are `console` and the run itself.

    Returns:
        TrainingResult: the weights files, both with the moving average of the weights.

    Raises:
        TrainingError: the folder holds a run, or weights of one, and `resume` is not set, it holds none and `resume`
            is set, the recipe's network is not the run's, a loss or gradient is not finite, or a loss far above what it
            was; the memory of the GPU does not suffice; or a process that makes crops died.
        ConfigError: the recipe asks for compiled code, and there is no compiler; or to train up to a stage that the
            network does not have.
        DataError: a folder of the recipe is missing, empty, or its pairs do not match.
        CheckpointError: the weights to begin with, or the checkpoint to resume from, cannot be read; or what the run
            leaves cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM stopped the run, after the step under way; it can be resumed.
    """
    folder = Path(folder)
    checkpoint = folder / f"{LAST}.ckpt"
    kept = [folder / f"{name}{suffix}" for name in (LAST, BEST) for suffix in (".ckpt", ".safetensors")]
    if not resume and (found := next(filter(Path.exists, kept), None)):
        way = "resume that run" if checkpoint.exists() else "move it away"
        raise TrainingError(f"{folder} already holds {found.name}; {way}, or choose another folder")
    if resume and not checkpoint.exists():
        raise TrainingError(f"{folder} holds no {checkpoint.name} to resume from")
    if recipe.optimization.compile:
        device = torch.accelerator.current_accelerator() or torch.device("cpu")
        prepare_compiler(device, "optimization.compile is true", "false")
    data = RecipeData(recipe)
    model = _network(recipe)
    model.config.require(recipe.optimization.stages, "optimization.stages")
    keeper = Checkpoints(folder, recipe.optimization.steps, recipe.validation.every, _looked_at(recipe))
    past = _resumed(_opened(model, checkpoint), recipe) if resume else _past(recipe)
    devices = _devices()

    def metadata(steps: int) -> dict[str, str]:
        size = recipe.data.size_after(steps)
        return {
            "task": recipe.task,
            "training_crop_px": str(size.crop_px),
            "training_batch": str(devices * size.batch),
            "training_devices": str(devices),
        }

    files = RunFiles(model, metadata, past)
    _prepare(folder, recipe, devices)
    # Without a limit, too, so that the time counts of a run that is given one later.
    allowed = 60 * recipe.optimization.minutes
    timer = Timer(timedelta(seconds=allowed) if allowed else None, verbose=False)

    def seconds_left() -> float:
        return allowed - timer.time_elapsed() if allowed else math.inf

    def batch(step: int) -> int:
        return recipe.data.size_after(step + 1).batch

    shown = [] if console is None else [ShownProgress(recipe.optimization.steps, batch, seconds_left, console=console)]
    called: list[pl.Callback] = [
        EMAWeightAveraging(decay=recipe.optimization.ema_decay),
        Logs(folder, recipe.validation.log_every),
        *callbacks,
        *shown,
        timer,
        keeper,  # last: what is logged of a step is in the logs before the step counts as done
    ]
    with _quiet():
        trainer = _trainer(recipe, folder, called, files)
        module = RestorationModule(
            model,
            recipe.optimization,
            folder,
            passed=lambda: timer.time_elapsed() / allowed if allowed else 0.0,
            anywhere=lambda holds: trainer.strategy.reduce_boolean_decision(holds, all=False),
        )
        # By itself torch shortens the factors of convolutions: fp32 would be tf32.
        products = float32_products(recipe.optimization.precision, trainer.strategy.root_device)
        try:
            with keeper.stopping_on_signals(), _ended_together(trainer), products:
                trainer.fit(module, datamodule=data, ckpt_path=checkpoint if resume else None, weights_only=True)
        except Stopped:
            raise KeyboardInterrupt from None
        except SystemExit:  # what Lightning makes of a second Ctrl-C
            raise KeyboardInterrupt from None
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                "the memory of the GPU does not suffice for a step; expected a smaller data.batch or data.crop_px"
            ) from error
        except RuntimeError as error:
            if not is_end_of_worker(error):
                raise
            raise TrainingError(
                "a process that makes crops died, perhaps for want of memory; resume with fewer data.workers"
            ) from error
    return TrainingResult(folder / f"{BEST}.safetensors", folder / f"{LAST}.safetensors", keeper.best_psnr_db)


def changes_since(folder: PathLike, recipe: Recipe) -> list[str]:
    """Return what a recipe, on these devices, says otherwise than a run's folder records, an entry a line.

    Args:
        folder: of a run; where it records no recipe, nothing is returned.
        recipe: to compare.
    """
    recorded = Path(folder) / _RECIPE
    if not recorded.exists():
        return []
    try:
        before = flattened(json.loads(recorded.read_text(encoding="utf-8")))
    except (ValueError, AttributeError, RecursionError) as error:
        raise TrainingError(f"{recorded} is damaged; move it away to resume without it") from error
    now = flattened(json.loads(json.dumps(_everything(recipe, _devices()))))
    return [
        f"{name}: {before.get(name, 'not said')} -> {now.get(name, 'not said')}"
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    ]


def _everything(recipe: Recipe, devices: int) -> dict[str, Any]:
    """Return the entries of a recipe, what its degradations are by themselves, and what else decides the run."""
    entries = asdict(recipe)
    entries["degradation"] = asdict(make_degradation(recipe.task, recipe.degradation))  # type: ignore[call-overload]
    if recipe.validation.clean:
        drawn = make_degradation(recipe.task, recipe.validation.degradation)
        entries["validation"]["degradation"] = asdict(drawn)  # type: ignore[call-overload]
    return entries | {"devices": devices, "mprnet": __version__}


def _devices() -> int:
    """Return how many devices a run takes: those that Lightning finds."""
    with _quiet():
        trainer = pl.Trainer(**_HARDWARE, logger=False, enable_checkpointing=False, enable_model_summary=False)
    return trainer.num_devices * trainer.num_nodes


def _looked_at(recipe: Recipe) -> str:
    """Tell in words what a recipe validates: which pictures, degraded how, and after which stage."""
    entries = _everything(recipe, 1)["validation"]
    pictures = {name: value for name, value in entries.items() if name not in ("every", "log_every")}
    return json.dumps(pictures | {"stages": recipe.optimization.stages}, sort_keys=True)


@rank_zero_only
def _prepare(folder: Path, recipe: Recipe, devices: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        with written_whole(folder / _RECIPE) as unfinished:
            unfinished.write_text(json.dumps(_everything(recipe, devices), indent=2), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written to: {error.strerror or error}") from error


def _network(recipe: Recipe) -> MPRNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if not recipe.weights:
            return build(recipe.config)
        model = load_checkpoint(find_weights(recipe.weights))
        return widen(model, recipe.config) if recipe.widen else model


def _past(recipe: Recipe) -> Past:
    """Return what the run's weights will have been through, the weights it begins with included."""
    stages, folders = recipe.optimization.stages, recipe.data.names
    if not recipe.weights:
        return Past(0, stages, _joined(folders))
    metadata = read_metadata(find_weights(recipe.weights))
    task = metadata.get("task")
    steps = metadata.get("training_steps", "") if task == recipe.task else ""
    # Stages that only ever undid something else restore nothing behind a first one that learned this task.
    before = trained_stages_of(metadata) if task in (None, recipe.task) else 0
    return Past(
        int(steps) if steps.isdecimal() else 0,
        max(stages, before),
        _joined((*metadata.get("trained_on", "unknown").split(", "), *folders)),
    )


def _resumed(past: Past, recipe: Recipe) -> Past:
    """Return the past that a checkpoint records, with what is trained and learned from now on."""
    stages = max(past.stages, recipe.optimization.stages)
    return Past(past.steps, stages, _joined((*past.trained_on.split(", "), *recipe.data.names)))


def _joined(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _opened(model: MPRNet, checkpoint: Path) -> Past:
    """Return the past that a run's checkpoint records; raise unless it is whole and of the same network."""
    try:
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        past = Past(**content["past"])
        weights = {name.removeprefix("model."): value.shape for name, value in content["state_dict"].items()}
    except (
        *(OSError, RuntimeError, KeyError, EOFError),
        *(TypeError, AttributeError, pickle.UnpicklingError),
    ) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{checkpoint} is no checkpoint of a run, or is damaged: {reason}") from None
    config = asdict(model.config)
    trained = config | content.get("network", {})
    changed = [f"{name} {trained[name]} to {config[name]}" for name in config if trained[name] != config[name]]
    if changed or weights != {name: value.shape for name, value in model.state_dict().items()}:
        what = ", ".join(changed) or "its shapes"
        raise TrainingError(
            f"the recipe changes the network of the run in {checkpoint.parent} ({what}); begin a new run"
        )
    return past


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Lightning says about itself from the terminal."""
    talkers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Crops are made in the training process on purpose where `data.workers` is 0.
            warnings.filterwarnings("ignore", message=".*does not have many workers")
            # Lightning asks PyTorch in an outdated way what a batch is made of.
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            # Python 3.12 and later: PyTorch forks the processes that make crops.
            warnings.filterwarnings("ignore", message=r"This process .* is multi-threaded, use of fork\(\)")
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)


@contextmanager
def _ended_together(trainer: pl.Trainer) -> Iterator[None]:
    """Where this process ends before its time, end those that it started for other devices: they would wait for it."""
    try:
        yield
    except BaseException as error:
        started: list[subprocess.Popen[bytes]] = getattr(trainer.strategy.launcher, "procs", [])
        processes = started[:]
        started.clear()  # or Lightning, which watches them, would end this process, too
        for process in processes:
            if not isinstance(error, Stopped):  # which they are, too, and go by themselves
                process.kill()
            with suppress(subprocess.TimeoutExpired):  # a program may do more than train
                process.wait(_PATIENCE_S)
        raise


def _trainer(recipe: Recipe, folder: Path, callbacks: list[pl.Callback], files: RunFiles) -> pl.Trainer:
    optimization = recipe.optimization
    return pl.Trainer(
        **_HARDWARE,
        precision="bf16-mixed" if optimization.precision == "bf16" else "32-true",
        max_steps=optimization.steps,
        gradient_clip_val=optimization.clip_norm,
        benchmark=True,  # crops have one size: cuDNN measures once which of its ways is the fastest
        val_check_interval=recipe.validation.every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[files],
        default_root_dir=folder,
        # Our callbacks do these.
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        # Batches are numbered, and every process validates all pictures.
        use_distributed_sampler=False,
    )

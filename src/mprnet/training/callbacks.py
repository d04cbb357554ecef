"""What happens beside the steps of a run: its logs, its checkpoints, and its end."""

from __future__ import annotations

import csv
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.tensorboard import SummaryWriter

from mprnet.errors import DataError, ImageError, MissingExtraError
from mprnet.files import written_whole
from mprnet.training.files import BEST, LAST

PSNR = "validation/psnr_db"
COLUMNS = (
    "step",
    "train/loss",
    "learning_rate",
    PSNR,
    "validation/stage1_psnr_db",
    "validation/stage2_psnr_db",
)


class Logs(pl.Callback):
    """Writes `csv/metrics.csv`, and the same figures for TensorBoard.

    A resumed run goes on from the step it resumes from: what the killed run logged after it is taken out, since it is
    logged again.

    Args:
        folder: of the run.
        every: steps between two losses.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        self.every = every
        self.csv = folder / "csv" / "metrics.csv"
        self._board: SummaryWriter | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._cut_csv(trainer.global_step)
        self._board = SummaryWriter(self.folder / "tensorboard", purge_step=trainer.global_step + 1)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every == 0:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self._write(trainer.global_step, {"train/loss": outputs["loss"].item(), "learning_rate": rate})

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer.global_step, {name: value.item() for name, value in psnrs(trainer).items()})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None

    def _cut_csv(self, step: int) -> None:
        rows = []
        if self.csv.exists():
            with self.csv.open(newline="", encoding="utf-8") as file:
                # A row that the end of the process cut short lacks a value.
                rows = [row for row in csv.DictReader(file) if None not in row.values() and int(row["step"]) <= step]
        self.csv.parent.mkdir(exist_ok=True)
        with written_whole(self.csv) as unfinished, unfinished.open("x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def _write(self, step: int, figures: dict[str, float]) -> None:
        if self._board is None:
            return
        row = {"step": step, **figures}
        with self.csv.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n").writerow(row)
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)


def psnrs(trainer: pl.Trainer) -> dict[str, torch.Tensor]:
    """Return the figures in dB of the last validation, by their names in the logs."""
    return {name: value for name, value in trainer.callback_metrics.items() if name.endswith("psnr_db")}


def is_end_of_worker(exception: BaseException) -> bool:
    """Tell whether an exception is what torch makes of the end of a process that makes crops."""
    return isinstance(exception, RuntimeError) and str(exception).startswith("DataLoader worker")


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The run was asked to stop, and has left a checkpoint."""


class Checkpoints(pl.Callback):
    """Writes `last.ckpt` at each validation, at the end and when asked to stop; `best.ckpt` when the PSNR has risen.

    At a validation `last.ckpt` comes last, so that a run resumed from it knows the outcome.

    Args:
        folder: of the run.
        steps: of the whole run, which ends with a validation, whether one is due or not.
        every: steps between two validations.
        looked_at: what the PSNR is of, in words; the best one of a checkpoint counts only where it is of the same.
    """

    def __init__(self, folder: Path, steps: int, every: int, looked_at: str) -> None:
        self.folder = folder
        self.steps = steps
        self.every = every
        self.looked_at = looked_at
        self.best_psnr_db = float("-inf")
        self._asked_to_stop = False
        self._is_in_step = False
        self._listen: Callable[[], None] = lambda: None

    def state_dict(self) -> dict[str, Any]:
        return {"best_psnr_db": self.best_psnr_db, "looked_at": self.looked_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["looked_at"] == self.looked_at:
            self.best_psnr_db = state_dict["best_psnr_db"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()  # again: Lightning has begun to, and would leave a validation at SIGTERM

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._is_in_step = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._is_in_step = False
        if trainer.global_step >= self.steps:
            trainer.should_stop = True  # Lightning validates before it stops
        elif trainer.global_step % self.every and self._stops(trainer):
            self._save(trainer, LAST)
            raise Stopped

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        psnr_db = psnrs(trainer)[PSNR].item()
        if psnr_db > self.best_psnr_db:
            self.best_psnr_db = psnr_db
            self._save(trainer, BEST)
        self._save(trainer, LAST)
        if trainer.global_step < self.steps and self._stops(trainer):
            raise Stopped

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        is_alone = trainer.world_size == 1  # other processes would not come to save with this one
        # In a step the weights may be half changed, and in a validation they are the averaged ones.
        is_whole = trainer.training and not self._is_in_step
        of_crops = isinstance(exception, DataError | ImageError | MissingExtraError) or is_end_of_worker(exception)
        if of_crops and is_alone and is_whole:  # a file is bad, the weights are not
            self._save(trainer, LAST)

    @contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Make of the first Ctrl-C or SIGTERM a stop between two steps; the second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may listen to signals
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def ask(number: int, _: FrameType | None) -> None:
            self._asked_to_stop = True
            # Not printed: the signal may have come in the middle of printing.
            os.write(2, b"stopping after this step; once more stops at once\n")
            signal.signal(number, before[signal.Signals(number)])

        def listen() -> None:
            for number in before:
                if not self._asked_to_stop:
                    signal.signal(number, ask)

        self._listen = listen
        try:
            listen()
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stops(self, trainer: pl.Trainer) -> bool:
        """Tell whether any process of the run was asked to stop; all must stop at the same step."""
        return trainer.strategy.reduce_boolean_decision(self._asked_to_stop, all=False)

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        trainer.save_checkpoint(self.folder / f"{name}.ckpt")

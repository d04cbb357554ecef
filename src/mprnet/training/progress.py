"""What a run shows on the terminal: a bar where there is one, plain lines in logs and pipes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mprnet.training.callbacks import psnrs


class ShownProgress(pl.Callback):
    """Shows step, loss, learning rate, speed and time left, and the figures of each validation as a line.

    Args:
        steps: of the whole run.
        batch: tells how many crops a step sees on each device, by its number, from 0.
        seconds_left: tells how long the run may still take, whatever steps are left.
        seconds: between two lines where there is no terminal.
        console: where to show it.
    """

    def __init__(
        self,
        steps: int,
        batch: Callable[[int], int],
        seconds_left: Callable[[], float] = lambda: math.inf,
        *,
        seconds: float = 30.0,
        console: Console,
    ) -> None:
        self.steps = steps
        self.batch = batch
        self.seconds_left = seconds_left
        self.seconds = seconds
        self._console = console
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._row = self._bar.add_task("", total=steps)
        self._first = 0
        self._began = self._shown = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first = trainer.global_step
        self._began = self._shown = time.monotonic()
        if not trainer.is_global_zero:
            return
        devices, batch = trainer.world_size, self.batch(self._first)
        each = f" ({devices} devices × {batch})" if devices > 1 else ""
        how = f"{pl_module.device.type}, {devices * batch} crops a step{each}, {trainer.precision}"
        self._console.print(f"step {self._first}/{self.steps}  training on {how}")
        self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if not trainer.is_global_zero or (self._bar.disable and now - self._shown < self.seconds):
            return
        self._shown = now
        rate = (trainer.global_step - self._first) / (now - self._began)
        left = max(0, min(self.seconds_left(), (self.steps - trainer.global_step) / rate))
        learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
        figures = (
            f"loss {outputs['loss'].item():.4f}  learning rate {learning_rate:.2e}  "
            f"{rate:.2f} steps/s  {left / 60:.0f} min left"
        )
        if self._bar.disable:
            self._console.print(f"step {trainer.global_step}/{self.steps}  {figures}")
        else:
            self._bar.update(self._row, completed=trainer.global_step, description=figures)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            figures = [f"{name.partition('/')[2]} {value.item():.3f}" for name, value in sorted(psnrs(trainer).items())]
            self._console.print(f"step {trainer.global_step}/{self.steps}  validation  {'  '.join(figures)}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._bar.stop()

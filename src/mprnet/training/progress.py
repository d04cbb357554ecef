"""Progress in plain lines, for logs and pipes."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl


class PlainProgress(pl.Callback):
    """Print a line every so often: step, loss, learning rate, rate and time left; and one at each validation.

    Args:
        steps: of the whole run.
        seconds: between two lines.
    """

    def __init__(self, steps: int, seconds: float = 30.0) -> None:
        self.steps = steps
        self.seconds = seconds
        self._began = self._printed = 0.0
        self._first = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = self._printed = time.monotonic()
        self._first = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        now = time.monotonic()
        if now - self._printed < self.seconds:
            return
        self._printed = now
        rate = (trainer.global_step - self._first) / (now - self._began)
        left = (self.steps - trainer.global_step) / rate
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
        _say(
            f"step {trainer.global_step}/{self.steps}  loss {loss:.4f}  learning rate {learning_rate:.2e}  "
            f"{rate:.2f} steps/s  {left / 60:.0f} min left"
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        figures = "  ".join(f"{name.split('/')[1]} {float(metrics[name]):.3f}" for name in sorted(metrics) if "psnr" in name)
        _say(f"step {trainer.global_step}/{self.steps}  validation  {figures}")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is the progress display

"""What Lightning trains: the network, its loss, its optimizer, and the PSNR it reaches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
from torch import Tensor

from mprnet.backends.compiled import many_variants
from mprnet.errors import TrainingError
from mprnet.imaging import crop, pad_to_multiple
from mprnet.network import SIZE_MULTIPLE, MPRNet
from mprnet.training.files import save_state
from mprnet.training.loss import restoration_loss
from mprnet.training.recipe import Optimization
from mprnet.training.schedule import learning_rate

_FAR = 20
"""A loss of so many times its average means that the run came apart; batches differ by a few times at most."""

_SETTLED = 50
"""Steps until that average is worth comparing with."""

Batch = tuple[Tensor, Tensor]
"""Degraded pictures and their ground truth, each `(B, 3, H, W)`, float32 in [0, 1]."""


class RestorationModule(pl.LightningModule):
    """Trains an MPRNet.

    Args:
        model: the network.
        optimization: how.
        folder: where a batch is saved whose loss or gradient is not finite, or whose loss is far off.
        passed: tells the share of the run's time that has passed, where time may end it.
        anywhere: tells whether something holds on any device of the run, where there are several; all of them ask.
    """

    def __init__(
        self,
        model: MPRNet,
        optimization: Optimization,
        folder: Path,
        passed: Callable[[], float] = lambda: 0.0,
        anywhere: Callable[[bool], bool] = bool,
    ) -> None:
        super().__init__()
        self.model: MPRNet = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
        self.optimization = optimization
        self.folder = folder
        self._clock = passed
        self._anywhere = anywhere
        self._passed = 0.0
        # Of a function, not of the network: that would be a second network in the checkpoints.
        self._forward = torch.compile(self.model.forward, dynamic=False) if optimization.compile else self.model.forward
        self._batch: Batch | None = None
        self._losses = 0  # compared so far, and
        self._usual_loss = 0.0  # their moving average
        _freeze_beyond(self.model, optimization.stages)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        chosen = self.optimization
        return learning_rate(
            step,
            steps=chosen.steps,
            warmup=chosen.warmup,
            peak=chosen.rate,
            final=chosen.final_rate,
            passed=self._passed,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=self.optimization.rate)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Set at each step rather than kept by a scheduler, so that a resumed run follows a recipe that was changed.
        self._passed = self.trainer.strategy.broadcast(self._clock())  # one rate on all devices
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.rate(self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._batch = batch
        degraded, target = (picture.contiguous(memory_format=torch.channels_last) for picture in batch)
        with many_variants():
            restored = self._forward(degraded, self.optimization.stages).computed
        loss = restoration_loss(restored, target, self.optimization.edge_weight, self.optimization.root_over)
        fault = self._fault(loss.item())
        if self._anywhere(bool(fault)):  # others would wait for the device that stops
            self._stop(fault or "the loss of another device is not finite, or far off,")
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Cut the gradient's norm, and stop before a gradient that is not finite spoils the weights."""
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val or torch.inf)
        if not torch.isfinite(norm):  # the same on all devices
            self._stop(f"the gradient's norm is {norm.item()}")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        degraded, target = batch
        padded = pad_to_multiple(degraded, SIZE_MULTIPLE).contiguous(memory_format=torch.channels_last)
        try:
            outputs = self.model(padded, self.optimization.stages).computed
        except torch.OutOfMemoryError as failure:
            height, width = degraded.shape[-2:]
            raise TrainingError(
                f"the memory of the GPU does not suffice for a validation picture of {width}×{height}; expected "
                "smaller ones in validation.pairs or validation.clean"
            ) from failure
        for stage, restored in enumerate(outputs, start=self.model.config.first_stage):
            picture = crop(restored, (target.shape[-2], target.shape[-1])).float()
            error = (picture.clamp(0, 1).mul(255).round().div(255) - target).square().mean()
            psnr_db = -10 * torch.log10(error.clamp(min=1e-10))
            name = "validation/psnr_db" if stage == self.optimization.stages else f"validation/stage{stage}_psnr_db"
            self.log(name, psnr_db, on_epoch=True, batch_size=1, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["network"] = asdict(self.model.config)

    def _fault(self, loss: float) -> str:
        """Say what is wrong with a loss: far above what it was, the weights are of no use, and seldom recover."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        self._losses += 1
        if self._losses > _SETTLED and loss > _FAR * self._usual_loss:
            return f"the loss is {loss:.3g}, {loss / self._usual_loss:.0f} times what it was,"
        self._usual_loss += (loss - self._usual_loss) / min(self._losses, _SETTLED)
        return ""

    def _stop(self, what: str) -> NoReturn:
        """Raise, and keep the batch for a look."""
        step = self.global_step
        device = f"-of-device-{self.global_rank}" if self.global_rank else ""
        path = self.folder / f"batch-of-step-{step}{device}.pt"
        degraded, target = self._batch or (None, None)
        save_state({"degraded": degraded, "target": target, "state_dict": self.model.state_dict()}, path)
        self._anywhere(False)  # waits until all have written theirs: the first to end ends the others
        raise TrainingError(
            f"{what} at step {step} with learning rate {self.rate(step):.3g}; the batch and the "
            f"weights are in {path}. Try a lower optimization.rate, a smaller optimization.clip_norm, or "
            "optimization.precision=fp32"
        )


def _freeze_beyond(model: MPRNet, stages: int) -> None:
    """Take what the first `stages` stages do not use out of training: copies on other devices would wait for it."""
    picture = next(model.parameters()).new_zeros(1, model.config.in_channels, SIZE_MULTIPLE, SIZE_MULTIPLE)
    reached = sum(restored.sum() for restored in model(picture, stages).computed)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(reached, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)

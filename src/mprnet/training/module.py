"""What Lightning trains: the network, its loss, its optimizer, and the PSNR it reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from mprnet.errors import TrainingError
from mprnet.imaging import crop, pad_to_multiple
from mprnet.network import SIZE_MULTIPLE, MPRNet
from mprnet.training.loss import restoration_loss
from mprnet.training.recipe import Optimization
from mprnet.training.schedule import learning_rate

Batch = tuple[Tensor, Tensor]


class RestorationModule(pl.LightningModule):
    """Trains an MPRNet.

    Args:
        model: the network.
        optimization: how.
        folder: where a batch is saved whose loss is not finite.
    """

    def __init__(self, model: MPRNet, optimization: Optimization, folder: Path) -> None:
        super().__init__()
        self.model = model
        self.optimization = optimization
        self.folder = folder

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        degraded, target = (picture.contiguous(memory_format=torch.channels_last) for picture in batch)
        outputs = self.model(degraded)
        loss = restoration_loss(outputs.computed, target, self.optimization.edge_weight)
        if not torch.isfinite(loss):
            self._give_up(loss, degraded, target)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def _give_up(self, loss: Tensor, degraded: Tensor, target: Tensor) -> None:
        step, rate = self.global_step, self._rate(self.global_step)
        path = self.folder / f"batch-of-step-{step}.pt"
        torch.save({"degraded": degraded, "target": target, "state_dict": self.model.state_dict()}, path)
        raise TrainingError(
            f"the loss is {loss.item()} at step {step} with learning rate {rate:.3g}; the batch is in {path}. "
            "Try a lower optimization.rate, a smaller optimization.clip_norm, or optimization.precision=fp32"
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        degraded, target = batch
        padded = pad_to_multiple(degraded, SIZE_MULTIPLE).contiguous(memory_format=torch.channels_last)
        outputs = self.model(padded)
        for stage, restored in enumerate(outputs.computed, start=1):
            picture = crop(restored, (target.shape[-2], target.shape[-1])).float()
            error = (picture.clamp(0, 1).mul(255).round().div(255) - target).square().mean()
            psnr = -10 * torch.log10(error.clamp(min=1e-10))
            name = "validation/psnr_db" if stage == len(outputs) else f"validation/stage{stage}_psnr_db"
            self.log(name, psnr, on_epoch=True, batch_size=1, sync_dist=True, prog_bar=stage == len(outputs))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.optimization.rate)
        peak = self.optimization.rate
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._rate(step) / peak)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        chosen = self.optimization
        return learning_rate(
            step, steps=chosen.steps, warmup=chosen.warmup, peak=chosen.rate, final=chosen.final_rate
        )

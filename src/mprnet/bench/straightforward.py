"""The line that every engine is compared with: the network computed the way the figure is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mprnet.backends.eager import bytes_per_pixel
from mprnet.backends.precision import float32_products
from mprnet.network.stages import Scales

if TYPE_CHECKING:
    from mprnet.network import MPRNet


class Straightforward:
    """Every patch by itself, operation by operation, in float32, with the channels first, and always to the end.

    The four quarters go through stage 1 one after the other, the two halves through stage 2, as in the program that
    the paper's authors published. What is computed is what `MPRNet` computes. Networks of Table 6 compute as they are.

    Args:
        model: the network; it is moved to `device` and to float32, not copied.
        device: where to compute.
    """

    name = "straightforward"
    precision = "fp32"

    def __init__(self, model: MPRNet, device: torch.device) -> None:
        self.device = device
        self._model = model.to(device, torch.float32).eval()

    @torch.inference_mode()
    def run(self, degraded: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Restore pictures that are padded already, as `mprnet.backends.Backend` says."""
        with float32_products(self.precision, self.device):
            is_paper = not self._model.config.is_ablated
            pictures = (
                _forward(self._model, degraded.to(self.device)) if is_paper else self._model(degraded.to(self.device))
            )
        return tuple(pictures[stage - 1].to(degraded.device) for stage in stages)

    def bytes_per_pixel(self, stage: int) -> int:  # noqa: ARG002 (an earlier one saves nothing)
        """Estimate what `run` needs for each pixel, which is what all three stages do."""
        return bytes_per_pixel(self._model.config, 3)


def _forward(model: MPRNet, degraded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    halves = degraded.chunk(2, dim=2)

    # Stage 1
    encoded1 = []
    for half in halves:
        sides = [model.encoder1(model.shallow1(quarter)) for quarter in half.chunk(2, dim=3)]
        encoded1.append(Scales(*(torch.cat(both, dim=3) for both in zip(*sides, strict=True))))
    decoded1 = [model.decoder1(encoded) for encoded in encoded1]
    restored1 = [model.sam12.restore(one.level1, half) for one, half in zip(decoded1, halves, strict=True)]

    # Stage 2
    encoded2 = []
    for half, restored, encoded, decoded in zip(halves, restored1, encoded1, decoded1, strict=True):
        attended = model.sam12.attend(decoded.level1, restored)
        features = model.merge12(torch.cat((model.shallow2(half), attended), dim=1))
        encoded2.append(model.encoder2(features, model.csff12(encoded, decoded)))
    joined2 = Scales(*(torch.cat(both, dim=2) for both in zip(*encoded2, strict=True)))
    decoded2 = model.decoder2(joined2)
    stage2 = model.sam23.restore(decoded2.level1, degraded)

    # Stage 3
    attended = model.sam23.attend(decoded2.level1, stage2)
    features = model.merge23(torch.cat((model.shallow3(degraded), attended), dim=1))
    stage3 = model.tail(model.orsnet(features, joined2, decoded2)) + degraded
    return torch.cat(restored1, dim=2), stage2, stage3

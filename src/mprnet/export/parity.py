"""Whether an exported network computes what the network does."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mprnet.imaging.padding import crop, pad_to_multiple
from mprnet.network import SIZE_MULTIPLE, MPRNet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHAPES: tuple[tuple[int, int, int], ...] = ((1, 37, 91), (2, 64, 120), (1, 131, 5))
"""Pictures, height and width that are compared; graphs are traced with others."""

BOUNDS: dict[str, float] = {"fp32": 1e-4, "fp16": 1e-2, "int8": 3e-2}
"""How far a picture in [0, 1] may be from torch's in 32 bits, by precision.

What is bounded is the largest difference of a value; for int8, which clips what is larger than what it was calibrated
with, the root of the mean square. That finds networks that are broken, not losses of some tenths of a dB: these
pictures show no difference between ranges that clip and those that do not (`quantized`).
"""


@dataclass(frozen=True)
class Comparison:
    """How an exported network differs from torch in 32 bits.

    Attributes:
        shape: pictures, height and width.
        largest: the largest difference of a value.
        typical: the root of the mean squared difference.
    """

    shape: tuple[int, int, int]
    largest: float
    typical: float

    def keeps(self, precision: str) -> bool:
        """Tell whether the difference is within the bound; not a number never is."""
        return (self.typical if precision == "int8" else self.largest) <= BOUNDS[precision]


@torch.no_grad()
def compare(
    model: MPRNet, stages: Sequence[int], run: Callable[[Tensor], tuple[Tensor, ...]]
) -> tuple[Comparison, ...]:
    """Compare an exported network with the one it was made of, at the sizes of `SHAPES`.

    Args:
        model: the network, on any device and in any dtype.
        stages: whose pictures `run` returns.
        run: restores `(B, C, H, W)`, float32.
    """
    reference = copy.deepcopy(model).to("cpu", torch.float32).eval()
    comparisons = []
    for count, height, width in SHAPES:
        degraded = _picture(count, model.config.in_channels, height, width)
        outputs = reference(pad_to_multiple(degraded, SIZE_MULTIPLE), stages=max(stages))
        expected = torch.cat([crop(outputs[stage - 1], (height, width)) for stage in stages])
        restored = torch.cat(run(degraded))
        difference = (restored - expected).abs() if restored.shape == expected.shape else torch.tensor(torch.nan)
        comparisons.append(
            Comparison(
                (count, height, width), difference.max().item(), difference.double().square().mean().sqrt().item()
            )
        )
    return tuple(comparisons)


def _picture(count: int, channels: int, height: int, width: int) -> Tensor:
    """Draw waves with a little noise: what networks for photographs were made for more than pure noise is."""
    with torch.device("cpu"):  # whatever the caller's defaults are
        generator = torch.Generator().manual_seed(height)
        waves = torch.rand(count, channels, 4, generator=generator, dtype=torch.float32)
        waves *= torch.tensor([0.3, 0.3, 6.0, 0.3], dtype=torch.float32)
        rows, columns = torch.arange(height).unsqueeze(1), torch.arange(width)
        noise = 0.05 * torch.randn(count, channels, height, width, generator=generator, dtype=torch.float32)
    across, along, phase, size = (wave[..., None, None] for wave in waves.unbind(-1))
    return (0.5 + size * torch.sin(across * rows + along * columns + phase) + noise).clamp(0, 1)

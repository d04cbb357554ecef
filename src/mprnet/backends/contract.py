"""What every engine can do: one network, its weights and a precision, computing padded pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BackendName = Literal["auto", "torch", "compile", "openvino", "onnx"]
"""The engines; `auto` stands for whichever is fastest here."""

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16", "int8"]
"""What convolutions compute with; `auto` stands for the fastest that keeps the quality. tf32 is fp32 of GPUs with the
factors of products cut to 19 bits."""


class Backend(Protocol):
    """A network in an engine, with the weights and the local pooling that it had when the engine was opened.

    Weights of any float dtype are computed with as `precision` says. Pictures come in and go out in 32 bits, and only
    residuals are ever rounded to fewer.

    Attributes:
        name: `torch`, `compile`, `openvino` or `onnx`; never `auto`.
        precision: `fp32`, `tf32`, `bf16`, `fp16` or `int8`; never `auto`.
        device: where it computes.
    """

    @property
    def name(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def device(self) -> torch.device: ...

    def run(self, degraded: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Restore pictures that are padded already.

        Args:
            degraded: `(B, C, H, W)`, float32, on any device, nominally in [0, 1]; H and W multiples of 8.
            stages: whose pictures to return, of 1, 2 and 3, ascending; what none of them needs is not computed.

        Returns:
            tuple[Tensor, ...]: for each of `stages` a picture like `degraded`, on its device, not clamped.

        Raises:
            RuntimeError, MemoryError: the memory does not suffice; the text is the engine's.
        """
        ...

    def bytes_per_pixel(self, stage: int) -> int:
        """Estimate what `run` needs for each pixel, B × H × W, where the last stage is 1, 2 or 3."""
        ...

"""What a bench measures: every combination of what is asked for that exists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from mprnet.backends.precision import has_quick_bf16
from mprnet.errors import ConfigError
from mprnet.network import SIZE_MULTIPLE, preset
from mprnet.weights import find_weights

OFFERS: dict[str, dict[str, tuple[str, ...]]] = {
    "cpu": {
        "torch": ("fp32", "bf16"),
        "compile": ("fp32", "bf16"),
        "openvino": ("fp32", "bf16", "int8"),
        "onnx": ("fp32",),
    },
    "cuda": {
        "torch": ("fp32", "tf32", "bf16", "fp16"),
        "compile": ("fp32", "tf32", "bf16", "fp16"),
    },
}
"""By kind of device and engine, the precisions that there are; tf32 is fp32 whose factors are cut to 19 bits."""


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        presets: names of networks, whose weights are random: speed does not depend on them.
        weights: instead of presets, a weights file, or the name of shipped ones.
        backends: `torch`, `compile`, `openvino`, `onnx`; without any, all.
        precisions: `fp32`, `bf16`, `int8` (of weights that their quantized network lies beside), on GPUs `tf32` and
            `fp16`; without any, all but those that this processor has no instructions for.
        stages: where to leave the network, of 1, 2 and 3.
        sizes_hw: height and width of the pictures in pixels, multiples of 8.
        batches: how many pictures at a time.
        runs: how often each case is timed.
        pairs: two folders or files, degraded pictures and their targets: what a precision costs trained weights in dB.
        memory: whether to measure peak memory, for each case in a process of its own.
        device: `cpu`, or a GPU such as `cuda` or `cuda:1`.

    Raises:
        ConfigError: a value is impossible, or values do not go together; the message names it.
        CheckpointError: there are no such weights.

    Example:
        >>> Plan(precisions=("fp32",)).engines
        [('torch', 'fp32'), ('compile', 'fp32'), ('openvino', 'fp32'), ('onnx', 'fp32')]
    """

    presets: tuple[str, ...] = ("lite",)
    weights: str | Path | None = None
    backends: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    stages: tuple[int, ...] = (3,)
    sizes_hw: tuple[tuple[int, int], ...] = ((256, 256),)
    batches: tuple[int, ...] = (1,)
    runs: int = 5
    pairs: tuple[Path, Path] | None = None
    memory: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in self.presets:
            preset(name)
        if self.weights is not None:
            find_weights(self.weights)
        elif self.pairs is not None:
            raise ConfigError("pairs of pictures are for trained weights, and presets are not trained; give weights")
        for height, width in self.sizes_hw:
            if min(height, width) < 1 or height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
                raise ConfigError(f"size is {width}×{height}; expected multiples of {SIZE_MULTIPLE} above 0")
        for name in ("presets", "stages", "sizes_hw", "batches"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; expected at least one")
        for name, least in (("runs", self.runs), ("batch", min(self.batches))):
            if least < 1:
                raise ConfigError(f"{name} is {least}; expected at least 1")
        _check("stage", self.stages, (1, 2, 3))
        _check("backend", self.backends, tuple(self._offers))
        _check("precision", self.precisions, tuple(dict.fromkeys(sum(self._offers.values(), ()))))
        if not self.engines:
            raise ConfigError(
                f"backend is {', '.join(self.backends)}, which does not compute in {', '.join(self.precisions)}"
            )

    @property
    def engines(self) -> list[tuple[str, str]]:
        """The engines and precisions to try, besides the straightforward way."""
        return [
            (backend, precision)
            for backend, precisions in self._offers.items()
            for precision in precisions
            if backend in (self.backends or self._offers)
            and (precision in self.precisions or (not self.precisions and self._is_quick(precision)))
        ]

    @property
    def _offers(self) -> dict[str, tuple[str, ...]]:
        try:
            return OFFERS[torch.device(self.device).type]
        except (KeyError, RuntimeError):
            raise ConfigError(f"device is {self.device!r}; expected cpu, or a GPU such as cuda") from None

    def _is_quick(self, precision: str) -> bool:
        return precision != "bf16" or torch.device(self.device).type != "cpu" or has_quick_bf16()


def _check(name: str, values: tuple[object, ...], known: tuple[object, ...]) -> None:
    for value in values:
        if value not in known:
            raise ConfigError(f"{name} is {value!r}; expected some of {', '.join(map(str, known))}")

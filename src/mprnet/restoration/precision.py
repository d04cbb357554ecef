"""The numbers that the network computes with: 32 bits, or 16 where the processor is faster with them."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from mprnet.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_MATRIX_UNITS = ("avx512_bf16", "amx_bf16")
"""What processors call the instructions that multiply bfloat16 numbers; without them they are slower, not faster."""


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return what convolutions compute with.

    Args:
        precision: `auto` is bfloat16 on processors that have instructions for it, float32 elsewhere.
        device: where to compute.

    Raises:
        ConfigError: there is no such precision, or not on this device.

    Example:
        >>> choose_dtype("bf16", torch.device("cpu"))
        torch.bfloat16
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is {precision!r}; expected one of {', '.join(get_args(Precision))}")
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision is 'fp16', which processors are slow with; expected it on a GPU, or bf16")
    if precision != "auto":
        return _DTYPES[precision]
    # PyTorch 2.10 does not say.
    abilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    is_quick = device.type == "cpu" and any(abilities.get(name, False) for name in _MATRIX_UNITS)
    return torch.bfloat16 if is_quick else torch.float32

"""The numbers that networks compute with: 32 bits, or fewer where the machine is faster with them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, get_args

import torch

from mprnet.backends.contract import Precision
from mprnet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What torch calls the precisions that it computes with."""

_MATRIX_UNITS = ("avx512_bf16", "amx_bf16")
"""What processors call the instructions that multiply bfloat16 numbers; without them they are slower, not faster."""


def has_quick_bf16() -> bool:
    """Tell whether this processor has instructions for bfloat16."""
    # PyTorch 2.10 does not say.
    abilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(abilities.get(name, False) for name in _MATRIX_UNITS)


def choose_precision(precision: Precision, device: torch.device) -> str:
    """Return the precision to compute with, never `auto`, and never fewer than 16 bits by itself.

    Args:
        precision: `auto` is fp16 on GPUs of CUDA, bf16 on processors that have instructions for it, fp32 elsewhere.
        device: where to compute.

    Raises:
        ConfigError: there is no such precision, or not on this device.

    Example:
        >>> choose_precision("bf16", torch.device("cpu"))
        'bf16'
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is {precision!r}; expected one of {', '.join(get_args(Precision))}")
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision is 'fp16', which processors are slow with; expected it on a GPU, or bf16")
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError(
            f"precision is 'tf32', which GPUs of CUDA compute with, and device is '{device}'; expected fp32"
        )
    if precision == "int8" and device.type != "cpu":
        raise ConfigError(
            f"precision is 'int8', which processors compute with, and device is '{device}'; expected fp16"
        )
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "fp16"
    return "bf16" if device.type == "cpu" and has_quick_bf16() else "fp32"


@contextlib.contextmanager
def float32_products(precision: str, device: torch.device) -> Iterator[None]:
    """Let GPUs shorten the factors of float32 products for `tf32` alone; torch does it for convolutions by itself."""
    if device.type != "cuda" or precision not in ("fp32", "tf32"):
        yield
        return
    # torch's newer names for these, `fp32_precision`, leave it in a state that its own export refuses.
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    try:
        before = cudnn.allow_tf32, matmul.allow_tf32
    except RuntimeError:  # the caller has chosen by the newer names, which do not go together with these
        yield
        return
    cudnn.allow_tf32 = matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before

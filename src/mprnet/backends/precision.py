"""The numbers that networks compute with: 32 bits, or fewer where the machine is faster with them."""

from __future__ import annotations

import contextlib
import threading
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


class _Products:
    """How GPUs multiply float32 numbers, which is set for the whole process: threads that want it otherwise wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._shortened = False
        self._before = (False, False)

    def take(self, shortened: bool) -> None:
        """Set them for a thread, and keep what they were for the last one to leave."""
        with self._changed:
            self._changed.wait_for(lambda: not self._users or self._shortened == shortened)
            if not self._users:
                self._before = _allowed()
                _allow(shortened, shortened)
            self._users, self._shortened = self._users + 1, shortened

    def leave(self) -> None:
        with self._changed:
            self._users -= 1
            if not self._users:
                _allow(*self._before)
                self._changed.notify_all()


_products = _Products()


def _allowed() -> tuple[bool, bool]:
    # torch's newer names for these, `fp32_precision`, leave it in a state that its own export refuses.
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def _allow(cudnn: bool, matmul: bool) -> None:
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul


@contextlib.contextmanager
def float32_products(precision: str, device: torch.device) -> Iterator[None]:
    """Let GPUs shorten the factors of float32 products for `tf32` alone; torch does it for convolutions by itself."""
    if device.type != "cuda" or precision not in ("fp32", "tf32"):
        yield
        return
    try:
        _products.take(precision == "tf32")
    except RuntimeError:  # the caller has chosen by the newer names, which do not go together with these
        yield
        return
    try:
        yield
    finally:
        _products.leave()

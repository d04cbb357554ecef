"""What a machine can compute at best: the fastest of several matrix products and convolutions, measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from mprnet.backends.precision import float32_products

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.int8,
}

_GEMM_SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
_CONVOLUTIONS = {"cpu": ((128, 128, 1), (256, 64, 1), (256, 128, 1)), "cuda": ((256, 128, 8), (512, 64, 8))}
"""Channels, height and width in pixels, and pictures: shapes that keep a processor, or a GPU, fully at work."""

_SECONDS = 0.25
"""How long each shape is tried: a processor's clock and a shared machine's neighbours come and go."""


def peak_operations(precision: str, device: torch.device) -> float | None:
    """Measure how many operations a second torch reaches where they are dense, a multiply-accumulate counted as two.

    Within 5 % of what a loop of nothing but fused multiply-adds reaches, where that was compared (Zen 4, float32,
    bfloat16 and int8).

    Args:
        precision: `fp32`, `bf16`, `fp16`, `int8`, or on a GPU `tf32`, which is float32 with products of 19 bits.
        device: where to compute, `cpu` or `cuda`.

    Returns:
        The best of all shapes, or None where torch cannot compute with the precision on the device.

    Example:
        >>> peak_operations("int4", torch.device("cpu")) is None
        True
    """
    if precision not in _DTYPES or device.type not in _GEMM_SIDES:
        return None
    best = 0.0
    with float32_products(precision, device), torch.inference_mode():
        for operations, compute in _loads(_DTYPES[precision], device):
            try:
                best = max(best, operations / _fastest(compute, device))
            except RuntimeError:  # the dtype is not implemented here, or the memory is too small for the shape
                continue
    return best or None


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was told; processors never lag behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _loads(dtype: torch.dtype, device: torch.device) -> Iterator[tuple[int, Callable[[], object]]]:
    """Yield operations and what computes them."""
    for side in _GEMM_SIDES[device.type]:
        if dtype == torch.int8:
            whole = torch.randint(-100, 100, (side, side), dtype=dtype, device=device)
            yield 2 * side**3, lambda whole=whole: torch._int_mm(whole, whole.t())  # type: ignore[misc]
        else:
            matrix = torch.rand(side, side, device=device).to(dtype)
            yield 2 * side**3, lambda matrix=matrix: matrix @ matrix  # type: ignore[misc]
    for channels, side, pictures in _CONVOLUTIONS[device.type] if dtype != torch.int8 else ():
        shape = (pictures, channels, side, side)
        features = torch.rand(shape, device=device).to(dtype, memory_format=torch.channels_last)
        weight = torch.rand(channels, channels, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
        yield (
            2 * weight.numel() * pictures * side**2,
            lambda features=features, weight=weight: F.conv2d(features, weight, padding=1),  # type: ignore[misc]
        )


def _fastest(compute: Callable[[], object], device: torch.device) -> float:
    """Return the least seconds that it took, over a little while."""
    compute()
    synchronize(device)
    fastest, begun = float("inf"), time.perf_counter()
    while (now := time.perf_counter()) < begun + _SECONDS:
        compute()
        synchronize(device)
        fastest = min(fastest, time.perf_counter() - now)
    return fastest

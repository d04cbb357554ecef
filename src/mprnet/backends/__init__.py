"""The engines that compute the network: torch, eager or compiled, OpenVINO and ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from mprnet.backends.cache import cache_dir, fingerprint, tell_if_lost
from mprnet.backends.contract import Backend, BackendName, Precision
from mprnet.backends.precision import choose_precision
from mprnet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from mprnet.network import MPRNet

__all__ = ["Backend", "BackendName", "Precision", "cache_dir", "choose_precision", "fingerprint", "open_backend"]


def open_backend(
    model: MPRNet,
    *,
    name: BackendName = "auto",
    precision: Precision = "auto",
    device: torch.device,
    int8: Path | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> Backend:
    """Make a network ready to compute in an engine.

    Args:
        model: the network, of any float dtype; an engine may hold it by reference, and it is not to change.
        name: the engine. `auto` is torch on GPUs and where no other one is installed; else what was fastest here for
            networks of these widths, which is measured once and remembered.
        precision: what to compute with. `auto` is the fastest that keeps the quality, never int8. int8 is OpenVINO's.
        device: where to compute; engines other than torch compute on the processor.
        int8: the quantized network that `mprnet export --precision int8` made of these weights, for that precision.
        notice: called with a line for the user before anything that takes seconds, and once where nothing can be kept.

    Returns:
        Backend: that of `model` as it is now.

    Raises:
        ConfigError: there is no such engine or precision, or not together or on this device; or `int8` is missing or
            of other weights.
        MissingExtraError: the engine is not installed.

    Example:
        >>> import torch
        >>> from mprnet.network import MPRNet, MPRNetConfig
        >>> open_backend(MPRNet(MPRNetConfig(n_feat=8, num_cab=1)), name="torch", device=torch.device("cpu")).name
        'torch'
    """
    if name not in get_args(BackendName):
        raise ConfigError(f"backend is {name!r}; expected one of {', '.join(get_args(BackendName))}")
    chosen = choose_precision(precision, device)  # which checks it

    def open_engine(engine: str, precision: str) -> Backend:
        return _open(model, engine, precision, device, int8, notice)

    if name == "auto":
        if chosen == "int8":
            return open_engine("openvino", chosen)
        if device.type != "cpu":
            return open_engine("torch", chosen)
        from mprnet.backends.choice import choose

        return open_engine(*choose(model, precision, open_engine, notice))
    return open_engine(name, "fp32" if name == "onnx" and precision == "auto" else chosen)


def _open(
    model: MPRNet,
    name: str,
    precision: str,
    device: torch.device,
    int8: Path | None,
    notice: Callable[[str], None],
) -> Backend:
    """Make a network ready in the engine of this name, with this precision."""
    if name in ("torch", "compile"):
        if precision == "int8":
            raise ConfigError(f"precision is 'int8', which OpenVINO computes with; got backend {name!r}")
        if name == "compile":
            from mprnet.backends.compiled import CompiledBackend

            compiled = CompiledBackend(model, precision, device)
            tell_if_lost(cache_dir(), notice)
            return compiled
        from mprnet.backends.eager import TorchBackend

        return TorchBackend(model, precision, device)
    if device.type != "cpu":
        raise ConfigError(f"backend is {name!r}, which computes on the processor; got device '{device}'")
    if name == "openvino":
        from mprnet.backends.openvino import OpenVINOBackend

        return OpenVINOBackend(model, precision, int8=int8, notice=notice)
    from mprnet.backends.onnx import OnnxBackend

    return OnnxBackend(model, precision, notice=notice)

"""Which engine is fastest here, measured once for each kind of network and remembered."""

from __future__ import annotations

import contextlib
import json
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mprnet import __version__
from mprnet.backends.cache import cache_dir, tell_if_lost, version_of
from mprnet.backends.contract import Backend, Precision
from mprnet.backends.graph import is_local
from mprnet.backends.precision import choose_precision
from mprnet.errors import MissingExtraError
from mprnet.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from mprnet.network import MPRNet

NAME = "choices.json"
"""What the file in the cache is called."""

_TILE_PX = 256
_RUNS = 3

_PACKAGES = {"openvino": ("openvino",), "onnx": ("onnxruntime", "onnx", "onnxscript")}
"""What the optional engines need."""

_LASTING = (MissingExtraError, ImportError, AttributeError, TypeError)
"""What is raised where a package, or a part of it, is not there, or is another than the one expected."""


def choose(
    model: MPRNet, precision: Precision, open_engine: Callable[[str, str], Backend], notice: Callable[[str], None]
) -> tuple[str, str]:
    """Return the engine and the precision that restore fastest on this processor.

    torch is taken without measuring where no other engine is installed, or where channel attention averages over local
    windows, which others would have to be converted for at every size. ONNX Runtime, which takes the longest to
    convert for, is a candidate only where OpenVINO is missing. The choice is remembered unless an engine failed that
    may work another time; where all fail, it is torch, whose own error then shows.

    Args:
        model: the network.
        precision: what is asked for; `auto` is decided by the processor's instructions, not int8.
        open_engine: returns the engine of a name and a precision.
        notice: called with a line before measuring, and where an engine does not work.
    """
    chosen = choose_precision(precision, torch.device("cpu"))
    candidates = [("torch", chosen)]
    if not is_local(model):
        if _is_installed("openvino"):
            candidates.append(("openvino", chosen))
        elif _is_installed("onnx") and (precision == "auto" or chosen == "fp32"):
            candidates.append(("onnx", "fp32"))
    if len(candidates) == 1:
        return candidates[0]
    key = _key(model, candidates)
    known = _remembered().get(key)
    for candidate in candidates:
        if known == list(candidate):
            return candidate
    names = " or ".join(name for name, _ in candidates)
    notice(f"measuring once whether {names} is faster here; --backend chooses without")
    seconds: dict[tuple[str, str], float] = {}
    is_final = True
    for name, one in candidates:
        try:
            seconds[name, one] = _time(open_engine(name, one), model.config.in_channels)
        except Exception as error:  # noqa: BLE001 Each raises what it likes, of classes of its own, too: others go on.
            *_, reason = [type(error).__name__, *str(error).strip().splitlines()]
            notice(f"{name} does not work here: {reason}")
            # A package that cannot be loaded stays so; a full disk or too little memory may be gone the next time.
            is_final = is_final and isinstance(error, _LASTING)
    best = min(seconds, key=seconds.__getitem__, default=candidates[0])
    if is_final:
        _remember(key, best)
    with contextlib.suppress(OSError):  # no place at all, not even a temporary one
        tell_if_lost(cache_dir(), notice)
    return best


def _time(backend: Backend, channels: int) -> float:
    """Return what a tile takes when the engine has seen one before."""
    tile = torch.full((1, channels, _TILE_PX, _TILE_PX), 0.5)
    seconds = []
    for _ in range(1 + _RUNS):
        begun = time.perf_counter()
        backend.run(tile, (3,))
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


def _is_installed(engine: str) -> bool:
    return all(version_of(package) for package in _PACKAGES[engine])


def _key(model: MPRNet, candidates: list[tuple[str, str]]) -> str:
    """Return all that the answer depends on, in clear."""
    facts: dict[str, Any] = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "versions": {
            "mprnet": __version__,
            "torch": torch.__version__,
            **{package: version_of(package) for name, _ in candidates for package in _PACKAGES.get(name, ())},
        },
        "network": model.config.entries(),
        "candidates": candidates,
    }
    return json.dumps(facts, sort_keys=True)


def processor() -> str:
    """Return what the processor calls itself; Python knows only its kind on Linux."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _remembered() -> dict[str, Any]:
    """Return what was measured before; nothing where that cannot be read."""
    try:
        choices = json.loads((cache_dir() / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return choices if isinstance(choices, dict) else {}


def _remember(key: str, best: tuple[str, str]) -> None:
    with contextlib.suppress(OSError), written_whole(cache_dir() / NAME) as unfinished:
        unfinished.write_text(json.dumps({**_remembered(), key: best}, indent=1), encoding="utf-8")

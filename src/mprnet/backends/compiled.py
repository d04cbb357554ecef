"""The engine that torch writes for one network: generated and compiled code, kept on disk."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import os
import shutil
import sys
import warnings
from typing import TYPE_CHECKING

import torch
import torch._inductor.config
from torch import Tensor

from mprnet.backends.cache import LARGEST_BYTES, compiled_dir, prune_compiled
from mprnet.backends.eager import bytes_per_pixel
from mprnet.backends.graph import is_local
from mprnet.backends.precision import DTYPES, float32_products
from mprnet.errors import ConfigError
from mprnet.network import MPRNet, fold

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

_MOST_VARIANTS = 64
"""How many compiled forms of the network torch keeps, of all sizes, precisions and stages; by itself, 8."""

_COMPILERS = {"win32": "cl", "darwin": "clang++"}
"""What torch calls for processors where `CXX` names nothing, by system; g++ elsewhere."""


def prepare_compiler(device: torch.device, asked: str, otherwise: str) -> None:
    """Look for what torch compiles with, and have compiled code kept in our cache.

    Args:
        device: to compile for.
        asked: what asks for it, in words, and
        otherwise: what does without, for the message.

    Raises:
        ConfigError: what torch would call is not there: for a processor a C++ compiler, for a GPU of CUDA Triton, and
            the C compiler that Triton calls.
    """
    if lacking := _lacking(device):
        raise ConfigError(f"{asked}, which needs {lacking}, or {otherwise}")
    # Where torch looks for code that it compiled in earlier runs; whoever has set it knows better.
    ours = compiled_dir()
    if os.environ.setdefault(_VARIABLE, str(ours)) == str(ours):
        prune_compiled(LARGEST_BYTES)


def _lacking(device: torch.device) -> str:
    """Return in words what torch would compile with and is not there, and what is expected; else nothing."""
    if device.type == "cpu":
        named, language, compilers = "CXX", "C++", [_COMPILERS.get(sys.platform, "g++")]
    elif device.type != "cuda":
        return ""
    elif importlib.util.find_spec("triton") is None:
        return "Triton, and it is not installed; expected it"
    elif sys.platform == "win32":  # there Triton brings its own
        return ""
    else:
        named, language, compilers = "CC", "C", ["gcc", "clang"]
    wanted = [chosen] if (chosen := os.environ.get(named)) else compilers
    if any(map(shutil.which, wanted)):
        return ""
    return (
        f"the {language} compiler {' or '.join(wanted)}, and it is not there; expected it, another one in the "
        f"environment variable {named}"
    )


def many_variants() -> contextlib.AbstractContextManager[None]:
    """Let torch compile a network for more sizes, precisions and stages than it does by itself, in a block."""
    kept: contextlib.AbstractContextManager[None] = torch._dynamo.config.patch(recompile_limit=_MOST_VARIANTS)
    return kept


class CompiledBackend:
    """A network compiled by torch, on a processor or a GPU; the first picture of a size waits for it, minutes at first.

    On a processor one compilation serves the first size, a second one all further ones, or with local pooling each size
    has its own. On a GPU, too, each has its own, from torch 2.13 on recorded as a CUDA graph, since there the time
    between operations counts. Where there are more than torch keeps, the others run uncompiled.
    """

    name = "compile"

    def __init__(self, model: MPRNet, precision: str, device: torch.device) -> None:
        prepare_compiler(device, "backend is 'compile'", "'torch'")
        self.precision, self.device = precision, device
        self._config = model.config
        network = (
            fold(copy.deepcopy(model).to("cpu", torch.float32)).to(device, DTYPES[precision]).requires_grad_(False)
        )
        with _quiet():
            if device.type == "cuda":
                # Before 2.13 torch knew its CUDA graphs only in the thread that had made the first (its issue 123177).
                mode = "reduce-overhead" if torch.__version__ >= "2.13" else None
                self._network = torch.compile(network, mode=mode, dynamic=False)
            else:
                # Where local windows are a function of the size, torch takes for ever to think of all sizes at once.
                dynamic = False if is_local(model) else None
                self._network = torch.compile(network, dynamic=dynamic)

    # Not inference mode, of whose tensors the compiler cannot take versions.
    @torch.no_grad()
    def run(self, degraded: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Restore pictures that are padded already, as `Backend` says."""
        moved = degraded.to(self.device, torch.float32, memory_format=torch.channels_last)
        # Weights that are constants are laid out for their convolutions once. Only said here are they traced as such.
        frozen = torch._inductor.config.patch(freezing=self.device.type == "cpu")
        # The caller's autocast would change some operations and not others.
        plain = torch.autocast(self.device.type, enabled=False)
        with _quiet(), many_variants(), frozen, plain, float32_products(self.precision, self.device):
            pictures = self._network(moved, stages)
        # What a CUDA graph returns lies in memory that its next run writes to.
        return tuple(picture.to(degraded.device, copy=True) for picture in pictures)

    def bytes_per_pixel(self, stage: int) -> int:
        """Estimate what `run` needs for each pixel, as `Backend` says."""
        return bytes_per_pixel(self._config, stage, DTYPES[self.precision].itemsize)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what the compiler says of its own parts, and of what it leaves to Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

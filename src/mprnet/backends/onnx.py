"""The engine for processors and systems that OpenVINO does not know: ONNX Runtime, in 32 bits."""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mprnet.backends.cache import cached, graph_key, remade, version_of
from mprnet.backends.graph import exported, is_local
from mprnet.errors import ConfigError, MissingExtraError
from mprnet.network import MPRNet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch.export import ExportedProgram

INPUT = "degraded"
"""What the input is called."""

OPSET = 20
"""The edition of ONNX's operations that is written."""

_BYTES = {1: 32, 2: 56, 3: 56}
"""By stage: bytes a pixel for each of the features of full resolution."""


class OnnxBackend:
    """A network computed by ONNX Runtime on the processor, with every size in one session.

    It is exported once for each set of stages, and kept on disk; where channel attention averages over local windows,
    for every size.

    Args:
        model: the network.
        precision: `fp32`.
        notice: called with a line before an export.

    Raises:
        MissingExtraError: ONNX Runtime or what exports is not installed.
        ConfigError: it does not compute in this precision.
    """

    name = "onnx"

    def __init__(self, model: MPRNet, precision: str, *, notice: Callable[[str], None] = lambda _: None) -> None:
        if precision != "fp32":
            raise ConfigError(f"precision is {precision!r}; expected fp32 with ONNX Runtime")
        _runtime()
        _check_exporter()
        self.precision = precision
        self.device = torch.device("cpu")
        self._is_local = is_local(model)
        self._model = copy.deepcopy(model)  # which is converted later, as it is now
        self._notice = notice
        self._held: tuple[object, Any] = (None, None)  # read and set in one piece, whichever thread does

    def run(self, degraded: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Restore pictures that are padded already, as `Backend` says."""
        if self._is_local and len(degraded) > 1:
            each = [self.run(picture.unsqueeze(0), stages) for picture in degraded]
            return tuple(map(torch.cat, zip(*each, strict=True)))
        pictures = degraded.detach().to("cpu", torch.float32).contiguous()
        height, width = pictures.shape[2:]
        session = self._open(stages, (height, width) if self._is_local else None)
        try:
            restored = session.run(None, {INPUT: pictures.numpy()})
        except _failures(_runtime()) as error:
            raise RuntimeError(str(error)) from error
        return tuple(torch.from_numpy(picture).to(degraded.device) for picture in restored)

    def bytes_per_pixel(self, stage: int) -> int:
        """Estimate what `run` needs for each pixel, as `Backend` says."""
        config = self._model.config
        return _BYTES[stage] * config.width_of(stage)

    def _open(self, stages: tuple[int, ...], size_hw: tuple[int, int] | None) -> Any:
        """Return a session for these stages; the last one is held."""
        key, session = self._held
        if key == (stages, size_hw):
            return session
        runtime = _runtime()

        def make(folder: Path) -> None:
            self._notice("converting the network for ONNX Runtime, once")
            outputs = [f"stage{stage}" for stage in stages]
            written = to_onnx(exported(self._model, stages, size_hw=size_hw), outputs)
            written.save(folder / "network.onnx", external_data=False)

        def load(folder: Path) -> Any:
            return runtime.InferenceSession(folder / "network.onnx", options, providers=["CPUExecutionProvider"])

        makers = (version_of(package) for package in ("onnx", "onnxscript"))
        name = f"onnx-{graph_key(self._model, size_hw, str(OPSET), str(stages), *makers)}"
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.enable_cpu_mem_arena = False  # which would keep what the largest picture took
        options.log_severity_level = 4  # what is wrong is in the errors
        folder = cached(name, make, self._notice)
        try:
            session = load(folder)
        except _failures(runtime):  # the file is damaged, or gone
            session = load(remade(name, make))
        self._held = (stages, size_hw), session
        return session


def _failures(runtime: Any) -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises: classes with no base of their own."""
    state = runtime.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "RuntimeException")
    return tuple(getattr(state, name) for name in names)


def to_onnx(program: ExportedProgram, outputs: Sequence[str]) -> torch.onnx.ONNXProgram:
    """Translate a graph to ONNX.

    Args:
        program: as `mprnet.backends.graph.exported` gives it.
        outputs: what its pictures are to be called; its input is called `INPUT`.

    Raises:
        MissingExtraError: what translates is not installed.
    """
    _check_exporter()
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)  # it would miss torchvision, which nothing here uses
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance", FutureWarning)  # of torch, about itself
            written = torch.onnx.export(
                program,
                input_names=[INPUT],
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        registry.setLevel(level)
    if written is None:  # what torch says it may return, though not for a graph
        raise RuntimeError("torch gave no ONNX network")
    return written


def _check_exporter() -> None:
    if None in map(importlib.util.find_spec, ("onnx", "onnxscript")):
        raise MissingExtraError('ONNX needs packages that are not installed; pip install "mprnet[onnx]"')


def _runtime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError('ONNX Runtime is not installed; pip install "mprnet[onnx]"') from error

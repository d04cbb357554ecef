"""The engine for processors that is fastest where its package is installed: OpenVINO, in 32, 16 or 8 bits."""

from __future__ import annotations

import copy
import functools
import importlib
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mprnet.backends.cache import cached, fingerprint, graph_key, remade
from mprnet.backends.graph import exported, is_local
from mprnet.backends.precision import has_quick_bf16
from mprnet.errors import ConfigError, MissingExtraError
from mprnet.network import MPRNet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.export import ExportedProgram

FINGERPRINT = ("mprnet", "fingerprint")
"""Where a quantized network says which weights it was made of."""

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What OpenVINO computes in, apart from what is quantized; for int8 it is bf16 where the processor is quick with it."""

_HELD_PX = 1024 * 1024
"""Networks compiled for sizes seen before are kept as long as all together have so many pixels, and one in any case."""

_HELD = 2
"""How many are kept at most."""

_TRACED_HW = (16, 24)

_TO_DECOMPOSE = ("aten.addcmul.out", "aten.conv2d.default", "aten.matmul.default")
"""What OpenVINO does not know by these names; what else torch could decompose is one operation there, too."""

_BYTES = {"fp32": {1: 24, 2: 44, 3: 44}, "bf16": {1: 16, 2: 28, 3: 28}, "int8": {1: 24, 2: 44, 3: 44}}
"""By precision and stage: bytes a pixel for each of the features of full resolution.

Measured at the width of `lite` and 512×512: 19.9, 37.2 and 37.4 in 32 bits, 22.9 for stage 3 in 16; int8 as 32 bits.
"""


class OpenVINOBackend:
    """A network computed by OpenVINO on the processor.

    It is converted once, for all sizes and stages, and kept on disk; then it is compiled for every size that comes,
    which takes a third of a second. That costs no more than a first run with the size left open, which later runs are
    a fifth slower with. Where channel attention averages over local windows, it is converted for every size too.

    Args:
        model: the network.
        precision: `fp32`, `bf16` or `int8`.
        int8: the quantized network, a file that `mprnet export --precision int8` made.
        notice: called with a line before a conversion.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        ConfigError: it does not compute in this precision; or the quantized network is missing, cannot be read, or was
            made of other weights.
    """

    name = "openvino"

    def __init__(
        self, model: MPRNet, precision: str, *, int8: Path | None = None, notice: Callable[[str], None] = lambda _: None
    ) -> None:
        if precision not in _HINTS:
            raise ConfigError(f"precision is {precision!r}; expected {', '.join(_HINTS)} with OpenVINO")
        self.precision = precision
        self._hint = _HINTS["bf16" if precision == "int8" and has_quick_bf16() else precision]
        self.device = torch.device("cpu")
        self._core = core()
        self._notice = notice
        self._lock = threading.Lock()  # a compiled network computes one thing at a time
        self._compiled: dict[tuple[tuple[int, ...], tuple[int, ...]], Any] = {}
        self._is_local = is_local(model)
        self._model = copy.deepcopy(model) if self._is_local else model
        self._network: Any = None
        if precision == "int8":
            self._network = self._quantized(int8)
        elif not self._is_local:
            self._network = self._convert(None)

    def run(self, degraded: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Restore pictures that are padded already, as `Backend` says."""
        if self._is_local and len(degraded) > 1:
            each = [self.run(picture.unsqueeze(0), stages) for picture in degraded]
            return tuple(map(torch.cat, zip(*each, strict=True)))
        pictures = degraded.detach().to("cpu", torch.float32).contiguous().numpy()
        with self._lock:
            try:
                restored = self._compile(tuple(pictures.shape), stages)(pictures)
            except (RuntimeError, MemoryError):
                self._compiled.clear()  # the memory that they hold lets smaller tiles go on
                raise
        return tuple(torch.from_numpy(restored[index]).to(degraded.device) for index in range(len(stages)))

    def bytes_per_pixel(self, stage: int) -> int:
        """Estimate what `run` needs for each pixel, as `Backend` says."""
        config = self._model.config
        return _BYTES[self.precision][stage] * config.width_of(stage)

    def _compile(self, shape: tuple[int, ...], stages: tuple[int, ...]) -> Any:
        """Return the network compiled for a shape and these stages, of those kept or as a new one."""
        key = (shape, stages)
        compiled = self._compiled.pop(key, None)
        if compiled is None:
            size = _pixels(shape)
            while self._compiled and (
                len(self._compiled) >= _HELD or size + sum(_pixels(held) for held, _ in self._compiled) > _HELD_PX
            ):
                del self._compiled[next(iter(self._compiled))]
            network = self._network or self._convert((shape[2], shape[3]))
            outputs = [network.output(self._model.config.stages.index(stage)) for stage in stages]
            cut = _openvino().Model(outputs, network.get_parameters(), "mprnet").clone()
            cut.reshape(list(shape))
            compiled = self._core.compile_model(
                cut,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": self._hint,
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                    "PERFORMANCE_HINT": "LATENCY",
                },
            )
        self._compiled[key] = compiled  # as the one used last
        return compiled

    def _convert(self, size_hw: tuple[int, int] | None) -> Any:
        """Return the network with the pictures of all stages, from the disk where it was converted before."""

        def make(folder: Path) -> None:
            self._notice("converting the network for OpenVINO, once")
            network = converted(exported(self._model, self._model.config.stages, size_hw=size_hw or _TRACED_HW))
            if size_hw is None:
                _open_sizes(network)
            openvino.save_model(network, folder / "network.xml", compress_to_fp16=False)

        openvino = _openvino()
        name = f"openvino-{graph_key(self._model, size_hw, openvino.__version__)}"
        folder = cached(name, make, self._notice)
        try:
            return self._core.read_model(folder / "network.xml")
        except RuntimeError:  # it is damaged
            return self._core.read_model(remade(name, make) / "network.xml")

    def _quantized(self, path: Path | None) -> Any:
        remedy = (
            "make it with `mprnet export --weights WEIGHTS --format openvino --precision int8 --stage all --calibrate "
            f"FOLDER -o {path or 'WEIGHTS.int8.xml'}`"
        )
        if path is None or not path.is_file():
            raise ConfigError(f"there is no quantized network {path or 'beside the weights'}; {remedy}")
        if self._is_local:
            raise ConfigError("a quantized network averages over the whole picture; expected local=False (--no-local)")
        try:
            network = self._core.read_model(path)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ConfigError(f"the quantized network {path} cannot be read ({reason}); {remedy}") from error
        made_of = network.get_rt_info(list(FINGERPRINT)).value if network.has_rt_info(list(FINGERPRINT)) else None
        if made_of != fingerprint(self._model):
            raise ConfigError(f"the quantized network {path} was made of other weights; {remedy}")
        count = len(self._model.config.stages)
        if len(network.outputs) != count:
            raise ConfigError(
                f"the quantized network {path} has {len(network.outputs)} of {count} outputs; expected the picture of "
                f"every stage; {remedy}"
            )
        return network


def converted(program: ExportedProgram) -> Any:
    """Translate a graph to OpenVINO's.

    Args:
        program: as `mprnet.backends.graph.exported` gives it.

    Returns:
        openvino.Model: in float32, with the inputs and outputs of the graph in their order.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    _openvino()
    # `openvino.convert_model` does the same, but tells its makers over the network, and takes twice as long.
    manager: Any = importlib.import_module("openvino.frontend").FrontEndManager()
    decoders: Any = importlib.import_module("openvino.frontend.pytorch.fx_decoder")

    known: Mapping[Any, Any] = torch.export.default_decompositions()
    table = {operation: known[operation] for operation in known if str(operation) in _TO_DECOMPOSE}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`isinstance", FutureWarning)  # of torch, about itself
        decoder = decoders.TorchFXPythonDecoder(program.run_decompositions(table).module(), dynamic_shapes=True)
    frontend = manager.load_by_framework("pytorch")
    return frontend.convert(frontend.load(decoder))


def _open_sizes(network: Any) -> None:
    """Let a network that was traced at one size take every size, in place.

    All that depends on the size are its halves, which are cut at numbers: here they become halves of any size. Tracing
    with sizes left open gives the same, and takes twenty times as long.
    """
    operations = importlib.import_module("openvino.opset13")
    for cut in network.get_ops():
        if cut.get_type_name() == "Slice":
            start, axis = (int(cut.input_value(number).get_node().data[0]) for number in (1, 4))
            halves = operations.split(cut.input_value(0), axis, 2)
            cut.output(0).replace(halves.output(0 if start == 0 else 1))
    network.validate_nodes_and_infer_types()


def core() -> Any:
    """Return OpenVINO's core, the only one of the process, which lives as long.

    With its engine for processors, a core gives the thread that makes it a stack for signals, and takes it away at its
    own end. Where several come and go, the thread is left with one that is gone, and Ctrl-C crashes the process (seen
    with 2026.4).

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    return _core_of(_openvino())


@functools.cache
def _core_of(openvino: Any) -> Any:
    made = openvino.Core()
    made.get_versions("CPU")  # loads the engine
    return made


def _openvino() -> Any:
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise MissingExtraError('OpenVINO is not installed; pip install "mprnet[openvino]"') from error


def _pixels(shape: tuple[int, ...]) -> int:
    return shape[0] * shape[2] * shape[3]

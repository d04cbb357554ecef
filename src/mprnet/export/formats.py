"""The formats of exported networks: how each is written, and what runs it again."""

from __future__ import annotations

import contextlib
import importlib
import json
import threading
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mprnet.backends.graph import LONGEST_PX
from mprnet.backends.onnx import INPUT, to_onnx
from mprnet.backends.openvino import FINGERPRINT, converted, core
from mprnet.errors import ConfigError, ExportError, MissingExtraError, MPRNetError
from mprnet.export.quantization import quantized

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch.export import ExportedProgram

    Engine = Callable[[Tensor], tuple[Tensor, ...]]
    """Restores `(B, C, H, W)`, float32 in [0, 1], any H and W: a picture of its shape for each output of the file."""

_OWNER = FINGERPRINT[0]
"""What everything is kept under that a file says about its network."""

_LARGEST_ABOUT = 2**20
"""Bytes that are read of what a `.pt2` says about its network."""


@dataclass(frozen=True)
class Content:
    """What goes into a file.

    Attributes:
        program: the graph; its parameters are in the precision where the format keeps them as they are.
        outputs: the name of each output.
        about: what the file says about the network, text by key.
        precision: `fp32`, `fp16` or `int8`.
        crops: what int8 is calibrated with.
    """

    program: ExportedProgram
    outputs: tuple[str, ...]
    about: Mapping[str, str]
    precision: str
    crops: Iterable[Tensor]


@dataclass(frozen=True)
class Format:
    """A row of `FORMATS`.

    Attributes:
        suffix: what its files end in.
        needs: packages that write and read it, beside torch.
        precisions: what it is written in.
        write: makes a file, and maybe another of its stem beside it.
        open: reads one back, and makes it ready to compute on the processor.
        about: reads what it says about its network, running nothing that is in the file.
        beside: what the other files end in that `write` makes.
        longest_px: the longest side of a picture that its files take; None where there is no bound.
    """

    suffix: str
    needs: tuple[str, ...]
    precisions: tuple[str, ...]
    write: Callable[[Content, Path], None]
    open: Callable[[Path], Engine]
    about: Callable[[Path], dict[str, str]]
    beside: tuple[str, ...] = ()
    longest_px: int | None = None


def open_exported(path: str | os.PathLike[str]) -> Engine:
    """Open an exported network with the engine that reads its format, on the processor.

    A `.pt2` is code: torch may run what is in it. Open one only where it is from somebody you trust; `read_about` is
    safe with any.

    Args:
        path: what `export_model` wrote.

    Returns:
        A function of `(B, C, H, W)`, float32 in [0, 1], any H and W (a `.pt2` takes up to 32,768), that returns a
        picture of this shape for each output of the file, not clamped.

    Raises:
        ConfigError: the name ends in none of the formats' endings.
        ExportError: there is no such file, or its engine cannot read it.
        MissingExtraError: the engine is not installed.
    """
    with _readable(Path(path)) as form:
        return form.open(Path(path))


def read_about(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return what an exported network says about itself, running nothing that is in the file.

    Args:
        path: what `export_model` wrote.

    Raises:
        ConfigError: as `open_exported`; or an `.onnx` or a `.pt2` is damaged, or a `.pt2` says nothing that
            was written by `export_model`.
        ExportError, MissingExtraError: as `open_exported`.
    """
    with _readable(Path(path)) as form:
        return form.about(Path(path))


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[Format]:
    """Find the format of a file, and say in one line where its engine cannot read it: each raises what it likes."""
    form = _of(path)
    if not path.is_file():
        raise ExportError(f"{path} does not exist; expected a file of `mprnet export`")
    try:
        yield form
    except MPRNetError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ExportError(f"{path} cannot be read: {reason}") from error


def need(extra: str, *packages: str) -> None:
    """Check that packages are installed.

    Raises:
        MissingExtraError: one is not; the message names the extra that brings it.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f'this needs {package}, which is not installed: pip install "mprnet[{extra}]"')


def _of(path: Path) -> Format:
    for name, form in FORMATS.items():
        if path.suffix == form.suffix:
            need(name, *form.needs)
            return form
    expected = ", ".join(form.suffix for form in FORMATS.values())
    raise ConfigError(f"{path} is no exported network by its name; expected one that ends in {expected}")


# ONNX


def _write_onnx(content: Content, path: Path) -> None:
    written = to_onnx(content.program, content.outputs)
    written.model.metadata_props.update({f"{_OWNER}.{key}": text for key, text in content.about.items()})
    written.save(path, external_data=False)


def _onnx_session(path: Path) -> Any:
    import onnxruntime  # type: ignore[import-untyped, import-not-found, unused-ignore]

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _open_onnx(path: Path) -> Engine:
    session = _onnx_session(path)
    return lambda degraded: tuple(map(torch.from_numpy, session.run(None, {INPUT: degraded.numpy()})))


def _about_onnx(path: Path) -> dict[str, str]:
    import onnx

    damaged: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    # Not by a session, which computes what is constant in the network as it opens it.
    try:
        network = onnx.load(path, load_external_data=False)
    except (damaged, OSError) as error:
        raise ConfigError(f"{path} does not say what it is; expected a file of `mprnet export`") from error
    entries = {entry.key: entry.value for entry in network.metadata_props}
    start = f"{_OWNER}."
    return {key.removeprefix(start): text for key, text in entries.items() if key.startswith(start)}


# OpenVINO


def _write_openvino(content: Content, path: Path) -> None:
    import openvino  # type: ignore[import-untyped, import-not-found, unused-ignore]

    network = converted(content.program)
    network.input(0).set_names({INPUT})
    for output, name in zip(network.outputs, content.outputs, strict=True):
        output.set_names({name})
    if content.precision == "int8":
        network = quantized(network, content.crops)
    for key, text in content.about.items():
        network.set_rt_info(text, [_OWNER, key])
    openvino.save_model(network, path, compress_to_fp16=content.precision == "fp16")


def _open_openvino(path: Path) -> Engine:
    network = core().read_model(path)
    is_quantized = any(node.get_type_name() == "FakeQuantize" for node in network.get_ops())
    lock = threading.Lock()  # a compiled network computes one thing at a time
    held: dict[tuple[int, ...], Any] = {}  # the last one: compiling takes a third of a second

    def run(degraded: Tensor) -> tuple[Tensor, ...]:
        # OpenVINO computes quantized networks right only for a size that it knows; others are compiled for every size.
        size = tuple(degraded.shape) if is_quantized else ()
        with lock:
            if size not in held:
                held.clear()
                chosen = network.clone()
                if size:
                    chosen.reshape(list(size))
                held[size] = core().compile_model(chosen, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            restored = held[size](degraded.numpy())
            return tuple(torch.from_numpy(restored[output]) for output in held[size].outputs)

    return run


def _about_openvino(path: Path) -> dict[str, str]:
    network = core().read_model(path)
    if not network.has_rt_info([_OWNER]):
        return {}
    about: dict[str, str] = network.get_rt_info([_OWNER]).value
    return about


# torch.export


def _write_torchexport(content: Content, path: Path) -> None:
    torch.export.save(content.program, path, extra_files={f"{_OWNER}.json": json.dumps(dict(content.about))})


def _open_torchexport(path: Path) -> Engine:
    restore = torch.export.load(path).module()

    def run(degraded: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            restored: tuple[Tensor, ...] = restore(degraded)
        return restored

    return run


def _about_torchexport(path: Path) -> dict[str, str]:
    # Not by torch, which falls back on unpickling, and would run what a stranger put there.
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(f"/extra/{_OWNER}.json"))
            if archive.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise zipfile.BadZipFile  # of the others Python unpacks all to read a part
            with archive.open(name) as entry:
                about: dict[str, str] = dict(json.loads(entry.read(_LARGEST_ABOUT)))
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        StopIteration,
        EOFError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ConfigError(f"{path} does not say what it is; expected a file of `mprnet export`") from error
    return about


FORMATS: dict[str, Format] = {
    "onnx": Format(
        suffix=".onnx",
        needs=("onnx", "onnxscript", "onnxruntime"),
        precisions=("fp32", "fp16"),
        write=_write_onnx,
        open=_open_onnx,
        about=_about_onnx,
    ),
    "openvino": Format(
        suffix=".xml",
        needs=("openvino",),
        precisions=("fp32", "fp16", "int8"),
        write=_write_openvino,
        open=_open_openvino,
        about=_about_openvino,
        beside=(".bin",),
    ),
    "torchexport": Format(
        suffix=".pt2",
        needs=(),
        precisions=("fp32", "fp16"),
        write=_write_torchexport,
        open=_open_torchexport,
        about=_about_torchexport,
        longest_px=LONGEST_PX,
    ),
}
"""The formats, by name. OpenVINO's is two files: the graph, and beside it the weights in a `.bin` of its stem."""

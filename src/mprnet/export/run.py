"""An export from the network to the file: trace, write, compare, and only then keep."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from mprnet import __version__
from mprnet.backends import fingerprint
from mprnet.backends.graph import exported
from mprnet.checkpoints import load_checkpoint, read_metadata, task_of, trained_stages_of
from mprnet.errors import ConfigError, ExportError
from mprnet.export.formats import FORMATS, Content, Format, need
from mprnet.export.parity import BOUNDS, Comparison, compare
from mprnet.export.quantization import CROPS, calibration_crops
from mprnet.files import PathLike
from mprnet.network import TASKS
from mprnet.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from mprnet.network import MPRNet

Stage = Literal[1, 2, 3, "all"]


def export_model(
    model: MPRNet,
    target: PathLike,
    *,
    format: str,  # noqa: A002 (the option's name)
    stage: Stage = 3,
    precision: str = "fp32",
    metadata: Mapping[str, str] | None = None,
    crops: Iterable[Tensor] | None = None,
    overwrite: bool = False,
) -> tuple[Comparison, ...]:
    """Write a network as a file for another program, once that program's engine gives the same pictures as torch.

    The file takes `degraded` `(B, C, H, W)`, float32 in [0, 1], of any batch, height and width; it pads to multiples of
    8 and cuts back by itself. It returns `restored` of this shape, not clamped, or `stage1`, `stage2` and `stage3`.
    Of `torchexport` alone sides are bounded, by 32,768.

    Args:
        model: the network, on any device and in any dtype. Its channel attention has to average over the whole picture
            (`set_local_pooling(model, None)`).
        target: the file to write, ending in the format's suffix, in a folder that exists. OpenVINO's weights go into a
            `.bin` beside it.
        format: `onnx`, `openvino` or `torchexport`.
        stage: 1, 2 or 3, whose picture the file returns; later stages are left out. `all` for the three.
        precision: `fp32`; `fp16` for weights of half the size, which GPUs compute with too; with OpenVINO `int8`, for
            weights of a quarter and the fastest processors.
        metadata: free entries for the file, such as `task` and `provenance`.
        crops: for int8: degraded pictures `(B, C, H, W)`, float32 in [0, 1], such as `calibration_crops` gives.
        overwrite: replace a file that is already there.

    Returns:
        tuple[Comparison, ...]: how the file differs from torch at three sizes, odd ones included.

    Raises:
        ConfigError: there is no such format, stage or precision, or not together; the stage was never trained, as
            `metadata` says; `target` has another suffix; or the
            network averages over local windows.
        ExportError: a file exists or cannot be written; or it differs from torch by more than `BOUNDS`, and is not
            kept.
        MissingExtraError: what writes or runs the format is not installed.
    """
    target = Path(target)
    form = _check(format, stage, precision, crops)
    trained = trained_stages_of(metadata or {})
    if trained < (3 if stage == "all" else stage):
        raise ConfigError(f"stage is {stage}, and the last stage of this network that was trained is {trained}")
    _check_target(target, form, overwrite)
    need(format, *form.needs)
    if precision == "int8":
        need("int8", "nncf")
    stages = model.config.stages if stage == "all" else (stage,)
    # OpenVINO computes in what its devices are fast with, whatever it reads; others in what is written.
    dtype = torch.float16 if precision == "fp16" and format != "openvino" else torch.float32
    content = Content(
        program=exported(model, stages, padded=True, dtype=dtype),
        outputs=tuple(f"stage{number}" for number in stages) if stage == "all" else ("restored",),
        about=_about(model, form, stages, precision, metadata or {}),
        precision=precision,
        crops=crops or (),
    )
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
            draft = Path(folder) / target.name
            form.write(content, draft)
            comparisons = compare(model, stages, form.open(draft))
            for comparison in comparisons:
                if not comparison.keeps(precision):
                    raise ExportError(_differs(target, comparison, precision))
            _move(draft, target)
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error.strerror or error}") from error
    return comparisons


def export_weights(
    name_or_path: PathLike,
    target: PathLike,
    *,
    format: str,  # noqa: A002 (as of `export_model`)
    task: str | None = None,
    stage: Stage = 3,
    precision: str = "fp32",
    calibrate: PathLike | None = None,
    count: int = CROPS,
    overwrite: bool = False,
) -> tuple[Comparison, ...]:
    """Export shipped weights, or a weights file, with what it says of itself.

    Args:
        name_or_path: `derain`, `deblur`, `denoise`, or a weights file.
        target: the file to write.
        format: `onnx`, `openvino` or `torchexport`.
        task: what the weights undo, where their file does not say it.
        stage: 1, 2, 3 or `all`.
        precision: as for `export_model`.
        calibrate: for int8: a folder of clean pictures, without its subfolders, to be degraded as the task undoes it.
        count: how many crops of them to calibrate with.
        overwrite: replace a file that is already there.

    Returns:
        tuple[Comparison, ...]: how the file differs from torch at three sizes, odd ones included.

    Raises:
        CheckpointError: no such weights, or they cannot be read.
        ConfigError: as `export_model`; the weights are for another task; or nothing says what they undo, and pictures
            are to be degraded.
        DataError: as `calibration_crops`.
        ExportError, MissingExtraError: as `export_model`.
    """
    path = find_weights(name_or_path)
    metadata = read_metadata(path)
    task = task_of(metadata, path, task)
    crops = None
    if calibrate is not None:
        if task is None:
            raise ConfigError(f"{path} does not say what it undoes; say the task, too ({', '.join(TASKS)})")
        crops = calibration_crops(calibrate, task, count=count)
    return export_model(
        load_checkpoint(path),
        target,
        format=format,
        stage=stage,
        precision=precision,
        metadata=metadata | ({"task": task} if task else {}),
        crops=crops,
        overwrite=overwrite,
    )


def _check(format_name: str, stage: Stage, precision: str, crops: Iterable[Tensor] | None) -> Format:
    if format_name not in FORMATS:
        raise ConfigError(f"format is {format_name!r}; expected one of {', '.join(FORMATS)}")
    form = FORMATS[format_name]
    if stage not in (1, 2, 3, "all"):
        raise ConfigError(f"stage is {stage!r}; expected 1, 2, 3 or all")
    if precision not in form.precisions:
        raise ConfigError(f"precision is {precision!r}; expected {' or '.join(form.precisions)} for {format_name}")
    if (precision == "int8") != (crops is not None):
        raise ConfigError(
            "int8 is calibrated with pictures; expected some (--calibrate FOLDER)"
            if crops is None
            else f"precision is {precision!r}, which takes no pictures to calibrate with; expected int8, or none"
        )
    return form


def _check_target(target: Path, form: Format, overwrite: bool) -> None:
    if target.suffix != form.suffix:
        raise ConfigError(f"{target} ends in {target.suffix or 'nothing'}; expected {form.suffix}")
    if not target.parent.is_dir():
        raise ExportError(f"{target} cannot be written: the folder {target.parent} does not exist")
    for path in (target, *(target.with_suffix(suffix) for suffix in form.beside)):
        if path.exists() and not overwrite:
            raise ExportError(f"{path} exists; choose another name, or overwrite it (--overwrite, overwrite=True)")


def _about(
    model: MPRNet, form: Format, stages: tuple[int, ...], precision: str, metadata: Mapping[str, str]
) -> dict[str, str]:
    sizes = f"sides up to {form.longest_px}" if form.longest_px else "any"
    return {
        **metadata,
        "version": __version__,
        "fingerprint": fingerprint(model),
        "stages": ",".join(map(str, stages)),
        "precision": precision,
        "range": "[0, 1], not clamped",
        "layout": "batch, channels (RGB where there are three), height, width; float32",
        "sizes": f"{sizes}; padded inside to multiples of 8, and cut back"
        + ("; reshape to the picture's before compiling" if precision == "int8" else ""),
    }


def _differs(target: Path, comparison: Comparison, precision: str) -> str:
    count, height, width = comparison.shape
    return (
        f"{target} was not written: for {count} of {height}×{width} (H×W) it differs from torch by up to "
        f"{comparison.largest:.2g}, {comparison.typical:.2g} in the mean; expected at most {BOUNDS[precision]:g} "
        f"{'in the mean ' if precision == 'int8' else ''}for {precision}"
    )


def _move(draft: Path, target: Path) -> None:
    """Move a file, and what was written beside it, to where it belongs."""
    target.unlink(missing_ok=True)  # so that no older graph is left with newer weights, should this end here
    for path in draft.parent.iterdir():
        if path != draft:
            path.replace(target.with_name(path.name))
    draft.replace(target)

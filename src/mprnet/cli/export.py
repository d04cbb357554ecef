"""`mprnet export`: a network as a file for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mprnet.errors import ConfigError

_TASKS = "derain|deblur|denoise"


def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="File to write: .onnx, .xml (OpenVINO) or .pt2.")
    ],
    format: Annotated[  # noqa: A002 (the option's name)
        str, typer.Option(metavar="onnx|openvino|torchexport", help="Which program is to read it.")
    ],
    task: Annotated[
        str | None, typer.Option(metavar=_TASKS, help="Whose shipped weights to export, or what others undo.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="NAME_OR_FILE", help="Other weights than those shipped for the task.")
    ] = None,
    stage: Annotated[
        str, typer.Option(metavar="1|2|3|all", help="Whose picture the file gives; earlier stages are faster.")
    ] = "3",
    precision: Annotated[
        str, typer.Option(metavar="fp32|fp16|int8", help="Of the weights; int8, for OpenVINO, of all computing.")
    ] = "fp32",
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="For int8: clean pictures, to be degraded as the task undoes it."),
    ] = None,
    crops: Annotated[int | None, typer.Option(help="For int8: how many crops of them to calibrate with.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it exists.")] = False,
) -> None:
    """Write a network for ONNX, OpenVINO or torch.export, compare it with torch, and keep it if it agrees."""
    from rich.console import Console

    from mprnet.checkpoints import load_checkpoint, read_metadata, task_of
    from mprnet.export import CROPS, calibration_crops, export_model
    from mprnet.network import TASKS
    from mprnet.weights import find_weights

    if task is not None and task not in TASKS:
        raise ConfigError(f"--task is {task!r}; expected one of {', '.join(TASKS)}")
    if task is None and weights is None:
        raise ConfigError(f"nothing says what to export; give --task {_TASKS}, or --weights")
    if crops is not None and (calibrate is None or crops < 1):
        raise ConfigError(f"--crops is {crops}; expected 1 or more, beside --calibrate")
    path = find_weights(weights or task or "")
    metadata = read_metadata(path)
    task = task_of(metadata, path, task)
    metadata |= {"task": task} if task else {}
    samples = None
    if calibrate is not None:
        if task is None:
            raise ConfigError(f"{path} does not say what it undoes; give --task {_TASKS} too")
        samples = calibration_crops(calibrate, task, count=crops or CROPS)
    with Console(stderr=True).status(f"Exporting {path.name} …"):
        comparisons = export_model(
            load_checkpoint(path),
            output,
            format=format,
            stage=int(stage) if stage.isdecimal() else stage,  # type: ignore[arg-type] # checked there
            precision=precision,
            metadata=metadata,
            crops=samples,
            overwrite=overwrite,
        )
    for comparison in comparisons:
        count, height, width = comparison.shape
        typer.echo(
            f"{count} of {height}×{width}: differs from torch by {comparison.typical:.1e} in the mean, "
            f"{comparison.largest:.1e} at most"
        )
    typer.echo(output)

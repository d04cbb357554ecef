"""`mprnet export`: a network as a file for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mprnet.cli import options
from mprnet.errors import ConfigError


def export(
    output: Annotated[
        Path,
        typer.Option("--output", "--out", "-o", metavar="OUT", help="File to write: .onnx, .xml (OpenVINO) or .pt2."),
    ],
    format: Annotated[  # noqa: A002 (the option's name)
        str, typer.Option(metavar="onnx|openvino|torchexport", help="Which program is to read it.")
    ],
    task: Annotated[
        str | None, typer.Option(metavar=options.TASKS, help="Whose shipped weights to export, or what others undo.")
    ] = None,
    weights: options.Weights = None,
    stage: Annotated[
        str, typer.Option(metavar="1|2|3|all", help="Whose picture the file gives; earlier stages are faster.")
    ] = "3",
    precision: Annotated[
        str,
        typer.Option(
            metavar="fp32|fp16|int8",
            help="fp16: half the size, and onnx and torchexport compute in it; int8: for OpenVINO, a quarter of the "
            "size, most of the arithmetic in 8 bits, with --calibrate.",
        ),
    ] = "fp32",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For int8: clean pictures, without its subfolders, to be degraded as the task undoes it.",
        ),
    ] = None,
    crops: Annotated[
        int | None, typer.Option(help="For int8: how many crops of them, 128×128, to calibrate with; 128 without it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it exists.")] = False,
) -> None:
    """For programs: write a network for ONNX, OpenVINO or torch.export, and keep it if it agrees with torch."""
    from rich.console import Console

    from mprnet.export import CROPS, export_weights
    from mprnet.network import TASKS

    if task is not None and task not in TASKS:
        raise ConfigError(f"--task is {task!r}; expected one of {', '.join(TASKS)}")
    name = weights or task
    if name is None:
        raise ConfigError(f"nothing says what to export; give --task {options.TASKS}, or --weights")
    if crops is not None and (calibrate is None or crops < 1):
        raise ConfigError(f"--crops is {crops}; expected 1 or more, beside --calibrate")
    with Console(stderr=True).status(f"Exporting {Path(name).name} …"):
        comparisons = export_weights(
            name,
            output,
            format=format,
            task=task,
            stage=int(stage) if stage.isdecimal() else stage,  # type: ignore[arg-type] # checked there
            precision=precision,
            calibrate=calibrate,
            count=crops or CROPS,
            overwrite=overwrite,
        )
    for comparison in comparisons:
        count, height, width = comparison.shape
        typer.echo(
            f"{count} of {height}×{width}: differs from torch by {comparison.typical:.1e} in the mean, "
            f"{comparison.largest:.1e} at most"
        )
    typer.echo(output)

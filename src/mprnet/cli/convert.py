"""`mprnet convert`: weights from the published form to ours, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Weights file to read, in either form; or derain, deblur or denoise for the shipped one."
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Weights file to write.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="mprnet|official",
            help="Form to write: mprnet is ours, official the published one; without it, mprnet where OUT ends in "
            ".safetensors, otherwise official.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it exists.")] = False,
) -> None:
    """Convert a weights file between the published form (.pth) and ours (.safetensors)."""
    from mprnet.checkpoints import convert_checkpoint
    from mprnet.weights import shipped_weights

    convert_checkpoint(shipped_weights().get(str(source), source), target, to=to, overwrite=overwrite)
    typer.echo(target)

"""`mprnet compare`: pictures before and after, side by side on one sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mprnet.errors import ConfigError


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="BEFORE AFTER",
            help="Two folders, whose pictures are paired by name without the ending; what is in one alone is left "
            "out. More pairs may follow.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--output", "--out", "-o", metavar="OUT", help="The sheet to write: .png or .jpg.")
    ],
    cell: Annotated[
        int,
        typer.Option(min=16, help="Longest side of a picture on the sheet, in pixels; smaller ones stay as they are."),
    ] = 480,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sheet that is already there.")] = False,
) -> None:
    """Lay pictures before and after side by side on one sheet."""
    from mprnet.imaging import compare as write_sheet

    if len(folders) % 2:
        raise ConfigError(f"got {len(folders)} folders; expected pairs: BEFORE AFTER, and so on")
    write_sheet(list(zip(folders[::2], folders[1::2], strict=True)), out, cell_px=cell, overwrite=overwrite)
    typer.echo(str(out))

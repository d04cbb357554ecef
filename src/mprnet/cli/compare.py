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
            help="Two folders, or as many as --columns says, whose pictures go by name without the ending; what is "
            "not in all of them is left out. As many more may follow, for further rows.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--output", "--out", "-o", metavar="OUT", help="The sheet to write: .png or .jpg.")
    ],
    columns: Annotated[
        int, typer.Option(min=2, help="How many folders stand in a row, such as 4: input, two methods, truth.")
    ] = 2,
    cell: Annotated[
        int,
        typer.Option(min=16, help="Longest side of a picture on the sheet, in pixels; smaller ones stay as they are."),
    ] = 480,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sheet that is already there.")] = False,
) -> None:
    """Lay pictures before and after, or of several methods, side by side on one sheet."""
    from mprnet.imaging import compare as write_sheet

    if len(folders) % columns:
        raise ConfigError(
            f"got {len(folders)} folders for rows of {columns}; expected BEFORE AFTER and so on, or another --columns"
        )
    groups = [folders[start : start + columns] for start in range(0, len(folders), columns)]
    write_sheet(groups, out, cell_px=cell, overwrite=overwrite)
    typer.echo(str(out))

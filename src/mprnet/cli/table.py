"""`mprnet table`: the paper's tables with rows of ours in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mprnet.cli.terminal import plain


def table(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR…", help="Folders that mprnet evaluate has written."),
    ],
) -> None:
    """Print the paper's tables as Markdown, with a row for each network or method that was measured.

    A network that was measured on all five sets of rain gets their average, too.
    """
    from mprnet.errors import DataError
    from mprnet.evaluation.results import read_results
    from mprnet.evaluation.standing import standings, to_markdown

    found = [results for folder in folders for results in read_results(folder)]
    tables = standings(found)
    if not tables:
        sets = ", ".join(dict.fromkeys(results.settings["dataset"] for results in found))
        raise DataError(f"there are no scores for a table of the paper ({sets}); expected results of its test sets")
    lines = "\n\n".join(map(to_markdown, tables)).split("\n")
    typer.echo("\n".join(map(plain, lines)))

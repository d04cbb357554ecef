"""`mprnet table`: the paper's tables with rows of ours in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mprnet.cli.terminal import plain

if TYPE_CHECKING:
    from mprnet.evaluation.standing import AblationStanding, Standing


def table(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR…", help="Folders that mprnet evaluate has written."),
    ],
    form: Annotated[
        str, typer.Option("--format", metavar="markdown|latex", help="What to print; LaTeX needs no package.")
    ] = "markdown",
) -> None:
    """Print the paper's tables, with a row for each network or method that was measured.

    A network that was measured on all five sets of rain gets their average, too; the networks of Table 6 stand there.
    """
    from mprnet.errors import ConfigError, DataError
    from mprnet.evaluation.journal import read_results
    from mprnet.evaluation.markup import to_latex, to_markdown
    from mprnet.evaluation.standing import ablations, standings

    forms = {"markdown": to_markdown, "latex": to_latex}
    if form not in forms:
        raise ConfigError(f"--format is {form!r}; expected {' or '.join(forms)}")
    found = [results for folder in folders for results in read_results(folder)]
    six = ablations(found)
    tables: list[Standing | AblationStanding] = [*standings(found), *([six] if six else [])]
    if not tables:
        sets = ", ".join(dict.fromkeys(results.settings["dataset"] for results in found))
        raise DataError(f"there are no scores for a table of the paper ({sets}); expected results of its test sets")
    lines = "\n\n".join(map(forms[form], tables)).split("\n")
    typer.echo("\n".join(map(plain, lines)))

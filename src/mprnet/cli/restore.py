"""`mprnet restore`: picture files and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mprnet.errors import ConfigError

_TASKS = "derain|deblur|denoise"


def restore(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="PNG and JPEG files, or folders of them.")],
    task: Annotated[str | None, typer.Option(metavar=_TASKS, help="What to undo.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Folder to write to, or a file for a single picture; without it, NAME_restored beside each INPUT.",
        ),
    ] = None,
    stage: Annotated[int, typer.Option(min=1, max=3, help="Whose picture to write; earlier stages are faster.")] = 3,
    weights: Annotated[
        str | None, typer.Option(metavar="NAME_OR_FILE", help="Other weights than those shipped for the task.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist, though no INPUT.")] = False,
) -> None:
    """Restore photographs: take out rain, blur or noise."""
    import sys
    from datetime import timedelta

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    from mprnet.network import TASKS
    from mprnet.restoration import Failure, Job, Progress, Restorer, restore_files

    if task is not None and task not in TASKS:
        raise ConfigError(f"--task is {task!r}; expected one of {', '.join(TASKS)}")
    name = weights or task
    if name is None:
        raise ConfigError(f"nothing says what to undo; give --task {_TASKS}, or --weights")
    restorer = Restorer.from_pretrained(name)

    console = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[timing]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # what goes to a file or pipe is left alone
    )
    row = bar.add_task("", total=None, timing="")

    def watch(progress: Progress) -> None:
        completed = progress.done + progress.fraction
        timing = ""
        if completed and bar.tasks[0].elapsed:
            each = bar.tasks[0].elapsed / completed
            left = timedelta(seconds=round(each * (progress.total - completed)))
            timing = f"{each:.1f} s each, {left} left"
        bar.update(row, description=progress.source.name, total=progress.total, completed=completed, timing=timing)
        # Written to the streams themselves, which the bar redirects to lines above it.
        if isinstance(progress.outcome, Job):
            sys.stdout.write(f"{progress.outcome.source} -> {progress.outcome.target}\n")
            sys.stdout.flush()
        elif isinstance(progress.outcome, Failure):
            sys.stderr.write(f"mprnet: {progress.outcome.reason}\n")

    try:
        with bar:
            report = restore_files(restorer, inputs, output, stage=stage, overwrite=overwrite, watch=watch)
    except KeyboardInterrupt:
        typer.echo("mprnet: interrupted; what was finished is kept", err=True)
        raise typer.Exit(130) from None
    if len(report.restored) + len(report.failures) > 1:
        typer.echo(f"{len(report.restored)} restored, {len(report.failures)} failed")
    if report.failures:
        raise typer.Exit(1)

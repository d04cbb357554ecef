"""`mprnet prepare`: published training sets, made ready to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mprnet.cli.terminal import plain
from mprnet.errors import ConfigError

_SETS = "gopro|realblur-j|realblur-r|sidd|rain|rain14000|rain1800|rain800|rain12"


def prepare(
    name: Annotated[str, typer.Argument(metavar=_SETS, help="The set; rain is all four that follow it.")],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The folder of the set, or one that holds it.")],
    output: Annotated[Path, typer.Argument(metavar="DST", help="Folder in which input/ and target/ are made.")],
    crop: Annotated[
        int | None, typer.Option(help="Side of a crop in pixels; without it 512 for gopro, 256 for sidd.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(help="For gopro: pixels that neighbouring crops share; 256 without it.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="For sidd: how many crops of each picture; 300 without it.")] = None,
    seed: Annotated[int | None, typer.Option(help="For sidd: another seed draws other crops; 0 without it.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a processor.")] = None,
    allow_partial: Annotated[
        bool, typer.Option("--partial", help="Take a set that is not the complete one of the paper.")
    ] = False,
) -> None:
    """For training: make a published set ready; run it again to go on where it stopped.

    Of gopro and sidd crops are cut; the pairs of the others are gathered.
    """
    import dataclasses

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from mprnet.datasets.preparation import DEFAULT_CROPS, Step, usable_processors
    from mprnet.datasets.preparation import prepare as prepare_set

    given = {"side_px": crop, "overlap_px": overlap, "count": count, "seed": seed}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    crops = DEFAULT_CROPS.get(name)
    known = {each.name for each in dataclasses.fields(crops)} if crops else set()
    if not changes.keys() <= known:
        options = {"side_px": "--crop", "overlap_px": "--overlap", "count": "--count", "seed": "--seed"}
        expected = ", ".join(option for key, option in options.items() if key in known) or "none of these options"
        raise ConfigError(f"{options[min(changes.keys() - known)]} does not go with {name}; expected {expected}")
    if crops:
        crops = dataclasses.replace(crops, **changes)

    console = Console(stderr=True)
    bar = Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    row = bar.add_task(name, total=None)
    tenths = -1

    def watch(step: Step) -> None:
        nonlocal tenths
        bar.update(row, completed=step.done, total=step.total)
        if step.failure:
            bar.console.print(plain(f"mprnet: {step.failure}"), markup=False, highlight=False, soft_wrap=True)
        if not console.is_terminal and (now := 10 * step.done // max(step.total, 1)) > tenths:
            tenths = now
            typer.echo(f"{name}: {step.done} of {step.total} pictures", err=True)

    try:
        with bar:
            report = prepare_set(
                name,
                source,
                output,
                crops=crops,
                workers=workers if workers is not None else usable_processors(),
                allow_partial=allow_partial,
                watch=watch,
            )
    except KeyboardInterrupt:
        typer.echo("mprnet: interrupted; what was finished is kept", err=True)
        raise typer.Exit(130) from None
    made, pairs = len(report.pictures), sum(report.pictures.values())
    typer.echo(
        f"{output}: {made} pictures made into {pairs} pairs, {report.earlier} done before, {len(report.failed)} failed"
    )
    if report.failed:
        raise typer.Exit(1)

"""`mprnet train`: from a recipe to weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A .toml file, or a shipped recipe: lite-derain, lite-deblur, lite-denoise; paper-derain, "
            "paper-deblur, paper-denoise, paper-ablation."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--output", "--out", "-o", metavar="OUT", help="Folder of the run; without it runs/RECIPE."),
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change an entry: optimization.steps=1000")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the folder's run stopped; repeat your --set.")
    ] = False,
) -> None:
    """For researchers: train a network as a recipe says; Ctrl-C stops it so that --resume goes on."""
    from rich.console import Console

    from mprnet import training

    console = Console(soft_wrap=True, highlight=False, markup=False)
    chosen = training.load_recipe(recipe, changes or ())
    folder = out or Path("runs") / training.find_recipe(recipe).stem
    if resume:
        for change in training.changes_since(folder, chosen):
            typer.echo(f"changed on the way: {change}")
    try:
        result = training.train(chosen, folder, resume=resume, console=console)
    except KeyboardInterrupt:
        kept = folder / "last.ckpt"
        typer.echo(f"stopped; --resume goes on from {kept}" if kept.exists() else "stopped; nothing is kept", err=True)
        raise typer.Exit(130) from None
    if math.isinf(result.psnr_db):
        typer.echo("no step was left to train or to validate; for more, raise optimization.steps or minutes")
        return
    typer.echo(f"best {result.psnr_db:.2f} dB on the validation pictures: {result.best}")

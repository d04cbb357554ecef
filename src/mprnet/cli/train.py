"""`mprnet train`: from a recipe to weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A .toml file, or the name of a shipped recipe such as lite-denoise.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run; by default runs/RECIPE.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change an entry: optimization.steps=1000")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the folder's run stopped.")] = False,
) -> None:
    """Train a network as a recipe says."""
    from mprnet.training.recipe import load_recipe

    chosen = load_recipe(recipe, changes or ())
    from mprnet.training.run import train as run

    folder = out or Path("runs") / Path(recipe).stem
    try:
        result = run(chosen, folder, resume=resume)
    except KeyboardInterrupt:
        typer.echo(f"stopped; `--resume` goes on from {folder / 'last.ckpt'}", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"best {result.psnr_db:.2f} dB on the validation pictures: {result.best}")

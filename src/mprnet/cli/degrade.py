"""`mprnet degrade`: paired folders from clean pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mprnet.cli import options
from mprnet.cli.terminal import plain
from mprnet.errors import ConfigError


def degrade(
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="A folder of clean pictures, without its subfolders, or one picture."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "--out", "-o", metavar="OUT", help="Folder in which input/ and target/ are made."),
    ],
    task: Annotated[str, typer.Option(metavar=options.TASKS, help="The task that is to undo it.")],
    seed: Annotated[int, typer.Option(help="Another seed draws other rain, blur or noise.")] = 0,
    sigma: Annotated[
        float | None,
        typer.Option(help="For denoise: white Gaussian noise of exactly this standard deviation, where white is 255."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting: layers=[2,3] (derain), extent_px=[4,8] (deblur), camera_share=1 (denoise); "
            "an unknown KEY lists them all.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pairs that exist, though no INPUT.")] = False,
) -> None:
    """Put rain, motion blur or noise into clean pictures, to train on or to measure with."""
    from rich.console import Console
    from rich.progress import track

    from mprnet.datasets import degrade_folder
    from mprnet.degradation import Degradation, GaussianNoise, make_degradation
    from mprnet.settings import apply_change

    settings: dict[str, Any] = {}
    for change in changes or ():
        apply_change(settings, change)
    degradation: Degradation = make_degradation(task, settings)
    if sigma is not None:
        if task != "denoise" or settings:
            raise ConfigError("--sigma says all about the noise; expected --task denoise and no --set beside it")
        degradation = GaussianNoise((sigma, sigma))

    notes = Console(stderr=True)
    report = degrade_folder(
        source,
        output,
        degradation,
        seed=seed,
        overwrite=overwrite,
        progress=lambda paths: track(paths, "Degrading", console=notes, transient=True, disable=not notes.is_terminal),
    )
    for reason in report.failed.values():
        typer.echo(f"mprnet: {plain(reason)}", err=True)
    typer.echo(f"{output}: {len(report.pairs)} made, {len(report.failed)} failed")
    if report.failed:
        raise typer.Exit(1)

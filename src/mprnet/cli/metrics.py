"""`mprnet metrics`: score restored pictures against their targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mprnet.cli.terminal import notice, plain


def metrics(
    restored: Annotated[
        Path, typer.Argument(help="A folder of restored pictures, with its subfolders, or one picture.")
    ],
    target: Annotated[
        Path,
        typer.Argument(help="The folder or picture to compare with; pairs go by path and name, without the ending."),
    ],
    protocol: Annotated[
        str,
        typer.Option(help="Whose tables to compare with: rain, gopro, hide, realblur, sidd, or rgb for other sets."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score pictures against the originals they should equal, as the papers do: PSNR in dB, SSIM up to 1."""
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table
    from rich.text import Text

    from mprnet.errors import DataError
    from mprnet.evaluation.folders import score_folders

    notes = Console(stderr=True)
    scores = score_folders(
        restored,
        target,
        protocol,
        lambda pairs: track(pairs, "Measuring", console=notes, transient=True, disable=not notes.is_terminal),
    )
    for name, reason in scores.failed.items():
        typer.echo(plain(f"{name}: {reason}"), err=True)
    mean, measured, total = scores.mean, len(scores.images), len(scores.images) + len(scores.failed)
    if as_json:
        typer.echo(scores.to_json())
    else:
        table = Table("picture", title=f"{scores.protocol.name}: {scores.protocol.benchmarks}", show_footer=True)
        table.columns[0].footer = f"mean of {measured}" if measured == total else f"mean of only {measured} of {total}"
        table.columns[0].overflow = "fold"
        table.add_column("PSNR (dB)", f"{mean.psnr:.3f}", justify="right")
        table.add_column("SSIM", f"{mean.ssim:.5f}", justify="right")
        for name, one in scores.images.items():
            table.add_row(Text(plain(name)), f"{one.psnr:.3f}", f"{one.ssim:.5f}")
        Console().print(table)
    if scores.rounded and scores.protocol.rounding == "none":
        notice(
            f"{len(scores.rounded)} of {measured} have 8 bits, and {scores.protocol.name} measures what was not "
            "rounded: this costs about 0.05 dB at 40 dB, and less below"
        )
    if scores.identical:
        typer.echo(
            f"{len(scores.identical)} of {measured} measured as identical to their targets, "
            f"so their PSNR and its mean are infinite: {plain(', '.join(scores.identical))}",
            err=True,
        )
    if scores.failed:
        raise DataError(f"{len(scores.failed)} of {total} pictures were not measured; the mean is over the others")

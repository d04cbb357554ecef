"""`mprnet restore`: pictures, videos and folders, and pictures in a pipe."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from mprnet.cli import options
from mprnet.cli.terminal import notice, plain
from mprnet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as Bar

    from mprnet.restoration import Progress

_PIPE = "-"
_WRITTEN, _VIDEOS = "Pictures as they are written", "Videos"


def restore(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Pictures (JPEG, PNG, TIFF, WebP, AVIF, GIF, BMP; HEIC with the extra heif), videos (MP4, MOV, MKV, "
            "WebM; extra video), folders of pictures with their subfolders, quoted patterns, or - for a pipe.",
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK[,…]",
            help="What to take out: derain (rain), deblur (blur), denoise (noise); with commas, one after the other. "
            "Needed unless --weights is given.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "--out",
            "-o",
            metavar="OUT",
            help="Folder to write to, or a file for a single picture or video, or -; without it, NAME_restored beside "
            "each INPUT.",
        ),
    ] = None,
    weights: options.Weights = None,
    stage: Annotated[
        str,
        typer.Option(
            metavar="1|2|3|auto",
            help="The network restores in three stages, each slower than the one before, and nearly always better; "
            "auto: the last one within --budget-seconds.",
        ),
    ] = "3",
    budget_seconds: Annotated[
        float | None,
        typer.Option(
            help="With --stage auto: what one picture, or a whole video, may take, with all its tasks; stage 1 where "
            "that is too little."
        ),
    ] = None,
    ensemble: options.Ensemble = False,
    scales: options.Scales = 1,
    strength: Annotated[
        float, typer.Option(help="How much of the restoration to take, 0 (none) to 1 (all); of several tasks, at each.")
    ] = 1.0,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            rich_help_panel=_WRITTEN,
            help="Write NAME_compare.jpg too, before and after side by side; not of videos.",
        ),
    ] = False,
    format: Annotated[  # noqa: A002 (the option's name)
        str | None,
        typer.Option(
            rich_help_panel=_WRITTEN,
            metavar="png|jpg|tif|webp|avif|heic|gif|bmp",
            help="Format of the pictures to write; without it, that of the name, or in a pipe of what comes in.",
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_WRITTEN,
            help="1 to 100, of JPEG and WebP (95 without it; at 100 WebP loses nothing), AVIF and HEIC (90); others "
            "take no notice.",
        ),
    ] = None,
    subsampling: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_WRITTEN,
            metavar="4:4:4|4:2:2|4:2:0",
            help="How finely JPEG, AVIF and HEIC keep colours; without it 4:4:4, the finest.",
        ),
    ] = None,
    local: options.Local = None,
    tile_px: options.TilePx = None,
    backend: options.Backend = "auto",
    precision: options.Precision = "auto",
    device: options.Device = None,
    log: Annotated[
        Path | None, typer.Option(help="One log for everything, instead of mprnet-log.jsonl in the output folder.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist, though no INPUT; redo what is done.")
    ] = False,
    codec: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_VIDEOS,
            metavar="libx264|libvpx-vp9|mpeg4|ffv1",
            help="Encoder of videos; without it libx264 (mpeg4 where that is missing), libvpx-vp9 for .webm.",
        ),
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_VIDEOS,
            help="Quality of videos, lower is better: libx264 0 to 51, 17 without it; libvpx-vp9 0 to 63, 24 without "
            "it.",
        ),
    ] = None,
) -> None:
    """Take rain, blur or noise out of photographs and videos. Start here.

    What a folder has restored already is skipped, also after Ctrl-C.
    """
    import sys

    from mprnet.network import TASKS
    from mprnet.restoration import PictureOptions, Restorer, restore_files, restore_picture

    chosen = PictureOptions(
        stage=int(stage) if stage.isdecimal() else stage,  # type: ignore[arg-type] # checked there
        budget_seconds=budget_seconds,
        strength=strength,
        format=format,
        quality=quality,
        subsampling=subsampling,  # type: ignore[arg-type] # checked there
        compare=compare,
        overwrite=overwrite,
    )
    names = task.split(",") if task is not None else []
    for name in names:
        if name not in TASKS:
            raise ConfigError(f"--task is {name!r}; expected one of {', '.join(TASKS)}")
    if weights is not None and len(names) > 1:
        raise ConfigError("--weights stand for one task, but --task names several; give them one after the other")
    if not names and weights is None:
        raise ConfigError(f"nothing says what to undo; give --task {options.TASKS}, or --weights")
    is_pipe = _PIPE in (*inputs, output)
    if is_pipe and len(inputs) > 1:
        raise ConfigError(f"a pipe takes one picture, but {len(inputs)} inputs are given; give {_PIPE} alone")
    without_pipe = {"--log": log, "--codec": codec, "--crf": crf}
    if is_pipe and (given := [name for name, value in without_pipe.items() if value is not None]):
        raise ConfigError(f"{' and '.join(given)} are not for a pipe, which takes one picture; leave them out")
    restorers = [
        Restorer.from_pretrained(
            name,
            task=names[0] if weights is not None and names else None,
            device=device,
            local="auto" if local is None else local,
            ensemble=ensemble,
            scales=scales,
            tile_px=tile_px,
            backend=backend,  # type: ignore[arg-type] # checked there
            precision=precision,  # type: ignore[arg-type] # likewise
            notice=notice,
        )
        for name in ([weights] if weights is not None else names)
    ]
    try:
        if is_pipe:
            source, target = inputs[0], _PIPE if output is None else output
            if (source == _PIPE and sys.stdin is None) or (target == _PIPE and sys.stdout is None):
                raise ConfigError(f"{_PIPE} stands for a pipe, but this end of it is closed; name a file")
            restore_picture(
                restorers,
                sys.stdin.buffer if source == _PIPE else source,
                sys.stdout.buffer if target == _PIPE else target,
                options=chosen,
            )
            return
        bar, watch = _bar()
        with bar:
            report = restore_files(
                restorers, inputs, output, options=chosen, codec=codec, crf=crf, log=log, watch=watch
            )
    except KeyboardInterrupt:
        typer.echo("mprnet: interrupted; what was finished is kept", err=True)
        raise typer.Exit(130) from None
    counts = {"restored": report.restored, "skipped": report.skipped, "failed": report.failures}
    if report.skipped or len(report.restored) + len(report.failures) > 1:
        typer.echo(", ".join(f"{len(those)} {name}" for name, those in counts.items() if those or name != "skipped"))
    if report.left_out:
        kinds = Counter(each.kind for each in report.left_out)
        notice(f"left out: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
    if report.failures:
        raise typer.Exit(1)


def _bar() -> tuple[Bar, Callable[[Progress], None]]:
    """Return a bar, which is shown on terminals only, and what tells it, and the streams, how far the run is."""
    import sys
    from datetime import timedelta

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    from mprnet.restoration import Failure, Job, Skipped

    console = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[timing]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # what goes to a file or pipe is left alone
    )
    row = bar.add_task("", total=None, timing="")
    skipped = 0

    def watch(progress: Progress) -> None:
        nonlocal skipped
        # Written to the streams themselves, which the bar redirects to lines above it.
        if isinstance(progress.outcome, Job):
            _tell(sys.stdout, f"{progress.outcome.source} -> {progress.outcome.target}")
        elif isinstance(progress.outcome, Failure):
            _tell(sys.stderr, f"mprnet: {progress.outcome.reason}")
        skipped += isinstance(progress.outcome, Skipped)
        completed = max(progress.done + progress.fraction, bar.tasks[0].completed)  # the next one may be under work
        timing = ""
        if completed > skipped and bar.tasks[0].elapsed:
            each = bar.tasks[0].elapsed / (completed - skipped)
            left = timedelta(seconds=round(each * (progress.total - completed)))
            timing = f"{each:.1f} s each, {left} left"
        name = plain(progress.source.name)
        bar.update(row, description=name, total=progress.total, completed=completed, timing=timing)

    return bar, watch


def _tell(stream: TextIO | None, line: str) -> None:
    """Write a line; a stream that is closed or full is no reason to stop restoring."""
    if stream is not None:
        with suppress(OSError):
            stream.write(plain(line) + "\n")
            stream.flush()

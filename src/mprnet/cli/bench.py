"""`mprnet bench`: what this machine makes of every engine, precision and stage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mprnet.cli.terminal import plain
from mprnet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.progress import Progress as Bar
    from rich.table import Table

    from mprnet.bench import Bench, Line, Progress

_NOTES = {
    "×": "times as fast as the straightforward way: eager, fp32, all stages, each patch by itself",
    "of share": "an early exit's part of the time over its part of the operations",
    "GFLOP/s": "of the network as it is written; engines may compute the same with fewer operations",
    "memory": "the most that a process held which did this alone, torch and the engine included; on a GPU, what torch "
    "held there",
    "PSNR": "gained or lost against the straightforward way",
}
"""What the headings of the table mean."""


def bench(
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help="Untrained networks, for their speed: lite, as wide as those shipped, or derain, deblur, denoise, "
            "as wide as the paper's.",
        ),
    ] = "lite",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="A .safetensors or .pth file, or a shipped name (derain, deblur, denoise), instead of --preset.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="torch|compile|openvino|onnx[,…]", help="Engines; without it, all. The first compile takes minutes."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="fp32|bf16|int8[,…]",
            help="Arithmetic; without it, all that are quick here. int8 needs --weights; on GPUs there are fp16 and "
            "tf32 too.",
        ),
    ] = None,
    stage: Annotated[
        str, typer.Option(metavar="1|2|3[,…]", help="The last stage to compute, 1 being the fastest.")
    ] = "3",
    size: Annotated[
        str, typer.Option(metavar="WxH,…", help="Width and height of pictures in pixels, multiples of 8.")
    ] = "256x256",
    batch: Annotated[str, typer.Option(metavar="N,…", help="Pictures at a time.")] = "1",
    runs: Annotated[int, typer.Option(help="How often each case is timed.")] = 5,
    pairs: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="INPUT TARGET", help="With --weights: what each precision costs in PSNR; two folders or files."
        ),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Measure peak memory, each case in a process of its own.")
    ] = True,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or cuda:1 for the second GPU; `restore` takes a GPU where there is one.")
    ] = "cpu",
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all figures, as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the seconds per megapixel.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are already there.")] = False,
) -> None:
    """Measure how fast this machine restores: seconds per megapixel of each engine and precision.

    They are timed in turn, beside the straightforward way. Ctrl-C prints what is known, and writes no file.
    """
    from mprnet.bench import Plan, run
    from mprnet.imaging import check_target

    for path in (json, plot):
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"{path} cannot be written: the folder {path.parent} does not exist")
    if plot is not None:
        check_target(plot, overwrite)
    if json is not None and (json.is_dir() or (json.exists() and not overwrite)):
        raise ConfigError(f"{json} exists; choose another name or give --overwrite")
    plan = Plan(
        presets=tuple(preset.split(",")),
        weights=weights,
        backends=_names(backend),
        precisions=_names(precision),
        stages=_numbers("--stage", stage),
        sizes_hw=tuple(map(_size, size.split(","))),
        batches=_numbers("--batch", batch),
        runs=runs,
        pairs=pairs,
        memory=memory,
        device=device,
    )
    bar, watch, found = _bar()
    try:
        with bar:
            result = run(plan, watch)
    except KeyboardInterrupt:
        if found:
            _show(found[-1])
        typer.echo("mprnet: interrupted; what was measured until then is above", err=True)
        raise typer.Exit(130) from None
    _show(result)
    _write(result, json, plot, overwrite)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _numbers(option: str, text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", text):
        raise ConfigError(f"{option} is {text!r}; expected whole numbers with commas between")
    return tuple(map(int, text.split(",")))


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if found is None:
        raise ConfigError(f"--size is {text!r}; expected WxH in pixels, such as 1280x720")
    return int(found[2]), int(found[1])


def _bar() -> tuple[Bar, Callable[[Progress], None], list[Bench]]:
    """Return a bar, which is shown on terminals only, what moves it, and where the last figures are kept."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        auto_refresh=False,  # it would take time from what is measured
        speed_estimate_period=600,  # one step may take half a minute
    )
    row = bar.add_task("", total=1)
    found: list[Bench] = []

    def watch(progress: Progress) -> None:
        bar.update(row, description=progress.doing, completed=progress.done, refresh=True)
        found[:] = [progress.bench]

    return bar, watch, found


def _show(bench: Bench) -> None:
    """Print a table for each network, size and batch on a terminal, and a line for each case elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for lines in bench.groups():
        if console.is_terminal:
            console.print(_table(bench, lines))
        else:
            for line in lines:
                figures = ", ".join(f"{cell.text}{cell.unit}" for cell in _cells(bench, line) if cell.text)
                typer.echo(plain(f"{line.case}: {figures}"))
    if bench.lines and console.is_terminal:
        shown = {cell.heading for line in bench.lines for cell in _cells(bench, line) if cell.text}
        notes = Table.grid(padding=(0, 2))
        for heading, note in _NOTES.items():
            if heading in shown:
                notes.add_row(Text(heading), Text(note))
        console.print(notes)
    if bench.lines:
        peaks = ", ".join(f"{precision} {peak / 1e9:,.0f} GFLOP/s" for precision, peak in bench.peaks.items())
        typer.echo(f"peak, measured here: {peaks}")
    for skipped in bench.skipped:
        typer.echo(plain(f"not measured: {skipped.what}: {skipped.reason}"))


class _Cell(NamedTuple):
    """A figure, the heading of its column, and what follows it where there is no heading."""

    heading: str
    text: str
    unit: str = ""


def _cells(bench: Bench, line: Line) -> list[_Cell]:
    each = [seconds / line.megapixels for seconds in (line.median, min(line.seconds), max(line.seconds))]
    speed_up, over_share, share = bench.speed_up(line), bench.over_share(line), bench.share_of_peak(line)
    memory, change = line.memory_bytes, line.psnr_change_db
    return [
        _Cell("s/MP", _digits(each[0]), " s/MP"),
        _Cell("min–max", f"{_digits(each[1])}–{_digits(each[2])}"),
        _Cell("×", "" if speed_up is None else f"{speed_up:.2f}", " times as fast"),
        _Cell("of share", "" if over_share is None else f"{over_share:.2f}", " of its share"),
        _Cell("GFLOP/s", f"{line.operations_per_second / 1e9:,.0f}", " GFLOP/s"),
        _Cell("of peak", "" if share is None else f"{share:.0%}", " of peak"),
        _Cell("memory", "" if memory is None else f"{memory / 1e9:.2f} GB"),
        _Cell("PSNR", "" if change is None else f"{round(change, 3) + 0:+.3f} dB"),
    ]


def _digits(number: float) -> str:
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f}"


def _table(bench: Bench, lines: Sequence[Line]) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from mprnet.bench import STRAIGHTFORWARD

    case = lines[0].case
    batch = f", {case.batch} at a time" if case.batch > 1 else ""
    where = f"{case.size_hw[1]}×{case.size_hw[0]}{batch}"
    title = f"{escape(plain(case.network))} at {where}, medians of {len(lines[0].seconds)} runs"
    table = Table("engine", box=box.SIMPLE_HEAD, title=title, title_justify="left", collapse_padding=True)
    table.add_column("stage", justify="right")
    rows = [_cells(bench, line) for line in lines]
    shown = [number for number, cells in enumerate(zip(*rows, strict=True)) if any(cell.text for cell in cells)]
    for number in shown:
        table.add_column(rows[0][number].heading, justify="right", no_wrap=True)
    for line, cells in zip(lines, rows, strict=True):
        name = "" if line.case.engine == STRAIGHTFORWARD else f" {line.case.precision}"
        table.add_row(f"{line.case.engine}{name}", str(line.case.stage), *(cells[number].text for number in shown))
    return table


def _write(bench: Bench, json: Path | None, plot: Path | None, overwrite: bool) -> None:
    from mprnet.bench import draw
    from mprnet.evaluation.results import write_text
    from mprnet.imaging import write_image

    if json is not None:
        write_text(json, bench.to_json() + "\n")
        typer.echo(str(json))
    if plot is not None:
        write_image(draw(bench), plot, overwrite=overwrite)
        typer.echo(str(plot))

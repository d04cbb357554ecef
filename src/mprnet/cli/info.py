"""`mprnet info`: what a network is, and what leaving it after each stage costs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mprnet.cli.terminal import plain
from mprnet.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mprnet.network import MPRNetConfig


def info(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME_OR_FILE",
            help="lite, derain, deblur or denoise: the networks of that name and what is shipped for it; or a "
            "weights file. Without one, all networks.",
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Width and height of the picture in pixels, multiples of 8.")
    ] = "256x256",
) -> None:
    """Show how large a network is and what it costs, stage by stage, and what a weights file says of itself."""
    from rich.console import Console

    from mprnet.network import PRESETS
    from mprnet.weights import shipped_weights

    size_hw = _parse_size(size)
    console = Console()
    if name is None:
        for preset_name, config in PRESETS.items():
            console.print(_describe(f"preset {preset_name}", config, size_hw))
    elif name in PRESETS:
        console.print(_describe(f"preset {name}", PRESETS[name], size_hw))
        if name in shipped_weights():
            _describe_weights(f"shipped weights {name}", shipped_weights()[name], size_hw, console)
    elif Path(name).exists():
        _describe_weights(name, Path(name), size_hw, console)
    else:
        raise ConfigError(f"{name!r} is no preset and no file; expected one of {', '.join(PRESETS)}, or a weights file")


def _describe_weights(title: str, path: Path, size_hw: tuple[int, int], console: Console) -> None:
    from mprnet.checkpoints import load_checkpoint, read_metadata

    console.print(_describe(title, load_checkpoint(path).config, size_hw))
    for key, text in read_metadata(path).items():
        console.print(plain(f"{key}: {text}"), markup=False, highlight=False)


def _parse_size(size: str) -> tuple[int, int]:
    from mprnet.network import SIZE_MULTIPLE

    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not height * width or height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
        raise ConfigError(f"--size is {size!r}; expected WxH in multiples of {SIZE_MULTIPLE}, such as 1280x720")
    return height, width


def _describe(name: str, config: MPRNetConfig, size_hw: tuple[int, int]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from mprnet.network import StageCost, stage_costs

    table = Table(
        title=escape(f"{plain(name)} at {size_hw[1]}×{size_hw[0]}"),
        caption=", ".join(f"{field} {value}" for field, value in config.entries().items()),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("stage")
    for heading in ("parameters", "so far", "multiply-accumulates", "so far", "share"):
        table.add_column(heading, justify="right")
    costs = stage_costs(config, size_hw)
    before = StageCost(stage=0, parameters=0, macs=0)
    for cost in costs:
        table.add_row(
            str(cost.stage),
            f"{cost.parameters - before.parameters:,}",
            f"{cost.parameters:,}",
            f"{(cost.macs - before.macs) / 1e9:,.2f} G",
            f"{cost.macs / 1e9:,.2f} G",
            f"{cost.macs / costs[-1].macs:.1%}",
        )
        before = cost
    return table

"""`mprnet web`: a page in the browser that restores on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from mprnet.cli import options
from mprnet.cli.terminal import notice


def web(
    weights: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME_OR_FILE]…",
            help="What the visitor chooses from: shipped names (derain, deblur, denoise), or .safetensors and .pth "
            "files; without any, the three that are shipped.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen at; 0.0.0.0 lets everybody in the network use this machine, without a password."
        ),
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Without it, the first free one from 7860.")] = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in your browser.")] = True,
    known_as: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A further name by which visitors reach the page, such as a proxy's; this machine's own needs none.",
        ),
    ] = None,
    max_file_mb: Annotated[int, typer.Option(help="How large a file may be, in megabytes.")] = 512,
    tile_px: options.TilePx = None,
    backend: options.Backend = "auto",
    precision: options.Precision = "auto",
    device: options.Device = None,
) -> None:
    """Open a page in your browser to drop photographs on; they stay on this machine."""
    import os
    import socket
    import sys
    import time
    import webbrowser
    from urllib.parse import urlsplit

    from mprnet.network import TASKS
    from mprnet.web import serve

    try:
        with serve(
            weights or TASKS,
            host=host,
            port=port,
            known_as=known_as or (),
            max_file_mb=max_file_mb,
            tile_px=tile_px,
            backend=backend,  # type: ignore[arg-type] # checked there
            precision=precision,  # type: ignore[arg-type] # likewise
            device=device,
            notice=notice,
        ) as address:
            typer.echo(f"{address} restores what is dropped on it; Ctrl-C ends it")
            if host == "0.0.0.0":  # noqa: S104 (asked for)
                typer.echo(f"from elsewhere in the network: http://{socket.gethostname()}:{urlsplit(address).port}/")
            sys.stdout.flush()
            if show:
                webbrowser.open(address)
            while True:  # in steps, which Ctrl-C ends on Windows, too
                time.sleep(1)
    except KeyboardInterrupt:
        # At once: a tile may still be under work, in a thread that the end of Python would take torch from.
        os._exit(130)

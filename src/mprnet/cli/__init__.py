"""The command line: parse, call the library, print. Nothing is computed here.

Every command's module imports the library inside its function, so that `mprnet --help` answers at once.
"""

from __future__ import annotations

import io
import signal
import sys
from typing import Annotated

import typer

from mprnet import __version__
from mprnet.cli.bench import bench
from mprnet.cli.compare import compare
from mprnet.cli.convert import convert
from mprnet.cli.degrade import degrade
from mprnet.cli.evaluate import evaluate
from mprnet.cli.export import export
from mprnet.cli.info import info
from mprnet.cli.metrics import metrics
from mprnet.cli.prepare import prepare
from mprnet.cli.process import settle
from mprnet.cli.restore import restore
from mprnet.cli.table import table
from mprnet.cli.terminal import plain
from mprnet.cli.train import train
from mprnet.cli.web import web
from mprnet.errors import MPRNetError

app = typer.Typer(
    name="mprnet",
    epilog="Exit code: 0 all is done, 1 something failed or cannot be, 2 no such option, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mprnet {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take rain, blur and noise out of photographs."""


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and a non-zero exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name that cannot be shown is no mistake
    # A batch system, a shutdown, or a terminal that is closed, is heeded as Ctrl-C is: nothing half-written, and what
    # is finished is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not under nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    settle()
    try:
        app(windows_expand_args=False)  # there, too, names and patterns come as they were given
    except (MPRNetError, OSError) as error:  # such as a full disk
        typer.echo(f"mprnet: {plain(str(error))}", err=True)
        sys.exit(1)


for _panel, _commands in {
    "Restore": (restore, compare, web),
    "Measure": (metrics, evaluate, table, bench),
    "Train": (degrade, prepare, train),
    "Networks and weights": (info, convert, export),
}.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)

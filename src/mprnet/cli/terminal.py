"""What the commands say, in words that may be a stranger's: names of files, and what stands in them."""

from __future__ import annotations

import re

import typer


def plain(text: str) -> str:
    r"""Show control characters instead of sending them to a terminal, which would obey them.

    Example:
        >>> print(plain("\x1b[2Jrain.png"))
        \x1b[2Jrain.png
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda control: repr(control[0])[1:-1], text)


def notice(line: str) -> None:
    """Say something on the error stream that is no result."""
    typer.echo(f"mprnet: {plain(line)}", err=True)

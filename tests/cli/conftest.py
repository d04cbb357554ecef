from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

import mprnet.cli

if TYPE_CHECKING:
    from collections.abc import Callable


class Answer(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run `mprnet ARGUMENTS…` as its entry point does."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["mprnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            mprnet.cli.main()
        return Answer(int(end.value.code or 0), *capsys.readouterr())

    return run

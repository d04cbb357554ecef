"""What the command hands on; what comes of it is tested where the page is."""

from __future__ import annotations

import socket
import sys
import webbrowser
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from mprnet import web
from mprnet.cli import app
from mprnet.network import TASKS


@pytest.fixture
def served(monkeypatch):
    """What was asked for, and what the browser was asked to open, until Ctrl-C."""
    asked, opened = [], []

    @contextmanager
    def serve(weights, **options):
        asked.append((weights, options))
        yield "http://127.0.0.1:7860/"

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(web, "serve", serve, raising=False)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("time.sleep", interrupt)
    monkeypatch.setattr("os._exit", sys.exit)

    def run(*arguments):
        done = CliRunner().invoke(app, ["web", *arguments])
        run.out = done.stdout
        assert (done.exit_code, done.stdout.split()[0]) == (130, "http://127.0.0.1:7860/")
        return asked[-1], opened

    return run


def test_without_options_the_three_tasks_are_served_and_shown(served):
    (weights, options), opened = served()
    assert tuple(weights) == TASKS
    assert (options["host"], options["port"], options["known_as"], options["max_file_mb"]) == (
        "127.0.0.1",
        None,
        (),
        512,
    )
    assert (options["backend"], options["precision"]) == ("auto", "auto")
    assert (options["tile_px"], options["device"]) == (None, None)
    assert opened == ["http://127.0.0.1:7860/"]


def test_what_is_asked_for_is_handed_on(served):
    (weights, options), opened = served(
        *("derain", "mine.pth", "--host", "192.0.2.1", "--port", "8000", "--known-as", "a.example"),
        *("--max-file-mb", "7", "--tile-px", "256", "--backend", "torch", "--precision", "fp32", "--device", "cpu"),
        "--no-open",
    )
    assert weights == ["derain", "mine.pth"]
    del options["notice"]
    assert options == {
        "host": "192.0.2.1",
        "port": 8000,
        "known_as": ["a.example"],
        "max_file_mb": 7,
        "tile_px": 256,
        "backend": "torch",
        "precision": "fp32",
        "device": "cpu",
    }
    assert opened == []


def test_who_serves_a_network_is_told_the_address_there(served):
    assert served("--host", "192.0.2.1")[1] == ["http://127.0.0.1:7860/"]
    assert "network" not in served.out
    served("--host", "0.0.0.0")  # noqa: S104
    assert served.out.splitlines()[1] == f"from elsewhere in the network: http://{socket.gethostname()}:7860/"

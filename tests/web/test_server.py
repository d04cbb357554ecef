from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from mprnet import web
from mprnet.errors import CheckpointError, ConfigError, MissingExtraError
from mprnet.imaging import write_image


def test_without_gradio_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "mprnet\[web\]"'):
        web.serve  # noqa: B018


@pytest.fixture
def serve():
    pytest.importorskip("gradio", reason='the page needs Gradio: pip install "mprnet[web]"')
    return web.serve


@pytest.mark.parametrize(
    ("weights", "options", "error", "reason"),
    [
        ([], {}, ConfigError, "no weights are given"),
        (["nothing"], {}, CheckpointError, "no weights nothing"),
        (["denoise"], {"port": 70000}, ConfigError, "the port is 70000; expected 1 to 65535"),
        (["denoise"], {"max_file_mb": 0}, ConfigError, "0 megabytes"),
        (["denoise"], {"backend": "abacus"}, ConfigError, "abacus"),
    ],
)
def test_what_cannot_be_served_is_one_line(serve, weights, options, error, reason):
    with pytest.raises(error, match=reason), serve(weights, **options):
        pass


@pytest.mark.usefixtures("serve")
def test_a_port_that_is_taken_is_one_line(weights):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        command = [sys.executable, "-m", "mprnet", "web", str(weights), "--no-open", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mprnet: port {port} of 127.0.0.1 cannot be used")


@pytest.mark.usefixtures("serve")
def test_the_command_serves_until_it_is_interrupted_and_leaves_nothing(weights, tmp_path, visit):
    folders = {name: tmp_path / name for name in ("home", "here", "temporary")}
    for folder in folders.values():
        folder.mkdir()
    write_image(np.zeros((16, 16, 3), np.uint8), tmp_path / "a.png")
    command = [sys.executable, "-m", "mprnet", "web", str(weights), "--no-open", "--backend", "torch"]
    started = subprocess.Popen(
        command,
        cwd=folders["here"],
        env={
            **os.environ,
            "HOME": str(folders["home"]),
            "TMPDIR": str(folders["temporary"]),
            "GRADIO_TEMP_DIR": "elsewhere",  # of another program's pages; as are the following
            "GRADIO_SHARE": "True",
            "GRADIO_SERVER_PORT": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = started.stdout.readline()
        address, _, rest = line.partition(" ")
        assert rest == "restores what is dropped on it; Ctrl-C ends it\n", started.stderr.read()
        _, results, _ = visit(address).restore(tmp_path / "a.png", name=str(weights))
        assert [*results] == ["0 a_restored.png"]
        assert [path.name[:11] for path in folders["temporary"].iterdir()] == ["mprnet-web-"]
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=60)
    finally:
        started.kill()
    assert (started.returncode, out, err) == (130, "", "")
    assert [path for folder in folders.values() for path in folder.rglob("*")] == []

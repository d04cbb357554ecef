from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket

import numpy as np
import pytest

from mprnet import web
from mprnet.errors import CheckpointError, ConfigError, MissingExtraError
from mprnet.imaging import write_image


def test_without_gradio_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "mprnet\[web\]"'):
        web.serve  # noqa: B018


@pytest.mark.parametrize(
    ("weights", "options", "error", "reason"),
    [
        ([], {}, ConfigError, "no weights are given"),
        (["nothing"], {}, CheckpointError, "no weights nothing"),
        (["denoise"], {"port": 70000}, ConfigError, "the port is 70000; expected 1 to 65535"),
        (["denoise"], {"max_file_mb": 0}, ConfigError, "0 megabytes"),
        (["denoise"], {"host": "192.0.2.1"}, ConfigError, "192.0.2.1 cannot be listened at: .+"),
        (["denoise"], {"host": "192.0.2.1", "port": 8000}, ConfigError, "port 8000 of 192.0.2.1 cannot be listened at"),
        (["denoise"], {"backend": "abacus"}, ConfigError, "abacus"),
    ],
)
def test_what_cannot_be_served_is_one_line(weights, options, error, reason):
    pytest.importorskip("gradio", reason='the page needs Gradio: pip install "mprnet[web]"')
    with pytest.raises(error, match=reason), web.serve(weights, **options):
        pass


def test_a_port_that_is_taken_is_one_line(serve, weights):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with serve(str(weights), port=port) as (server, line):
            _, err = server.communicate(timeout=120)
    assert (server.returncode, line) == (1, "")
    assert re.fullmatch(f"mprnet: port {port} of 127.0.0.1 cannot be listened at: .+\n", err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
def test_the_command_serves_until_it_is_interrupted_and_leaves_nothing(serve, weights, tmp_path, visit, number):
    folders = {name: tmp_path / name for name in ("home", "temporary")}
    for folder in folders.values():
        folder.mkdir()
    write_image(np.zeros((16, 16, 3), np.uint8), tmp_path / "a.png")
    environment = {
        **os.environ,
        "HOME": str(folders["home"]),
        "TMPDIR": str(folders["temporary"]),
        "GRADIO_TEMP_DIR": "elsewhere",  # of another program's pages; as are the following
        "GRADIO_SHARE": "True",
        "GRADIO_ALLOWED_PATHS": "/",
        "HTTP_PROXY": "http://127.0.0.1:9",  # where nobody answers
    }
    arguments = (str(weights), "--backend", "torch")
    with serve(*arguments, cwd=tmp_path, env=environment) as (server, line):
        address, _, rest = line.partition(" ")
        assert rest == "restores what is dropped on it; Ctrl-C ends it\n"
        visitor = visit(address)
        _, results, _ = visitor.restore(tmp_path / "a.png", choice="small")
        assert [*results] == ["0 a_restored.png"]
        assert visitor.fetch("/gradio_api/file=/etc/hostname").status == 403
        shutil.copy(tmp_path / "a.png", tmp_path / "._a.png")  # as Macs leave them beside photographs
        assert [*visitor.restore(tmp_path / "._a.png", choice="small")[1]] == ["0 ._a_restored.png"]
        assert [path.name[:11] for path in folders["temporary"].iterdir()] == ["mprnet-web-"]
        server.send_signal(number)
        out, err = server.communicate(timeout=60)
    assert (server.returncode, out, err) == (130, "", "")
    assert [path for folder in folders.values() for path in folder.rglob("*")] == []
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "._a.png", *folders}


def test_what_is_not_ours_in_the_environment_is_as_it_was(monkeypatch, tmp_path):
    pytest.importorskip("gradio", reason='the page needs Gradio: pip install "mprnet[web]"')
    from mprnet.web.server import _settings

    for name in [name for name in os.environ if name.lower() == "no_proxy" or name.startswith("GRADIO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "example.com")
    monkeypatch.setenv("GRADIO_SHARE", "True")
    before = dict(os.environ)
    with _settings(tmp_path, "192.168.1.5"):
        assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
        assert os.environ["NO_PROXY"] == "127.0.0.1,localhost,192.168.1.5,example.com"
        assert "GRADIO_SHARE" not in os.environ
    assert dict(os.environ) == before


def test_a_process_serves_one_page_at_a_time(monkeypatch):
    pytest.importorskip("gradio", reason='the page needs Gradio: pip install "mprnet[web]"')
    from mprnet.web import server

    with server._serving, pytest.raises(ConfigError, match="serves a page already"), web.serve(["denoise"]):
        pass
    assert not server._serving.locked()

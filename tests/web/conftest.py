"""A page that is served while the tests of this folder run, in a process of its own, and a visitor of it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest

from mprnet.checkpoints import save_checkpoint
from mprnet.network import MPRNet, MPRNetConfig

ASKED = {"stage": 3, "strength": 1.0, "ensemble": False, "scales": 1, "file_format": "as it came"}
"""What the page asks for where nothing was changed, in its order, behind the files and the network."""


def a_free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@contextmanager
def serving(*arguments, port=None, stderr=subprocess.PIPE, **options):
    """Start the command; yield its process and its first line, and end it."""
    command = [sys.executable, "-m", "mprnet", "web", *arguments, "--no-open", "--port", port or a_free_port()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, **options) as server:
        try:
            yield server, server.stdout.readline()
        finally:
            server.terminate()  # after which it removes its folder
            try:
                server.wait(timeout=60)
            except subprocess.TimeoutExpired:
                server.kill()
                raise


@dataclass
class Answer:
    status: int
    headers: Any
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


@dataclass
class Visitor:
    """Asks as a browser does."""

    address: str

    def fetch(self, path, body=None, headers=None) -> Answer:
        where = urlsplit(self.address)
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=120)
        try:
            connection.request("GET" if body is None else "POST", path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def send(self, name: str, content: bytes) -> Answer:
        head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--b--\r\n"
        return self.fetch("/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=b"})

    def upload(self, path: Path) -> str:
        answer = self.send(path.name, path.read_bytes())
        assert answer.status == 200, answer.text
        return json.loads(answer.text)[0]

    def number(self, name: str) -> int:
        config = json.loads(self.fetch("/config").text)
        [number] = [each["id"] for each in config["dependencies"] if each["api_name"] == name]
        return number

    def join(self, files, choice, **changes) -> tuple[Answer, str]:
        """Ask for a restoration; return the answer, and by what to ask what has come of it."""
        given = [{"path": file, "meta": {"_type": "gradio.FileData"}} for file in files]
        session = uuid.uuid4().hex
        data = [given, choice, *{**ASKED, **changes}.values()]
        question = {"data": data, "fn_index": self.number("restore"), "session_hash": session}
        body = json.dumps(question).encode()
        return self.fetch("/gradio_api/queue/join", body, {"Content-Type": "application/json"}), session

    def restore(self, *paths: Path, choice, **changes) -> tuple[list[bytes] | None, dict[str, bytes], str]:
        """Restore files; return the two pictures shown, the results, by name with their number, and what was said."""
        joined, session = self.join([self.upload(path) for path in paths], choice, **changes)
        assert joined.status == 200, joined.text
        lines = self.fetch(f"/gradio_api/queue/data?session_hash={session}").text.splitlines()
        told = [json.loads(line.removeprefix("data: ")) for line in lines if line]
        [end] = [each for each in told if each["msg"] == "process_completed"]
        if not end["success"]:
            raise RuntimeError(end["output"]["error"])
        pair, results, _, _, said = end["output"]["data"]
        shown = None if pair is None else [self._file(each["path"]) for each in pair]
        names = {f"{number} {each['orig_name']}": self._file(each["path"]) for number, each in enumerate(results)}
        return shown, names, said["value"]

    def _file(self, path: str) -> bytes:
        answer = self.fetch(f"/gradio_api/file={quote(path)}")
        assert answer.status == 200, answer.text
        return answer.content


@pytest.fixture(scope="session")
def visit():
    """Return a visitor of an address."""
    return Visitor


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    model = MPRNet(MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=2, num_cab=1))
    save_checkpoint(model, path, metadata={"task": "denoise"})
    return path


@pytest.fixture(scope="session")
def serve():
    """Return what starts the command."""
    pytest.importorskip("gradio", reason='the page needs Gradio: pip install "mprnet[web]"')
    return serving


@pytest.fixture(scope="session")
def visitor(serve, weights):
    plain = ("--backend", "torch", "--precision", "fp32", "--device", "cpu")
    limits = ("--max-file-mb", "1", "--known-as", "Photos.Example")
    # Nobody reads what Gradio says of questions that no page asks.
    with serve(str(weights), "denoise", *plain, *limits, stderr=subprocess.DEVNULL) as (_, line):
        yield Visitor(line.split()[0])


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 65536, (21, 34, 3), np.uint16)

"""What strangers ask of the server that the page never would."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from types import SimpleNamespace

import pytest

from mprnet.web import guard
from mprnet.web.guard import Guard

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def fetch(visitor):
    return visitor.fetch


def test_all_that_the_page_asks_for_is_there(fetch):
    asked = set(re.findall(r'(?:src|href)="\.?(/[^"]+)"', fetch("/").text))
    assert any(path.startswith("/assets/") for path in asked)
    asked |= {"/static/js/iframeResizer.contentWindow.min.js", "/theme.css", "/gradio_api/app_id", "/gradio_api/info"}
    assert {path: fetch(path).status for path in asked} == dict.fromkeys(asked, 200)
    assert fetch("/gradio_api/run/predict", b"{}", JSON).status == 422  # Gradio's own answer to nothing


def test_the_page_comes_and_tells_the_browser_to_load_nothing_from_elsewhere(fetch):
    page = fetch("/")
    assert page.status == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "fonts.googleapis.com" not in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/proxy=https://example.com/a.png",
        "/gradio_api/deep_link",
        "/gradio_api/runs",
        "/gradio_api/run/restore",
        "/gradio_api/call/restore",
        "/gradio_api/stream/a/b/c/playlist.m3u8",
        "/gradio_api/vibe-code",
        "/docs",
        "/login",
        "/assets",
        "//",
    ],
)
def test_what_the_page_does_not_need_is_not_there(fetch, path):
    answer = fetch(path)
    assert (answer.status, answer.text) == (404, "there is no such page")
    assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize("path", ["/gradio_api/process_recording", "/gradio_api/vibe-edit", "/gradio_api/cancel"])
def test_what_the_page_does_not_need_is_not_posted_to(fetch, path):
    assert fetch(path, b"{}", JSON).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/etc/hostname",
        "/gradio_api/../../etc/hostname",
        "pyproject.toml",
        "https://example.com/a.png",
        "HTTP://127.0.0.1/a.png",
        "%00",
    ],
)
def test_files_of_this_machine_and_of_others_are_not_handed_out(fetch, path):
    assert fetch(f"/gradio_api/file={path}").status == 403


@pytest.mark.parametrize("address", ["http://example.com/a.png", " HTTPS://example.com/a.png"])
def test_addresses_in_place_of_uploads_are_refused(visitor, address):
    answer, _ = visitor.join([address], "Noise")
    assert (answer.status, answer.text) == (403, "files of other servers are not fetched; upload them")
    twice = f'{{"path": "{address}", "path": "a.png"}}'.encode()
    assert visitor.fetch("/gradio_api/queue/join", twice, JSON).status == 403


def test_files_of_this_machine_are_not_restored(visitor, tmp_path):
    (tmp_path / "private.png").write_bytes(b"private")
    answer, session = visitor.join([str(tmp_path / "private.png")], "Noise")
    assert answer.status == 200  # it waits for its turn, whose end tells
    told = visitor.fetch(f"/gradio_api/queue/data?session_hash={session}").text
    [end] = [line for line in told.splitlines() if '"process_completed"' in line]
    assert json.loads(end.removeprefix("data: "))["success"] is False


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"no JSON", 400),
        (b"[" * 100_000, 400),
        (b'"' + b"a" * 256 * 1024 + b'"', 413),
        (b'{"fn_index": 0, "session_hash": ""}', 400),
        (b'{"fn_index": 0, "session_hash": 1}', 400),
        (b'{"fn_index": 0, "session_hash": "' + b"a" * 65 + b'"}', 400),
    ],
)
def test_what_is_no_question_of_the_page_is_refused(fetch, body, status):
    assert fetch("/gradio_api/queue/join", body, JSON).status == status


@pytest.mark.parametrize(
    "path",
    [
        "/config?deep_link=a",
        f"/gradio_api/upload_progress?upload_id={'a' * 65}",
        "/gradio_api/queue/data?session_hash=",
        f"/gradio_api/heartbeat/{'a' * 65}",
    ],
)
def test_what_the_page_does_not_ask_is_not_answered(fetch, path):
    assert fetch(path).status == 400


def test_a_question_that_waits_for_its_turn_cannot_be_put_around_the_queue(visitor):
    number = visitor.number("restore")
    body = json.dumps({"data": [None] * 7, "fn_index": number, "session_hash": "x"}).encode()
    assert visitor.fetch("/gradio_api/run/predict", body, JSON).status == 404


def test_a_file_that_is_too_large_is_refused(visitor):
    assert visitor.send("a.png", bytes(1_000_000)).status == 200
    assert visitor.send("a.png", bytes(1_000_001)).status == 413


FORM = {"content-type": "multipart/form-data; boundary=b"}
FILE = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc\r\n'
FIELD = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nabc\r\n'


@pytest.fixture
def upload(monkeypatch, tmp_path):
    """Send a form in chunks to a guard whose disk has bytes to spare; return the status, and what came through."""

    def upload(chunks, spare=10_000, headers=FORM, uses=0):
        came, told = [], []
        usage = SimpleNamespace(free=guard.SPARE_BYTES + spare)
        monkeypatch.setattr(guard.shutil, "disk_usage", lambda folder: usage if folder == tmp_path else None)
        coming = iter(chunks)

        async def receive():
            chunk = next(coming, b"")
            usage.free -= uses  # of others
            return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

        async def app(scope, receive, send):
            while (message := await receive())["more_body"]:
                came.append(message["body"])
            await send({"type": "http.response.start", "status": 200})

        async def send(message):
            told.append(message)

        length = {"content-length": str(sum(map(len, chunks))), "host": "127.0.0.1:7860"}
        sent = [(name.encode(), value.encode()) for name, value in {**length, **headers}.items()]
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "query_string": b"", "headers": sent}
        asyncio.run(Guard(app, tmp_path, ["localhost"])(scope, receive, send))
        return told[0]["status"], b"".join(came)

    return upload


def test_files_come_through_whole(upload):
    chunks = [FILE[:20], FILE[20:] + FILE, b"--b--\r\n"]
    assert upload(chunks) == (200, b"".join(chunks))


@pytest.mark.parametrize(
    ("chunks", "options", "status"),
    [
        ([FIELD], {}, 400),
        ([FILE + FIELD], {}, 400),
        ([b"no form"], {}, 400),
        ([FILE * 101], {"spare": 10**9}, 413),
        ([FILE], {"headers": {**FORM, "content-length": "many"}}, 411),
        ([FILE], {"headers": {"content-type": "application/json"}}, 415),
        ([FILE], {"spare": len(FILE) - 1}, 507),
        ([FILE, b"a" * 100, b"a" * 100], {"spare": 400, "uses": 200}, 507),
    ],
)
def test_what_is_no_upload_of_files_or_does_not_fit_is_refused(upload, chunks, options, status):
    found, came = upload(chunks, **options)
    assert found == status
    assert len(came) < sum(map(len, chunks))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "example.com"}, 403),
        ({"Host": "example.com:7860", "Origin": "http://example.com:7860"}, 403),
        ({"Host": "a b"}, 403),
        ({"Host": "localhost:7860"}, 200),
        ({"Host": "192.168.1.5:7860"}, 200),
        ({"Host": "[::1]:7860"}, 200),
        ({"Host": "photos.example"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost:1", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "http://example.com"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "localhost", "Origin": "https://photos.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "localhost", "Sec-Fetch-Site": "none"}, 200),
    ],
)
def test_other_pages_and_names_that_are_made_to_lead_here_are_not_answered(fetch, headers, status):
    assert fetch("/config", headers=headers).status == status


@pytest.mark.parametrize("path", ["/", "/?fbclid=abc", "/?page=foo", "/?__theme=dark"])
def test_a_link_elsewhere_may_lead_to_the_page(fetch, path):
    assert fetch(path, headers={"Host": "localhost", "Sec-Fetch-Site": "cross-site"}).status == 200


def test_who_comes_by_another_name_is_told_what_to_do(fetch):
    told = "this server is not called studio.lan; it may be started with --known-as studio.lan"
    assert fetch("/", headers={"Host": "studio.lan:7860"}).text == told


@pytest.mark.parametrize("name", [socket.gethostname(), f"{socket.gethostname()}.local"])
def test_the_machine_s_own_names_are_known(fetch, name):
    assert fetch("/config", headers={"Host": f"{name.upper()}:7860"}).status == 200

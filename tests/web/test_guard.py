"""What strangers ask of the server that the page never would."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from mprnet.web import guard
from mprnet.web.guard import Guard

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def fetch(visitor):
    return visitor.fetch


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
        "/gradio_api/run/predict",
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


@pytest.mark.parametrize("path", ["/gradio_api/process_recording", "/gradio_api/vibe-edit", "/gradio_api/reset/"])
def test_what_the_page_does_not_need_is_not_posted_to(fetch, path):
    assert fetch(path, b"{}", JSON).status == 404


@pytest.mark.parametrize(
    "path", ["/etc/hostname", "/gradio_api/../../etc/hostname", "https://example.com/a.png", "HTTP://127.0.0.1/a.png"]
)
def test_files_of_this_machine_and_of_others_are_not_handed_out(fetch, path):
    assert fetch(f"/gradio_api/file={path}").status == 403


@pytest.mark.parametrize("address", ["http://example.com/a.png", " HTTPS://example.com/a.png"])
def test_addresses_in_place_of_uploads_are_refused(visitor, address):
    answer, _ = visitor.join([address], "denoise")
    assert (answer.status, answer.text) == (403, "files of other servers are not fetched; upload them")
    twice = f'{{"path": "{address}", "path": "a.png"}}'.encode()
    assert visitor.fetch("/gradio_api/queue/join", twice, JSON).status == 403


def test_files_of_this_machine_are_not_restored(visitor, tmp_path):
    (tmp_path / "private.png").write_bytes(b"private")
    answer, session = visitor.join([str(tmp_path / "private.png")], "denoise")
    assert answer.status == 200  # it waits for its turn, whose end tells
    told = visitor.fetch(f"/gradio_api/queue/data?session_hash={session}").text
    [end] = [line for line in told.splitlines() if '"process_completed"' in line]
    assert json.loads(end.removeprefix("data: "))["success"] is False


@pytest.mark.parametrize(
    ("body", "status"), [(b"no JSON", 400), (b"[" * 100_000, 400), (b'"' + b"a" * 1024 * 1024 + b'"', 413)]
)
def test_what_is_no_question_of_the_page_is_refused(fetch, body, status):
    assert fetch("/gradio_api/queue/join", body, JSON).status == status


def test_uploads_that_would_fill_the_disk_are_refused(monkeypatch, tmp_path):
    usage, told = SimpleNamespace(free=guard._SPARE_BYTES + 99), []
    monkeypatch.setattr(guard.shutil, "disk_usage", lambda folder: usage if folder == tmp_path else None)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        told.append(message)

    upload = {
        "type": "http",
        "method": "POST",
        "path": "/gradio_api/upload",
        "headers": [(b"content-length", b"100")],
    }
    asyncio.run(Guard(app, tmp_path)(upload, None, send))
    usage.free += 1
    asyncio.run(Guard(app, tmp_path)(upload, None, send))
    assert [message.get("status") for message in told] == [507, None, 200]


def test_a_name_that_is_made_to_lead_here_is_not_answered(fetch):
    assert fetch("/", headers={"Host": "example.com"}).status == 400
    assert fetch("/", headers={"Host": "localhost:7860"}).status == 200

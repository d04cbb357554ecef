"""What stands between the network and Gradio: only what the page needs gets through."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FILES = "/gradio_api/file="
_UPLOAD = "/gradio_api/upload"
_PAGES = {"/", "/config", "/favicon.ico", "/manifest.json", "/robots.txt", "/theme.css", _UPLOAD} | {
    f"/gradio_api/{name}"
    for name in ("app_id", "cancel", "info", "queue/data", "queue/join", "reset", "startup-events", "upload_progress")
}
_FOLDERS = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/", _FILES)

_LARGEST_BODY_BYTES = 1024 * 1024
"""Of what asks for a restoration; files come another way."""

_SPARE_BYTES = 1024**3
"""What an upload leaves free of the disk."""

_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; form-action 'self'"


class _Refused(Exception):  # noqa: N818 (the visitor's error, not ours)
    """What is not let through, and the status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason


class Guard:
    """Let through what the page needs, of what is asked of its server, and nothing else (an ASGI middleware).

    Gradio's servers offer much that this page has no use for: they fetch addresses for visitors, run recordings through
    ffmpeg, tell what has been asked for. Here they answer 404. What is asked for by address in place of an upload is
    refused (403), and so are uploads that would fill the disk (507). Browsers are told to load nothing from elsewhere.

    Args:
        app: what is guarded.
        folder: where uploads go; of its disk a gigabyte stays free.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app = app
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            allowed = await self._admit(scope, receive)
        except _Refused as refused:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send_with_policy({"type": "http.response.start", "status": refused.status, "headers": headers})
            await send_with_policy({"type": "http.response.body", "body": refused.reason.encode()})
            return
        await self._app(scope, allowed, send_with_policy)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Return what hands the body on, or raise `_Refused`."""
        path = scope["path"]
        if path not in _PAGES and not path.startswith(_FOLDERS):
            raise _Refused(404, "there is no such page")
        if path.startswith(_FILES) and _is_address(path.removeprefix(_FILES)):
            raise _Refused(403, "files of other servers are not fetched")
        if scope["method"] != "POST":
            return receive
        if path == _UPLOAD:
            sizes = [int(value) for name, value in scope["headers"] if name == b"content-length" and value.isdigit()]
            if shutil.disk_usage(self._folder).free - sum(sizes) < _SPARE_BYTES:
                raise _Refused(507, "the disk of this server is nearly full")
            return receive
        return _again(await _checked_body(receive))


async def _checked_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Refused(400, "the request was not finished")
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > _LARGEST_BODY_BYTES:
            raise _Refused(413, f"expected at most {_LARGEST_BODY_BYTES} bytes; upload files first")
        if not message.get("more_body", False):
            break
    try:
        json.loads(body or b"null", object_pairs_hook=_check_paths)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "expected JSON") from error
    return body


def _check_paths(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object that stands for a file of another server, which Gradio would fetch."""
    if any(name == "path" and isinstance(value, str) and _is_address(value) for name, value in pairs):
        raise _Refused(403, "files of other servers are not fetched; upload them")


def _is_address(text: str) -> bool:
    return text.strip().lower().startswith(("http:", "https:"))


def _again(body: bytes) -> Receive:
    """Hand on a body that was read already."""
    told = False

    async def receive() -> Message:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive

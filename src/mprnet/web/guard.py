"""What stands between visitors and Gradio: only what the page needs gets through."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_FILES = 100
"""How many files may be restored in a run."""

SPARE_BYTES = 1024**3
"""What uploads and results leave free of the disk."""

_API = "/gradio_api/"
_FILES, _HEARTBEAT, _UPLOAD = f"{_API}file=", f"{_API}heartbeat/", f"{_API}upload"
_PAGES = {
    *("/", "/config", "/favicon.ico", "/manifest.json", "/robots.txt", "/theme.css"),
    *(_UPLOAD, f"{_API}upload_progress", f"{_API}queue/join", f"{_API}queue/data", f"{_API}run/predict"),
    *(f"{_API}info", f"{_API}app_id", f"{_API}startup-events"),
}
_FOLDERS = ("/assets/", "/static/", "/svelte/", _HEARTBEAT, _FILES)
_QUERY = {"session_hash", "upload_id", "__theme", "v"}
_PLAIN = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""What the names that browsers give themselves look like; whatever they are called by is kept in memory."""

_LARGEST_BODY_BYTES = 256 * 1024
"""Of a question, with the names of `MAX_FILES` files; the files come another way."""

_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; form-action 'self'"


def is_full(folder: Path, coming_bytes: int = 0) -> bool:
    """Tell whether too little of a folder's disk would be left."""
    return shutil.disk_usage(folder).free - coming_bytes < SPARE_BYTES


class _Refused(Exception):  # noqa: N818 (the visitor's error, not ours)
    """What is not let through, and the status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason


class Guard:
    """Let through what the page needs, of what is asked of its server, and nothing else (an ASGI middleware).

    Gradio's servers offer much that this page has no use for: they fetch addresses for visitors, run recordings through
    ffmpeg, tell what has been asked for. Here they answer 404. What comes from a page elsewhere in the visitor's
    browser is refused (403), and so is what is called by an address in place of an upload. Uploads are files of a known
    size, which do not fill the disk. Browsers are told to load nothing from elsewhere.

    Args:
        app: what is guarded.
        folder: where uploads go, and results, which are all that is handed out; of its disk a gigabyte stays free.
        names: the names by which visitors may reach the server, in small letters. By a number they always may: only a
            name can be made to lead here by somebody else.
    """

    def __init__(self, app: ASGIApp, folder: Path, names: Collection[str]) -> None:
        self._app = app
        self._folder = folder
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_begun = False

        async def send_with_policy(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, await self._admit(scope, receive), send_with_policy)
        except _Refused as refused:
            if not is_begun:
                headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
                await send_with_policy({"type": "http.response.start", "status": refused.status, "headers": headers})
                await send_with_policy({"type": "http.response.body", "body": refused.reason.encode()})

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Return what hands the body on, or raise `_Refused`."""
        path = scope["path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._check_origin(scope["method"], path, headers)
        if path not in _PAGES and not path.startswith(_FOLDERS):
            raise _Refused(404, "there is no such page")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if not all(name in _QUERY and _PLAIN.fullmatch(value) for name, value in query):
            if path != "/":
                raise _Refused(400, "this is nothing that the page asks")
            scope["query_string"] = b""  # what others have hung to a link
        if path.startswith(_HEARTBEAT) and not _PLAIN.fullmatch(path.removeprefix(_HEARTBEAT)):
            raise _Refused(400, "this is no name of a visit")
        if path.startswith(_FILES) and not self._is_ours(path.removeprefix(_FILES)):
            raise _Refused(403, "there is no such file here")
        if scope["method"] != "POST":
            return receive
        if path == _UPLOAD:
            return self._checked_upload(headers, receive)
        return _again(await _checked_body(receive))

    def _check_origin(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Refuse what a page elsewhere asks through the visitor's browser, under our name or its own."""
        host = headers.get("host", "").lower()
        name = (urlsplit(f"//{host}").hostname if _is_host(host) else None) or ""
        if name not in self._names and not _is_number(name):
            raise _Refused(403, f"this server is not called {name}; it may be started with --known-as {name}")
        is_visit = method == "GET" and path == "/"
        site = headers.get("sec-fetch-site")  # which browsers say where they trust the connection
        origin = headers.get("origin")
        is_foreign = site not in ("same-origin", "none") if site else origin and urlsplit(origin).netloc.lower() != host
        if is_foreign and not is_visit:
            raise _Refused(403, "this is asked by another page")

    def _is_ours(self, name: str) -> bool:
        try:
            return Path(name).is_absolute() and Path(name).resolve().is_relative_to(self._folder)
        except (OSError, ValueError):
            return False

    def _checked_upload(self, headers: dict[str, str], receive: Receive) -> Receive:
        """Hand on what is uploaded, as long as it is files, and the disk has room for them."""
        kind, options = parse_options_header(headers.get("content-type", ""))
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise _Refused(415, "expected files, as a form")
        if not headers.get("content-length", "").isdigit():
            raise _Refused(411, "expected an upload that says its length")
        coming = int(headers["content-length"])
        parts = _Parts(options[b"boundary"])

        async def checked() -> Message:
            nonlocal coming
            if is_full(self._folder, max(coming, 0)):
                raise _Refused(507, "the disk of this server is nearly full")
            message = await receive()
            content: bytes = message.get("body", b"")
            coming -= len(content)
            parts.check(content)
            return message

        return checked


class _Parts:
    """The parts of a form as they come: files alone, and not too many."""

    def __init__(self, boundary: bytes) -> None:
        self._field = self._value = b""
        self._is_file = False
        self._count = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._add_field,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
            },
        )

    def check(self, content: bytes) -> None:
        """Take in what comes next, or raise `_Refused`."""
        try:
            self._parser.write(content)
        except MultipartParseError as error:
            raise _Refused(400, "expected files, as a form") from error

    def _begin(self) -> None:
        self._is_file = False
        self._count += 1
        if self._count > MAX_FILES:
            raise _Refused(413, f"expected at most {MAX_FILES} files at a time")

    def _add_field(self, content: bytes, start: int, end: int) -> None:
        self._field += content[start:end]

    def _add_value(self, content: bytes, start: int, end: int) -> None:
        self._value += content[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._is_file = b"filename" in parse_options_header(self._value)[1]
        self._field = self._value = b""

    def _end_headers(self) -> None:
        if not self._is_file:
            raise _Refused(400, "expected files alone")


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
        json.loads(body or b"null", object_pairs_hook=_check_pairs)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "expected JSON") from error
    return body


def _check_pairs(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object that stands for a file of another server, which Gradio would fetch, or for no visit."""
    for name, value in pairs:
        if name == "path" and isinstance(value, str) and value.strip().lower().startswith(("http:", "https:")):
            raise _Refused(403, "files of other servers are not fetched; upload them")
        if name == "session_hash" and not (isinstance(value, str) and _PLAIN.fullmatch(value)):
            raise _Refused(400, "this is no name of a visit")


def _is_host(text: str) -> bool:
    return re.fullmatch(r"[\w.-]+(:\d+)?|\[[0-9a-f:.]+\](:\d+)?", text, re.ASCII) is not None


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


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

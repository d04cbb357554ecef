"""Serving the page from this machine, with a folder of its own that is gone afterwards."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import gradio as gr
from gradio import routes
from starlette.middleware import Middleware

from mprnet.backends import BackendName, Precision
from mprnet.errors import ConfigError
from mprnet.files import PathLike
from mprnet.network import TASKS
from mprnet.restoration import Restorer
from mprnet.web.folder import own_folder
from mprnet.web.guard import Guard, is_full
from mprnet.web.page import CSS, Desk, build_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_HERE = ("127.0.0.1", "localhost")
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "sans-serif")
_LAST_TILE_SECONDS = 10
"""How long the end waits for what is under work."""

_serving = threading.Lock()
"""Gradio's settings are those of the process."""

_MAX_VISITS = 200
"""Of how many pages Gradio remembers what was last shown."""

_MAX_RESTORERS = 8
"""Networks that are kept open, each with its engine's memory; what was used longest ago is closed."""


@contextmanager
def serve(
    weights: Sequence[PathLike] = TASKS,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    known_as: Sequence[str] = (),
    max_file_mb: int = 512,
    device: str | None = None,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    tile_px: int | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> Iterator[str]:
    """Serve the page as long as the context lasts.

    What is dropped on it is restored here, one run after the other, and goes nowhere else. Uploads and results lie in a
    temporary folder of their own, an hour from when they came, or from the end of their run, and until the context
    ends. Only this machine is served unless `host` says otherwise; then whoever reaches it can use it, without a
    password.

    Args:
        weights: names of shipped weights, or weights files, that the visitor chooses from.
        host: the address to listen at; `0.0.0.0` is every address of this machine.
        port: of the address; without one, the first free one from 7860.
        known_as: further names by which visitors reach the page, such as that of a proxy in front of it; this machine's
            own and numbers need none.
        max_file_mb: how large a file may be, in megabytes.
        device: as `Restorer.from_pretrained`, as are the following.
        backend: likewise.
        precision: likewise.
        tile_px: likewise.
        notice: likewise.

    Yields:
        str: the page's address on this machine.

    Raises:
        ConfigError: no weights are given; the host or port cannot be listened at; this process serves a page already;
            or the engine cannot do what is asked for.
        CheckpointError: weights are none, or cannot be read.
        MissingExtraError: Gradio or the engine is not installed.
    """
    names = [str(each) for each in weights]
    if not names:
        raise ConfigError("no weights are given; expected at least one name or file")
    if port is not None and not 0 < port < 65536:
        raise ConfigError(f"the port is {port}; expected 1 to 65535")
    if max_file_mb < 1:
        raise ConfigError(f"files may have {max_file_mb} megabytes; expected at least 1")
    try:
        socket.create_server((host, port or 0)).close()
    except OSError as error:
        place = host if port is None else f"port {port} of {host}"
        raise ConfigError(
            f"{place} cannot be listened at: {error.strerror or error}; expected an IPv4 address of this machine"
        ) from error

    @lru_cache(_MAX_RESTORERS)
    def open_restorer(name: str, ensemble: bool, scales: int) -> Restorer:
        return Restorer.from_pretrained(
            name,
            device=device,
            ensemble=ensemble,
            scales=scales,
            tile_px=tile_px,
            backend=backend,
            precision=precision,
            notice=notice,
        )

    for name in names:
        open_restorer(name, False, 1)
    called = socket.gethostname()
    known = {name.lower() for name in (*_HERE, host, called, f"{called}.local", socket.getfqdn(), *known_as)}
    if not _serving.acquire(blocking=False):
        raise ConfigError("this process serves a page already; end that one first")
    try:
        with own_folder() as folder, _settings(folder.path, host):
            if is_full(folder.path):
                notice(
                    f"less than a gigabyte is free in {folder.path.parent}, where uploads go; TMPDIR says where else"
                )
            desk = Desk(folder, open_restorer, names)
            page = build_page(desk)
            try:
                page.launch(
                    server_name=host,
                    server_port=port,
                    max_file_size=max_file_mb * 1_000_000,
                    # Named, so that names that begin with a dot are let through whatever folder is current.
                    allowed_paths=[str(folder.path)],
                    app_kwargs={"middleware": [Middleware(Guard, folder=folder.path, names=known)]},
                    state_session_capacity=_MAX_VISITS,
                    theme=gr.themes.Default(font=_FONTS, font_mono=("ui-monospace", "monospace")),
                    css=CSS,
                    footer_links=[],
                    prevent_thread_lock=True,
                    quiet=True,
                    inline=False,
                    # Nothing that speaks to anybody else, or writes anywhere else.
                    share=False,
                    ssr_mode=False,
                    mcp_server=False,
                    pwa=False,
                    enable_monitoring=False,
                    run_history=False,
                )
                yield str(page.local_url)
            finally:
                desk.close(_LAST_TILE_SECONDS)
                page.close(verbose=False)
    finally:
        _serving.release()


@contextmanager
def _settings(folder: Path, host: str) -> Iterator[None]:
    """Let Gradio, which reads its settings from the environment, write to a folder and heed no setting but these.

    When it starts it asks its own server whether it is there, which no proxy can tell.
    """
    ours = {"GRADIO_TEMP_DIR": str(folder), "GRADIO_EXAMPLES_CACHE": str(folder)}
    for name in ("NO_PROXY", "no_proxy"):
        ours[name] = ",".join(dict.fromkeys([*_HERE, host, *filter(None, os.environ.get(name, "").split(","))]))
    before = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_") or name in ours}
    read_at_import = routes.DEFAULT_TEMP_DIR  # type: ignore[attr-defined] # a name of its own in this file
    for name in before:
        del os.environ[name]
    os.environ.update(ours)
    routes.DEFAULT_TEMP_DIR = str(folder)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        routes.DEFAULT_TEMP_DIR = read_at_import  # type: ignore[attr-defined]
        for name in ours:
            os.environ.pop(name, None)
        os.environ.update(before)

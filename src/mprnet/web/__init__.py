"""The web page: photographs dropped into a browser, restored on this machine. It needs the extra `web`."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from mprnet.errors import MissingExtraError

if TYPE_CHECKING:
    from mprnet.web.server import serve

__all__ = ["serve"]


def __getattr__(name: str) -> Any:
    """Import what needs Gradio when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'mprnet.web' has no attribute {name!r}")
    if importlib.util.find_spec("gradio") is None:
        raise MissingExtraError('the web page needs Gradio: pip install "mprnet[web]"')
    return getattr(importlib.import_module("mprnet.web.server"), name)

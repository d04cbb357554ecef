"""The one folder that the page writes to: uploads and results, until they are an hour old or the page is closed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mprnet.errors import ImageError
from mprnet.files import MACHINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KEPT_SECONDS = 3600
_EVERY_SECONDS = 60
_RUN = "run-"
_NAME = re.compile(r"mprnet-web-(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]{1,9})-\w+", re.ASCII)


class Folder:
    """A folder in which nothing stays for longer than an hour that is not in use.

    Args:
        path: a folder of nobody else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._in_use: Counter[Path] = Counter()
        self._lock = threading.Lock()

    def uploaded(self, path: str) -> Path:
        """Return a file that was uploaded.

        Args:
            path: as the browser names it.

        Raises:
            ImageError: it is none, or is gone.
        """
        file = Path(path).resolve()
        if not file.is_relative_to(self.path) or not file.is_file():
            raise ImageError("this is no file that was uploaded within the hour; drop it again")
        return file

    def make_folder(self) -> Path:
        """Return a new folder within."""
        return Path(tempfile.mkdtemp(dir=self.path, prefix=_RUN))

    @contextmanager
    def using(self, paths: Sequence[Path]) -> Iterator[None]:
        """Keep files, and what lies beside them, as long as the context lasts and an hour longer."""
        entries = {self.path / path.relative_to(self.path).parts[0] for path in paths}
        with self._lock:
            self._in_use.update(entries)
        try:
            yield
        finally:
            for entry in entries:
                with suppress(OSError):
                    os.utime(entry)
            with self._lock:
                self._in_use -= Counter(entries)  # which keeps none that nobody uses

    def sweep(self, kept_seconds: float = _KEPT_SECONDS) -> None:
        """Remove what is older than `kept_seconds` and not in use; of uploads, nothing while anything is.

        Somebody may wait for their turn longer than that.
        """
        with self._lock:
            for entry in [*self.path.iterdir()]:
                is_in_use = self._in_use[entry] if entry.name.startswith(_RUN) else self._in_use
                with suppress(OSError):
                    if not is_in_use and time.time() - entry.stat().st_mtime > kept_seconds:
                        if entry.is_dir():
                            shutil.rmtree(entry)
                        else:
                            entry.unlink()


@contextmanager
def own_folder() -> Iterator[Folder]:
    """Make a folder, which is swept while the context lasts, and removed when it ends.

    Those of processes that were killed go, too.
    """
    ended = threading.Event()
    _remove_abandoned(Path(tempfile.gettempdir()))
    prefix = f"mprnet-web-{MACHINE}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as made:
        folder = Folder(Path(made))

        def sweep() -> None:
            while not ended.wait(_EVERY_SECONDS):
                folder.sweep()

        sweeper = threading.Thread(target=sweep, name="sweep", daemon=True)
        sweeper.start()
        try:
            yield folder
        finally:
            ended.set()
            sweeper.join()


def _remove_abandoned(place: Path) -> None:
    import psutil  # type: ignore[import-untyped, unused-ignore]

    for folder in place.glob("mprnet-web-*"):
        name = _NAME.fullmatch(folder.name)
        if name and name["machine"] == MACHINE and not psutil.pid_exists(int(name["process"])):
            shutil.rmtree(folder, ignore_errors=True)

"""The log of a folder job: what was made from what, a line a picture, so that the next run skips what is done."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import stat
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mprnet import __version__
from mprnet.backends import fingerprint
from mprnet.errors import ConfigError
from mprnet.files import status_of
from mprnet.imaging import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mprnet.restoration.pictures import PictureOptions
    from mprnet.restoration.restorer import Restorer

_FIRST = b'{"run": '

RESULTS_VERSION = 1
"""Raised when the same weights and settings give other pictures than before."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the log says of a target: the SHA-256 of both files, and the digest of the settings."""

    source_sha256: str
    target_sha256: str
    settings: str


class Journal:
    """A log of JSON lines, one for each picture that came out of a run, well or not.

    Such a line is `{"source", "source_sha256", "settings", "target", "target_sha256", "seconds", "outcome", "reason"}`;
    `outcome` is `restored`, `skipped` or `failed`, and what does not apply is left out. A target is named as seen from
    the folder of the log, so that both can be moved together. A run begins with `{"run": …}`, its settings in clear,
    and ends with `{"summary": {"restored", "skipped", "failed", "seconds", "interrupted"}}`.

    The line of a restored picture is on the disk before the picture has its name: where a run was killed in between,
    the log names a file that is not there, or has other content, and that counts as not done.

    Args:
        path: the file, which may exist.
        settings: of this run, as `settings_of` returns them.

    Raises:
        ConfigError: the file exists and is no such log or no ordinary file, cannot be read, or has a picture's ending.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._settings = settings
        self._lock = threading.Lock()  # pictures are logged by the thread that writes them, animations are not
        self._begun = self._cut_off = False
        self._start = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._entries: dict[str, Entry] = {}
        self._read()

    def find(self, target: Path) -> Entry | None:
        """Return what the log says of a target."""
        return self._entries.get(self._name(target))

    def add(
        self, outcome: str, source: Path, target: Path | None = None, entry: Entry | None = None, **more: Any
    ) -> None:
        """Write down what came of a picture.

        Args:
            outcome: `restored`, `skipped` or `failed`.
            source: the picture.
            target: what was made of it, or was to be.
            entry: for a restored picture.
            more: `seconds`, `reason`.

        Raises:
            OSError: as writing does.
        """
        line: dict[str, Any] = {"source": str(source)}
        if target is not None:
            line["target"] = self._name(target)
        line |= {**(dataclasses.asdict(entry) if entry else {}), **more, "outcome": outcome}
        with self._lock:
            self._append(line, safe=entry is not None)
            self._counts[outcome] += 1
            if entry and target is not None:
                self._entries[self._name(target)] = entry

    def end(self, *, interrupted: bool) -> None:
        """Write down the summary of this run.

        Raises:
            OSError: as writing does.
        """
        with self._lock:
            if self._begun:
                counts = {outcome: self._counts[outcome] for outcome in ("restored", "skipped", "failed")}
                seconds = round(time.monotonic() - self._start, 3)
                self._append({"summary": {**counts, "seconds": seconds, "interrupted": interrupted}}, safe=True)

    def _read(self) -> None:
        if self.path.suffix.lower() in FORMATS:
            raise ConfigError(f"the log is {self.path}, the name of a picture; expected one that ends in .jsonl")
        try:
            if (status := status_of(self.path)) is None:
                return
            if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, and a device keeps nothing
                raise ConfigError(f"the log {self.path} is a folder or no ordinary file; choose another name for it")
            content = self.path.read_bytes()
        except OSError as error:
            if not os.path.lexists(self.path):  # a name that no folder can have; the pictures will give the reason
                return
            raise ConfigError(f"the log {self.path} cannot be read: {error.strerror or error}") from error
        lines = content.splitlines()
        if content and not content.startswith(_FIRST):
            raise ConfigError(f"{self.path} is no log of mprnet; choose another name for the log, or move it away")
        self._cut_off = bool(content) and not content.endswith(b"\n")
        for line in map(_parse, lines):
            if line.get("outcome") == "restored":
                fields = [line.get(field.name) for field in dataclasses.fields(Entry)]
                self._entries[str(line.get("target"))] = Entry(*map(str, fields))

    def _append(self, line: Mapping[str, Any], *, safe: bool) -> None:
        lines = [line] if self._begun else [{"run": self._settings}, line]
        content = b"\n" * self._cut_off + b"".join(json.dumps(each).encode("ascii") + b"\n" for each in lines)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            whole = file.write(content) == len(content)
            self._cut_off = not whole
            if not whole:
                raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
            self._begun = True
            if safe:
                os.fsync(file.fileno())

    def _name(self, target: Path) -> str:
        absolute, folder = (Path(os.path.abspath(path)) for path in (target, self.path.parent))  # noqa: PTH100
        return (absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute).as_posix()


def settings_of(restorers: Sequence[Restorer], options: PictureOptions, **more: Any) -> dict[str, Any]:
    """Return all that decides what a picture becomes, in clear, and `digest`, one word for all of it.

    That is: for each network the hash of its weights, hyper-parameters and local pooling, whether it averages over the
    turned pictures, at how many sizes it works, its engine and its precision;
    stage, budget and strength; how files are compressed; and `RESULTS_VERSION`. The size of tiles and the device are
    left out, which do not show, and so is this package's version, so that an update of it does not redo a folder. A
    picture's format is in its target's name.

    Args:
        restorers: the networks.
        options: how pictures are restored and written.
        more: what else decides.
    """
    facts: dict[str, Any] = {
        "results_version": RESULTS_VERSION,
        "networks": [
            {
                "network_sha256": fingerprint(restorer.model),
                "ensemble": restorer.ensemble,
                "upright": restorer.ensemble and restorer.upright,
                "scales": restorer.scales,
                "backend": restorer.backend.name,
                "precision": restorer.backend.precision,
            }
            for restorer in restorers
        ],
        "stage": options.stage,
        "budget_seconds": options.budget_seconds,
        "strength": options.strength,
        "quality": options.quality,
        "subsampling": options.subsampling,
        **more,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return {"digest": digest, **facts, "mprnet": __version__}


def sha256_of(path: Path) -> str:
    """Return the hash of a file's content.

    Raises:
        OSError: as reading does.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(line: bytes) -> dict[str, Any]:
    """Return a line of the log; nothing where it was not written to its end."""
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}

"""What is worth keeping between runs: converted networks, compiled code, and which engine was fastest."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import inspect
import json
import os
import shutil
import tempfile
import time
import uuid
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import torch

from mprnet import __version__, network

if TYPE_CHECKING:
    from collections.abc import Callable

    from mprnet.network import MPRNet

VARIABLE = "MPRNET_CACHE"
"""The environment variable that names another folder."""

LARGEST_BYTES = 2**30
"""What the networks in it may take, and compiled code again; what was used longest ago goes first."""

_NETWORKS = "networks"
"""The folder of what `cached` makes: besides it and compiled code nothing is removed, whatever folder a user names."""

_COMPILED = "inductor"
"""The folder of what torch compiles."""

_DAY_S = 24 * 60 * 60

_UNFINISHED = ".unfinished-"

_told: set[Path] = set()
"""The folders that this process has said to be its own, and gone at its end."""


def cache_dir() -> Path:
    """Return the folder, which others cannot write to: `$MPRNET_CACHE`, or where the system keeps such things.

    Where it cannot be made or written, or others can write to it, it is one of this process alone, which is removed at
    its end: code that is kept there is run.
    """
    try:
        return _writable(os.environ.get(VARIABLE) or platformdirs.user_cache_dir("mprnet"))
    except (OSError, RuntimeError):  # the user has no home
        return _temporary_dir()


def compiled_dir() -> Path:
    """Return where torch is to keep what it compiles."""
    return cache_dir() / _COMPILED


def tell_if_lost(folder: Path, notice: Callable[[str], None]) -> None:
    """Say, once in a process, that what is made there is gone at its end."""
    lost = _temporary_dir() if _temporary.cache_info().currsize else None
    if lost is not None and folder.is_relative_to(lost) and lost not in _told:
        _told.add(lost)
        notice(f"the cache folder cannot be written, so this is done anew each time; {VARIABLE} names another folder")


def cached(name: str, make: Callable[[Path], None], notice: Callable[[str], None] = lambda _: None) -> Path:
    """Return a folder of the cache, made if it is missing; it is there whole or not at all.

    Args:
        name: of the folder in the cache; it says all that its content depends on.
        make: fills an empty folder that it is given.
        notice: called with a line where it will be made again in the next run.

    Returns:
        Path: the folder, which may be gone when other processes have filled the cache; where the cache cannot be
            written, one of this process alone.

    Raises:
        OSError: as writing does.
    """
    try:
        folder = _made(cache_dir() / _NETWORKS / name, make)
    except OSError:
        folder = _made(_temporary_dir() / _NETWORKS / name, make)
    tell_if_lost(folder, notice)
    return folder


def remade(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache made anew, since what is there is damaged; `cached` says the rest.

    Where it cannot be taken away, as while another process reads it on Windows, the new one is of this process alone.
    """
    shared, own = (place / _NETWORKS / name for place in (cache_dir(), _temporary_dir()))
    with contextlib.suppress(OSError):
        if shared.exists():  # another process may have taken it away
            _discard(shared)
        return _made(shared, make)
    with contextlib.suppress(OSError):
        _discard(own)
    return _made(own, make)


def _discard(entry: Path) -> None:
    """Take an entry away whole or not at all: half of one would pass for the whole.

    Raises:
        OSError: it is in use, or the folder cannot be written to.
    """
    doomed = entry.rename(entry.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}"))
    if doomed.is_dir():
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        doomed.unlink(missing_ok=True)


def _made(folder: Path, make: Callable[[Path], None]) -> Path:
    with contextlib.suppress(OSError):
        os.utime(folder)
        return folder
    unfinished = folder.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
    unfinished.mkdir(parents=True)
    try:
        make(unfinished)
        with contextlib.suppress(OSError):  # another process was first, with the same content
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    prune(LARGEST_BYTES, spare=folder)
    return folder


def prune(largest_bytes: int, *, spare: Path | None = None) -> None:
    """Remove what was used longest ago, until the rest is small enough.

    Args:
        largest_bytes: what may stay.
        spare: an entry that stays whatever its size.
    """
    entries = []
    with contextlib.suppress(OSError):  # other processes prune too
        for entry in (cache_dir() / _NETWORKS).iterdir():
            size = sum(path.stat().st_size for path in (entry, *entry.rglob("*")) if path.is_file())
            entries.append((entry.stat().st_mtime, size, entry))
    held = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries):
        if held <= largest_bytes:
            return
        if entry != spare:
            with contextlib.suppress(OSError):
                _discard(entry)
                held -= size


def prune_compiled(largest_bytes: int) -> None:
    """Remove compiled code that was written or read longest ago, until the rest is small enough; a day's use stays.

    Args:
        largest_bytes: what may stay of older files.
    """
    files = []
    for folder, _, names in os.walk(compiled_dir()):
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(OSError):  # other processes prune too
                facts = path.lstat()
                files.append((max(facts.st_atime, facts.st_mtime), facts.st_size, path))
    held = sum(size for _, size, _ in files)
    for used, size, path in sorted(files):
        if held <= largest_bytes or used > time.time() - _DAY_S:
            return
        held -= size
        with contextlib.suppress(OSError):
            path.unlink()


def graph_key(model: MPRNet, size_hw: tuple[int, int] | None, *versions: str) -> str:
    """Return a name for what an engine makes of a network, another one wherever it could be another thing.

    Args:
        model: the network.
        size_hw: what it is bound to.
        versions: of all that makes it, besides torch and this package.
    """
    digest = hashlib.sha256(_code())
    digest.update(repr((fingerprint(model), _classes(model), size_hw, torch.__version__, versions)).encode())
    return digest.hexdigest()[:32]


def version_of(package: str) -> str:
    """Return the version of a package; of one that is not installed under this name, nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def fingerprint(model: MPRNet) -> str:
    """Return the SHA-256 of what decides a network's pictures: hyper-parameters, weights, and local pooling.

    Example:
        >>> from mprnet.network import MPRNet, MPRNetConfig
        >>> len(fingerprint(MPRNet(MPRNetConfig(n_feat=8, num_cab=1))))
        64
    """
    digest = hashlib.sha256(json.dumps(model.config.entries(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().to("cpu").contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    for name, module in model.named_modules():
        window = getattr(module, "window", None)
        if window is not None:
            digest.update(f"{name} {window}\n".encode())
    return digest.hexdigest()


def _classes(model: MPRNet) -> list[tuple[str, str, str]]:
    """Return module, name and source of the classes that a network is made of, sorted.

    A user's own block may have weights like ours, and compute something else. The editions of torch's classes and ours
    are known without their source.
    """
    classes = []
    for kind in {type(module) for module in model.modules()}:
        source = ""
        if kind.__module__.partition(".")[0] not in ("mprnet", "torch"):
            with contextlib.suppress(OSError, TypeError):  # it was typed in, and its source is nowhere
                source = inspect.getsource(kind)
        classes.append((kind.__module__, kind.__qualname__, source))
    return sorted(classes)


@lru_cache(maxsize=1)
def _code() -> bytes:
    """Return what tells one edition of the network's code from another; between releases the version does not."""
    sources = [*Path(network.__file__).parent.glob("*.py"), *Path(__file__).parent.glob("*.py")]
    digests = (hashlib.sha256(source.read_bytes()).digest() for source in sorted(sources))
    return b"".join((__version__.encode(), *digests))  # the sources are not everywhere


@lru_cache(maxsize=8)
def _writable(name: str) -> Path:
    try:
        folder = Path(name).expanduser().absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and (folder.stat().st_uid not in (os.getuid(), 0) or folder.stat().st_mode & 0o002):
            return _temporary_dir()
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return _temporary_dir()


def _temporary_dir() -> Path:
    return Path(_temporary().name)


@lru_cache(maxsize=1)
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mprnet-", ignore_cleanup_errors=True)

"""What is worth keeping between runs: converted networks, compiled code, and which engine was fastest."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import torch

from mprnet import network

if TYPE_CHECKING:
    from collections.abc import Callable

    from mprnet.network import MPRNet

VARIABLE = "MPRNET_CACHE"
"""The environment variable that names another folder."""

LARGEST_BYTES = 2**30
"""What the networks in it may take; those that were used longest ago go first."""

_NETWORKS = "networks"
"""The folder of what `cached` makes: nothing else is ever removed, whatever folder a user names."""

_UNFINISHED = ".unfinished-"


def cache_dir() -> Path:
    """Return the folder, which only this user can enter: `$MPRNET_CACHE`, or where the system keeps such things.

    Where it cannot be made or written, it is one of this process alone, which is removed at its end.
    """
    return _writable(os.environ.get(VARIABLE) or platformdirs.user_cache_dir("mprnet"))


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, made if it is missing; it is there whole or not at all.

    Args:
        name: of the folder in the cache; it says all that its content depends on.
        make: fills an empty folder that it is given.

    Returns:
        Path: the folder, which may be gone when other processes have filled the cache.

    Raises:
        OSError: as writing does.
    """
    folder = cache_dir() / _NETWORKS / name
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
            held -= size
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def graph_key(model: MPRNet, size_hw: tuple[int, int] | None, *versions: str) -> str:
    """Return a name for what an engine makes of a network, another one wherever it could be another thing.

    Args:
        model: the network.
        size_hw: what it is bound to.
        versions: of all that makes it, besides torch and this package.
    """
    digest = hashlib.sha256(_code())
    digest.update(repr((fingerprint(model), size_hw, torch.__version__, versions)).encode())
    return digest.hexdigest()[:32]


def fingerprint(model: MPRNet) -> str:
    """Return the SHA-256 of what decides a network's pictures: hyper-parameters, weights, and local pooling.

    Example:
        >>> from mprnet.network import MPRNet, MPRNetConfig
        >>> len(fingerprint(MPRNet(MPRNetConfig(n_feat=8, num_cab=1))))
        64
    """
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(model.config), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().to("cpu").contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    for name, module in model.named_modules():
        window = getattr(module, "window", None)
        if window is not None:
            digest.update(f"{name} {window}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _code() -> bytes:
    """Return what tells one edition of the network's code from another; between releases the version does not."""
    sources = [*Path(network.__file__).parent.glob("*.py"), *Path(__file__).parent.glob("*.py")]
    return b"".join(hashlib.sha256(source.read_bytes()).digest() for source in sorted(sources))


@lru_cache(maxsize=8)
def _writable(name: str) -> Path:
    folder = Path(name).expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(_temporary().name)


@lru_cache(maxsize=1)
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mprnet-", ignore_cleanup_errors=True)

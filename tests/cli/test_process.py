from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from mprnet.cli import process


@pytest.fixture
def library(monkeypatch):
    """A C library that notes what it is told."""
    told = {}

    class Library:
        mallopt = staticmethod(told.__setitem__)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    for name in ("GOMP_SPINCOUNT", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.setenv(name, "")  # so that it is removed again afterwards
        monkeypatch.delenv(name)
    return told


def test_threads_wait_briefly_and_large_blocks_are_kept(library):
    process.settle()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    assert library == {-3: 2**27, -1: 2**30}


def test_what_the_user_has_set_stays(library, monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    process.settle()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert library == {}


def test_another_c_library_is_left_alone(library, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    process.settle()
    assert library == {}


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None) if os.name == "posix" else None, "mallopt"), reason="needs glibc")
def test_a_large_block_that_was_given_back_is_used_again():
    program = (
        "import resource, sys; from mprnet.cli.process import settle; settle(); faults = []\n"
        "for _ in range(3):\n"
        "    block = bytearray(2**26); del block\n"
        "    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)\n"
        "print(faults[2] - faults[1])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 2**26 // 4096 / 4

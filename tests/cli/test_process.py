from __future__ import annotations

import ctypes
import math
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
    for name in (
        "GOMP_SPINCOUNT",
        "OMP_NUM_THREADS",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
        "GLIBC_TUNABLES",
    ):
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


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_strictest_control_group_says_how_many_processors_there_is_time_for(tmp_path):
    group = tmp_path / "sys/fs/cgroup"
    assert process._allowed_processors(tmp_path) == math.inf
    write(tmp_path / "proc/self/cgroup", "0::/outer/inner\n")
    write(group / "outer/inner/cpu.max", "max 100000\n")
    assert process._allowed_processors(tmp_path) == math.inf
    write(group / "outer/cpu.max", "250000 100000\n")
    write(group / "cpu.max", "400000 100000\n")
    assert process._allowed_processors(tmp_path) == 2.5


def test_time_is_limited_by_control_groups_of_the_first_version_too(tmp_path):
    write(tmp_path / "proc/self/cgroup", "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    assert process._allowed_processors(tmp_path) == math.inf
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n")
    assert process._allowed_processors(tmp_path) == 0.5


@pytest.mark.parametrize(
    ("allowed", "chosen", "threads"),
    [(1.5, None, "2"), (0.5, None, "1"), (1.5, "7", "7"), (3.5, None, None), (math.inf, None, None)],
)
def test_there_are_no_more_threads_than_time_for_them(library, monkeypatch, allowed, chosen, threads):
    monkeypatch.setattr(process, "_allowed_processors", lambda root: allowed)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 3, 5, 7}, raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    process.settle()
    assert os.environ.get("OMP_NUM_THREADS") == threads


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

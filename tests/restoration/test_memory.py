from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
import torch

from mprnet.restoration.memory import (
    OutOfMemory,
    _free_of_control_group,
    choose_side,
    free_bytes,
    watched,
)


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_there_is_some_memory_and_not_more_than_the_machine_and_the_control_group_have(monkeypatch):
    cpu = torch.device("cpu")
    assert free_bytes(cpu) > 2**20
    monkeypatch.setattr("mprnet.restoration.memory._free_of_control_group", lambda root: 2**63)
    assert 2**20 < free_bytes(cpu) <= psutil.virtual_memory().total
    monkeypatch.setattr("mprnet.restoration.memory._free_of_control_group", lambda root: 1000)
    assert free_bytes(cpu) == 1000


def test_the_strictest_control_group_counts_and_what_files_left_behind_is_free(tmp_path):
    group = tmp_path / "sys/fs/cgroup"
    write(tmp_path / "proc/self", cgroup="0::/outer/inner\n")
    write(group / "outer/inner", **{"memory.max": "max\n", "memory.current": "7\n"})
    assert _free_of_control_group(tmp_path) == 2**63
    write(
        group / "outer",
        **{
            "memory.max": "1000\n",
            "memory.current": "900\n",
            "memory.stat": "inactive_file 200\nactive_file 100\nactive_anon 9\n",
        },
    )
    assert _free_of_control_group(tmp_path) == 400
    write(group, **{"memory.max": "100", "memory.current": "90"})
    assert _free_of_control_group(tmp_path) == 10


def test_control_groups_of_the_first_version_are_read_from_within_a_container(tmp_path):
    write(tmp_path / "proc/self", cgroup="5:cpu:/docker/a\n4:hugetlb,memory:/docker/a\n")
    write(
        tmp_path / "sys/fs/cgroup/memory",
        **{
            "memory.limit_in_bytes": "1000",
            "memory.usage_in_bytes": "800",
            "memory.stat": "total_inactive_file 30\ntotal_active_file 20",
        },
    )
    assert _free_of_control_group(tmp_path) == 250


def test_a_machine_without_control_groups_has_no_such_limit(tmp_path):
    assert _free_of_control_group(tmp_path) == 2**63


def test_a_tile_is_what_fits_and_neither_too_small_nor_too_large():
    assert choose_side(0, 1000, 512) == 128
    assert choose_side(2**50, 1000, 512) == 512
    side = choose_side(2**28, 1000, 512)
    assert side % 8 == 0
    assert side**2 * 1000 <= 2**27 < (side + 8) ** 2 * 1000


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] can't allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("bad allocation"),
        RuntimeError("posix_memalign failed:Cannot allocate memory (12)"),
        RuntimeError("could not create a primitive"),
        RuntimeError("could not create a memory object"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_too_little_memory_is_recognised(error):
    with pytest.raises(OutOfMemory, match=r"memory|bad.alloc|ALLOC_FAILED|primitive"), watched():
        raise error


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux'")
def test_a_process_that_is_really_short_of_memory_restores_in_smaller_tiles():
    program = """
import resource
import numpy as np, torch
from mprnet.network import MPRNet, MPRNetConfig
from mprnet.restoration import Restorer
torch.set_num_threads(1)
restorer = Restorer(MPRNet(MPRNetConfig(n_feat=16, num_cab=1)), tile_px=1024, max_whole_px=0)
sizes = []
run = restorer.backend.run
restorer.backend.run = lambda tile, stages: (sizes.append(tile.shape[2]), run(tile, stages))[1]
pixels = np.zeros((1024, 600, 3), np.uint8)
restorer.restore_pixels(pixels[:128, :128], stage=1)
with open("/proc/self/statm") as statm:
    held = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 150 * 2**20, -1))
restorer.restore_pixels(pixels, out=pixels, stage=1)
print(sizes[1], sizes[-1])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr[-600:]
    first, last = map(int, ended.stdout.split())
    assert first == 1024
    assert last <= 512

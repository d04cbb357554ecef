"""Work that processes share, alone and with two."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import torch

from mprnet.evaluation.processes import Processes, shared_work

TWO = """
import json, sys, time
import torch.distributed as dist
from mprnet.evaluation.processes import shared_work

with shared_work() as processes:
    mine = processes.share(sys.argv[1])
    answer = {"mine": mine, "all": processes.gather(mine), "is_first": processes.is_first}
    if processes.is_first:
        time.sleep(0.5)
        answer["done"] = time.time()
assert not dist.is_initialized()
print(json.dumps({**answer, "ended": time.time()}))
"""


def test_two_processes_share_the_work_and_wait_for_each_other():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, "abcde"],
            env={**os.environ, **shared, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    answers = []
    for process in started:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        answers.append(json.loads(out.splitlines()[-1]))
    assert [answer["mine"] for answer in answers] == ["ace", "bd"]
    assert [answer["all"] for answer in answers] == [["ace", "bd"]] * 2
    assert [answer["is_first"] for answer in answers] == [True, False]
    assert answers[1]["ended"] > answers[0]["done"]  # torchrun ends all when the first one ends in failure


def test_alone_there_is_one_process_with_all_the_work():
    with shared_work() as processes:
        assert processes == Processes(0, 1)
        assert processes.is_first
        assert processes.share([1, 2, 3]) == [1, 2, 3]
        assert processes.gather("this") == ["this"]


def test_the_shares_are_disjoint_and_complete():
    shares = [Processes(rank, 3).share(range(10)) for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(10))


def test_each_process_takes_a_gpu_of_its_own(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with shared_work():
        assert taken == [1]

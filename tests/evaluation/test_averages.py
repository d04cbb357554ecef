"""Means over pictures, alone and with two processes."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from statistics import fmean

import pytest
import torch

from mprnet.errors import DataError
from mprnet.evaluation.averages import PictureMeans, Processes, shared_work

TWO = """
import json, sys, time
import torch.distributed as dist
from mprnet.evaluation.averages import PictureMeans, shared_work

scores = json.loads(sys.argv[1])
with shared_work() as processes:
    means = PictureMeans()
    for name in processes.share(list(scores)):
        means.add(name, scores[name])
    means.add("a", scores["a"])  # what both processes have counts once
    alone = means.compute()
    for gathered in processes.gather(means.scores):
        for name in gathered:
            means.add(name, gathered[name])
    answer = {"rank": processes.rank, "alone": alone, "mean": means.compute(), "names": sorted(means.scores)}
    if processes.is_first:
        time.sleep(0.5)
        answer["done"] = time.time()
assert not dist.is_initialized()
print(json.dumps({**answer, "ended": time.time()}))
"""


def test_two_processes_give_the_mean_of_one_and_count_a_repeated_picture_once():
    scores = {name: {"psnr": 20.1 + 3.7 * index, "ssim": 0.9 / (index + 1)} for index, name in enumerate("abcde")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, json.dumps(scores)],
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
    expected = {measure: fmean(each[measure] for each in scores.values()) for measure in ("psnr", "ssim")}
    assert [answer["mean"] for answer in answers] == [expected, expected]
    assert [answer["names"] for answer in answers] == [list("abcde")] * 2
    assert answers[0]["alone"] != answers[1]["alone"]
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


def test_one_infinite_score_makes_the_mean_infinite():
    means = PictureMeans()
    means.add("a", {"psnr": math.inf})
    means.add("b", {"psnr": 30.0})
    assert means.compute() == {"psnr": math.inf}


def test_the_mean_of_nothing_is_one_clear_line():
    with pytest.raises(DataError, match="nothing was measured"):
        PictureMeans().compute()


def test_pictures_with_other_measures_are_not_averaged_in_silence():
    means = PictureMeans()
    means.add("a", {"psnr": 30.0, "ssim": 0.9})
    means.add("b", {"psnr": 30.0})
    with pytest.raises(DataError, match="b has psnr; expected psnr, ssim as for the others"):
        means.compute()


def test_each_process_takes_a_gpu_of_its_own(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with shared_work():
        assert taken == [1]

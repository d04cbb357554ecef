"""A run on two devices, here two processes of one processor, as Lightning starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from mprnet.checkpoints import read_metadata

TWO = """
import math, os, sys, time
import lightning.pytorch as pl
from mprnet import training
from mprnet.training import module, run

recipe, folder, wrong = sys.argv[1:]
rank, steps, loss = int(os.environ.get("LOCAL_RANK", 0)), [], module.restoration_loss

class Two(pl.Trainer):
    def __init__(self, **options):
        super().__init__(**{**options, "accelerator": "cpu", "devices": 2, "strategy": "ddp"})

def failing(*of):
    steps.append(0)
    if len(steps) == 3 and wrong == "loss" and rank == 1:
        return loss(*of) * math.nan
    if len(steps) == 3 and wrong == "disk" and rank == 0:
        raise OSError("no space left on device")
    return loss(*of)

def said(what):
    with open(f"{folder}-said-{rank}", "w") as file:  # to one pipe, two processes write into each other's lines
        file.write(str(what))

run.pl.Trainer, module.restoration_loss = Two, failing
try:
    training.train(training.load_recipe(recipe), folder)
except Exception as error:
    said(error)
    time.sleep(6)  # Lightning looks every five seconds for processes that have ended
    sys.exit(1)
said("done")
"""


def left_of(session: int) -> list[str]:
    found = [process for process in psutil.process_iter(["name", "status"]) if session_of(process.pid) == session]
    return [process.info["name"] for process in found if process.info["status"] != psutil.STATUS_ZOMBIE]


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


@pytest.mark.skipif(sys.platform == "win32", reason="there the processes of a session are not told apart")
@pytest.mark.parametrize(
    ("wrong", "said", "kept"),
    [
        ("nothing", "done", set()),
        ("loss", "loss of another device is not finite", {"batch-of-step-2.pt", "batch-of-step-2-of-device-1.pt"}),
        ("disk", "no space left on device", set()),
    ],
)
def test_two_devices_end_together(tiny, tmp_path, wrong, said, kept):
    program = tmp_path / "two.py"
    program.write_text(TWO)
    started = subprocess.Popen(
        [sys.executable, program, tiny, tmp_path / "run", wrong],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        out, _ = started.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        raise
    assert said in (tmp_path / "run-said-0").read_text(), out
    assert started.returncode == (0 if wrong == "nothing" else 1)
    assert {path.name for path in (tmp_path / "run").glob("batch-*")} == kept
    deadline = time.monotonic() + 20
    while left := left_of(started.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    assert (tmp_path / "run" / "last.ckpt").exists() == (wrong == "nothing")
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["devices"] == 2
    if wrong == "nothing":
        metadata = read_metadata(tmp_path / "run" / "last.safetensors")
        assert (metadata["training_batch"], metadata["training_devices"]) == ("4", "2")

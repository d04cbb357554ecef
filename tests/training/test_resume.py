"""A run that is killed and resumed is the run that was never killed, bit for bit."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-c", "from mprnet.cli import main; main()", "train"]
CHANGES = ["--set", "optimization.steps=20", "--set", "validation.every=5"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

DIES_WRITING = """
import os, signal, torch
from mprnet.training.files import RunFiles

whole_checkpoint, whole_file = RunFiles.save_checkpoint, torch.save

def write_half_and_die(content, path):
    whole_file(content, path)
    os.truncate(path, path.stat().st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)

def save_checkpoint(self, checkpoint, path, **rest):
    if path.name == "last.ckpt" and path.exists():
        torch.save = write_half_and_die
    whole_checkpoint(self, checkpoint, path, **rest)

RunFiles.save_checkpoint = save_checkpoint
from mprnet.cli import main
main()
"""


def run(recipe: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, str(recipe), "-o", str(folder), *CHANGES, *options]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)


def logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def uninterrupted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    done = run(tiny, folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def assert_same_run(folder: Path, other: Path) -> None:
    assert len([row for row in logged(folder) if row["train/loss"]]) == 20
    assert logged(folder) == logged(other)
    for name in ("last", "best"):
        content, expected = (torch.load(each / f"{name}.ckpt", weights_only=True) for each in (folder, other))
        assert content["global_step"] == expected["global_step"]
        for part in ("state_dict", "current_model_state"):  # averaged and raw
            for key, value in expected[part].items():
                assert torch.equal(content[part][key], value), f"{name} {part} {key}"
        adam, expected_adam = content["optimizer_states"][0]["state"], expected["optimizer_states"][0]["state"]
        for key, state in expected_adam.items():
            assert all(torch.equal(adam[key][moment], value) for moment, value in state.items())
        assert (folder / f"{name}.safetensors").read_bytes() == (other / f"{name}.safetensors").read_bytes()


def test_after_kill_9_the_losses_and_weights_are_those_of_the_uninterrupted_run(uninterrupted, tiny, tmp_path):
    folder = tmp_path / "killed"
    process = subprocess.Popen([*COMMAND, str(tiny), "-o", str(folder), *CHANGES], env=ENVIRONMENT, text=True)
    deadline = time.monotonic() + 900
    # Until the run has gone on beyond its first checkpoint.
    while not ((folder / "last.ckpt").exists() and int(logged(folder)[-1]["step"]) > 5):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] < 20

    done = run(tiny, folder, "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert_same_run(folder, uninterrupted)


def test_kill_9_in_the_middle_of_writing_a_checkpoint_leaves_the_one_before(uninterrupted, tiny, tmp_path):
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", DIES_WRITING, *COMMAND[3:], str(tiny), "-o", str(folder), *CHANGES]
    assert subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=900).returncode == -signal.SIGKILL
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 5
    assert len(list(folder.glob(".*.unfinished"))) == 1

    assert run(tiny, folder, "--resume").returncode == 0
    assert_same_run(folder, uninterrupted)
    assert not list(folder.glob(".*"))

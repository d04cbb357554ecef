from __future__ import annotations

import signal
import sys

import cv2
import numpy as np
import pytest

from mprnet.checkpoints import load_checkpoint
from mprnet.training.callbacks import Logs

RECIPE = """
task = "denoise"
network = { n_feat = 8, scale_unetfeats = 4, scale_orsnetfeats = 4, num_cab = 1 }
data = { crop_px = 16, batch = 1, clean = [{ folder = "pictures" }] }
validation = { clean = "pictures", every = 2, log_every = 1 }
optimization = { steps = 2, warmup = 1 }
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe in the current folder, for a run of two steps on one picture."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "pictures").mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "data" / "pictures" / "noise.png"), picture)
    (tmp_path / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    return "tiny.toml"


def test_a_run_prints_its_own_lines_alone_and_names_the_best_weights(command, recipe, tmp_path):
    answer = command("train", recipe)
    assert (answer.code, answer.err) == (0, "")
    first, validated, last = answer.out.splitlines()
    assert first.startswith("step 0/2  training on ")
    assert validated.startswith("step 2/2  validation  psnr_db ")
    assert last.startswith("best ")
    assert last.endswith(" dB on the validation pictures: runs/tiny/best.safetensors")
    assert load_checkpoint(tmp_path / "runs" / "tiny" / "best.safetensors").config.n_feat == 8


def test_a_resumed_run_says_where_it_begins_and_what_was_changed(command, recipe):
    assert command("train", recipe, "-o", "here").code == 0
    answer = command("train", recipe, "-o", "here", "--resume", "--set", "optimization.steps=3")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[:2] == [
        "changed on the way: optimization.steps: 2 -> 3",
        *[line for line in answer.out.splitlines() if line.startswith("step 2/3  training on ")],
    ]


def test_ctrl_c_is_exit_code_130_and_says_how_to_go_on(command, recipe, monkeypatch, tmp_path):
    monkeypatch.setattr(Logs, "on_train_batch_end", lambda *_: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer = command("train", recipe, "--set", "optimization.steps=9")
    finally:
        signal.signal(signal.SIGINT, before)
    assert answer.code == 130
    assert answer.err == "stopped; --resume goes on from runs/tiny/last.ckpt\n"
    assert (tmp_path / "runs" / "tiny" / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none",), "no recipe none; expected a .toml file or one of "),
        (
            ("tiny.toml", "--set", "data.root=nowhere"),
            "nowhere/pictures does not exist; expected a folder with pictures",
        ),
        (("tiny.toml", "--set", "optimization.rate=0"), "optimization.rate is 0.0; expected more than 0"),
        (("tiny.toml", "--set", "weights=none.pth"), "no weights none.pth"),
        (("tiny.toml", "--resume"), "runs/tiny holds no last.ckpt to resume from"),
    ],
)
def test_a_mistake_is_one_line_and_a_failure(command, recipe, tmp_path, arguments, message):
    changes = ("--set", "network={}") if "weights=none.pth" in arguments else ()
    answer = command("train", *arguments, *changes)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("mprnet: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_without_lightning_one_line_names_what_to_install(command, recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning", None)
    answer = command("train", recipe)
    assert answer.code == 1
    assert answer.err == 'mprnet: training needs lightning: pip install "mprnet[train]"\n'


def test_a_finished_run_that_looks_at_other_pictures_has_no_best_to_name(command, recipe):
    assert command("train", recipe, "-o", "here").code == 0
    answer = command("train", recipe, "-o", "here", "--resume", "--set", "validation.count=1")
    assert (answer.code, answer.err) == (0, "")
    assert "no step was left to train" in answer.out.splitlines()[-1]

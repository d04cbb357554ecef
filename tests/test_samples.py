"""The sample pictures that `make demo` restores."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mprnet.datasets import pair_folders, read_rgb
from mprnet.network import TASKS

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_sample_pairs_with_a_named_source(task):
    pairs = pair_folders(SAMPLES / task)
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    for pair in pairs:
        assert read_rgb(pair.degraded).shape == read_rgb(pair.target).shape
        assert f"`{task}/{pair.name}.png`" in text


def test_the_samples_are_small():
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*.png")) < 2.5e6


def test_the_samples_are_what_their_program_makes(tmp_path):
    spec = importlib.util.spec_from_file_location("make_samples", SAMPLES / "make.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.make_samples(tmp_path)
    shipped, made = (sorted(folder.rglob("*.png")) for folder in (SAMPLES, tmp_path))
    assert [path.relative_to(SAMPLES) for path in shipped] == [path.relative_to(tmp_path) for path in made]
    for ours, again in zip(shipped, made, strict=True):
        # Other versions of the libraries and other processors may round otherwise here and there.
        assert np.abs(read_rgb(ours).astype(float) - read_rgb(again)).mean() < 0.5

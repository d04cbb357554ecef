"""What travels with the package: each task's weights, found by name, with a card, and they restore."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch

import mprnet.weights
from mprnet import Restorer
from mprnet.checkpoints import read_metadata
from mprnet.datasets import read_rgb
from mprnet.degradation import FilmGrain
from mprnet.errors import CheckpointError
from mprnet.evaluation.metrics import rgb_psnr
from mprnet.imaging import to_pixels, to_tensor
from mprnet.network import TASKS, preset
from mprnet.weights import find_weights, shipped_weights

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"


def test_every_task_has_weights_and_a_card() -> None:
    assert sorted(shipped_weights()) == sorted(TASKS)
    for path in shipped_weights().values():
        assert path.with_suffix(".md").read_text(encoding="utf-8").startswith(f"# `{path.stem}`")
        assert path.stat().st_size < 3_000_000
        assert read_metadata(path)["task"] == path.stem


@pytest.mark.parametrize("task", TASKS)
def test_a_card_is_that_of_its_weights_and_the_table_of_the_readme_that_of_the_cards(task: str) -> None:
    weights = shipped_weights()[task]
    card = weights.with_suffix(".md").read_text(encoding="utf-8")
    assert f"SHA-256 begins with `{hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}`" in card
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| {task}, .* \| \*\*([\d.]+) dB\*\*(?: \(([\d.]+)\))? \|$", readme, re.MULTILINE)
    assert len(rows) == readme.count(f"\n| {task}, ") > 0
    assert set(re.findall(r"\d+\.\d\d\b", card)) >= {figure for row in rows for figure in row if figure}


@pytest.mark.parametrize(("task", "at_least_db"), [("derain", 8.0), ("deblur", 0.5), ("denoise", 2.0)])
def test_the_weights_bring_a_sample_closer_to_its_target(task: str, at_least_db: float) -> None:
    restorer = Restorer.from_pretrained(task)
    assert restorer.model.config == preset("lite")
    gains = []
    for path in sorted((SAMPLES / task / "input").iterdir()):
        window = (slice(96, 256), slice(96, 256))
        degraded, target = read_rgb(path)[window], read_rgb(SAMPLES / task / "target" / path.name)[window]
        restored = to_pixels(restorer(to_tensor(degraded)))
        gains.append(rgb_psnr(restored, target, data_range=255) - rgb_psnr(degraded, target, data_range=255))
    assert min(gains) > 0
    assert max(gains) > at_least_db


@pytest.mark.parametrize("kind", ["of each colour", "the same in all colours", "of a grey picture", "not clipped"])
def test_white_noise_goes_whatever_its_colours(kind: str) -> None:
    target = to_tensor(read_rgb(SAMPLES / "denoise" / "target" / "coffee.png")[96:256, 96:256])
    if kind == "of a grey picture":
        target = target.mean(dim=0, keepdim=True).expand(3, -1, -1)
    shape = (3 if kind in ("of each colour", "not clipped") else 1, 160, 160)
    noisy = target + 25 / 255 * torch.randn(shape, generator=torch.Generator().manual_seed(1))
    restored = Restorer.from_pretrained("denoise")(noisy if kind == "not clipped" else noisy.clamp(0, 1))
    error, left = ((picture.clamp(0, 1) - target).square().mean() for picture in (noisy, restored))
    assert 10 * float(torch.log10(error / left)) > 7


def test_the_grain_of_film_goes_where_it_is_not_too_coarse() -> None:
    target = to_tensor(read_rgb(SAMPLES / "denoise" / "target" / "coffee.png")[96:256, 96:256])
    film = FilmGrain(sigma=(15, 15), size_px=(1.2, 1.2), fading=(0, 0), jpeg_share=0)
    grainy = film(target.unsqueeze(0), torch.Generator().manual_seed(1))[0]
    restored = Restorer.from_pretrained("denoise")(grainy)
    error, left = ((picture - target).square().mean() for picture in (grainy, restored))
    assert 10 * float(torch.log10(error / left)) > 4.7


def test_a_file_is_found_by_its_path_and_a_shipped_name_comes_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "derain").touch()
    (tmp_path / "mine.pth").touch()
    assert find_weights("derain").parent == Path(mprnet.weights.__file__).parent
    assert find_weights("mine.pth") == Path("mine.pth")
    with pytest.raises(CheckpointError, match="no weights unknown; expected a file, or one of"):
        find_weights("unknown")


def test_stages_differ_and_all_stay_in_range() -> None:
    restorer = Restorer.from_pretrained("denoise")
    noisy = (0.5 + 0.2 * torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    first, last = restorer(noisy, stage=1), restorer(noisy)
    assert first.shape == last.shape == noisy.shape
    assert not torch.equal(first, last)
    assert 0 <= float(last.min()) <= float(last.max()) <= 1
    assert float(last.std()) < 0.5 * float(noisy.std())


@pytest.mark.parametrize("task", TASKS)
def test_int8_travels_along_and_changes_a_sample_by_less_than_a_fifth_of_a_decibel(task: str) -> None:
    pytest.importorskip("openvino", reason="int8 is OpenVINO's")
    degraded, target = (
        read_rgb(sorted((SAMPLES / task / side).iterdir())[0])[96:256, 96:256] for side in ("input", "target")
    )
    exact, eight_bits = (
        Restorer.from_pretrained(task, backend=backend, precision=precision)
        for backend, precision in (("torch", "fp32"), ("openvino", "int8"))
    )
    figures = [
        rgb_psnr(to_pixels(restorer(to_tensor(degraded))), target, data_range=255) for restorer in (exact, eight_bits)
    ]
    assert figures[0] != figures[1]
    assert figures[1] == pytest.approx(figures[0], abs=0.2)

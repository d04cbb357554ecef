from __future__ import annotations

import importlib
import json

import pytest
import torch
from PIL import Image
from rich.console import Console
from rich.text import Text

from mprnet.bench import Bench, Case, Line, measurement
from mprnet.checkpoints import save_checkpoint
from mprnet.network import MPRNet, MPRNetConfig


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setattr(measurement, "peak_operations", lambda precision, device: 1e11)
    torch.manual_seed(0)
    save_checkpoint(MPRNet(MPRNetConfig(n_feat=8, num_cab=1)), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def quick(command, tiny):
    def run(*arguments):
        few = ("--backend", "torch", "--precision", "fp32", "--runs", 1, "--no-memory")
        return command("bench", "--weights", tiny, *few, *arguments)

    return run


def test_without_a_terminal_each_case_is_a_line(quick):
    answer = quick("--size", "48x32,32x32", "--stage", "1,3")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert [line.partition(": ")[0] for line in lines[:4]] == [
        "tiny 48×32, stage 3, straightforward fp32",
        "tiny 48×32, stage 1, torch fp32",
        "tiny 48×32, stage 3, torch fp32",
        "tiny 32×32, stage 3, straightforward fp32",
    ]
    assert "1.00 times as fast" in lines[0]
    assert "of its share" in lines[1]
    assert lines[6:] == ["peak, measured here: fp32 100 GFLOP/s"]


def test_the_figures_are_written_and_drawn(quick, tmp_path):
    figures, plot = tmp_path / "bench.json", tmp_path / "bench.png"
    answer = quick("--size", "32x32", "--json", figures, "--plot", plot)
    assert answer.code == 0
    assert answer.out.endswith(f"{figures}\n{plot}\n")
    assert [line["engine"] for line in json.loads(figures.read_text())["lines"]] == ["straightforward", "torch"]
    with Image.open(plot) as picture:
        assert picture.size[0] == 1920


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_files_that_exist_are_refused_before_anything_is_measured(quick, tmp_path, option, monkeypatch):
    monkeypatch.setattr(measurement, "peak_operations", lambda *_: pytest.fail("measured"))
    (tmp_path / "there.png").write_text("mine")
    answer = quick(option, tmp_path / "there.png")
    assert (answer.code, answer.out) == (1, "")
    assert "there.png exists; choose another name" in answer.err
    assert (tmp_path / "there.png").read_text() == "mine"


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_folder_that_does_not_exist_is_told_before_anything_is_measured(quick, tmp_path, option, monkeypatch):
    monkeypatch.setattr(measurement, "peak_operations", lambda *_: pytest.fail("measured"))
    answer = quick(option, tmp_path / "nowhere" / "bench.png")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.endswith(f"cannot be written: the folder {tmp_path / 'nowhere'} does not exist\n")


def test_a_bench_that_is_interrupted_shows_what_is_known(quick, monkeypatch):
    class Interrupted(measurement._Entrant):
        def line(self):
            if self.case.engine == "torch" and self.seconds:
                raise KeyboardInterrupt
            return super().line()

    monkeypatch.setattr(measurement, "_Entrant", Interrupted)
    answer = quick("--size", "32x32,16x16")
    assert answer.code == 130
    assert answer.out.startswith("tiny 32×32, stage 3, straightforward fp32: ")
    assert "torch" not in answer.out
    assert answer.err == "mprnet: interrupted; what was measured until then is above\n"


def test_a_stranger_s_name_is_shown_as_it_is():
    line = Line(Case("derain[new]\x1b[2J", (8, 8), 1, "straightforward", "fp32", 3), 1, (1.0,), 1.0)
    assert str(
        Text.from_markup(importlib.import_module("mprnet.cli.bench")._table(Bench({}, {}, (line,), ()), [line]).title)
    ) == ("derain[new]\\x1b[2J at 8×8, medians of 1 runs")


def test_the_widest_table_fits_a_hundred_columns():
    case = Case("derain", (1280, 2560), 16, "straightforward", "fp32", 3)
    lines = [Line(case, 10**13, (123.4, 234.5), 1.0, 12_340_000_000)]
    lines += [
        Line(case._replace(engine="openvino", precision="bf16", stage=stage), macs, (12.3, 98.7), 1.0, 10**10, -0.123)
        for stage, macs in ((1, 10**12), (3, 10**13))
    ]
    found = Bench({}, {"fp32": 1e11, "bf16": 1e13}, tuple(lines), ())
    console = Console(width=100, force_terminal=True)
    with console.capture() as captured:
        console.print(importlib.import_module("mprnet.cli.bench")._table(found, found.lines))
    rows = [line for line in captured.get().splitlines() if "openvino" in line or "straightforward" in line]
    assert len(rows) == 3
    assert all("GB" in row for row in rows)
    assert "-0.123 dB" in rows[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "256"), "--size is '256'; expected WxH in pixels, such as 1280x720"),
        (("--size", "30x32"), "size is 30×32; expected multiples of 8 above 0"),
        (("--stage", "all"), "--stage is 'all'; expected whole numbers with commas between"),
        (("--batch", "1,"), "--batch is '1,'; expected whole numbers with commas between"),
        (("--backend", "fast"), "backend is 'fast'; expected some of torch, compile, openvino, onnx"),
    ],
)
def test_options_that_do_not_fit_are_one_line(command, arguments, message):
    answer = command("bench", *arguments)
    assert (answer.code, answer.out, answer.err) == (1, "", f"mprnet: {message}\n")

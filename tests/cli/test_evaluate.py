"""`mprnet evaluate`, called as from a shell."""

from __future__ import annotations

import json
import shlex
from html import escape

import numpy as np
import pytest
import torch

from mprnet.checkpoints import save_checkpoint
from mprnet.errors import ConfigError
from mprnet.imaging import write_image
from mprnet.network import MPRNet, MPRNetConfig
from mprnet.restoration import Restorer


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(MPRNet(MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=2, num_cab=1)), path)
    return path


@pytest.fixture
def pairs(tmp_path):
    random = np.random.default_rng(0)
    for index in range(3):
        target = random.integers(40, 200, (24, 32, 3)).astype(np.uint8)
        degraded = (target + random.integers(-20, 21, target.shape)).astype(np.uint8)
        for side, pixels in (("input", degraded), ("target", target)):
            (tmp_path / "set" / side).mkdir(parents=True, exist_ok=True)
            write_image(pixels, tmp_path / "set" / side / f"[b]{index}.png")
    return tmp_path / "set"


def test_pairs_are_restored_scored_and_reported(command, pairs, weights, tmp_path):
    out = tmp_path / "out"
    answer = command(
        *("evaluate", "--task", "derain", "--dataset", "pairs", "--data", pairs, "--weights", weights, "--report", out)
    )
    assert (answer.code, answer.err) == (0, "")
    assert str(out / "report.html") in answer.out.replace("\n", "")
    stored = json.loads((out / "results.json").read_text())
    assert stored["protocol"] == "rain"
    assert stored["outputs"] == ["stage1", "stage2", "stage3"]
    assert (stored["measured"], stored["complete"]) == (3, True)
    assert stored["settings"]["method"]["weights"] == "tiny.safetensors"
    assert (out / "results.csv").is_file()
    assert "[b]0" in (out / "report.html").read_text(encoding="utf-8")


def test_the_command_in_the_report_can_be_given_to_a_shell(command, pairs, tmp_path, monkeypatch):
    mine, out = pairs.rename(tmp_path / "my pairs"), tmp_path / "out"
    arguments = ["evaluate", "--task", "derain", "--dataset", "pairs", "--data", str(mine), "--method", "median"]
    arguments += ["--limit", "1", "--report", str(out)]
    monkeypatch.setattr("sys.argv", ["mprnet", *arguments])
    assert command(*arguments).code == 0
    assert escape(shlex.join(["mprnet", *arguments])) in (out / "report.html").read_text(encoding="utf-8")


def test_pictures_are_chosen_by_name(command, pairs, tmp_path):
    out = tmp_path / "out"
    arguments = ("evaluate", "--task", "derain", "--dataset", "pairs", "--data", pairs, "--method", "median")
    answer = command(*arguments, "--report", out, "--picture", "[b]2", "--picture", "?b?0")
    assert (answer.code, answer.err) == (0, "")
    stored = json.loads((out / "results.json").read_text())
    assert list(stored["images"]) == ["[b]0", "[b]2"]
    assert (stored["total"], stored["expected"], stored["complete"]) == (2, 3, False)
    assert "only 2 of 3" in " ".join(answer.out.split())
    answer = command(*arguments, "--report", out, "--picture", "*0", "--picture", "c")
    assert (answer.code, answer.err) == (1, "mprnet: set has no picture 'c'; expected such as [b]0, [b]1\n")


def test_pictures_that_were_not_restored_whole_are_told(command, pairs, weights, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = ("evaluate", "--task", "derain", "--dataset", "pairs", "--data", pairs, "--weights", weights)
    arguments += ("--stage", 1, "--overwrite", "--report", out)
    monkeypatch.setattr(Restorer, "_side", lambda *_: 24)
    answer = command(*arguments)
    assert answer.code == 0
    assert answer.err == (
        "mprnet: tiny.safetensors, stage 1, local pooling: "
        "3 pictures in tiles of 24, not whole, by size or for want of memory\n"
    )
    assert [image["tile_px"] for image in json.loads((out / "results.json").read_text())["images"].values()] == [24] * 3
    assert "tiny.safetensors, stage 1, local pooling: 3 pictures in tiles of 24, not whole." in (
        (out / "report.html").read_text(encoding="utf-8")
    )
    assert command(*arguments, "--tile-px", 24).err == ""


def test_another_stage_in_the_same_folder_is_one_clear_line(command, pairs, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("evaluate", "--task", "derain", "--dataset", "pairs", "--data", pairs, "--weights", weights)
    assert command(*arguments, "--stage", 1, "--limit", 1).code == 0
    answer = command(*arguments, "--limit", 1)
    assert answer.code == 1
    assert "outputs was ['stage1'], now it is" in answer.err
    assert answer.err.count("\n") == 1


def test_a_broken_picture_is_named_and_the_exit_code_says_so(command, pairs, weights, tmp_path):
    (pairs / "input" / "[b]1.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    answer = command(
        *("evaluate", "--task", "denoise", "--dataset", "pairs", "--data", pairs, "--weights", weights),
        *("--stage", 1, "--report", out),
    )
    assert answer.code == 1
    assert "[b]1.png is no picture of a kind that is read here" in answer.err
    assert "only 2 of 3" in " ".join(answer.out.split())
    stored = json.loads((out / "results.json").read_text())
    assert (stored["outputs"], stored["protocol"]) == (["stage1"], "rgb")
    assert list(stored["failed"]) == ["[b]1"]


def test_noise_is_put_into_clean_pictures_for_every_method(command, pairs, weights, tmp_path):
    out = tmp_path / "out"
    answer = command(
        *("evaluate", "--task", "denoise", "--noise", "10,40", "--data", pairs / "target", "--weights", weights),
        *("--stage", 1, "--method", "mprnet", "--method", "dct", "--limit", 1, "--report", out),
    )
    assert answer.code == 0, answer.err
    runs = json.loads((out / "results.json").read_text())["runs"]
    assert [(run["settings"]["method"]["name"], run["settings"]["noise"]["sigma"]) for run in runs] == [
        ("mprnet", 10),
        ("mprnet", 40),
        ("dct", 10),
        ("dct", 40),
    ]
    assert runs[2]["settings"]["method"]["sigma"] == 10
    assert runs[0]["mean"]["input"]["psnr"] == runs[2]["mean"]["input"]["psnr"] > runs[1]["mean"]["input"]["psnr"]
    assert "Methods side by side" in (out / "report.html").read_text(encoding="utf-8")


def test_what_decides_the_pictures_reaches_the_runs(command, pairs, weights, tmp_path):
    arguments = ("evaluate", "--noise", "10", "--data", pairs / "target", "--weights", weights, "--stage", 1)
    arguments += ("--method", "mprnet", "--method", "dct", "--limit", 1, "--report", tmp_path / "out")

    def runs():
        network, baseline = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
        method = network["settings"]["method"]
        told = [method["ensemble"], method.get("scales", 1), method["tile_px"], baseline["settings"]["method"]["sigma"]]
        return told, [run["settings"]["noise"]["seed"] for run in (network, baseline)], network["mean"]["input"]

    changed = command(*arguments, "--seed", 3, "--blind", "--ensemble", "--scales", 2, "--tile-px", 128)
    assert changed.code == 0, changed.err
    told, seeds, other_noise = runs()
    assert (told, seeds) == ([True, 2, 128, None], [3, 3])
    refused = command(*arguments)
    assert refused.code == 1
    assert "holds results of another run" in refused.err
    assert command(*arguments, "--overwrite").code == 0
    told, seeds, noise = runs()
    assert (told, seeds) == ([False, 1, None, 10], [0, 0])
    assert noise != other_noise


def test_a_published_set_that_is_not_complete_needs_a_word(command, pairs, weights, tmp_path):
    arguments = ("evaluate", "--dataset", "rain100h", "--data", pairs, "--weights", weights, "--stage", 1)
    refused = command(*arguments, "--report", tmp_path / "out")
    assert refused.code == 1
    assert refused.err.startswith("mprnet: ")
    assert not (tmp_path / "out").exists()
    taken = command(*arguments, "--partial", "--report", tmp_path / "out")
    assert taken.code == 0, taken.err
    assert "only 3 of 100" in " ".join(taken.out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing says what to measure"),
        (("--dataset", "pairs"), "nothing says what to undo"),
        (("--dataset", "pairs", "--task", "dehaze"), "--task is 'dehaze'"),
        (("--dataset", "moon"), "unknown benchmark 'moon'"),
        (("--noise", "a,b"), "--noise is 'a,b'; expected standard deviations such as 10,20,40"),
        (("--noise", "10", "--task", "derain"), "expected --task denoise and no --dataset"),
        (("--dataset", "gopro", "--protocol", "rain"), "expected no --protocol"),
        (("--dataset", "pairs", "--task", "derain", "--protocol", "moon"), "unknown protocol 'moon'"),
        (("--dataset", "pairs", "--task", "derain", "--stage", "4"), "--stage is '4'; expected 1, 2, 3 or all"),
        (("--dataset", "pairs", "--task", "derain", "--method", "magic"), "unknown method 'magic'"),
        (("--dataset", "pairs", "--task", "derain", "--seed", "3"), "--seed and --blind are for --noise"),
        (("--dataset", "pairs", "--task", "derain", "--blind"), "--seed and --blind are for --noise"),
        (("--noise", "10", "--partial"), "--partial is for published test sets"),
        (("--dataset", "pairs", "--task", "derain", "--partial"), "--partial is for published test sets"),
    ],
)
def test_what_does_not_go_together_is_one_clear_line(command, pairs, arguments, message):
    answer = command("evaluate", "--data", pairs, *arguments)
    assert answer.code == 1
    assert message in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    "option",
    [
        ("--weights", "x"),
        ("--stage", "1"),
        ("--local",),
        ("--no-local",),
        ("--ensemble",),
        ("--scales", "2"),
        ("--tile-px", "128"),
        ("--backend", "torch"),
        ("--precision", "fp32"),
        ("--device", "cpu"),
    ],
)
def test_what_is_for_the_network_alone_is_refused_without_it(command, pairs, tmp_path, option):
    arguments = ("evaluate", "--dataset", "pairs", "--task", "derain", "--data", pairs, "--method", "median")
    answer = command(*arguments, *option, "--report", tmp_path / "out")
    reason = "there are options for the network; expected --method mprnet among the methods, or none"
    assert answer == (1, "", f"mprnet: {reason}\n")
    assert not (tmp_path / "out").exists()


def test_the_engine_decides_on_which_device_beside_a_gpu_too(command, pairs, weights, tmp_path, monkeypatch):
    opened = []

    def from_pretrained(name, **options):
        opened.append(options)
        raise ConfigError("that is all")

    monkeypatch.setattr(Restorer, "from_pretrained", from_pretrained)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    answer = command(
        *("evaluate", "--task", "derain", "--dataset", "pairs", "--data", pairs, "--weights", weights),
        *("--precision", "int8", "--report", tmp_path / "out"),
    )
    assert answer.err == "mprnet: that is all\n"
    assert (opened[0]["precision"], opened[0].get("device")) == ("int8", None)


def test_what_decides_how_it_is_computed_reaches_the_network(command, pairs, weights, tmp_path, monkeypatch):
    asked = []

    def from_pretrained(name, **options):
        asked.append(options)
        raise ConfigError("that is all")

    monkeypatch.setattr(Restorer, "from_pretrained", from_pretrained)
    answer = command(
        *("evaluate", "--task", "derain", "--dataset", "pairs", "--data", pairs, "--weights", weights),
        *("--backend", "onnx", "--precision", "fp16", "--device", "cuda:1", "--local", "--report", tmp_path / "out"),
    )
    assert answer == (1, "", "mprnet: that is all\n")
    expected = {"task": "derain", "backend": "onnx", "precision": "fp16", "device": "cuda:1", "local": True}
    assert {name: asked[0][name] for name in expected} == expected


def test_what_another_program_restored_stands_under_the_name_of_its_folder(command, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs = (pairs / "target").rename(tmp_path / "theirs")
    (pairs / "target").mkdir()
    for path in theirs.iterdir():
        (pairs / "target" / path.name).write_bytes(path.read_bytes())
    (theirs / "[b]2.png").unlink()
    arguments = ("evaluate", "--task", "deblur", "--dataset", "pairs", "--data", pairs, "--restored", theirs)
    answer = command(*arguments, "--trained-on", "gopro")
    assert answer.code == 1
    assert answer.err.endswith("theirs holds no picture for [b]2; expected one\n")
    stored = json.loads((tmp_path / "evaluation" / "set-theirs" / "results.json").read_text())
    assert (stored["mean"]["psnr"], stored["measured"], stored["total"]) == (float("inf"), 2, 3)
    method = stored["settings"]["method"]
    assert (method["name"], method["restored"], method["trained_on"]) == ("theirs", "theirs", "gopro")
    assert (tmp_path / "evaluation" / "set-theirs" / "report.html").is_file()


def test_what_the_network_has_learned_from_can_be_said(command, pairs, weights, tmp_path):
    arguments = ("evaluate", "--task", "derain", "--dataset", "pairs", "--data", pairs, "--weights", weights)
    arguments += ("--stage", 1, "--limit", 1, "--report", tmp_path / "out")
    assert command(*arguments, "--trained-on", "rain13k").code == 0
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert stored["settings"]["method"]["trained_on"] == "rain13k"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--restored", ".", "--method", "median"), "expected no --method, no --noise"),
        (("--restored", ".", "--weights", "x"), "there are options for the network"),
        (("--restored", ".", "--stage", "1"), "there are options for the network"),
        (("--method", "median", "--trained-on", "gopro"), "--trained-on is for what has learned"),
    ],
)
def test_what_does_not_go_with_a_folder_of_restored_pictures_is_one_line(command, pairs, arguments, message):
    answer = command("evaluate", "--data", pairs, "--task", "derain", "--dataset", "pairs", *arguments)
    assert answer.code == 1
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_a_report_of_pictures_that_can_no_longer_be_measured_is_not_left_as_if_it_were_new(command, pairs, tmp_path):
    arguments = ("evaluate", "--task", "derain", "--dataset", "pairs", "--data", pairs, "--method", "median")
    arguments += ("--report", tmp_path / "out")
    assert command(*arguments).code == 0
    assert (tmp_path / "out" / "report.html").is_file()
    for path in (pairs / "input").iterdir():
        path.write_bytes(b"no picture")
    answer = command(*arguments)
    assert answer.code == 1
    assert "report.html" not in answer.out
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_set_may_have_the_name_of_a_column_of_the_paper(command, pairs, tmp_path):
    named = pairs.rename(tmp_path / "average")
    answer = command(
        *("evaluate", "--task", "derain", "--dataset", "pairs", "--data", named, "--method", "median", "--limit", 1),
        *("--report", tmp_path / "out"),
    )
    assert (answer.code, answer.err) == (0, "")

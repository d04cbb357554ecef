"""What programs call: names where the documents say they are, and arguments as people give them."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

import mprnet
from mprnet import evaluation
from mprnet.checkpoints import save_checkpoint, save_official
from mprnet.cli import app
from mprnet.datasets import list_pictures, pair_folders
from mprnet.degradation import GaussianNoise, Rain
from mprnet.errors import CheckpointError, ConfigError, ExportError, MPRNetError
from mprnet.evaluation import Method, Run, evaluate, evaluate_all, noisy_set, paired_set, read_results, score_folders
from mprnet.export import calibration_crops, open_exported, read_about
from mprnet.imaging import compare, read_image, write_image
from mprnet.network import MPRNet, MPRNetConfig
from mprnet.restoration import Restorer, restore_files, restore_picture, restore_video

ROOT = Path(__file__).resolve().parent.parent
NEEDS = {"training": "lightning", "web": "gradio"}
"""Rooms that cannot be entered without a package of an extra."""
NAMED = {
    name
    for pattern in ("README.md", "docs/*.md", "src/**/*.md", "src/**/*.py")
    for path in ROOT.glob(pattern)
    for name in re.findall(r"`(mprnet(?:\.\w+)+)", path.read_text(encoding="utf-8"))
}
"""What the documents, and those in the code, call by its whole name."""


@pytest.fixture(scope="module")
def restorer():
    return Restorer(MPRNet(MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=2, num_cab=1)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side in ("input", "target"):
        (tmp_path / side).mkdir()
        write_image(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8), tmp_path / side / "a.png")
    return tmp_path


@pytest.mark.parametrize("room", ["", *sorted(mprnet._ROOMS)])
def test_what_a_room_promises_is_there(room):
    if room in NEEDS:
        pytest.importorskip(NEEDS[room], reason=f"needs {NEEDS[room]}, of an extra")
    module = importlib.import_module(f"mprnet.{room}" if room else "mprnet")
    for name in getattr(module, "__all__", ()):  # files of one idea have none; what of them is public is named below
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        module.nothing  # noqa: B018


@pytest.mark.parametrize("name", sorted(NAMED))
def test_what_the_documents_name_is_there(name):
    for room, package in NEEDS.items():
        if name.startswith(f"mprnet.{room}."):
            pytest.importorskip(package, reason=f"needs {package}, of an extra")
    assert pkgutil.resolve_name(name) is not None


def test_every_command_has_calls_that_are_there():
    for package in NEEDS.values():
        pytest.importorskip(package, reason=f"needs {package}, of an extra")
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `mprnet (\w+)` \| (.+) \|$", text, re.MULTILINE))
    assert table.keys() == get_command(app).commands.keys()
    for calls in table.values():
        rooms = [mprnet, *(getattr(mprnet, room) for room in mprnet._ROOMS if f"`mprnet.{room}" in calls)]
        for name in re.findall(r"`(\w+)`", calls):
            assert any(hasattr(room, name) for room in rooms), name


def test_rooms_are_reached_without_being_imported():
    program = "import mprnet; print(mprnet.restoration.restore_files.__name__, 'training' in dir(mprnet))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["restore_files", "True"]


@pytest.mark.parametrize("given", [str, lambda path: path, lambda path: [path]])
def test_one_picture_may_be_given_by_itself(restorer, folder, given):
    report = restore_files(restorer, given(folder / "input" / "a.png"), "out")
    assert [job.target.as_posix() for job in report.restored] == ["out/a.png"]
    assert not report.failures
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "mprnet-log.jsonl"]


def test_one_network_may_be_given_by_itself_and_none_is_one_line(restorer, folder):
    restore_picture(restorer, "input/a.png", "one.png")
    restore_picture([restorer], "input/a.png", "several.png")
    assert np.array_equal(read_image("one.png").pixels, read_image("several.png").pixels)
    for call in (restore_files, restore_picture, restore_video):
        with pytest.raises(ConfigError, match=r"^no restorers are given"):
            call([], "input/a.png", "out.mp4")


def test_paths_may_be_text(folder):
    assert len(pair_folders(".")) == len(list_pictures("input")) == 1
    assert score_folders("input", "target", "rgb").mean.ssim == 1
    compare([("input", "target")], "sheet.png")
    half = Method("half", lambda degraded: {"restored": (degraded + 0.5) / 2}, ("restored",))
    evaluate(Run(paired_set(".", "denoise"), half), "one")
    evaluate_all([Run(noisy_set("target", sigma), half, {"sigma": sigma, "seed": 0}) for sigma in (10, 20)], "two")
    assert [len(read_results(name)) for name in ("one", "two")] == [1, 2]
    evaluation.write_report("report.html", read_results("two"), [])
    assert (folder / "report.html").exists()


def test_a_task_that_is_none_is_one_line(restorer, folder):
    save_official(restorer.model, folder / "a.pth")
    with pytest.raises(ConfigError, match=r"^task is 'Derain'; expected one of "):
        Restorer.from_pretrained("a.pth", task="Derain")
    with pytest.raises(ConfigError, match=r"^task is 'rain'; expected one of "):
        paired_set(".", "rain")


def test_a_network_is_measured_by_its_shipped_name(restorer, folder):
    assert evaluation.network_method(restorer, "denoise").facts["weights"] == "denoise.safetensors"
    with pytest.raises(CheckpointError, match="no weights nothing"):
        evaluation.network_method(restorer, "nothing")


@pytest.mark.parametrize("name", ["a.onnx", "a.xml", "a.pt2"])
@pytest.mark.parametrize("call", [open_exported, read_about])
def test_an_export_that_is_missing_or_damaged_is_one_line(folder, name, call):
    for package in {"a.onnx": ("onnx", "onnxruntime"), "a.xml": ("openvino",), "a.pt2": ()}[name]:
        pytest.importorskip(package, reason=f"needs {package}, of an extra")
    with pytest.raises(ExportError, match="does not exist"):
        call(name)
    (folder / name).write_bytes(b"nothing of the kind")
    with pytest.raises(MPRNetError) as error:
        call(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("choices", "said"), [({"count": 0}, "count is 0"), ({"crop_px": 12}, "crop_px is 12; expected a multiple of 8")]
)
def test_crops_that_cannot_be_are_refused_before_they_are_drawn(folder, choices, said):
    with pytest.raises(ConfigError, match=said):
        calibration_crops("target", "denoise", **choices)


def test_numbers_may_be_numpy_s():
    assert GaussianNoise((np.int64(10), np.float32(20))).sigma == (10, 20)


def test_the_extra_for_all_names_every_other():
    project = Path(__file__).parents[1] / "pyproject.toml"
    extras = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras.pop("all") == [f"mprnet[{','.join(sorted(extras))}]"]


@pytest.mark.parametrize("sigma", [25, [10, 20], (10,), (10, "20")])
def test_a_range_that_is_none_is_one_line(sigma):
    with pytest.raises(ConfigError, match=r"^sigma is .*; expected \(lowest, highest\)$"):
        GaussianNoise(sigma)
    with pytest.raises(ConfigError, match=r"^dry_share is \(0, 1\); expected a number$"):
        Rain(dry_share=(0, 1))


def test_weights_that_do_not_say_their_task_are_exported_with_it_alone(restorer, folder):
    from mprnet.export import export_weights

    pytest.importorskip("nncf", reason="needs the extra int8 (NNCF)")
    save_checkpoint(restorer.model, "a.safetensors")
    with pytest.raises(ConfigError, match="does not say what it undoes; say the task, too"):
        export_weights("a.safetensors", "a.xml", format="openvino", precision="int8", calibrate="target")

from __future__ import annotations

import numpy as np
import pytest
import torch

from mprnet.backends import fingerprint
from mprnet.checkpoints import load_checkpoint, save_checkpoint
from mprnet.export import open_exported, read_about
from mprnet.imaging import write_image
from mprnet.network import MPRNet, MPRNetConfig


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "ours.safetensors"
    save_checkpoint(MPRNet(MPRNetConfig(n_feat=8, num_cab=1)), path, metadata={"task": "denoise", "provenance": "here"})
    return path


def test_three_differences_are_printed_and_the_file_is_kept(command, weights, tmp_path):
    output = tmp_path / "network.pt2"
    answer = command("export", "--weights", weights, "--format", "torchexport", "--stage", "1", "-o", output)
    assert (answer.code, answer.err) == (0, "")
    *differences, last = answer.out.splitlines()
    assert last == str(output)
    assert len(differences) == 3
    assert all("differs from torch by" in line for line in differences)
    assert read_about(output)["provenance"] == "here"
    assert len(open_exported(output)(torch.rand(1, 3, 9, 11))) == 1


def test_eight_bits_are_calibrated_with_a_folder_of_clean_pictures(command, weights, tmp_path):
    pytest.importorskip("nncf", reason='quantization needs pip install "mprnet[int8]"')
    (tmp_path / "clean").mkdir()
    ramp = np.linspace(0, 255, 160 * 160 * 3).reshape(160, 160, 3).astype(np.uint8)
    write_image(ramp, tmp_path / "clean" / "ramp.png")
    output = tmp_path / "ours.int8.xml"
    answer = command(
        *("export", "--weights", weights, "--format", "openvino", "--precision", "int8", "--stage", "all"),
        *("--calibrate", tmp_path / "clean", "--crops", "2", "-o", output),
    )
    assert (answer.code, answer.err) == (0, "")
    assert output.with_suffix(".bin").is_file()
    assert read_about(output)["fingerprint"] == fingerprint(load_checkpoint(weights))
    assert read_about(output)["stages"] == "1,2,3"


def test_a_task_that_the_weights_do_not_say_is_written_and_another_one_refused(command, weights, tmp_path):
    save_checkpoint(load_checkpoint(weights), bare := tmp_path / "bare.safetensors")
    output = tmp_path / "network.pt2"
    arguments = ("export", "--format", "torchexport", "--stage", "1", "-o", output, "--task", "derain", "--weights")
    answer = command(*arguments, weights)
    assert answer.code == 1
    assert "has weights for 'denoise'; expected those for derain" in answer.err
    assert command(*arguments, bare).code == 0
    assert read_about(output)["task"] == "derain"


@pytest.mark.parametrize("stage", ["2", "3", "all"])
def test_stages_that_were_not_trained_are_refused(command, weights, tmp_path, stage):
    first = tmp_path / "first.safetensors"
    save_checkpoint(load_checkpoint(weights), first, metadata={"trained_stages": "1"})
    output = tmp_path / "network.pt2"
    answer = command("export", "--weights", first, "--format", "torchexport", "--stage", stage, "-o", output)
    assert answer.code == 1
    assert f"stage is {stage}, and the last stage of this network that was trained is 1" in answer.err
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "onnx"), "nothing says what to export"),
        (("--format", "onnx", "--task", "dehaze"), "--task is 'dehaze'"),
        (("--format", "onnx", "--task", "derain", "--crops", "3"), "--crops is 3"),
        (("--format", "gif", "--task", "derain"), "format is 'gif'"),
        (("--format", "torchexport", "--task", "derain", "--stage", "4"), "stage is 4"),
        (("--format", "openvino", "--task", "derain", "--precision", "int8"), "--calibrate FOLDER"),
    ],
)
def test_a_mistake_is_one_line(command, tmp_path, arguments, message):
    answer = command("export", *arguments, "-o", tmp_path / "network.pt2")
    assert answer.code == 1
    assert answer.err.startswith("mprnet: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert not list(tmp_path.iterdir())

from __future__ import annotations

import pytest
import torch

from mprnet.checkpoints import load_checkpoint, read_metadata, save_checkpoint
from mprnet.network import MPRNet, MPRNetConfig


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "ours.safetensors"
    save_checkpoint(MPRNet(MPRNetConfig(n_feat=6, num_cab=1)), path, metadata={"task": "derain"})
    return path


def test_there_and_back_is_the_same_file(command, weights, tmp_path):
    published, back = tmp_path / "published.pth", tmp_path / "back.safetensors"
    assert command("convert", weights, published) == (0, f"{published}\n", "")
    assert command("convert", published, back).code == 0
    assert back.read_bytes() == weights.read_bytes()
    assert read_metadata(back) == {"task": "derain"}


def test_what_is_published_has_the_published_names(command, weights, tmp_path):
    assert command("convert", "--to", "official", weights, tmp_path / "weights").code == 0
    names = torch.load(tmp_path / "weights", weights_only=True)["state_dict"]
    assert "stage3_orsnet.orb1.body.0.CA.conv_du.0.weight" in names
    assert load_checkpoint(tmp_path / "weights").config == load_checkpoint(weights).config


def test_an_existing_file_is_kept_unless_overwritten(command, weights, tmp_path):
    target = tmp_path / "published.pth"
    target.write_text("precious")
    answer = command("convert", weights, target)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"mprnet: {target} exists; ")
    assert target.read_text() == "precious"
    assert command("convert", weights, target, "--overwrite").code == 0
    assert load_checkpoint(target).config.n_feat == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.pth", "a.safetensors"), "none.pth does not exist"),
        (("ours.safetensors", "a.pth", "--to", "onnx"), "to is 'onnx'; expected official or mprnet"),
        (("ours.safetensors", "a.pth", "--to", "mprnet"), "expected a path that ends in .safetensors"),
        (("ours.safetensors", "none/a.pth"), "the folder none does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_a_failure(command, weights, monkeypatch, arguments, message):
    monkeypatch.chdir(weights.parent)
    answer = command("convert", *arguments)
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert message in answer.err
    assert list(weights.parent.iterdir()) == [weights]

from __future__ import annotations

import pytest

from mprnet.checkpoints import save_checkpoint
from mprnet.network import PRESETS, MPRNet, MPRNetConfig


def test_a_preset_s_cost_is_shown_stage_by_stage(command):
    answer = command("info", "deblur")
    assert (answer.code, answer.err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in answer.out.splitlines() if "│" in line]
    assert rows[:3] == [
        ["1", "5,754,817", "5,754,817", "108.57 G", "108.57 G", "14.3%"],
        ["2", "6,063,840", "11,818,657", "122.25 G", "230.82 G", "30.4%"],
        ["3", "8,308,416", "20,127,073", "528.60 G", "759.41 G", "100.0%"],
    ]
    assert "n_feat 96" in answer.out


def test_shipped_weights_are_shown_beside_the_preset_of_their_name(command):
    answer = command("info", "derain")
    assert "preset derain at 256×256" in answer.out
    assert "shipped weights derain at 256×256" in answer.out
    assert "3,637,249" in answer.out
    assert "1,032,937" in answer.out
    assert "task: derain" in answer.out


def test_without_a_name_every_preset_is_shown(command):
    answer = command("info", "--size", "64x64")
    assert [f"{name} at 64×64" in answer.out for name in PRESETS] == [True] * len(PRESETS)


def test_a_weights_file_is_shown_with_its_metadata(command, tmp_path):
    path = tmp_path / "w.safetensors"
    config = MPRNetConfig(n_feat=6, num_cab=1, downsampling="maxpool")
    save_checkpoint(MPRNet(config), path, metadata={"task": "derain", "provenance": "[bold]a test[/bold]"})
    answer = command("info", path, "--size", "16x24")
    assert answer.code == 0
    assert "16×24" in answer.out
    assert "n_feat 6" in answer.out
    assert "maxpool" in answer.out
    assert answer.out.endswith("provenance: [bold]a test[/bold]\ntask: derain\n")


def test_what_a_file_says_does_not_command_the_terminal(command, tmp_path):
    path = tmp_path / "w.safetensors"
    save_checkpoint(MPRNet(MPRNetConfig(n_feat=6, num_cab=1)), path, metadata={"provenance": "a\x1b]0;title\a"})
    assert command("info", path).out.endswith("provenance: a\\x1b]0;title\\x07\n")
    answer = command("info", tmp_path / "\x1b[2J.pth")
    assert (answer.code, "\x1b" in answer.err) == (1, False)


@pytest.mark.parametrize("size", ["250x256", "0x8", "256", "axb", "-8x8"])
def test_a_size_that_does_not_fit_is_refused(command, size):
    answer = command("info", "lite", f"--size={size}")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"mprnet: --size is '{size}'; expected WxH in multiples of 8, such as 1280x720\n"


def test_an_unknown_name_is_refused_with_those_there_are(command):
    answer = command("info", "dehaze")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("mprnet: 'dehaze' is no preset and no file; expected one of derain, ")


def test_a_damaged_file_is_one_line(command, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"junk")
    answer = command("info", tmp_path / "w.pth")
    assert answer.code == 1
    assert answer.err.count("\n") == 1

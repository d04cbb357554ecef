from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch
from PIL import Image

from mprnet.checkpoints import save_checkpoint
from mprnet.network import MPRNet, MPRNetConfig


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    network = MPRNet(MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=2, num_cab=1))
    save_checkpoint(network, path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with two pictures of odd size."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (13, 7), "teal").save(name)
    return tmp_path


def test_pictures_are_restored_and_named(command, weights, folder):
    answer = command("restore", "--weights", weights, "a.png", "b.jpg")
    assert answer == (0, "a.png -> a_restored.png\nb.jpg -> b_restored.jpg\n2 restored, 0 failed\n", "")
    for name in ("a_restored.png", "b_restored.jpg"):
        with Image.open(name) as image:
            assert image.size == (13, 7)


def test_a_single_picture_goes_where_it_is_told(command, weights, folder):
    assert command("restore", "--weights", weights, "a.png", "-o", "new.jpg") == (0, "a.png -> new.jpg\n", "")
    with Image.open("new.jpg") as image:
        assert image.format == "JPEG"


def test_the_stage_is_chosen(command, weights, folder):
    for stage in (1, 2, 3):
        assert command("restore", "--weights", weights, "a.png", "-o", f"{stage}.png", "--stage", stage).code == 0
    assert command("restore", "--weights", weights, "a.png", "-o", "last.png").code == 0
    results = {name: (folder / f"{name}.png").read_bytes() for name in ("1", "2", "3", "last")}
    assert results["3"] == results["last"]
    assert len(set(results.values())) == 3


def test_a_failed_picture_is_one_line_and_a_failure_while_the_others_are_done(command, weights, folder):
    (folder / "broken.png").write_bytes(b"")
    answer = command("restore", "--weights", weights, "a.png", "broken.png", "b.jpg", "-o", "out")
    assert answer.code == 1
    assert answer.err == "mprnet: broken.png is empty (0 bytes); copy or download it again\n"
    assert answer.out.endswith("2 restored, 1 failed\n")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "b.jpg"]


def test_what_exists_is_replaced_only_when_asked(command, weights, folder):
    (folder / "a_restored.png").write_text("precious")
    answer = command("restore", "--weights", weights, "a.png")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("mprnet: a_restored.png exists; ")
    assert (folder / "a_restored.png").read_text() == "precious"
    assert command("restore", "--weights", weights, "a.png", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png",), "nothing says what to undo; give --task derain|deblur|denoise, or --weights"),
        (("a.png", "--task", "dehaze"), "--task is 'dehaze'; expected one of derain, deblur, denoise"),
        (("a.png", "--weights", "none.pth"), "no weights none.pth"),
    ],
)
def test_a_mistake_is_one_line_and_a_failure(command, folder, arguments, message):
    answer = command("restore", *arguments)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"mprnet: {message}")
    assert answer.err.count("\n") == 1


def test_on_a_terminal_a_bar_is_shown_and_what_is_piped_stays_plain(command, weights, folder, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    (folder / "broken.png").write_bytes(b"")
    answer = command("restore", "--weights", weights, "a.png", "broken.png")
    assert answer.out == "a.png -> a_restored.png\n1 restored, 1 failed\n"
    assert "2/2" in answer.err
    assert " s each, 0:00:0" in answer.err
    assert "mprnet: broken.png is empty" in answer.err


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes for a name")
def test_a_name_that_is_no_text_is_shown_as_well_as_can_be(command, weights, folder):
    (folder / "a.png").rename(os.fsdecode(b"\xff.png"))
    assert command("restore", "--weights", weights, os.fsdecode(b"\xff.png")).out == (
        "\\udcff.png -> \\udcff_restored.png\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently")
def test_an_interrupt_ends_cleanly_and_keeps_what_was_finished(weights, folder):
    Image.new("RGB", (3000, 3000)).save("large.png")
    # What starts in the background of a shell inherits that interrupts are ignored: not so here.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = [sys.executable, "-c", f"{heed}; import mprnet.cli; mprnet.cli.main()"]
    with subprocess.Popen(
        [*program, "restore", "--weights", weights, "a.png", "large.png"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "a.png -> a_restored.png\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "mprnet: interrupted; what was finished is kept\n")
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "a_restored.png", "b.jpg", "large.png"]

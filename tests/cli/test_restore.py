from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin

import mprnet.cli
from mprnet.backends import fingerprint
from mprnet.checkpoints import save_checkpoint
from mprnet.cli import main
from mprnet.errors import ConfigError
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


def test_what_a_folder_leaves_out_is_counted_in_one_line(command, weights, folder):
    for name in ("clip.MOV", "other.mov", "raw.DNG"):
        Path(name).write_text("no picture")
    answer = command("restore", "--weights", weights, ".", "-o", "out")
    assert (answer.code, answer.err) == (0, "mprnet: left out: 2 .mov, 1 .dng\n")


def test_on_windows_too_names_and_patterns_come_as_they_were_given(monkeypatch):
    asked = []
    monkeypatch.setattr(mprnet.cli, "app", lambda **options: asked.append(options))
    main()
    assert asked == [{"windows_expand_args": False}]  # of Click, which would look patterns up, quoted ones too


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
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "b.jpg", "mprnet-log.jsonl"]


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
        (("a.png", "--task", "derain,fog"), "--task is 'fog'; expected one of derain, deblur, denoise"),
        (("a.png", "--task", "derain,deblur", "--weights", "w.pth"), "--weights stand for one task, but --task names"),
        (("a.png", "--task", "derain", "--stage", "4"), "stage is 4; expected 1, 2, 3 or auto"),
        (("a.png", "--task", "derain", "--stage", "last"), "stage is 'last'; expected 1, 2, 3 or auto"),
        (("a.png", "--task", "derain", "--stage", "auto"), "stage 'auto' and a budget of seconds belong together"),
        (("a.png", "--task", "derain", "--strength", "2"), "strength is 2.0; expected 0 to 1"),
        (("a.png", "--task", "derain", "--format", "psd"), "'psd' is no format of pictures"),
        (("-", "a.png", "--task", "derain"), "a pipe takes one picture, but 2 inputs are given; give - alone"),
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


def test_what_is_done_is_skipped_and_a_changed_setting_is_not(command, weights, folder):
    words = ("restore", "--weights", weights, "a.png", "b.jpg", "-o", "out")
    assert command(*words).code == 0
    assert command(*words) == (0, "0 restored, 2 skipped, 0 failed\n", "")
    assert command("restore", "--weights", weights, "a.png", "-o", "out").out == "0 restored, 1 skipped, 0 failed\n"
    answer = command(*words, "--stage", "1")
    assert (answer.code, answer.out) == (1, "0 restored, 2 failed\n")
    assert "out/a.png exists, and it was restored with other settings" in answer.err.replace("\\", "/")
    assert command(*words, "--stage", "1", "--overwrite").out.endswith("2 restored, 0 failed\n")


def test_a_log_can_be_asked_for(command, weights, folder):
    words = ("restore", "--weights", weights, "a.png", "--log", "log.jsonl")
    assert command(*words).code == 0
    assert command(*words) == (0, "0 restored, 1 skipped, 0 failed\n", "")
    assert (folder / "log.jsonl").read_text().count("\n") == 6


def test_a_quoted_pattern_is_looked_up(command, weights, folder):
    answer = command("restore", "--weights", weights, "*.png", "-o", "out")
    assert answer == (0, f"a.png -> {Path('out', 'a.png')}\n", "")


def test_several_tasks_follow_each_other(command, folder, monkeypatch):
    from mprnet.restoration import Restorer

    seen = []

    def restore_pixels(self, pixels, *, out=None, **more):
        seen.append((fingerprint(self.model), pixels.dtype.name))
        return pixels

    monkeypatch.setattr(Restorer, "restore_pixels", restore_pixels)
    assert command("restore", "--task", "denoise,deblur", "a.png").code == 0
    expected = [fingerprint(Restorer.from_pretrained(task).model) for task in ("denoise", "deblur")]
    assert len(set(expected)) == 2
    assert seen == [(network, "uint16") for network in expected]


def test_what_decides_the_picture_reaches_the_network(command, weights, folder, monkeypatch):
    from mprnet.restoration import Restorer

    seen = []

    def restore_pixels(self, pixels, *, out=None, stage, strength, progress):
        seen.append((self.is_local, self.ensemble, self.scales, self.tile_px, stage, strength))
        return pixels

    monkeypatch.setattr(Restorer, "restore_pixels", restore_pixels)
    options = ("--local", "--ensemble", "--scales", "2", "--tile-px", "128", "--stage", "2", "--strength", "0.5")
    assert command("restore", "--weights", weights, "a.png", *options).code == 0
    assert seen == [(True, True, 2, 128, 2, 0.5)]


def test_what_decides_how_it_is_computed_reaches_the_network(command, weights, folder, monkeypatch):
    from mprnet.restoration import Restorer

    asked = []

    def from_pretrained(name, **options):
        asked.append(options)
        raise ConfigError("that is all")

    monkeypatch.setattr(Restorer, "from_pretrained", from_pretrained)
    options = ("--backend", "onnx", "--precision", "fp16", "--device", "cuda:1", "--local")
    answer = command("restore", "--weights", weights, "a.png", *options)
    assert answer == (1, "", "mprnet: that is all\n")
    expected = {"backend": "onnx", "precision": "fp16", "device": "cuda:1", "local": True}
    assert {name: asked[0][name] for name in expected} == expected


def test_strength_zero_changes_nothing(command, weights, folder):
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save("noise.png")
    assert command("restore", "--weights", weights, "noise.png", "--strength", "0").code == 0
    with Image.open("noise_restored.png") as image:
        np.testing.assert_array_equal(np.asarray(image), noise)


def test_the_ensemble_and_the_budget_are_taken(command, weights, folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save("noise.png")
    words = ("restore", "--weights", weights, "noise.png", "-o")
    assert command(*words, "plain.png").code == 0
    assert command(*words, "mean.png", "--ensemble").code == 0
    assert command(*words, "auto.png", "--stage", "auto", "--budget-seconds", "1e-9").code == 0
    assert command(*words, "first.png", "--stage", "1").code == 0
    assert (folder / "auto.png").read_bytes() == (folder / "first.png").read_bytes()
    assert (folder / "mean.png").read_bytes() != (folder / "plain.png").read_bytes()


def test_before_and_after_are_laid_side_by_side(command, weights, folder, monkeypatch):
    from mprnet.restoration import Restorer

    monkeypatch.setattr(Restorer, "restore_pixels", lambda self, pixels, **more: 255 - pixels)
    Image.new("RGB", (200, 100), "teal").save("wide.png")
    assert command("restore", "--weights", weights, "wide.png", "-o", "out", "--compare").code == 0
    with Image.open("out/wide_compare.jpg") as image:
        strip = np.asarray(image).astype(int)
    before, after = (
        np.flatnonzero((np.abs(strip - colour).max(axis=2) < 20).sum(axis=0) > 80)
        for colour in ((0, 128, 128), (255, 127, 127))
    )
    assert min(len(before), len(after)) > 190
    assert before.max() < after.min()


def test_format_quality_and_subsampling_are_taken(command, weights, folder):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save("noise.png")
    words = ("restore", "--weights", weights, "noise.png", "--format", "jpg", "-o")
    asked = {"good": (), "small": ("--quality", "30"), "coarse": ("--subsampling", "4:2:0")}
    sampling, size = {}, {}
    for name, options in asked.items():
        assert command(*words, name, *options).code == 0
        with Image.open(folder / name / "noise.jpg") as image:
            sampling[name] = JpegImagePlugin.get_sampling(image)
        size[name] = (folder / name / "noise.jpg").stat().st_size
    assert sampling == {"good": 0, "small": 0, "coarse": 2}
    assert size["small"] < size["good"] / 2


PROGRAM = [sys.executable, "-c", "import mprnet.cli; mprnet.cli.main()"]


def test_a_picture_goes_through_a_pipe_both_ways(weights, folder):
    def pipe(*words, given=None):
        command = [*PROGRAM, "restore", "--weights", weights, *words]
        return subprocess.run(command, input=given, capture_output=True, timeout=120)

    done = pipe("-", given=(folder / "b.jpg").read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert (image.format, image.size) == ("JPEG", (13, 7))
    assert pipe("-", "-o", "new/c.png", "--format", "png", given=done.stdout).stdout == b""
    from_file = pipe("new/c.png", "-o", "-", "--format", "webp")
    with Image.open(io.BytesIO(from_file.stdout)) as image:
        assert image.format == "WEBP"


def test_through_a_pipe_too_the_name_and_the_format_agree(weights, folder):
    command = [*PROGRAM, "restore", "--weights", weights, "-", "-o", "c.png", "--format", "webp"]
    done = subprocess.run(command, input=(folder / "b.jpg").read_bytes(), capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (
        1,
        b"mprnet: output is the file c.png, which is no WEBP; name it *.webp\n",
    )
    assert not (folder / "c.png").exists()


def test_what_is_no_picture_sends_nothing_through_a_pipe(weights, folder):
    command = [*PROGRAM, "restore", "--weights", weights, "-"]
    done = subprocess.run(command, input=b"text", capture_output=True, text=False, timeout=120)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"mprnet: standard input is no picture")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes work differently")
def test_a_reader_that_goes_away_is_no_traceback(weights, folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)).save("large.bmp")
    with subprocess.Popen(
        [*PROGRAM, "restore", "--weights", weights, "large.bmp", "-o", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=120) == 1
    assert err.count("\n") <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_control_characters_of_a_name_are_shown_and_not_obeyed(command, weights, folder):
    (folder / "a.png").rename("new\n\x1b[2Jline.png")
    answer = command("restore", "--weights", weights, "new\n\x1b[2Jline.png", "no\rne.png", "-o", "out")
    assert answer.out.startswith("new\\n\\x1b[2Jline.png -> out/new\\n\\x1b[2Jline.png\n")
    assert answer.err.startswith("mprnet: no\\rne.png does not exist")


@pytest.mark.parametrize("name", ["雨 🌧.png", "дождь.png", "مطر.png"])
def test_names_of_any_script_are_shown_as_they_are(command, weights, folder, name):
    (folder / "a.png").rename(name)
    assert command("restore", "--weights", weights, name, "-o", "out").out == f"{name} -> {Path('out', name)}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes for a name")
def test_a_name_that_is_no_text_is_shown_as_well_as_can_be(command, weights, folder):
    (folder / "a.png").rename(os.fsdecode(b"\xff.png"))
    assert command("restore", "--weights", weights, os.fsdecode(b"\xff.png")).out == (
        "\\udcff.png -> \\udcff_restored.png\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly_and_keeps_what_was_finished(weights, folder, number):
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
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "mprnet: interrupted; what was finished is kept\n")
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "a_restored.png", "b.jpg", "large.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="streams are closed differently")
@pytest.mark.parametrize("end", ["<&-", ">&-"])
def test_a_pipe_with_a_closed_end_is_one_clear_line(weights, folder, end):
    words = ["restore", "--weights", str(weights), "-"]
    command = ["sh", "-c", f'exec "$@" {end}', "sh", *PROGRAM, *words]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr == b"mprnet: - stands for a pipe, but this end of it is closed; name a file\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("end", [">&-", ">/dev/full"])
def test_an_output_that_cannot_be_written_to_is_no_reason_to_stop(weights, folder, end):
    words = ["restore", "--weights", str(weights), "a.png", "b.jpg", "-o", "out"]
    command = ["sh", "-c", f'exec "$@" {end}', "sh", *PROGRAM, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert sorted(path.name for path in (folder / "out").glob("*.*g")) == ["a.png", "b.jpg"]
    assert "Traceback" not in done.stderr


def test_what_is_not_for_a_pipe_is_refused(command, weights, folder):
    answer = command("restore", "--weights", weights, "a.png", "-o", "-", "--log", "x.jsonl", "--crf", "20")
    assert answer.code == 1
    assert answer.err == "mprnet: --log and --crf are not for a pipe, which takes one picture; leave them out\n"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--codec", "ffv1"), "codec is ffv1"),
        (("--crf", "20"), "crf is 20"),
        (("--codec", "libx264", "--crf", "20"), "codec is libx264 and crf is 20"),
    ],
)
def test_what_is_for_videos_alone_is_refused_without_one(command, weights, folder, options, what):
    answer = command("restore", "--weights", weights, "a.png", "b.jpg", *options)
    assert answer == (
        1,
        "",
        f"mprnet: {what}, but no input is a video, and folders stand for their pictures; leave it out\n",
    )
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.jpg"]

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mprnet.errors import ConfigError
from mprnet.files import MACHINE
from mprnet.imaging import FORMATS
from mprnet.restoration import Job, PictureOptions, Skipped, jobs, pictures, plan, restore_files
from mprnet.restoration.journal import sha256_of
from mprnet.restoration.plan import LOG_NAME as NAME

OVERWRITE = PictureOptions(overwrite=True)


@pytest.fixture
def restorer(inverter):
    """What becomes of files does not depend on the network."""
    return inverter


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def draw(*paths, colour="teal"):
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 3), colour).save(path)


def files(root="."):
    """All files but logs."""
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*") if path.is_file() and path.name != NAME)


def log(root="out"):
    return [json.loads(line) for line in Path(root, NAME).read_text().splitlines()]


def reasons(report):
    return [failure.reason for failure in report.failures]


def test_a_file_is_restored_beside_itself(restorer, folder):
    draw("a.png", "sub/b.JPG")
    report = restore_files(restorer, ["a.png", "sub/b.JPG"])
    assert files() == ["a.png", "a_restored.png", "sub/b.JPG", "sub/b_restored.JPG"]
    assert [str(job.target) for job in report.restored] == ["a_restored.png", "sub/b_restored.JPG"]
    assert report.failures == ()


def test_a_single_file_can_be_given_its_name(restorer, folder):
    draw("a.png")
    restore_files(restorer, ["a.png"], "new/b.jpg")
    with Image.open("new/b.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (5, 3))


def test_an_output_without_the_ending_of_a_picture_is_a_folder(restorer, folder):
    draw("a.png", "b.jpg")
    restore_files(restorer, ["a.png"], "out.v2")
    restore_files(restorer, ["a.png", "b.jpg"], "out")
    (folder / "folder.png").mkdir()
    restore_files(restorer, ["a.png"], "folder.png")
    assert files() == ["a.png", "b.jpg", "folder.png/a.png", "out.v2/a.png", "out/a.png", "out/b.jpg"]


def test_a_kind_of_picture_that_cannot_be_written_is_no_folder_s_name(restorer, folder):
    draw("a.png")
    assert "ends in '.psd'; expected one of .png" in reasons(restore_files(restorer, ["a.png"], "out.psd"))[0]
    assert files() == ["a.png"]


def test_a_folder_keeps_its_structure_and_only_pictures_are_taken(restorer, folder):
    draw("in/a.png", "in/deep/er/b.jpeg", "in/.hidden/c.png", "in/.d.png")
    (folder / "in/readme.txt").write_text("no picture")
    report = restore_files(restorer, ["in"], "out")
    assert files("out") == ["a.png", "deep/er/b.jpeg"]
    assert len(report.restored) == 2
    restore_files(restorer, ["in"])
    assert files("in_restored") == files("out")


@pytest.mark.parametrize("name", [".", "../in", "../in/", "deep/.."])
def test_a_folder_named_by_dots_is_restored_beside_itself_too(restorer, folder, monkeypatch, name):
    draw("in/a.png", "in/deep/b.png")
    monkeypatch.chdir("in")
    restore_files(restorer, [name])
    assert files("..") == ["in/a.png", "in/deep/b.png", "in_restored/a.png", "in_restored/deep/b.png"]


def test_one_broken_picture_does_not_stop_the_others(restorer, folder):
    draw("in/a.png", "in/c.png")
    (folder / "in/b.png").write_bytes(b"\x89PNG and nothing more")
    report = restore_files(restorer, ["in", "none.png"], "out")
    assert files("out") == ["a.png", "c.png"]
    assert [failure.source.name for failure in report.failures] == ["b.png", "none.png"]
    assert reasons(report)[0].startswith(str(Path("in", "b.png")) + " is no picture of a kind")
    assert "none.png does not exist" in reasons(report)[1]


def test_what_exists_is_kept_unless_overwritten(restorer, folder):
    draw("in/a.png", "in/b.png")
    (folder / "out").mkdir()
    (folder / "out/a.png").write_text("precious")
    report = restore_files(restorer, ["in"], "out")
    assert (folder / "out/a.png").read_text() == "precious"
    assert files("out") == ["a.png", "b.png"]
    assert reasons(report) == [f"{Path('out', 'a.png')} exists; choose another name or ask to overwrite it"]
    assert len(restore_files(restorer, ["in"], "out", options=OVERWRITE).restored) == 2
    Image.open(folder / "out/a.png").close()


@pytest.mark.parametrize("output", ["in", "in/a.png", "in/../in", "link"])
def test_an_input_is_never_replaced(restorer, folder, output):
    draw("in/a.png")
    (folder / "link").symlink_to("in")
    before = (folder / "in/a.png").read_bytes()
    report = restore_files(restorer, ["in/a.png"], output, options=OVERWRITE)
    assert len(report.failures) == 1
    assert "which is an input; choose another output" in reasons(report)[0]
    assert (folder / "in/a.png").read_bytes() == before


@pytest.mark.parametrize("given", ["links/a.png", "links"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_what_a_link_leads_to_is_an_input_too(restorer, folder, given, kind):
    draw("photos/a.png")
    (folder / "links").mkdir()
    if kind == "symbolic":
        (folder / "links/a.png").symlink_to("../photos/a.png")
    else:
        (folder / "links/a.png").hardlink_to("photos/a.png")
    before = (folder / "photos/a.png").read_bytes()
    report = restore_files(restorer, [given], "photos", options=OVERWRITE)
    assert "photos/a.png, which is an input; choose another output" in reasons(report)[0].replace(os.sep, "/")
    assert (folder / "photos/a.png").read_bytes() == before


@pytest.mark.parametrize("inputs", [["in"], ["other/a.png", "in"]])
@pytest.mark.parametrize("output", ["in", "link", "in/deep/.."])
def test_a_folder_cannot_be_input_and_output(restorer, folder, inputs, output):
    draw("in/a.png", "in/deep/b.png", colour="red")
    draw("other/a.png", colour="blue")
    (folder / "link").symlink_to("in")
    before = (folder / "in/a.png").read_bytes()
    with pytest.raises(ConfigError, match="in is input and output at once; choose another output"):
        restore_files(restorer, inputs, output, options=OVERWRITE)
    assert (folder / "in/a.png").read_bytes() == before


def test_an_input_is_not_replaced_by_the_restoration_of_another(restorer, folder):
    draw("a/x.png", colour="red")
    draw("b/x.png", colour="blue")
    before = (folder / "b/x.png").read_bytes()
    report = restore_files(restorer, ["a/x.png", "b/x.png"], "b", options=OVERWRITE)
    assert [failure.source.parent.name for failure in report.failures] == ["a", "b"]
    assert (folder / "b/x.png").read_bytes() == before


def test_two_pictures_that_want_one_name_are_told_apart(restorer, folder):
    draw("a/x.png", "b/x.png", "b/y.png")
    report = restore_files(restorer, ["a", "b"], "out")
    assert files("out") == ["x.png", "y.png"]
    assert len(report.failures) == 1
    assert str(Path("b", "x.png")) in reasons(report)[0]
    assert f"as {Path('a', 'x.png')} is; give them outputs of their own" in reasons(report)[0]


def test_a_picture_given_twice_is_restored_once(restorer, folder):
    draw("a/x.png")
    report = restore_files(restorer, ["a/x.png", "a/x.png", "a", "./a/../a/x.png"], "out")
    assert len(report.restored) == 1
    assert report.failures == ()


def test_results_of_an_earlier_run_inside_the_folder_are_no_inputs(restorer, folder):
    draw("in/a.png")
    restore_files(restorer, ["in"], "in/out")
    restore_files(restorer, ["in"], "in/out", options=OVERWRITE)
    assert files("in") == ["a.png", "out/a.png"]


def test_linked_folders_are_not_followed_in_circles(restorer, folder):
    draw("in/a.png")
    (folder / "in/again").symlink_to(folder / "in")
    assert len(restore_files(restorer, ["in"], "out").restored) == 1


NAMES = ["雨の写真.png", "фото.jpg", "صورة.png", "naïve 🌧 [bold]x[/bold].png", "new\nline.png", "-o.png", "100%.png"]


@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_script(restorer, folder, name):
    draw(f"in/{name}")
    assert restore_files(restorer, ["in"]).failures == ()
    assert files("in_restored") == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes for a name")
def test_a_name_that_is_no_text(restorer, folder):
    name = os.fsdecode(b"\xff\xfe.png")
    draw("a.png")
    shutil.move("a.png", name)
    assert restore_files(restorer, [name]).failures == ()
    assert os.fsdecode(b"\xff\xfe_restored.png") in files()


def test_a_name_that_is_too_long_is_a_failure(restorer, folder):
    draw(f"{'x' * 251}.png")
    assert "_restored.png cannot be written: File name too long" in reasons(restore_files(restorer, files()))[0]
    assert "cannot be read: File name too long" in reasons(restore_files(restorer, ["x" * 300]))[0]
    assert ".png cannot be written: File name too long" in reasons(restore_files(restorer, files(), "x" * 300))[0]


def test_an_empty_folder_is_a_failure(restorer, folder):
    (folder / "in").mkdir()
    reason = f"in has no pictures; expected at least one of {', '.join(FORMATS)}"
    assert reasons(restore_files(restorer, ["in"])) == [reason]
    assert files() == []


def test_a_folder_that_cannot_be_read_is_a_failure(restorer, folder, monkeypatch):
    draw("in/a.png", "in/locked/b.png")
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = restore_files(restorer, ["in"], "out")
    assert len(report.restored) == 1
    assert reasons(report) == [f"{Path('in', 'locked')} cannot be read: Permission denied"]


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        ([], None, "no pictures are given"),
        (["a.png", "b.png"], "out.png", r"the file out\.png, but several pictures"),
        (["in"], "out.png", r"the file out\.png, but several pictures"),
        (["a.png"], "notes", "notes, which is a file; expected a folder"),
    ],
)
def test_an_output_that_does_not_fit_is_one_clear_line(restorer, folder, inputs, output, message):
    draw("a.png", "b.png", "in/c.png")
    (folder / "notes").write_text("precious")
    with pytest.raises(ConfigError, match=message):
        restore_files(restorer, inputs, output)
    assert files() == ["a.png", "b.png", "in/c.png", "notes"]


def test_the_watcher_sees_every_picture_begin_and_end(restorer, folder):
    draw("a.png", "b.png")
    seen = []
    report = restore_files(restorer, ["a.png", "none.png", "b.png"], watch=seen.append)
    assert [(step.source.name, step.done, step.total) for step in seen if step.fraction == 0] == [
        ("a.png", 0, 3),
        ("none.png", 1, 3),
        ("b.png", 2, 3),
    ]
    outcomes = [step.outcome for step in seen if step.outcome]
    assert [isinstance(outcome, Job) for outcome in outcomes] == [True, False, True]
    assert tuple(outcomes[::2]) == report.restored
    assert (outcomes[1],) == report.failures


@pytest.mark.parametrize("kind", ["a.png", "a.gif"])
def test_a_watcher_s_error_is_not_taken_for_one_of_the_picture(restorer, folder, kind):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime")]
    frames[0].save(kind, save_all=kind == "a.gif", append_images=frames[1:])

    def gone(step):
        if step.fraction:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        restore_files(restorer, [kind], watch=gone)
    assert files() == [kind]


def test_an_interrupted_run_keeps_what_was_finished_and_leaves_nothing_half(restorer, folder):
    draw("a.png", "b.png")

    def interrupt(step):
        if step.source.name == "b.png":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_files(restorer, ["a.png", "b.png"], watch=interrupt)
    assert files() == ["a.png", "a_restored.png", "b.png"]


# What is done is skipped


def stamps(root="out"):
    return {path: path.stat().st_mtime_ns for path in Path(root).rglob("*.*") if path.name != NAME}


def test_what_is_done_is_skipped(restorer, folder):
    draw("in/a.png", "in/deep/b.jpg")
    first = restore_files(restorer, ["in"], "out")
    before, worked = stamps(), len(restorer.calls)
    second = restore_files(restorer, ["in"], "out")
    assert (len(first.restored), first.skipped) == (2, ())
    assert second.skipped == tuple(Skipped(job.source, job.target) for job in first.restored)
    assert (second.restored, second.failures) == ((), ())
    assert (stamps(), len(restorer.calls)) == (before, worked)


def test_the_content_counts_and_not_the_name_of_the_source(restorer, folder):
    draw("in/a.png")
    restore_files(restorer, ["in"], "out")
    (folder / "in").rename("elsewhere")
    assert len(restore_files(restorer, ["elsewhere"], "out").skipped) == 1


def test_only_what_is_new_or_gone_is_restored(restorer, folder):
    draw("in/a.png", "in/b.png")
    restore_files(restorer, ["in"], "out")
    (folder / "out/a.png").unlink()
    draw("in/c.png")
    report = restore_files(restorer, ["in"], "out")
    assert [job.source.name for job in report.restored] == ["a.png", "c.png"]
    assert [job.source.name for job in report.skipped] == ["b.png"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: draw("in/a.png", colour="red"), f"{Path('in/a.png')} has changed since it was restored"),
        (lambda: draw("out/a.png", colour="red"), f"it is not what was written to it, from {Path('in/a.png')}"),
        (lambda: {"stage": 2}, "it was restored with other settings"),
        (lambda: {"strength": 0.5}, "it was restored with other settings"),
    ],
)
def test_what_would_become_another_picture_is_refused_and_redone_when_asked(restorer, folder, change, reason):
    draw("in/a.png", "in/b.png")
    restore_files(restorer, ["in"], "out")
    options = change() or {}
    before = (folder / "out/a.png").read_bytes()
    report = restore_files(restorer, ["in"], "out", options=PictureOptions(**options))
    assert f"{Path('out/a.png')} exists, and {reason}; choose another output or ask to overwrite it" in reasons(report)
    assert len(report.failures) + len(report.skipped) == 2
    assert (folder / "out/a.png").read_bytes() == before
    redone = PictureOptions(overwrite=True, **options)
    assert len(restore_files(restorer, ["in"], "out", options=redone).restored) == 2
    assert len(restore_files(restorer, ["in"], "out", options=PictureOptions(**options)).skipped) == 2


def test_other_weights_are_other_settings(restorer, make_inverter, folder):
    draw("in/a.png")
    restore_files(restorer, ["in"], "out")
    report = restore_files(make_inverter(num_cab=2), ["in"], "out")
    assert "other settings" in reasons(report)[0]


def test_overwriting_redoes_what_is_done(restorer, folder):
    draw("in/a.png")
    restore_files(restorer, ["in"], "out")
    assert len(restore_files(restorer, ["in"], "out", options=OVERWRITE).restored) == 1


def test_a_strip_that_is_missing_is_made_without_overwriting(restorer, folder):
    draw("in/a.png")
    restore_files(restorer, ["in"], "out")
    before = (folder / "out/a.png").read_bytes()
    compare = PictureOptions(compare=True)
    assert len(restore_files(restorer, ["in"], "out", options=compare).restored) == 1
    assert files("out") == ["a.png", "a_compare.jpg"]
    assert (folder / "out/a.png").read_bytes() == before
    assert len(restore_files(restorer, ["in"], "out", options=compare).skipped) == 1


def test_what_is_restored_beside_its_source_is_skipped_with_a_log_only(restorer, folder):
    draw("a.png")
    restore_files(restorer, ["a.png"], log="logs/mine.jsonl")
    assert len(restore_files(restorer, ["a.png"], log="logs/mine.jsonl").skipped) == 1
    assert "a_restored.png exists; choose another name" in reasons(restore_files(restorer, ["a.png"]))[0]
    assert files() == ["a.png", "a_restored.png", "logs/mine.jsonl"]


def test_one_log_stands_for_those_of_all_folders(restorer, folder):
    draw("in/a.png", "b.png")
    restore_files(restorer, ["in", "b.png"], log="mine.jsonl")
    assert not list(folder.rglob(NAME))
    assert len(restore_files(restorer, ["in", "b.png"], log="mine.jsonl").skipped) == 2


def test_a_log_that_is_none_of_ours_is_left_alone_and_nothing_is_done(restorer, folder):
    draw("in/a.png")
    (folder / "notes").write_text("precious")
    with pytest.raises(ConfigError, match="notes is no log of mprnet"):
        restore_files(restorer, ["in"], log="notes")
    assert (folder / "notes").read_text() == "precious"
    assert files() == ["in/a.png", "notes"]


def test_the_log_says_what_came_of_every_picture(restorer, folder):
    draw("in/a.png")
    (folder / "in/b.png").write_bytes(b"")
    restore_files(restorer, ["in", "none.png"], "out")
    run, a, b, none, end = log()
    assert run["run"]["stage"] == 3
    assert len(run["run"]["networks"][0]["network_sha256"]) == 64
    assert a.pop("seconds") >= 0
    assert a == {
        "source": str(Path("in/a.png")),
        "target": "a.png",
        "source_sha256": sha256_of(Path("in/a.png")),
        "target_sha256": sha256_of(Path("out/a.png")),
        "settings": run["run"]["digest"],
        "outcome": "restored",
    }
    assert b["reason"] == f"{Path('in/b.png')} is empty (0 bytes); copy or download it again"
    assert (b["outcome"], none["outcome"], none["source"]) == ("failed", "failed", "none.png")
    assert end["summary"].pop("seconds") >= 0
    assert end == {"summary": {"restored": 1, "skipped": 0, "failed": 2, "interrupted": False}}
    restore_files(restorer, ["in/a.png"], "out")
    assert [line.get("outcome") for line in log()[5:]] == [None, "skipped", None]


def test_an_interrupted_run_says_so_and_the_next_one_goes_on(restorer, folder):
    draw("in/a.png", "in/b.png", "in/c.png")

    def interrupt(step):
        if step.source.name == "c.png" and step.fraction > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_files(restorer, ["in"], "out", watch=interrupt)
    assert files("out") == ["a.png", "b.png"]
    assert log()[-1]["summary"]["interrupted"] is True
    report = restore_files(restorer, ["in"], "out")
    assert (len(report.skipped), len(report.restored)) == (2, 1)


def test_a_run_that_was_killed_between_log_and_name_is_taken_up(restorer, folder, monkeypatch):
    draw("in/a.png")

    class Killed(BaseException):
        pass

    rename = Path.replace

    def replace(path, target):
        if target.name == "a.png":
            raise Killed
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            restore_files(restorer, ["in"], "out")
    assert files("out") == []
    assert log()[1]["outcome"] == "restored"
    assert len(restore_files(restorer, ["in"], "out").restored) == 1


KILLED = """
import os, pathlib, signal, sys, time
sys.path.insert(0, sys.argv[1])
from conftest import Inverter
from mprnet.restoration import restore_files

class Slow(Inverter):
    def restore_pixels(self, pixels, **more):
        if len(self.calls) == 6:
            print(flush=True)
            time.sleep(60)
        return super().restore_pixels(pixels, **more)

restore_files(Slow(), ["in"], "out")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently")
def test_a_killed_run_loses_only_the_picture_under_work(restorer, folder):
    draw(*(f"in/{number}.png" for number in range(9)))
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        deadline = time.monotonic() + 30
        while (
            len(list(Path("out").glob("[!.]*.png"))) < 6 and time.monotonic() < deadline
        ):  # the writer may be a picture behind
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    left = folder / f"out/.{'0' * 32}-{MACHINE}-{process.pid}.unfinished"
    left.write_text("half")
    done = stamps()
    report = restore_files(restorer, ["in"], "out")
    assert [job.source.name for job in report.skipped] == [f"{number}.png" for number in range(6)]
    assert [job.source.name for job in report.restored] == ["6.png", "7.png", "8.png"]
    assert report.failures == ()
    assert not left.exists()
    assert {path: stamp for path, stamp in stamps().items() if path in done and path != left} == {
        path: stamp for path, stamp in done.items() if path.suffix == ".png"
    }


# What may be wrong with one picture


def test_each_bad_picture_is_one_clear_line_and_the_others_are_restored(restorer, folder):
    draw("in/good.png", "in/last.png")
    draw("whole.png", "whole.jpg")
    Image.effect_noise((64, 64), 90).convert("RGB").save("noise.png")
    content = (folder / "noise.png").read_bytes()
    (folder / "in/cut.png").write_bytes(content[: len(content) // 2])
    (folder / "in/empty.webp").write_bytes(b"")
    (folder / "in/page.png").write_text("<html>")
    (folder / "in/bomb.png").write_bytes(content[:16] + b"\0\1\0\0" * 2 + content[24:])
    (folder / "in/gone.png").symlink_to("nowhere.png")
    (folder / "in/ring.png").symlink_to("ring.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo("in/fifo.png")
    bad = sorted({path.name for path in Path("in").iterdir()} - {"good.png", "last.png"})
    report = restore_files(restorer, ["in"], "out")
    assert [failure.source.name for failure in report.failures] == bad
    for reason, name in zip(reasons(report), bad, strict=True):
        assert reason.startswith(f"{Path('in', name)} ")
        assert "\n" not in reason
    assert files("out") == ["good.png", "last.png"]


def test_a_wrong_ending_is_read_as_what_it_is_and_written_as_what_it_says(restorer, folder):
    draw("in/a.png")
    (folder / "in/a.png").rename("in/a.jpg")
    assert restore_files(restorer, ["in"], "out").failures == ()
    with Image.open("out/a.jpg") as image:
        assert image.format == "JPEG"


def test_a_single_pixel_is_restored(restorer, folder):
    Image.new("RGB", (1, 1), "white").save("a.png")
    restore_files(restorer, ["a.png"], "out")
    with Image.open("out/a.png") as image:
        assert (image.size, image.getpixel((0, 0))) == ((1, 1), (0, 0, 0))


def test_a_file_that_may_not_be_read_is_a_failure(restorer, folder, monkeypatch):
    draw("in/a.png", "in/b.png")
    open_ = Path.open

    def refuse(path, *more, **options):
        if path.name == "a.png" and path.parent.name == "in":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_(path, *more, **options)

    monkeypatch.setattr(Path, "open", refuse)
    report = restore_files(restorer, ["in"], "out")
    assert "Permission denied" in reasons(report)[0]
    assert files("out") == ["b.png"]


def test_a_picture_that_does_not_fit_into_memory_does_not_stop_the_others(restorer, folder, monkeypatch):
    draw("in/a.png")
    Image.new("RGB", (50, 50)).save("in/large.png")
    restore_pixels = restorer.restore_pixels

    def fail(pixels, **more):
        if pixels.shape[0] == 50:
            raise MemoryError
        return restore_pixels(pixels, **more)

    monkeypatch.setattr(restorer, "restore_pixels", fail)
    report = restore_files(restorer, ["in"], "out")
    assert reasons(report) == [f"{Path('in/large.png')} does not fit into memory"]
    assert files("out") == ["a.png"]


def test_a_disk_that_takes_no_more_loses_no_other_picture(restorer, folder):
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files, which Windows has not")
    draw("in/a.png", "in/c.png")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save("in/b.png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        report = restore_files(restorer, ["in"], "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert reasons(report) == [f"{Path('out/b.png')} cannot be written: File too large"]
    assert files("out") == ["a.png", "c.png"]


def test_without_room_for_the_log_nothing_is_there_that_it_does_not_know(restorer, folder, monkeypatch):
    draw("in/a.png", "in/b.png")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(jobs.Journal, "_append", full)
        report = restore_files(restorer, ["in"], "out")
    reason = f"does not come into the log: {Path('out', NAME)} cannot be written: No space left on device"
    assert reasons(report) == [f"{Path('out', name)} {reason}" for name in ("a.png", "b.png")]
    assert files("out") == []
    assert len(restore_files(restorer, ["in"], "out").restored) == 2


def test_a_fault_of_the_program_is_not_taken_for_one_of_the_picture(restorer, folder, monkeypatch):
    draw("in/a.png", "in/b.png")

    def fail(*_, **__):
        raise TypeError("fault")

    monkeypatch.setattr(restorer, "restore_pixels", fail)
    with pytest.raises(TypeError, match="fault"):
        restore_files(restorer, ["in"], "out")


# Where pictures go


def test_a_format_that_is_asked_for_is_in_the_name(restorer, folder):
    draw("in/a.png", "in/deep/b.JPG")
    restore_files(restorer, ["in"], "out", options=PictureOptions(format="webp"))
    restore_files(restorer, ["in/a.png"], options=PictureOptions(format="jpg"))
    assert files("out") == ["a.webp", "deep/b.webp"]
    with Image.open("out/a.webp") as webp, Image.open("in/a_restored.jpg") as jpeg:
        assert (webp.format, jpeg.format) == ("WEBP", "JPEG")
    with pytest.raises(ConfigError, match=r"the file b\.png, which is no WEBP; name it \*\.webp"):
        restore_files(restorer, ["in/a.png"], "b.png", options=PictureOptions(format="webp"))


@pytest.mark.parametrize("options", [PictureOptions(format="webp"), PictureOptions(compare=True)])
def test_two_pictures_that_would_want_one_name_by_an_option_are_told_apart(restorer, folder, options):
    draw("in/a.png", "in/a.jpg")
    report = restore_files(restorer, ["in"], "out", options=options)
    assert [job.source.name for job in report.restored] == ["a.jpg"]
    assert f"as {Path('in/a.jpg')} is; give them outputs of their own" in reasons(report)[0]


def test_a_strip_never_replaces_an_input(restorer, folder):
    draw("a.png", "out/b_compare.jpg")
    report = restore_files(restorer, ["out/b_compare.jpg", "a.png"], log="l.jsonl", options=OVERWRITE)
    assert len(report.restored) == 2
    (folder / "a.png").rename("b.png")
    before = (folder / "out/b_compare.jpg").read_bytes()
    options = PictureOptions(compare=True, overwrite=True)
    report = restore_files(restorer, ["b.png", "out/b_compare.jpg"], "out", options=options)
    assert "b_compare.jpg, which is an input" in reasons(report)[0]
    assert (folder / "out/b_compare.jpg").read_bytes() == before


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        ("in/*.png", ["a.png"]),
        ("in/**/*.png", ["a.png", "deep/b.png"]),
        ("in/*/*", ["deep/b.png"]),
        ("i?/[ab].png", ["in/a.png"]),
        ("*/a.png", ["in/a.png", "other/a.png"]),
    ],
)
def test_a_pattern_is_looked_up_and_places_are_kept(restorer, folder, pattern, made):
    draw("in/a.png", "in/deep/b.png", "in/.hidden/c.png", "in/.d.png", "other/a.png")
    (folder / "in/readme.txt").write_text("no picture")
    (folder / "in/deep/ring").symlink_to(folder / "in")
    report = restore_files(restorer, [pattern], folder / "out")
    assert files("out") == made
    assert report.failures == ()
    restore_files(restorer, [folder / pattern], folder / "absolute")
    assert files("absolute") == made


def test_a_pattern_without_an_output_restores_beside(restorer, folder):
    draw("in/a.png", "in/b.jpg")
    restore_files(restorer, ["in/*"])
    assert files() == ["in/a.png", "in/a_restored.png", "in/b.jpg", "in/b_restored.jpg"]


def test_a_pattern_without_an_output_leaves_out_what_it_made(restorer, folder):
    draw("in/a.png", "in/own_restored.png")
    restore_files(restorer, ["in/*"])
    assert files() == ["in/a.png", "in/a_restored.png", "in/own_restored.png", "in/own_restored_restored.png"]
    report = restore_files(restorer, ["in/*"], options=OVERWRITE)
    assert [job.source.name for job in report.restored] == ["a.png", "own_restored.png"]
    assert len(files()) == 4


def test_a_pattern_without_an_output_leaves_out_the_strips_it_made(restorer, folder):
    draw("in/a.jpg", "in/own_restored_compare.jpg")
    restore_files(restorer, ["in/*"], options=PictureOptions(compare=True))
    made = files()
    report = restore_files(restorer, ["in/*"], options=PictureOptions(compare=True, overwrite=True))
    assert [job.source.name for job in report.restored] == ["a.jpg", "own_restored_compare.jpg"]
    assert (report.failures, files()) == ((), made)


def test_what_the_shell_made_of_a_pattern_leaves_out_what_it_made(restorer, folder):
    draw("a.png", "b.png")
    restore_files(restorer, ["a.png"], options=PictureOptions(compare=True))
    report = restore_files(restorer, sorted(path.name for path in folder.iterdir()))
    assert [job.source.name for job in report.restored] == ["b.png"]
    assert ["exists" in reason for reason in reasons(report)] == [True]  # of a.png, and nothing was computed for it
    assert [left.source.name for left in report.left_out] == ["a_restored.png", "a_restored_compare.jpg"]
    assert [job.source.name for job in restore_files(restorer, ["a_restored.png"]).restored] == ["a_restored.png"]


def test_what_a_search_leaves_out_is_told(restorer, folder):
    draw("in/a.png", "in/a_restored.png", "in/deep/b.png", "in/.hidden/c.png")
    restore_files(restorer, ["in/deep"], "in/dry")
    for name in ("clip.MOV", "RAW.dng", "notes", ".DS_Store"):
        Path("in", name).write_text("no picture")
    (folder / "in/linked").symlink_to(folder / "in/deep")
    report = restore_files(restorer, "in", "out")
    assert files("out") == ["a.png", "deep/b.png"]
    left = {left.source.name: left.kind for left in report.left_out}
    assert left == {
        "clip.MOV": ".mov",
        "RAW.dng": ".dng",
        "notes": "without an ending",
        "linked": "linked folder",
        "dry": "of an earlier run",
        "a_restored.png": "of an earlier run",
    }
    assert len(restore_files(restorer, ["in/dry"], "again").restored) == 1  # it was asked for
    deeper = restore_files(restorer, ["in/**/*.png"], "deeper")
    assert files("deeper") == ["a.png", "deep/b.png"]
    assert {left.source.name for left in deeper.left_out} == {"dry", "a_restored.png"}
    assert {left.kind for left in restore_files(restorer, "in/*", "matched").left_out} == {
        ".dng",
        "without an ending",
        "of an earlier run",
    }  # and the video is a match


def test_folders_that_the_shell_has_listed_leave_out_their_results(restorer, folder):
    draw("photos/a.png")
    restore_files(restorer, ["photos"])
    report = restore_files(restorer, sorted(path.name for path in folder.iterdir()))
    assert [job.source.name for job in report.skipped] == ["a.png"]
    assert (report.failures, [left.source.name for left in report.left_out]) == ((), ["photos_restored"])


def test_what_is_not_there_is_no_input_that_could_be_replaced(restorer, folder):
    draw("a.png")
    report = restore_files(restorer, ["a.png", "#", "a_restored.png"])  # as of a line pasted with its comment
    assert files() == ["a.png", "a_restored.png"]
    assert [job.source.name for job in report.restored] == ["a.png"]


def test_a_pattern_in_a_folder_of_brackets(restorer, folder):
    draw("Trip [2024]/a.png", "Trip 2/b.png")
    report = restore_files(restorer, ["Trip [2024]/*.png"], "out")
    assert (files("out"), report.failures) == (["a.png"], ())
    assert "Trip [2024]/x.png does not exist" in reasons(restore_files(restorer, [Path("Trip [2024]/x.png")], "out"))[0]


def test_a_home_folder_that_the_shell_left_alone(restorer, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("USERPROFILE", str(folder / "home"))
    draw("home/a.png")
    restore_files(restorer, ["~/*.png"], "~/out", log="~/log.jsonl")
    assert files("home") == ["a.png", "log.jsonl", "out/a.png"]
    pictures.restore_picture(restorer, "~/a.png", "~/c.png")
    assert "c.png" in files("home")
    draw("~/b.png")
    restore_files(restorer, ["~/b.png"])  # a folder of that very name
    assert files("~") == ["b.png", "b_restored.png"]


def test_a_pattern_without_a_match_is_a_failure(restorer, folder, monkeypatch):
    draw("in/a.png")
    report = restore_files(restorer, ["in/*.webp", "in/a.png"], "out")
    assert reasons(report) == [f"{Path('in/*.webp')} does not exist, and as a pattern it matches no pictures"]
    assert files("out") == ["a.png"]
    monkeypatch.setattr(Path, "glob", lambda *_: (_ for _ in ()).throw(ValueError("Invalid pattern")))  # by version
    with pytest.raises(ConfigError, match=r"'in/\*\*b/\*' is no pattern of files: Invalid pattern"):
        restore_files(restorer, ["in/**b/*"], "out")


def test_a_name_that_looks_like_a_pattern_is_that_file(restorer, folder):
    draw("a[1].png", "a1.png")
    report = restore_files(restorer, ["a[1].png"], "out")
    assert [job.source.name for job in report.restored] == ["a[1].png"]


def test_a_video_that_is_given_goes_to_its_own_program_and_one_in_a_folder_is_left_out(restorer, folder, monkeypatch):
    draw("in/a.png")
    for name in ("in/clip.mp4", "clip.MKV"):
        (folder / name).write_text("film")
    seen = []

    def restore_video(restorers, source, target, *, progress, commit, **more):
        seen.append((restorers, source, target, more))
        target.parent.mkdir(exist_ok=True)  # the picture may not be written yet
        target.write_text("restored")
        commit(target)
        progress(1, 2)

    monkeypatch.setattr(jobs, "restore_video", restore_video)
    options = PictureOptions(stage=1, strength=0.5, format="webp")
    report = restore_files(restorer, ["in", "clip.MKV"], "out", options=options, codec="ffv1")
    assert files("out") == ["a.webp", "clip.MKV"]
    more = {"stage": 1, "strength": 0.5, "overwrite": False, "codec": "ffv1", "crf": None}
    assert seen == [([restorer], Path("clip.MKV"), Path("out/clip.MKV"), more)]
    assert len(report.restored) == 2
    assert len(restore_files(restorer, ["clip.MKV"], "out", options=options, codec="ffv1").skipped) == 1


def test_a_quality_that_a_video_cannot_have_is_told_before_anything_is_restored(restorer, folder):
    pytest.importorskip("av", reason="needs the extra video")
    draw("a.png")
    (folder / "clip.mp4").write_text("film")
    with pytest.raises(ConfigError, match=r"crf is 60; expected 0 \(best\) to 51"):
        restore_files(restorer, ["a.png", "clip.mp4"], "out", crf=60)
    assert not (folder / "out").exists()


def test_an_animation_in_a_folder_is_restored_logged_and_skipped(restorer, folder):
    draw("in/a.png", "in/z.png")
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime")]
    frames[0].save("in/m.gif", save_all=True, append_images=frames[1:], duration=100)
    report = restore_files(restorer, ["in"], "out")
    assert [job.source.name for job in report.restored] == ["a.png", "m.gif", "z.png"]
    with Image.open("out/m.gif") as image:
        assert image.n_frames == 2
    assert len(restore_files(restorer, ["in"], "out").skipped) == 3


def test_pictures_are_read_and_written_while_others_are_under_work(restorer, folder, monkeypatch):
    draw(*(f"in/{number}.png" for number in range(10)))
    settings = restore_files(restorer, ["in/0.png"], "first")  # what is loaded only once is loaded
    assert settings.failures == ()

    def slow(function, seconds):
        def call(*values, **options):
            time.sleep(seconds)
            return function(*values, **options)

        return call

    monkeypatch.setattr(jobs, "load", slow(pictures.load, 0.05))
    monkeypatch.setattr(jobs, "save", slow(pictures.save, 0.05))
    monkeypatch.setattr(restorer, "restore_pixels", slow(restorer.restore_pixels, 0.1))
    start = time.perf_counter()
    assert len(restore_files(restorer, ["in"], "out").restored) == 10
    assert 1.1 <= time.perf_counter() - start < 1.7  # one after the other: 2 s and more


@pytest.mark.parametrize("pattern", ["in/**/*.png", "**/*.png", "in/*/*.png"])
def test_results_of_an_earlier_run_are_no_matches_of_a_pattern(restorer, folder, pattern):
    draw("in/a.png", "in/deep/b.png")
    first = restore_files(restorer, [pattern], "in/out")
    again = restore_files(restorer, [pattern], folder / "in/out")
    assert first.failures == again.failures == ()
    assert len(again.skipped) == len(first.restored) > 0
    assert again.restored == ()


@pytest.mark.parametrize(("inputs", "output"), [([""], None), (["a.png", ""], "out"), (["in"], "")])
def test_an_empty_name_is_not_the_current_folder(restorer, folder, inputs, output):
    draw("a.png", "in/b.png")
    with pytest.raises(ConfigError, match="is an empty name; expected files, folders or patterns"):
        restore_files(restorer, inputs, output)
    assert files() == ["a.png", "in/b.png"]


def test_a_log_that_cannot_be_written_is_what_the_reason_names(restorer, folder):
    draw("a.png")
    (folder / "file").touch()
    report = restore_files(restorer, ["a.png"], "out", log="file/log.jsonl")
    assert reasons(report)[0].startswith(
        f"{Path('out', 'a.png')} does not come into the log: {Path('file', 'log.jsonl')} cannot be written: "
    )
    assert files() == ["a.png", "file"]


@pytest.mark.parametrize("blocked", ["a file", "a folder"])
def test_an_output_that_cannot_be_written_is_found_before_the_work(restorer, folder, monkeypatch, blocked):
    draw("in/deep/a.png")
    (folder / "out").mkdir()
    if blocked == "a file":
        (folder / "out/deep").touch()
        reason = f"{Path('out', 'deep')} is no folder"
    else:
        allowed = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "out" and allowed(path, mode))
        reason = "out may not be written to"
    assert reasons(restore_files(restorer, ["in"], "out"))[0].endswith(f"cannot be written: {reason}")
    assert restorer.calls == []


def test_a_log_that_may_not_be_written_is_found_before_the_work_and_what_is_done_stays_done(
    restorer, folder, monkeypatch
):
    draw("in/a.png")
    restore_files(restorer, ["in"], "out")
    restorer.calls.clear()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != NAME and allowed(path, mode))
    assert len(restore_files(restorer, ["in"], "out").skipped) == 1
    draw("in/b.png")
    report = restore_files(restorer, ["in"], "out")
    assert reasons(report)[0].endswith(f"{NAME} may not be written to")
    assert restorer.calls == []


def test_a_strip_of_what_stood_there_before_is_told(restorer, folder):
    draw("in/a.png")
    restore_files(restorer, ["in"], "out", options=PictureOptions(compare=True, strength=0.5))
    old = (folder / "out/a_compare.jpg").stat()
    os.utime("out/a_compare.jpg", ns=(old.st_atime_ns, old.st_mtime_ns - 10**9))  # clocks of file systems are coarse
    restore_files(restorer, ["in"], "out", options=OVERWRITE)
    compare = PictureOptions(compare=True)
    report = restore_files(restorer, ["in"], "out", options=compare)
    assert "a_compare.jpg exists, and is older than" in reasons(report)[0]
    assert len(restore_files(restorer, ["in"], "out", options=replace(compare, overwrite=True)).restored) == 1
    assert len(restore_files(restorer, ["in"], "out", options=compare).skipped) == 1


def test_what_videos_are_written_with_decides_nothing_of_pictures_and_the_other_way_round(
    restorer, folder, monkeypatch
):
    draw("a.png")
    (folder / "clip.mkv").write_text("film")

    def restore_video(restorers, source, target, *, commit, **more):
        target.write_text("restored")
        commit(target)

    monkeypatch.setattr(jobs, "restore_video", restore_video)
    inputs = ["a.png", "clip.mkv"]
    restore_files(restorer, ["a.png"], "out")  # makes the folder
    restore_files(restorer, inputs, "out")
    crf = restore_files(restorer, inputs, "out", crf=17)
    assert [done.source.name for done in crf.skipped] == ["a.png"]
    assert "restored with other settings" in reasons(crf)[0]
    quality = restore_files(restorer, inputs, "out", options=PictureOptions(quality=90))
    assert [done.source.name for done in quality.skipped] == ["clip.mkv"]
    assert "restored with other settings" in reasons(quality)[0]


@pytest.mark.parametrize(("system", "refused"), [("darwin", [1, 3]), ("win32", [1]), ("linux", [])])
def test_names_that_a_system_takes_for_one_are_told_apart(restorer, folder, monkeypatch, system, refused):
    draw("a/IMG.png", "b/img.png", "c/caf\u00e9.png", "d/cafe\u0301.png")
    inputs = [Path(name) for name in ("a/IMG.png", "b/img.png", "c/caf\u00e9.png", "d/cafe\u0301.png")]
    monkeypatch.setattr(plan, "_SYSTEM", system)
    entries = plan.plan(inputs, "out").entries
    assert [place for place, entry in enumerate(entries) if isinstance(entry, plan.Failure)] == refused
    assert all("give them outputs of their own" in entries[place].reason for place in refused)


def test_the_stage_of_a_video_that_was_begun_is_kept(restorer, folder, monkeypatch):
    film = SimpleNamespace(frames=2, size_hw=(8, 8))
    monkeypatch.setattr(jobs, "VideoReader", lambda _: film)
    asked = []
    monkeypatch.setattr(jobs, "restore_video", lambda *_, stage, commit, **more: asked.append(stage))
    (folder / "clip.mkv").write_text("film")
    options = PictureOptions(stage="auto", budget_seconds=4)
    for begun in (None, 3):
        monkeypatch.setattr(jobs, "begun_stage", lambda *_, begun=begun, **__: begun)
        restore_files(restorer, ["clip.mkv"], "out", options=options)
    assert asked == [2, 3]

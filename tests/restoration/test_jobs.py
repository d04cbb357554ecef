from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from mprnet.errors import ConfigError
from mprnet.restoration import Job, restore_files


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
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*") if path.is_file())


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
    assert "ends in '.webp'; expected one of .png" in reasons(restore_files(restorer, ["a.png"], "out.webp"))[0]
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
    assert reasons(report)[0].startswith(str(Path("in", "b.png")) + " is no PNG or JPEG")
    assert "none.png does not exist" in reasons(report)[1]


def test_what_exists_is_kept_unless_overwritten(restorer, folder):
    draw("in/a.png", "in/b.png")
    (folder / "out").mkdir()
    (folder / "out/a.png").write_text("precious")
    report = restore_files(restorer, ["in"], "out")
    assert (folder / "out/a.png").read_text() == "precious"
    assert files("out") == ["a.png", "b.png"]
    assert reasons(report) == [f"{Path('out', 'a.png')} exists; choose another name or ask to overwrite it"]
    assert len(restore_files(restorer, ["in"], "out", overwrite=True).restored) == 2
    Image.open(folder / "out/a.png").close()


@pytest.mark.parametrize("output", ["in", "in/a.png", "in/../in", "link"])
def test_an_input_is_never_replaced(restorer, folder, output):
    draw("in/a.png")
    (folder / "link").symlink_to("in")
    before = (folder / "in/a.png").read_bytes()
    report = restore_files(restorer, ["in/a.png"], output, overwrite=True)
    assert len(report.failures) == 1
    assert "which is an input; choose another output" in reasons(report)[0]
    assert (folder / "in/a.png").read_bytes() == before


@pytest.mark.parametrize("inputs", [["in"], ["other/a.png", "in"]])
@pytest.mark.parametrize("output", ["in", "link", "in/deep/.."])
def test_a_folder_cannot_be_input_and_output(restorer, folder, inputs, output):
    draw("in/a.png", "in/deep/b.png", colour="red")
    draw("other/a.png", colour="blue")
    (folder / "link").symlink_to("in")
    before = (folder / "in/a.png").read_bytes()
    with pytest.raises(ConfigError, match="in is input and output at once; choose another output"):
        restore_files(restorer, inputs, output, overwrite=True)
    assert (folder / "in/a.png").read_bytes() == before


def test_an_input_is_not_replaced_by_the_restoration_of_another(restorer, folder):
    draw("a/x.png", colour="red")
    draw("b/x.png", colour="blue")
    before = (folder / "b/x.png").read_bytes()
    report = restore_files(restorer, ["a/x.png", "b/x.png"], "b", overwrite=True)
    assert [failure.source.parent.name for failure in report.failures] == ["a", "b"]
    assert (folder / "b/x.png").read_bytes() == before


def test_two_pictures_that_want_one_name_are_told_apart(restorer, folder):
    draw("a/x.png", "b/x.png", "b/y.png")
    report = restore_files(restorer, ["a", "b"], "out")
    assert files("out") == ["x.png", "y.png"]
    assert len(report.failures) == 1
    assert str(Path("b", "x.png")) in reasons(report)[0]
    assert f"as {Path('a', 'x.png')} is; give them different output folders" in reasons(report)[0]


def test_a_picture_given_twice_is_restored_once(restorer, folder):
    draw("a/x.png")
    report = restore_files(restorer, ["a/x.png", "a/x.png", "a", "./a/../a/x.png"], "out")
    assert len(report.restored) == 1
    assert report.failures == ()


def test_results_of_an_earlier_run_inside_the_folder_are_no_inputs(restorer, folder):
    draw("in/a.png")
    restore_files(restorer, ["in"], "in/out")
    restore_files(restorer, ["in"], "in/out", overwrite=True)
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
    assert reasons(restore_files(restorer, ["in"])) == ["in has no PNG or JPEG files; expected at least one"]
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


def test_an_interrupted_run_keeps_what_was_finished_and_leaves_nothing_half(restorer, folder):
    draw("a.png", "b.png")

    def interrupt(step):
        if step.source.name == "b.png":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_files(restorer, ["a.png", "b.png"], watch=interrupt)
    assert files() == ["a.png", "a_restored.png", "b.png"]

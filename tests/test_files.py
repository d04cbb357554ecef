"""A file is there whole, or as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mprnet.files import MACHINE, obstacle, remove_unfinished, status_of, written_whole


def test_a_file_that_fails_half_way_leaves_the_older_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("older")

    def fail_half_way() -> None:
        with written_whole(path) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail_half_way()
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_replaces_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("older")
    with written_whole(path) as unfinished:
        unfinished.write_text("newer")
        assert path.read_text() == "older"
    assert path.read_text() == "newer"


def test_a_very_long_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    with written_whole(path) as unfinished:
        unfinished.write_text("x")
    assert path.exists()


def test_the_name_on_the_way_is_hardly_longer_than_that_of_a_picture(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a.png") as unfinished:  # Windows has 260 letters for a whole path
        assert len(unfinished.name) < 40
        unfinished.touch()


def test_what_an_older_version_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".{'0123456789abcdef' * 2}-{MACHINE}-999999999.unfinished").touch()
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    killed = (
        "import os, pathlib, sys; from mprnet.files import written_whole\n"
        "with written_whole(pathlib.Path(sys.argv[1])) as unfinished: unfinished.touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path / "a")])
    assert [path.suffix for path in tmp_path.iterdir()] == [".unfinished"]
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_others_call_unfinished_stays(tmp_path: Path) -> None:
    for name in (".my-notes.unfinished", ".half-1.unfinished", "a.unfinished"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_what_another_machine_is_writing_stays_for_a_day(tmp_path: Path) -> None:
    for age_h in (0, 23, 25):
        path = tmp_path / f".{age_h:032x}-00000000-999999999.unfinished"
        path.touch()
        written = time.time() - age_h * 3600
        os.utime(path, (written, written))
    remove_unfinished(tmp_path)
    assert sorted(int(path.name[1:33], 16) for path in tmp_path.iterdir()) == [0, 23]


def test_what_a_living_process_is_writing_stays(tmp_path: Path) -> None:
    waiting = (
        "import pathlib, sys; from mprnet.files import written_whole\n"
        "with written_whole(pathlib.Path(sys.argv[1])) as file: file.write_text('other'); print(flush=True); input()"
    )
    command = [sys.executable, "-c", waiting, str(tmp_path / "other")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with written_whole(tmp_path / "own") as unfinished:
            unfinished.write_text("own")
            remove_unfinished(tmp_path)
        process.communicate("\n")
    assert sorted((path.name, path.read_text()) for path in tmp_path.iterdir()) == [("other", "other"), ("own", "own")]


def test_what_stands_at_a_place_is_told_on_every_python(tmp_path):
    (tmp_path / "a").write_text("xyz")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert status_of(tmp_path / "a").st_size == 3
    for name in ("none", "a/b", "circle", "nul\0"):
        assert status_of(tmp_path / name) is None
    with pytest.raises(OSError, match="too long"):
        status_of(tmp_path / ("x" * 300))


def test_what_is_in_the_way_of_a_file_is_told(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    assert obstacle(tmp_path / "a") is None
    assert obstacle(tmp_path / "new" / "deeper" / "b") is None
    assert obstacle(tmp_path / "a" / "b") == f"{tmp_path / 'a'} is no folder"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert obstacle(tmp_path / "a") == f"{tmp_path / 'a'} may not be written to"
    assert obstacle(tmp_path / "new" / "b") == f"{tmp_path} may not be written to"


def test_where_the_system_says_yes_of_every_folder_it_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr("mprnet.files._SYSTEM", "win32")
    assert obstacle(tmp_path / "b") is None
    assert list(tmp_path.iterdir()) == []

    def locked(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", locked)
    assert obstacle(tmp_path / "b") == f"{tmp_path} may not be written to"


def test_a_drive_that_is_not_there_is_an_obstacle(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    assert obstacle(tmp_path / "b") == f"{tmp_path.anchor} does not exist"


def test_a_name_that_somebody_planted_stops_nothing(tmp_path):
    planted = tmp_path / f".{'0' * 32}-{MACHINE}-{'9' * 11}.unfinished"
    planted.touch()
    remove_unfinished(tmp_path)
    assert planted.exists()

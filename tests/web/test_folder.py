from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mprnet.errors import ImageError
from mprnet.web.folder import Folder, own_folder


def make_old(path: Path, seconds: float = 7200) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_what_is_old_and_not_in_use_is_removed(folder):
    old, new, used = folder.make_folder(), folder.make_folder(), folder.make_folder()
    for each in (old, new, used):
        (each / "a.png").write_bytes(b"a")
    stray = folder.path / "stray"
    stray.touch()
    for each in (old, used, stray):
        make_old(each)
    with folder.using([used / "a.png"]):
        folder.sweep()
        assert {*folder.path.iterdir()} == {new, used}
    folder.sweep()  # an hour from the end of its use
    assert {*folder.path.iterdir()} == {new, used}
    make_old(used)
    folder.sweep()
    assert [*folder.path.iterdir()] == [new]


def test_what_two_use_is_kept_until_both_are_done(folder):
    used = folder.make_folder()
    with folder.using([used]):
        with folder.using([used]):
            pass
        make_old(used)
        folder.sweep()
        assert used.exists()


def test_of_uploads_that_broke_off_nothing_is_kept_for_long(folder):
    broken, going_on = folder.path / "tmpabc", folder.path / "tmpdef"
    for path in (broken, going_on):
        path.touch()
    make_old(broken, 700)
    folder.sweep()
    assert [*folder.path.iterdir()] == [going_on]


def test_a_file_that_is_gone_is_one_line(folder):
    with pytest.raises(ImageError, match="within the hour; drop it again"):
        folder.uploaded(str(folder.path / "gone.png"))


def test_the_folder_is_swept_while_it_is_there_and_gone_afterwards(monkeypatch):
    monkeypatch.setattr("mprnet.web.folder._EVERY_SECONDS", 0.01)
    with own_folder() as folder:
        old = folder.make_folder()
        make_old(old)
        deadline = time.monotonic() + 20
        while old.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not folder.path.exists()

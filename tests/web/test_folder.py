from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from mprnet.errors import ImageError
from mprnet.files import MACHINE
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
    for each in (old, used):
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


def test_uploads_wait_as_long_as_anything_is_in_use(folder):
    upload, run = folder.path / "upload", folder.make_folder()
    upload.mkdir()
    make_old(upload)
    with folder.using([run]):
        folder.sweep()
        assert upload.exists()
    folder.sweep()
    assert [*folder.path.iterdir()] == [run]


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


def test_folders_of_processes_that_were_killed_go(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, elsewhere, living, other = (
        tmp_path / name
        for name in (
            f"mprnet-web-{MACHINE}-999999999-abc",
            f"mprnet-web-{'0' * 8}-999999999-abc",
            f"mprnet-web-{MACHINE}-{os.getppid()}-abc",
            "mprnet-web-of-somebody",
        )
    )
    for path in (killed, elsewhere, living, other):
        path.mkdir()
        (path / "a.png").touch()
    (tmp_path / f"mprnet-web-{MACHINE}-999999998-abc").symlink_to(other)
    with own_folder() as folder:
        assert folder.path.parent == tmp_path
        assert f"-{os.getpid()}-" in folder.path.name
    assert not killed.exists()
    assert all((path / "a.png").exists() for path in (elsewhere, living, other))

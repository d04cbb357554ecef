from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mprnet.errors import ConfigError
from mprnet.network import set_local_pooling
from mprnet.restoration import PictureOptions
from mprnet.restoration.journal import Entry, Journal, settings_of, sha256_of

ENTRY = Entry("aa", "bb", "cc")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_was_written_is_found_again_by_its_target(tmp_path):
    path = tmp_path / "out" / "log.jsonl"
    journal = Journal(path, {"digest": "cc"})
    assert journal.find(tmp_path / "out/a.png") is None
    journal.add("restored", Path("in/a.png"), tmp_path / "out/a.png", ENTRY, seconds=1.5)
    journal.add("failed", Path("in/b.png"), tmp_path / "out/b.png", reason="b.png is empty")
    journal.add("skipped", Path("in/a.png"), tmp_path / "out/a.png")
    journal.end(interrupted=False)
    summary = lines(path)[-1]["summary"]
    assert summary.pop("seconds") >= 0
    assert lines(path)[:-1] == [
        {"run": {"digest": "cc"}},
        {
            "source": str(Path("in/a.png")),
            "target": "a.png",
            "source_sha256": "aa",
            "target_sha256": "bb",
            "settings": "cc",
            "seconds": 1.5,
            "outcome": "restored",
        },
        {"source": str(Path("in/b.png")), "target": "b.png", "reason": "b.png is empty", "outcome": "failed"},
        {"source": str(Path("in/a.png")), "target": "a.png", "outcome": "skipped"},
    ]
    assert summary == {"restored": 1, "skipped": 1, "failed": 1, "interrupted": False}
    again = Journal(path, {"digest": "dd"})
    assert again.find(tmp_path / "out/a.png") == ENTRY
    assert again.find(tmp_path / "out/b.png") is None


def test_a_folder_can_be_moved_with_its_log(tmp_path):
    Journal(tmp_path / "old/log.jsonl", {}).add("restored", Path("a"), tmp_path / "old/deep/a.png", ENTRY)
    (tmp_path / "old").rename(tmp_path / "new")
    assert Journal(tmp_path / "new/log.jsonl", {}).find(tmp_path / "new/deep/a.png") == ENTRY


def test_a_target_outside_of_the_log_s_folder_is_found_too(tmp_path):
    Journal(tmp_path / "logs/log.jsonl", {}).add("restored", Path("a"), tmp_path / "a.png", ENTRY)
    assert Journal(tmp_path / "logs/log.jsonl", {}).find(tmp_path / "a.png") == ENTRY


def test_a_line_that_was_cut_off_is_no_line_and_spoils_no_other(tmp_path):
    path = tmp_path / "log.jsonl"
    Journal(path, {}).add("restored", Path("a"), tmp_path / "a.png", ENTRY)
    with path.open("ab") as file:
        file.write(b'{"source": "b", "targ')
    journal = Journal(path, {})
    assert journal.find(tmp_path / "a.png") == ENTRY
    journal.add("restored", Path("c"), tmp_path / "c.png", ENTRY)
    again = Journal(path, {})
    assert again.find(tmp_path / "a.png") == again.find(tmp_path / "c.png") == ENTRY


def test_a_line_for_which_there_was_no_room_is_an_error_and_spoils_no_other(tmp_path):
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files, which Windows has not")
    journal = Journal(path := tmp_path / "log.jsonl", {})
    journal.add("restored", Path("a"), tmp_path / "a.png", ENTRY)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            journal.add("restored", Path("b"), tmp_path / "b.png", ENTRY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert journal.find(tmp_path / "b.png") is None
    journal.add("restored", Path("c"), tmp_path / "c.png", ENTRY)
    again = Journal(path, {})
    assert [again.find(tmp_path / f"{name}.png") for name in "abc"] == [ENTRY, None, ENTRY]


def test_a_name_of_any_bytes_is_found_again(tmp_path):
    target = tmp_path / os.fsdecode(b"\xff\n.png")
    Journal(tmp_path / "log.jsonl", {}).add("restored", target, target, ENTRY)
    assert Journal(tmp_path / "log.jsonl", {}).find(target) == ENTRY


@pytest.mark.parametrize("content", ["my notes\n", '{"other": 1}\n', "\0\0"])
def test_a_file_that_is_no_log_is_left_alone(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"log\.jsonl is no log of mprnet; choose another name"):
        Journal(path, {})
    assert path.read_text() == content


def test_a_log_has_no_picture_s_name_and_is_no_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"the name of a picture; expected one that ends in \.jsonl"):
        Journal(tmp_path / "a.png", {})
    with pytest.raises(ConfigError, match=r"is a folder or no ordinary file; choose another name"):
        Journal(tmp_path, {})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_log_is_no_pipe_that_would_be_waited_for_and_no_device(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ConfigError, match=r"is a folder or no ordinary file; choose another name"):
            Journal(place, {})


def test_the_digest_is_the_same_for_the_same_settings_and_another_for_others(make_inverter):
    options = PictureOptions()

    def digest(restorers=None, options=options, **more):
        return settings_of(restorers or [make_inverter()], options, **more)["digest"]

    other_weights = make_inverter()
    with torch.no_grad():
        next(other_weights.model.parameters()).mul_(1.001)
    turned = make_inverter()
    turned.ensemble = True
    falling = make_inverter()
    falling.ensemble = falling.upright = True
    elsewhere = make_inverter()
    set_local_pooling(elsewhere.model, 64)
    coarse = make_inverter()
    coarse.scales = 2
    digests = [
        digest(),
        digest([other_weights]),
        digest([make_inverter(num_cab=2)]),
        digest([make_inverter(), make_inverter()]),
        digest([turned]),
        digest([falling]),
        digest([coarse]),
        digest([elsewhere]),
        digest(options=replace(options, stage=2)),
        digest(options=replace(options, stage="auto", budget_seconds=1)),
        digest(options=replace(options, stage="auto", budget_seconds=2)),
        digest(options=replace(options, strength=0.5)),
        digest(options=replace(options, quality=80)),
        digest(options=replace(options, subsampling="4:2:0")),
        digest(crf=20),
    ]
    assert len(set(digests)) == len(digests)
    assert digest() == digest(options=replace(options, compare=True, overwrite=True, format="png")) == digests[0]


def test_the_hash_of_a_file_is_that_of_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

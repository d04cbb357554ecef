"""`mprnet prepare`, called as from a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mprnet.datasets import TRAINING_SETS, pair_folders

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Answer


@pytest.fixture
def gopro(tmp_path: Path) -> Path:
    for side in ("blur", "sharp"):
        for number in range(3):
            path = tmp_path / "set" / "train" / "GOPR0372_07_00" / side / f"{number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((24, 32, 3), 50 * number, np.uint8)).save(path)
    return tmp_path / "set"


def test_crops_are_made_and_counted_in_plain_lines(command: Callable[..., Answer], gopro: Path, tmp_path: Path) -> None:
    options = ("--crop", 16, "--overlap", 8, "--workers", 1, "--partial")
    answer = command("prepare", "gopro", gopro, tmp_path / "out", *options)
    assert answer.code == 0
    assert answer.out == f"{tmp_path / 'out'}: 3 pictures made into 18 pairs, 0 done before, 0 failed\n"
    assert answer.err.splitlines() == [f"gopro: {done} of 3 pictures" for done in range(4)]
    assert len(pair_folders(tmp_path / "out")) == 18
    again = command("prepare", "gopro", gopro, tmp_path / "out", *options)
    assert again.out == f"{tmp_path / 'out'}: 0 pictures made into 0 pairs, 3 done before, 0 failed\n"


def test_a_broken_picture_is_named_counted_and_ends_with_an_error(
    command: Callable[..., Answer], gopro: Path, tmp_path: Path
) -> None:
    broken = gopro / "train" / "GOPR0372_07_00" / "sharp" / "000001.png"
    broken.write_bytes(b"nothing")
    answer = command(
        "prepare", "gopro", gopro, tmp_path / "out", "--crop", 16, "--overlap", 8, "--workers", 1, "--partial"
    )
    assert answer.code == 1
    assert [line for line in answer.err.splitlines() if line.startswith(f"mprnet: {broken} ")]
    assert "2 pictures made into 12 pairs, 0 done before, 1 failed" in answer.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("gopro", "--count", 3), "mprnet: --count does not go with gopro; expected --crop, --overlap\n"),
        (("sidd", "--overlap", 3), "mprnet: --overlap does not go with sidd; expected --crop, --count, --seed\n"),
        (("rain", "--seed", 3), "mprnet: --seed does not go with rain; expected none of these options\n"),
        (("gopro", "--overlap", 512), "mprnet: crops of 512 overlap by 512; expected 0 ≤ overlap < side\n"),
        (("hide",), f"mprnet: unknown training set 'hide'; expected one of {', '.join(TRAINING_SETS)}\n"),
    ],
)
def test_a_mistake_is_one_line(
    command: Callable[..., Answer], gopro: Path, tmp_path: Path, arguments: tuple[object, ...], complaint: str
) -> None:
    name, *options = arguments
    answer = command("prepare", name, gopro, tmp_path / "out", *options)
    assert (answer.code, answer.out, answer.err) == (1, "", complaint)
    assert not (tmp_path / "out").exists()


def test_an_incomplete_set_says_what_the_paper_has(command: Callable[..., Answer], gopro: Path, tmp_path: Path) -> None:
    answer = command("prepare", "gopro", gopro, tmp_path / "out")
    assert answer.code == 1
    assert answer.err.startswith("mprnet: ")
    assert answer.err.count("\n") == 1
    assert "holds 3 pictures, but GoPro has 2103" in answer.err


def test_an_interrupted_run_says_that_what_was_finished_is_kept(
    command: Callable[..., Answer], gopro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mprnet.datasets.preparation.prepare", interrupt)
    answer = command("prepare", "gopro", gopro, tmp_path / "out")
    assert (answer.code, answer.err) == (130, "mprnet: interrupted; what was finished is kept\n")


def test_the_help_names_every_set(command: Callable[..., Answer]) -> None:
    from mprnet.cli.prepare import _SETS

    assert set(_SETS.split("|")) == TRAINING_SETS.keys()
    assert "run it again to go on" in " ".join(command("prepare", "--help").out.split())

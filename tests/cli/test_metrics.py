"""`mprnet metrics`, called as from a shell."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mprnet.cli import main
from mprnet.evaluation import PROTOCOLS, score
from mprnet.imaging import write_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RANDOM = np.random.default_rng(0)
TARGET = np.kron(RANDOM.integers(40, 200, (4, 5, 3)), np.ones((8, 8, 1))).astype(np.uint8)
RESTORED = (TARGET + RANDOM.integers(-9, 10, TARGET.shape)).astype(np.uint8)


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    for folder, pixels in (("restored", RESTORED), ("target", TARGET)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "[red]one.png")
    return [str(tmp_path / "restored"), str(tmp_path / "target")]


@pytest.fixture
def mprnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mprnet", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code or 0, *capsys.readouterr())

    return call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_json_holds_protocol_mean_and_images_and_nothing_else(
    mprnet: Callable[..., tuple[int, str, str]], pair: list[str], protocol: str
) -> None:
    code, out, err = mprnet("metrics", *pair, "--protocol", protocol, "--json")
    expected = score(RESTORED, TARGET, protocol)._asdict()
    assert code == 0
    assert err.count("\n") == (protocol == "sidd")  # which says that 8 bits are rounded
    assert json.loads(out) == {"protocol": protocol, "mean": expected, "images": {"[red]one": expected}}


def test_the_table_names_every_picture_and_the_mean(
    mprnet: Callable[..., tuple[int, str, str]], pair: list[str]
) -> None:
    code, out, err = mprnet("metrics", *pair, "--protocol", "rain")
    expected = score(RESTORED, TARGET, "rain")
    assert (code, err) == (0, "")
    assert "[red]one" in out
    assert "mean of 1" in out
    assert out.count(f"{expected.psnr:.3f}") == out.count(f"{expected.ssim:.5f}") == 2


def test_a_picture_that_is_not_measured_is_named_counted_and_ends_with_an_error(
    mprnet: Callable[..., tuple[int, str, str]], pair: list[str], tmp_path: Path
) -> None:
    (tmp_path / "restored" / "broken.png").write_bytes(b"nothing")
    (tmp_path / "target" / "broken.png").write_bytes(b"nothing")
    Image.fromarray(TARGET).save(tmp_path / "target" / "lost.png")
    code, out, err = mprnet("metrics", *pair, "--protocol", "gopro", "--json")
    report = json.loads(out)
    assert code == 1
    assert list(report["images"]) == ["[red]one"]
    assert list(report["failed"]) == ["broken", "lost"]
    lines = err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["broken", "lost", "mprnet"]
    assert lines[-1] == "mprnet: 2 of 3 pictures were not measured; the mean is over the others"
    assert "mean of only 1 of 3" in mprnet("metrics", *pair, "--protocol", "gopro")[1]


def test_pictures_of_8_bits_are_told_where_nothing_is_to_be_rounded(
    mprnet: Callable[..., tuple[int, str, str]], pair: list[str], tmp_path: Path
) -> None:
    code, _, err = mprnet("metrics", *pair, "--protocol", "sidd")
    assert code == 0
    assert err == (
        "mprnet: 1 of 1 have 8 bits, and sidd measures what was not rounded: this costs about 0.05 dB at 40 dB, and "
        "less below\n"
    )
    for folder, pixels in (("restored", RESTORED), ("target", TARGET)):
        (tmp_path / folder / "[red]one.png").unlink()
        write_image(pixels.astype(np.uint16) * 257, tmp_path / folder / "deep.png")
    assert mprnet("metrics", *pair, "--protocol", "sidd")[2] == ""


def test_identical_pictures_are_told(mprnet: Callable[..., tuple[int, str, str]], pair: list[str]) -> None:
    code, out, err = mprnet("metrics", pair[1], pair[1], "--protocol", "rgb", "--json")
    assert code == 0
    assert json.loads(out)["mean"]["psnr"] == math.inf
    assert err.startswith("1 of 1 measured as identical")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "nowhere", "--protocol", "rain"], "nowhere does not exist"),
        ([".", ".", "--protocol", "bsd"], "unknown protocol 'bsd': choose one of rain"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(
    mprnet: Callable[..., tuple[int, str, str]], arguments: list[str], words: str
) -> None:
    code, out, err = mprnet("metrics", *arguments)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert err.startswith(f"mprnet: {words}")


def test_the_help_names_every_protocol(mprnet: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = mprnet("metrics", "--help")
    assert code == 0
    assert all(name in out for name in PROTOCOLS)

"""`mprnet compare` writes a sheet and prints its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mprnet.imaging import read_image, write_image


def test_compare_writes_a_sheet_and_prints_its_path(command: Any, tmp_path: Path) -> None:
    for name, value in (("a", 50), ("b", 100), ("c", 150)):
        (tmp_path / name).mkdir()
        write_image(np.full((20, 30, 3), value, np.uint8), tmp_path / name / "x.png")
    folders = {name: str(tmp_path / name) for name in "abc"}
    out = tmp_path / "sheet.png"
    code, printed, error = command("compare", *(folders[name] for name in "abac"), "-o", str(out))
    assert (code, printed.strip(), error) == (0, str(out), "")
    lines = [tuple(dict.fromkeys(row)) for row in read_image(out).pixels[..., 0].tolist()]
    laid = [line[1:] for line in dict.fromkeys(lines) if lines.count(line) == 20]  # the first value is the ground
    assert laid == [(50, 100), (50, 150)]
    arguments = ("compare", *folders.values(), "-o", str(out), "--overwrite")
    assert command(*arguments, "--columns", "3").code == 0
    lines = [tuple(dict.fromkeys(row)) for row in read_image(out).pixels[..., 0].tolist()]
    assert [line[1:] for line in dict.fromkeys(lines) if lines.count(line) == 20] == [(50, 100, 150)]
    assert command(*arguments).err == (
        "mprnet: got 3 folders for rows of 2; expected BEFORE AFTER and so on, or another --columns\n"
    )


@pytest.mark.parametrize("folders", [("none", "none"), ("alone",)])
def test_compare_says_what_is_wrong_in_one_line(command: Any, tmp_path: Path, folders: tuple[str, ...]) -> None:
    code, _, error = command("compare", *folders, "-o", str(tmp_path / "s.png"))
    assert code == 1
    assert error.startswith("mprnet: ")
    assert len(error.splitlines()) == 1

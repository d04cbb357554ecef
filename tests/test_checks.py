"""Programs that people run by hand still find what they import, and do nothing before they are asked."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parent / "checks").glob("*.py"))


@pytest.mark.skipif(sys.platform == "win32", reason="one of them reads the limits that a process has elsewhere")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_is_imported_without_a_word(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightning", reason="two of them need the extra train (Lightning)")
    assert callable(runpy.run_path(str(program), run_name="imported")["main"])
    assert capsys.readouterr() == ("", "")

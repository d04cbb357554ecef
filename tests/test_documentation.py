"""What the documents show, runs.

Blocks marked `sh` and `python` are executed, in order, in a folder that holds the samples. Blocks marked `console` are
only read: they need data, hours or a network that a test has not; `make demo` has a test of its own.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from mprnet.cli import app
from mprnet.degradation.tasks import DEGRADATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EVERYTHING = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "src").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
RESULT = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)


def blocks(document: Path) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in BLOCK.findall(document.read_text(encoding="utf-8"))]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # these tests may themselves be run by make
        environment.pop(name, None)
    return subprocess.run(command, cwd=folder, env=environment, input="\n", capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if {"sh", "python"} & dict(blocks(path)).keys()], ids=lambda path: path.name
)
def test_every_command_of_a_document_runs(document: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    for kind, text in blocks(document):
        command = {"sh": ["bash", "-euo", "pipefail", "-c", text], "python": [sys.executable, "-c", text]}.get(kind)
        if command:
            done = run(command, tmp_path)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            if results := RESULT.findall(text):
                assert done.stdout.splitlines() == results


@pytest.mark.parametrize("document", EVERYTHING, ids=lambda path: path.name)
def test_every_block_of_a_document_says_of_what_kind_it_is(document: Path) -> None:
    found = blocks(document)
    assert {kind for kind, _ in found} <= {"sh", "python", "console", "bibtex"}
    assert len(re.findall(r"^ *(?:```|~~~)", document.read_text(encoding="utf-8"), re.MULTILINE)) == 2 * len(found)


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a block, in words, without comments; those of a pipe each."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        for between, command in itertools.groupby(words, lambda word: set(word) <= set("|&;<>")):
            if not between:
                yield list(command)


def test_every_command_that_is_not_run_is_one_that_there_is() -> None:
    read = [
        command for path in EVERYTHING for kind, text in blocks(path) if kind == "console" for command in commands(text)
    ]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in read:
        if "mprnet" in words:  # also behind torchrun
            name, *arguments = words[words.index("mprnet") + 1 :]
            get_command(app).commands[name].make_context(name, arguments)
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file()
        elif words[0] == "make":
            assert set(words[1:]) <= set(targets)
    assert sum("mprnet" in words for words in read) > 20


def test_make_demo_restores_the_samples_and_prints_the_sheet_s_path(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    environment = tmp_path / "environment"  # stands for the one that make would create
    (environment / "bin").mkdir(parents=True)
    for program in ("mprnet", "python"):
        (environment / "bin" / program).write_text(f'#!/bin/sh\nexec "{Path(sys.executable).parent}/{program}" "$@"\n')
        (environment / "bin" / program).chmod(0o755)
    (environment / ".installed").touch()
    done = run(["make", "demo", f"VENV={environment}"], tmp_path)
    assert done.returncode == 0, done.stderr
    sheet = tmp_path / done.stdout.splitlines()[-1]
    assert sheet.is_file()
    for task in ("derain", "deblur", "denoise"):
        given = sorted(path.name for path in (tmp_path / "samples" / task / "input").iterdir())
        assert given
        assert sorted(path.name for path in (sheet.parent / task).iterdir()) == sorted([*given, "mprnet-log.jsonl"])


def defaults_of(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for each in dataclasses.fields(settings):
        if dataclasses.is_dataclass(each.default):
            yield from defaults_of(each.default, f"{prefix}{each.name}.")
        else:
            default = list(each.default) if isinstance(each.default, tuple) else each.default
            yield f"{prefix}{each.name}", "–" if default is None else str(default)


def test_every_setting_of_a_degradation_is_listed_with_its_default() -> None:
    text = (ROOT / "docs" / "degradations.md").read_text(encoding="utf-8").partition("\n## Settings\n")[2]
    for task, kind in DEGRADATIONS.items():
        table = text.partition(f"(`{task}`)\n")[2].partition("\n### ")[0]
        listed = re.findall(r"^\| `([\w.]+)` \| (.+?) \| .+ \|$", table, re.MULTILINE)
        assert listed == list(defaults_of(kind))


def anchors(document: Path) -> set[str]:
    """The names by which GitHub leads to the headings of a document."""
    headings = HEADING.findall(BLOCK.sub("", document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_of_a_document_leads_to_a_file_and_a_heading_of_it() -> None:
    broken = []
    for document in EVERYTHING:
        for link, anchor in LINK.findall(CODE.sub("", document.read_text(encoding="utf-8"))):
            target = document.parent / link if link else document
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{document.relative_to(ROOT)}: {link}#{anchor}")
    assert broken == []

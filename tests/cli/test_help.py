"""What `--help` lists: commands by what they are for, and the same option by the same names."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command

from mprnet.cli import app


def test_commands_are_listed_by_what_they_are_for_and_restore_first():
    panels = {}
    for name, command in get_command(app).commands.items():
        panels.setdefault(command.rich_help_panel, []).append(name)
    assert list(panels.items()) == [
        ("Restore", ["restore", "compare", "web"]),
        ("Measure", ["metrics", "evaluate", "table", "bench"]),
        ("Train", ["degrade", "prepare", "train"]),
        ("Networks and weights", ["info", "convert", "export"]),
    ]


def test_the_help_says_the_exit_codes():
    assert re.findall(r"\d+", get_command(app).epilog) == ["0", "1", "2", "130"]


@pytest.mark.parametrize("name", ["restore", "compare", "evaluate", "degrade", "train", "export"])
def test_where_to_write_has_the_same_names_everywhere(name):
    options = [set(option.opts) for option in get_command(app).commands[name].params]
    assert {"-o", "--out", "--output"} | ({"--report"} if name == "evaluate" else set()) in options

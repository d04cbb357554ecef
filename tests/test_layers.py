"""The house stands: imports point down, and what must be light is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "mprnet"

FLOORS = (
    {"control_groups", "errors", "files"},
    {"network", "settings"},
    {"imaging", "degradation"},
    {"backends", "checkpoints", "datasets", "weights"},
    {"bench", "restoration", "training", "evaluation", "export"},
    {"__init__"},  # the public names
    {"web"},
    {"cli"},
    {"__main__"},
)

SIDEWAYS = {
    ("bench", "evaluation"),  # what an engine costs in quality
    ("bench", "restoration"),  # which knows what fits the memory
    ("evaluation", "restoration"),  # a benchmark restores, then measures
}

OPTIONAL = {
    "av",
    "gradio",
    "h5py",
    "lightning",
    "nncf",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "pillow_heif",
    "pywt",
    "ray",
    "scipy",
    "skimage",
    "tensorboard",
    "torchmetrics",
    "torchvision",
}
"""Never imported at the top of a module, but inside the functions that need them."""

NEEDED = {("training", "lightning"), ("web", "gradio")}
"""Rooms that are nothing without the package, and that others import inside functions."""

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor_of(room: str) -> int:
    return next((number for number, floor in enumerate(FLOORS) if room in floor), -1)


def imports(tree: ast.AST, *, only_top: bool = False) -> Iterator[str]:
    """Yield the dotted name of everything that is imported; `only_top`: when the module itself is."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A dot in front is kept, so that a relative import is found and refused.
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)
        elif not (only_top and (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_types(node))):
            yield from imports(node, only_top=only_top)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def wrong_imports(room: str, source: str) -> list[str]:
    """The imports of a module in `room` that point up or sideways, or name no room."""
    wrong = []
    for name in imports(ast.parse(source)):
        first, *rest = name.split(".")
        if first not in ("mprnet", "") or rest == ["__version__"]:
            continue
        target = rest[0] if rest and floor_of(rest[0]) >= 0 else "__init__"
        down = floor_of(target) < floor_of(room)
        if first == "" or not (target == room or down or (room, target) in SIDEWAYS):
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    assert wrong_imports(room_of(path), path.read_text(encoding="utf-8")) == []


def test_an_import_that_points_up_or_sideways_would_be_found():
    up = "def f():\n    from mprnet.checkpoints import load_checkpoint"
    assert wrong_imports("network", up) == ["mprnet.checkpoints.load_checkpoint"]
    assert wrong_imports("network", "import mprnet") == ["mprnet"]
    assert wrong_imports("network", "from mprnet import MPRNet") == ["mprnet.MPRNet"]
    assert wrong_imports("degradation", "from mprnet import imaging") == ["mprnet.imaging"]
    assert wrong_imports("imaging", "from .files import read_image") == [".files.read_image"]
    assert wrong_imports("network", "from mprnet import __version__") == []
    assert wrong_imports("cli", "from mprnet import Restorer\nimport mprnet.errors\nimport torch") == []


def test_every_room_has_a_floor_and_every_floor_its_rooms():
    assert sorted({room_of(path) for path in FILES}) == sorted(room for floor in FLOORS for room in floor)


def test_every_way_sideways_is_taken():
    taken = {
        (room_of(path), name.split(".")[1])
        for path in FILES
        for name in imports(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith("mprnet.")
    }
    assert taken >= SIDEWAYS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_optional_packages_are_imported_where_they_are_needed(path):
    at_top = {name.split(".")[0] for name in imports(ast.parse(path.read_text(encoding="utf-8")), only_top=True)}
    assert {package for package in at_top & OPTIONAL if (room_of(path), package) not in NEEDED} == set()


def test_the_package_and_the_command_line_load_without_torch():
    commands = [f"mprnet.cli.{path.stem}" for path in (PACKAGE / "cli").glob("*.py") if path.stem != "__init__"]
    program = f"import sys, mprnet, mprnet.cli, {', '.join(commands)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "mprnet.cli" in loaded
    heavy = {"torch", "numpy", "cv2", "PIL", "scipy", "safetensors", *OPTIONAL}
    assert heavy.intersection(loaded) == set()


def test_no_module_is_a_drawer():
    drawers = {"common", "helper", "helpers", "misc", "util", "utils"}
    names = {part.removesuffix(".py") for path in FILES for part in path.relative_to(PACKAGE).parts}
    assert names & drawers == set()

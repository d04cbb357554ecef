"""Recipes: everything that decides a training run, as a TOML file with a checked form.

Paths in a recipe are relative to `data.root`.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mprnet.degradation import DEGRADATIONS, Degradation
from mprnet.errors import ConfigError
from mprnet.network import PRESETS, SIZE_MULTIPLE, TASKS

SHIPPED = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class CleanData:
    """A folder of clean pictures: `shrink` is the range of factors they are scaled by, `weight` how often drawn."""

    folder: str
    shrink: tuple[float, float] = (1.0, 1.0)
    weight: float = 1.0


@dataclass(frozen=True)
class PairData:
    """A folder with `input/` and `target/`: `weight` is how often it is drawn."""

    folder: str
    weight: float = 1.0


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Args:
        root: where the folders lie.
        clean: folders of pictures that are degraded on the fly.
        pairs: paired folders.
        rain_layers: paired folders whose rain is laid over clean pictures.
        rain_layer_share: share of the clean pictures' crops that get such rain.
        crop_px: side of a crop, a multiple of 8.
        batch: crops a step, on each device.
        workers: processes that make crops; 0 makes them in the training process.
        cache_mib: memory for decoded pictures, in each of those.
    """

    root: str = "data"
    clean: tuple[CleanData, ...] = ()
    pairs: tuple[PairData, ...] = ()
    rain_layers: tuple[str, ...] = ()
    rain_layer_share: float = 0.5
    crop_px: int = 256
    batch: int = 16
    workers: int = 0
    cache_mib: int = 1024


@dataclass(frozen=True)
class Validation:
    """What is looked at on the way: never a test set.

    Args:
        pairs: paired folder, or
        clean: folder of clean pictures, degraded with a fixed seed as `degradation` says.
        degradation: settings of the task's degradation for these.
        count: the first so many pictures.
        every: training steps between two looks; a checkpoint is written at each.
    """

    pairs: str = ""
    clean: str = ""
    degradation: dict[str, Any] = field(default_factory=dict)
    count: int = 8
    every: int = 1000


@dataclass(frozen=True)
class Optimization:
    """How it is trained.

    Args:
        steps: optimizer steps.
        rate: highest learning rate.
        final_rate: the rate that the cosine ends at.
        warmup: steps of linear warm-up.
        clip_norm: the gradient's norm is cut to this; 0 leaves it.
        ema_decay: decay of the moving average of the weights, which is what is kept.
        edge_weight: λ of Equation 1.
        precision: `bf16` computes in bfloat16 where that is safe, `fp32` does not.
    """

    steps: int = 400_000
    rate: float = 2e-4
    final_rate: float = 1e-6
    warmup: int = 1000
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    edge_weight: float = 0.05
    precision: Literal["bf16", "fp32"] = "bf16"


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Args:
        task: what is undone: derain, deblur or denoise.
        preset: the network.
        weights: shipped name or file to begin with; empty begins at random.
        seed: of everything drawn.
        degradation: settings of the task's degradation; see `mprnet.degradation`.
        data: what is trained on.
        validation: what is looked at.
        optimization: how.
    """

    task: str
    preset: str = "lite"
    weights: str = ""
    seed: int = 1
    degradation: dict[str, Any] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    validation: Validation = field(default_factory=Validation)
    optimization: Optimization = field(default_factory=Optimization)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"task is {self.task!r}; expected one of {', '.join(TASKS)}")
        if self.preset not in PRESETS:
            raise ConfigError(f"preset is {self.preset!r}; expected one of {', '.join(PRESETS)}")
        if self.data.crop_px < SIZE_MULTIPLE or self.data.crop_px % SIZE_MULTIPLE:
            raise ConfigError(f"data.crop_px is {self.data.crop_px}; expected a multiple of {SIZE_MULTIPLE} above 0")
        for name, value in (
            ("data.batch", self.data.batch),
            ("validation.every", self.validation.every),
            ("validation.count", self.validation.count),
            ("optimization.steps", self.optimization.steps),
        ):
            if value < 1:
                raise ConfigError(f"{name} is {value}; expected at least 1")
        if not self.data.clean and not self.data.pairs:
            raise ConfigError("data.clean and data.pairs are empty; expected a folder in one of them")
        if bool(self.validation.pairs) == bool(self.validation.clean):
            raise ConfigError("expected one of validation.pairs and validation.clean")
        make_degradation(self.task, self.degradation)
        make_degradation(self.task, self.validation.degradation)


def make_degradation(task: str, settings: Mapping[str, Any]) -> Degradation:
    """Build a task's degradation with some of its settings changed.

    Raises:
        ConfigError: a setting does not exist or is of the wrong type.
    """
    return _build(DEGRADATIONS[task], settings, f"degradation ({task})")


def find_recipe(name_or_path: str | Path) -> Path:
    """Return the path of a recipe: a file, or the name of a shipped one.

    Raises:
        ConfigError: neither exists.
    """
    for candidate in (Path(name_or_path), SHIPPED / f"{name_or_path}.toml", SHIPPED / str(name_or_path)):
        if candidate.is_file():
            return candidate
    names = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.toml")))
    raise ConfigError(f"no recipe {name_or_path!s}; expected a .toml file or one of {names}")


def load_recipe(path: str | Path, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply changes to it.

    Args:
        path: the file, or the name of a shipped recipe.
        changes: `key=value` each, the key with dots (`optimization.steps=100`), the value as in TOML; a value
            that is not TOML is a string.

    Raises:
        ConfigError: unreadable, or an entry is unknown, of the wrong type or impossible; the message names it.
    """
    path = find_recipe(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    for change in changes:
        _apply(content, change)
    return _build(Recipe, content, "recipe")


def _apply(content: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"got {change!r}; expected key=value, for example optimization.steps=1000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise ConfigError(f"{key!r} cannot be set: {parent!r} is not a table")
    content[last] = value


def _build(kind: Any, content: Mapping[str, Any], where: str) -> Any:
    """Make a dataclass from a table, checking names and types."""
    fields = {each.name: each for each in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    unknown = sorted(content.keys() - fields.keys())
    if unknown:
        raise ConfigError(f"{where} has no entry {unknown[0]!r}; expected some of {', '.join(fields)}")
    for name, each in fields.items():
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if required and name not in content:
            raise ConfigError(f"{where} lacks the entry {name!r}")
    return kind(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in content.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return _build(hint, value, where)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_convert(kind, each, where) for kind, each in zip(kinds, value, strict=True))
    elif origin is Literal:
        if value in arguments:
            return value
    elif origin is types.UnionType:
        if type(value) in arguments:
            return value
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is (origin or hint):
        return value
    expected = hint if origin else getattr(hint, "__name__", hint)
    raise ConfigError(f"{where} is {value!r}; expected {expected}")

"""Recipes: everything that decides a training run, as a TOML file with a checked form.

Paths in a recipe are relative to `data.root`.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mprnet.datasets import Growth
from mprnet.degradation import make_degradation
from mprnet.errors import ConfigError
from mprnet.files import PathLike
from mprnet.network import SIZE_MULTIPLE, TASKS, MPRNetConfig, preset
from mprnet.settings import apply_change, build
from mprnet.training.loss import RootOver

_SHIPPED = Path(__file__).parent / "recipes"


def _check(name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise ConfigError(f"{name} is {value}; expected {expected}")


def _check_weight(name: str, weight: float) -> None:
    _check(name, weight, 0 < weight < math.inf, "more than 0")


@dataclass(frozen=True)
class CleanData:
    """A folder of clean pictures; one that stands twice is drawn in both ways.

    Args:
        folder: where they lie.
        shrink: range of factors they are scaled by, above 0, up to 1.
        weight: how often they are drawn.
        soften_px: range of the standard deviation, in pixels, of the Gaussian that softens them, once scaled.
        grey: whether they are made black and white, and degraded so.
    """

    folder: str
    shrink: tuple[float, float] = (1.0, 1.0)
    weight: float = 1.0
    soften_px: tuple[float, float] = (0.0, 0.0)
    grey: bool = False

    def __post_init__(self) -> None:
        low, high = self.shrink
        where = f"data.clean ({self.folder})"
        _check(f"{where}: shrink", list(self.shrink), 0 < low <= high <= 1, "lowest and highest, above 0, up to 1")
        least, most = self.soften_px
        _check(f"{where}: soften_px", list(self.soften_px), 0 <= least <= most < math.inf, "least and most, 0 or more")
        _check_weight(f"{where}: weight", self.weight)


@dataclass(frozen=True)
class PairData:
    """A folder with `input/` and `target/`: `weight` is how often it is drawn."""

    folder: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(f"data.pairs ({self.folder}): weight", self.weight)


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Args:
        root: where the folders lie.
        clean: folders of pictures that are degraded on the fly.
        pairs: paired folders.
        rain_layers: paired folders whose rain is laid over clean pictures, enlarged as the drawn rain is.
        rain_layer_share: share of the clean pictures' crops that get such rain.
        crop_px: side of a crop, a multiple of 8.
        batch: crops a step, on each device.
        growth: from a step on, crops of another side and number; in the order of the steps.
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
    growth: tuple[Growth, ...] = ()
    workers: int = 0
    cache_mib: int = 1024

    def __post_init__(self) -> None:
        if not self.clean and not self.pairs:
            raise ConfigError("data.clean and data.pairs are empty; expected a folder in one of them")
        share = self.rain_layer_share
        _check("data.rain_layer_share", share, 0 <= share <= 1, "0 to 1")
        begun = 0
        for where, size in (("data", Growth(0, self.crop_px, self.batch)), *(("data.growth", g) for g in self.growth)):
            fits = size.crop_px > 0 and size.crop_px % SIZE_MULTIPLE == 0
            _check(f"{where}.crop_px", size.crop_px, fits, f"a multiple of {SIZE_MULTIPLE} above 0")
            _check(f"{where}.batch", size.batch, size.batch >= 1, "at least 1")
        for size in self.growth:
            _check("data.growth.step", size.step, size.step > begun, f"more than {begun}")
            begun = size.step
        _check("data.workers", self.workers, self.workers >= 0, "0 or more")
        _check("data.cache_mib", self.cache_mib, self.cache_mib >= 0, "0 or more")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the folders, without what lies above them.

        Example:
            >>> Data(pairs=(PairData("sets/gopro"), PairData("sets/own"), PairData("sets/gopro"))).names
            ('gopro', 'own')
        """
        folders = [*(data.folder for data in self.clean), *(data.folder for data in self.pairs), *self.drawn_layers]
        return tuple(dict.fromkeys(Path(folder).name or folder for folder in folders))

    @property
    def drawn_layers(self) -> tuple[str, ...]:
        """Those of `rain_layers`, or none where there are no clean pictures to lay them over, or no share of them.

        Example:
            >>> Data(pairs=(PairData("rain"),), rain_layers=("layers",)).drawn_layers
            ()
        """
        return self.rain_layers if self.clean and self.rain_layer_share else ()

    def size_after(self, steps: int) -> Growth:
        """Return side and number of the crops that the last of so many steps saw on each device."""
        begun = Growth(0, self.crop_px, self.batch)
        return next((growth for growth in reversed(self.growth) if growth.step < steps), begun)


@dataclass(frozen=True)
class Validation:
    """What is looked at on the way; it should be no test set.

    Args:
        pairs: paired folder, or
        clean: folder of clean pictures, degraded with a fixed seed as `degradation` says.
        degradation: settings of the task's degradation for these.
        count: the first so many pictures.
        every: training steps between two looks, beside the one at the end; a checkpoint is written at each.
        log_every: training steps between two losses in the logs.
    """

    pairs: str = ""
    clean: str = ""
    degradation: dict[str, Any] = field(default_factory=dict)
    count: int = 8
    every: int = 1000
    log_every: int = 50

    def __post_init__(self) -> None:
        if bool(self.pairs) == bool(self.clean):
            raise ConfigError("expected one of validation.pairs and validation.clean")
        for name in ("count", "every", "log_every"):
            _check(f"validation.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")


@dataclass(frozen=True)
class Optimization:
    """How it is trained.

    Args:
        steps: optimizer steps.
        minutes: end after so many minutes of training, where the steps have not ended it: the cosine follows what is
            further on. 0 leaves it to the steps.
        rate: highest learning rate.
        final_rate: the rate that the cosine ends at, up to `rate`.
        warmup: steps of linear warm-up, fewer than `steps`; the clock does not shorten it.
        clip_norm: the gradient's norm is cut to this; 0 leaves it.
        ema_decay: decay of the moving average of the weights, which is what is kept.
        edge_weight: λ of Equation 1.
        root_over: of what Equation 2 takes the root: `numbers`, as the published training, or `pictures`, as the paper,
            but with the mean over a picture for the sum.
        stages: the first so many are trained and validated; what follows is not computed and keeps its weights (but for
            the PReLU, which all stages share).
        precision: `bf16` computes in bfloat16 where that is safe; `fp32` does not; nor does `tf32`, which lets GPUs of
            CUDA shorten the factors of float32 products, and is `fp32` elsewhere.
        compile: have torch write code for the network, once for each size of crop: minutes, then faster steps.
    """

    steps: int = 400_000
    minutes: float = 0.0
    rate: float = 2e-4
    final_rate: float = 1e-6
    warmup: int = 1000
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    edge_weight: float = 0.05
    root_over: RootOver = "numbers"
    stages: int = 3
    precision: Literal["bf16", "tf32", "fp32"] = "bf16"
    compile: bool = False

    def __post_init__(self) -> None:
        _check("optimization.steps", self.steps, self.steps >= 1, "at least 1")
        _check("optimization.rate", self.rate, 0 < self.rate < math.inf, "more than 0")
        _check("optimization.ema_decay", self.ema_decay, 0 <= self.ema_decay < 1, "0 to less than 1")
        _check("optimization.stages", self.stages, self.stages in (1, 2, 3), "1, 2 or 3")
        for name in ("minutes", "final_rate", "warmup", "clip_norm", "edge_weight"):
            _check(f"optimization.{name}", getattr(self, name), 0 <= getattr(self, name) < math.inf, "0 or more")
        most = f"at most optimization.rate, {self.rate}"
        _check("optimization.final_rate", self.final_rate, self.final_rate <= self.rate, most)
        fewer = f"fewer than optimization.steps, {self.steps}"
        _check("optimization.warmup", self.warmup, self.warmup < self.steps, fewer)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    Args:
        task: what is undone: derain, deblur or denoise.
        preset: the network.
        network: hyper-parameters of `MPRNetConfig` that differ from the preset's.
        weights: shipped name or file to begin with, which brings its own network; empty begins at random.
        widen: make the network of `weights` that of `preset` and `network`, without changing what it computes.
        seed: of everything drawn.
        degradation: settings of the task's degradation; see `mprnet.degradation`.
        data: what is trained on.
        validation: what is looked at.
        optimization: how.

    Raises:
        ConfigError: an entry is impossible, or contradicts another; the message names it.
    """

    task: str
    preset: str = "lite"
    network: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    widen: bool = False
    seed: int = 1
    degradation: dict[str, Any] = field(default_factory=dict)
    data: Data
    validation: Validation
    optimization: Optimization = field(default_factory=Optimization)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"task is {self.task!r}; expected one of {', '.join(TASKS)}")
        _check("seed", self.seed, 0 <= self.seed < 2**63, "0 or more, and less than 2^63")
        if self.data.rain_layers and self.task != "derain":
            raise ConfigError(f"data.rain_layers is for the task derain; got the task {self.task}")
        if self.weights and self.network and not self.widen:
            raise ConfigError(
                "weights bring their own network; expected no entry `network` beside `weights`, or widen=true"
            )
        if self.widen and not self.weights:
            raise ConfigError("widen is true and there are no weights; expected an entry `weights` to widen")
        if self.config.in_channels != 3:
            raise ConfigError(f"network.in_channels is {self.config.in_channels}; training reads RGB, expected 3")
        make_degradation(self.task, self.degradation)
        make_degradation(self.task, self.validation.degradation)

    @property
    def config(self) -> MPRNetConfig:
        """The hyper-parameters of a network that begins at random, or is widened.

        Raises:
            ConfigError: no such preset, or a hyper-parameter is unknown or impossible.
        """
        chosen: MPRNetConfig = build(
            MPRNetConfig, {**dataclasses.asdict(preset(self.preset)), **self.network}, "network"
        )
        return chosen


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that travel with the package by name, sorted.

    Example:
        >>> [name for name in shipped_recipes() if name.startswith("lite")]
        ['lite-deblur', 'lite-denoise', 'lite-derain']
    """
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.toml"))}


def find_recipe(name_or_path: PathLike) -> Path:
    """Return the path of a recipe: a file, or the name of a shipped one.

    Raises:
        ConfigError: neither exists.
    """
    for candidate in (Path(name_or_path), _SHIPPED / f"{name_or_path}.toml", _SHIPPED / str(name_or_path)):
        if candidate.is_file():
            return candidate
    names = ", ".join(shipped_recipes())
    raise ConfigError(f"no recipe {name_or_path!s}; expected a .toml file or one of {names}")


def load_recipe(path: PathLike, changes: Iterable[str] = ()) -> Recipe:
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
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    for change in changes:
        apply_change(content, change)
    chosen: Recipe = build(Recipe, content, "recipe")
    return chosen

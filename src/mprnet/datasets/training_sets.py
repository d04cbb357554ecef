"""The training sets of the paper: those of Table 1 (13,712 pairs of rain in four sets, GoPro, SIDD), and of Table 4."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mprnet.datasets.benchmarks import GOPRO_LAYOUTS, INPUT_TARGET, RAIN_LAYOUTS
from mprnet.datasets.layouts import (
    FileItem,
    Files,
    Halves,
    HalvesItem,
    Item,
    ListFile,
    PictureSet,
    SetNotFoundError,
    SetSpec,
)
from mprnet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class TrainingSpec(SetSpec):
    """A row of `TRAINING_SETS`."""

    splits: tuple[str, ...] = ("train", "training")


def _rain(title: str, count: int, *folders: str, halves: tuple[Halves, ...] = ()) -> TrainingSpec:
    return TrainingSpec(
        title=title,
        task="derain",
        expected_count=count,
        folders=(title, *folders),
        layouts=(*RAIN_LAYOUTS, Files("{name}_in", "{name}_GT"), *halves),
    )


def _realblur(kind: str) -> TrainingSpec:
    return TrainingSpec(
        title=f"RealBlur-{kind}",
        task="deblur",
        expected_count=3_758,
        folders=(f"RealBlur-{kind}", f"RealBlur_{kind}"),
        layouts=INPUT_TARGET,
        lists=(ListFile(f"RealBlur_{kind}_train_list.txt"),),
        shared_folders=("RealBlur",),
    )


RAIN_SETS: dict[str, TrainingSpec] = {
    "rain14000": _rain("Rain14000", 11_200),
    "rain1800": _rain("Rain1800", 1_800, "RainTrainH"),
    "rain800": _rain("Rain800", 700, halves=(Halves("{name}", degraded="right"),)),
    "rain12": _rain("Rain12", 12),
}
"""The parts of the rain that the paper trains on; of Rain1200 it takes none, by Table 1."""


@dataclass(frozen=True, kw_only=True)
class _AllRain(TrainingSpec):
    """The four sets side by side, or gathered in one folder."""

    def find(self, root: Path, *, allow_partial: bool = False, inside: bool = True) -> Sequence[Item]:
        items: list[Item] = []
        absent = []
        for name, spec in RAIN_SETS.items():
            try:
                # The folder that is given holds the parts; it is none of them.
                part = spec.find(root, allow_partial=allow_partial, inside=False)
            except SetNotFoundError:
                absent.append(spec.title)
            else:
                items += [_renamed(item, f"{name}-{item.name}") for item in part]
        if not items:
            try:
                return super().find(root, allow_partial=allow_partial, inside=inside)
            except SetNotFoundError as error:
                raise SetNotFoundError(f"{error}; nor is there any of {', '.join(absent)}") from error
        if absent and not allow_partial:
            raise DataError(
                f"{root} lacks {', '.join(absent)}; add what is missing, or allow a partial set (--partial)"
            )
        return items


TRAINING_SETS: dict[str, TrainingSpec] = {
    "rain": _AllRain(
        title="Rain13K",
        task="derain",
        expected_count=sum(spec.expected_count for spec in RAIN_SETS.values()),
        # One picture had a wrong size and was taken out (https://github.com/swz30/MPRNet/issues/74).
        published_count=13_711,
        folders=("Rain13K",),
        layouts=INPUT_TARGET,
    ),
    **RAIN_SETS,
    "gopro": TrainingSpec(
        title="GoPro",
        task="deblur",
        expected_count=2_103,
        folders=("GoPro", "GOPRO_Large", "GOPRO"),
        layouts=GOPRO_LAYOUTS,
    ),
    # Of the second setting of Table 4; Table 1 has none of it.
    "realblur-j": _realblur("J"),
    "realblur-r": _realblur("R"),
    "sidd": TrainingSpec(
        title="SIDD-Medium",
        task="denoise",
        expected_count=320,
        folders=("SIDD_Medium_Srgb", "SIDD"),
        splits=("Data", "train"),
        layouts=(
            Files("{scene}/{id}_NOISY_SRGB_{number}", "{scene}/{id}_GT_SRGB_{number}", name="{scene}-{number}"),
            *INPUT_TARGET,
        ),
    ),
}
"""The training sets, by name."""


def open_training_set(name: str, root: Path | str, *, allow_partial: bool = False) -> PictureSet:
    """Find a training set and check its layout and its count; pictures are read later.

    Args:
        name: a key of `TRAINING_SETS`.
        root: the folder of the set, or one that holds it under one of its common names.
        allow_partial: take a set whose count differs from the paper's and from that of the copy its authors publish.

    Raises:
        ConfigError: there is no such set.
        DataError: the set is not there, incomplete, or holds a name twice; the message says what is missing where.
    """
    if name not in TRAINING_SETS:
        raise ConfigError(f"unknown training set {name!r}; expected one of {', '.join(TRAINING_SETS)}")
    spec = TRAINING_SETS[name]
    items = spec.find(Path(root), allow_partial=allow_partial)
    return PictureSet(name, spec.task, items, spec.complete_count(items))


def _renamed(item: Item, name: str) -> Item:
    if not isinstance(item, FileItem | HalvesItem):
        raise TypeError(f"{item!r} has no name to change")
    return replace(item, name=name)

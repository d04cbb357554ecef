"""The test sets of Table 1 of the paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from mprnet.datasets.layouts import Files, Halves, ListFile, PictureSet, SetSpec
from mprnet.datasets.real_noise import DndBoxes, SiddBlocks
from mprnet.errors import ConfigError

INPUT_TARGET = (
    Files("input/{name}", "target/{name}"),
    Files("input/{name}", "groundtruth/{name}"),
)
"""How re-packagings lay out any set."""

RAIN_LAYOUTS = (
    *INPUT_TARGET,
    Files("rain/rain-{name}", "norain/norain-{name}"),
    Files("rain/X2/norain-{name}x2", "norain/norain-{name}"),
    Files("rain/{name}", "norain/{name}"),
    Files("rainy/rain-{name}", "norain-{name}"),
    Files("rainy/rain-{name}", "gt/norain-{name}"),
    Files("rainy/{name}", "gt/{name}"),
    # Fourteen rains on one background.
    Files("rainy_image/{name}_{number}", "ground_truth/{name}", name="{name}_{number}"),
    Files("rainy image/{name}_{number}", "ground truth/{name}", name="{name}_{number}"),
    Files("rain-{name}", "norain-{name}"),
)
"""How the deraining sets and their copies lie on disk."""

GOPRO_LAYOUTS = (
    Files("{scene}/blur/{name}", "{scene}/sharp/{name}", name="{scene}-{name}"),
    Files("{scene}/blur_gamma/{name}", "{scene}/sharp/{name}", name="{scene}-{name}"),
    *INPUT_TARGET,
    Files("blur/{name}", "sharp/{name}"),
)
"""GoPro's sequences; `blur_gamma` is read where there is no `blur`."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkSpec(SetSpec):
    """A row of `BENCHMARKS`.

    Attributes:
        protocol: how it is measured, a key of `mprnet.evaluation.PROTOCOLS`; None where only its server can.
    """

    protocol: str | None
    splits: tuple[str, ...] = ("test", "testing")


@dataclass(frozen=True)
class Benchmark(PictureSet):
    """A test set that was found.

    Attributes:
        protocol: how it is measured, a key of `mprnet.evaluation.PROTOCOLS`; None where only its server can.
    """

    protocol: str | None

    def only(self, patterns: Sequence[str]) -> Self:
        """Return the part of the set whose pictures' names fit any of the patterns, in the order of the set.

        Args:
            patterns: names, in which `*` and `?` stand for any letters and any one.

        Raises:
            ConfigError: nothing fits one of them.
        """
        names = [item.name for item in self.items]
        chosen: set[str] = set()
        for pattern in patterns:
            fitting = {name for name in names if name == pattern or fnmatchcase(name, pattern)}
            if not fitting:
                raise ConfigError(f"{self.name} has no picture {pattern!r}; expected such as {', '.join(names[:2])}")
            chosen |= fitting
        items = [item for item in self.items if item.name in chosen]
        return dataclasses.replace(self, items=items)


def _rain(
    title: str, count: int, *folders: str, halves: tuple[Halves, ...] = (), published: int | None = None
) -> BenchmarkSpec:
    return BenchmarkSpec(
        title=title,
        task="derain",
        protocol="rain",
        expected_count=count,
        published_count=published,
        folders=(title, *folders),
        splits=("test", "testing", "test_syn"),
        layouts=(*RAIN_LAYOUTS, *halves),
    )


def _realblur(kind: str) -> BenchmarkSpec:
    return BenchmarkSpec(
        title=f"RealBlur-{kind}",
        task="deblur",
        protocol="realblur",
        expected_count=980,
        folders=(f"RealBlur-{kind}", f"RealBlur_{kind}"),
        layouts=INPUT_TARGET,
        lists=(ListFile(f"RealBlur_{kind}_test_list.txt"),),
        shared_folders=("RealBlur",),
    )


BENCHMARKS: dict[str, BenchmarkSpec] = {
    # Image De-raining Using a Conditional GAN trains from right to left: the clean half is the left one. The paper's
    # authors measured 98 pictures, as MSPFN did, and publish these (https://github.com/swz30/MPRNet/issues/23).
    "test100": _rain("Test100", 100, "Rain800", halves=(Halves("{name}", degraded="right"),), published=98),
    "rain100h": _rain("Rain100H", 100),
    "rain100l": _rain("Rain100L", 100),
    "test2800": _rain("Test2800", 2800, "Rain14000"),
    "test1200": _rain("Test1200", 1200, "Rain1200", "DID-MDN-test", halves=(Halves("{name}", degraded="left"),)),
    "gopro": BenchmarkSpec(
        title="GoPro",
        task="deblur",
        protocol="gopro",
        expected_count=1111,
        folders=("GoPro", "GOPRO_Large", "GOPRO"),
        layouts=GOPRO_LAYOUTS,
    ),
    "hide": BenchmarkSpec(
        title="HIDE",
        task="deblur",
        protocol="hide",
        expected_count=2025,
        folders=("HIDE", "HIDE_dataset"),
        layouts=(Files("test/{kind}/{name}", "GT/{name}"), *INPUT_TARGET),
    ),
    "realblur-j": _realblur("J"),
    "realblur-r": _realblur("R"),
    "sidd": BenchmarkSpec(
        title="SIDD validation",
        task="denoise",
        protocol="sidd",
        expected_count=40 * 32,
        folders=("SIDD", "SIDD_Validation_sRGB"),
        splits=("val", "validation", "test"),
        layouts=(
            SiddBlocks(),
            *INPUT_TARGET,
            Files("input_crops/{name}", "gt_crops/{name}"),
            Files("input_crops/{name}", "target_crops/{name}"),
        ),
    ),
    "dnd": BenchmarkSpec(
        title="DND",
        task="denoise",
        protocol=None,
        expected_count=50 * 20,
        folders=("DND", "dnd_2017"),
        layouts=(DndBoxes(),),
    ),
}
"""The test sets of Table 1, by name."""


def open_benchmark(name: str, root: Path | str, *, allow_partial: bool = False) -> Benchmark:
    """Find a test set and check its layout and its count; pictures are read later.

    Args:
        name: a key of `BENCHMARKS`.
        root: the folder of the set, or one that holds it under one of its common names.
        allow_partial: take a set whose count differs from the paper's and from that of the copy its authors publish.

    Raises:
        ConfigError: there is no such benchmark.
        DataError: the set is not there, incomplete, or holds a name twice; the message says what is missing where.
        MissingExtraError: a package that reads MATLAB files is not installed.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"unknown benchmark {name!r}; expected one of {', '.join(BENCHMARKS)}")
    spec = BENCHMARKS[name]
    items = spec.find(Path(root), allow_partial=allow_partial)
    return Benchmark(name, spec.task, items, spec.complete_count(items), spec.protocol)

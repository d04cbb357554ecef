"""Who measures how: one row a benchmark, so that a figure can stand beside the published ones.

The rows differ in colour, rounding, SSIM and alignment, and the differences are large: the same two pictures can read
0.71 by one SSIM of this table and 0.96 by another.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mprnet.errors import ConfigError, ImageError
from mprnet.evaluation.metrics import (
    align,
    masked_psnr,
    masked_ssim,
    rgb_psnr,
    rgb_ssim_3d,
    rgb_ssim_per_channel,
    y_psnr,
    y_ssim,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    Picture = NDArray[Any]
    Pair = Callable[[Picture, Picture], tuple[Picture, ...]]


class Score(NamedTuple):
    """What one restored picture reaches: PSNR in dB (`inf` if identical to its target) and SSIM (at most 1)."""

    psnr: float
    ssim: float


def mean_score(scores: Iterable[Score]) -> Score:
    """Return the mean over pictures, each counting once; one infinite PSNR makes the mean infinite.

    Sums are exact: the order does not matter.

    Args:
        scores: of one picture at least.

    Example:
        >>> mean_score([Score(30.0, 0.9), Score(32.0, 0.7)])
        Score(psnr=31.0, ssim=0.8)
    """
    return Score(*(fmean(values) for values in zip(*scores, strict=True)))


def to_json(report: Mapping[str, Any]) -> str:
    """Write a report that holds scores, or what they gain, as JSON, indented.

    An infinite PSNR is written as `1e999`: JSON has no word for infinity, and parsers read that number as one.

    Example:
        >>> print(to_json({"psnr": float("inf")}))
        {
          "psnr": 1e999
        }
    """
    text = json.dumps(report, indent=2, ensure_ascii=False)
    return re.sub(r"(?m)(: -?)Infinity(,?)$", r"\g<1>1e999\2", text)


def _as_they_are(restored: Picture, target: Picture) -> tuple[Picture, ...]:
    return restored, target


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is measured: a row of `PROTOCOLS`.

    Attributes:
        name: as `--protocol` takes it.
        benchmarks: the test sets whose published tables were measured so.
        colour: what is compared, the rounded luma or all three colours.
        rounding: to 8 bits, as saving a PNG does, or none.
        psnr: PSNR in dB of what `alignment` returns.
        ssim: SSIM of what `alignment` returns.
        alignment: takes a pair in this rounding, uint8 or floats in [0, 1]; returns the arguments of `psnr` and `ssim`.
        averaging: what counts once in the mean.
    """

    name: str
    benchmarks: str
    colour: Literal["Y", "RGB"]
    rounding: Literal["8 bits", "none"]
    psnr: Callable[..., float]
    ssim: Callable[..., float]
    alignment: Pair = _as_they_are
    averaging: str = "a picture"


PROTOCOLS = {
    row.name: row
    for row in (
        Protocol(
            name="rain",
            benchmarks="Test100, Rain100H, Rain100L, Test2800, Test1200 (Table 2)",
            colour="Y",
            rounding="8 bits",
            psnr=y_psnr,
            ssim=y_ssim,
        ),
        Protocol(
            name="gopro",
            benchmarks="GoPro (Table 3)",
            colour="RGB",
            rounding="8 bits",
            psnr=partial(rgb_psnr, data_range=255),
            ssim=partial(rgb_ssim_3d, data_range=255),
        ),
        Protocol(
            name="hide",
            benchmarks="HIDE (Table 3)",
            colour="RGB",
            rounding="8 bits",
            psnr=partial(rgb_psnr, data_range=255),
            ssim=partial(rgb_ssim_3d, data_range=255),
        ),
        Protocol(
            name="realblur",
            benchmarks="RealBlur-J, RealBlur-R (Table 4)",
            colour="RGB",
            rounding="8 bits",
            psnr=masked_psnr,
            ssim=masked_ssim,
            alignment=partial(align, data_range=255),
        ),
        Protocol(
            name="sidd",
            benchmarks="SIDD validation (Table 5)",
            colour="RGB",
            rounding="none",
            psnr=partial(rgb_psnr, data_range=1),
            ssim=partial(rgb_ssim_3d, data_range=1),
            averaging="a block of 256×256",
        ),
        Protocol(
            name="rgb",
            benchmarks="Kodak24 and other sets of pictures, as most Python programs measure them",
            colour="RGB",
            rounding="8 bits",
            psnr=partial(rgb_psnr, data_range=255),
            ssim=partial(rgb_ssim_per_channel, data_range=255),
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """Return a row of `PROTOCOLS`.

    Raises:
        ConfigError: there is no such row.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {name!r}: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def score(restored: Picture, target: Picture, protocol: Protocol | str) -> Score:
    """Measure a restored picture against its target as a benchmark does.

    Args:
        restored: `(H, W, 3)`, RGB: uint8, uint16 (range 65535), or floats in [0, 1].
        target: the same size; if both hold integers, of the same depth.
        protocol: a row of `PROTOCOLS`, or its name.

    Returns:
        PSNR in dB and SSIM, after the rounding and the alignment that the protocol says.

    Raises:
        ConfigError: there is no such protocol.
        ImageError: sizes or depths differ, a picture is not RGB or out of range, or what the metrics raise.

    Example:
        >>> black = np.zeros((16, 16, 3), dtype=np.uint8)
        >>> score(black, black, "gopro")
        Score(psnr=inf, ssim=1.0)
    """
    row = get_protocol(protocol) if isinstance(protocol, str) else protocol
    depths = {picture.dtype for picture in (restored, target) if np.issubdtype(picture.dtype, np.integer)}
    if len(depths) > 1:
        raise ImageError(f"the bit depths differ: restored {restored.dtype}, target {target.dtype}")
    arguments = row.alignment(_in_range_of(row, restored), _in_range_of(row, target))
    return Score(psnr=row.psnr(*arguments), ssim=row.ssim(*arguments))


def _in_range_of(protocol: Protocol, picture: Picture) -> Picture:
    """Return the picture in the protocol's range: uint8, or float64 in [0, 1]."""
    if protocol.rounding == "8 bits" and picture.dtype == np.uint8:
        return picture
    unit = _unit_range(picture)
    return np.rint(unit * 255).astype(np.uint8) if protocol.rounding == "8 bits" else unit


def _unit_range(picture: Picture) -> Picture:
    if picture.dtype in (np.uint8, np.uint16):
        return picture / float(np.iinfo(picture.dtype).max)
    if not np.issubdtype(picture.dtype, np.floating):
        raise ImageError(f"a picture of {picture.dtype}: expected uint8, uint16, or floats in [0, 1]")
    if picture.size and not (picture.min() >= 0 and picture.max() <= 1):  # written so that NaN fails too
        raise ImageError(f"floats from {picture.min():g} to {picture.max():g}: expected [0, 1]; clamp or divide first")
    return picture.astype(np.float64)

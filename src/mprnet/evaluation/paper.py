"""The paper's tables as data, and its rule for the reduction in error that stands in parentheses behind the scores.

A reduction is always relative to the best of its column, so that a row that is added changes the others.

Source: Zamir et al., "Multi-Stage Progressive Image Restoration", CVPR 2021: Tables 2 to 7 (`tables.toml`),
Section 4.1 for the rule.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mprnet.errors import ConfigError
from mprnet.evaluation.protocols import Score, mean_score

if TYPE_CHECKING:
    from collections.abc import Mapping

AVERAGE = "average"
"""The column that is the mean of the others."""


class Reduction(NamedTuple):
    """By which part the best of a column lowers the error of a row: 0 for the best itself, near 1 for a bad one."""

    psnr: float
    ssim: float


@dataclass(frozen=True)
class Row:
    """A method's results.

    Attributes:
        method: its name.
        scores: PSNR in dB and SSIM, one a column of the table; None where there is none.
        reference: its number in the paper's bibliography; None for what is not cited there.
        setting: rows are compared only with those of the same one (Table 4 has two).
        extra_data: whether it was trained with additional data (Table 5).
        reductions: what the paper prints in parentheses, as fractions.
    """

    method: str
    scores: tuple[Score | None, ...]
    reference: int | None = None
    setting: str = ""
    extra_data: bool = False
    reductions: tuple[Reduction | None, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of the paper, or one with rows of ours in it.

    Attributes:
        number: the paper's.
        title: what was measured.
        columns: the test sets by the names of `mprnet.datasets`; `average` may come last.
        rows: the methods, as printed.
    """

    number: int
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def with_row(self, method: str, scores: dict[str, Score], *, setting: str = "") -> Table:
        """Return the table with one more row below.

        Args:
            method: the name of the row.
            scores: by test set; the average is computed where all the sets of the table are there.
            setting: as `Row.setting`.

        Raises:
            ConfigError: the table has no such test set.
        """
        sets = tuple(column for column in self.columns if column != AVERAGE)
        if foreign := sorted(scores.keys() - set(sets)):
            raise ConfigError(f"Table {self.number} has no column {foreign[0]!r}; expected some of {', '.join(sets)}")
        found = {name: scores.get(name) for name in sets}
        present = [score for score in found.values() if score is not None]
        if len(present) == len(sets):
            found[AVERAGE] = mean_score(present)
        row = Row(method, tuple(found.get(column) for column in self.columns), setting=setting)
        return dataclasses.replace(self, rows=(*self.rows, row))

    def reductions(self) -> tuple[tuple[Reduction | None, ...], ...]:
        """Return, for each row and column, the reduction in error that the best of the column brings over it."""
        return tuple(tuple(self.reduction(row, column) for column in range(len(self.columns))) for row in self.rows)

    def best(self, setting: str, column: int) -> Score:
        """Return the highest PSNR and the highest SSIM of a column, each whosever it is.

        Args:
            setting: the rows to look at.
            column: its index.
        """
        scores = [row.scores[column] for row in self.rows if row.setting == setting]
        return Score(*(max(values) for values in zip(*filter(None, scores), strict=True)))

    def reduction(self, row: Row, column: int) -> Reduction | None:
        """Return the reduction in error that the best of a column brings over a row; None where it has no score."""
        score = row.scores[column]
        if score is None:
            return None
        best = self.best(row.setting, column)
        return Reduction(rmse_reduction(score.psnr, best.psnr), dssim_reduction(score.ssim, best.ssim))


class StageWise(NamedTuple):
    """A row of Table 7: GoPro, seconds on an Nvidia Titan Xp (its pictures are 1280×720)."""

    method: str
    psnr: float
    parameters_m: float
    seconds: float
    reference: int | None = None


class Ablation(NamedTuple):
    """A row of Table 6: GoPro, trained on crops of 128×128 for 10⁵ steps; the last one is the whole network."""

    stages: int
    combination: str
    sam: bool
    csff: bool
    psnr: float


def ablation_of(config: Mapping[str, Any], psnr_db: float) -> Ablation:
    """Return the row of Table 6 that a network has.

    Args:
        config: its hyper-parameters, as `MPRNetConfig.entries` returns them.
        psnr_db: what it reaches on GoPro.

    Example:
        >>> ablation_of({"combination": "unet+unet+orsnet", "sam": True, "csff": False}, 30.31) == paper_ablations()[7]
        True
    """
    stages = config.get("combination", "unet+unet+orsnet")
    combination = stages.replace("unet+unet+", "unets+").replace("unet", "U-Net").replace("orsnet", "ORSNet")
    sam, csff = config.get("sam", True), config.get("csff", True)
    return Ablation(stages.count("+") + 1, combination.replace("+", " + "), sam, csff, psnr_db)


def rmse_reduction(psnr_db: float, best_db: float) -> float:
    """Return by which part the best result lowers the root of the mean square error: RMSE ∝ √10^(−PSNR/10).

    Example:
        >>> round(100 * rmse_reduction(30.75, 32.73), 1)  # MSPFN and MPRNet, Table 2
        20.4
    """
    return 0.0 if psnr_db == best_db else 1 - 10 ** ((psnr_db - best_db) / 20)


def dssim_reduction(ssim: float, best: float) -> float:
    """Return by which part the best result lowers the dissimilarity: DSSIM = (1 − SSIM) / 2.

    Example:
        >>> round(100 * dssim_reduction(0.903, 0.921), 1)
        18.6
    """
    return 0.0 if ssim == best else 1 - (1 - best) / (1 - ssim)


@functools.cache
def paper_tables() -> dict[int, Table]:
    """Return Tables 2, 3, 4 and 5 by their numbers, as printed.

    Example:
        >>> paper_tables()[3].rows[-1].scores[0]
        Score(psnr=32.66, ssim=0.959)
    """
    return {each["number"]: _table(**each) for each in _read()["table"]}


@functools.cache
def paper_stages() -> tuple[StageWise, ...]:
    """Return the rows of Table 7."""
    return tuple(StageWise(**row) for row in _read()["stage_wise"])


@functools.cache
def paper_ablations() -> tuple[Ablation, ...]:
    """Return the rows of Table 6.

    Example:
        >>> *_, without_csff, whole = paper_ablations()
        >>> round(whole.psnr - without_csff.psnr, 2)
        0.18
    """
    return tuple(Ablation(**row) for row in _read()["ablation"])


def table_with(dataset: str) -> Table | None:
    """Return the table of the paper that has a test set; None if none has."""
    with_it = (table for table in paper_tables().values() if dataset in table.columns and dataset != AVERAGE)
    return next(with_it, None)


def _read() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "tables.toml").read_text(encoding="utf-8"))


def _table(number: int, title: str, columns: list[str], rows: list[dict[str, Any]]) -> Table:
    return Table(number, title, tuple(columns), tuple(_row(**row) for row in rows))


def _row(scores: list[list[float]], reductions: list[list[float]], **fields: Any) -> Row:
    return Row(
        scores=tuple(Score(*pair) if pair else None for pair in scores),
        reductions=tuple(Reduction(*(value / 100 for value in pair)) if pair else None for pair in reductions),
        **fields,
    )

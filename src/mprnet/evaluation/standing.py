"""Where results stand: the paper's tables with our rows in them, every reduction in error recomputed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from mprnet.datasets.benchmarks import BENCHMARKS
from mprnet.errors import DataError
from mprnet.evaluation.paper import AVERAGE, table_with

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mprnet.evaluation.paper import Reduction, Row, Table
    from mprnet.evaluation.protocols import Score
    from mprnet.evaluation.results import Results

PART = "part"
"""The setting of a row that is not over whole sets: it is compared with nothing."""

_OF_MACHINES = ("backend", "precision")
"""What machines choose by themselves, which changes no figure that a table shows; int8 is in the label."""

REALBLUR = "trained on RealBlur"
"""The second setting of Table 4."""


class Standing(NamedTuple):
    """A table of the paper with rows of ours below those that are printed.

    Attributes:
        table: both.
        printed: how many rows are the paper's.
        notes: what is to be read below it, a sentence or two each.
        tiles: which pictures of ours were not restored whole, a sentence each.
    """

    table: Table
    printed: int
    notes: tuple[str, ...]
    tiles: tuple[str, ...]


def standings(found: Sequence[Results]) -> list[Standing]:
    """Put results into the tables that have their test sets.

    Results of one method over several whole sets of a table share a row, which has an average where they are over all.
    What is in no table, such as pairs of one's own and noise that was put in, is passed over.

    Args:
        found: results, in the order of their rows.

    Returns:
        list: one for each table that has any of the sets, by their numbers.

    Raises:
        DataError: a method was measured twice over one set.
    """
    rows: dict[int, dict[str, list[Results]]] = {}
    tables: dict[int, Table] = {}
    for results in found:
        table = table_with(results.settings["dataset"])
        if table is None or results.settings.get("noise") or results.mean() is None:
            continue
        tables[table.number] = table
        _place(results, rows.setdefault(table.number, {}))
    return [_standing(tables[number], list(rows[number].values())) for number in sorted(tables)]


def _place(results: Results, rows: dict[str, list[Results]]) -> None:
    """Put results into the row of their method, or begin one."""
    dataset, method = results.settings["dataset"], results.settings["method"]
    part = "" if results.is_complete else dataset  # what was measured in part stands by itself
    likely = {key: fact for key, fact in method.items() if key not in _OF_MACHINES}
    for facts in (likely, method):  # the second where one set was measured with several engines
        row = rows.setdefault(json.dumps([facts, results.label, part], sort_keys=True), [])
        twin = next((other for other in row if other.settings["dataset"] == dataset), None)
        if twin is None:
            row.append(results)
            return
        if twin.settings["method"] == method:
            break
    raise DataError(f"{results.label} was measured twice over {dataset}; expected each set once")


def to_markdown(standing: Standing) -> str:
    """Return a table as Markdown: PSNR and SSIM, the best of a column in bold, reductions where the paper has them."""
    table = standing.table
    lines = [f"Table {table.number}. {table.title}: PSNR (dB) / SSIM", ""]
    lines.append("".join(f"| {name} " for name in ("Method", *map(title_of, table.columns))) + "|")
    lines.append("|---" * (1 + len(table.columns)) + "|")
    for row, reductions in zip(table.rows, table.reductions(), strict=True):
        cells = [name_of(row).replace("|", r"\|").replace("*", r"\*")]
        for column, (score, reduction) in enumerate(zip(row.scores, reductions, strict=True)):
            cells.append(_cell(standing, row, column, score, reduction) if score else "–")
        lines.append("".join(f"| {cell} " for cell in cells) + "|")
    notes = (note.replace("*", r"\*") for note in (*standing.notes, *standing.tiles))
    return "\n".join((*lines, "", *notes))


def name_of(row: Row) -> str:
    """Return what stands before a row: the method with its marks, and its number in the paper's bibliography."""
    mark = {"": "", PART: "‡"}.get(row.setting, "†")
    return f"{mark}{row.method}{'*' * row.extra_data}" + (f" [{row.reference}]" if row.reference else "")


def title_of(dataset: str) -> str:
    """Write the name of a test set as the papers do.

    Example:
        >>> title_of("rain100h"), title_of("average"), title_of("my-pairs")
        ('Rain100H', 'Average', 'my-pairs')
    """
    if dataset == AVERAGE:
        return "Average"
    return BENCHMARKS[dataset].title if dataset in BENCHMARKS else dataset


def _standing(table: Table, rows: list[list[Results]]) -> Standing:
    printed = len(table.rows)
    learned = []
    for row in rows:
        first = row[0]
        scores: dict[str, Score] = {}
        for results in row:
            if mean := results.mean():
                scores[results.settings["dataset"]] = mean
        part = "" if first.is_complete else f", {first.coverage}"
        table = table.with_row(f"{first.label}{part}", scores, setting=PART if part else _setting(table, first))
        if "weights" in first.settings["method"]:
            names = first.settings["method"].get("trained_on")
            file = first.settings["method"]["weights"]
            learned.append(
                f"{file} was trained on {names}." if names else f"{file} does not say what it was trained on."
            )
    settings = {row.setting for row in table.rows}
    notes = ["In parentheses: by how much the best of the column lowers the error (RMSE, DSSIM), recomputed."]
    if PART in settings:
        notes.append("‡ of a part of the set; compared with nothing.")
    if settings - {"", PART}:
        notes.append("† trained on RealBlur; compared only among themselves.")
    if any(row.extra_data for row in table.rows):
        notes.append("* trained with additional data.")
    tiles = [
        f"{each.label} on {title_of(each.settings['dataset'])}: {each.in_tiles}, not whole."
        for row in rows
        for each in row
        if each.in_tiles
    ]
    return Standing(table, printed, (*notes, *dict.fromkeys(learned)), tuple(tiles))


def _setting(table: Table, results: Results) -> str:
    names = results.settings["method"].get("trained_on", "").lower().split(", ")
    return REALBLUR if table.number == 4 and any(name.startswith("realblur") for name in names) else ""


def _cell(standing: Standing, row: Row, column: int, score: Score, reduction: Reduction | None) -> str:
    texts = [f"{score.psnr:.2f}", f"{score.ssim:.3f}"]
    if row.setting != PART and reduction:
        best = standing.table.best(row.setting, column)
        texts = [f"**{text}**" if own == top else text for text, own, top in zip(texts, score, best, strict=True)]
        rows = standing.table.rows[: standing.printed]
        if any(each.reductions[column] for each in rows):  # of Table 2 the paper compares averages alone
            texts = [f"{text} ({one:.1%})" for text, one in zip(texts, reduction, strict=True)]
    return " / ".join(texts)

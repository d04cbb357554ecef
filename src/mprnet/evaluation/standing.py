"""Where results stand: the paper's tables with our rows in them."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mprnet.datasets.benchmarks import BENCHMARKS
from mprnet.errors import DataError
from mprnet.evaluation.paper import AVERAGE, ablation_of, paper_ablations, paper_tables, table_with
from mprnet.network import preset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mprnet.evaluation.paper import Ablation, Row, Table
    from mprnet.evaluation.protocols import Score
    from mprnet.evaluation.results import Results

PART = "part"
"""The setting of a row that is not over whole sets."""

UNKNOWN = "unknown"
"""The setting of a row of Table 4 of which nobody says whether it was trained on RealBlur."""

APART = (PART, UNKNOWN)
"""The settings of rows that are compared with nothing."""

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
    tiles: tuple[str, ...] = ()


class AblationStanding(NamedTuple):
    """Table 6 with networks of ours below those that are printed.

    Attributes:
        rows: the name of each, empty for the paper's, and what it is.
        notes: what is to be read below it, a sentence each.
    """

    rows: tuple[tuple[str, Ablation], ...]
    notes: tuple[str, ...]


def standings(found: Sequence[Results]) -> list[Standing]:
    """Put results into the tables that have their test sets.

    Results of one method over several whole sets of a table share a row, which has an average where they are over all.
    What is in no table, such as pairs of one's own and noise that was put in, is passed over, and in Table 3 the
    networks of Table 6 (`ablations`), which were trained for a quarter of the steps.

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
        if results.settings["dataset"] == "gopro" and _is_of_table_6(results):
            continue
        tables[table.number] = table
        _place(results, rows.setdefault(table.number, {}))
    return [_standing(tables[number], list(rows[number].values())) for number in sorted(tables)]


def _place(results: Results, rows: dict[str, list[Results]]) -> None:
    """Put results into the row of their method, or begin one."""
    dataset, method = results.settings["dataset"], results.settings["method"]
    part = "" if results.is_complete else dataset  # what was measured in part stands by itself
    apart = ("sha256",) if "restored" in method else _OF_MACHINES  # the pictures of each set are others
    likely = {key: fact for key, fact in method.items() if key not in apart}
    for facts in (likely, method):  # the second where one set was measured with several engines
        row = rows.setdefault(json.dumps([facts, results.label, part], sort_keys=True), [])
        twin = next((other for other in row if other.settings["dataset"] == dataset), None)
        if twin is None:
            row.append(results)
            return
        if twin.settings["method"] == method:
            break
    raise DataError(f"{results.label} was measured twice over {dataset}; expected each set once")


def ablations(found: Sequence[Results]) -> AblationStanding | None:
    """Put the networks of Table 6 that were measured on GoPro into it; None where there is none.

    These are those that lack something of the paper's, and whole ones of its size that were trained on crops of 128, as
    the recipe `paper-ablation` does.

    Args:
        found: results, in the order of their rows.
    """
    measured = [results for results in found if results.settings["dataset"] == "gopro" and _is_of_table_6(results)]
    ours, tiles = [], []
    for results, name in zip(measured, _names([(each.short_label, each) for each in measured]), strict=True):
        if mean := results.mean():
            ours.append((name, ablation_of(results.settings["method"]["config"], mean.psnr)))
            tiles += [f"{name}: {results.in_tiles}, not whole."] if results.in_tiles else []
    if not ours:
        return None
    note = "The paper's were trained on crops of 128×128 for 100,000 steps, as the recipe paper-ablation."
    return AblationStanding((*(("", row) for row in paper_ablations()), *ours), (note, *tiles))


def standing_of(table: Table) -> Standing:
    """Return a table of the paper, perhaps with rows of `Table.with_row`, and what is to be read below it."""
    settings = {row.setting for row in table.rows}
    notes = ["In parentheses: by how much the best of the column lowers the error (RMSE, DSSIM), recomputed."]
    if PART in settings:
        notes.append("‡ of a part of the set; compared with nothing.")
    if UNKNOWN in settings:
        notes.append("§ perhaps trained on RealBlur (--trained-on says it); compared with nothing.")
    if settings - {"", *APART}:
        notes.append("† trained on RealBlur; compared only among themselves.")
    if any(row.extra_data for row in table.rows):
        notes.append("* trained with additional data.")
    return Standing(table, len(paper_tables()[table.number].rows), tuple(notes))


def name_of(row: Row) -> str:
    """Return what stands before a row: the method with its marks, and its number in the paper's bibliography."""
    mark = {"": "", PART: "‡", UNKNOWN: "§"}.get(row.setting, "†")
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
    learned = []
    for row, name in zip(rows, _names([(row[0].label, row[0]) for row in rows]), strict=True):
        first = row[0]
        scores: dict[str, Score] = {}
        for results in row:
            if mean := results.mean():
                scores[results.settings["dataset"]] = mean
        table = table.with_row(name, scores, setting=_setting(table, first) if first.is_complete else PART)
        method = first.settings["method"]
        if names := method.get("trained_on"):
            learned.append(f"{method.get('weights') or method['name']} was trained on {names}.")
        elif "weights" in method:
            learned.append(f"{method['weights']} does not say what it was trained on.")
    standing = standing_of(table)
    tiles = [
        f"{each.label} on {title_of(each.settings['dataset'])}: {each.in_tiles}, not whole."
        for row in rows
        for each in row
        if each.in_tiles
    ]
    return standing._replace(notes=(*standing.notes, *dict.fromkeys(learned)), tiles=tuple(tiles))


def _names(rows: list[tuple[str, Results]]) -> list[str]:
    """Name the rows by label; weights of one name and other content by the first digits of their hash besides."""
    found = []
    for label, first in rows:
        part = "" if first.is_complete else f", {first.coverage}"
        found.append((f"{label}{part}", str(first.settings["method"].get("sha256", ""))[:8]))
    contents = Counter(name for name, _ in set(found))
    return [f"{name}, {digits}" if contents[name] > 1 else name for name, digits in found]


def _setting(table: Table, results: Results) -> str:
    method = results.settings["method"]
    if table.number != 4 or "trained_on" not in method:  # what has not learned from anything, such as a median
        return ""
    names = {name.strip() for name in method["trained_on"].lower().split(",")}
    if any(name.startswith("realblur") for name in names):
        return REALBLUR
    return UNKNOWN if names & {"", "unknown"} else ""


def _is_of_table_6(results: Results) -> bool:
    method = results.settings["method"]
    config = method.get("config", {})
    return "combination" in config or (config == preset("deblur").entries() and method.get("crop_px") == 128)

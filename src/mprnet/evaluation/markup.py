"""The paper's tables with our rows in them as text: Markdown, and LaTeX that needs no package."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mprnet.evaluation.paper import Table
from mprnet.evaluation.standing import APART, AblationStanding, Standing, name_of, standing_of, title_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mprnet.evaluation.paper import Ablation, Row

_LATEX_CHARACTERS = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "†": r"$^\dagger$",
        "‡": r"$^\ddagger$",
        "§": r"$^\S$",
        "×": r"$\times$",
        "–": "--",
    }
)


class _Form(NamedTuple):
    """How a form of text writes a figure; `best` and `second` hold its place."""

    escape: Callable[[str], str]
    best: str
    second: str


_MARKDOWN = _Form(lambda text: re.sub(r"([|*])", r"\\\1", text), "**{}**", "{}")
_LATEX = _Form(lambda text: text.translate(_LATEX_CHARACTERS), r"\textbf{{{}}}", r"\underline{{{}}}")


def to_markdown(table: Standing | AblationStanding | Table) -> str:
    """Return a table as Markdown: PSNR and SSIM, the best of a column in bold, reductions where the paper has them.

    Args:
        table: what `standings` or `ablations` returns, or a table of the paper, perhaps with rows of `Table.with_row`.
    """
    standing = standing_of(table) if isinstance(table, Table) else table
    title, head, rows = _parts(standing, _MARKDOWN)
    cells = [head, *([" / ".join(cell) for cell in row] for row in rows)]
    lines = ["".join(f"| {cell} " for cell in row) + "|" for row in cells]
    lines.insert(1, "|---" * len(head) + "|")
    return "\n".join((title, "", *lines, "", *map(_MARKDOWN.escape, _notes(standing))))


def to_latex(table: Standing | AblationStanding | Table) -> str:
    r"""Return a table as LaTeX, a `tabular` with its notes below: the best of a column in bold, the second underlined.

    Args:
        table: as for `to_markdown`.

    Example:
        >>> from mprnet.evaluation.paper import paper_tables
        >>> print(to_latex(paper_tables()[5]).splitlines()[3])
        Method & \multicolumn{2}{c}{SIDD validation} & \multicolumn{2}{c}{DND} \\
    """
    standing = standing_of(table) if isinstance(table, Table) else table
    title, head, rows = _parts(standing, _LATEX)
    heads = [" & ".join(head)]
    columns = "c" * (len(head) - 1)
    if isinstance(standing, Standing):
        columns *= 2
        heads = [" & ".join((head[0], *(rf"\multicolumn{{2}}{{c}}{{{name}}}" for name in head[1:])))]
        heads.append(" & PSNR & SSIM" * (len(head) - 1))
        rows = [[cell if cell != ("--",) else (r"\multicolumn{2}{c}{--}",) for cell in row] for row in rows]
    body = [" & ".join(part for cell in row for part in cell) for row in rows]
    body = [f"{{}}{line}" if line.startswith("[") else line for line in body]  # no option of the end of the line above
    lines = [r"\hline", *(rf"{line} \\" for line in heads), r"\hline", *(rf"{line} \\" for line in body), r"\hline"]
    notes = " ".join(map(_LATEX.escape, _notes(standing)))
    begin, end = rf"\begin{{tabular}}{{l{columns}}}", r"\end{tabular}"
    return "\n".join((f"% {title}", begin, *lines, end, "", r"\smallskip", rf"{{\footnotesize {notes}}}"))


def _parts(standing: Standing | AblationStanding, form: _Form) -> tuple[str, list[str], list[list[tuple[str, ...]]]]:
    """Return the title, the heads of the columns, and the rows; a cell is one text, or PSNR and SSIM."""
    if isinstance(standing, AblationStanding):
        title = "Table 6. Parts of the network, deblurring GoPro: PSNR (dB)"
        heads = ["Network", "Stages", "Combination", "SAM", "CSFF", "PSNR"]
        return title, heads, [_ablation(name, row, form) for name, row in standing.rows]
    table = standing.table
    rows = []
    for row in table.rows:
        cells = (_figures(standing, row, column, form) for column in range(len(table.columns)))
        rows.append([(form.escape(name_of(row)),), *cells])
    heads = ["Method", *(form.escape(title_of(column)) for column in table.columns)]
    return f"Table {table.number}. {table.title}: PSNR (dB) / SSIM", heads, rows


def _ablation(name: str, row: Ablation, form: _Form) -> list[tuple[str, ...]]:
    marks = ("yes" if given else "no" for given in (row.sam, row.csff))
    texts = (name or "paper", str(row.stages), row.combination, *marks, f"{row.psnr:.2f}")
    return [(form.escape(text),) for text in texts]


def _figures(standing: Standing, row: Row, column: int, form: _Form) -> tuple[str, ...]:
    """Return PSNR and SSIM of a row, with their rank and the reduction in error; a dash where there are none."""
    table, score = standing.table, row.scores[column]
    if score is None:
        return (form.escape("–"),)
    texts = [f"{score.psnr:.2f}", f"{score.ssim:.3f}"]
    if row.setting in APART:
        return tuple(texts)
    others = [other.scores[column] for other in table.rows if other.setting == row.setting]
    for place, values in enumerate(zip(*filter(None, others), strict=True)):
        ranks = sorted(set(values), reverse=True)[:2]
        if score[place] in ranks:
            texts[place] = (form.best, form.second)[ranks.index(score[place])].format(texts[place])
    reduction = table.reduction(row, column)
    if reduction and any(each.reductions[column] for each in table.rows[: standing.printed]):
        # Of Table 2 the paper compares averages alone.
        texts = [f"{text} ({form.escape(f'{one:.1%}')})" for text, one in zip(texts, reduction, strict=True)]
    return tuple(texts)


def _notes(standing: Standing | AblationStanding) -> tuple[str, ...]:
    return standing.notes if isinstance(standing, AblationStanding) else (*standing.notes, *standing.tiles)

"""The report of an evaluation: one HTML file that needs nothing beside it, to be looked at more than read."""

from __future__ import annotations

import base64
import io
import math
import re
from dataclasses import replace
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import Image

from mprnet.evaluation.benchmark import pictures_of
from mprnet.evaluation.charts import Point, curves, histogram, scatter
from mprnet.evaluation.paper import paper_stages
from mprnet.evaluation.protocols import PROTOCOLS, mean_score
from mprnet.evaluation.results import INPUT, TARGET, pixels_per_second, write_text
from mprnet.evaluation.standing import APART, ablations, name_of, standings, title_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mprnet.evaluation.benchmark import Run
    from mprnet.evaluation.protocols import Score
    from mprnet.evaluation.results import Results
    from mprnet.evaluation.standing import Standing
    from mprnet.files import PathLike

    Pixels = NDArray[np.uint8]

REPORT = "report.html"
WHOLE_PX = 880
"""The longer side of the pictures under the slider; larger ones are shrunk."""

CROP_HW = (180, 240)
"""Height and width of the crops that are laid side by side, shown pixel for pixel."""

_JPEG_QUALITY = 88
_DOING = {"derain": "deraining", "deblur": "deblurring", "denoise": "denoising"}


class Tile(NamedTuple):
    """A picture and what stands under it; `score` is None where there is nothing to measure."""

    label: str
    pixels: Pixels
    score: Score | None = None


class Example(NamedTuple):
    """One picture in all its forms, the input first; `result` is the index of the one that the slider shows."""

    title: str
    tiles: tuple[Tile, ...]
    result: int


def choose(results: Results) -> dict[str, str]:
    """Return the names of the worst, the median and the best picture by the PSNR of the result.

    Without ground truth it is the first, and of fewer than three pictures each is named once.
    """
    if not results.has_scores:
        return dict(zip(["first"], results.images, strict=False))
    by_psnr = sorted(results.images, key=lambda name: results.images[name].scores[results.outputs[-1]].psnr)
    wanted = {"worst": by_psnr[0], "median": by_psnr[len(by_psnr) // 2], "best": by_psnr[-1]}
    names: dict[str, str] = {}
    for title, name in wanted.items():
        if name not in names.values():
            names[title] = name
    return names


def examples_of(runs: Sequence[Run], found: Sequence[Results]) -> list[Example]:
    """Restore the pictures that a report shows.

    Of a single run these are the worst, the median and the best, with every output. Of several it is, for each
    strength of noise, the median picture of the first method, with the result of every method.

    Args:
        runs: what was evaluated.
        found: what came of each.
    """
    if len(runs) == 1:
        return [_example(f"{title}: {name}", runs, found, name) for title, name in choose(found[0]).items()]
    examples = []
    noises = list(dict.fromkeys(_sigma(results) for results in found))
    for sigma in noises:
        chosen = [index for index, results in enumerate(found) if _sigma(results) == sigma]
        shared = set.intersection(*(set(found[index].images) for index in chosen))
        name = choose(found[chosen[0]]).get("median") or next(iter(choose(found[chosen[0]]).values()), "")
        if name in shared:
            title = name if sigma is None else f"σ = {sigma:g}: {name}"
            examples.append(_example(title, [runs[i] for i in chosen], [found[i] for i in chosen], name))
    return examples


def write_report(path: PathLike, found: Sequence[Results], examples: Sequence[Example], *, command: str = "") -> None:
    """Write the report, whole or not at all.

    Args:
        path: the file, ending in `.html`.
        found: the results, all of one test set.
        examples: the pictures to show.
        command: what made it, for the record.

    Raises:
        DataError: the file cannot be written.
    """
    first = found[0]
    sections = [
        _overview(found) if len(found) > 1 else "",
        _pictures(examples),
        _paper_table(found),
        _ablations(found),
        _stages(first) if len(found) == 1 else "",
        _spread(first, examples) if len(found) == 1 else "",
        _lists(found),
        _record(found, command),
    ]
    doing = _DOING.get(first.settings["task"], first.settings["task"])
    template = Template((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    page = template.substitute(
        title=escape(f"{title_of(first.settings['dataset'])}, {doing}"),
        doing=escape(doing),
        dataset=escape(title_of(first.settings["dataset"])),
        summary=_summary(found),
        tiles=_headline(first) if len(found) == 1 else "",
        warning=_warning(found),
        sections="\n".join(filter(None, sections)),
    )
    write_text(Path(path), page)


def _example(title: str, runs: Sequence[Run], found: Sequence[Results], name: str) -> Example:
    tiles: list[Tile] = []
    target: list[Tile] = []
    for run, results in zip(runs, found, strict=True):
        pictures = pictures_of(run, name)
        scores = results.images[name].scores
        if not tiles:
            tiles = [Tile("input", pictures[INPUT], scores.get(INPUT))]
            target = [Tile("target", pictures[TARGET])] if TARGET in pictures else []
        outputs = results.outputs if len(runs) == 1 else results.outputs[-1:]
        for output in outputs:
            label = _output_name(output) if len(runs) == 1 else run.method.name
            tiles.append(Tile(label, pictures[output], scores.get(output)))
    result = len(tiles) - 1 if len(runs) == 1 else 1
    return Example(title, (*tiles, *target), result)


def _pictures(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    scored = any(tile.score for example in examples for tile in example.tiles)
    note = '<p class="note">PSNR and SSIM are of whole pictures, not of the crops above them.</p>' if scored else ""
    return f"<section><h2>Pictures</h2>{''.join(map(_comparison, examples))}{note}</section>"


def _comparison(example: Example) -> str:
    """Lay the input over the result with a slider, and the same crop of everything in a row below."""
    before, after = example.tiles[0], example.tiles[example.result]
    height, width = before.pixels.shape[:2]
    top, left, bottom, right = _where_it_matters(before.pixels, after.pixels)
    box = (
        f"left:{left / width:.4%};top:{top / height:.4%};"
        f"width:{(right - left) / width:.4%};height:{(bottom - top) / height:.4%}"
    )
    crops = []
    for index, tile in enumerate(example.tiles):
        note = f"{_db(tile.score.psnr)} · {tile.score.ssim:.4f}" if tile.score else "&nbsp;"
        best = ' class="result"' if index == example.result else ""
        crops.append(
            f'<figure{best}><img alt="" src="{_data_uri(tile.pixels[top:bottom, left:right], "PNG")}">'
            f"<figcaption><b>{escape(tile.label)}</b><br>{note}</figcaption></figure>"
        )
    return f"""
<article class="example">
<h3>{escape(example.title)}</h3>
<div class="looks">
<div class="slider" style="--at:50%;aspect-ratio:{width}/{height};max-width:min(100%,{_shown_width(width, height)}px)">
<img alt="{escape(after.label)}" src="{_data_uri(_shrunk(after.pixels), "JPEG")}">
<img class="before" alt="{escape(before.label)}" src="{_data_uri(_shrunk(before.pixels), "JPEG")}">
<span class="box" style="{box}"></span><span class="handle"></span>
<span class="tag left">{escape(before.label)}</span><span class="tag right">{escape(after.label)}</span>
<input type="range" min="0" max="100" value="50" step="0.1" aria-label="how much of the input is shown">
</div>
<div class="crops">{"".join(crops)}</div>
</div>
</article>"""


def _overview(found: Sequence[Results]) -> str:
    """The methods beside each other, and curves where there are several strengths of noise."""
    sigmas = sorted({_sigma(results) for results in found}, key=lambda sigma: sigma or 0.0)
    methods = list(dict.fromkeys(results.settings["method"]["name"] for results in found))
    by_key = {(results.settings["method"]["name"], _sigma(results)): results for results in found}
    head = "".join(f'<th colspan="2">{"" if s is None else f"σ = {s:g}"}</th>' for s in sigmas)
    below = "<th>PSNR</th><th>SSIM</th>" * len(sigmas)
    rows = []
    lines: dict[str, list[tuple[float, float]]] = {INPUT: []}
    best = {s: max((_psnr(by_key.get((m, s))) for m in methods), default=math.nan) for s in sigmas}
    for method in (INPUT, *methods):
        cells = []
        for sigma in sigmas:
            results = by_key.get((methods[0] if method == INPUT else method, sigma))
            mean = results and results.means().get(INPUT if method == INPUT else results.outputs[-1])
            if not mean:
                cells.append('<td colspan="2">–</td>')
                continue
            lines.setdefault(method, []).append((sigma or 0.0, mean.psnr))
            strong = ' class="best"' if method != INPUT and mean.psnr == best[sigma] else ""
            cells.append(f"<td{strong}>{_number(mean.psnr)}</td><td{strong}>{mean.ssim:.4f}</td>")
        speed = "" if method == INPUT else _speed([by_key[key] for key in by_key if key[0] == method])
        told = "" if method == INPUT else _told(by_key[next(key for key in by_key if key[0] == method)])
        rows.append(f"<tr><th>{escape(method)}{told}</th>{''.join(cells)}<td>{speed}</td></tr>")
    table = (
        f'<div class="scroll"><table><thead><tr><th></th>{head}<th></th></tr><tr><th></th>{below}<th>Mpx/s</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
    chart = ""
    if len([sigma for sigma in sigmas if sigma is not None]) > 1:
        chart = f'<div class="plot">{curves(lines, "σ of the noise, of white = 255", "PSNR (dB)")}</div>'
    return f"<section><h2>Methods side by side</h2>{table}{chart}</section>"


def _paper_table(found: Sequence[Results]) -> str:
    """The paper's table with our rows in it and every reduction recomputed."""
    return "".join(
        f"<section><h2>Table {standing.table.number} of the paper, with this run</h2>{_standing(standing)}</section>"
        for standing in standings(found)
    )


def _standing(standing: Standing) -> str:
    table = standing.table
    head = "".join(f'<th colspan="2">{escape(title_of(column))}</th>' for column in table.columns)
    below = "<th>PSNR</th><th>SSIM</th>" * len(table.columns)
    body = []
    for index, (row, reductions) in enumerate(zip(table.rows, table.reductions(), strict=True)):
        cells = []
        for column, (score, reduction) in enumerate(zip(row.scores, reductions, strict=True)):
            if score is not None and row.setting in APART:
                cells.append(f"<td>{score.psnr:.2f}</td><td>{score.ssim:.3f}</td>")
            elif score is None or reduction is None:
                cells.append('<td class="none">–</td><td class="none">–</td>')
            else:
                best = table.best(row.setting, column)
                cells.append(_cell(f"{score.psnr:.2f}", score.psnr == best.psnr, reduction.psnr))
                cells.append(_cell(f"{score.ssim:.3f}", score.ssim == best.ssim, reduction.ssim))
        ours = ' class="ours"' if index >= standing.printed else ""
        body.append(f"<tr{ours}><th>{escape(name_of(row))}</th>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table class="paper"><thead><tr><th></th>{head}</tr><tr><th>Method</th>{below}</tr>'
        f'</thead><tbody>{"".join(body)}</tbody></table></div><p class="note">{escape(" ".join(standing.notes))}</p>'
    )


def _ablations(found: Sequence[Results]) -> str:
    """The paper's Table 6, with ours in it where it is a network of it."""
    standing = ablations(found)
    if standing is None:
        return ""
    body = []
    for name, row in standing.rows:
        marks = "".join(f"<td>{'yes' if given else 'no'}</td>" for given in (row.sam, row.csff))
        ours = ' class="ours"' if name else ""
        body.append(
            f"<tr{ours}><th>{escape(name or 'paper')}</th><td>{row.stages}</td>"
            f"<td>{escape(row.combination)}</td>{marks}<td>{_number(row.psnr)}</td></tr>"
        )
    return (
        '<section><h2>Table 6 of the paper, with this run</h2><div class="scroll"><table><thead><tr><th></th>'
        "<th>stages</th><th>combination</th><th>SAM</th><th>CSFF</th><th>PSNR</th></tr></thead>"
        f'<tbody>{"".join(body)}</tbody></table></div><p class="note">{escape(" ".join(standing.notes))}</p></section>'
    )


def _stages(results: Results) -> str:
    """What leaving the network after each stage gives and costs, as the paper's Table 7."""
    if not results.stages:
        return ""
    means = results.means()
    rows = []
    if before := means.get(INPUT):
        scores = f"<td>{_number(before.psnr)}</td><td>{before.ssim:.4f}</td>"
        rows.append(f"<tr><th>input</th>{scores}{'<td></td>' * 3}</tr>")
    count = results.settings["method"].get("config", {}).get("combination", "unet+unet+orsnet").count("+") + 1
    for stage in results.stages:
        mean = means.get(f"stage{stage.stage}")
        scores = f"<td>{_number(mean.psnr)}</td><td>{mean.ssim:.4f}</td>" if mean else "<td>–</td><td>–</td>"
        rows.append(
            f'<tr class="ours"><th>{stage.stage - 3 + count} of {count} stages</th>{scores}'
            f"<td>{stage.parameters / 1e6:.2f} M</td><td>{stage.macs / 1e9:,.1f} G</td>"
            f"<td>{stage.seconds:.3f}</td></tr>"
        )
    height, width = results.stages[0].size_hw
    note = f"Multiply-accumulates are of one pass over a picture of {width}×{height}, seconds of restoring it."
    if results.settings["dataset"] == "gopro":
        for row in paper_stages():
            name = escape(row.method) + (f" [{row.reference}]" if row.reference else "")
            rows.append(
                f"<tr><th>{name}</th><td>{row.psnr:.2f}</td><td>–</td><td>{row.parameters_m:.1f} M</td><td>–</td>"
                f"<td>{row.seconds:.2f}</td></tr>"
            )
        note += (
            " The other rows are the paper's Table 7, on an Nvidia Titan Xp; its parameters of 1 and 2 stages leave "
            "out shallow features, SAM and merging."
        )
    return (
        '<section><h2>Stage by stage</h2><div class="scroll"><table><thead><tr><th>leaving after</th><th>PSNR</th>'
        "<th>SSIM</th><th>parameters</th><th>multiply-accumulates</th><th>seconds</th></tr></thead>"
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="note">{note}</p></section>'
    )


def _spread(results: Results, examples: Sequence[Example]) -> str:
    """How the scores are spread over the pictures."""
    if not results.has_scores:
        return ""
    last = results.outputs[-1]
    scores = {name: image.scores for name, image in results.images.items()}
    psnr = {name: (each[INPUT].psnr, each[last].psnr) for name, each in scores.items() if INPUT in each}
    notes = {name: title for title, name in choose(results).items()} if examples else {}
    points = [Point(name, before, after, notes.get(name, "")) for name, (before, after) in psnr.items()]
    groups = {
        "input": [before for before, _ in psnr.values()],
        "restored": [each[last].psnr for each in scores.values()],
    }
    return (
        '<section><h2>Every picture at once</h2><div class="plots">'
        f'<div class="plot">{scatter(points, "PSNR of the input (dB)", "PSNR restored (dB)")}</div>'
        f'<div class="plot">{histogram(groups, "PSNR (dB)")}</div></div></section>'
    )


def _lists(found: Sequence[Results]) -> str:
    """All pictures in numbers, folded away."""
    tables = (_list(each) if len(found) == 1 else f"<h3>{escape(_run_name(each))}</h3>{_list(each)}" for each in found)
    return f"<details><summary>All pictures</summary>{''.join(tables)}</details>"


def _list(results: Results) -> str:
    heads = "".join(f"<th>{escape(_output_name(each))}</th>" for each in (INPUT, *results.outputs))
    rows = []
    for name, image in sorted(results.images.items(), key=lambda each: _as_counted(each[0])):
        scores = [image.scores.get(each) for each in (INPUT, *results.outputs)]
        cells = "".join(
            f"<td>{_number(one.psnr)} <small>{one.ssim:.4f}</small></td>" if one else "<td>–</td>" for one in scores
        )
        size = f"{image.size_hw[1]}×{image.size_hw[0]}"
        rows.append(f"<tr><th>{escape(name)}</th>{cells}<td>{size}</td><td>{image.seconds:.3f}</td></tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th></th>{heads}<th>size</th><th>seconds</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _as_counted(name: str) -> list[str | int]:
    """Return by what names are sorted as people do, 9 before 10.

    Example:
        >>> sorted(["rain-10", "rain-9"], key=_as_counted)
        ['rain-9', 'rain-10']
    """
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _record(found: Sequence[Results], command: str) -> str:
    """All that is needed to do it again."""
    first = found[0]
    protocol = PROTOCOLS.get(first.settings["protocol"] or "")
    rows: dict[str, str] = {}
    if command:
        rows["command"] = command
    if protocol:
        rows["protocol"] = (
            f"{protocol.name}: {protocol.colour}, rounding {protocol.rounding}, mean over {protocol.averaging}"
        )
    for results in found:
        method = results.settings["method"]
        apart = ("name", "config")
        facts = {key: value for key, value in method.items() if key not in apart and value not in (None, "")}
        rows[_run_name(results)] = ", ".join(f"{key} {value}" for key, value in facts.items())
        if "config" in method:
            rows["network"] = ", ".join(f"{key} {value}" for key, value in method["config"].items())
    rows["mprnet"] = first.settings["mprnet"]
    together = replace(first, environment={})
    for results in found:
        together.add_environment(results.environment)
    rows |= together.environment
    body = "".join(f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>" for key, value in rows.items())
    return (
        f'<details><summary>How it was measured</summary><table class="record"><tbody>{body}</tbody></table></details>'
    )


def _headline(results: Results) -> str:
    """The figures that people look for first."""
    tiles = []
    means = results.means()
    if means:
        last = results.outputs[-1]
        after = means[last]
        gains = ("&nbsp;", "&nbsp;")  # where no input could be aligned
        if both := [image.scores for image in results.images.values() if INPUT in image.scores]:
            before, there = (mean_score(scores[output] for scores in both) for output in (INPUT, last))
            gain_db = f"{there.psnr - before.psnr:+.2f} dB over the input"
            gains = (
                gain_db if math.isfinite(before.psnr) else "no error at all",
                f"{there.ssim - before.ssim:+.4f} over the input",
            )
        tiles += [("PSNR", _db(after.psnr), gains[0]), ("SSIM", f"{after.ssim:.4f}", gains[1])]
    if results.seconds_each is not None:
        tiles.append(
            (
                "seconds a picture",
                f"{results.seconds_each:.3g}",
                f"{results.pixels_per_second / 1e6:.3g} megapixels a second",
            )
        )
    tiles.append(("pictures", str(len(results.images)), f"protocol {results.settings['protocol'] or 'none'}"))
    return "".join(f"<div><small>{a}</small><strong>{b}</strong><small>{c}</small></div>" for a, b, c in tiles)


def _summary(found: Sequence[Results]) -> str:
    first = found[0]
    if len(found) > 1:
        each = f", {first.coverage} each" if len({results.coverage for results in found}) == 1 else ""
        return f"{len(found)} runs{escape(each)}"
    return f"{escape(_run_name(first))}, {escape(first.coverage)}"


def _warning(found: Sequence[Results]) -> str:
    """Say which means are not over the whole set, what was restored in tiles, and name what failed."""
    partial = [results for results in found if not results.is_complete]
    tiled = [f"<b>{escape(_run_name(each))}: {each.in_tiles}, not whole.</b><br>" for each in found if each.in_tiles]
    if not partial:
        return f'<div class="warning">{"".join(tiled)}</div>' if tiled else ""
    if len({results.coverage for results in found}) == 1:
        heading = f"<b>The means are over {escape(found[0].coverage)}.</b>"
    else:
        heading = "".join(
            f"<b>{escape(_run_name(each))}: the means are over {each.coverage}.</b><br>" for each in partial
        )
    reasons = dict.fromkeys(item for results in partial for item in results.failed.items())
    failed = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in reasons)
    tiles = f"<br>{''.join(tiled)}" if tiled else ""
    return f'<div class="warning">{heading}{tiles}{f"<ul>{failed}</ul>" if failed else ""}</div>'


def _cell(text: str, is_best: bool, reduction: float) -> str:
    best = ' class="best"' if is_best else ""
    return f"<td{best}>{text} <small>({reduction:.1%})</small></td>"


def _run_name(results: Results) -> str:
    sigma = _sigma(results)
    return results.label if sigma is None else f"{results.label}, σ = {sigma:g}"


def _told(results: Results) -> str:
    return " <small>is told σ</small>" if results.settings["method"].get("sigma") is not None else ""


def _speed(found: Sequence[Results]) -> str:
    timed = [image for results in found for image in results.timed]
    return f"{pixels_per_second(timed) / 1e6:.3g}" if timed else "–"


def _psnr(results: Results | None) -> float:
    mean = results.mean() if results else None
    return mean.psnr if mean else -math.inf


def _sigma(results: Results) -> float | None:
    sigma: float | None = (results.settings.get("noise") or {}).get("sigma")
    return sigma


def _output_name(output: str) -> str:
    return output.replace("stage", "stage ")


def _number(psnr_db: float) -> str:
    return "∞" if math.isinf(psnr_db) else f"{psnr_db:.2f}"


def _db(psnr_db: float) -> str:
    return f"{_number(psnr_db)} dB"


def _where_it_matters(before: Pixels, after: Pixels) -> tuple[int, int, int, int]:
    """Return the top, left, bottom and right of the crop in which the two pictures differ most."""
    height, width = before.shape[:2]
    rows, columns = min(CROP_HW[0], height), min(CROP_HW[1], width)
    change = np.abs(before.astype(np.float32) - after).mean(axis=2)
    total = cv2.integral(change)
    sums = total[rows:, columns:] - total[:-rows, columns:] - total[rows:, :-columns] + total[:-rows, :-columns]
    top, left = (int(index) for index in np.unravel_index(int(sums.argmax()), sums.shape))
    return top, left, top + rows, left + columns


def _shown_width(width: int, height: int) -> int:
    return max(1, round(width * min(1.0, WHOLE_PX / max(width, height)))) if max(width, height) > 480 else 480


def _shrunk(pixels: Pixels) -> Pixels:
    image = Image.fromarray(pixels)
    image.thumbnail((WHOLE_PX, WHOLE_PX), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _data_uri(pixels: Pixels, kind: str) -> str:
    file = io.BytesIO()
    options = {"quality": _JPEG_QUALITY, "subsampling": "4:4:4"} if kind == "JPEG" else {}
    Image.fromarray(pixels).save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"

"""Three small charts as SVG text: a histogram, a scatter and curves.

Colours come from the page's variables `--input`, `--series-1` and so on, so that the charts follow its light and dark
themes. Every mark has a `<title>`, which browsers show under the pointer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 16, 48
_LEGEND = 20
"""What a line of names takes, above the plot: within, it lies over bars."""


class Point(NamedTuple):
    """A mark of a scatter: what it stands for, and where it lies; a `note` is written beside it."""

    name: str
    x: float
    y: float
    note: str = ""


@dataclass(frozen=True)
class _Axis:
    """A stretch of numbers laid along a stretch of pixels."""

    low: float
    high: float
    start_px: float
    end_px: float
    least_step: float = 0.0

    @classmethod
    def around(
        cls,
        values: Sequence[float],
        start_px: float,
        end_px: float,
        *,
        from_zero: bool = False,
        least_step: float = 0.0,
    ) -> _Axis:
        """Lay an axis that holds the values and ends at round numbers."""
        low, high = (0.0 if from_zero else min(values)), max(values)
        if low == high:
            low, high = (0.0, 1.0) if from_zero else (low - 1, high + 1)
        step = max(least_step, _round_step((high - low) / 5))
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step, start_px, end_px, least_step)

    def __call__(self, value: float) -> float:
        return self.start_px + (value - self.low) / (self.high - self.low) * (self.end_px - self.start_px)

    @property
    def ticks(self) -> list[float]:
        step = max(self.least_step, _round_step((self.high - self.low) / 5))
        count = math.floor((self.high - self.low) / step + 1e-6)
        return [self.low + index * step for index in range(count + 1)]


def histogram(groups: Mapping[str, Sequence[float]], x_label: str) -> str:
    """Draw how many values lie where, of one group before the other.

    Args:
        groups: the values by name; the first group, the input, is drawn behind.
        x_label: what the values are.

    Returns:
        An `<svg>` element; infinite values are left out.
    """
    finite = {name: [value for value in values if math.isfinite(value)] for name, values in groups.items()}
    everything = [value for values in finite.values() for value in values]
    if not everything:
        return ""
    x = _Axis.around(everything, _LEFT, WIDTH - _RIGHT)
    bins = max(6, min(24, round(math.sqrt(len(everything)) * 2)))
    width = (x.high - x.low) / bins
    counts = {name: [0] * bins for name in finite}
    for name, values in finite.items():
        for value in values:
            counts[name][min(bins - 1, int((value - x.low) / width))] += 1
    highest = max(map(max, counts.values()))
    y = _Axis.around([highest], HEIGHT - _BOTTOM, _TOP + _LEGEND, from_zero=True, least_step=1)
    marks = []
    for index, (name, heights) in enumerate(counts.items()):
        for place, count in enumerate(heights):
            if count:
                left, right = x(x.low + place * width) + 1, x(x.low + (place + 1) * width) - 1
                where = f"{x.low + place * width:.1f} to {x.low + (place + 1) * width:.1f}"
                marks.append(
                    f'<rect class="bar s{index}" x="{left:.1f}" y="{y(count):.1f}" width="{right - left:.1f}" '
                    f'height="{y(0) - y(count):.1f}" rx="2"><title>{escape(name)}: {count} of {where} dB</title></rect>'
                )
    return _svg(x, y, marks, x_label, "pictures", list(groups))


def scatter(points: Sequence[Point], x_label: str, y_label: str) -> str:
    """Draw points, and the diagonal on which nothing has changed.

    Returns:
        An `<svg>` element; points with an infinite coordinate are left out.
    """
    points = [point for point in points if math.isfinite(point.x) and math.isfinite(point.y)]
    if not points:
        return ""
    x = _Axis.around([point.x for point in points], _LEFT, WIDTH - _RIGHT)
    y = _Axis.around([point.y for point in points], HEIGHT - _BOTTOM, _TOP)
    low, high = max(x.low, y.low), min(x.high, y.high)
    marks = []
    if low < high:
        marks.append(
            f'<line class="diagonal" x1="{x(low):.1f}" y1="{y(low):.1f}" x2="{x(high):.1f}" y2="{y(high):.1f}"/>'
            + _text("note", x((low + high) / 2) + 8, y((low + high) / 2) + 18, "no change")
        )
    for point in points:
        place = f'cx="{x(point.x):.1f}" cy="{y(point.y):.1f}"'
        title = f"<title>{escape(point.name)}: {point.x:.2f} dB to {point.y:.2f} dB</title>"
        marks.append(f'<circle class="dot s1" {place} r="4">{title}</circle>')
        if point.note:
            anchor, shift = ("end", -8) if x(point.x) > WIDTH * 0.8 else ("start", 8)
            marks.append(f'<circle class="ring" {place} r="7"/>')
            marks.append(_text("note strong", x(point.x) + shift, y(point.y) - 8, point.note, anchor))
    return _svg(x, y, marks, x_label, y_label, [])


def curves(lines: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> str:
    """Draw a curve a name; the first one, the input, is dashed.

    Args:
        lines: for each name its `(x, y)`, from the left.
        x_label: what x is.
        y_label: what y is.

    Returns:
        An `<svg>` element; infinite values are left out.
    """
    finite = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in lines.items()}
    everything = [point for points in finite.values() for point in points]
    if not everything:
        return ""
    x = _Axis.around([point[0] for point in everything], _LEFT, WIDTH - _RIGHT - 90, from_zero=True)
    y = _Axis.around([point[1] for point in everything], HEIGHT - _BOTTOM, _TOP)
    marks = []
    labels = []
    for index, (name, points) in enumerate(finite.items()):
        if not points:
            continue
        path = " ".join(f"{x(px):.1f},{y(py):.1f}" for px, py in points)
        marks.append(f'<polyline class="curve s{index}" points="{path}"/>')
        marks += [
            f'<circle class="dot s{index}" cx="{x(px):.1f}" cy="{y(py):.1f}" r="4">'
            f"<title>{escape(name)}, σ = {px:g}: {py:.2f} dB</title></circle>"
            for px, py in points
        ]
        labels.append((y(points[-1][1]), x(points[-1][0]), name))
    lowest = -math.inf
    for height, right, name in sorted(labels):  # names that would lie on one another are moved apart
        lowest = max(height, lowest + 14)
        marks.append(_text("note strong", right + 10, lowest + 4, name))
    return _svg(x, y, marks, x_label, y_label, [])


def _svg(x: _Axis, y: _Axis, marks: Sequence[str], x_label: str, y_label: str, legend: Sequence[str]) -> str:
    left, right, bottom = x.start_px, x.end_px, y.start_px
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_label)}">']
    for tick in y.ticks:
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(_text("tick", left - 8, y(tick) + 4, f"{tick:g}", "end"))
    parts += [_text("tick", x(tick), bottom + 18, f"{tick:g}", "middle") for tick in x.ticks]
    parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(_text("label", (left + right) / 2, HEIGHT - 8, x_label, "middle"))
    parts.append(f'<g transform="translate(14 {(_TOP + bottom) / 2}) rotate(-90)">')
    parts.append(_text("label", 0, 0, y_label, "middle") + "</g>")
    parts += marks
    for index, name in enumerate(legend):
        start = left + 100 * index
        parts.append(f'<rect class="bar s{index}" x="{start}" y="{_TOP - 5}" width="10" height="10" rx="2"/>')
        parts.append(_text("tick", start + 15, _TOP + 4, name))
    return "".join([*parts, "</svg>"])


def _text(kind: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _round_step(rough: float) -> float:
    """Return the round number (1, 2 or 5 times a power of ten) next above `rough`."""
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))

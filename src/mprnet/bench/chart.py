"""The plot of a bench: a bar a case, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mprnet.bench.results import STRAIGHTFORWARD
from mprnet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mprnet.bench.results import Bench, Line

_SCALE = 2
"""Pixels of the picture for one of the sizes below, so that it is sharp on screens with small pixels."""

_WIDTH, _MARGIN, _HEADING, _ROW, _BAR = 960, 32, 62, 30, 18
_SMALL, _TEXT, _LARGE = 13, 15, 20

_PAPER, _INK, _SOFT = "#ffffff", "#1b1c1e", "#66696f"
_COLOURS = {"fp32": "#2567c4", "tf32": "#8a4fc0", "bf16": "#c8641b", "fp16": "#b8336a", "int8": "#188566"}
_STRAIGHTFORWARD_COLOUR = "#b4b6b2"


def draw(bench: Bench) -> NDArray[np.uint8]:
    """Draw the seconds that a megapixel takes, a bar a case, a panel for each network, size and batch.

    The thin line at a bar's end reaches from the fastest run to the slowest.

    Returns:
        NDArray: `(H, W, 3)`, uint8, RGB.

    Raises:
        DataError: nothing was measured.
    """
    if not bench.lines:
        raise DataError("nothing was measured, so there is nothing to draw")
    panels = bench.groups()
    height = sum(_HEADING + _ROW * len(lines) for lines in panels) + _MARGIN * (len(panels) + 1) + _ROW
    sheet = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), _PAPER)
    pen = _Pen(ImageDraw.Draw(sheet))
    top = _MARGIN
    for lines in panels:
        _panel(pen, bench, lines, top)
        top += _HEADING + _ROW * len(lines) + _MARGIN
    machine = bench.machine
    about = f"{machine.get('gpu', machine['processor'])}, threads: {machine['threads']}, torch {machine['torch']}"
    pen.text(
        _MARGIN, top, f"{about}. Medians; the thin lines reach from the fastest run to the slowest.", _SOFT, _SMALL
    )
    return np.asarray(sheet)


class _Pen:
    """Draws in the sizes above; Pillow's own font has no ×."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw
        self._fonts = {size: ImageFont.load_default(size * _SCALE) for size in (_SMALL, _TEXT, _LARGE)}

    def text(self, left: float, top: float, text: str, colour: str = _INK, size: int = _TEXT) -> None:
        self._draw.text((left * _SCALE, top * _SCALE), text, fill=colour, font=self._fonts[size])

    def width(self, text: str) -> float:
        return self._draw.textlength(text, font=self._fonts[_TEXT]) / _SCALE

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        corners = [round(side * _SCALE) for side in (left, top, max(right, left + 1), bottom)]
        self._draw.rectangle(corners, fill=colour)


def _panel(pen: _Pen, bench: Bench, lines: Sequence[Line], top: float) -> None:
    case = lines[0].case
    batch = f", {case.batch} at a time" if case.batch > 1 else ""
    pen.text(_MARGIN, top, f"{case.network} at {case.size_hw[1]}x{case.size_hw[0]}{batch}", size=_LARGE)
    pen.text(_MARGIN, top + 28, "seconds per megapixel, and how many times as fast as the straightforward way", _SOFT)
    names, values = [_name(line, lines) for line in lines], [_value(bench, line) for line in lines]
    left = _MARGIN + max(map(pen.width, names)) + 12
    slowest = max(max(line.seconds) / line.megapixels for line in lines)
    per_second = (_WIDTH - _MARGIN - left - max(map(pen.width, values)) - 12) / slowest
    for index, (line, name, value) in enumerate(zip(lines, names, values, strict=True)):
        row = top + _HEADING + _ROW * index
        middle = row + _BAR / 2
        is_base = line.case.engine == STRAIGHTFORWARD
        colour = _STRAIGHTFORWARD_COLOUR if is_base else _COLOURS[line.case.precision]
        median, low, high = (
            left + seconds / line.megapixels * per_second
            for seconds in (line.median, min(line.seconds), max(line.seconds))
        )
        pen.text(_MARGIN, row, name)
        pen.box(left, row, median, row + _BAR, colour)
        pen.box(low, middle - 0.5, high, middle + 0.5, _INK)
        pen.text(max(median, high) + 8, row, value)


def _name(line: Line, lines: Sequence[Line]) -> str:
    stages = {each.case.stage for each in lines}
    return f"{line.case.engine} {line.case.precision}" + (f", stage {line.case.stage}" if len(stages) > 1 else "")


def _value(bench: Bench, line: Line) -> str:
    speed_up = bench.speed_up(line)
    seconds = f"{line.median / line.megapixels:.3g} s"
    return seconds if speed_up is None else f"{seconds}   {speed_up:.2f}x"

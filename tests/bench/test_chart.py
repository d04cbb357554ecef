from __future__ import annotations

import numpy as np
import pytest

from mprnet.bench import Bench, Case, Line, draw
from mprnet.errors import DataError

MACHINE = {"processor": "of a test", "threads": "2", "torch": "2"}
GREY, BLUE = (0xB4, 0xB6, 0xB2), (0x25, 0x67, 0xC4)


def bench_of(*seconds):
    case = Case("lite", (64, 64), 1, "straightforward", "fp32", 3)
    engines = ("straightforward", "torch", "onnx")
    lines = [Line(case._replace(engine=name), 10**9, each, 1.0) for name, each in zip(engines, seconds, strict=False)]
    return Bench(MACHINE, {}, tuple(lines), ())


def longest_row(picture, colour):
    """The most pixels of a colour in a row, but for the thin line that crosses the bar in its middle."""
    return int((picture == colour).all(axis=2).sum(axis=1).max())


def test_bars_are_as_long_as_their_times():
    picture = draw(bench_of((4.0, 4.0), (1.0, 1.0)))
    assert picture.dtype == np.uint8
    assert longest_row(picture, BLUE) == pytest.approx(longest_row(picture, GREY) / 4, abs=2)


def test_every_case_has_a_row_and_every_size_a_panel():
    one, two = bench_of((1.0,)), bench_of((1.0,), (1.0,))
    other = Line(one.lines[0].case._replace(size_hw=(128, 64)), 10**9, (1.0,), 1.0)
    heights = [len(draw(bench)) for bench in (one, two, Bench(MACHINE, {}, (*one.lines, other), ()))]
    assert heights[0] < heights[1] < heights[2]


def test_a_run_that_took_longer_stays_inside_the_picture():
    picture = draw(bench_of((1.0, 1.0, 50.0), (1.0,)))
    assert (picture[:, -20:] == 255).all()


def test_without_a_figure_there_is_nothing_to_draw():
    with pytest.raises(DataError, match="nothing was measured"):
        draw(Bench(MACHINE, {}, (), ()))

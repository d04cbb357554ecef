"""The paper's tables: what is printed follows from what is printed, but for a few figures that are named."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

from mprnet.errors import ConfigError
from mprnet.evaluation.paper import AVERAGE, paper_ablations, paper_stages, paper_tables, table_with
from mprnet.evaluation.protocols import Score

ROUNDED_TWICE = {
    # 20.7499 %, 4.545 %, 79.048 % and 4.348 %, rounded to two digits and then once more.
    (3, "DBGAN", "hide", "psnr"): 0.208,
    (5, "VDN", "sidd", "ssim"): 0.046,
    (5, "DnCNN", "dnd", "ssim"): 0.791,
    (5, "MPRNet", "dnd", "ssim"): 0.044,
}

CUT_OFF = {
    # The means of the five sets are 0.8576 and 29.426.
    ("RESCAN", "ssim"): 0.857,
    ("PreNet", "psnr"): 29.42,
}


def recomputed():
    """Yield `(table, method, column, measure)`, the reduction as it is printed, and as the scores give it."""
    for table in paper_tables().values():
        for row, reductions in zip(table.rows, table.reductions(), strict=True):
            for column, printed, ours in zip(table.columns, row.reductions, reductions, strict=True):
                if printed is not None:
                    for measure in ("psnr", "ssim"):
                        key = (table.number, row.method, column, measure)
                        yield key, getattr(printed, measure), getattr(ours, measure)


def test_the_reductions_in_error_are_the_printed_ones_within_rounding():
    off = {key: printed for key, printed, ours in recomputed() if abs(printed - ours) > 0.0005 + 1e-6}
    assert off == pytest.approx(ROUNDED_TWICE)


def test_every_printed_reduction_is_the_recomputed_one_rounded_to_two_digits_and_then_to_one():
    def halves_up(value, digits):
        return math.floor(value * 10**digits + 0.5 + 1e-6) / 10**digits

    for key, printed, ours in recomputed():
        assert printed * 100 == pytest.approx(halves_up(halves_up(ours * 100, 2), 1)), key


def test_as_many_reductions_were_compared_as_the_paper_prints():
    counts = dict.fromkeys(paper_tables(), 0)
    for (number, *_), _, _ in recomputed():
        counts[number] += 1
    assert counts == {2: 8 * 2, 3: 15 * 2 + 11 * 2, 4: 13 * 4, 5: 11 * 4}


def test_the_averages_are_the_printed_ones_within_rounding():
    table = paper_tables()[2]
    off = {}
    for row in table.rows:
        *sets, printed = row.scores
        for measure, digits in (("psnr", 2), ("ssim", 3)):
            mean = fmean(getattr(score, measure) for score in sets)
            if abs(mean - getattr(printed, measure)) > 0.5 * 10**-digits + 1e-9:
                off[row.method, measure] = getattr(printed, measure)
    assert off == CUT_OFF


def test_the_two_settings_of_table_4_are_compared_apart():
    table = paper_tables()[4]
    reductions = dict(zip([(row.method, row.setting) for row in table.rows], table.reductions(), strict=True))
    assert reductions["MPRNet", ""][0] == (0, 0)
    assert reductions["SRN", "trained on RealBlur"][0].psnr == pytest.approx(0.073, abs=0.0005)


def test_a_better_row_changes_the_reductions_of_all_others():
    table = table_with("gopro").with_row("ours", {"gopro": Score(33.66, 0.969)})
    before, after = (table.rows[-2], table.reductions()[-2])
    assert before.method == "MPRNet"
    assert after[0].psnr == pytest.approx(1 - 10 ** (-1 / 20))
    assert after[0].ssim == pytest.approx(1 - 0.031 / 0.041)
    assert after[1] == (0, 0)  # HIDE is as it was
    assert table.reductions()[-1] == ((0, 0), None)


def test_a_worse_row_changes_none_but_its_own():
    table = table_with("sidd")
    longer = table.with_row("ours", {"sidd": Score(30.0, 0.8)})
    assert longer.reductions()[:-1] == table.reductions()
    assert longer.reductions()[-1][0].psnr == pytest.approx(1 - 10 ** (-9.71 / 20))


def test_the_average_is_there_only_when_all_five_sets_are():
    table = table_with("rain100h")
    scores = {name: Score(30.0 + index, 0.9) for index, name in enumerate(table.columns[:-1])}
    assert table.columns[-1] == AVERAGE
    assert table.with_row("ours", scores).rows[-1].scores[-1] == pytest.approx((32.0, 0.9))
    del scores["test100"]
    assert table.with_row("ours", scores).rows[-1].scores[-1] is None


def test_a_result_identical_to_its_targets_leaves_no_error_to_any_other():
    table = table_with("gopro").with_row("ours", {"gopro": Score(math.inf, 1.0)})
    assert table.reductions()[-1][0] == (0, 0)
    assert table.reductions()[0][0] == (1, 1)


def test_a_column_that_the_table_has_not_is_one_clear_line():
    with pytest.raises(ConfigError, match=r"Table 3 has no column 'sidd'; expected some of gopro, hide"):
        table_with("gopro").with_row("ours", {"sidd": Score(30.0, 0.9)})


def test_a_set_that_is_not_in_the_paper_has_no_table():
    assert table_with("kodak24") is None


def test_table_7_says_what_leaving_after_each_stage_gives():
    ours = [row for row in paper_stages() if row.method.startswith("MPRNet")]
    assert [(row.psnr, row.parameters_m, row.seconds) for row in ours] == [
        (30.43, 5.6, 0.04),
        (31.81, 11.3, 0.08),
        (32.66, 20.1, 0.18),
    ]
    assert ours[-1].psnr == paper_tables()[3].rows[-1].scores[0].psnr


def test_table_6_says_what_each_part_brings():
    rows = {(row.stages, row.combination, row.sam, row.csff): row.psnr for row in paper_ablations()}
    assert len(rows) == 9
    assert rows[1, "U-Net", False, False] == 28.94
    assert [rows[3, "U-Nets + ORSNet", *parts] for parts in ((False, False), (False, True), (True, False))] == [
        29.86,
        30.07,
        30.31,
    ]
    assert max(rows, key=rows.get) == (3, "U-Nets + ORSNet", True, True)

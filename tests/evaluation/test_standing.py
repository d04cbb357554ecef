"""Results of several runs in the paper's tables."""

from __future__ import annotations

from statistics import fmean

import pytest

from mprnet.errors import DataError
from mprnet.evaluation.paper import paper_tables
from mprnet.evaluation.protocols import Score
from mprnet.evaluation.results import PictureResult, Results
from mprnet.evaluation.standing import PART, standings, to_markdown

RAIN = ("test100", "rain100h", "rain100l", "test2800", "test1200")


def results(dataset, psnr=33.0, *, count=2, expected=2, outputs=("stage3",), noise=None, **method):
    scores = {"input": Score(20.0, 0.5), **{output: Score(psnr, 0.95) for output in outputs}}
    settings = {
        "task": "deblur",
        "dataset": dataset,
        "protocol": "gopro",
        "method": {"name": "mprnet", "weights": "own.safetensors", "sha256": "0" * 64, **method},
        "mprnet": "0.1.0",
    }
    if noise:
        settings["noise"] = noise
    images = {str(index): PictureResult((8, 8), 0.1, dict(scores)) for index in range(count)}
    return Results(settings, outputs, count, expected, images)


def ours(standing):
    return standing.table.rows[standing.printed :]


def test_five_sets_of_rain_share_a_row_that_has_their_average():
    scores = dict(zip(RAIN, (30.5, 31.0, 36.0, 33.0, 32.0), strict=True))
    (standing,) = standings([results(name, psnr) for name, psnr in scores.items()])
    (row,) = ours(standing)
    assert [round(score.psnr, 6) for score in row.scores] == [*scores.values(), round(fmean(scores.values()), 6)]
    (partial,) = standings([results(name, psnr) for name, psnr in list(scores.items())[1:]])
    assert [score and score.psnr for score in ours(partial)[0].scores] == [None, 31.0, 36.0, 33.0, 32.0, None]


def test_other_weights_modes_and_stages_have_rows_of_their_own():
    found = [
        results("gopro"),
        results("hide"),
        results("gopro", sha256="1" * 64, ensemble=True),
        results("gopro", local=True, scales=2, precision="int8"),
        results("gopro", outputs=("stage1", "stage2")),
        results("sidd"),
    ]
    three, five = standings(found)
    assert (three.table.number, five.table.number) == (3, 5)
    assert [row.method for row in ours(three)] == [
        "own.safetensors",
        "own.safetensors, ensemble",
        "own.safetensors, local pooling, 2 scales, int8",
        "own.safetensors, stage 2",
    ]
    assert [score is not None for score in ours(three)[0].scores] == [True, True]
    assert [score is not None for score in ours(three)[1].scores] == [True, False]


def test_what_was_trained_on_realblur_is_compared_with_its_like():
    found = [
        results("realblur-j", 31.0, trained_on="gopro, realblur-j"),
        results("realblur-j", 29.0, sha256="1" * 64, trained_on="gopro"),
        results("realblur-j", 28.0, sha256="2" * 64),
    ]
    (standing,) = standings(found)
    assert [row.setting for row in ours(standing)] == ["trained on RealBlur", "", ""]
    assert standing.table.best("trained on RealBlur", 1).psnr == 31.76  # the paper's
    assert standing.table.best("", 1).psnr == 29.0
    assert standing.notes[-3:] == (
        "own.safetensors was trained on gopro, realblur-j.",
        "own.safetensors was trained on gopro.",
        "own.safetensors does not say what it was trained on.",
    )
    (other,) = standings([results("realblur-r", trained_on="RealBlur_R")])
    assert ours(other)[0].setting == "trained on RealBlur"
    (elsewhere,) = standings([results("gopro", trained_on="realblur-j")])
    assert ours(elsewhere)[0].setting == ""


def test_a_part_of_a_set_is_compared_with_nothing():
    (standing,) = standings([results("gopro", 40.0, expected=1111), results("hide", 30.0)])
    (odd,) = standings([results("gopro", weights="a|b.pth")])
    assert r"| a\|b.pth | **33.00** (0.0%)" in to_markdown(odd)
    part, whole = ours(standing)
    assert (part.setting, part.method) == (PART, "own.safetensors, only 2 of 1111 pictures")
    assert (whole.setting, whole.method, whole.scores[0]) == ("", "own.safetensors", None)
    assert "| ‡own.safetensors, only 2 of 1111 pictures | 40.00 / 0.950 | – |" in to_markdown(standing)
    assert standing.table.best("", 0) == paper_tables()[3].rows[-1].scores[0]


def test_noise_other_sets_and_what_has_no_scores_are_passed_over():
    unscored = results("dnd")
    unscored.images = {"1": PictureResult((8, 8), 0.1, {})}
    assert standings([results("holiday"), results("sidd", noise={"sigma": 10, "seed": 0}), unscored]) == []


def test_a_set_that_is_there_twice_is_one_clear_line():
    with pytest.raises(DataError, match=r"^own.safetensors was measured twice over gopro; expected each set once$"):
        standings([results("gopro"), results("gopro", 32.0)])


def test_engines_that_machines_chose_and_old_notes_of_local_pooling_split_no_row():
    found = [results("gopro", backend="torch", local=False), results("hide", backend="openvino", local=False)]
    old = results("gopro", sha256="1" * 64, local="auto", crop_px=128).to_dict()
    whole, again = ours(standings([*found, Results.from_dict(old)])[0])
    assert None not in whole.scores
    assert again.method == "own.safetensors"


def test_one_set_with_several_engines_has_as_many_rows():
    found = [results("gopro", 30.0 + index, backend=name) for index, name in enumerate(("torch", "onnx", "openvino"))]
    rows = ours(standings([found[0], results("hide", backend="openvino"), *found[1:]])[0])
    assert [[score and score.psnr for score in row.scores] for row in rows] == [[30, 33], [31, None], [32, None]]
    with pytest.raises(DataError, match="measured twice over gopro"):
        standings([*found, found[2]])


def test_tiles_and_asterisks_are_told_in_markdown():
    tiled = results("sidd")
    tiled.images = {name: image._replace(tile_px=256) for name, image in tiled.images.items()}
    text = to_markdown(standings([tiled])[0])
    assert "\nown.safetensors on SIDD validation: 2 pictures in tiles of 256, not whole." in text
    assert "\n\\* trained with additional data." in text
    assert "\\* [" in text


def test_the_table_as_markdown_is_the_papers_with_our_row():
    (standing,) = standings([results("gopro", 33.66)])
    lines = to_markdown(standing).splitlines()
    assert lines[0] == "Table 3. Deblurring: PSNR (dB) / SSIM"
    assert lines[2:4] == ["| Method | GoPro | HIDE |", "|---|---|---|"]
    assert lines[-4] == "| own.safetensors | **33.66** (0.0%) / 0.950 (18.0%) | – |"
    assert "| MPRNet | 32.66 (10.9%) / **0.959** (0.0%) | **30.96** (0.0%) / **0.939** (0.0%) |" in lines
    assert "| SRN [71] | 30.26 (32.4%) / 0.934 (37.9%) | 28.36 (25.9%) / 0.915 (28.2%) |" in lines


def test_reductions_stand_where_the_paper_has_them():
    (standing,) = standings([results(name, 33.0) for name in RAIN])
    row = next(line for line in to_markdown(standing).splitlines() if line.startswith("| MSPFN [37] |"))
    assert row.count("%") == 2  # of the average alone
    assert row.startswith("| MSPFN [37] | 27.50 / 0.876 | 28.66 / 0.860 |")

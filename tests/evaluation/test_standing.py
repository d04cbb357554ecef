"""Results of several runs in the paper's tables."""

from __future__ import annotations

from statistics import fmean

import pytest

from mprnet.errors import DataError
from mprnet.evaluation.markup import to_latex, to_markdown
from mprnet.evaluation.paper import paper_ablations, paper_tables
from mprnet.evaluation.protocols import Score
from mprnet.evaluation.results import PictureResult, Results
from mprnet.evaluation.standing import PART, UNKNOWN, ablations, standing_of, standings
from mprnet.network import preset

RAIN = ("test100", "rain100h", "rain100l", "test2800", "test1200")


def results(dataset, psnr=33.0, *, count=2, expected=2, outputs=("stage3",), noise=None, **method):
    scores = {"input": Score(20.0, 0.5), **{output: Score(psnr, 0.95) for output in outputs}}
    settings = {
        "task": "deblur",
        "dataset": dataset,
        "protocol": "gopro",
        "method": {"name": "mprnet", "weights": "own.safetensors", "sha256": "0" * 64, "trained_on": "", **method},
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


def test_two_files_of_one_name_are_told_apart_by_their_content():
    found = [results("gopro"), results("gopro", sha256="1" * 64), results("gopro", sha256="1" * 64, local=True)]
    assert [row.method for row in ours(standings(found)[0])] == [
        "own.safetensors, 00000000",
        "own.safetensors, 11111111",
        "own.safetensors, local pooling",
    ]


def test_what_was_trained_on_realblur_is_compared_with_its_like():
    found = [
        results("realblur-j", 31.0, trained_on="gopro, realblur-j"),
        results("realblur-j", 29.0, sha256="1" * 64, trained_on="gopro"),
        results("realblur-j", 28.0, sha256="2" * 64),
    ]
    (standing,) = standings(found)
    assert [row.setting for row in ours(standing)] == ["trained on RealBlur", "", UNKNOWN]
    assert standing.table.best("trained on RealBlur", 1).psnr == 31.76  # the paper's
    assert standing.table.best("", 1).psnr == 29.0
    assert standing.notes[-3:] == (
        "own.safetensors was trained on gopro, realblur-j.",
        "own.safetensors was trained on gopro.",
        "own.safetensors does not say what it was trained on.",
    )
    (other,) = standings([results("realblur-r", trained_on="RealBlur_R")])
    assert ours(other)[0].setting == "trained on RealBlur"
    (mixed,) = standings([results("realblur-r", trained_on="unknown, gopro")])
    assert ours(mixed)[0].setting == UNKNOWN
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


def test_of_what_nobody_says_table_4_compares_nothing():
    (standing,) = standings([results("realblur-j", 40.0)])
    assert standing.table.best("", 1) == paper_tables()[4].rows[-4].scores[1]
    text = to_markdown(standing)
    assert "| §own.safetensors | – | 40.00 / 0.950 |" in text
    assert "\n§ perhaps trained on RealBlur (--trained-on says it); compared with nothing.\n" in text
    method = {"name": "median", "description": "median of 5×5 pixels", "sigma": None}
    learned_nothing = results("realblur-j", 20.0)
    learned_nothing.settings["method"] = method
    assert ours(standings([learned_nothing])[0])[0].setting == ""


def test_engines_that_machines_chose_split_no_row():
    found = [results("gopro", backend="torch", local=False), results("hide", backend="openvino", local=False)]
    (row,) = ours(standings(found)[0])
    assert None not in row.scores


def test_the_networks_of_table_6_stand_there_and_not_in_table_3():
    lacking = {"n_feat": 6, "combination": "unet+unet+orsnet", "sam": True, "csff": False}
    whole = preset("deblur").entries()
    found = [
        results("gopro", 30.0, weights="a/best", config=lacking, crop_px=256),
        results("gopro", 30.5, weights="b/best", config=whole, crop_px=128),
        results("gopro", 33.0, weights="c/best", config=whole, crop_px=256),
        results("gopro", 29.0, sha256="1" * 64, config=preset("lite").entries(), crop_px=128),
        results("hide", 28.0, weights="a/best", config=lacking, crop_px=256),
    ]
    (three,) = standings(found)
    hide = "a/best, U-Nets + ORSNet without CSFF"  # in whose table it is not
    assert [row.method for row in ours(three)] == ["c/best", "own.safetensors", hide]
    six = ablations(found)
    assert [(name, row.psnr) for name, row in six.rows if name] == [("a/best", 30.0), ("b/best", 30.5)]
    assert six.rows[-3][1] == paper_ablations()[-1]
    lines = to_markdown(six).splitlines()
    assert lines[0] == "Table 6. Parts of the network, deblurring GoPro: PSNR (dB)"
    assert "| paper | 3 | U-Nets + ORSNet | yes | yes | 30.49 |" in lines
    assert "| a/best | 3 | U-Nets + ORSNet | yes | no | 30.00 |" in lines
    assert r"a/best & 3 & U-Nets + ORSNet & yes & no & 30.00 \\" in to_latex(six).splitlines()
    assert ablations(found[2:]) is None
    twice = ablations([found[0], results("gopro", 30.2, sha256="1" * 64, weights="a/best", config=lacking)])
    assert [name for name, _ in twice.rows if name] == ["a/best, 00000000", "a/best, 11111111"]


def test_a_network_that_lacks_something_says_so_elsewhere():
    config = {"n_feat": 6, "combination": "unet+orsnet", "sam": False, "csff": False}
    (standing,) = standings([results("sidd", weights="a/best", config=config, ensemble=True)])
    assert ours(standing)[0].method == "a/best, ensemble, U-Net + ORSNet without SAM and CSFF"


def test_the_table_as_latex_has_the_best_in_bold_and_the_second_underlined():
    (standing,) = standings([results("gopro", 33.66, weights="own_50%&{x}.pth")])
    lines = to_latex(standing).splitlines()
    assert lines[0] == "% Table 3. Deblurring: PSNR (dB) / SSIM"
    assert lines[1] == r"\begin{tabular}{lcccc}"
    assert lines[3] == r"Method & \multicolumn{2}{c}{GoPro} & \multicolumn{2}{c}{HIDE} \\"
    own = r"own\_50\%\&\{x\}.pth & \textbf{33.66} (0.0\%) & \underline{0.950} (18.0\%) & \multicolumn{2}{c}{--} \\"
    assert own in lines
    assert any(line.startswith(r"MPRNet & \underline{32.66} (10.9\%) & \textbf{0.959} (0.0\%)") for line in lines)
    rows = lines[3 : lines.index(r"\end{tabular}")]
    cells = [line.replace(r"\&", "").count("&") + line.count("multicolumn") for line in rows if line != r"\hline"]
    assert set(cells) == {4}
    (bracket,) = standings([results("gopro", weights="[a]/best")])
    assert any(line.startswith("{}[a]/best & ") for line in to_latex(bracket).splitlines())
    text = to_latex(standings([results("realblur-j", trained_on="realblur-j")])[0])
    assert r"$^\dagger$own.safetensors" in text
    assert text.count("{") == text.count("}")
    assert text.isascii()


def test_a_table_with_rows_of_one_s_own_is_written_too():
    table = paper_tables()[5].with_row("ours", {"dnd": Score(39.0, 0.95)})
    assert "\n| ours | – | 39.00 (8.8%) / 0.950 (12.0%) |\n" in to_markdown(table)
    assert r"ours & \multicolumn{2}{c}{--} & 39.00 (8.8\%) & 0.950 (12.0\%) \\" in to_latex(table)
    assert standing_of(table).printed == len(table.rows) - 1


def test_folders_of_one_name_that_another_program_restored_share_a_row():
    def restored(dataset, psnr, sha256):
        found = results(dataset, psnr, outputs=("restored",))
        found.settings["method"] = {"name": "theirs", "restored": "theirs", "sha256": sha256, "trained_on": ""}
        return found

    (row,) = ours(standings([restored("gopro", 33.0, "0"), restored("hide", 31.0, "1")])[0])
    assert (row.method, row.scores[0].psnr, row.scores[1].psnr) == ("theirs", 33.0, 31.0)
    assert len(ours(standings([restored("gopro", 33.0, "0"), restored("gopro", 31.0, "1")])[0])) == 2


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

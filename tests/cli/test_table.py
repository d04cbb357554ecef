"""`mprnet table`, called as from a shell."""

from __future__ import annotations

import pytest

from mprnet.evaluation.journal import write_results
from mprnet.evaluation.protocols import Score
from mprnet.evaluation.results import PictureResult, Results


@pytest.fixture
def measured(tmp_path):
    def write(folder, *datasets, weights="own.safetensors", **facts):
        found = []
        for dataset in datasets:
            settings = {"task": "", "dataset": dataset, "protocol": "gopro", "mprnet": "0"}
            settings["method"] = {"name": "mprnet", "weights": weights, **facts}
            images = {"1": PictureResult((8, 8), 0.1, {"input": Score(20.0, 0.5), "stage3": Score(34.0, 0.97)})}
            found.append(Results(settings, ("stage3",), 1, 1, images))
        (tmp_path / folder).mkdir()
        write_results(tmp_path / folder, found)
        return tmp_path / folder

    return write


def test_folders_are_joined_in_the_papers_tables(command, measured):
    answer = command("table", measured("a", "gopro"), measured("b", "hide", "sidd"))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("Table 3. Deblurring: PSNR (dB) / SSIM\n")
    assert "\n| own.safetensors | **34.00** (0.0%) / **0.970** (0.0%) | **34.00** (0.0%) / **0.970** (0.0%) |\n" in (
        answer.out
    )
    assert "\nTable 5. " in answer.out


def test_what_is_in_a_foreign_file_does_not_reach_the_terminal(command, measured):
    answer = command("table", measured("a", "gopro", weights="\x1b[2J.safetensors"))
    assert "\\x1b[2J.safetensors" in answer.out
    assert "\x1b" not in answer.out


def test_a_folder_without_results_is_one_clear_line(command, tmp_path):
    answer = command("table", tmp_path)
    assert answer.code == 1
    assert answer.err.endswith("holds no results.json; expected a folder that mprnet evaluate has written\n")
    (tmp_path / "results.json").write_text("[")
    answer = command("table", tmp_path)
    assert (answer.code, answer.err.count("\n")) == (1, 1)
    assert "holds results that cannot be read" in answer.err


def test_sets_that_are_in_no_table_are_one_clear_line(command, measured):
    answer = command("table", measured("a", "holiday"))
    assert answer.code == 1
    assert answer.err == (
        "mprnet: there are no scores for a table of the paper (holiday); expected results of its test sets\n"
    )


def test_table_6_is_printed_and_the_form_may_be_latex(command, measured):
    config = {"combination": "unet", "sam": False, "csff": False}
    folders = (measured("a", "gopro", weights="a/best", config=config), measured("b", "hide"))
    answer = command("table", *folders)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("Table 3. ")
    assert "a/best" not in answer.out.partition("Table 6. ")[0]
    assert "\n| a/best | 1 | U-Net | no | no | 34.00 |\n" in answer.out.partition("Table 6. ")[2]
    answer = command("table", *folders, "--format", "latex")
    assert answer.out.count("\\begin{tabular}") == answer.out.count("\\end{tabular}") == 2
    assert "\na/best & 1 & U-Net & no & no & 34.00 \\\\\n" in answer.out
    answer = command("table", folders[0], "--format", "html")
    assert (answer.code, answer.err) == (1, "mprnet: --format is 'html'; expected markdown or latex\n")

"""The test sets of Table 1, as their authors and the re-packagings lay them out, and what can be wrong with them."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mprnet.datasets import BENCHMARKS, TRAINING_SETS, open_benchmark, open_training_set
from mprnet.datasets.layouts import Files
from mprnet.errors import ConfigError, DataError, ImageError
from mprnet.evaluation import PROTOCOLS
from mprnet.imaging import read_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def opened(name: str, root: Path) -> dict[str, str]:
    """Open a partial set; return the paths, relative to the root, of the two pictures of every item."""
    items = open_benchmark(name, root, allow_partial=True).items
    return {item.name: " ".join(str(p.relative_to(root)) for p in (item.degraded, item.target)) for item in items}


def test_the_table_holds_the_counts_tasks_and_protocols_of_the_paper() -> None:
    counts = {name: spec.expected_count for name, spec in BENCHMARKS.items()}
    assert counts == {
        "test100": 100,
        "rain100h": 100,
        "rain100l": 100,
        "test2800": 2800,
        "test1200": 1200,
        "gopro": 1111,
        "hide": 2025,
        "realblur-j": 980,
        "realblur-r": 980,
        "sidd": 1280,
        "dnd": 1000,
    }
    assert {name: (spec.task, spec.protocol) for name, spec in BENCHMARKS.items()} == {
        **dict.fromkeys(("test100", "rain100h", "rain100l", "test2800", "test1200"), ("derain", "rain")),
        "gopro": ("deblur", "gopro"),
        "hide": ("deblur", "hide"),
        **dict.fromkeys(("realblur-j", "realblur-r"), ("deblur", "realblur")),
        "sidd": ("denoise", "sidd"),
        "dnd": ("denoise", None),
    }
    assert {spec.protocol for spec in BENCHMARKS.values()} - {None} <= PROTOCOLS.keys()
    assert TRAINING_SETS["rain"].expected_count == 13_712
    assert (TRAINING_SETS["gopro"].expected_count, TRAINING_SETS["sidd"].expected_count) == (2103, 320)
    assert {TRAINING_SETS[f"realblur-{kind}"].expected_count for kind in "jr"} == {3758}


INPUT_TARGET = [("input/1.jpg", "target/1.png"), ("input/1.jpg", "groundtruth/1.png")]

RAINS = [
    *INPUT_TARGET,
    ("rain/rain-1.png", "norain/norain-1.png"),
    ("rain/X2/norain-1x2.png", "norain/norain-1.png"),
    ("rain/1.png", "norain/1.png"),
    ("rainy/rain-1.png", "norain-1.png"),
    ("rainy/rain-1.png", "gt/norain-1.png"),
    ("rainy/1.png", "gt/1.png"),
    ("rainy_image/1_14.jpg", "ground_truth/1.jpg"),
    ("rainy image/1_14.jpg", "ground truth/1.jpg"),
    ("rain-1.png", "norain-1.png"),
]

PAIRS = {
    **dict.fromkeys(("test100", "rain100h", "rain100l", "test2800", "test1200"), RAINS),
    "gopro": [
        ("GOPR0384_11_00/blur/000001.png", "GOPR0384_11_00/sharp/000001.png"),
        ("GOPR0384_11_00/blur_gamma/000001.png", "GOPR0384_11_00/sharp/000001.png"),
        *INPUT_TARGET,
        ("blur/000001.png", "sharp/000001.png"),
    ],
    "hide": [("test/test-close-ups/1fromGOPR0950.png", "GT/1fromGOPR0950.png"), *INPUT_TARGET],
    "realblur-j": INPUT_TARGET,
    "realblur-r": INPUT_TARGET,
    "sidd": [
        *INPUT_TARGET,
        ("input_crops/1.png", "gt_crops/1.png"),
        ("input_crops/1.png", "target_crops/1.png"),
    ],
    "dnd": [],
}
"""A pair of files for each layout of pairs, in their order."""


def layouts_of_pairs(name: str) -> list[Files]:
    return [layout for layout in BENCHMARKS[name].layouts if isinstance(layout, Files)]


def test_every_layout_of_pairs_is_tried() -> None:
    assert {name: len(layouts_of_pairs(name)) for name in BENCHMARKS} == {name: len(PAIRS[name]) for name in PAIRS}


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name in BENCHMARKS for number, _ in enumerate(layouts_of_pairs(name))]
)
@pytest.mark.parametrize("place", ["", "{folder}/", "{split}/"])
def test_a_pair_is_found_in_every_layout_and_place(
    tmp_path: Path, save: Callable[..., Path], name: str, number: int, place: str
) -> None:
    if BENCHMARKS[name].shared_folders and place == "{split}/":
        place += "{folder}/"  # without the name of the set it may be that of the other one
    place = place.format(folder=BENCHMARKS[name].folders[0], split=BENCHMARKS[name].splits[0])
    paths = [place + file for file in PAIRS[name][number]]
    for path in paths:
        save(path)
    assert len(layouts_of_pairs(name)[number].find(tmp_path / place)) == 1
    found = opened(name, tmp_path)
    assert list(found.values()) == [" ".join(paths)]
    assert re.fullmatch(r"[\w.-]+", next(iter(found)))


def test_items_are_named_after_scene_and_picture_and_sorted(tmp_path: Path, save: Callable[..., Path]) -> None:
    for scene in ("GOPR0396_11_00", "GOPR0384_11_00"):
        for side in ("blur", "blur_gamma", "sharp"):
            save(f"test/{scene}/{side}/000001.png")
    assert opened("gopro", tmp_path) == {
        f"{scene}-000001": f"test/{scene}/blur/000001.png test/{scene}/sharp/000001.png"
        for scene in ("GOPR0384_11_00", "GOPR0396_11_00")
    }


def test_gopro_s_other_blur_does_not_stand_in_for_missing_pictures(tmp_path: Path, save: Callable[..., Path]) -> None:
    for number in (1, 2):
        for side in ("blur_gamma", "sharp"):
            save(f"test/GOPR0384_11_00/{side}/{number}.png")
    assert "blur_gamma" in opened("gopro", tmp_path)["GOPR0384_11_00-2"]
    save("test/GOPR0384_11_00/blur/1.png")
    with pytest.raises(DataError, match=r"1 pictures have no partner, the first is GOPR0384_11_00/sharp/2\.png"):
        open_benchmark("gopro", tmp_path, allow_partial=True)


def test_fourteen_rains_share_one_ground_truth(tmp_path: Path, save: Callable[..., Path]) -> None:
    save("ground_truth/7.jpg")
    for number in range(1, 15):
        save(f"rainy_image/7_{number}.jpg")
    items = open_benchmark("test2800", tmp_path, allow_partial=True).items
    assert {item.name for item in items} == {f"7_{number}" for number in range(1, 15)}
    assert len({item.target for item in items}) == 1


def test_the_ground_truth_of_hide_s_training_pictures_may_lie_beside(tmp_path: Path, save: Callable[..., Path]) -> None:
    for path in ("train/2.png", "test/test-close-ups/1.png", "GT/1.png", "GT/2.png"):
        save(path)
    assert opened("hide", tmp_path) == {"1": "test/test-close-ups/1.png GT/1.png"}


@pytest.mark.parametrize(("name", "kind"), [("realblur-j", "J"), ("realblur-r", "R")])
def test_realblur_follows_its_list_and_leaves_training_pictures(
    tmp_path: Path, save: Callable[..., Path], name: str, kind: str
) -> None:
    lines = [f"RealBlur-{kind}/scene230/gt/gt_{n}.png RealBlur-{kind}/scene230/blur/blur_{n}.png" for n in (7, 8)]
    for path in (*" ".join(lines).split(), f"RealBlur-{kind}/scene001/blur/blur_1.png"):
        save(path)
    (tmp_path / f"RealBlur_{kind}_test_list.txt").write_text("\n".join(lines) + "\n\n")
    assert opened(name, tmp_path) == {
        f"scene230-blur_{n}": f"RealBlur-{kind}/scene230/blur/blur_{n}.png RealBlur-{kind}/scene230/gt/gt_{n}.png"
        for n in (7, 8)
    }


def test_realblur_s_two_sets_are_never_taken_for_each_other(tmp_path: Path, save: Callable[..., Path]) -> None:
    root = tmp_path / "RealBlur"
    for side in ("input", "target"):  # of J, in the folder of both
        for split in ("train", "test"):
            save(f"RealBlur/{split}/{side}/1.png")
    for given in (tmp_path, root):
        with pytest.raises(DataError, match="RealBlur-R was not found"):
            open_benchmark("realblur-r", given, allow_partial=True)
        with pytest.raises(DataError, match="RealBlur-R was not found"):
            open_training_set("realblur-r", given, allow_partial=True)
    assert list(opened("realblur-j", root / "test")) == ["1"]
    for split, opener in (("train", open_training_set), ("test", open_benchmark)):
        line = "RealBlur-R/scene9/gt/gt_7.png RealBlur-R/scene9/blur/blur_7.png"
        for path in line.split():
            save(f"RealBlur/{path}")
        (root / f"RealBlur_R_{split}_list.txt").write_text(line)
        assert [item.name for item in opener("realblur-r", root, allow_partial=True).items] == ["scene9-blur_7"]
    own = root.rename(tmp_path / "RealBlur-J")
    assert list(opened("realblur-j", own).values()) == ["test/input/1.png test/target/1.png"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a/gt/gt_1.png a/blur/blur_1.png", "lists 2 pictures that are not there, the first is .*blur_1.png"),
        (b"a/gt/gt_1.png", "entry 1 is not a pair"),
        (b"a/gt/gt_\xe9.png a/blur/blur_1.png", "cannot be read: 'utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_a_list_that_does_not_fit_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "RealBlur_J_test_list.txt").write_bytes(content)
    with pytest.raises(DataError, match=f"RealBlur_J_test_list.txt.*{complaint}") as error:
        open_benchmark("realblur-j", tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "rainy"), [("test1200", slice(0, 8)), ("test100", slice(8, 16))])
def test_a_file_with_both_pictures_is_cut_in_the_middle(
    tmp_path: Path, save: Callable[..., Path], name: str, rainy: slice
) -> None:
    both = read_image(save("0.png", width=16)).pixels
    (item,) = open_benchmark(name, tmp_path, allow_partial=True).items
    degraded, target = item.read()
    assert item.name == "0"
    assert np.array_equal(degraded, both[:, rainy])
    assert target.shape == degraded.shape
    assert not np.array_equal(degraded, target)


def test_a_file_with_both_pictures_has_an_even_width(tmp_path: Path, save: Callable[..., Path]) -> None:
    save("0.png", width=15)
    (item,) = open_benchmark("test1200", tmp_path, allow_partial=True).items
    with pytest.raises(ImageError, match=r"0\.png is 15 pixels wide"):
        item.read()


def test_items_read_pixels_and_can_be_sent_to_another_process(tmp_path: Path, save: Callable[..., Path]) -> None:
    degraded, target = save("input/1.png"), save("target/1.png")
    item = pickle.loads(pickle.dumps(open_benchmark("rain100h", tmp_path, allow_partial=True).items[0]))  # noqa: S301
    pictures = item.read()
    assert np.array_equal(pictures.degraded, read_image(degraded).pixels)
    assert np.array_equal(pictures.target, read_image(target).pixels)


def test_pictures_are_read_one_by_one_so_a_broken_one_fails_alone(tmp_path: Path, save: Callable[..., Path]) -> None:
    for name in ("1", "2", "3"):
        save(f"input/{name}.png")
        save(f"target/{name}.png")
    (tmp_path / "input" / "2.png").write_bytes(b"nothing")
    save("target/3.png", width=9)
    good, broken, other_size = open_benchmark("rain100h", tmp_path, allow_partial=True).items
    assert good.read().degraded.shape == (6, 8, 3)
    with pytest.raises(ImageError, match=r"2\.png"):
        broken.read()
    with pytest.raises(ImageError, match=r"3\.png is 8×6 and .*3\.png 9×6"):
        other_size.read()


def test_a_count_other_than_the_paper_s_is_an_error_unless_it_is_allowed(
    tmp_path: Path, save: Callable[..., Path]
) -> None:
    save("input/1.png")
    save("target/1.png")
    with pytest.raises(DataError, match="holds 1 pictures, but Rain100H has 100; complete the set"):
        open_benchmark("rain100h", tmp_path)
    benchmark = open_benchmark("rain100h", tmp_path, allow_partial=True)
    assert (len(benchmark.items), benchmark.expected_count) == (1, 100)
    assert (benchmark.name, benchmark.task, benchmark.protocol) == ("rain100h", "derain", "rain")


def test_a_surplus_is_no_lack(tmp_path: Path, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRAINING_SETS, "rain14000", replace(TRAINING_SETS["rain14000"], expected_count=1))
    for path in ("rainy_image/1_1.jpg", "rainy_image/1_2.jpg", "ground_truth/1.jpg"):
        save(path)
    with pytest.raises(DataError, match=r"holds 2 pictures, but Rain14000 has 1; pictures of another part.* may be"):
        open_training_set("rain14000", tmp_path)
    assert len(open_training_set("rain14000", tmp_path, allow_partial=True).items) == 2


def test_the_copies_that_the_authors_publish_are_taken_though_they_are_smaller(
    tmp_path: Path, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (BENCHMARKS["test100"].published_count, TRAINING_SETS["rain"].published_count) == (98, 13_711)
    for number in range(98):
        for side in ("input", "target"):
            save(f"Test100/{side}/{number}.png")
    benchmark = open_benchmark("test100", tmp_path)
    assert (len(benchmark.items), benchmark.expected_count) == (98, 98)
    (tmp_path / "Test100" / "input" / "0.png").unlink()
    (tmp_path / "Test100" / "target" / "0.png").unlink()
    with pytest.raises(DataError, match=r"holds 97 pictures, but Test100 has 100 \(its published copy 98\); complete"):
        open_benchmark("test100", tmp_path)
    monkeypatch.setitem(TRAINING_SETS, "rain", replace(TRAINING_SETS["rain"], published_count=97))
    found = open_training_set("rain", (tmp_path / "Test100").rename(tmp_path / "Rain13K").parent)
    assert (len(found.items), found.expected_count) == (97, 97)


def test_one_folder_may_hold_all_sets_sorted_by_split(tmp_path: Path, save: Callable[..., Path]) -> None:
    for name in ("Rain100H", "Rain100L"):
        for side in ("input", "target"):
            save(f"test/{name}/{side}/1.png")
    assert opened("rain100h", tmp_path) == {"1": "test/Rain100H/input/1.png test/Rain100H/target/1.png"}
    assert opened("rain100l", tmp_path) == {"1": "test/Rain100L/input/1.png test/Rain100L/target/1.png"}


def test_a_set_of_the_right_count_needs_no_leave(tmp_path: Path, save: Callable[..., Path]) -> None:
    for number in range(1, 13):
        save(f"Rain12/{number:03d}_in.png")
        save(f"Rain12/{number:03d}_GT.png")
    found = open_training_set("rain12", tmp_path)
    assert (len(found.items), found.expected_count, found.items[0].name) == (12, 12, "001")


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        (
            (),
            "Rain100H was not found in .*expected it there, or in its folder Rain100H, as input/NAME with target/NAME",
        ),
        (("input/1.png",), "has 1 pictures input/NAME, but no picture target/NAME"),
        (("target/1.png",), "has target/, but no picture input/NAME"),
        (("input/1.png", "target/2.png"), "2 pictures have no partner, the first is input/1.png"),
        (("input/1.png", "input/1.jpg", "target/1.png"), "holds 1.jpg and 1.png; expected one of them"),
        (("norain-1.png", "rain-1.png", "rain-2.png"), "1 pictures have no partner, the first is rain-2.png"),
    ],
)
def test_what_is_missing_where_is_said(
    tmp_path: Path, save: Callable[..., Path], files: tuple[str, ...], complaint: str
) -> None:
    for file in files:
        save(file)
    with pytest.raises(DataError, match=complaint):
        open_benchmark("rain100h", tmp_path, allow_partial=True)


def test_empty_folders_are_named(tmp_path: Path) -> None:
    for side in ("input", "target"):
        (tmp_path / "Rain100H" / side).mkdir(parents=True)
    with pytest.raises(DataError, match="Rain100H has input/, but no picture input/NAME"):
        open_benchmark("rain100h", tmp_path)


def test_a_name_twice_in_two_folders_is_refused(tmp_path: Path, save: Callable[..., Path]) -> None:
    for path in ("test/test-close-ups/1.png", "test/test-long-shot/1.png", "GT/1.png"):
        save(path)
    with pytest.raises(DataError, match="2 pictures that go by the name '1'"):
        open_benchmark("hide", tmp_path, allow_partial=True)


def test_hidden_files_are_passed_over(tmp_path: Path, save: Callable[..., Path]) -> None:
    for path in ("input/1.png", "target/1.png", "input/._1.png"):
        save(path)
    assert list(opened("rain100h", tmp_path)) == ["1"]


def test_an_unknown_set_or_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown benchmark 'set5'; expected one of test100, rain100h"):
        open_benchmark("set5", tmp_path)
    with pytest.raises(ConfigError, match="unknown training set 'hide'; expected one of rain, "):
        open_training_set("hide", tmp_path)
    with pytest.raises(DataError, match="nowhere is not a folder; expected one that holds GoPro"):
        open_benchmark("gopro", tmp_path / "nowhere")


def test_the_training_part_is_not_taken_for_the_test_part(tmp_path: Path, save: Callable[..., Path]) -> None:
    for split in ("train", "test"):
        for side in ("blur", "sharp"):
            save(f"GOPRO_Large/{split}/GOPR_{split}/{side}/1.png")
            save(f"MIMO/{split}/{side}/1.png")
    for root in (tmp_path, tmp_path / "GOPRO_Large"):
        assert list(opened("gopro", root)) == ["GOPR_test-1"]
        trained = open_training_set("gopro", root, allow_partial=True)
        assert [item.name for item in trained.items] == ["GOPR_train-1"]
    assert list(opened("gopro", tmp_path / "MIMO").values()) == ["test/blur/1.png test/sharp/1.png"]


def test_sidd_pairs_are_named_after_scene_and_number(tmp_path: Path, save: Callable[..., Path]) -> None:
    scene = "0001_001_S6_00100_00060_3200_L"
    for number in ("010", "011"):
        for side in ("NOISY", "GT"):
            save(f"SIDD_Medium_Srgb/Data/{scene}/0001_{side}_SRGB_{number}.PNG")
    items = open_training_set("sidd", tmp_path, allow_partial=True).items
    assert [item.name for item in items] == [f"{scene}-010", f"{scene}-011"]
    assert items[0].degraded.name == "0001_NOISY_SRGB_010.PNG"
    assert items[0].target.name == "0001_GT_SRGB_010.PNG"


@pytest.fixture
def rain(tmp_path: Path, save: Callable[..., Path]) -> Path:
    for path in ("Rain1800/rain-1.png", "Rain1800/norain-1.png", "Rain800/training/1.jpg"):
        save(path)
    for path in ("Rain14000/training/rainy_image/1_1.jpg", "Rain14000/training/ground_truth/1.jpg"):
        save(path)
    return tmp_path


def test_the_rain_sets_are_gathered_under_names_that_tell_them_apart(rain: Path, save: Callable[..., Path]) -> None:
    save("Rain12/1_in.png")
    save("Rain12/1_GT.png")
    items = open_training_set("rain", rain, allow_partial=True).items
    assert [item.name for item in items] == ["rain14000-1_1", "rain1800-1", "rain800-1", "rain12-1"]
    with pytest.raises(DataError, match="holds 1 pictures, but Rain14000 has 11200"):
        open_training_set("rain", rain)


def test_a_rain_set_that_is_missing_is_named(rain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = open_training_set("rain", rain, allow_partial=True).items
    assert len(items) == 3
    for name in ("rain14000", "rain1800", "rain800"):
        monkeypatch.setattr("mprnet.datasets.layouts.SetSpec._check", lambda *_: None)
        assert open_training_set(name, rain).items
    with pytest.raises(DataError, match="lacks Rain12; add what is missing"):
        open_training_set("rain", rain)


def test_a_broken_rain_set_is_not_passed_over_though_a_partial_one_is_allowed(
    rain: Path, save: Callable[..., Path]
) -> None:
    save("Rain12/input/1.png")
    with pytest.raises(DataError, match="Rain12 has 1 pictures input/NAME, but no picture target/NAME"):
        open_training_set("rain", rain, allow_partial=True)


def test_the_rain_sets_may_be_gathered_in_one_folder_already(tmp_path: Path, save: Callable[..., Path]) -> None:
    for side in ("input", "target"):
        save(f"train/Rain13K/{side}/1.jpg")
    items = open_training_set("rain", tmp_path, allow_partial=True).items
    assert [item.name for item in items] == ["1"]


def test_no_rain_at_all_names_every_set_that_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Rain13K was not found .* nor is there any of Rain14000, Rain1800, Rain800, "):
        open_training_set("rain", tmp_path)


def test_the_real_rain100h_opens_as_a_part(shared: Path) -> None:
    folder = shared / "data" / "validation" / "Rain100H"
    if not folder.is_dir():
        pytest.skip("the pictures of Rain100H do not lie beside the repository")
    with pytest.raises(DataError, match="holds 20 pictures, but Rain100H has 100"):
        open_benchmark("rain100h", folder)
    for root in (folder, folder.parent):
        benchmark = open_benchmark("rain100h", root, allow_partial=True)
        assert sorted(int(item.name) for item in benchmark.items) == list(range(1, 21))
    degraded, target = benchmark.items[0].read()
    assert degraded.shape == target.shape == (320, 480, 3)
    assert degraded.mean() > target.mean()

"""Published sets cut or gathered for training: the same whatever the workers, and taken up where a run stopped."""

from __future__ import annotations

import importlib
import itertools
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import mprnet.datasets.preparation
from mprnet.datasets import pair_folders, prepare, read_rgb
from mprnet.datasets.preparation import DEFAULT_CROPS, LOG, GridCrops, RandomCrops, Step
from mprnet.errors import ConfigError, DataError
from mprnet.files import MACHINE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GRID = GridCrops(side_px=16, overlap_px=8)
SCENES = ("GOPR0372_07_00", "GOPR0374_11_00")


@pytest.fixture
def gopro(tmp_path: Path, save: Callable[..., Path]) -> Path:
    """Two sequences of two pictures of 24×40: each gives 2×4 crops."""
    for scene in SCENES:
        for side in ("blur", "sharp"):
            for number in (47, 48):
                save(f"gopro/train/{scene}/{side}/{number:06d}.png", height=24, width=40)
    return tmp_path / "gopro"


@pytest.fixture
def rain(tmp_path: Path, save: Callable[..., Path]) -> Path:
    for path in ("Rain1800/rain-1.png", "Rain1800/norain-1.png", "Rain12/1_in.png", "Rain12/1_GT.png"):
        save(f"rain/{path}")
    for path in ("rainy_image/1_1.jpg", "rainy_image/1_2.jpg", "ground_truth/1.jpg"):
        save(f"rain/Rain14000/{path}")
    save("rain/Rain800/training/1.jpg", width=16)
    return tmp_path / "rain"


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != LOG]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@given(height=st.integers(16, 80), width=st.integers(16, 80), overlap=st.integers(0, 15))
def test_the_grid_covers_every_pixel_and_overlaps_enough(height: int, width: int, overlap: int) -> None:
    covered = np.zeros((height, width), bool)
    corners = GridCrops(side_px=16, overlap_px=overlap).corners(height, width, "")
    for top, left in corners:
        assert 0 <= top <= height - 16
        assert 0 <= left <= width - 16
        covered[top : top + 16, left : left + 16] = True
    assert covered.all()
    assert len(set(corners)) == len(corners)
    lefts = sorted({left for _, left in corners})
    assert all(after - before <= 16 - overlap for before, after in itertools.pairwise(lefts))


def test_the_defaults_are_those_that_the_documentation_tells() -> None:
    assert {"gopro": GridCrops(512, 256), "sidd": RandomCrops(256, 300, 0)} == DEFAULT_CROPS


def test_gopro_gives_the_16824_crops_of_the_published_training() -> None:
    corners = GridCrops().corners(720, 1280, "")
    assert corners == [(top, left) for top in (0, 208) for left in (0, 256, 512, 768)]
    assert 2103 * len(corners) == 16_824


def test_random_crops_lie_inside_and_depend_on_seed_and_name_alone() -> None:
    crops = RandomCrops(side_px=256, count=300)
    corners = crops.corners(300, 1000, "a")
    assert len(corners) == 300
    assert {top for top, _ in corners} == set(range(45))
    assert max(left for _, left in corners) <= 744
    assert corners == RandomCrops(side_px=256, count=300).corners(300, 1000, "a")
    assert corners != crops.corners(300, 1000, "b")
    assert corners != RandomCrops(side_px=256, count=300, seed=1).corners(300, 1000, "a")
    assert crops.corners(256, 256, "a") == [(0, 0)] * 300


def test_names_that_are_no_text_are_taken_and_known_again(tmp_path: Path, save: Callable[..., Path]) -> None:
    name = "caf\udce9"
    for part in ("in", "GT"):
        save(f"rain/Rain12/1_{part}.png")
        (tmp_path / f"rain/Rain12/1_{part}.png").rename(tmp_path / f"rain/Rain12/{name}_{part}.png")
    for made, earlier in ((1, 0), (0, 1)):
        report = prepare("rain12", tmp_path / "rain", tmp_path / "out", allow_partial=True)
        assert (len(report.pictures), report.earlier, report.failed) == (made, earlier, {})
    assert len(RandomCrops(side_px=8, count=3).corners(20, 20, name)) == 3


def test_crops_are_cut_from_the_same_place_of_both_pictures(gopro: Path, tmp_path: Path) -> None:
    steps: list[Step] = []
    report = prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True, watch=steps.append)
    names = [f"{scene}-{number:06d}" for scene in SCENES for number in (47, 48)]
    assert report.pictures == dict.fromkeys(names, 8)
    assert steps == [Step(done, 4) for done in range(5)]
    assert not report.failed
    pairs = pair_folders(tmp_path / "out")
    assert [pair.name for pair in pairs] == [f"{name}-{number}" for name in names for number in range(1, 9)]
    for side, path in (("blur", pairs[7].degraded), ("sharp", pairs[7].target)):
        whole = read_rgb(gopro / "train" / SCENES[0] / side / "000047.png")
        assert np.array_equal(read_rgb(path), whole[8:24, 24:40])


def test_sidd_is_cut_at_random_places_by_default(tmp_path: Path, save: Callable[..., Path]) -> None:
    for side in ("NOISY", "GT"):
        save(f"sidd/Data/0001_001_S6/0001_{side}_SRGB_010.PNG", height=20, width=30)
    crops = RandomCrops(side_px=8, count=12)
    report = prepare("sidd", tmp_path / "sidd", tmp_path / "out", crops=crops, allow_partial=True)
    assert report.pictures == {"0001_001_S6-010": 12}
    top, left = crops.corners(20, 30, "0001_001_S6-010")[4]
    whole = read_rgb(tmp_path / "sidd/Data/0001_001_S6/0001_NOISY_SRGB_010.PNG")
    made = read_rgb(tmp_path / "out" / "input" / "0001_001_S6-010-05.png")
    assert np.array_equal(made, whole[top : top + 8, left : left + 8])
    small = prepare("sidd", tmp_path / "sidd", tmp_path / "default", allow_partial=True)
    assert small.failed == {
        "0001_001_S6-010": "0001_001_S6-010 is 30×20; expected at least 256 pixels each way for crops of that size"
    }


def test_rain_is_gathered_whole_under_one_roof(rain: Path, tmp_path: Path) -> None:
    before = contents(rain)
    report = prepare("rain", rain, tmp_path / "out", allow_partial=True)
    assert list(report.pictures) == ["rain14000-1_1", "rain14000-1_2", "rain1800-1", "rain800-1", "rain12-1"]
    pairs = {pair.name: pair for pair in pair_folders(tmp_path / "out")}
    assert pairs.keys() == report.pictures.keys()
    linked = pairs["rain14000-1_2"]
    assert linked.degraded.samefile(rain / "Rain14000" / "rainy_image" / "1_2.jpg")
    assert linked.target.samefile(rain / "Rain14000" / "ground_truth" / "1.jpg")
    both = read_rgb(rain / "Rain800" / "training" / "1.jpg")
    assert np.array_equal(read_rgb(pairs["rain800-1"].target), both[:, :8])
    assert np.array_equal(read_rgb(pairs["rain800-1"].degraded), both[:, 8:])
    assert contents(rain) == before


def test_pairs_are_copied_where_links_cannot_be_made(
    rain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    prepare("rain1800", rain, tmp_path / "out", allow_partial=True)
    source, made = rain / "Rain1800" / "rain-1.png", tmp_path / "out" / "input" / "1.png"
    assert made.read_bytes() == source.read_bytes()
    assert not made.samefile(source)
    assert sorted(contents(tmp_path / "out")) == ["input/1.png", "target/1.png"]


def test_several_processes_make_what_one_makes(gopro: Path, tmp_path: Path) -> None:
    (gopro / "train" / SCENES[0] / "blur" / "000048.png").write_bytes(b"nothing")
    reports = [
        prepare("gopro", gopro, tmp_path / str(workers), crops=GRID, workers=workers, allow_partial=True)
        for workers in (1, 2)
    ]
    assert reports[0].pictures == reports[1].pictures
    assert reports[0].failed == reports[1].failed
    assert list(reports[0].failed) == [f"{SCENES[0]}-000048"]
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_a_second_run_makes_nothing_again_and_a_mended_picture_is_taken_up(gopro: Path, tmp_path: Path) -> None:
    broken = gopro / "train" / SCENES[0] / "blur" / "000047.png"
    good = broken.read_bytes()
    broken.write_bytes(good[:60])
    steps: list[Step] = []
    report = prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True, watch=steps.append)
    assert (len(report.pictures), report.earlier) == (3, 0)
    assert "000047.png is truncated" in report.failed[f"{SCENES[0]}-000047"]
    assert [step.failure for step in steps if step.failure] == list(report.failed.values())
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "input").iterdir()}
    broken.write_bytes(good)
    report = prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True)
    assert (list(report.pictures), report.earlier, report.failed) == ([f"{SCENES[0]}-000047"], 3, {})
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert len(pair_folders(tmp_path / "out")) == 32


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_is_taken_up_and_ends_with_the_same_files(gopro: Path, tmp_path: Path) -> None:
    prepare("gopro", gopro, tmp_path / "whole", crops=GRID, allow_partial=True)
    program = (
        "import sys, os, signal\n"
        "from mprnet.datasets import preparation\n"
        "made = 0\n"
        "write = preparation.write_image\n"
        "def stop(*arguments):\n"
        "    global made\n"
        "    made += 1\n"
        "    if made > 21: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(*arguments)\n"
        "preparation.write_image = stop\n"
        "crops = preparation.GridCrops(16, 8)\n"
        "preparation.prepare('gopro', sys.argv[1], sys.argv[2], crops=crops, allow_partial=True)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, gopro, tmp_path / "out"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(contents(tmp_path / "out")) == 21
    with (tmp_path / "out" / LOG).open("a") as log:
        log.write(SCENES[0])  # a line that was being written
    for place in (".", "input", "target"):
        (tmp_path / "out" / place / f".{'0' * 8}-{MACHINE}-999999999.unfinished").write_bytes(b"half a pict")
    report = prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True)
    assert (report.earlier, len(report.pictures)) == (1, 3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert (tmp_path / "out" / LOG).read_text() == (tmp_path / "whole" / LOG).read_text()


def test_a_file_that_it_did_not_write_is_left_alone(gopro: Path, rain: Path, tmp_path: Path) -> None:
    prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True)
    for name in ("out/input", "out2/input", "out2/target", "out3/input", "out3/target"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "out" / LOG).write_text((tmp_path / "out" / LOG).read_text().splitlines(keepends=True)[0])
    foreign = tmp_path / "out" / "input" / f"{SCENES[0]}-000047-3.png"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(foreign)
    (tmp_path / "out" / "mine.txt").write_text("mine")
    before = contents(tmp_path / "out")
    report = prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True)
    assert report.failed == {
        f"{SCENES[0]}-000047": f"{foreign} is another picture, not made by this command; move it away"
    }
    assert contents(tmp_path / "out") == before
    # The same for files that stay whole.
    prepare("rain1800", rain, tmp_path / "out2", allow_partial=True)
    (tmp_path / "out2" / LOG).write_text((tmp_path / "out2" / LOG).read_text().splitlines(keepends=True)[0])
    (tmp_path / "out2" / "target" / "1.png").unlink()
    (tmp_path / "out2" / "target" / "1.png").write_bytes(b"mine")
    report = prepare("rain1800", rain, tmp_path / "out2", allow_partial=True)
    assert "target/1.png is another picture" in report.failed["1"]
    assert (tmp_path / "out2" / "target" / "1.png").read_bytes() == b"mine"


def test_a_folder_with_other_pictures_or_settings_is_refused(gopro: Path, tmp_path: Path) -> None:
    prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True)
    with pytest.raises(DataError, match=r"made with .*\"side_px\": 16.*, not with .*\"side_px\": 24"):
        prepare("gopro", gopro, tmp_path / "out", crops=GridCrops(24, 8), allow_partial=True)
    (tmp_path / "other" / "input").mkdir(parents=True)
    (tmp_path / "other" / "input" / "mine.png").write_bytes(b"mine")
    with pytest.raises(DataError, match="other/input was not made by `mprnet prepare`"):
        prepare("gopro", gopro, tmp_path / "other", crops=GRID, allow_partial=True)
    assert list(contents(tmp_path / "other")) == ["input/mine.png"]


def test_pictures_of_another_origin_are_refused_even_under_the_same_names(
    gopro: Path, tmp_path: Path, save: Callable[..., Path]
) -> None:
    prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True)
    for side in ("blur", "sharp"):
        for scene in SCENES:
            for number in (47, 48):
                save(f"same-names/train/{scene}/{side}/{number:06d}.png", height=24, width=40)
        save(f"other-names/train/GOPR0384_11_00/{side}/000047.png", height=24, width=40)
    before = contents(tmp_path / "out")
    with pytest.raises(DataError, match=rf"{SCENES[0]}-000047 made from another file than that of .*same-names, by"):
        prepare("gopro", tmp_path / "same-names", tmp_path / "out", crops=GRID, allow_partial=True)
    with pytest.raises(DataError, match=rf"{SCENES[0]}-000047, which .*other-names has not; use the source"):
        prepare("gopro", tmp_path / "other-names", tmp_path / "out", crops=GRID, allow_partial=True)
    assert contents(tmp_path / "out") == before


def test_a_set_that_lies_as_input_and_target_is_not_written_into(tmp_path: Path, save: Callable[..., Path]) -> None:
    for side in ("input", "target"):
        save(f"{side}/1.png", height=24, width=24)
    before = contents(tmp_path)
    with pytest.raises(DataError, match="is the set itself, where what is made would be taken for it"):
        prepare("gopro", tmp_path, tmp_path / "input" / "..", crops=GRID, allow_partial=True)
    assert contents(tmp_path) == before


def test_pairs_that_it_did_not_make_are_not_added_to(gopro: Path, tmp_path: Path, save: Callable[..., Path]) -> None:
    save("out/input/1.png", height=24, width=24)
    with pytest.raises(DataError, match="input was not made by"):
        prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True)
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["input", "1.png"]


@pytest.mark.parametrize("source", [".", "Rain14000"])
def test_a_set_is_not_prepared_into_itself(rain: Path, source: str) -> None:
    before = contents(rain)
    with pytest.raises(DataError, match="is the set itself, where what is made would be taken for it"):
        prepare("rain14000", rain / source, rain / "Rain14000", allow_partial=True)
    assert contents(rain) == before


def test_windows_is_asked_for_no_more_processes_than_it_can_wait_for(
    gopro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Exception):  # noqa: N818
        pass

    def pool(workers: int, *_: object, **__: object) -> None:
        raise Asked(workers)

    monkeypatch.setattr(mprnet.datasets.preparation, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(mprnet.datasets.preparation, "_MOST_WORKERS", 3)
    with pytest.raises(Asked, match="3"):
        prepare("gopro", gopro, tmp_path / "out", crops=GRID, workers=64, allow_partial=True)


def test_the_log_names_settings_and_finished_pictures(gopro: Path, tmp_path: Path) -> None:
    prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True)
    first, *lines = (tmp_path / "out" / LOG).read_text().splitlines()
    assert json.loads(first) == {"set": "gopro", "crops": "GridCrops", "side_px": 16, "overlap_px": 8}
    assert [line.split("\t")[0] for line in lines] == [
        f"{scene}-{number:06d}" for scene in SCENES for number in (47, 48)
    ]


DEADLY = """
import os
import time
from pathlib import Path

from mprnet.datasets import preparation

class GridCrops(preparation.GridCrops):
    def corners(self, height, width, name):
        if name == {name!r}:
            patience = time.monotonic() + 60
            while Path({log!r}).read_text().count(chr(10)) < 4 and time.monotonic() < patience:
                time.sleep(0.01)
            os._exit(1)
        return super().corners(height, width, name)
"""
"""Once the settings and three pictures are in the log, the process that makes the fourth dies."""


def test_a_worker_that_dies_is_one_line_and_what_was_made_stays(
    gopro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying, *others = (f"{scene}-{number:06d}" for scene in SCENES for number in (47, 48))
    log = tmp_path / "out" / LOG
    (tmp_path / "deadly_crops.py").write_text(DEADLY.format(name=dying, log=str(log)))
    monkeypatch.syspath_prepend(tmp_path)  # for the processes, too
    crops = importlib.import_module("deadly_crops").GridCrops(side_px=16, overlap_px=8)
    with pytest.raises(DataError, match=r"a worker process died.*run again with fewer workers"):
        prepare("gopro", gopro, tmp_path / "out", crops=crops, workers=2, allow_partial=True)
    assert sorted(line.split("\t")[0] for line in log.read_text().splitlines()[1:]) == others
    made = contents(tmp_path / "out")
    assert len(made) == 3 * 2 * 8
    report = prepare("gopro", gopro, tmp_path / "out", crops=GRID, allow_partial=True)
    assert (list(report.pictures), report.earlier) == ([dying], 3)
    assert made.items() <= contents(tmp_path / "out").items()


def test_settings_that_make_no_sense_are_refused(gopro: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="crops of 16 overlap by 16; expected 0 ≤ overlap < side"):
        GridCrops(16, 16)
    with pytest.raises(ConfigError, match="0 crops of 256 pixels"):
        RandomCrops(count=0)
    with pytest.raises(ConfigError, match="0 workers"):
        prepare("gopro", gopro, tmp_path / "out", workers=0)
    with pytest.raises(ConfigError, match="unknown training set 'hide'"):
        prepare("hide", gopro, tmp_path / "out")
    with pytest.raises(DataError, match="holds 4 pictures, but GoPro has 2103"):
        prepare("gopro", gopro, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_made_is_one_line(gopro: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file cannot be prepared: "):
        prepare("gopro", gopro, tmp_path / "file", crops=GRID, allow_partial=True)


@pytest.mark.parametrize("kind", ["J", "R"])
def test_of_realblur_the_pairs_of_its_training_list_are_gathered(
    kind: str, tmp_path: Path, save: Callable[..., Path]
) -> None:
    lines = [f"RealBlur-{kind}/scene001/gt/gt_{n}.png RealBlur-{kind}/scene001/blur/blur_{n}.png" for n in (1, 2)]
    for path in (*" ".join(lines).split(), f"RealBlur-{kind}/scene230/blur/blur_7.png"):
        save(f"RealBlur/{path}")
    (tmp_path / "RealBlur" / f"RealBlur_{kind}_train_list.txt").write_text("\n".join(lines))
    made = tmp_path / "RealBlur" / "train"  # which is not taken for the source in the second run
    for earlier in (0, 2):
        assert prepare(f"realblur-{kind.lower()}", tmp_path, made, allow_partial=True).earlier == earlier
    assert [pair.name for pair in pair_folders(made)] == ["scene001-blur_1", "scene001-blur_2"]
    for side, pictures in (("input", "blur"), ("target", "gt")):
        original = tmp_path / "RealBlur" / f"RealBlur-{kind}" / "scene001" / pictures / f"{pictures}_1.png"
        assert (made / side / "scene001-blur_1.png").read_bytes() == original.read_bytes()

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a folder of two grey pictures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clean").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (96, 80), "#808080").save(tmp_path / "clean" / name)
    return tmp_path


def read(path):
    with Image.open(path) as image:
        return np.array(image).astype(float)


@pytest.mark.parametrize("task", ["derain", "deblur", "denoise"])
def test_every_task_has_its_pairs(command, folder, task):
    assert command("degrade", "--task", task, "clean", "-o", "out") == (0, "out: 2 made, 0 failed\n", "")
    for name in ("a.png", "b.png"):
        assert (read(folder / "out/target" / name) == 128).all()
        assert read(folder / "out/input" / name).shape == (80, 96, 3)


def test_a_single_picture_will_do(command, folder):
    assert command("degrade", "--task", "denoise", "clean/b.png", "-o", "out").out == "out: 1 made, 0 failed\n"
    assert [path.name for path in (folder / "out/input").iterdir()] == ["b.png"]


def test_sigma_is_the_strength_of_white_noise(command, folder):
    command("degrade", "--task", "denoise", "--sigma", 25, "clean", "-o", "out")
    noise = read(folder / "out/input/a.png") - 128
    assert noise.std() == pytest.approx(25, rel=0.03)
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 0.05 * 25**2


def test_the_seed_draws_anew(command, folder):
    for seed, out in ((0, "first"), (0, "again"), (1, "other")):
        command("degrade", "--task", "derain", "--seed", seed, "clean", "-o", out)
    first, again, other = ((folder / out / "input/a.png").read_bytes() for out in ("first", "again", "other"))
    assert first == again
    assert first != other


def test_settings_are_changed_one_by_one(command, folder):
    changes = ("--set", "sharp_share=1", "--set", "noise_sigma=[0, 0]")
    command("degrade", "--task", "deblur", *changes, "clean", "-o", "out")
    assert (read(folder / "out/input/a.png") == 128).all()
    changes = ("--set", "camera_share=1", "--set", "camera.gain=[1e-6, 1e-6]", "--set", "camera.read=[1e-6, 1e-6]")
    command("degrade", "--task", "denoise", *changes, "clean", "-o", "quiet")
    assert np.abs(read(folder / "quiet/input/a.png") - 128).max() <= 2


def test_what_exists_is_replaced_only_when_asked(command, folder):
    arguments = ("degrade", "--task", "denoise", "clean", "-o", "out")
    command(*arguments)
    answer = command(*arguments)
    assert (answer.code, answer.out) == (1, "out: 0 made, 2 failed\n")
    assert answer.err.count("\n") == 2
    assert answer.err.startswith("mprnet: out")
    assert "a.png exists; " in answer.err
    assert command(*arguments, "--overwrite").code == 0


def test_a_failed_picture_is_one_line_and_a_failure_while_the_others_are_done(command, folder):
    (folder / "clean/a.png").write_bytes(b"")
    answer = command("degrade", "--task", "denoise", "clean", "-o", "out")
    assert (answer.code, answer.out) == (1, "out: 1 made, 1 failed\n")
    assert answer.err.endswith("a.png is empty (0 bytes); copy or download it again\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "dehaze"), "task is 'dehaze'; expected one of derain, deblur, denoise"),
        (("--task", "derain", "--sigma", 25), "--sigma says all about the noise; expected --task denoise"),
        (("--task", "denoise", "--sigma", 25, "--set", "camera_share=1"), "--sigma says all about the noise"),
        (("--task", "denoise", "--sigma", -5), "sigma is (-5.0, -5.0); expected 0 to "),
        (("--task", "derain", "--set", "layers"), "got 'layers'; expected key=value"),
        (("--task", "derain", "--set", "wind=3"), "degradation (derain) has no entry 'wind'; expected some of layers,"),
        (("--task", "derain", "--set", "layers=[4, 1]"), "layers is (4, 1); expected 1 to 100, the lower end first"),
    ],
)
def test_a_mistake_is_one_line_and_a_failure(command, folder, arguments, message):
    answer = command("degrade", *arguments, "clean", "-o", "out")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"mprnet: {message}")
    assert answer.err.count("\n") == 1
    assert not (folder / "out").exists()


def test_a_missing_folder_is_one_line_and_a_failure(command, folder):
    answer = command("degrade", "--task", "derain", "none", "-o", "out")
    assert answer == (1, "", "mprnet: none does not exist; expected a folder with pictures\n")


def test_kodak_with_white_noise_measures_about_what_is_published(command, shared, tmp_path):
    kodak = sorted((shared / "data/measure/Kodak24").glob("*.png"))[:4]
    (tmp_path / "clean").mkdir()
    for path in kodak:
        (tmp_path / "clean" / path.name).symlink_to(path)
    assert command("degrade", "--task", "denoise", "--sigma", 25, tmp_path / "clean", "-o", tmp_path).code == 0
    errors = [np.square(read(tmp_path / "input" / path.name) - read(path)).mean() for path in kodak]
    assert np.mean(10 * np.log10(255**2 / np.array(errors))) == pytest.approx(20.44, abs=0.2)

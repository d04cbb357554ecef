"""Contact sheets show what they are given, under captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mprnet.errors import ImageError
from mprnet.imaging import compare, contact_sheet, read_image, sheet, write_image


def picture(value: int, height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_a_sheet_holds_every_picture_side_by_side_in_its_own_colours() -> None:
    laid = contact_sheet([[("before", picture(200)), ("after", picture(90))], [("third", picture(150))]])
    # Captions have grey edges of any value: only whole pictures count.
    solid = {value: (laid[:, :, 0] == value) for value in (200, 90, 150)}
    found = {
        value: np.argwhere(mask & np.roll(mask, -20, 0) & np.roll(mask, -20, 1)).min(axis=0)
        for value, mask in solid.items()
    }
    assert found[200][1] + 60 <= found[90][1], "the second picture is to the right of the first"
    assert found[150][0] >= found[200][0] + 40, "the second row is below the first"


def test_a_large_picture_is_shrunk_and_a_small_one_is_not_enlarged() -> None:
    assert contact_sheet([[("", picture(9, 800, 1600))]], cell_px=400).shape[1] < 450
    assert (contact_sheet([[("", picture(200, 5, 7))]], cell_px=400) == 200).all(axis=2).sum() == 35


def test_a_sheet_without_pictures_is_refused() -> None:
    with pytest.raises(ImageError, match="at least one row"):
        contact_sheet([])


def test_folders_are_compared_by_name(tmp_path: Path) -> None:
    for folder, value in (("rainy", 200), ("dry", 90)):
        (tmp_path / folder).mkdir()
        write_image(picture(value), tmp_path / folder / "a.png")
    write_image(picture(10), tmp_path / "rainy" / "alone.png")
    out = tmp_path / "new" / "sheet.png"
    compare([(tmp_path / "rainy", tmp_path / "dry")], out)
    pixels = read_image(out).pixels
    before, after = (np.flatnonzero((pixels == value).all(axis=2).sum(axis=0) >= 40) for value in (200, 90))
    assert len(before) == len(after) == 60
    assert before.max() < after.min()
    assert not (pixels == 10).all(axis=2).any(), "a picture without partner is left out"
    with pytest.raises(ImageError, match="exists"):
        compare([(tmp_path / "rainy", tmp_path / "dry")], out)


def test_what_is_not_in_every_column_is_left_out(tmp_path: Path) -> None:
    for folder, names in (("input", "ab"), ("ours", "ab"), ("truth", "a")):
        (tmp_path / folder).mkdir()
        for name in names:
            write_image(picture(200), tmp_path / folder / f"{name}.png")
    compare([[tmp_path / folder for folder in ("input", "ours", "truth")]], tmp_path / "s.png")
    assert (read_image(tmp_path / "s.png").pixels == 200).all(axis=2).sum() >= 3 * 2400
    assert read_image(tmp_path / "s.png").pixels.shape[0] < 2 * 40 + 28


def test_a_sheet_that_cannot_be_written_is_one_line_before_anything_is_read(tmp_path: Path, monkeypatch) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        write_image(picture(1), tmp_path / folder / "x.png")
    pairs = [(tmp_path / "a", tmp_path / "b")]
    with pytest.raises(ImageError, match=r"s\.png cannot be written: .*x\.png is no folder"):
        compare(pairs, tmp_path / "a" / "x.png" / "s.png")
    monkeypatch.setattr(sheet, "first_frame", lambda _: pytest.fail("read"))
    with pytest.raises(ImageError, match=r"x\.png exists"):
        compare(pairs, tmp_path / "a" / "x.png")


def test_an_animation_shows_its_first_frame(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "lime")]
        frames[0].save(tmp_path / folder / "x.png", save_all=True, append_images=frames[1:])
    compare([(tmp_path / "a", tmp_path / "b")], tmp_path / "s.png")
    pixels = read_image(tmp_path / "s.png").pixels
    assert (pixels == (255, 0, 0)).all(axis=2).sum() == 2 * 2400


def test_folders_without_a_common_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_image(picture(1), tmp_path / name / f"{name}.png")
    with pytest.raises(ImageError, match="has a partner of its name"):
        compare([(tmp_path / "a", tmp_path / "b")], tmp_path / "s.png")
    with pytest.raises(ImageError, match="is not a folder"):
        compare([(tmp_path / "a", tmp_path / "none")], tmp_path / "s.png")

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mprnet.datasets import list_pictures, pair_folders, read_rgb
from mprnet.errors import DataError, ImageError


def names(paths):
    return [path.name for path in paths]


def test_the_pictures_of_a_folder_are_listed_by_name(tmp_path, draw):
    for name in ("b.png", "a.jpg", "C.JPEG", "10.png", "9.png"):
        draw(tmp_path / name)
    assert names(list_pictures(tmp_path)) == ["10.png", "9.png", "C.JPEG", "a.jpg", "b.png"]


def test_what_is_no_picture_or_is_hidden_or_lies_deeper_is_passed_over(tmp_path, draw):
    draw(tmp_path / "a.png")
    draw(tmp_path / "deeper/b.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("notes.txt", "._a.png", ".b.unfinished", "c.psd"):
        (tmp_path / name).write_text("no picture")
    assert names(list_pictures(tmp_path)) == ["a.png"]


def test_a_folder_without_pictures_is_an_error_that_says_what_is_wrong(tmp_path, draw):
    with pytest.raises(DataError, match=r"nowhere does not exist; expected a folder"):
        list_pictures(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"a\.png is not a folder"):
        list_pictures(draw(tmp_path / "a.png"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no picture; expected files that end in \.avif, \.bmp, "):
        list_pictures(tmp_path / "empty")


def test_a_folder_that_cannot_be_read_is_an_error_too(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        list_pictures(tmp_path)


def test_pairs_belong_together_by_name_whatever_the_ending(tmp_path, draw):
    for name in ("input/b.png", "input/a.x.jpg", "target/a.x.png", "target/b.jpeg"):
        draw(tmp_path / name)
    pairs = pair_folders(tmp_path)
    assert [pair.name for pair in pairs] == ["a.x", "b"]
    assert pairs[0].degraded == tmp_path / "input/a.x.jpg"
    assert pairs[0].target == tmp_path / "target/a.x.png"


def test_a_picture_without_a_partner_is_an_error_that_names_it(tmp_path, draw):
    for name in ("input/a.png", "input/b.png", "target/a.png", "target/c.png"):
        draw(tmp_path / name)
    with pytest.raises(DataError, match=r"2 of the pictures .* have no partner of their name, the first is 'b'"):
        pair_folders(tmp_path)


def test_two_pictures_of_one_name_are_an_error(tmp_path, draw):
    for name in ("input/a.jpg", "input/a.png", "target/a.png"):
        draw(tmp_path / name)
    with pytest.raises(DataError, match=r"input holds a\.jpg and a\.png; expected one of them"):
        pair_folders(tmp_path)


def test_a_paired_folder_without_one_side_is_an_error(tmp_path, draw):
    draw(tmp_path / "input/a.png")
    with pytest.raises(DataError, match=r"target does not exist"):
        pair_folders(tmp_path)


def test_pictures_are_read_as_rgb(tmp_path, draw):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(read_rgb(draw(tmp_path / "a.png", pixels)), pixels)
    grey = draw(tmp_path / "grey.png", pixels[..., 0])
    assert np.array_equal(read_rgb(grey), np.repeat(pixels[..., :1], 3, axis=2))
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(ImageError, match="is empty"):
        read_rgb(tmp_path / "b.png")


def test_what_8_bits_of_rgb_would_lose_is_refused(tmp_path, draw):
    opaque = np.full((2, 4, 4), 255, np.uint8)
    assert read_rgb(draw(tmp_path / "opaque.png", opaque)).shape == (2, 4, 3)
    with pytest.raises(ImageError, match="has transparent places"):
        read_rgb(draw(tmp_path / "clear.png", opaque - 1))
    with pytest.raises(ImageError, match="has 16 bits a channel"):
        read_rgb(draw(tmp_path / "deep.png", np.zeros((2, 4), np.uint16)))

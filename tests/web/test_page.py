"""What a visitor gets, through the same doors as a browser."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ImageCms

from mprnet.imaging import Picture, read_image, write_image
from mprnet.restoration import PictureOptions, Restorer, restore_picture

gr = pytest.importorskip("gradio", reason='the page needs Gradio: pip install "mprnet[web]"')

from mprnet.web.folder import Folder  # noqa: E402
from mprnet.web.page import Desk  # noqa: E402

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(content: bytes) -> Picture:
    return read_image(io.BytesIO(content))


def test_a_picture_comes_back_as_the_command_would_restore_it(visitor, weights, pixels, tmp_path):
    write_image(Picture(pixels, icc_profile=PROFILE), tmp_path / "flower.tif")
    restorer = Restorer.from_pretrained(weights, backend="torch", precision="fp32", device="cpu", ensemble=True)
    options = PictureOptions(stage=2, strength=0.5)
    restore_picture(restorer, tmp_path / "flower.tif", tmp_path / "expected.tif", options=options)
    shown, results, said = visitor.restore(
        tmp_path / "flower.tif", name=str(weights), stage=2, strength=0.5, ensemble=True
    )
    assert results.keys() == {"0 flower_restored.tif"}
    expected, restored = read_image(tmp_path / "expected.tif"), picture(results["0 flower_restored.tif"])
    assert restored.depth == 16
    assert restored.icc_profile == PROFILE
    assert np.array_equal(restored.pixels, expected.pixels)
    assert not np.array_equal(restored.pixels, pixels)
    assert said == ""
    before, after = map(picture, shown)
    assert before.size_hw == after.size_hw == restored.size_hw
    assert not np.array_equal(before.pixels, after.pixels)


def test_what_fails_is_said_in_a_line_and_the_others_are_restored(visitor, weights, pixels, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n of a sort")
    (tmp_path / "note.txt").write_text("no picture")
    for folder, values in (("a", pixels), ("b", pixels[::-1])):
        (tmp_path / folder).mkdir()
        write_image(values, tmp_path / folder / "same.png")
    files = [tmp_path / name for name in ("broken.png", "a/same.png", "note.txt", "b/same.png")]
    shown, results, said = visitor.restore(*files, name=str(weights), file_format="WebP")
    assert results.keys() == {"0 same_restored.webp", "1 same_restored.webp"}
    assert [line.split()[0] for line in said.splitlines()] == ["broken.png", "note.txt"]
    assert "mprnet-web-" not in said  # no place on the server
    last = picture(results["1 same_restored.webp"])
    assert np.abs(picture(shown[1]).pixels.astype(int) - last.pixels).mean() < 8


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "derain"}, "not in the list of choices"),
        ({"stage": 4}, "not in the list of choices"),
        ({"file_format": "PSD"}, "not in the list of choices"),
        ({"strength": 3.0}, "strength is 3.0; expected 0 to 1|greater than maximum"),
        ({"scales": 9}, "scales is 9; expected 1 to 5|greater than maximum"),
    ],
)
def test_what_is_not_offered_is_refused_in_a_line(visitor, weights, pixels, tmp_path, changes, reason):
    write_image(pixels, tmp_path / "a.png")
    with pytest.raises(RuntimeError, match=reason):
        visitor.restore(tmp_path / "a.png", **{"name": str(weights), **changes})


def test_without_a_photograph_a_line_says_so(visitor, weights):
    with pytest.raises(RuntimeError, match="Drop a photograph first"):
        visitor.restore(name=str(weights))


def test_a_clip_comes_back(visitor, weights, make_clip):
    shown, results, said = visitor.restore(make_clip(), name=str(weights), stage=1)
    assert (shown, [*results], said) == (None, ["0 clip_restored.mp4"], "")


class Request(SimpleNamespace):
    session_hash = "somebody"


@pytest.fixture
def desk(tmp_path, weights):
    folder = tmp_path / "own"
    folder.mkdir()
    restorer = Restorer.from_pretrained(weights, backend="torch", precision="fp32", device="cpu", tile_px=16)
    return Desk(Folder(folder), lambda *_: restorer)


def dropped(tmp_path, pixels, count=1):
    files = [tmp_path / "own" / f"upload-{number}" / "a.png" for number in range(count)]
    for file in files:
        file.parent.mkdir()
        write_image(pixels, file)
    return [str(file) for file in files]


@pytest.mark.parametrize("stops", ["stop", "stop_all"])
def test_a_run_is_stopped_within_a_picture(desk, tmp_path, pixels, stops):
    told = []

    def progress(fraction, desc):
        told.append((fraction, desc))
        if len(told) == 3:  # the first is of the network, the second of the beginning
            desk.stop(Request()) if stops == "stop" else desk.stop_all()

    files = dropped(tmp_path, pixels, 2)
    assert list(desk.restore(files, "", 3, 1, False, 1, "as it came", Request(), progress)) == []
    assert len(told) == 3
    assert 0 < told[-1][0] < 1
    assert told[-1][1].startswith("a.png, 1 of 2")
    assert [*(tmp_path / "own").glob("run-*/*")] == []


def test_another_visitor_s_stop_does_not_stop_it(desk, tmp_path, pixels):
    desk.stop(SimpleNamespace(session_hash="another"))
    shown = desk.restore(
        dropped(tmp_path, pixels),
        "",
        3,
        1,
        False,
        1,
        "as it came",
        Request(),
        lambda *_, **__: desk.stop(Request(session_hash="another")),
    )
    assert [len(each.results) for each in shown] == [1]


def test_a_file_that_was_not_uploaded_is_not_read(desk, tmp_path, pixels):
    write_image(pixels, tmp_path / "private.png")
    (tmp_path / "own" / "link.png").symlink_to(tmp_path / "private.png")
    for path in (tmp_path / "private.png", tmp_path / "own" / ".." / "private.png", tmp_path / "own" / "link.png"):
        with pytest.raises(gr.Error, match="no file that was uploaded"):
            list(desk.restore([str(path)], "", 3, 1, False, 1, "as it came", Request(), lambda *_, **__: None))


def test_the_choices_are_words_for_tasks_and_names_of_files(visitor, weights):
    components = json.loads(visitor.fetch("/config").text)["components"]
    [radio] = [each["props"] for each in components if each["props"].get("label") == "Take out"]
    assert radio["choices"] == [["small", str(weights)], ["Noise", "denoise"]]
    assert radio["value"] == str(weights)

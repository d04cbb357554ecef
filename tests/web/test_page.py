"""What a visitor gets, through the same doors as a browser."""

from __future__ import annotations

import io
import json
import os
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ImageCms

from mprnet.errors import ImageError
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
        tmp_path / "flower.tif", choice="small", stage=2, strength=0.5, ensemble=True
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


def test_what_fails_is_said_in_a_line_and_the_others_are_restored(visitor, pixels, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n of a sort")
    (tmp_path / "note.txt").write_text("no picture")
    for folder, values in (("a", pixels), ("b", pixels[::-1])):
        (tmp_path / folder).mkdir()
        write_image(values, tmp_path / folder / "same.png")
    files = [tmp_path / name for name in ("broken.png", "a/same.png", "note.txt", "b/same.png")]
    shown, results, said = visitor.restore(*files, choice="small", file_format="WebP")
    assert results.keys() == {"0 same_restored.webp", "1 same_restored.webp"}
    assert [line.split()[0] for line in said.splitlines()] == ["broken.png", "note.txt"]
    assert "mprnet-web-" not in said  # no place on the server
    last = picture(results["1 same_restored.webp"])
    assert np.abs(picture(shown[1]).pixels.astype(int) - last.pixels).mean() < 8


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"choice": "derain"}, "not in the list of choices"),
        ({"stage": 4}, "not in the list of choices"),
        ({"ensemble": "of all"}, "nothing that the page asks for"),
        ({"strength": "half"}, "nothing that the page asks for|None|null"),
        ({"file_format": "PSD"}, "not in the list of choices"),
        ({"strength": 3.0}, "strength is 3.0; expected 0 to 1|greater than maximum"),
        ({"scales": 9}, "scales is 9; expected 1 to 5|greater than maximum"),
    ],
)
def test_what_is_not_offered_is_refused_in_a_line(visitor, pixels, tmp_path, changes, reason):
    write_image(pixels, tmp_path / "a.png")
    with pytest.raises(RuntimeError, match=reason):
        visitor.restore(tmp_path / "a.png", **{"choice": "small", **changes})


def test_without_a_photograph_a_line_says_so(visitor):
    with pytest.raises(RuntimeError, match="Drop a photograph first"):
        visitor.restore(choice="small")


def test_a_clip_comes_back(visitor, make_clip):
    shown, results, said = visitor.restore(make_clip(), choice="small", stage=1)
    assert (shown, [*results], said) == (None, ["0 clip_restored.mp4"], "")


def test_stop_ends_a_run_and_gives_its_place_to_the_next(visitor, pixels, tmp_path):
    """By the same questions as the page's button asks."""
    write_image(np.zeros((400, 600, 3), np.uint8), tmp_path / "a.jpg")
    _, visit = visitor.join([visitor.upload(tmp_path / "a.jpg")] * 100, "Noise", ensemble=True)
    body = {"data": [], "fn_index": visitor.number("stop"), "session_hash": visit}
    listener = threading.Thread(target=visitor.fetch, args=(f"/gradio_api/queue/data?session_hash={visit}",))
    listener.start()
    time.sleep(3)  # it has begun, and would take minutes
    answer = visitor.fetch("/gradio_api/run/predict", json.dumps(body).encode(), {"Content-Type": "application/json"})
    assert answer.status == 200
    write_image(pixels, tmp_path / "b.png")
    _, results, _ = visitor.restore(tmp_path / "b.png", choice="small")
    assert [*results] == ["0 b_restored.png"]
    listener.join(60)
    assert not listener.is_alive()


class Request(SimpleNamespace):
    session_hash = "somebody"


ASKED = ("a", 3, 1.0, False, 1, "as it came")


@pytest.fixture
def restorer(weights):
    return Restorer.from_pretrained(weights, backend="torch", precision="fp32", device="cpu", tile_px=16)


@pytest.fixture
def desk(tmp_path, restorer):
    (tmp_path / "own").mkdir()
    return Desk(Folder(tmp_path / "own"), lambda *_: restorer, ["a"])


@pytest.fixture
def dropped(tmp_path, pixels):
    """Uploads of a desk, as their paths."""

    def drop(count):
        files = [tmp_path / "own" / f"upload-{number}" / "a.png" for number in range(count)]
        for file in files:
            file.parent.mkdir()
            write_image(pixels, file)
        return [str(file) for file in files]

    return drop


def silent(*_, **__):
    """Progress that nobody watches."""


@pytest.mark.parametrize("stops", ["stop", "leave", "close"])
def test_a_run_is_stopped_within_a_picture(desk, tmp_path, dropped, stops):
    told = []

    def progress(fraction, desc):
        told.append((fraction, desc))
        if len(told) == 3:  # the first is of the network, the second of the beginning
            getattr(desk, stops)(0 if stops == "close" else Request())

    assert list(desk.restore(dropped(2), *ASKED, Request(), progress)) == []
    assert len(told) == 3
    assert 0 < told[-1][0] < 1
    assert told[-1][1].startswith("a.png, 1 of 2")
    assert [path for path in (tmp_path / "own").glob("run-*/*/*") if path.is_file()] == []


def test_a_run_that_waits_for_its_turn_is_stopped_before_it(desk, dropped):
    desk.ask(Request())
    desk.ask(Request())  # a second click changes nothing
    desk.stop(Request())
    files = dropped(1)
    assert [*desk.restore(files, *ASKED, Request(), silent)] == []
    desk.stop(Request())  # of nothing
    assert len([*desk.restore(files, *ASKED, Request(), silent)]) == 1


def test_a_stop_is_of_what_was_asked_before_it(desk, dropped):
    files = dropped(1)
    desk.ask(Request())  # and its place in the queue was refused
    desk.stop(Request())
    desk.ask(Request())
    assert len([*desk.restore(files, *ASKED, Request(), silent)]) == 1
    desk.ask(Request())
    with pytest.raises(gr.Error, match="Drop a photograph first"):
        list(desk.restore(None, *ASKED, Request(), silent))
    desk.stop(Request())
    assert len([*desk.restore(files, *ASKED, Request(), silent)]) == 1


def test_another_visitor_s_stop_does_not_stop_it(desk, dropped):
    def progress(*_, **__):
        desk.stop(Request(session_hash="another"))

    assert [len(shown.results) for shown in desk.restore(dropped(1), *ASKED, Request(), progress)] == [1]


def test_two_runs_do_not_compute_at_once_and_who_waits_can_be_stopped(desk, dropped):
    """As where Gradio takes a run for cancelled, whose tile is not done."""
    files = dropped(1)
    waiting = Request(session_hash="waiting")
    seen = []

    def wait():
        seen.extend(desk.restore(files, *ASKED, waiting, silent))

    def progress(*_, **__):
        if not threads:
            threads.append(threading.Thread(target=wait))
            threads[0].start()
            threads[0].join(0.5)
            seen.append(threads[0].is_alive())
            desk.stop(waiting)
            threads[0].join(20)

    threads = []
    with desk._alone(threading.Event()):
        progress()
    assert seen == [True]
    assert len([*desk.restore(files, *ASKED, Request(), silent)]) == 1


def test_results_are_kept_while_a_run_goes_on(desk, tmp_path, dropped):
    kept = []
    for shown in desk.restore(dropped(3), *ASKED, Request(), silent):
        for entry in (tmp_path / "own").iterdir():
            os.utime(entry, (time.time() - 7200,) * 2)
        desk._folder.sweep()
        kept.append([Path(path).exists() for path in shown.results])
    assert kept == [[True] * count for count in (1, 2, 3)]


def test_a_disk_that_fills_ends_the_run_in_a_line(desk, dropped, monkeypatch):
    monkeypatch.setattr("mprnet.web.guard.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(gr.Error, match="disk of this server is nearly full"):
        list(desk.restore(dropped(1), *ASKED, Request(), silent))


def test_too_many_files_are_a_line(desk):
    with pytest.raises(gr.Error, match="at most 100"):
        list(desk.restore(["a"] * 101, *ASKED, Request(), silent))


def test_a_file_that_was_not_uploaded_is_not_read(desk, tmp_path, pixels):
    write_image(pixels, tmp_path / "private.png")
    (tmp_path / "own" / "link.png").symlink_to(tmp_path / "private.png")
    for path in (tmp_path / "private.png", tmp_path / "own" / ".." / "private.png", tmp_path / "own" / "link.png"):
        with pytest.raises(gr.Error, match="no file that was uploaded"):
            list(desk.restore([str(path)], *ASKED, Request(), silent))


def test_of_a_network_with_fewer_stages_the_last_is_taken(desk, dropped, restorer):
    restorer.trained_stages = 2
    [shown] = desk.restore(dropped(1), *ASKED, Request(), silent)
    assert len(shown.results) == 1


def test_a_chosen_result_stays_until_the_next_run(desk, dropped):
    files, slider = dropped(3), []
    for _ in range(2):
        for number, shown in enumerate(desk.restore(files, *ASKED, Request(), silent)):
            slider.append(shown.slider if isinstance(shown.slider, tuple) else shown.slider["__type__"])
            if number == 0:
                chosen = [desk.show(shown.pairs, SimpleNamespace(index=index), Request()) for index in (0, 1, -1)]
                assert chosen == [shown.slider, None, None]
    assert slider[1:3] == slider[4:6] == ["update"] * 2
    assert all(Path(path).is_file() for path in (*slider[0], *slider[3]))


def test_several_results_are_packed_under_names_of_their_own(desk, dropped):
    *before, last = desk.restore(dropped(3), *ASKED, Request(), silent)
    assert [shown.everything.visible for shown in before] == [False, False]
    assert last.everything.visible
    with zipfile.ZipFile(Path(last.results[0]).parent.parent / "restored.zip") as packed:
        assert packed.namelist() == ["a_restored.png", "a_restored (2).png", "a_restored (3).png"]
        assert packed.read("a_restored (3).png") == Path(last.results[2]).read_bytes()
    [one] = desk.restore([last.results[0]], *ASKED, Request(), silent)
    assert not one.everything.visible


def test_what_would_fill_the_disk_is_not_packed(desk, dropped, monkeypatch):
    monkeypatch.setattr("mprnet.web.page.is_full", lambda folder, coming_bytes=0: coming_bytes > 0)
    *_, last = desk.restore(dropped(2), *ASKED, Request(), silent)
    assert not last.everything.visible
    assert len(last.results) == 2


@pytest.mark.parametrize("error", [ImageError("no room"), MemoryError()])
def test_a_result_that_cannot_be_shown_is_there_to_download(desk, dropped, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("mprnet.web.page.thumbnail", fail)
    *_, shown = desk.restore(dropped(2), *ASKED, Request(), silent)
    assert (shown.slider, shown.pairs) == (None, [None, None])
    assert all(Path(path).is_file() for path in shown.results)


def test_what_nobody_expected_is_said_to_be_the_server_s(desk, dropped, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CUDA something")

    monkeypatch.setattr("mprnet.web.page.restore_files", fail)
    with pytest.raises(gr.Error, match="Something went wrong on the server") as raised:
        list(desk.restore(dropped(1), *ASKED, Request(), silent))
    assert raised.value.print_exception


def test_the_end_waits_for_what_is_under_work(desk):
    with desk._alone(threading.Event()):
        start = time.monotonic()
        desk.close(0.2)
        assert time.monotonic() - start >= 0.2
    desk.close(60)
    with desk._alone(threading.Event()):
        pass


def test_the_choices_are_words_for_tasks_and_names_of_files(desk):
    names = ["derain", "denoise", "/private/mine.safetensors", "/other/mine.pth", "deblur"]
    assert Desk(desk._folder, desk._open_restorer, names).choices == {
        "Rain": "derain",
        "Noise": "denoise",
        "mine": "/private/mine.safetensors",
        "mine (2)": "/other/mine.pth",
        "Blur": "deblur",
    }
    names = ["mine (2).pth", "mine.pth", "other/mine.pth"]
    assert [*Desk(desk._folder, desk._open_restorer, names).choices] == ["mine (2)", "mine", "mine (3)"]


def test_visitors_are_not_told_where_weights_lie(visitor, weights):
    config = visitor.fetch("/config").text
    [radio] = [each["props"] for each in json.loads(config)["components"] if each["props"].get("label") == "Take out"]
    assert radio["choices"] == [["small", "small"], ["Noise", "Noise"]]
    assert radio["value"] == "small"
    assert str(weights.parent) not in config

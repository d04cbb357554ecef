"""The report: one file, with the paper's table, the stages, the pictures and the charts in it."""

from __future__ import annotations

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mprnet.datasets.benchmarks import Benchmark
from mprnet.datasets.layouts import ItemPictures
from mprnet.evaluation.benchmark import Method, Run
from mprnet.evaluation.charts import Point, curves, histogram, scatter
from mprnet.evaluation.protocols import Score
from mprnet.evaluation.report import Example, Tile, choose, examples_of, write_report
from mprnet.evaluation.results import PictureResult, Results, StageResult

VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Text and attributes of a page; fails where a tag is closed that is not open."""

    def __init__(self, text):
        super().__init__()
        self.words, self.links, self.pictures, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]
        if tag == "img":
            self.pictures.append(dict(attrs))

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def results(count=5, *, dataset="gopro", method="mprnet", sigma=None, outputs=("stage1", "stage3"), gain=4.0, **more):
    images = {
        f"{index:03d}": PictureResult(
            (60, 80),
            0.5,
            {
                "input": Score(20.0 + index, 0.5),
                **{output: Score(20.0 + index + gain * (place + 1), 0.9) for place, output in enumerate(outputs)},
            },
        )
        for index in range(count)
    }
    settings = {
        "task": "deblur",
        "dataset": dataset,
        "protocol": "gopro",
        "method": {"name": method, "weights": "<tiny>.safetensors", "sha256": "0" * 64},
        "mprnet": "0.1.0",
    }
    if sigma is not None:
        settings["noise"] = {"sigma": sigma, "seed": 0}
    stages = [StageResult(stage, stage * 10**6, stage * 10**9, stage / 10, (60, 80)) for stage in (1, 3)]
    return Results(settings, outputs, count, count, images, stages=stages, environment={"torch": "2"}, **more)


def example():
    pictures = [np.full((60, 80, 3), value, np.uint8) for value in (100, 150, 200)]
    tiles = (
        Tile("input", pictures[0], Score(20.0, 0.5)),
        Tile("restored", pictures[1], Score(28.0, 0.9)),
        Tile("target", pictures[2]),
    )
    return Example("worst: <000>", tiles, 1)


@pytest.fixture
def page(tmp_path):
    def write(found, examples=()):
        write_report(tmp_path / "report.html", found, examples, command="mprnet evaluate --data <x>")
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


def test_the_report_needs_nothing_beside_it(page, tmp_path):
    links = page([results()], [example()]).links
    assert len(links) == 5  # two under the slider, three crops
    assert all(re.match(r"data:image/(png|jpeg);base64,", link) for link in links)
    assert "http" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_every_picture_stands_with_its_label(page):
    def value(picture):
        with Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2]))) as image:
            return round(np.asarray(image).mean())

    found = page([results()], [example()])
    assert "worst: <000>" in found.text
    assert [(each.get("class"), each["alt"], value(each)) for each in found.pictures] == [
        (None, "restored", 150),
        ("before", "input", 100),
        (None, "", 100),
        (None, "", 150),
        (None, "", 200),
    ]
    assert "input 20.00 dB · 0.5000 restored 28.00 dB · 0.9000 target" in found.text


def test_our_row_stands_in_the_paper_s_table_and_changes_its_reductions(page):
    text = page([results(gain=6.0)]).text  # a mean of 34 dB on GoPro
    assert "Table 3 of the paper, with this run" in text
    assert "<tiny>.safetensors 34.00 (0.0%) 0.900 (59.0%)" in text
    assert f"MPRNet 32.66 ({1 - 10 ** ((32.66 - 34) / 20):.1%})" in text
    assert "30.96 (0.0%)" in text  # HIDE, where this run has nothing


def test_a_part_of_a_set_stands_in_the_paper_s_table_and_is_compared_with_nothing(page):
    found = results(gain=6.0)
    found.expected = 1111
    text = page([found]).text
    assert "‡<tiny>.safetensors, only 5 of 1111 pictures 34.00 0.900 – –" in text
    assert "MPRNet 32.66 (0.0%)" in text
    assert "‡ of a part of the set; compared with nothing." in text


def test_a_network_of_table_6_stands_in_it(page):
    found = results(gain=3.0)  # a mean of 28 dB
    found.settings["method"]["config"] = {"combination": "unet+orsnet", "sam": False, "csff": True}
    text = page([found]).text
    assert "paper 2 U-Net + ORSNet no no 29.70" in text
    assert "paper 3 U-Nets + ORSNet yes yes 30.49" in text
    assert "<tiny>.safetensors 2 U-Net + ORSNet no yes 28.00" in text
    assert "Table 6" not in page([results(gain=3.0)]).text


def test_figures_under_crops_are_said_to_be_of_whole_pictures(page):
    assert "PSNR and SSIM are of whole pictures" in page([results()], [example()]).text


def test_tiles_are_told_at_the_top(page):
    found = results()
    found.images = {name: image._replace(tile_px=256 if name < "003" else None) for name, image in found.images.items()}
    assert "<tiny>.safetensors: 3 pictures in tiles of 256, not whole." in page([found]).text
    found.expected = 1111
    text = page([found]).text
    assert "The means are over only 5 of 1111 pictures. <tiny>.safetensors: 3 pictures in tiles of 256" in text


def test_a_set_that_the_paper_has_not_gets_no_table_of_the_paper(page):
    assert "of the paper, with this run" not in page([results(dataset="holiday")]).text


def test_the_stages_are_listed_with_what_they_cost_and_table_7(page):
    text = page([results()]).text
    assert "1 of 3 stages 26.00 0.9000 1.00 M 1.0 G 0.100" in text
    assert "3 of 3 stages 30.00 0.9000 3.00 M 3.0 G 0.300" in text
    assert "MPRNet, 2 stages 31.81 – 11.3 M – 0.08" in text
    assert "MPRNet, 2 stages" not in page([results(dataset="hide")]).text


def test_a_mean_over_fewer_pictures_says_so_at_the_top_and_names_what_failed(page):
    found = results()
    found.failed, found.total, found.expected = {"005": "it is <broken>"}, 6, 1111
    text = page([found]).text
    assert "The means are over only 5 of 1111 pictures." in text
    assert "005: it is <broken>" in text
    assert "<tiny>.safetensors, only 5 of 1111 pictures" in text


def test_a_complete_run_has_no_warning(page):
    assert "only" not in page([results()]).text


def test_several_methods_and_noises_stand_side_by_side_with_curves(page):
    found = [
        results(dataset="holiday", method=method, sigma=sigma, outputs=("restored",), gain=gain)
        for method, gain in (("mprnet", 5.0), ("dct", 3.0))
        for sigma in (25.0, 10.0)  # as they were typed
    ]
    for image in found[0].images.values():  # of σ = 25
        image.scores["restored"] = Score(26.0, 0.9)
    text = page(found).text
    assert "Methods side by side" in text
    assert "σ = 10 σ = 25" in text
    assert "input 22.00 0.5000 22.00 0.5000 mprnet 27.00 0.9000 26.00 0.9000" in text
    assert "dct 25.00 0.9000" in text
    assert "σ of the noise, of white = 255" in text
    marks = re.findall(r"mprnet, σ = (\d+)", text)
    assert marks == ["10", "25"]


def test_the_record_holds_the_machines_of_all_runs(page):
    found = [results(dataset="holiday", method=method) for method in ("dct", "mprnet", "other")]
    found[1].environment = {"torch": "1; 3", "device": "cuda (a card)"}
    found[2].environment = {"torch": "3"}
    text = page(found).text
    assert "torch 2; 1; 3 device cuda (a card)" in text
    assert found[0].environment == {"torch": "2"}


def test_pictures_without_ground_truth_have_a_report_too(page):
    found = results(dataset="dnd")
    found.settings["protocol"] = None
    found.images = {name: image._replace(scores={}) for name, image in found.images.items()}
    text = page([found]).text
    assert "DND" in text
    assert "PSNR of the input" not in text


def test_worst_median_and_best_are_those_of_the_last_output():
    found = results()
    for place, (image, last) in enumerate(zip(found.images.values(), (31.0, 30.0, 34.0, 28.0, 32.0), strict=True)):
        image.scores.update({"stage1": Score(28.0 - place, 0.9), "stage3": Score(last, 0.9)})
    assert choose(found) == {"worst": "003", "median": "000", "best": "002"}
    found.images = dict(list(found.images.items())[:1])
    assert choose(found) == {"worst": "000"}


def test_examples_show_every_output_of_one_run_and_every_method_of_several():
    class Item:
        def __init__(self, name):
            self.name = name

        def read(self):
            return ItemPictures(*(np.full((60, 80, 3), value, np.uint8) for value in (100 + int(self.name), 150)))

    def run(name, added, sigma=None):
        method = Method(
            name, lambda degraded: {output: degraded + more / 255 for output, more in added.items()}, tuple(added)
        )
        noise = None if sigma is None else {"sigma": sigma, "seed": 0}
        items = [Item(f"{index:03d}") for index in range(5)]
        return Run(Benchmark("holiday", "deblur", items, None, "gopro"), method, noise)

    def shown(example):
        return [(tile.label, *np.unique(tile.pixels)) for tile in example.tiles]

    one = examples_of([run("mprnet", {"stage1": 10, "stage3": 30})], [results()])
    assert [each.title for each in one] == ["worst: 000", "median: 002", "best: 004"]
    assert [shown(each) for each in one] == [
        [("input", 100 + place), ("stage 1", 110 + place), ("stage 3", 130 + place), ("target", 150)]
        for place in (0, 2, 4)
    ]
    assert one[0].tiles[one[0].result].label == "stage 3"
    assert one[0].tiles[1].score == Score(24.0, 0.9)
    both = examples_of(
        [run(name, {"restored": added}, 10.0) for name, added in (("a", 10), ("b", 20))],
        [results(method=name, sigma=10.0, outputs=("restored",)) for name in ("a", "b")],
    )
    assert [each.title for each in both] == ["σ = 10: 002"]
    assert shown(both[0]) == [("input", 102), ("a", 112), ("b", 122), ("target", 150)]


def test_charts_hold_a_mark_for_each_value_and_leave_out_the_infinite():
    points = [Point("a&b", 20.0, 25.0, "worst"), Point("c", 22.0, 28.0), Point("same", 30.0, math.inf)]
    drawn = scatter(points, "x", "y")
    assert drawn.count('class="dot') == 2
    assert "a&amp;b: 20.00 dB to 25.00 dB" in drawn
    heights = re.findall(r"(\d+) of", histogram({"input": [20.0, 20.1, 25.0], "restored": [math.inf, 28.0]}, "dB"))
    assert sum(map(int, heights)) == 4
    numbers = re.findall(r'text-anchor="end">([^<]+)', histogram({"input": [20.0, 20.1, 25.0]}, "dB"))
    assert numbers == ["0", "1", "2"]  # pictures are counted whole
    lines = curves({"input": [(10, 28.0), (20, 22.0)], "dct": [(10, 33.0), (20, 29.0)]}, "σ", "dB")
    assert lines.count("<polyline") == 2
    assert lines.count('class="dot') == 4


def test_the_names_of_a_histogram_do_not_lie_over_its_bars():
    drawn = histogram({"input": [20.0], "restored": [33.0] * 7}, "dB")
    tops = [float(top) for top in re.findall(r'<rect class="bar[^>]* y="([\d.]+)"[^>]*><title>', drawn)]
    names = {name: float(top) for top, name in re.findall(r'y="([\d.]+)" text-anchor="start">([a-z]+)<', drawn)}
    assert names.keys() == {"input", "restored"}
    assert len(tops) == 2
    assert max(names.values()) < min(tops)


def test_a_chart_of_nothing_is_nothing():
    assert scatter([], "x", "y") == histogram({"a": [math.inf]}, "x") == curves({"a": []}, "x", "y") == ""


def test_a_chart_of_one_value_has_axes_and_one_mark():
    one = [
        scatter([Point("a", 20.0, 20.0)], "x", "y"),
        histogram({"a": [20.0]}, "x"),
        curves({"a": [(10, 20.0)]}, "x", "y"),
    ]
    for drawn in one:
        assert "nan" not in drawn
        assert (drawn.count('class="axis"'), drawn.count("<title>")) == (1, 1)

"""A benchmark run: what it measures, what it keeps, and how it goes on."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from statistics import fmean
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mprnet.checkpoints import save_checkpoint
from mprnet.datasets import degrade_folder
from mprnet.datasets.benchmarks import Benchmark
from mprnet.datasets.layouts import ItemPictures
from mprnet.degradation import GaussianNoise
from mprnet.errors import ConfigError, DataError, ImageError, MissingExtraError
from mprnet.evaluation.baselines import BASELINES
from mprnet.evaluation.benchmark import (
    Method,
    Run,
    baseline_method,
    evaluate,
    evaluate_all,
    network_method,
    pictures_of,
)
from mprnet.evaluation.own_sets import noisy_set, paired_set
from mprnet.evaluation.protocols import score
from mprnet.evaluation.report import write_report
from mprnet.evaluation.results import Results
from mprnet.imaging import read_image, write_image
from mprnet.network import MPRNet, MPRNetConfig, build, stage_costs
from mprnet.restoration import Restorer

CONFIG = MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=2, num_cab=1)


@dataclass(frozen=True)
class Stored:
    """An item that holds its pictures, or the error that reading it raises."""

    name: str
    pictures: ItemPictures | Exception

    def read(self):
        if isinstance(self.pictures, Exception):
            raise self.pictures
        return self.pictures


def pair(seed, shape=(24, 32, 3)):
    random = np.random.default_rng(seed)
    target = random.integers(40, 200, shape).astype(np.uint8)
    return ItemPictures((target + random.integers(-20, 21, shape)).astype(np.uint8), target)


def benchmark(count=3, protocol="gopro", **other):
    items = [Stored(name, pair(index)) for index, name in enumerate("abcdefgh"[:count])]
    items += [Stored(name, pictures) for name, pictures in other.items()]
    return Benchmark("some-set", "deblur", items, len(items), protocol)


def halving(seen=None):
    """A method that moves every value half way to grey, and notes what it was given."""

    def restore(degraded):
        if seen is not None:
            seen.append(degraded)
        return {"restored": (degraded + 0.5) / 2}

    return Method("halving", restore, ("restored",), {"strength": 0.5})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(MPRNet(CONFIG), path, metadata={"task": "deblur"})
    return path


def network(weights, **options):
    return network_method(Restorer.from_pretrained(weights, device="cpu"), weights, **options)


def test_the_scores_are_those_of_the_protocol_on_the_rounded_picture():
    results = evaluate(Run(benchmark(), halving()))
    degraded, target = pair(1)
    restored = np.rint((degraded / np.float32(255) + np.float32(0.5)) / 2 * 255).astype(np.uint8)
    assert results.images["b"].scores == {
        "input": score(degraded, target, "gopro"),
        "restored": score(restored, target, "gopro"),
    }
    assert results.mean().psnr == fmean(results.images[name].scores["restored"].psnr for name in "abc")
    assert results.is_complete


def test_sidd_is_scored_without_rounding():
    degraded, target = pair(0)
    results = evaluate(Run(benchmark(1, "sidd"), halving()))
    restored = (degraded / np.float32(255) + np.float32(0.5)) / 2
    assert results.images["a"].scores["restored"] == score(restored, target, "sidd")
    assert results.images["a"].scores["restored"] != score(np.rint(restored * 255).astype(np.uint8), target, "sidd")


def test_values_outside_the_range_are_clipped_before_they_are_scored():
    bright = Method("bright", lambda degraded: {"restored": degraded + 1}, ("restored",))
    results = evaluate(Run(benchmark(1), bright))
    assert results.images["a"].scores["restored"] == score(np.full((24, 32, 3), 255, np.uint8), pair(0).target, "gopro")


def test_every_stage_is_scored_and_costed(weights):
    degraded, target = odd = pair(0, (25, 33, 3))
    run = Run(benchmark(0, a=odd, b=pair(1)), network(weights))
    results, shown = evaluate(run), pictures_of(run, "a")
    restorer = Restorer.from_pretrained(weights, device="cpu")
    tensor = torch.from_numpy(degraded).permute(2, 0, 1) / 255
    for stage in (1, 2, 3):
        restored = restorer(tensor, stage=stage).permute(1, 2, 0).numpy()
        assert results.images["a"].scores[f"stage{stage}"] == pytest.approx(score(restored, target, "gopro"))
        assert np.abs(shown[f"stage{stage}"] - 255 * restored).max() < 0.51
    costs = stage_costs(CONFIG, (32, 40))
    assert [(each.stage, each.parameters, each.macs) for each in results.stages] == costs
    assert all(each.seconds > 0 for each in results.stages)
    assert list(shown) == ["input", "stage1", "stage2", "stage3", "target"]
    assert np.array_equal(shown["input"], degraded)
    assert np.array_equal(shown["target"], target)


def test_one_stage_alone_is_measured_without_the_later_ones(weights):
    results = evaluate(Run(benchmark(1), network(weights, stage=2)))
    assert list(results.images["a"].scores) == ["input", "stage2"]
    assert [each.stage for each in results.stages] == [2]


def test_of_a_network_of_table_6_the_stages_that_it_has_are_measured(tmp_path):
    config, path = replace(CONFIG, combination="unet+orsnet", csff=False), tmp_path / "ablated.safetensors"
    save_checkpoint(build(config), path, metadata={"task": "deblur"})
    results = evaluate(Run(benchmark(1), network(path)))
    assert list(results.images["a"].scores) == ["input", "stage2", "stage3"]
    assert [(each.stage, each.parameters, each.macs) for each in results.stages] == stage_costs(config, (24, 32))


def test_a_picture_that_fails_is_named_and_the_others_are_measured(tmp_path):
    small, wide = pair(7)[0], pair(8, (24, 40, 3))[1]
    deep = ItemPictures(small, small.astype(np.uint16) * 257)
    other = {
        "broken": ImageError("broken.png is truncated"),
        "sizes": ItemPictures(small, wide),
        "depths": deep,
        "gone": FileNotFoundError(2, "No such file"),
    }
    results = evaluate(Run(benchmark(2, **other), halving()), tmp_path)
    assert list(results.images) == ["a", "b"]
    assert list(results.failed) == ["broken", "sizes", "depths", "gone"]
    assert results.failed["broken"] == "broken.png is truncated"
    assert results.failed["depths"] == "the bit depths differ: restored uint8, target uint16"
    assert results.coverage == "only 2 of 6 pictures"
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["failed"] == results.failed
    assert (stored["measured"], stored["total"], stored["complete"]) == (2, 6, False)


def test_results_json_reads_like_that_of_the_metrics_command_and_holds_everything(tmp_path, weights):
    results = evaluate(Run(benchmark(2), network(weights)), tmp_path)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["protocol"] == "gopro"
    assert stored["mean"]["psnr"] == stored["mean"]["stage3"]["psnr"] == results.mean().psnr
    assert set(stored["mean"]) == {"psnr", "ssim", "input", "stage1", "stage2", "stage3"}
    image = stored["images"]["a"]
    assert image["psnr"] == image["scores"]["stage3"]["psnr"]
    assert image["size_hw"] == [24, 32]
    assert image["pixels_per_second"] == pytest.approx(24 * 32 / image["seconds"])
    assert len(stored["settings"]["method"]["sha256"]) == 64
    assert {"torch", "numpy", "python", "device"} <= set(stored["environment"])
    assert Results.from_dict(stored) == results


def test_an_infinite_psnr_can_be_read_by_any_parser(tmp_path):
    same = pair(0).target
    identity = Method("identity", lambda degraded: {"restored": degraded}, ("restored",))
    run = Run(Benchmark("set", "deblur", [Stored("a", ItemPictures(same, same))], 1, "gopro"), identity)
    evaluate(run, tmp_path)
    text = (tmp_path / "results.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text)["mean"]["psnr"] == float("inf")
    assert evaluate(run, tmp_path).mean().psnr == float("inf")


def test_results_csv_has_a_row_a_picture_and_output_and_names_failures(tmp_path):
    evaluate(Run(benchmark(2, broken=ImageError("broken.png is empty")), halving()), tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [(row["picture"], row["output"]) for row in rows] == [
        ("a", "input"),
        ("a", "restored"),
        ("b", "input"),
        ("b", "restored"),
        ("broken", ""),
    ]
    assert "broken.png is empty" in rows[-1]["failed"]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    whole = evaluate(Run(benchmark(4), halving()))
    done = []

    def stop(watch):
        done.append(watch.name)
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(Run(benchmark(4), halving()), tmp_path, watch=stop)
    assert not (tmp_path / "results.json").exists()
    with (tmp_path / "results.rank0.jsonl").open("a") as file:
        file.write('{"name": "c", "size_h')  # the process died while it wrote
    seen = []
    results = evaluate(Run(benchmark(4), halving(seen)), tmp_path)
    assert len(seen) == 2
    assert {n: i.scores for n, i in results.images.items()} == {n: i.scores for n, i in whole.images.items()}
    assert list(results.images) == list("abcd")
    assert list(tmp_path.glob("*.jsonl")) == []


def test_a_finished_run_is_not_computed_again_and_failures_are_tried_again(tmp_path):
    evaluate(Run(benchmark(2, c=ImageError("c.png is broken")), halving()), tmp_path)
    seen = []
    results = evaluate(Run(benchmark(3), halving(seen)), tmp_path)
    assert len(seen) == 1
    assert results.is_complete


def test_results_of_other_settings_are_never_mixed_in(tmp_path):
    evaluate(Run(benchmark(2), halving()), tmp_path)
    other = replace(halving(), facts={"strength": 0.7})
    with pytest.raises(DataError, match=r"method.strength was 0.5, now it is 0.7; choose another folder, or overwrite"):
        evaluate(Run(benchmark(2), other), tmp_path)
    seen = []
    evaluate(Run(benchmark(2), replace(halving(seen), facts={"strength": 0.7})), tmp_path, overwrite=True)
    assert len(seen) == 2


@pytest.mark.parametrize(
    "make", [lambda folder: paired_set(folder, "deblur"), lambda folder: noisy_set(folder / "target", 10.0)]
)
def test_other_pictures_of_the_same_names_are_measured_again(tmp_path, make):
    for folder, seeds in (("first", (0, 1)), ("second", (0, 2))):
        for name, seed in zip("ab", seeds, strict=True):
            for side, pixels in zip(("input", "target"), pair(seed), strict=True):
                (tmp_path / folder / "pairs" / side).mkdir(parents=True, exist_ok=True)
                write_image(pixels, tmp_path / folder / "pairs" / side / f"{name}.png")
    evaluate(Run(make(tmp_path / "first" / "pairs"), halving()), tmp_path / "out")
    seen = []
    second = make(tmp_path / "second" / "pairs")
    results = evaluate(Run(second, halving(seen)), tmp_path / "out")
    assert len(seen) == 1
    alone = evaluate(Run(second, halving()))
    assert {n: i.scores for n, i in results.images.items()} == {n: i.scores for n, i in alone.images.items()}


def test_a_picture_that_is_gone_is_no_longer_counted(tmp_path):
    evaluate(Run(benchmark(1, b=pair(1)), halving()), tmp_path)
    results = evaluate(Run(benchmark(1, b=ImageError("b.png is broken")), halving()), tmp_path)
    assert (list(results.images), results.failed) == (["a"], {"b": "b.png is broken"})


def test_a_method_that_nothing_tells_from_what_it_was_is_measured_anew(tmp_path):
    def method(added):
        return Method("mine", lambda degraded: {"restored": degraded + added}, ("restored",))

    evaluate(Run(benchmark(2), method(0.1)), tmp_path)
    changed = evaluate(Run(benchmark(2), method(0.2)), tmp_path)
    alone = evaluate(Run(benchmark(2), method(0.2)))
    assert changed.means() == alone.means()
    assert json.loads((tmp_path / "results.json").read_text())["mean"]["psnr"] == alone.mean().psnr
    with pytest.raises(DataError, match=r"another run: method\.name was mine, now it is halving"):
        evaluate(Run(benchmark(2), halving()), tmp_path)


def test_what_a_row_says_of_weights_may_change_without_measuring_anew(weights, tmp_path, monkeypatch):
    first = evaluate(Run(benchmark(2), network(weights)), tmp_path)
    monkeypatch.setattr("mprnet.evaluation.benchmark.score", lambda *_, **__: pytest.fail("it was measured already"))
    again = evaluate(Run(benchmark(2), network(weights, trained_on="gopro")), tmp_path)
    assert again.means() == first.means()
    assert json.loads((tmp_path / "results.json").read_text())["settings"]["method"]["trained_on"] == "gopro"


def test_what_weights_were_trained_on_is_said_where_their_file_does_not(tmp_path):
    def facts(says, trained_on=None):
        path = tmp_path / "own.safetensors"
        save_checkpoint(
            MPRNet(CONFIG), path, metadata={"task": "deblur", **({"trained_on": says} if says else {})}, overwrite=True
        )
        return network(path, trained_on=trained_on).facts["trained_on"]

    assert [facts(""), facts("gopro"), facts("gopro", "gopro")] == ["", "gopro", "gopro"]
    assert facts("", "realblur-j,gopro") == facts("realblur-j, gopro", "realblur-j,gopro") == "realblur-j, gopro"
    assert facts("unknown, gopro", "realblur-j, gopro") == "realblur-j, gopro"
    assert facts("unknown, realblur-j", "gopro") == "gopro, realblur-j"
    with pytest.raises(ConfigError, match="says that it was trained on gopro; got realblur-j"):
        facts("gopro", "realblur-j")


def test_the_weights_of_two_runs_have_names_of_their_own(tmp_path):
    names = []
    for folder, file in (("a", "best"), ("b", "best"), ("b", "last"), ("b", "own")):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / f"{file}.safetensors"
        save_checkpoint(MPRNet(CONFIG), path, metadata={"task": "deblur"})
        names.append(network(path).facts["weights"])
    assert names == ["a/best", "b/best", "b/last", "own.safetensors"]


def test_other_stages_of_the_same_weights_are_another_run(tmp_path, weights):
    evaluate(Run(benchmark(1), network(weights, stage=1)), tmp_path)
    with pytest.raises(DataError, match=r"outputs was \['stage1'\], now it is \['stage1', 'stage2', 'stage3'\]"):
        evaluate(Run(benchmark(1), network(weights)), tmp_path)


def test_the_first_picture_of_a_size_tells_the_speed_only_where_it_is_alone():
    shapes = {"a": (24, 32, 3), "b": (24, 32, 3), "c": (24, 32, 3), "d": (16, 32, 3)}
    items = [Stored(name, pair(0, shape)) for name, shape in shapes.items()]
    results = evaluate(Run(Benchmark("some-set", "deblur", items, len(items), "gopro"), halving()))
    assert [image.is_warm for image in results.images.values()] == [False, True, True, False]
    timed = [results.images[name] for name in "bcd"]
    assert results.timed == timed
    assert results.seconds_each == fmean(image.seconds for image in timed)
    assert results.pixels_per_second == pytest.approx((2 * 24 + 16) * 32 / sum(image.seconds for image in timed))


def test_a_stage_is_timed_when_it_is_warm(weights, monkeypatch):
    method = network(weights)
    restorer, calls, clock = method.restorer, [], SimpleNamespace(now=0.0)
    monkeypatch.setattr("mprnet.evaluation.benchmark.time", SimpleNamespace(perf_counter=lambda: clock.now))

    class Counting:
        model, last_tile_px = restorer.model, None

        def __call__(self, degraded, *, stage):
            calls.append(stage)
            clock.now += 60 if calls.count(stage) == 1 else stage  # compiling takes long
            return restorer(degraded, stage=stage)

    results = evaluate(Run(benchmark(1), replace(method, restorer=Counting())))
    assert calls == [1, 1, 2, 2, 3, 3]
    assert [each.seconds for each in results.stages] == [1, 2, 3]


def test_a_smaller_run_does_not_replace_a_larger_one(tmp_path):
    evaluate(Run(benchmark(3), halving()), tmp_path)
    with pytest.raises(DataError, match="results of 2 pictures that this run has not, the first is b"):
        evaluate(Run(benchmark(3), halving()), tmp_path, limit=1)
    assert len(json.loads((tmp_path / "results.json").read_text())["images"]) == 3


def test_a_limited_run_says_what_its_mean_is_over_and_can_be_extended(tmp_path):
    assert evaluate(Run(benchmark(3), halving()), tmp_path, limit=2).coverage == "only 2 of 3 pictures"
    seen = []
    assert evaluate(Run(benchmark(3), halving(seen)), tmp_path).coverage == "3 pictures"
    assert len(seen) == 1
    assert evaluate(Run(benchmark(1), halving()), tmp_path / "one").coverage == "1 picture"


def test_results_that_cannot_be_read_are_one_clear_line(tmp_path):
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(DataError, match="holds results that cannot be read"):
        evaluate(Run(benchmark(1), halving()), tmp_path)


def test_an_empty_set_and_an_impossible_limit_are_one_clear_line():
    with pytest.raises(DataError, match="some-set holds no pictures"):
        evaluate(Run(benchmark(0), halving()))
    with pytest.raises(ConfigError, match="the limit is 0"):
        evaluate(Run(benchmark(1), halving()), limit=0)


def test_several_methods_are_written_together(tmp_path):
    runs = [Run(benchmark(2), halving()), Run(benchmark(2), replace(halving(), name="other"))]
    found = evaluate_all(runs, tmp_path)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert [Results.from_dict(run) for run in stored["runs"]] == found
    assert len(list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))) == 8
    with pytest.raises(ConfigError, match="given twice"):
        evaluate_all([runs[0], runs[0]], tmp_path)


def test_several_methods_do_not_replace_a_single_one_and_the_other_way_round(tmp_path):
    runs = [Run(benchmark(1), halving()), Run(benchmark(1), replace(halving(), name="other"))]
    seen = []
    evaluate_all(runs[:1], tmp_path)
    single = (tmp_path / "results.json").read_text()
    with pytest.raises(DataError, match="holds the results of a single run; choose another folder, or overwrite them"):
        evaluate_all([Run(benchmark(1), halving(seen)), runs[1]], tmp_path)
    assert seen == []
    assert (tmp_path / "results.json").read_text() == single
    evaluate_all(runs, tmp_path, overwrite=True)
    evaluate_all(runs, tmp_path)
    with pytest.raises(DataError, match="holds the results of several methods; choose another folder, or overwrite"):
        evaluate_all(runs[:1], tmp_path)


def test_several_methods_that_overwrite_leave_nothing_of_an_interrupted_single_one(tmp_path):
    runs = [Run(benchmark(2), halving()), Run(benchmark(2), replace(halving(), name="other"))]

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_all(runs[:1], tmp_path, watch=interrupt)
    assert list(tmp_path.glob("results.*"))
    found = evaluate_all(runs, tmp_path, overwrite=True)
    assert evaluate_all(runs, tmp_path) == found


def test_names_that_are_no_text_come_into_the_results(tmp_path):
    named = replace(benchmark(1), items=(replace(benchmark(1).items[0], name="caf\udce9"),))
    found = evaluate(Run(named, halving()), tmp_path)
    stored = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert Results.from_dict(stored) == found
    assert list(found.images) == ["caf\udce9"]
    assert "caf\\udce9" in (tmp_path / "results.csv").read_text(encoding="utf-8")


def test_results_of_another_quantized_network_are_not_gone_on_from(weights, tmp_path):
    copy = tmp_path / "tiny.safetensors"
    copy.write_bytes(weights.read_bytes())
    restorer = Restorer.from_pretrained(copy, device="cpu")
    restorer.backend.precision = "int8"  # as with OpenVINO, whose network these files are
    (tmp_path / "tiny.int8.xml").write_bytes(b"layers")
    facts = []
    for numbers in (b"some", b"others"):
        (tmp_path / "tiny.int8.bin").write_bytes(numbers)
        facts.append(network_method(restorer, copy).facts)
    assert facts[0] != facts[1]
    for ending in (".xml", ".bin"):  # a file of another name, which a restorer may be given
        (tmp_path / f"tiny.int8{ending}").rename(tmp_path / f"elsewhere{ending}")
    elsewhere = Restorer(restorer.model, int8=tmp_path / "elsewhere.xml")
    elsewhere.backend.precision = "int8"
    assert network_method(elsewhere, copy).facts["quantized_sha256"] == facts[1]["quantized_sha256"]


def test_ensembles_of_pictures_with_and_without_a_direction_are_two_methods(weights):
    model = MPRNet(CONFIG)
    facts = [
        network_method(Restorer(model, ensemble=ensemble, upright=upright), weights).facts
        for ensemble, upright in ((True, True), (True, False), (False, True), (False, False))
    ]
    assert facts[0] != facts[1]
    assert facts[2] == facts[3]


def test_a_baseline_is_told_the_noise_only_where_it_asks_for_it():
    told, blind = baseline_method("dct", sigma=20.0), baseline_method("dct")
    assert (told.facts["sigma"], blind.facts["sigma"]) == (20.0, None)
    noisy = pair(0).degraded / np.float32(255)
    restored = told.restore(noisy)["restored"]
    assert np.array_equal(restored, BASELINES["dct"](noisy, sigma=20.0))
    assert not np.array_equal(restored, blind.restore(noisy)["restored"])
    assert baseline_method("unsharp", sigma=20.0).facts["sigma"] is None
    with pytest.raises(ConfigError, match="unknown method 'magic'; expected mprnet, dct"):
        baseline_method("magic")


def test_the_noise_of_a_sweep_is_that_of_the_degrade_command(tmp_path):
    (tmp_path / "clean").mkdir()
    for index in range(2):
        write_image(pair(index).target, tmp_path / "clean" / f"{index}.png")
    write_image(pair(2).target[..., :1], tmp_path / "clean" / "grey.png")
    degrade_folder(tmp_path / "clean", tmp_path / "pairs", GaussianNoise((25.0, 25.0)), seed=3)
    items = noisy_set(tmp_path / "clean", 25.0, seed=3).items
    for item in items:
        expected = [read_image(tmp_path / "pairs" / side / f"{item.name}.png").pixels for side in ("input", "target")]
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(item.read(), expected, strict=True))
    other = noisy_set(tmp_path / "clean", 25.0, seed=4).items
    assert not np.array_equal(items[0].read().degraded, other[0].read().degraded)


def test_a_clean_picture_that_stands_twice_is_counted_as_a_failure(tmp_path):
    write_image(pair(0).target, tmp_path / "a.png")
    write_image(pair(0).target, tmp_path / "a.jpg")
    results = evaluate(Run(noisy_set(tmp_path, 10.0), halving()))
    assert (len(results.images), len(results.failed)) == (1, 1)
    with pytest.raises(ConfigError, match="the noise is 0"):
        noisy_set(tmp_path, 0)


def test_pairs_without_partner_are_counted_as_failures(tmp_path):
    for side, names in (("input", "abc"), ("target", "abd")):
        (tmp_path / side).mkdir()
        for name in names:
            write_image(pair(0)[side == "target"], tmp_path / side / f"{name}.png")
    ours = paired_set(tmp_path, "derain")
    results = evaluate(Run(ours, halving()))
    assert ours.protocol == "rain"
    assert list(results.images) == ["a", "b"]
    assert list(results.failed) == ["c", "d"]
    assert "no picture of this name in" in results.failed["c"]


def test_a_folder_of_pairs_never_passes_for_a_published_set(tmp_path):
    for side in ("input", "target"):
        (tmp_path / "GoPro" / side).mkdir(parents=True)
        write_image(pair(0).target, tmp_path / "GoPro" / side / "a.png")
    assert paired_set(tmp_path / "GoPro", "deblur").name == "GoPro-pictures"


def test_boxes_of_dnd_become_the_files_of_its_server(tmp_path):
    loadmat = pytest.importorskip("scipy.io", reason="needs the extra evaluate (SciPy)").loadmat
    boxes = [Stored(f"0001_{box:02d}", ItemPictures(pair(box)[0] / np.float32(255), None)) for box in range(1, 21)]
    results = evaluate(Run(Benchmark("dnd", "denoise", boxes, len(boxes), None), halving()), tmp_path)
    assert results.means() == {}
    written = loadmat(tmp_path / "submission" / "0001.mat")["Idenoised"]
    assert written.shape == (1, 20)
    assert np.allclose(written[0, 4], (boxes[4].pictures.degraded + 0.5) / 2)
    assert list((tmp_path / "restored").iterdir()) == []
    (tmp_path / "restored" / "mine.npy").touch()
    other = Run(Benchmark("dnd", "denoise", boxes[:1], 1000, None), halving())  # too few for the server
    evaluate(other, tmp_path, overwrite=True)
    assert list((tmp_path / "submission").iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "restored").iterdir()) == ["0001_01.npy", "mine.npy"]
    evaluate(Run(Benchmark("dnd", "denoise", boxes, len(boxes), None), halving()), tmp_path, overwrite=True)
    assert (tmp_path / "submission" / "0001.mat").exists()
    assert [path.name for path in (tmp_path / "restored").iterdir()] == ["mine.npy"]


def test_a_box_of_dnd_that_changed_is_written_anew_with_all_of_its_picture(tmp_path):
    loadmat = pytest.importorskip("scipy.io", reason="needs the extra evaluate (SciPy)").loadmat
    boxes = [
        Stored(f"{picture:04d}_{box:02d}", ItemPictures(pair(100 * picture + box)[0] / np.float32(255), None))
        for picture in (1, 2)
        for box in range(1, 21)
    ]

    def restored(watch=lambda _: None):
        seen = []
        evaluate(Run(Benchmark("dnd", "denoise", boxes, len(boxes), None), halving(seen)), tmp_path, watch=watch)
        return len(seen)

    def stop(watch):
        if watch.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restored(stop)
    assert [restored(), restored()] == [35, 0]
    boxes[4] = Stored("0001_05", ItemPictures(pair(7)[0] / np.float32(255), None))
    with pytest.raises(KeyboardInterrupt):
        restored(stop)
    assert [restored(), restored()] == [15, 0]
    written = loadmat(tmp_path / "submission" / "0001.mat")["Idenoised"]
    assert np.allclose(written[0, 4], (boxes[4].pictures.degraded + 0.5) / 2)
    (tmp_path / "submission" / "0002.mat").unlink()
    assert restored() == 20
    assert (tmp_path / "submission" / "0002.mat").exists()


def test_an_input_that_cannot_be_aligned_leaves_its_picture_to_be_measured(tmp_path):
    target = np.kron(pair(0, (8, 8, 3)).target, np.ones((8, 8, 1), np.uint8))
    items = [Stored("black", ItemPictures(np.zeros_like(target), target)), Stored("good", ItemPictures(target, target))]
    method = Method("perfect", lambda _: {"restored": target / np.float32(255)}, ("restored",), {"strength": 1})
    for number in (1, 2):
        results = evaluate(Run(Benchmark("set", "deblur", items[:number], number, "realblur"), method))
        assert results.is_complete
        assert list(results.images["black"].scores) == ["restored"]
        means = results.means()
        assert list(means) == (["restored"] if number == 1 else ["input", "restored"])
        assert "input" not in means or means["input"] == results.images["good"].scores["input"]
        write_report(tmp_path / "report.html", [results], [])
        assert ("over the input" in (tmp_path / "report.html").read_text(encoding="utf-8")) == ("input" in means)


TWO = """
import sys
from pathlib import Path
from mprnet.evaluation.processes import shared_work
from mprnet.evaluation.benchmark import Method, Run, evaluate
from mprnet.evaluation.own_sets import paired_set

half = Method("half", lambda degraded: {"restored": (degraded + 0.5) / 2}, ("restored",), {"strength": 0.5})
with shared_work() as processes:
    done = []
    run = Run(paired_set(Path(sys.argv[1]), "deblur"), half)
    for _ in range(2):  # the second time nothing is left to do
        results = evaluate(run, Path(sys.argv[2]), processes=processes, watch=lambda watch: done.append(watch.name))
    print(len(done), repr(tuple(results.mean())))
"""


def test_two_processes_share_the_pictures_and_get_the_mean_of_one(tmp_path):
    for index in range(3):
        for side, pixels in zip(("input", "target"), pair(index), strict=True):
            (tmp_path / "set" / side).mkdir(parents=True, exist_ok=True)
            write_image(pixels, tmp_path / "set" / side / f"{index}.png")
    half = Method("half", lambda degraded: {"restored": (degraded + 0.5) / 2}, ("restored",))
    alone = evaluate(Run(paired_set(tmp_path / "set", "deblur"), half))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, tmp_path / "set", tmp_path / "out"],
            env={**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    answers = []
    for process in started:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        answers.append(out.splitlines()[-1])
    mean = repr(tuple(alone.mean()))
    assert answers == [f"2 {mean}", f"1 {mean}"]
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(stored["images"]) == ["0", "1", "2"]
    assert list((tmp_path / "out").glob("*.jsonl")) == []


def test_results_that_are_too_deep_are_one_line(tmp_path):
    (tmp_path / "results.json").write_text("[" * 10**5)
    with pytest.raises(DataError, match="holds results that cannot be read"):
        evaluate(Run(benchmark(1), halving()), tmp_path)


def test_the_record_is_of_the_versions_that_measured(tmp_path, monkeypatch):
    def run(torch_version, **options):
        monkeypatch.setattr("mprnet.evaluation.benchmark._environment", lambda _: {"torch": torch_version})
        return evaluate(Run(benchmark(3), halving()), tmp_path, **options).environment["torch"]

    assert run("1", limit=1) == "1"
    assert run("2", limit=1) == "1"  # which measured nothing
    assert run("3") == "1; 3"
    assert json.loads((tmp_path / "results.json").read_text())["environment"] == {"torch": "1; 3"}
    assert run("4", overwrite=True) == "4"


def test_what_an_interrupted_run_measured_keeps_its_versions(tmp_path, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    for torch_version in ("1", "2"):
        monkeypatch.setattr("mprnet.evaluation.benchmark._environment", lambda _, found=torch_version: {"torch": found})
        with pytest.raises(KeyboardInterrupt):
            evaluate(Run(benchmark(3), halving()), tmp_path, watch=stop)
    monkeypatch.setattr("mprnet.evaluation.benchmark._environment", lambda _: {"torch": "3"})
    assert evaluate(Run(benchmark(3), halving()), tmp_path).environment == {"torch": "1; 2; 3"}


def test_a_picture_that_needs_an_extra_leaves_the_others_to_be_measured():
    results = evaluate(Run(benchmark(1, phone=MissingExtraError('HEIF needs pip install "mprnet[heif]"')), halving()))
    assert list(results.images) == ["a"]
    assert "mprnet[heif]" in results.failed["phone"]

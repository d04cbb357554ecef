from __future__ import annotations

import dataclasses
import json
import math

import pytest

from mprnet.bench import Bench, Case, Line, Skipped

CASE = Case("lite", (256, 512), 2, "straightforward", "fp32", 3)


def make_bench():
    base = Line(CASE, macs=10**9, seconds=(2.2, 1.8, 2.0), first_seconds=3.0)
    whole = Line(CASE._replace(engine="torch"), 10**9, (0.5, 0.7, 0.4), 1.0, 10**8, -0.01)
    exit_ = Line(CASE._replace(engine="torch", stage=1), 2 * 10**8, (0.12,), 0.2)
    alone = Line(CASE._replace(engine="onnx", batch=1), 5 * 10**8, (0.3,), 0.4)
    skipped = (Skipped("lite compile fp32", "no compiler"),)
    return Bench({"processor": "of a test"}, {"fp32": 1e10}, (base, whole, exit_, alone), skipped)


def test_medians_are_compared_with_the_straightforward_way_s():
    bench = make_bench()
    base, whole, exit_, _ = bench.lines
    assert (bench.speed_up(base), bench.speed_up(whole)) == (1.0, 4.0)
    assert bench.speed_up(exit_) == pytest.approx(2.0 / 0.12)


def test_without_the_straightforward_way_there_is_no_comparison():
    bench = make_bench()
    assert bench.speed_up(bench.lines[3]) is None


def test_operations_count_twice_and_against_the_peak_of_their_precision():
    bench = make_bench()
    assert bench.lines[1].operations_per_second == 4e9
    assert bench.share_of_peak(bench.lines[1]) == 0.4
    assert Bench({}, {}, bench.lines, ()).share_of_peak(bench.lines[1]) is None


def test_an_exit_is_held_against_its_share_of_the_operations():
    bench = make_bench()
    _, whole, exit_, _ = bench.lines
    assert bench.over_share(exit_) == pytest.approx((0.12 / 0.5) / (1 / 5))
    assert bench.over_share(whole) is None
    assert Bench({}, {}, (exit_,), ()).over_share(exit_) is None


def test_a_case_is_compared_within_its_network_size_and_batch():
    assert [len(lines) for lines in make_bench().groups()] == [3, 1]


def test_a_change_without_end_is_written_as_json_knows_it():
    whole, line = make_bench().lines[:2]
    found = dataclasses.replace(make_bench(), lines=(whole, dataclasses.replace(line, psnr_change_db=-math.inf)))
    report = json.loads(found.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert report["lines"][1]["psnr_change_db"] == -math.inf


def test_the_json_holds_what_was_measured_and_what_follows():
    report = json.loads(make_bench().to_json())
    assert report["machine"] == {"processor": "of a test"}
    assert report["peak_gop_per_second"] == {"fp32": 10.0}
    assert report["skipped"] == [{"what": "lite compile fp32", "reason": "no compiler"}]
    torch_line = report["lines"][1]
    assert torch_line == {
        "network": "lite",
        "size_hw": [256, 512],
        "batch": 2,
        "engine": "torch",
        "precision": "fp32",
        "stage": 3,
        "macs": 10**9,
        "seconds": [0.5, 0.7, 0.4],
        "first_seconds": 1.0,
        "memory_bytes": 10**8,
        "psnr_change_db": -0.01,
        "median_seconds": 0.5,
        "seconds_per_megapixel": pytest.approx(0.5 / (2 * 256 * 512 / 1e6)),
        "gop_per_second": 4.0,
        "speed_up": 4.0,
        "share_of_peak": 0.4,
        "over_share": None,
    }

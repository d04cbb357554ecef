from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from mprnet.bench import Plan, engines, measurement, run
from mprnet.bench.memory import Alone, peak_memory
from mprnet.bench.straightforward import Straightforward
from mprnet.checkpoints import save_checkpoint
from mprnet.errors import ConfigError, DataError, MissingExtraError
from mprnet.network import MPRNetConfig, build
from mprnet.restoration.memory import OutOfMemory

QUICK = {"backends": ("torch",), "precisions": ("fp32",), "sizes_hw": ((32, 32),), "runs": 2, "memory": False}


class Spoiled(Straightforward):
    """An engine whose pictures are white, which is as far from the pairs as can be."""

    name = "torch"

    def run(self, degraded, stages):
        return tuple(torch.ones_like(degraded) for _ in stages)


def test_every_precision_stage_size_and_batch_has_a_line_beside_the_straightforward_way(tiny):
    plan = Plan(
        **QUICK | {"weights": tiny, "precisions": ("fp32", "bf16"), "stages": (1, 3), "batches": (1, 2), "runs": 1}
    )
    bench = run(plan)
    assert bench.skipped == ()
    each = [("straightforward", "fp32", 3), *(("torch", kind, stage) for kind in ("fp32", "bf16") for stage in (1, 3))]
    assert [line.case for line in bench.lines] == [("tiny", (32, 32), batch, *one) for batch in (1, 2) for one in each]
    first, second = bench.groups()
    assert second[0].macs == 2 * first[0].macs
    assert all(line.median > 0 and line.first_seconds > 0 and line.memory_bytes is None for line in bench.lines)
    assert bench.peaks == {"fp32": 1e11, "bf16": 1e11}
    assert bench.machine["torch"] == torch.__version__


def test_the_engines_run_in_turn(tiny):
    doing = []
    run(Plan(**QUICK | {"weights": tiny}), lambda progress: doing.append((progress.doing, progress.done)))
    runs = [re.sub(".* (.*) fp32: run (.) of 2", r"\1 \2", each) for each, _ in doing if ": run " in each]
    assert runs == ["straightforward 1", "torch 1", "straightforward 2", "torch 2"]
    fractions = [done for _, done in doing]
    assert fractions == sorted(fractions)
    assert 0.5 < fractions[-1] < 1


def test_an_engine_that_is_not_installed_is_told_and_the_others_are_measured(tiny, monkeypatch):
    def open_backend(model, *, name, **options):
        if name == "openvino":
            raise MissingExtraError('OpenVINO is not installed; pip install "mprnet[openvino]"')
        return original(model, name=name, **options)

    original = engines.open_backend
    monkeypatch.setattr(engines, "open_backend", open_backend)
    bench = run(Plan(**QUICK | {"weights": tiny, "backends": ("torch", "openvino")}))
    assert [line.case.engine for line in bench.lines] == ["straightforward", "torch"]
    assert bench.skipped == (("tiny openvino fp32", 'OpenVINO is not installed; pip install "mprnet[openvino]"'),)


def test_int8_needs_its_quantized_network(tiny):
    pytest.importorskip("openvino", reason='int8 needs OpenVINO: pip install "mprnet[openvino]"')
    bench = run(Plan(**QUICK | {"weights": tiny, "backends": (), "precisions": ("int8",)}))
    assert [line.case.engine for line in bench.lines] == ["straightforward"]
    assert "mprnet export" in bench.skipped[0].reason


@pytest.mark.parametrize("changes", [{"combination": "unet+orsnet"}, {"sam": False}])
def test_networks_of_table_6_are_timed_beside_themselves_as_they_are(changes, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "ablated.safetensors"
    config = MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1, **changes)
    save_checkpoint(build(config), path)
    bench = run(Plan(**QUICK | {"weights": path, "stages": (2, 3)}))
    assert bench.skipped == ()
    assert [(line.case.engine, line.case.stage) for line in bench.lines] == [
        *(("straightforward", 3), ("torch", 2), ("torch", 3))
    ]
    if config.first_stage > 1:
        with pytest.raises(ConfigError, match="stage is 1, which this network"):
            run(Plan(**QUICK | {"weights": path, "stages": (1, 3)}))


def test_a_size_that_is_too_large_for_the_memory_is_told(tiny, monkeypatch):
    monkeypatch.setattr(measurement, "free_bytes", lambda device: 10**7)
    bench = run(Plan(**QUICK | {"weights": tiny, "sizes_hw": ((16, 16), (512, 512))}))
    assert {line.case.size_hw for line in bench.lines} == {(16, 16)}
    whats, reasons = zip(*bench.skipped, strict=True)
    assert whats == tuple(f"tiny 512×512, stage 3, {name} fp32" for name in ("straightforward", "torch"))
    assert re.fullmatch(r"needs about 0\.\d GB of memory, and of the 0\.0 GB free half", reasons[0])


def test_pictures_that_do_not_fit_into_memory_are_told_before_they_are_made(tiny, monkeypatch):
    monkeypatch.setattr(measurement, "free_bytes", lambda device: 10**7)
    bench = run(Plan(**QUICK | {"weights": tiny, "batches": (1, 10_000), "sizes_hw": ((16, 16),)}))
    assert {line.case.batch for line in bench.lines} == {1}
    assert bench.skipped == (
        ("tiny 16×16, 10000 at a time", "needs 0.0 GB for the pictures, and of the 0.0 GB free half"),
    )


@pytest.mark.parametrize("failure", [OutOfMemory("no memory is left"), RuntimeError("no compiler\nat line 3")])
def test_an_engine_that_fails_is_told_and_the_others_are_measured(tiny, monkeypatch, failure):
    class Failing(Straightforward):
        def run(self, degraded, stages):
            raise failure

    monkeypatch.setattr(engines, "open_backend", lambda model, *, device, **_: Failing(model, device))
    bench = run(Plan(**QUICK | {"weights": tiny}))
    assert [line.case.engine for line in bench.lines] == ["straightforward"]
    assert bench.skipped == (("tiny 32×32, stage 3, torch fp32", str(failure).splitlines()[0]),)


@pytest.mark.parametrize("failing_run", [2, 3])
def test_an_engine_that_fails_while_it_is_timed_is_told_and_the_others_are_measured(tiny, monkeypatch, failing_run):
    class Failing(Straightforward):
        runs = 0

        def run(self, degraded, stages):
            self.runs += 1
            if self.runs == failing_run:
                raise RuntimeError("out of memory\nat line 3")
            return super().run(degraded, stages)

    monkeypatch.setattr(engines, "open_backend", lambda model, *, device, **_: Failing(model, device))
    fractions = []
    bench = run(Plan(**QUICK | {"weights": tiny, "stages": (1, 3)}), lambda progress: fractions.append(progress.done))
    assert [(line.case.engine, len(line.seconds)) for line in bench.lines] == [("straightforward", 2)]
    assert bench.skipped == tuple((f"tiny 32×32, stage {stage}, torch fp32", "out of memory") for stage in (1, 3))
    assert fractions == sorted(fractions)


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_there_is_one_clear_line(tiny, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0 if device == "cuda" else 7)
    with pytest.raises(ConfigError, match=f"device is '{device}', and the number of GPUs .* is [07]; expected cpu"):
        run(Plan(device=device))


def test_a_bench_that_is_stopped_leaves_what_is_known(tiny):
    found = []

    def watch(progress):
        found.append(progress.bench)
        if progress.doing.endswith("torch fp32: run 2 of 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Plan(**QUICK | {"weights": tiny}), watch)
    assert [(line.case.engine, len(line.seconds)) for line in found[-1].lines] == [("straightforward", 2), ("torch", 1)]


def test_peak_memory_is_that_of_a_process_of_its_own(tiny, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('a stranger ran')")
    monkeypatch.chdir(tmp_path)
    task = Alone({}, str(tiny), None, "torch", "fp32", 3, (1, 3, 16, 16), "cpu", threads=1)
    small, large = (peak_memory(replace(task, shape=(1, 3, *size_hw))) for size_hw in ((16, 16), (384, 384)))
    features = 384 * 384 * 12 * 4
    assert 50e6 < small < small + features < large < psutil.virtual_memory().total


def test_a_process_that_fails_has_no_peak_memory(tmp_path):
    task = Alone({}, str(tmp_path / "nowhere.pth"), None, "torch", "fp32", 3, (1, 3, 16, 16), "cpu", threads=1)
    assert peak_memory(task) is None


def test_each_case_is_asked_for_its_memory(tiny, monkeypatch):
    tasks = []
    monkeypatch.setattr(measurement, "peak_memory", lambda task: tasks.append(task) or 1000 * len(tasks))
    bench = run(Plan(**QUICK | {"weights": tiny, "stages": (2,), "batches": (3,), "runs": 1, "memory": True}))
    assert [line.memory_bytes for line in bench.lines] == [1000, 2000]
    assert [(task.engine, task.stage, task.shape) for task in tasks] == [
        ("straightforward", 3, (3, 3, 32, 32)),
        ("torch", 2, (3, 3, 32, 32)),
    ]
    assert {task.weights for task in tasks} == {str(tiny)}


@pytest.fixture
def pairs(tmp_path):
    random = np.random.default_rng(0)
    for folder in ("input", "target"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png"):
            pixels = random.integers(100, 120, (21, 13, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / name)
    return tmp_path / "input", tmp_path / "target"


def test_the_psnr_of_an_engine_that_is_exact_does_not_change(tiny, pairs):
    bench = run(Plan(**QUICK | {"weights": tiny, "pairs": pairs, "runs": 1, "stages": (1, 3)}))
    base, *exact = bench.lines
    assert base.psnr_change_db is None
    assert [line.case.stage for line in exact] == [1, 3]
    assert [line.psnr_change_db for line in exact] == pytest.approx([0, 0], abs=1e-3)


def test_the_psnr_of_an_engine_that_makes_pictures_worse_falls_at_every_size(tiny, pairs, monkeypatch):
    monkeypatch.setattr(engines, "open_backend", lambda model, *, device, **_: Spoiled(model, device))
    sizes = ((16, 16), (24, 24))
    bench = run(Plan(**QUICK | {"weights": tiny, "pairs": pairs, "runs": 1, "stages": (1,), "sizes_hw": sizes}))
    changes = [line.psnr_change_db for line in bench.lines if line.case.engine == "torch"]
    assert changes[0] == changes[1] < -0.1


def test_an_engine_that_fails_on_the_pairs_keeps_its_times_and_the_others_are_compared(tiny, pairs, monkeypatch):
    class Failing(Straightforward):
        def run(self, degraded, stages):
            if degraded.shape[2:] == (24, 16) and stages == (1,):  # a pair, padded
                raise RuntimeError("no memory\nat line 3")
            return super().run(degraded, stages)

    monkeypatch.setattr(engines, "open_backend", lambda model, *, device, **_: Failing(model, device))
    bench = run(Plan(**QUICK | {"weights": tiny, "pairs": pairs, "runs": 1, "stages": (1, 3)}))
    engine = {line.case.stage: line for line in bench.lines if line.case.engine == "torch"}
    assert engine[1].psnr_change_db is None
    assert len(engine[1].seconds) == 1
    assert engine[3].psnr_change_db == pytest.approx(0, abs=1e-3)
    assert bench.skipped == (("tiny 32×32, stage 1, torch fp32: PSNR", "no memory"),)


def test_pairs_of_two_sizes_are_refused_before_anything_is_measured(tiny, pairs):
    Image.fromarray(np.zeros((8, 16, 3), np.uint8)).save(pairs[1] / "b.png")
    with pytest.raises(DataError, match=r"b\.png .*expected one shape"):
        run(Plan(**QUICK | {"weights": tiny, "pairs": pairs}))


def test_an_engine_that_lacks_a_package_only_when_it_runs_is_told_too(tiny, monkeypatch):
    def run_it(self, degraded, stages):
        raise MissingExtraError("ONNX needs packages that are not installed")

    monkeypatch.setattr("mprnet.backends.eager.TorchBackend.run", run_it)
    bench = run(Plan(**QUICK | {"weights": tiny}))
    assert [line.case.engine for line in bench.lines] == ["straightforward"]
    assert bench.skipped[0].reason == "ONNX needs packages that are not installed"


def test_pairs_without_a_partner_are_refused_before_anything_is_measured(tiny, pairs):
    (pairs[1] / "b.png").unlink()
    with pytest.raises(DataError, match="b: no picture of this name in "):
        run(Plan(**QUICK | {"weights": tiny, "pairs": pairs}))

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from rich.console import Console

from mprnet import training
from mprnet.checkpoints import load_checkpoint, read_metadata, save_checkpoint
from mprnet.errors import CheckpointError, ConfigError, ImageError, MissingExtraError, TrainingError
from mprnet.files import MACHINE
from mprnet.imaging import write_image
from mprnet.network import MPRNet, MPRNetConfig
from mprnet.training import module, run
from mprnet.training.callbacks import COLUMNS, Logs
from mprnet.training.data import RecipeData
from mprnet.training.run import changes_since, train
from mprnet.training.schedule import learning_rate

if TYPE_CHECKING:
    from pathlib import Path

TINY = MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1)


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def losses(folder: Path) -> dict[int, float]:
    return {int(row["step"]): float(row["train/loss"]) for row in rows(folder) if row["train/loss"]}


def network_of(weights: dict[str, torch.Tensor]) -> MPRNet:
    model = MPRNet(TINY)
    model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
    return model


@pytest.fixture(scope="module")
def first_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of eight steps; not to be written to."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    train(training.load_recipe(tiny), folder)
    return folder


def test_a_network_of_table_6_is_trained_validated_and_gone_on_with(tiny, tmp_path):
    changes = ["network.combination=unet+orsnet", "network.sam=false", "network.csff=false"]
    train(training.load_recipe(tiny, [*changes, "optimization.steps=4"]), tmp_path)
    train(training.load_recipe(tiny, changes), tmp_path, resume=True)
    assert {column for row in rows(tmp_path) for column, value in row.items() if value} == {
        *("step", "train/loss", "learning_rate"),
        *("validation/psnr_db", "validation/stage2_psnr_db"),
    }
    assert load_checkpoint(tmp_path / "last.safetensors").config.combination == "unet+orsnet"
    assert int(read_metadata(tmp_path / "last.safetensors")["training_steps"]) == 8
    with pytest.raises(TrainingError, match=r"changes the network .*\(combination unet\+orsnet to unet\+unet"):
        train(training.load_recipe(tiny, [*changes, "network.combination=unet+unet"]), tmp_path, resume=True)


def test_a_stage_that_a_network_of_table_6_does_not_have_is_not_trained(tiny, tmp_path):
    changes = ["network.combination=unet", "network.sam=false", "network.csff=false", "optimization.stages=2"]
    with pytest.raises(ConfigError, match=r"optimization\.stages is 2, which this network \(unet\) does not have"):
        train(training.load_recipe(tiny, changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def finished(first_run: Path, tmp_path: Path) -> Path:
    """A copy of that folder, elsewhere."""
    return shutil.copytree(first_run, tmp_path / "finished")


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch):
    """Have something happen at the end of a training step."""

    def arrange(step: int, happens) -> None:
        original = Logs.on_train_batch_end

        def hook(self, trainer, *rest):
            original(self, trainer, *rest)
            if trainer.global_step == step:
                happens()

        monkeypatch.setattr(Logs, "on_train_batch_end", hook)

    return arrange


@pytest.fixture
def ctrl_c():
    """Press Ctrl-C, or send another signal; a shell lets processes in its background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda number=signal.SIGINT: signal.raise_signal(number)
    signal.signal(signal.SIGINT, before)


def test_a_run_lowers_its_loss_and_leaves_its_files(first_run):
    curve = losses(first_run)
    assert list(curve) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sum(curve[step] for step in (6, 7, 8)) < 0.95 * sum(curve[step] for step in (1, 2, 3))
    assert {path.name for path in first_run.iterdir()} == {
        *("best.ckpt", "last.ckpt", "best.safetensors", "last.safetensors"),
        *("recipe.json", "csv", "tensorboard"),
    }


def test_the_last_weights_restore_as_the_averaged_ones_do_in_half_precision(first_run):
    shipped = load_checkpoint(first_run / "last.safetensors")
    averaged = network_of(load(first_run / "last.ckpt")["state_dict"]).half().float()
    assert shipped.config == TINY
    with torch.no_grad():
        degraded = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
        assert torch.equal(shipped(degraded).last, averaged(degraded).last)
    assert read_metadata(first_run / "last.safetensors") == {
        "task": "denoise",
        "training_crop_px": "16",
        "training_batch": "2",
        "training_devices": "1",
        "training_steps": "8",
        "trained_stages": "3",
        "trained_on": "clean",
    }


def test_the_average_trails_the_raw_weights(first_run, tiny, tmp_path):
    content = load(first_run / "last.ckpt")
    assert any(
        not torch.equal(value, content["current_model_state"][name]) for name, value in content["state_dict"].items()
    )
    train(
        training.load_recipe(tiny, ["optimization.ema_decay=0", "optimization.steps=2", "optimization.warmup=0"]),
        tmp_path / "run",
    )
    content = load(tmp_path / "run" / "last.ckpt")
    for name, value in content["state_dict"].items():
        assert torch.equal(value, content["current_model_state"][name]), name


def test_the_best_is_the_one_of_the_highest_psnr(first_run):
    psnr_db = {
        int(row["step"]): float(row["validation/psnr_db"]) for row in rows(first_run) if row["validation/psnr_db"]
    }
    assert list(psnr_db) == [4, 8]
    best = max(psnr_db, key=lambda step: psnr_db[step])
    assert load(first_run / "best.ckpt")["global_step"] == best
    assert read_metadata(first_run / "best.safetensors")["training_steps"] == str(best)


def test_the_validation_psnr_is_the_mean_of_whole_pictures_in_8_bits(tiny, tmp_path):
    recipe = training.load_recipe(
        tiny, ["optimization.precision=fp32", "optimization.steps=2", "optimization.warmup=0", "seed=5"]
    )
    result = train(recipe, tmp_path / "run")
    model = network_of(load(result.last.with_suffix(".ckpt"))["state_dict"])
    figures = []
    for degraded, target in RecipeData(recipe).validation:
        height, width = target.shape[-2:]
        padded = torch.nn.functional.pad(degraded[None], (0, -width % 8, 0, -height % 8), mode="reflect")
        with torch.no_grad():
            restored = model(padded).last[0, :, :height, :width].clamp(0, 1).mul(255).round()
        figures.append(10 * torch.log10(255**2 / (restored - target * 255).square().mean()).item())
    assert len(figures) == 2
    assert result.psnr_db == pytest.approx(sum(figures) / 2, abs=1e-4)


def test_every_stage_is_validated_and_the_logs_name_their_figures(first_run):
    assert tuple(rows(first_run)[0]) == COLUMNS
    validated = [row for row in rows(first_run) if row["validation/psnr_db"]]
    assert all(float(row[f"validation/stage{stage}_psnr_db"]) > 10 for row in validated for stage in (1, 2))
    assert float(rows(first_run)[0]["learning_rate"]) == pytest.approx(1e-3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with a single processor
def test_processes_that_make_the_crops_change_nothing_and_outlive_a_signal(first_run, tiny, tmp_path, at_step, number):
    interrupted = []

    def interrupt_them():
        interrupted.extend(multiprocessing.active_children())
        for _ in range(2):
            for process in interrupted:
                os.kill(process.pid, number)
            time.sleep(0.2)

    at_step(2, interrupt_them)
    train(training.load_recipe(tiny, ["data.workers=2"]), tmp_path / "run")
    assert len(interrupted) == 2
    for name in ("csv/metrics.csv", "last.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (first_run / name).read_bytes()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that it is removed again afterwards
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("MPRNET_CACHE", str(tmp_path / "cache"))


def test_a_compiled_run_is_the_same_run(tiny, tmp_path, monkeypatch, cache):
    traced, sizes = torch.compile, []

    def trace(function, *, dynamic):  # as compiled, but without the code, which takes minutes
        def remember(degraded, stages):
            sizes.append(tuple(degraded.shape))
            return compiled(degraded, stages)

        compiled = traced(function, backend="eager", fullgraph=True, dynamic=dynamic)
        return remember

    grows = ["data.growth=[{ step = 2, crop_px = 24, batch = 1 }]", "optimization.steps=4"]
    train(training.load_recipe(tiny, grows), tmp_path / "plain")
    monkeypatch.setattr(torch, "compile", trace)
    train(training.load_recipe(tiny, [*grows, "optimization.compile=true"]), tmp_path / "compiled")
    assert sizes == [(2, 3, 16, 16)] * 2 + [(1, 3, 24, 24)] * 2
    assert read_metadata(tmp_path / "plain" / "last.safetensors")["training_crop_px"] == "24"
    for name in ("csv/metrics.csv", "last.safetensors", "best.safetensors"):
        assert (tmp_path / "compiled" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert load(tmp_path / "compiled" / "last.ckpt").keys() == load(tmp_path / "plain" / "last.ckpt").keys()


@pytest.mark.parametrize(("stages", "logged"), [(1, ()), (2, ("stage1",)), (3, ("stage1", "stage2"))])
def test_the_first_stages_are_trained_alone(tiny, tmp_path, stages, logged):
    torch.manual_seed(0)
    begun = MPRNet(TINY).half().float()
    save_checkpoint(begun, tmp_path / "begun.safetensors")
    changes = ["network={}", f"weights={tmp_path / 'begun.safetensors'}", f"optimization.stages={stages}"]
    result = train(training.load_recipe(tiny, [*changes, "optimization.steps=3"]), tmp_path / "run")

    ended = load_checkpoint(result.last).state_dict()
    changed = {name for name, value in begun.named_parameters() if not torch.equal(ended[name], value)}
    assert any(name.startswith("decoder1") for name in changed)
    assert any(name.startswith("decoder2") for name in changed) == (stages >= 2)
    assert any(name.startswith("orsnet") for name in changed) == (stages == 3)
    names = [name for name in rows(tmp_path / "run")[-1] if name.endswith("psnr_db")]
    filled = [name for name in names if rows(tmp_path / "run")[-1][name]]
    assert filled == ["validation/psnr_db", *(f"validation/{name}_psnr_db" for name in logged)]


def test_the_last_stage_that_is_trained_gives_the_psnr(tiny, tmp_path):
    for stages in (1, 3):
        changes = [
            f"optimization.stages={stages}",
            "optimization.steps=1",
            "optimization.warmup=0",
            "optimization.rate=1e-12",
            "optimization.final_rate=0",
        ]
        train(training.load_recipe(tiny, changes), tmp_path / str(stages))
    alone, whole = (rows(tmp_path / name)[-1] for name in "13")
    assert alone["validation/psnr_db"] == whole["validation/stage1_psnr_db"]


def test_a_compiled_run_without_a_compiler_does_not_begin(tiny, tmp_path, monkeypatch, cache):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    with pytest.raises(ConfigError, match=r"true, which needs the C\+\+ compiler"):
        train(training.load_recipe(tiny, ["optimization.compile=true"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tensorboard_holds_the_figures_of_the_csv(first_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(first_run / "tensorboard"))
    events.Reload()
    board = {event.step: event.value for event in events.Scalars("train/loss")}
    assert board == losses(first_run)
    assert [event.step for event in events.Scalars("validation/psnr_db")] == [4, 8]


def test_a_run_that_ends_between_two_validations_is_validated_at_its_end(tiny, tmp_path):
    result = train(training.load_recipe(tiny, ["optimization.steps=3", "validation.log_every=2"]), tmp_path / "run")
    assert result.psnr_db > 10
    assert [int(row["step"]) for row in rows(tmp_path / "run")] == [2, 3]
    assert read_metadata(result.best)["training_steps"] == "3"


@pytest.mark.parametrize(("task", "folder"), [("derain", "rain"), ("deblur", "gopro"), ("denoise", "sidd")])
def test_the_paper_s_training_runs(task, folder, tmp_path):
    for place in (tmp_path / folder, tmp_path / "validation"):
        for number, side in enumerate(("input", "target")):
            (place / side).mkdir(parents=True)
            pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            write_image(pixels, place / side / "a.png")
    changes = [f"data.root={tmp_path.as_posix()}", "preset=lite", "data.crop_px=16", "data.batch=2", "data.workers=0"]
    changes += ["optimization.steps=2", "network={n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1}"]
    result = train(training.load_recipe(f"paper-{task}", changes), tmp_path / "run")
    metadata = read_metadata(result.last)
    assert (metadata["task"], metadata["training_steps"], metadata["training_crop_px"]) == (task, "2", "16")


def test_a_run_may_begin_with_weights_of_another_network(tiny, tmp_path):
    torch.manual_seed(0)
    save_checkpoint(MPRNet(MPRNetConfig(n_feat=6, num_cab=1)), tmp_path / "given.safetensors")
    recipe = training.load_recipe(
        tiny,
        [
            "network={}",
            f"weights={tmp_path / 'given.safetensors'}",
            "optimization.steps=1",
            "optimization.warmup=0",
            "optimization.rate=1e-9",
            "optimization.final_rate=0",
        ],
    )
    result = train(recipe, tmp_path / "run")
    begun, ended = load_checkpoint(tmp_path / "given.safetensors"), load_checkpoint(result.last)
    for name, value in begun.state_dict().items():
        torch.testing.assert_close(ended.state_dict()[name], value, atol=1e-3, rtol=1e-3)


def test_a_run_may_begin_with_widened_weights(tiny, tmp_path):
    torch.manual_seed(0)
    save_checkpoint(MPRNet(TINY), tmp_path / "given.safetensors")
    changes = [f"weights={tmp_path / 'given.safetensors'}", "widen=true", "network.n_feat=12", "network.num_cab=2"]
    recipe = training.load_recipe(
        tiny,
        [
            *changes,
            "optimization.steps=1",
            "optimization.warmup=0",
            "optimization.rate=1e-9",
            "optimization.final_rate=0",
        ],
    )
    result = train(recipe, tmp_path / "run")
    begun, ended = load_checkpoint(tmp_path / "given.safetensors"), load_checkpoint(result.last)
    assert (ended.config.n_feat, ended.config.num_cab) == (12, 2)
    degraded = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ended(degraded).stage3, begun(degraded).stage3, atol=5e-3, rtol=0)
    train(
        training.load_recipe(tiny, [*changes, "optimization.steps=2", "optimization.warmup=0"]),
        tmp_path / "run",
        resume=True,
    )


def test_training_leaves_the_caller_s_random_numbers_and_signals_alone(tiny, tmp_path):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    train(training.load_recipe(tiny, ["optimization.steps=1", "optimization.warmup=0"]), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_the_seed_decides_the_first_weights(tiny):
    one, again, other = (run._network(training.load_recipe(tiny, [f"seed={seed}"])).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(one["tail.weight"], other["tail.weight"])


def test_the_precision_is_that_of_the_recipe(tiny, tmp_path, capsys):
    first, told = {}, []

    class Told(Callback):
        def on_train_batch_end(self, trainer, *_):
            told.append(trainer.global_step)

    for precision, shown in (("bf16", "bf16-mixed"), ("fp32", "32-true"), ("tf32", "32-true")):
        changes = [f"optimization.precision={precision}", "optimization.steps=1", "optimization.warmup=0"]
        text = io.StringIO()
        recipe = training.load_recipe(tiny, changes)
        train(recipe, str(tmp_path / precision), console=Console(file=text, width=200), callbacks=[Told()])
        assert text.getvalue().splitlines()[0].endswith(f", {shown}")
        assert capsys.readouterr().out == ""
        first[precision] = losses(tmp_path / precision)[1]
    assert first["bf16"] != first["fp32"]
    assert first["bf16"] == pytest.approx(first["fp32"], rel=0.05)
    assert first["tf32"] == first["fp32"]  # on a processor
    assert told == [1, 1, 1]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_gpu_multiplies_float32_numbers_as_the_recipe_says(tiny, tmp_path, monkeypatch, precision):
    asked, held, during = [], [], []

    @contextmanager
    def products(*of):
        asked.append(of)
        held.append(True)
        yield
        held.pop()

    class Seen(Callback):
        def on_train_batch_end(self, *_):
            during.append(bool(held))

    monkeypatch.setattr(run, "float32_products", products)
    changes = [f"optimization.precision={precision}", "optimization.steps=1", "optimization.warmup=0"]
    train(training.load_recipe(tiny, changes), tmp_path / "run", callbacks=[Seen()])
    assert asked == [(precision, torch.device("cpu"))]
    assert during == [True]
    assert held == []


def test_the_gradient_is_cut_to_the_norm_of_the_recipe_and_left_alone_at_0(tiny, tmp_path, monkeypatch):
    norms = []
    original = module.RestorationModule.configure_gradient_clipping

    def measured(self, *arguments, **named):
        original(self, *arguments, **named)
        gradients = [parameter.grad.flatten() for parameter in self.parameters() if parameter.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))

    monkeypatch.setattr(module.RestorationModule, "configure_gradient_clipping", measured)
    for norm in ("1e-4", "0"):
        changes = [f"optimization.clip_norm={norm}", "optimization.steps=1", "optimization.warmup=0"]
        train(training.load_recipe(tiny, changes), tmp_path / norm)
    cut_to, free = norms
    assert cut_to == pytest.approx(1e-4, rel=0.05)
    assert free > 1e-3


def test_a_folder_with_a_run_is_not_overwritten(finished, tiny):
    before = (finished / "last.ckpt").read_bytes()
    with pytest.raises(TrainingError, match=r"already holds last\.ckpt; resume that run, or choose another folder"):
        train(training.load_recipe(tiny), finished)
    assert (finished / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize("kept", ["last.safetensors", "best.safetensors", "best.ckpt"])
def test_weights_that_a_run_left_are_not_overwritten_either(finished, tiny, kept):
    for path in finished.iterdir():
        if path.name.startswith(("last.", "best.")) and path.name != kept:
            path.unlink()
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(TrainingError, match=f"already holds {re.escape(kept)}; move it away, or choose another folder"):
        train(training.load_recipe(tiny), finished)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_full_disk_is_one_line(tiny, tmp_path, monkeypatch):
    def save(state, path):
        Path(path).write_bytes(b"half of it")
        raise RuntimeError(
            "[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/3\n…"
        )

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(CheckpointError, match=r"best\.ckpt cannot be written: .*failed writing file data/3$"):
        train(training.load_recipe(tiny), tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.ckpt*"))


@pytest.mark.parametrize(
    ("failure", "message", "is_kept"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "a smaller data.batch or data.crop_px", False),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "fewer data.workers", True),
    ],
)
@pytest.mark.parametrize("place", ["in a step", "between two", "in a validation"])
def test_too_little_memory_is_one_line(tiny, tmp_path, monkeypatch, failure, message, is_kept, place):
    def fail(*_):
        raise failure

    if place == "in a step":
        monkeypatch.setattr(module, "restoration_loss", fail)
    elif place == "between two":
        monkeypatch.setattr(RecipeData, "on_before_batch_transfer", fail)
    else:
        monkeypatch.setattr(module.RestorationModule, "validation_step", fail)
    with pytest.raises(TrainingError, match=message):
        train(training.load_recipe(tiny), tmp_path / "run")
    # Elsewhere the weights may be half changed, or be the averaged ones.
    assert (tmp_path / "run" / "last.ckpt").exists() == (is_kept and place == "between two")


def test_too_little_memory_for_a_validation_picture_names_its_size(tiny, tmp_path, monkeypatch):
    forward = MPRNet.forward

    def narrow(model, degraded, stages=3):
        if degraded.shape[3] == 40:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(model, degraded, stages)

    monkeypatch.setattr(MPRNet, "forward", narrow)
    with pytest.raises(TrainingError, match=r"for a validation picture of 40×24; expected smaller ones in validation"):
        train(training.load_recipe(tiny), tmp_path / "run")


def test_a_network_with_buffers_is_refused_before_the_first_step(tiny, tmp_path, monkeypatch):
    def normalised(recipe):
        model = MPRNet(recipe.config)
        model.encoder1.level1.append(torch.nn.BatchNorm2d(8))
        return model

    monkeypatch.setattr(run, "_network", normalised)
    with pytest.raises(CheckpointError, match=r"has the buffer encoder1\.level1\.2\.running_mean"):
        train(training.load_recipe(tiny), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_there_must_be_a_run_to_resume(tiny, tmp_path):
    with pytest.raises(TrainingError, match=r"holds no last\.ckpt to resume from"):
        train(training.load_recipe(tiny), tmp_path / "empty", resume=True)
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [("network.n_feat=10", "n_feat 8 to 10"), ("network.downsampling=maxpool", "bilinear to maxpool")],
)
def test_a_resumed_run_keeps_its_network(finished, tiny, change, message):
    before = (finished / "recipe.json").read_text()
    with pytest.raises(TrainingError, match=f"the recipe changes the network .*{message}"):
        train(training.load_recipe(tiny, [change]), finished, resume=True)
    assert (finished / "recipe.json").read_text() == before


@pytest.mark.parametrize(
    "content", [[1, 2], {"state_dict": {"model.tail.weight": 3}}, {"state_dict": 3}, {"state_dict": {}}]
)
def test_a_checkpoint_of_something_else_is_one_line(finished, tiny, content):
    torch.save(content, finished / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"last\.ckpt is no checkpoint of a run, or is damaged"):
        train(training.load_recipe(tiny), finished, resume=True)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_checkpoint_is_one_line(finished, tiny, damage):
    path = finished / "last.ckpt"
    path.write_bytes(path.read_bytes()[:5000] if damage is None else damage)
    with pytest.raises(CheckpointError, match=r"last\.ckpt is no checkpoint of a run, or is damaged") as error:
        train(training.load_recipe(tiny), finished, resume=True)
    assert "\n" not in str(error.value)


def test_the_clock_may_end_a_run(tiny, tmp_path, monkeypatch):
    taken = []
    original = module.RestorationModule.training_step

    def step(*arguments):
        taken.append(None)
        return original(*arguments)

    monkeypatch.setattr(module.RestorationModule, "training_step", step)
    clock = SimpleNamespace(monotonic=lambda: 60.0 * len(taken))  # a step a minute
    monkeypatch.setattr("lightning.pytorch.callbacks.timer.time", clock)

    def run(minutes, **how):
        changes = ["optimization.steps=1000", "optimization.warmup=0", f"optimization.minutes={minutes}"]
        result = train(training.load_recipe(tiny, changes), tmp_path / "run", **how)
        assert load(result.last.with_suffix(".ckpt"))["global_step"] == len(taken)
        return [float(row["learning_rate"]) for row in rows(tmp_path / "run") if row["learning_rate"]]

    rates = run(6)
    assert rates == pytest.approx([learning_rate(n, steps=6, warmup=0, peak=2e-3, final=1e-6) for n in range(6)])
    assert float(rows(tmp_path / "run")[-1]["validation/psnr_db"]) > 0
    assert run(6, resume=True) == rates  # what has passed counts
    assert len(run(8, resume=True)) == 8  # one that is given more time goes on


def test_a_finished_run_resumes_to_the_same_result(finished, first_run, tiny):
    result = train(training.load_recipe(tiny), finished, resume=True)
    assert result.psnr_db == max(float(row["validation/psnr_db"] or 0) for row in rows(first_run))
    for name in ("last.ckpt", "best.ckpt", "last.safetensors", "csv/metrics.csv"):
        assert (finished / name).read_bytes() == (first_run / name).read_bytes()


@pytest.mark.parametrize("steps", [3, 8])
def test_a_finished_run_goes_on_when_the_recipe_gives_it_more_steps_and_another_rate(tiny, tmp_path, steps):
    train(training.load_recipe(tiny, [f"optimization.steps={steps}"]), tmp_path / "run")
    changes = ["optimization.steps=13", "optimization.rate=1e-4", "optimization.final_rate=1e-4"]
    result = train(training.load_recipe(tiny, changes), tmp_path / "run", resume=True)
    assert list(losses(tmp_path / "run")) == list(range(1, 14))
    rates = [float(row["learning_rate"]) for row in rows(tmp_path / "run") if row["learning_rate"]]
    assert rates[steps:] == pytest.approx([1e-4] * (13 - steps))
    validated = [int(row["step"]) for row in rows(tmp_path / "run") if row["validation/psnr_db"]]
    assert validated == sorted({steps, 4, 8, 12, 13})
    assert read_metadata(result.last)["training_steps"] == "13"


def test_rows_after_the_checkpoint_and_rows_cut_short_leave_the_csv(finished, tiny, first_run):
    before = (first_run / "csv" / "metrics.csv").read_text()
    (finished / "csv" / "metrics.csv").write_text(before + "9,0.5,0.1,,,\n12,0.5,0.1,,,\n1")
    (finished / f".{'0' * 32}-{MACHINE}-999999999.unfinished").write_bytes(b"half a checkp")
    train(training.load_recipe(tiny, ["optimization.steps=9"]), finished, resume=True)
    after = (finished / "csv" / "metrics.csv").read_text()
    assert after.startswith(before)
    assert [int(row["step"]) for row in rows(finished)][-3:] == [8, 9, 9]
    assert not list(finished.glob(".*"))


def test_the_best_stays_the_best_when_a_resumed_run_gets_worse(finished, first_run, tiny):
    changes = ["optimization.steps=9", "optimization.rate=1", "optimization.ema_decay=0"]
    result = train(training.load_recipe(tiny, changes), finished, resume=True)
    assert float(rows(finished)[-1]["validation/psnr_db"]) < result.psnr_db
    assert (finished / "best.safetensors").read_bytes() == (first_run / "best.safetensors").read_bytes()
    assert read_metadata(finished / "last.safetensors")["training_steps"] == "9"


def test_the_best_is_forgotten_where_other_pictures_are_looked_at(finished, tiny):
    changes = ["optimization.steps=9", "validation.count=1", "optimization.rate=1", "optimization.ema_decay=0"]
    result = train(training.load_recipe(tiny, changes), finished, resume=True)
    assert float(rows(finished)[-1]["validation/psnr_db"]) == pytest.approx(result.psnr_db)
    assert read_metadata(result.best)["training_steps"] == "9"


def test_the_best_is_kept_where_the_same_pictures_are_looked_at_more_often(finished, first_run, tiny):
    changes = ["optimization.steps=9", "validation.every=3", "optimization.rate=1", "optimization.ema_decay=0"]
    train(training.load_recipe(tiny, changes), finished, resume=True)
    assert (finished / "best.safetensors").read_bytes() == (first_run / "best.safetensors").read_bytes()


def test_steps_add_up_over_runs_of_one_task_and_stages_that_were_never_trained_are_told(tiny, tmp_path):
    def trained(folder, *changes):
        return read_metadata(train(training.load_recipe(tiny, list(changes)), tmp_path / folder).last)

    first = trained("a", "optimization.steps=2", "optimization.warmup=0", "optimization.stages=1")
    assert (first["training_steps"], first["trained_stages"]) == ("2", "1")
    begun = ["network={}", f"weights={(tmp_path / 'a' / 'last.safetensors').as_posix()}"]
    second = trained("b", "optimization.steps=3", *begun, "optimization.stages=2")
    assert (second["training_steps"], second["trained_stages"]) == ("5", "2")
    longer = training.load_recipe(tiny, ["optimization.steps=4", *begun, "optimization.stages=1"])
    resumed = read_metadata(train(longer, tmp_path / "b", resume=True).last)
    assert (resumed["training_steps"], resumed["trained_stages"]) == ("6", "2")
    assert first["trained_on"] == second["trained_on"] == resumed["trained_on"]
    shorter = ["optimization.steps=1", "optimization.warmup=0"]
    begun[1] = f"weights={(tmp_path / 'b' / 'last.safetensors').as_posix()}"
    other_task = [*begun, "task=deblur", "degradation={}", "validation.degradation={}", "optimization.stages=1"]
    other = trained("c", *shorter, *other_task)
    assert (other["training_steps"], other["trained_stages"]) == ("1", "1")  # two of them, but for another task
    save_checkpoint(load_checkpoint(tmp_path / "b" / "last.safetensors"), tmp_path / "silent.safetensors")
    begun[1] = f"weights={(tmp_path / 'silent.safetensors').as_posix()}"
    assert trained("d", *shorter, *begun, "optimization.stages=1")["trained_stages"] == "3"


def test_weights_say_what_they_and_those_before_them_learned_from(tiny, pairs, tmp_path):
    def trained(folder, *changes, **options):
        changes = [
            "optimization.steps=1",
            "optimization.warmup=0",
            f"data.pairs=[{{folder='{pairs.as_posix()}'}}]",
            *changes,
        ]
        return train(training.load_recipe(tiny, changes), tmp_path / folder, **options).last

    def on(weights):
        return read_metadata(weights)["trained_on"]

    first = trained("a", "data.clean=[]")
    assert on(first) == "pairs"
    begun = ["network={}", f"weights={first.as_posix()}", "data.pairs=[]"]
    assert on(trained("b", *begun)) == "pairs, clean"
    save_checkpoint(load_checkpoint(first), tmp_path / "silent.safetensors", metadata={"task": "denoise"})
    begun[1] = f"weights={(tmp_path / 'silent.safetensors').as_posix()}"
    assert on(trained("c", *begun)) == "unknown, clean"
    assert on(trained("a", "optimization.steps=2", resume=True)) == "pairs, clean"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_is_one_line_and_loses_no_step(tiny, data, tmp_path, workers):
    shutil.copytree(data, root := tmp_path / "data")
    (root / "clean" / "9.png").write_bytes((root / "clean" / "0.png").read_bytes()[:200])
    changes = [f"data.root={root.as_posix()}", f"data.workers={workers}", "optimization.steps=200"]
    changes += ["validation.every=500", "optimization.warmup=0"]
    with pytest.raises(ImageError, match=r"9\.png is truncated or damaged") as raised:
        train(training.load_recipe(tiny, changes), tmp_path / "run")
    assert "\n" not in str(raised.value)
    (root / "clean" / "9.png").unlink()
    done = load(tmp_path / "run" / "last.ckpt")["global_step"]
    changes[2] = f"optimization.steps={done + 1}"
    result = train(training.load_recipe(tiny, changes), tmp_path / "run", resume=True)
    assert read_metadata(result.last)["training_steps"] == str(done + 1)


def test_a_damaged_record_of_the_recipe_is_one_line(finished, tiny):
    for damage in ("{", "3", "[" * 10**5):
        (finished / "recipe.json").write_text(damage)
        with pytest.raises(TrainingError, match=r"recipe\.json is damaged; move it away"):
            changes_since(finished, training.load_recipe(tiny))


def test_changed_entries_are_listed(finished, tiny, monkeypatch):
    assert changes_since(finished, training.load_recipe(tiny)) == []
    changed = training.load_recipe(tiny, ["optimization.steps=9", "data.batch=3"])
    assert changes_since(finished, changed) == ["data.batch: 2 -> 3", "optimization.steps: 8 -> 9"]
    assert changes_since(finished / "nowhere", changed) == []
    monkeypatch.setattr(run, "_devices", lambda: 4)
    assert changes_since(finished, training.load_recipe(tiny)) == ["devices: 1 -> 4"]
    assert json.loads((finished / "recipe.json").read_text())["optimization"]["steps"] == 8


@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGINT, 2), (signal.SIGINT, 4), (signal.SIGTERM, 2), (signal.SIGTERM, 4)]
)
def test_a_signal_stops_between_two_steps_and_the_resumed_run_is_the_uninterrupted_one(
    first_run, tiny, tmp_path, at_step, ctrl_c, monkeypatch, number, step
):
    folder = tmp_path / "run"
    at_step(step, lambda: ctrl_c(number))
    with pytest.raises(KeyboardInterrupt):
        train(training.load_recipe(tiny), folder)
    assert load(folder / "last.ckpt")["global_step"] == step
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.undo()
    train(training.load_recipe(tiny), folder, resume=True)
    for name in ("csv/metrics.csv", "last.safetensors", "best.safetensors"):
        assert (folder / name).read_bytes() == (first_run / name).read_bytes()


def test_ctrl_c_in_the_last_step_lets_the_run_finish(first_run, tiny, tmp_path, at_step, ctrl_c):
    at_step(8, ctrl_c)
    result = train(training.load_recipe(tiny), tmp_path / "run")
    assert result.last.read_bytes() == (first_run / "last.safetensors").read_bytes()


def test_a_second_ctrl_c_stops_at_once_and_keeps_the_last_checkpoint(tiny, tmp_path, at_step, ctrl_c):
    at_step(6, lambda: (ctrl_c(), ctrl_c()))
    with pytest.raises(KeyboardInterrupt):
        train(training.load_recipe(tiny), tmp_path / "run")
    assert load(tmp_path / "run" / "last.ckpt")["global_step"] == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_batch(tiny, tmp_path, monkeypatch):
    def broken(recipe):
        model = MPRNet(recipe.config)
        with torch.no_grad():
            model.tail.weight.fill_(torch.nan)
        return model

    monkeypatch.setattr(run, "_network", broken)
    with pytest.raises(
        TrainingError, match=r"^the loss is nan at step 0 with learning rate 0\.001; the batch and"
    ) as error:
        train(training.load_recipe(tiny), tmp_path / "run")
    path = tmp_path / "run" / "batch-of-step-0.pt"
    assert str(path) in str(error.value)
    kept = load(path)
    assert kept["degraded"].shape == kept["target"].shape == (2, 3, 16, 16)
    assert kept["state_dict"]["tail.weight"].isnan().all()
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_a_rate_that_is_far_too_high_stops_with_its_step_and_rate(tiny, tmp_path):
    with pytest.raises(TrainingError, match=r"is (nan|inf) at step [1-4] with learning rate \de\+30"):
        train(training.load_recipe(tiny, ["optimization.rate=5e30"]), tmp_path / "run")


def test_a_gradient_that_is_not_finite_does_not_reach_the_weights(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "restoration_loss", lambda outputs, *_: (outputs[-1].float().sum() * 0).sqrt())
    with pytest.raises(TrainingError, match=r"^the gradient's norm is nan at step 0"):
        train(training.load_recipe(tiny), tmp_path / "run")
    kept = load(tmp_path / "run" / "batch-of-step-0.pt")
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


@pytest.mark.parametrize("package", ["lightning", "tensorboard"])
def test_without_the_extra_one_line_names_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'^training needs {package}: pip install "mprnet\[train\]"$'):
        training.train  # noqa: B018


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_in_bf16(tiny, tmp_path):
    result = train(training.load_recipe(tiny), tmp_path / "run")
    assert losses(tmp_path / "run")[8] < losses(tmp_path / "run")[1]
    assert result.psnr_db > 10

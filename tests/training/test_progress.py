from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from mprnet.training import progress
from mprnet.training.progress import ShownProgress

MODULE = SimpleNamespace(device=torch.device("cpu"))


@pytest.fixture
def trainer():
    return SimpleNamespace(
        global_step=0,
        is_global_zero=True,
        world_size=1,
        precision="bf16-mixed",
        optimizers=[SimpleNamespace(param_groups=[{"lr": 5e-4}])],
        callback_metrics={"validation/psnr_db": torch.tensor(31.25), "validation/stage1_psnr_db": torch.tensor(29.5)},
    )


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def train_a_step(shown, trainer, loss=0.1):
    trainer.global_step += 1
    shown.on_train_batch_end(trainer, MODULE, {"loss": torch.tensor(loss)}, None, 0)


def test_lines_come_every_so_often_with_loss_rate_speed_and_time_left(trainer, clock):
    text = io.StringIO()
    shown = ShownProgress(120, lambda _: 16, seconds=30, console=Console(file=text, width=200))
    shown.on_train_start(trainer, MODULE)
    for _ in range(20):
        clock.seconds += 3
        train_a_step(shown, trainer, loss=0.25)
    assert text.getvalue().splitlines() == [
        "step 0/120  training on cpu, 16 crops a step, bf16-mixed",
        "step 10/120  loss 0.2500  learning rate 5.00e-04  0.33 steps/s  6 min left",
        "step 20/120  loss 0.2500  learning rate 5.00e-04  0.33 steps/s  5 min left",
    ]


def test_with_several_devices_the_crops_of_a_step_are_those_of_all(trainer, clock):
    text = io.StringIO()
    trainer.world_size, trainer.global_step = 4, 6
    shown = ShownProgress(9, {0: 24, 6: 16}.__getitem__, console=Console(file=text, width=200))
    shown.on_train_start(trainer, MODULE)
    assert text.getvalue() == "step 6/9  training on cpu, 64 crops a step (4 devices × 16), bf16-mixed\n"


def test_a_resumed_run_counts_its_own_steps_for_the_speed(trainer, clock):
    text = io.StringIO()
    trainer.global_step = 1000
    shown = ShownProgress(1120, lambda _: 16, seconds=1, console=Console(file=text, width=200))
    shown.on_train_start(trainer, MODULE)
    clock.seconds += 2
    train_a_step(shown, trainer)
    assert "step 1001/1120" in text.getvalue()
    assert "0.50 steps/s  4 min left" in text.getvalue()


@pytest.mark.parametrize(("seconds_left", "shown_minutes"), [(120, 2), (1e6, 4), (-1, 0)])
def test_the_time_that_is_left_may_be_less_than_the_steps_take(trainer, clock, seconds_left, shown_minutes):
    text = io.StringIO()
    shown = ShownProgress(120, lambda _: 16, lambda: seconds_left, seconds=1, console=Console(file=text, width=200))
    shown.on_train_start(trainer, MODULE)
    clock.seconds += 2
    train_a_step(shown, trainer)
    assert f"  {shown_minutes} min left" in text.getvalue()


def test_a_validation_is_a_line(trainer):
    text = io.StringIO()
    shown = ShownProgress(9, lambda _: 16, console=Console(file=text, width=40, soft_wrap=True))
    trainer.global_step = 4
    shown.on_validation_end(trainer, MODULE)
    assert text.getvalue() == "step 4/9  validation  psnr_db 31.250  stage1_psnr_db 29.500\n"


@pytest.mark.parametrize(("end", "why"), [("on_train_end", ()), ("on_exception", (RuntimeError(),))])
def test_a_terminal_gets_a_bar_that_ends_with_the_run(trainer, clock, end, why):
    text = io.StringIO()
    shown = ShownProgress(10, lambda _: 16, console=Console(file=text, force_terminal=True, width=120))
    shown.on_train_start(trainer, MODULE)
    clock.seconds += 1
    train_a_step(shown, trainer, loss=0.25)
    getattr(shown, end)(trainer, MODULE, *why)
    assert "1/10" in text.getvalue()
    assert "loss 0.2500" in text.getvalue()
    assert text.getvalue().count("\x1b[?25h") == 1  # the cursor is back


def test_other_processes_of_the_run_say_nothing(trainer, clock):
    text = io.StringIO()
    trainer.is_global_zero = False
    shown = ShownProgress(10, lambda _: 16, seconds=0, console=Console(file=text))
    shown.on_train_start(trainer, MODULE)
    clock.seconds += 1
    train_a_step(shown, trainer)
    shown.on_validation_end(trainer, MODULE)
    assert text.getvalue() == ""

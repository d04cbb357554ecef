from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from mprnet.backends import choose_precision, open_backend
from mprnet.backends.eager import TorchBackend
from mprnet.backends.precision import float32_products
from mprnet.checkpoints import load_checkpoint
from mprnet.datasets import pair_folders, read_rgb
from mprnet.errors import ConfigError
from mprnet.imaging import to_tensor
from mprnet.network import TASKS
from mprnet.weights import find_weights

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("task", TASKS)
def test_half_the_bits_change_a_restored_sample_by_less_than_a_twentieth_of_a_decibel(task):
    pair = pair_folders(SAMPLES / task)[0]
    model = load_checkpoint(find_weights(task))
    degraded, target = (to_tensor(read_rgb(path)[:192, :192])[None] for path in (pair.degraded, pair.target))

    def psnr(precision):
        # Processors are slow with fp16, but round as GPUs do.
        restored = TorchBackend(model, precision, CPU).run(degraded, (3,))[0].clamp(0, 1)
        return -10 * torch.log10((restored - target).square().mean()).item()

    exact = psnr("fp32")
    for precision in ("bf16", "fp16"):
        assert psnr(precision) != exact
        assert psnr(precision) == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_any_dtype_are_computed_with_as_asked(make_network, dtype):
    picture = torch.rand(1, 3, 24, 32)
    rounded = make_network().to(dtype)
    expected = open_backend(make_network().to(dtype).float(), name="torch", precision="fp32", device=CPU)
    backend = open_backend(rounded, name="torch", precision="fp32", device=CPU)
    torch.testing.assert_close(backend.run(picture, (3,)), expected.run(picture, (3,)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("quick", [True, False])
def test_auto_takes_bfloat16_where_the_processor_has_instructions_for_it(monkeypatch, quick):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": quick})
    assert choose_precision("auto", CPU) == ("bf16" if quick else "fp32")
    assert choose_precision("auto", GPU) == "fp16"
    assert choose_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize(
    ("precision", "device", "said"),
    [
        ("fp16", CPU, "expected it on a GPU"),
        ("tf32", CPU, "device is 'cpu'; expected fp32"),
        ("int3", CPU, "expected one of auto"),
        ("int8", GPU, "device is 'cuda'"),
    ],
)
def test_what_a_device_cannot_do_is_said_in_one_line(precision, device, said):
    with pytest.raises(ConfigError, match=said):
        choose_precision(precision, device)


def test_short_products_are_for_tf32_alone_and_what_was_set_before_comes_back():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32)
    with float32_products("fp32", GPU):
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (False, False)
    with float32_products("tf32", GPU):
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, True)
    with float32_products("fp32", CPU):
        assert (cudnn.allow_tf32, matmul.allow_tf32) == before
    with float32_products("fp16", GPU):
        assert (cudnn.allow_tf32, matmul.allow_tf32) == before
    with pytest.raises(KeyError), float32_products("tf32", GPU):
        raise KeyError
    assert (cudnn.allow_tf32, matmul.allow_tf32) == before


def test_threads_that_want_other_products_wait_and_the_last_one_puts_back_what_was_set():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32)
    seen, entered, leave = [], threading.Event(), threading.Event()

    def other(precision):
        with float32_products(precision, GPU):
            seen.append((precision, cudnn.allow_tf32, matmul.allow_tf32))
            entered.set()
            leave.wait(20)

    with float32_products("fp32", GPU):
        threads = [threading.Thread(target=other, args=(precision,)) for precision in ("fp32", "tf32")]
        threads[0].start()
        assert entered.wait(20)  # the same is no reason to wait
        threads[1].start()
        threads[1].join(0.2)
        assert seen == [("fp32", False, False)]
    assert (cudnn.allow_tf32, matmul.allow_tf32) == (False, False)  # one still computes so
    leave.set()
    for thread in threads:
        thread.join(20)
    assert seen[1:] == [("tf32", True, True)]
    assert (cudnn.allow_tf32, matmul.allow_tf32) == before

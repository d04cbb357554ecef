from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mprnet.datasets import pair_folders, read_rgb
from mprnet.errors import ConfigError
from mprnet.imaging import to_tensor
from mprnet.network import TASKS, MPRNet, MPRNetConfig
from mprnet.restoration import Restorer
from mprnet.restoration.precision import choose_dtype

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
CPU = torch.device("cpu")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MPRNet(MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1))


def computed_with(restorer, picture):
    """The dtypes that the network's convolutions give."""
    found = set()
    hook = restorer.model.shallow1[0].register_forward_hook(lambda _, __, result: found.add(result.dtype))
    restored = restorer(picture)
    hook.remove()
    return found, restored


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_network_computes_with_what_is_asked_and_gives_the_picture_s_dtype(model, precision, dtype):
    picture = torch.rand(3, 24, 32)
    found, restored = computed_with(Restorer(model, precision=precision), picture)
    assert found == {dtype}
    assert restored.dtype == torch.float32


@pytest.mark.parametrize("task", TASKS)
def test_half_the_bits_change_a_restored_sample_by_less_than_a_hundredth_of_a_decibel(task):
    pair = pair_folders(SAMPLES / task)[0]
    degraded, target = (to_tensor(read_rgb(path)[40:168, 80:272]) for path in (pair.degraded, pair.target))
    exact, quick = (
        -10 * torch.log10((Restorer.from_pretrained(task, precision=precision)(degraded) - target).square().mean())
        for precision in ("fp32", "bf16")
    )
    assert exact != quick
    assert float(quick) == pytest.approx(float(exact), abs=0.01)


def test_weights_of_other_than_32_bits_are_taken_as_they_are(model):
    found, _ = computed_with(Restorer(model.double(), precision="bf16"), torch.rand(3, 24, 32))
    assert found == {torch.float64}


@pytest.mark.parametrize("quick", [True, False])
def test_auto_takes_bfloat16_where_the_processor_has_instructions_for_it(monkeypatch, quick):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": quick})
    assert choose_dtype("auto", CPU) == (torch.bfloat16 if quick else torch.float32)
    assert choose_dtype("auto", torch.device("cuda")) == torch.float32


@pytest.mark.parametrize("precision", ["fp16", "int3"])
def test_what_a_processor_cannot_do_is_said_in_one_line(model, precision):
    with pytest.raises(ConfigError, match=precision):
        Restorer(model, precision=precision)

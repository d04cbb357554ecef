from __future__ import annotations

from pathlib import Path

import pytest

from mprnet.bench import Plan, plan
from mprnet.errors import CheckpointError, ConfigError


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"presets": ("tiny",)}, "preset is 'tiny'; expected one of derain, "),
        ({"backends": ("auto",)}, "backend is 'auto'; expected some of torch, compile, openvino, onnx"),
        ({"backends": ("onnx",), "device": "cuda"}, "backend is 'onnx'; expected some of torch, compile"),
        ({"precisions": ("fp16",)}, "precision is 'fp16'; expected some of fp32, bf16, int8"),
        ({"backends": ("onnx",), "precisions": ("bf16",)}, "backend is onnx, which does not compute in bf16"),
        ({"stages": (0,)}, "stage is 0; expected some of 1, 2, 3"),
        ({"sizes_hw": ((720, 1283),)}, "size is 1283×720; expected multiples of 8 above 0"),
        ({"sizes_hw": ((0, 8),)}, "size is 8×0; expected multiples of 8 above 0"),
        ({"sizes_hw": ()}, "sizes_hw is empty; expected at least one"),
        ({"stages": ()}, "stages is empty; expected at least one"),
        ({"runs": 0}, "runs is 0; expected at least 1"),
        ({"batches": (1, 0)}, "batch is 0; expected at least 1"),
        ({"device": "mps"}, "device is 'mps'; expected cpu, or a GPU such as cuda"),
        ({"device": "toaster"}, "device is 'toaster'; expected cpu, or a GPU such as cuda"),
        ({"pairs": (Path("a"), Path("b"))}, "pairs of pictures are for trained weights, and presets are not trained"),
    ],
)
def test_what_cannot_be_measured_is_refused(wrong, message):
    with pytest.raises(ConfigError) as refused:
        Plan(**wrong)
    assert str(refused.value).startswith(message)


def test_weights_that_do_not_exist_are_refused():
    with pytest.raises(CheckpointError, match="no weights nowhere"):
        Plan(weights="nowhere")


def test_bf16_is_tried_by_itself_where_the_processor_has_instructions_for_it(monkeypatch):
    def torch_precisions(is_quick, **asked):
        monkeypatch.setattr(plan, "has_quick_bf16", lambda: is_quick)
        return [precision for engine, precision in Plan(**asked).engines if engine == "torch"]

    assert torch_precisions(True) == ["fp32", "bf16"]
    assert torch_precisions(False) == ["fp32"]
    assert torch_precisions(False, precisions=("bf16",)) == ["bf16"]


def test_a_processor_with_a_number_is_no_gpu(monkeypatch):
    monkeypatch.setattr(plan, "has_quick_bf16", lambda: False)
    assert Plan(device="cpu:0").engines == Plan(device="cpu").engines


def test_a_gpu_has_other_precisions_and_engines():
    engines = Plan(device="cuda:1", batches=(1, 16)).engines
    assert engines == [(name, each) for name in ("torch", "compile") for each in ("fp32", "tf32", "bf16", "fp16")]

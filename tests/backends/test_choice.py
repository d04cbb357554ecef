from __future__ import annotations

import importlib.metadata
import json

import pytest
import torch

from mprnet.backends import choice, open_backend
from mprnet.backends.choice import NAME, _is_installed, choose
from mprnet.errors import ConfigError, MissingExtraError
from mprnet.network import set_local_pooling

CPU = torch.device("cpu")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MPRNET_CACHE", str(tmp_path))
    return tmp_path


class Workshop:
    """Opens engines that take as long as they are told to, and notes which; all but torch compile in the first run."""

    def __init__(self, monkeypatch, installed=("openvino", "onnx"), compiling=0, **seconds):
        self.opened, self.told = [], []
        self.now, self.seconds, self.compiling = 0.0, seconds, compiling
        monkeypatch.setattr(choice, "_is_installed", lambda engine: engine in installed)
        monkeypatch.setattr(choice.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(choice, "choose_precision", lambda asked, _: "bf16" if asked == "auto" else asked)

    def open(self, name, precision):
        self.opened.append((name, precision))
        if isinstance(self.seconds[name], Exception):
            raise self.seconds[name]
        workshop, pending = self, [self.compiling] if name != "torch" else []

        class Engine:
            def run(self, degraded, stages):
                workshop.now += workshop.seconds[name] + (pending.pop() if pending else 0)

        return Engine()

    def choose(self, network, precision="auto"):
        return choose(network, precision, self.open, self.told.append)


def test_the_fastest_engine_is_chosen_measured_once_and_remembered(monkeypatch, cache, network):
    workshop = Workshop(monkeypatch, torch=2, openvino=1)
    assert workshop.choose(network) == ("openvino", "bf16")
    assert workshop.opened == [("torch", "bf16"), ("openvino", "bf16")]
    assert len(workshop.told) == 1
    assert workshop.choose(network) == ("openvino", "bf16")
    assert len(workshop.opened) == 2
    other = Workshop(monkeypatch, torch=1, openvino=2)
    assert other.choose(network) == ("openvino", "bf16")
    assert not other.opened


def test_torch_may_be_the_fastest(monkeypatch, cache, network):
    assert Workshop(monkeypatch, torch=1, openvino=2).choose(network) == ("torch", "bf16")


def test_the_time_that_an_engine_compiles_does_not_count(monkeypatch, cache, network):
    assert Workshop(monkeypatch, compiling=60, torch=2, openvino=1).choose(network) == ("openvino", "bf16")


def test_an_engine_is_installed_where_all_its_packages_are(monkeypatch):
    def version(package):
        if package not in installed:
            raise importlib.metadata.PackageNotFoundError(package)
        return "1.0"

    installed = {"openvino", "onnxruntime", "onnx"}
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert _is_installed("openvino")
    assert not _is_installed("onnx")
    installed = {"onnxruntime", "onnx", "onnxscript"}
    assert not _is_installed("openvino")
    assert _is_installed("onnx")


def test_another_network_precision_or_number_of_threads_is_measured_anew(monkeypatch, cache, make_network):
    workshop = Workshop(monkeypatch, torch=2, openvino=1)
    workshop.choose(make_network())
    workshop.choose(make_network(num_cab=2))
    workshop.choose(make_network(), "fp32")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    workshop.choose(make_network())
    assert len(workshop.opened) == 8
    assert len(json.loads((cache / NAME).read_text())) == 4


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"a": 1}'])
def test_a_damaged_file_is_measured_again(monkeypatch, cache, network, content):
    (cache / NAME).write_bytes(content)
    workshop = Workshop(monkeypatch, torch=2, openvino=1)
    assert workshop.choose(network) == workshop.choose(network) == ("openvino", "bf16")
    assert len(workshop.opened) == 2


def test_what_was_remembered_counts_only_if_it_is_a_candidate(monkeypatch, cache, network):
    workshop = Workshop(monkeypatch, torch=2, openvino=1)
    workshop.choose(network)
    choices = json.loads((cache / NAME).read_text())
    (cache / NAME).write_text(json.dumps({key: ["openvino", "int8"] for key in choices}))
    assert workshop.choose(network) == ("openvino", "bf16")
    assert len(workshop.opened) == 4


def test_torch_is_taken_at_once_where_nothing_else_is_installed_or_windows_are_local(monkeypatch, cache, network):
    alone = Workshop(monkeypatch, installed=())
    assert alone.choose(network) == ("torch", "bf16")
    set_local_pooling(network, 64)
    local = Workshop(monkeypatch)
    assert local.choose(network) == ("torch", "bf16")
    assert not alone.opened
    assert not local.opened
    assert not (cache / NAME).exists()


def test_onnx_runtime_is_tried_where_openvino_is_missing_and_32_bits_are_allowed(monkeypatch, cache, network):
    workshop = Workshop(monkeypatch, installed=("onnx",), torch=2, onnx=1)
    assert workshop.choose(network) == ("onnx", "fp32")
    assert workshop.choose(network, "bf16") == ("torch", "bf16")


class ForeignError(Exception):
    """Like those of OpenVINO and ONNX Runtime, which have no base but this one."""


@pytest.mark.parametrize(
    "failure",
    [
        *(RuntimeError("cannot\nread it"), MissingExtraError("gone"), OSError("full")),
        *(
            ForeignError("unknown"),
            ImportError("moved"),
            AttributeError("renamed"),
            TypeError("called otherwise"),
        ),
    ],
)
def test_an_engine_that_does_not_work_is_passed_over(monkeypatch, cache, network, failure):
    workshop = Workshop(monkeypatch, torch=2, openvino=failure)
    assert workshop.choose(network) == ("torch", "bf16")
    assert workshop.told[1] == f"openvino does not work here: {str(failure).splitlines()[-1]}"


@pytest.mark.parametrize(
    ("failure", "remembered"),
    [
        *((OSError("full"), False), (RuntimeError("memory"), False), (ForeignError("unknown"), False)),
        *((MissingExtraError("x"), True), (ImportError("moved"), True), (TypeError("called otherwise"), True)),
    ],
)
def test_a_failure_that_may_pass_is_not_remembered(monkeypatch, cache, network, failure, remembered):
    Workshop(monkeypatch, torch=2, openvino=failure).choose(network)
    assert (cache / NAME).exists() == remembered
    mended = Workshop(monkeypatch, torch=2, openvino=1)
    assert mended.choose(network) == (("torch", "bf16") if remembered else ("openvino", "bf16"))


def test_where_no_engine_works_it_is_torch_whose_error_shows(monkeypatch, cache, network):
    failure = RuntimeError("no memory")
    assert Workshop(monkeypatch, torch=failure, openvino=failure).choose(network) == ("torch", "bf16")
    assert not (cache / NAME).exists()


def test_a_cache_that_cannot_be_written_is_said_once(monkeypatch, tmp_path, network):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MPRNET_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("mprnet.backends.cache._told", set())
    workshop = Workshop(monkeypatch, torch=2, openvino=1)
    for threads in (71, 72):  # each is measured
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        workshop.choose(network)
    assert len(workshop.opened) == 4
    assert sum("MPRNET_CACHE" in line for line in workshop.told) == 1


def test_a_cache_that_cannot_be_written_is_no_failure(monkeypatch, cache, network):
    (cache / NAME).mkdir()
    assert Workshop(monkeypatch, torch=2, openvino=1).choose(network) == ("openvino", "bf16")


def test_auto_asks_and_opens_what_is_chosen(monkeypatch, network):
    asked = []
    monkeypatch.setattr(choice, "choose", lambda model, precision, *_: asked.append(precision) or ("torch", "bf16"))
    backend = open_backend(network, device=CPU)
    assert (backend.name, backend.precision, asked) == ("torch", "bf16", ["auto"])


def test_auto_is_torch_on_a_gpu_without_measuring(monkeypatch, network):
    monkeypatch.setattr(choice, "choose", lambda *_: pytest.fail("it was measured"))
    device = torch.device("meta")  # which stands for a GPU
    backend = open_backend(network, device=device)
    assert (backend.name, backend.precision, backend.device) == ("torch", "fp32", device)


def test_what_does_not_go_together_is_one_clear_line(network):
    with pytest.raises(ConfigError, match="backend is 'tensorflow'; expected one of auto, torch"):
        open_backend(network, name="tensorflow", device=CPU)
    with pytest.raises(ConfigError, match="'int8', which OpenVINO computes with; got backend 'torch'"):
        open_backend(network, name="torch", precision="int8", device=CPU)
    for name in ("openvino", "onnx"):
        with pytest.raises(ConfigError, match=f"'{name}', which computes on the processor; got device 'cuda'"):
            open_backend(network, name=name, precision="fp32", device=torch.device("cuda"))

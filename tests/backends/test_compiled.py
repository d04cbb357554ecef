from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch.torch_version import TorchVersion

from mprnet.backends import compiled, open_backend
from mprnet.backends.cache import LARGEST_BYTES
from mprnet.backends.compiled import CompiledBackend, prepare_compiler
from mprnet.backends.eager import TorchBackend
from mprnet.errors import ConfigError
from mprnet.network import set_local_pooling

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that it is removed again afterwards
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("MPRNET_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """What the compiler is asked for. It traces, in one piece, but writes no code, which takes minutes."""
    asked, traced = [], torch.compile

    def trace(network, **options):
        asked.append(options)
        return traced(network, backend="eager", fullgraph=True, dynamic=options["dynamic"])

    monkeypatch.setattr(torch, "compile", trace)
    return asked


def test_the_traced_network_gives_the_pictures_of_the_network(network, asked):
    backend = CompiledBackend(network, "fp32", CPU)
    degraded = torch.rand(1, 3, 24, 40)
    with torch.no_grad():
        expected = network(degraded)
    (picture,) = backend.run(degraded, (1,))
    torch.testing.assert_close(picture, expected.stage1, rtol=0, atol=1e-5)
    assert asked == [{"dynamic": None}]


def test_it_is_opened_by_its_name_and_says_where_nothing_is_kept(network, asked, cache, monkeypatch):
    told = []
    backend = open_backend(network, name="compile", precision="bf16", device=CPU, notice=told.append)
    assert isinstance(backend, CompiledBackend)
    assert (backend.name, backend.precision, backend.device, told) == ("compile", "bf16", CPU, [])
    (cache / "file").touch()
    monkeypatch.setenv("MPRNET_CACHE", str(cache / "file" / "cache"))
    monkeypatch.setattr("mprnet.backends.cache._told", set())
    open_backend(network, name="compile", precision="bf16", device=CPU, notice=told.append)
    assert len(told) == 1
    assert "MPRNET_CACHE names another folder" in told[0]


def test_a_picture_stays_as_it_is_when_the_next_one_is_computed(network, asked):
    backend, buffer = CompiledBackend(network, "fp32", CPU), torch.empty(1, 3, 8, 8)
    backend._network = lambda degraded, stages: tuple(buffer.copy_(degraded) for _ in stages)  # as CUDA graphs do
    degraded = torch.rand(1, 3, 8, 8)
    (picture,) = backend.run(degraded, (3,))
    backend.run(1 - degraded, (3,))
    assert torch.equal(picture, degraded)


def test_the_network_is_traced_in_one_piece_whatever_it_averages_over(network, asked):
    set_local_pooling(network, 16)
    backend = CompiledBackend(network, "bf16", CPU)
    reference = TorchBackend(network, "bf16", CPU)
    degraded = torch.rand(2, 3, 32, 40)
    found, expected = (engine.run(degraded, (2, 3)) for engine in (backend, reference))
    assert asked == [{"dynamic": False}]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_compiled_code_is_kept_in_our_cache_unless_torch_was_told_another(network, asked, cache, monkeypatch):
    CompiledBackend(network, "fp32", CPU)
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == cache / "inductor"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache / "elsewhere"))
    CompiledBackend(network, "fp32", CPU)
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == cache / "elsewhere"


@pytest.mark.parametrize(
    ("named", "system", "wanted"),
    [
        (None, "linux", "g++"),
        ("", "linux", "g++"),
        ("my-cc", "linux", "my-cc"),
        (None, "darwin", "clang++"),
        (None, "win32", "cl"),
    ],
)
def test_a_compiler_that_torch_would_miss_is_named_in_one_line(monkeypatch, named, system, wanted):
    monkeypatch.delenv("CXX", raising=False)
    if named is not None:
        monkeypatch.setenv("CXX", named)
    monkeypatch.setattr("mprnet.backends.compiled.sys.platform", system)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == wanted else f"/usr/bin/{name}")
    with pytest.raises(ConfigError, match=re.escape(f"C++ compiler {wanted}, and it is not there")) as refused:
        prepare_compiler(CPU, "this", "that")
    assert "\n" not in str(refused.value)
    prepare_compiler(torch.device("mps"), "this", "that")


@pytest.mark.parametrize(
    ("named", "system", "there", "missing"),
    [
        (None, "linux", {"triton"}, "which needs the C compiler gcc or clang, and it is not there"),
        ("my-cc", "linux", {"triton", "gcc"}, "which needs the C compiler my-cc, and it is not there"),
        (None, "linux", {"gcc"}, "which needs Triton, and it is not installed; expected it, or that"),
        (None, "linux", {"triton", "clang"}, None),
        ("my-cc", "linux", {"triton", "my-cc"}, None),
        (None, "win32", {"triton"}, None),
    ],
)
def test_what_a_gpu_s_code_is_compiled_with_is_looked_for_too(monkeypatch, named, system, there, missing):
    monkeypatch.delenv("CC", raising=False)
    if named is not None:
        monkeypatch.setenv("CC", named)
    monkeypatch.setattr("mprnet.backends.compiled.sys.platform", system)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in there else None)
    refused = pytest.raises(ConfigError, match=missing) if missing else contextlib.nullcontext()
    with refused:
        prepare_compiler(torch.device("cuda"), "this", "that")


@pytest.mark.parametrize(("version", "mode"), [("2.10.0+cu128", None), ("2.13.0+cu130", "reduce-overhead")])
def test_cuda_graphs_are_recorded_where_every_thread_finds_them(network, monkeypatch, version, mode):
    asked = []

    class Folded:
        def to(self, *_):
            return self

        def requires_grad_(self, _):
            return self

    monkeypatch.setattr(compiled, "prepare_compiler", lambda *_: None)
    monkeypatch.setattr(compiled, "fold", lambda _: Folded())
    monkeypatch.setattr(torch, "compile", lambda _, **options: asked.append(options))
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    CompiledBackend(network, "fp16", torch.device("cuda"))
    assert asked == [{"mode": mode, "dynamic": False}]


def test_our_compiled_code_is_kept_small_and_that_of_others_left_alone(monkeypatch, tmp_path):
    pruned = []
    monkeypatch.setattr("mprnet.backends.compiled.prune_compiled", pruned.append)
    prepare_compiler(CPU, "this", "that")
    prepare_compiler(CPU, "this", "that")
    assert pruned == [LARGEST_BYTES] * 2
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "elsewhere"))
    prepare_compiler(CPU, "this", "that")
    assert len(pruned) == 2


def test_folding_needs_nothing_of_the_device(network, asked):
    CompiledBackend(network, "fp32", torch.device("meta"))  # which holds no numbers, as others hold none of 64 bits


def test_memory_is_estimated_by_precision(network, asked):
    full, half = (CompiledBackend(network, precision, CPU).bytes_per_pixel(3) for precision in ("fp32", "bf16"))
    assert full == 2 * half


def test_torch_keeps_a_form_for_many_sizes_and_stages_and_takes_the_weights_for_constants(network, asked):
    def chosen():
        return torch._dynamo.config.recompile_limit, torch._inductor.config.freezing

    def compute(degraded, stages):
        seen.append(chosen())
        return tuple(degraded for _ in stages)

    backend, seen, before = CompiledBackend(network, "fp32", CPU), [], chosen()
    backend._network = compute
    backend.run(torch.rand(1, 3, 8, 8), (1,))
    assert seen == [(64, True)]
    assert chosen() == before != seen[0]

from __future__ import annotations

import shutil
import sys

import pytest
import torch

from mprnet.backends import open_backend
from mprnet.backends.cache import cache_dir
from mprnet.backends.onnx import OnnxBackend
from mprnet.errors import ConfigError, MissingExtraError
from mprnet.network import set_local_pooling

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason='this engine needs packages: pip install "mprnet[onnx]"')

CPU = torch.device("cpu")


def open_it(model, **options):
    return open_backend(model, name="onnx", device=CPU, **options)


def test_every_stage_and_size_is_what_torch_gives_and_a_damaged_file_is_made_again(network):
    told = []
    shutil.rmtree(cache_dir() / "networks", ignore_errors=True)  # of other tests
    backend, reference = open_it(network, notice=told.append), open_backend(network, name="torch", device=CPU)
    assert (backend.name, backend.precision) == ("onnx", "fp32")
    reference = open_backend(network, name="torch", precision="fp32", device=CPU)
    for shape in ((1, 3, 8, 8), (2, 3, 40, 24)):
        degraded = torch.rand(shape)
        found = backend.run(degraded, (1, 2, 3))
        torch.testing.assert_close(found, reference.run(degraded, (1, 2, 3)), rtol=0, atol=1e-5)
    assert told == ["converting the network for ONNX Runtime, once"]
    path = next((cache_dir() / "networks").glob("onnx-*/network.onnx"))
    path.write_bytes(path.read_bytes()[:5000])
    again = open_it(network, notice=told.append).run(degraded, (1, 2, 3))
    torch.testing.assert_close(again, found)
    assert len(told) == 2
    with pytest.raises(RuntimeError, match="dimension"):
        backend.run(torch.rand(1, 4, 16, 16), (1, 2, 3))


def test_local_windows_are_exported_for_each_size(network):
    set_local_pooling(network, 32)
    backend, reference = open_it(network), open_backend(network, name="torch", precision="fp32", device=CPU)
    for shape in ((2, 3, 64, 72), (1, 3, 72, 64), (2, 3, 64, 72)):
        degraded = torch.rand(shape)
        found = backend.run(degraded, (1,))
        torch.testing.assert_close(found, reference.run(degraded, (1,)), rtol=0, atol=1e-5)


def test_other_precisions_are_refused(network):
    with pytest.raises(ConfigError, match="precision is 'bf16'; expected fp32"):
        open_it(network, precision="bf16")


@pytest.mark.parametrize("missing", ["onnxruntime", "onnx", "onnxscript"])
def test_without_a_package_the_command_that_brings_it_is_named(network, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r'pip install "mprnet\[onnx\]"'):
        OnnxBackend(network, "fp32")


def test_the_engine_keeps_the_network_that_it_was_opened_with(network):
    degraded = torch.rand(1, 3, 16, 24)
    expected = open_backend(network, name="torch", precision="fp32", device=CPU).run(degraded, (1,))
    backend = open_it(network)
    set_local_pooling(network, 16)
    with torch.no_grad():
        network.sam12.to_residual.weight.zero_()
    torch.testing.assert_close(backend.run(degraded, (1,)), expected, rtol=0, atol=1e-5)


def test_a_file_that_a_cleaner_took_from_the_cache_is_made_again(network):
    degraded = torch.rand(1, 3, 16, 24)
    expected = open_it(network).run(degraded, (1,))
    for path in (cache_dir() / "networks").glob("onnx-*/network.onnx"):
        path.unlink()
    torch.testing.assert_close(open_it(network).run(degraded, (1,)), expected)


def test_later_stages_need_more_memory(network):
    backend = open_it(network)
    assert backend.bytes_per_pixel(1) < backend.bytes_per_pixel(2) < backend.bytes_per_pixel(3)

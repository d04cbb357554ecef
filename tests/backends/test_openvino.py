from __future__ import annotations

import shutil
import subprocess
import sys
import threading

import pytest
import torch

from mprnet.backends import fingerprint, open_backend
from mprnet.backends.cache import cache_dir
from mprnet.backends.openvino import FINGERPRINT, OpenVINOBackend
from mprnet.backends.precision import has_quick_bf16
from mprnet.errors import ConfigError, MissingExtraError
from mprnet.network import set_local_pooling

openvino = pytest.importorskip("openvino", reason='this engine needs OpenVINO: pip install "mprnet[openvino]"')

CPU = torch.device("cpu")


@pytest.fixture
def open_it(network):
    def open_it(precision="fp32", model=network, **options):
        return open_backend(model, name="openvino", precision=precision, device=CPU, **options)

    return open_it


@pytest.fixture
def quantized(network, open_it, tmp_path):
    """What stands for a quantized network: it is not, but says what it was made of."""
    converted = open_it()._network

    def make(made_of=None, outputs=3):
        cut = openvino.Model(converted.outputs[:outputs], converted.get_parameters(), "mprnet")
        cut.set_rt_info(made_of or fingerprint(network), list(FINGERPRINT))
        openvino.save_model(cut, tmp_path / "network.int8.xml", compress_to_fp16=False)
        return tmp_path / "network.int8.xml"

    return make


@pytest.mark.parametrize("stages", [(1,), (2,), (3,), (1, 2, 3)])
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 40, 24)])
def test_every_stage_and_size_is_what_torch_gives(network, open_it, stages, shape):
    degraded = torch.rand(shape)
    expected = open_backend(network, name="torch", precision="fp32", device=CPU).run(degraded, stages)
    torch.testing.assert_close(open_it().run(degraded, stages), expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(not has_quick_bf16(), reason="elsewhere OpenVINO computes in 32 bits: needs instructions for bf16")
def test_in_16_bits_residuals_are_rounded_and_not_the_picture(open_it):
    degraded = torch.rand(1, 3, 32, 32)
    exact, quick = (open_it(precision).run(degraded, (3,))[0] for precision in ("fp32", "bf16"))
    assert 0 < (exact - quick).abs().max() < 0.05
    assert (quick == quick.bfloat16()).float().mean() < 0.1


def test_a_network_is_converted_once_and_a_damaged_file_again(open_it):
    told = []
    for path in (cache_dir() / "networks").glob("openvino-*"):
        shutil.rmtree(path)
    first = open_it(notice=told.append)
    assert told == ["converting the network for OpenVINO, once"]
    open_it("bf16", notice=told.append)
    assert len(told) == 1
    path = next((cache_dir() / "networks").glob("openvino-*/network.xml"))
    path.write_text(path.read_text()[:2000])
    degraded = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(open_it(notice=told.append).run(degraded, (3,)), first.run(degraded, (3,)))
    assert len(told) == 2


def test_the_picture_is_the_caller_s_own(open_it):
    backend, degraded = open_it(), torch.rand(1, 3, 16, 16)
    first = backend.run(degraded, (3,))[0]
    before = first.clone()
    backend.run(torch.rand(1, 3, 16, 16), (3,))
    assert torch.equal(first, before)


def test_no_more_than_two_sizes_are_held(open_it):
    backend = open_it()
    for side in (16, 24, 32, 16):
        backend.run(torch.rand(1, 3, side, 16), (1,))
    assert [shape[2] for shape, _ in backend._compiled] == [32, 16]


def test_one_large_size_is_held_alone(open_it, monkeypatch):
    monkeypatch.setattr("mprnet.backends.openvino._HELD_PX", 1000)
    backend = open_it()
    for side in (16, 24, 64):
        backend.run(torch.rand(1, 3, side, 16), (1,))
    assert [shape[2] for shape, _ in backend._compiled] == [64]


def test_after_a_failure_no_size_is_held(open_it):
    backend = open_it()
    backend.run(torch.rand(1, 3, 16, 16), (1,))
    with pytest.raises(RuntimeError):
        backend.run(torch.rand(1, 4, 16, 16), (1,))
    assert not backend._compiled


def test_threads_take_turns(open_it):
    backend, degraded = open_it(), torch.rand(4, 1, 3, 16, 16)
    expected = [backend.run(picture, (3,))[0] for picture in degraded]
    found = [torch.empty(0)] * 4

    def work(number):
        found[number] = backend.run(degraded[number], (3,))[0]

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_ctrl_c_is_still_heard_after_engines_have_come_and_gone():
    program = """
import signal, torch
from mprnet.backends import open_backend
from mprnet.network import MPRNet, MPRNetConfig
network = MPRNet(MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1))
open_it = lambda: open_backend(network, name="openvino", precision="fp32", device=torch.device("cpu"))
first, second = open_it(), open_it()
for engine in (first, second):
    engine.run(torch.zeros(1, 3, 8, 8), (1,))
del engine, first
del second
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("heard")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_local_windows_are_converted_for_each_size(network, open_it):
    set_local_pooling(network, 32)
    backend, reference = open_it(), open_backend(network, name="torch", precision="fp32", device=CPU)
    for shape in ((2, 3, 64, 72), (1, 3, 72, 64), (2, 3, 64, 72)):
        degraded = torch.rand(shape)
        found = backend.run(degraded, (2, 3))
        torch.testing.assert_close(found, reference.run(degraded, (2, 3)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("crop_px", [None, 32])
def test_the_engine_keeps_the_network_that_it_was_opened_with(network, open_it, crop_px):
    set_local_pooling(network, crop_px)
    degraded = torch.rand(1, 3, 64, 72)
    expected = open_backend(network, name="torch", precision="fp32", device=CPU).run(degraded, (1,))
    backend = open_it()
    set_local_pooling(network, 16)
    with torch.no_grad():
        network.sam12.to_residual.weight.zero_()
    torch.testing.assert_close(backend.run(degraded, (1,)), expected, rtol=0, atol=1e-5)


def test_a_quantized_network_is_read_from_its_file(network, open_it, quantized):
    degraded = torch.rand(1, 3, 16, 24)
    backend = open_it("int8", int8=quantized())
    assert (backend.name, backend.precision) == ("openvino", "int8")
    rest = open_it("bf16" if has_quick_bf16() else "fp32")  # what is not quantized
    torch.testing.assert_close(backend.run(degraded, (2,)), rest.run(degraded, (2,)), rtol=0, atol=1e-4)
    auto = open_backend(network, precision="int8", device=CPU, int8=quantized())
    assert (auto.name, auto.precision) == ("openvino", "int8")


def test_a_quantized_network_that_does_not_fit_is_one_clear_line(network, open_it, quantized, tmp_path):
    command = "mprnet export --weights WEIGHTS --format openvino --precision int8 --stage all --calibrate"
    with pytest.raises(ConfigError, match=f"no quantized network beside the weights; make it with `{command}"):
        open_it("int8")
    with pytest.raises(ConfigError, match=r"no quantized network .*there\.int8\.xml"):
        open_it("int8", int8=tmp_path / "there.int8.xml")
    with pytest.raises(ConfigError, match="of other weights"):
        open_it("int8", int8=quantized(made_of="others"))
    with pytest.raises(ConfigError, match="has 1 of 3 outputs; expected the picture of every stage"):
        open_it("int8", int8=quantized(outputs=1))
    (tmp_path / "broken.xml").write_text("<net")
    with pytest.raises(ConfigError, match=r"broken\.xml cannot be read"):
        open_it("int8", int8=tmp_path / "broken.xml")
    set_local_pooling(network, 32)
    with pytest.raises(ConfigError, match="expected local=False"):
        open_it("int8", int8=quantized())


def test_other_precisions_are_refused(network):
    with pytest.raises(ConfigError, match="precision is 'fp16'; expected fp32, bf16, int8"):
        OpenVINOBackend(network, "fp16")


def test_without_the_package_the_command_that_brings_it_is_named(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r'pip install "mprnet\[openvino\]"'):
        OpenVINOBackend(network, "fp32")


def test_later_stages_and_more_bits_need_more_memory(open_it):
    exact, quick = open_it(), open_it("bf16")
    assert exact.bytes_per_pixel(1) < exact.bytes_per_pixel(3)
    assert quick.bytes_per_pixel(3) < exact.bytes_per_pixel(3)

"""Everything that restores, with each engine that is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image

from mprnet.backends import open_backend
from mprnet.checkpoints import save_checkpoint
from mprnet.errors import ConfigError, ImageError
from mprnet.imaging.padding import crop, pad_to_multiple
from mprnet.restoration import PictureOptions, Restorer, restore_files
from mprnet.restoration.journal import settings_of

ENGINES = {"torch": (), "openvino": ("openvino",), "onnx": ("onnx", "onnxruntime", "onnxscript")}


@pytest.fixture(params=ENGINES)
def engine(request):
    for package in ENGINES[request.param]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'this engine needs {package}: pip install "mprnet[{request.param}]"')
    return request.param


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "torch"], indirect=True)
def test_tiles_stages_ensemble_batches_and_files_are_the_same_with_every_other_engine(make_network, engine, tmp_path):
    options = {"tile_px": 32, "overlap_px": 8, "max_whole_px": 0, "ensemble": True, "local": False}
    ours, reference = (Restorer(make_network(), backend=name, **options) for name in (engine, "torch"))
    assert ours.backend.name == engine
    degraded = torch.rand(2, 3, 45, 51)
    torch.testing.assert_close(tuple(ours.stages(degraded)), tuple(reference.stages(degraded)), rtol=0, atol=1e-5)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "a.png")
    pictures = []
    for restorer in (ours, reference):
        folder = tmp_path / f"{len(pictures)}"
        report = restore_files([restorer], [tmp_path / "a.png"], folder, options=PictureOptions(stage=1))
        assert len(report.restored) == 1
        pictures.append(np.asarray(Image.open(next(folder.glob("*.png"))), dtype=int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_a_network_of_table_6_restores_with_each_engine(make_network, engine):
    model = make_network(combination="unet+orsnet", sam=False, csff=False)
    restorer, degraded = Restorer(model, backend=engine, local=False), torch.rand(3, 21, 13)
    with torch.inference_mode():
        expected = restorer.model(pad_to_multiple(degraded[None], 8))
    first, *later = restorer.stages(degraded)
    assert first is None
    for ours, theirs in zip(later, expected.computed, strict=True):
        torch.testing.assert_close(ours, crop(theirs, (21, 13))[0].clamp(0, 1), rtol=0, atol=1e-5)
    torch.testing.assert_close(restorer(degraded), later[1])
    torch.testing.assert_close(restorer(degraded, stage=2), later[0])
    with pytest.raises(ConfigError, match=r"stage is 1, which this network \(unet\+orsnet\) does not have"):
        restorer(degraded, stage=1)
    assert restorer.choose_stage((21, 13), 1000) == 3
    assert restorer.choose_stage((21, 13), 0) == 2


def test_an_engine_s_lack_of_memory_halves_the_tiles(make_network):
    pytest.importorskip("openvino", reason='this engine needs OpenVINO: pip install "mprnet[openvino]"')
    restorer = Restorer(make_network(), backend="openvino", local=False, max_whole_px=0, tile_px=512)
    run, sizes = restorer.backend.run, []

    def short_of_memory(degraded, stages):
        sizes.append(degraded.shape[-1])
        if sizes[-1] > 256:
            raise RuntimeError("Exception from src/inference/src/cpp/core.cpp:104:\nstd::bad_alloc\n")
        return run(degraded, stages)

    restorer.backend.run = short_of_memory
    assert restorer(torch.rand(3, 300, 300), stage=1).shape == (3, 300, 300)
    assert sizes[0] == 304
    assert max(sizes[1:]) <= 256


def test_the_engine_and_its_precision_are_among_the_settings_of_a_log(make_network):
    def digest(**options):
        return settings_of([Restorer(make_network(), local=False, **options)], PictureOptions())["digest"]

    assert digest() == digest()
    assert digest() != digest(precision="bf16")
    engine = Restorer(make_network(), local=False)
    engine.backend.name = "another"
    assert settings_of([engine], PictureOptions())["digest"] != digest()


def test_a_quantized_network_is_looked_for_beside_the_weights(make_network, tmp_path):
    pytest.importorskip("openvino", reason='this engine needs OpenVINO: pip install "mprnet[openvino]"')
    save_checkpoint(make_network(), tmp_path / "rainy.safetensors")
    with pytest.raises(ConfigError, match=r"no quantized network .*rainy\.int8\.xml"):
        Restorer.from_pretrained(tmp_path / "rainy.safetensors", device="cpu", precision="int8")


def test_what_is_slow_is_told_before_it_begins(make_network, monkeypatch):
    def choose(model, precision, open_engine, notice):
        notice("measuring")
        return "torch", "fp32"

    monkeypatch.setattr("mprnet.backends.choice.choose", choose)
    told = []
    restorer = Restorer(make_network(), backend="auto", precision="auto", notice=told.append)
    assert (restorer.backend.name, restorer.backend.precision, told) == ("torch", "fp32", ["measuring"])


def test_the_smallest_tile_that_fails_says_how_much_it_needs(make_network):
    restorer = Restorer(make_network())
    needed = restorer.backend.bytes_per_pixel(3) * 16 * 16

    def fail(degraded, stages):
        raise RuntimeError("std::bad_alloc")

    restorer.backend.run = fail
    with pytest.raises(ImageError, match=f"about {needed / 1e6:.0f} MB"):
        restorer(torch.rand(3, 16, 16))


def test_backends_of_a_restorer_are_those_of_open_backend(make_network):
    model = make_network()
    restorer = Restorer(model, local=False)
    direct = open_backend(model, name="torch", precision="fp32", device=torch.device("cpu"))
    degraded = torch.rand(1, 3, 24, 16) / 2 + 0.25
    torch.testing.assert_close(restorer(degraded), direct.run(degraded, (3,))[0].clamp(0, 1), rtol=0, atol=1e-6)

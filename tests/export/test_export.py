"""Exports are compared with the network here too, by the engines of other people that read the files."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mprnet.backends import fingerprint, open_backend
from mprnet.backends.graph import exported
from mprnet.backends.openvino import core
from mprnet.errors import ConfigError, ExportError, MissingExtraError
from mprnet.export import BOUNDS, FORMATS, export_model, formats, open_exported, read_about, run
from mprnet.export.parity import SHAPES, Comparison, compare
from mprnet.imaging.padding import crop, pad_to_multiple
from mprnet.network import MPRNet, MPRNetConfig, build, set_local_pooling

NEEDED = {"onnx": "onnxruntime", "openvino": "openvino"}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MPRNet(MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1))


@torch.no_grad()
def restored(network, degraded, stage):
    return crop(network(pad_to_multiple(degraded, 8))[stage - 1], degraded.shape[2:])


@pytest.fixture(params=["onnx", "openvino", "torchexport"])
def name(request):
    if request.param in NEEDED:
        pytest.importorskip(NEEDED[request.param], reason=f'this format needs pip install "mprnet[{request.param}]"')
    return request.param


def test_a_file_gives_the_pictures_of_torch_at_any_size_and_says_what_it_is(network, name, tmp_path):
    path = tmp_path / f"network{FORMATS[name].suffix}"
    comparisons = export_model(network, path, format=name, stage=2, metadata={"task": "derain"})
    assert len(comparisons) == 3
    assert all(comparison.largest <= 1e-4 for comparison in comparisons)
    restore = open_exported(path)
    for shape in ((1, 3, 5, 41), (3, 3, 24, 16), (1, 3, 1, 1)):
        degraded = torch.rand(shape)
        (picture,) = restore(degraded)
        torch.testing.assert_close(picture, restored(network, degraded, 2), rtol=0, atol=1e-4)
    about = read_about(path)
    assert about["task"] == "derain"
    assert about["stages"] == "2"
    assert about["precision"] == "fp32"
    assert about["fingerprint"] == fingerprint(network)
    assert {"version", "range", "layout"} <= about.keys()
    assert about["sizes"].startswith("sides up to 32768; " if name == "torchexport" else "any; ")


def test_a_network_of_table_6_is_exported_with_the_stages_it_has(name, tmp_path):
    torch.manual_seed(0)
    config = MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1, combination="unet+unet")
    network, path = build(config), tmp_path / f"network{FORMATS[name].suffix}"
    export_model(network, path, format=name, stage="all")
    degraded = torch.rand(1, 3, 21, 13)
    pictures = open_exported(path)(degraded)
    for picture, stage in zip(pictures, (2, 3), strict=True):
        torch.testing.assert_close(picture, restored(network, degraded, stage), rtol=0, atol=1e-4)
    if name == "openvino":
        pytest.importorskip("nncf", reason='quantization needs pip install "mprnet[int8]"')
        quantized = tmp_path / "network.int8.xml"
        crops = [torch.rand(1, 3, 32, 32) for _ in range(2)]
        export_model(network, quantized, format=name, stage="all", precision="int8", crops=crops)
        engine = open_backend(network, name=name, precision="int8", device=torch.device("cpu"), int8=quantized)
        for picture, stage in zip(engine.run(torch.zeros(1, 3, 32, 32), (2, 3)), (2, 3), strict=True):
            assert picture.shape == (1, 3, 32, 32), stage
    with pytest.raises(ConfigError, match="stage is 1, which this network"):
        export_model(network, tmp_path / f"other{path.suffix}", format=name, stage=1)


def test_openvino_pads_right_where_its_user_fixes_the_size(network, tmp_path):
    pytest.importorskip("openvino", reason='this format needs pip install "mprnet[openvino]"')
    path = tmp_path / "network.xml"
    export_model(network, path, format="openvino", stage=1)
    fixed = core().read_model(path)
    fixed.reshape([1, 3, 19, 33])  # which makes numbers of what is computed of sizes
    compiled = core().compile_model(fixed, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    degraded = torch.rand(1, 3, 19, 33)
    picture = torch.from_numpy(compiled(degraded.numpy())[0])
    torch.testing.assert_close(picture, restored(network, degraded, 1), rtol=0, atol=1e-4)


def test_all_stages_have_names_of_their_own(network, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason='this format needs pip install "mprnet[onnx]"')
    path = tmp_path / "network.onnx"
    export_model(network, path, format="onnx", stage="all")
    session = runtime.InferenceSession(path)
    assert [entry.name for entry in session.get_inputs()] == ["degraded"]
    assert [entry.name for entry in session.get_outputs()] == ["stage1", "stage2", "stage3"]
    degraded = torch.rand(1, 3, 19, 33)
    for stage, picture in enumerate(open_exported(path)(degraded), start=1):
        torch.testing.assert_close(picture, restored(network, degraded, stage), rtol=0, atol=1e-4)


def weights_in(path):
    """What an exported file holds for weights, as arrays."""
    if path.suffix == ".onnx":
        import onnx

        return [onnx.numpy_helper.to_array(weight) for weight in onnx.load(path).graph.initializer]
    if path.suffix == ".xml":
        return [op.data for op in core().read_model(path).get_ops() if op.get_type_name() == "Constant"]
    return [weight.detach().numpy() for weight in torch.export.load(path).state_dict.values()]


def test_half_the_bits_are_half_the_weights_and_nearly_the_same_pictures(network, name, tmp_path):
    path = tmp_path / f"network{FORMATS[name].suffix}"
    comparisons = export_model(network, path, format=name, stage=1, precision="fp16")
    assert all(1e-6 < comparison.largest <= BOUNDS["fp16"] for comparison in comparisons)
    weights = weights_in(path)
    assert sum(weight.nbytes for weight in weights) < 2.5 * sum(weight.size for weight in weights)


@pytest.fixture(scope="module")
def eight_bits(network, tmp_path_factory):
    pytest.importorskip("nncf", reason='quantization needs pip install "mprnet[int8]"')
    path = tmp_path_factory.mktemp("int8") / "network.int8.xml"
    crops = [torch.rand(1, 3, 32, 32) for _ in range(3)]
    return path, export_model(network, path, format="openvino", stage="all", precision="int8", crops=crops)


def test_eight_bits_are_a_quarter_of_the_weights_and_say_what_they_were_made_of(network, eight_bits):
    path, comparisons = eight_bits
    assert all(1e-4 < comparison.typical <= BOUNDS["int8"] for comparison in comparisons)
    assert read_about(path)["fingerprint"] == fingerprint(network)
    assert len(open_exported(path)(torch.rand(1, 3, 20, 9))) == 3
    weights = sum(parameter.numel() for parameter in network.parameters())
    assert path.with_suffix(".bin").stat().st_size < 2 * weights


@pytest.fixture
def compiled(monkeypatch):
    """The shapes that OpenVINO compiles networks for, as it writes them."""
    pytest.importorskip("openvino", reason='this format needs pip install "mprnet[openvino]"')
    shapes, made = [], core()

    class Counting:
        read_model = staticmethod(made.read_model)

        def compile_model(self, network, *choices):
            shapes.append(str(network.input(0).get_partial_shape()))
            return made.compile_model(network, *choices)

    monkeypatch.setattr(formats, "core", Counting)
    return shapes


def test_pictures_of_one_size_are_compiled_for_once_and_threads_do_not_mix_sizes(eight_bits, compiled):
    restore = open_exported(eight_bits[0])
    wide, high = torch.rand(1, 3, 8, 24), torch.rand(1, 3, 24, 8)
    first, again = restore(wide), restore(wide)
    assert compiled == ["[1,3,8,24]"]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    with ThreadPoolExecutor(4) as pool:
        for degraded, pictures in zip([wide, high] * 4, pool.map(restore, [wide, high] * 4), strict=True):
            assert all(picture.shape == degraded.shape for picture in pictures)


def test_a_network_in_floating_point_is_compiled_once_for_all_sizes(network, tmp_path, compiled):
    export_model(network, tmp_path / "network.xml", format="openvino", stage=1)
    compiled.clear()
    restore = open_exported(tmp_path / "network.xml")
    for shape in ((1, 3, 8, 24), (2, 3, 5, 9)):
        assert restore(torch.rand(shape))[0].shape == shape
    assert len(compiled) == 1


def test_what_reads_or_gives_a_picture_stays_in_floating_point(eight_bits):
    path, _ = eight_bits
    convolutions = [op for op in core().read_model(path).get_ops() if op.get_type_name() == "Convolution"]
    at_pictures = {op.get_friendly_name() for op in convolutions if 3 in list(op.get_input_shape(1))[:2]}
    quantized = {
        op.get_friendly_name() for op in convolutions if op.input_value(0).get_node().get_type_name() == "FakeQuantize"
    }
    assert len(at_pictures) >= 8  # three read a picture, three give one, two gate features by one
    assert len(quantized) > len(convolutions) // 2
    assert not at_pictures & quantized


def test_a_file_that_differs_is_not_kept(network, tmp_path, monkeypatch):
    other = MPRNet(network.config)
    path = tmp_path / "network.pt2"
    path.write_text("older")
    monkeypatch.setattr(run, "exported", lambda _, *choices, **more: exported(other, *choices, **more))
    with pytest.raises(ExportError, match=r"was not written: .* differs from torch by up to .*; expected at most"):
        export_model(network, path, format="torchexport", stage=1, overwrite=True)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bounds_are_those_of_the_documents_and_odd_sizes_are_compared():
    assert BOUNDS == {"fp32": 1e-4, "fp16": 1e-2, "int8": 3e-2}
    assert any(height % 2 and width % 2 for _, height, width in SHAPES)
    clipped = Comparison(SHAPES[0], largest=0.5, typical=0.03)
    assert [clipped.keeps(precision) for precision in BOUNDS] == [False, False, True]


def test_no_numbers_are_no_agreement(network):
    def broken(degraded):
        return (torch.full_like(degraded, torch.nan),)

    def small(degraded):
        return (degraded[..., :1, :1],)

    for restore in (broken, small):
        assert not any(comparison.keeps("int8") for comparison in compare(network, (1,), restore))


def test_an_existing_file_is_kept_unless_overwritten(network, tmp_path):
    path = tmp_path / "network.pt2"
    path.write_text("precious")
    with pytest.raises(ExportError, match="exists; choose another name"):
        export_model(network, path, format="torchexport", stage=1)
    assert path.read_text() == "precious"
    export_model(network, path, format="torchexport", stage=1, overwrite=True)
    assert read_about(path)["stages"] == "1"


def test_weights_that_lie_beside_the_file_are_kept_unless_overwritten(network, tmp_path):
    pytest.importorskip("openvino", reason='this format needs pip install "mprnet[openvino]"')
    beside = tmp_path / "network.bin"
    beside.write_text("firmware")
    with pytest.raises(ExportError, match=r"network\.bin exists; choose another name"):
        export_model(network, tmp_path / "network.xml", format="openvino", stage=1)
    assert beside.read_text() == "firmware"
    assert list(tmp_path.iterdir()) == [beside]
    (tmp_path / "network.xml").write_text("a drawing")
    export_model(network, tmp_path / "network.xml", format="openvino", stage=1, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"network.xml", "network.bin"}
    degraded = torch.rand(1, 3, 16, 24)
    (picture,) = open_exported(tmp_path / "network.xml")(degraded)
    torch.testing.assert_close(picture, restored(network, degraded, 1), rtol=0, atol=1e-4)


class Evil:
    """What torch would unpickle, and by that print."""

    def __reduce__(self):
        return print, ("it ran",)


@pytest.fixture
def archive(tmp_path):
    """Write a `.pt2` of what it says about itself, and of a pickle that says when it is loaded."""

    def make(**entries):
        pickled = io.BytesIO()
        torch.save(Evil(), pickled)
        with zipfile.ZipFile(tmp_path / "evil.pt2", "w") as file:
            for name, content in {"evil/data/sample_inputs/model.pt": pickled.getvalue(), **entries}.items():
                file.writestr(name, content)
        return tmp_path / "evil.pt2"

    return make


def test_asking_what_a_file_says_of_itself_runs_nothing_in_it(archive, capfd):
    assert read_about(archive(**{"evil/extra/mprnet.json": '{"task": "derain"}'})) == {"task": "derain"}
    assert capfd.readouterr().out == ""


def test_asking_what_an_onnx_says_of_itself_computes_nothing_of_its_constants(tmp_path):
    onnx = pytest.importorskip("onnx", reason='this format needs pip install "mprnet[onnx]"')
    pytest.importorskip("onnxruntime", reason='this format needs pip install "mprnet[onnx]"')
    side = onnx.helper.make_tensor("side", onnx.TensorProto.INT64, [2], [2**21, 2**21])
    value = onnx.helper.make_tensor("value", onnx.TensorProto.FLOAT, [1], [1.0])
    nodes = [onnx.helper.make_node("ConstantOfShape", ["side"], ["large"], value=value)]  # 16 TiB
    out = onnx.helper.make_tensor_value_info("large", onnx.TensorProto.FLOAT, [2**21, 2**21])
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "evil", [], [out], [side]))
    model.metadata_props.add(key="mprnet.task", value="derain")
    path = tmp_path / "evil.onnx"
    onnx.save(model, path)
    assert read_about(path) == {"task": "derain"}
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ConfigError, match=r"evil\.onnx does not say what it is"):
        read_about(path)


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"a/extra/mprnet.json": "{"},
        {"a/extra/mprnet.json": "3"},
        {"a/extra/mprnet.json": '"' + "x" * 2**20 + '"'},
        {"a/extra/mprnet.json": "[" * 10**5},
    ],
    ids=["nothing", "half", "a number", "too much", "too deep"],
)
def test_a_file_that_says_nothing_of_itself_is_one_clear_line(archive, entries, tmp_path):
    with pytest.raises(ConfigError, match=r"evil\.pt2 does not say what it is; expected"):
        read_about(archive(**entries))
    with zipfile.ZipFile(tmp_path / "evil.pt2", "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a/extra/mprnet.json", "{}" + " " * 10**6)
    with pytest.raises(ConfigError, match="does not say what it is"):
        read_about(tmp_path / "evil.pt2")
    (tmp_path / "evil.pt2").write_text("no archive")
    with pytest.raises(ConfigError, match="does not say what it is"):
        read_about(tmp_path / "evil.pt2")
    with pytest.raises(ExportError, match=r"none\.pt2 does not exist"):
        read_about(tmp_path / "none.pt2")


@pytest.mark.parametrize(
    ("target", "choices", "error", "message"),
    [
        ("a.pt2", {"format": "jpeg"}, ConfigError, "format is 'jpeg'"),
        ("a.pt2", {"format": "torchexport", "stage": 4}, ConfigError, "stage is 4"),
        ("a.pt2", {"format": "torchexport", "precision": "int8"}, ConfigError, "expected fp32 or fp16"),
        ("a.xml", {"format": "openvino", "precision": "int8"}, ConfigError, "--calibrate"),
        ("a.pt2", {"format": "torchexport", "crops": []}, ConfigError, "no pictures"),
        ("a.onnx", {"format": "torchexport"}, ConfigError, r"ends in \.onnx; expected \.pt2"),
        ("no/a.pt2", {"format": "torchexport"}, ExportError, "the folder .* does not exist"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(network, tmp_path, target, choices, error, message):
    with pytest.raises(error, match=message) as caught:
        export_model(network, tmp_path / target, **choices)
    assert "\n" not in str(caught.value)


def test_local_windows_are_refused(tmp_path):
    local = MPRNet(MPRNetConfig(n_feat=8, num_cab=1))
    set_local_pooling(local, 64)
    with pytest.raises(ConfigError, match="local windows"):
        export_model(local, tmp_path / "network.pt2", format="torchexport")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(network, tmp_path, monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(MissingExtraError, match=r'pip install "mprnet\[onnx\]"'):
        export_model(network, tmp_path / "network.onnx", format="onnx")


def test_what_is_no_export_is_told_by_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"\.onnx, \.xml, \.pt2"):
        open_exported(tmp_path / "photo.png")

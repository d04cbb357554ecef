"""Weights files: held to the original's numbers and names, there and back, and every way they can be wrong."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import tempfile
import time
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mprnet import network
from mprnet.checkpoints import (
    convert_checkpoint,
    load_checkpoint,
    official_names,
    read_metadata,
    save_checkpoint,
    save_official,
)
from mprnet.errors import CheckpointError, ConfigError, MPRNetError
from mprnet.network import PRESETS, MPRNet, MPRNetConfig

TINY = MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=2)
METADATA = {"task": "derain", "provenance": "a test · ε", "training_crop_px": "64"}


def build(config: MPRNetConfig = TINY, seed: int = 0) -> MPRNet:
    torch.manual_seed(seed)
    model = MPRNet(config)
    torch.nn.init.constant_(model.activation.weight, 0.2 + seed / 10)
    return model


def parameters(model: MPRNet) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def assert_same_bits(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert tensor.numpy().tobytes() == theirs[name].numpy().tobytes(), name


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A small network in the published form."""
    save_official(build(), tmp_path / "official.pth")
    return tmp_path / "official.pth"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """The same in our form."""
    save_checkpoint(build(), tmp_path / "ours.safetensors", metadata=METADATA)
    return tmp_path / "ours.safetensors"


def state_dict_of(path: Path) -> dict[str, torch.Tensor]:
    content: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return content


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path)).strip()


# Held against the original


@pytest.mark.parametrize("name", ["width8", "width12_module_prefix"])
def test_every_stage_gives_what_the_original_network_gives(shared, name):
    folder = shared / "golden" / "model"
    expected = json.loads((folder / f"{name}.json").read_text())
    pictures = safetensors.torch.load_file(folder / f"{name}.io.safetensors")
    model = load_checkpoint(folder / f"{name}.pth")
    assert model.config == MPRNetConfig(**expected["constructor"])
    assert sum(parameter.numel() for parameter in model.parameters()) == expected["parameters"]
    for index, size_hw in enumerate(expected["sizes"]):
        degraded = pictures[f"input_{index}"]
        assert list(degraded.shape[-2:]) == size_hw
        with torch.no_grad():
            outputs = model(degraded)
        for stage, restored in enumerate(outputs, start=1):
            golden = pictures[f"stage{stage}_{index}"]
            assert (restored - golden).abs().max() <= 1e-5 * golden.abs().max()


@pytest.mark.parametrize(
    ("name", "published"), [("derain", "deraining"), ("denoise", "denoising"), ("deblur", "deblurring")]
)
def test_published_names_and_shapes_are_those_of_the_original(shared, name, published):
    expected = json.loads((shared / "golden" / "model" / f"official_{published}_keys.json").read_text())
    with torch.device("meta"):
        ours = parameters(MPRNet(PRESETS[name]))
    translated = {theirs: list(ours[mine].shape) for theirs, mine in official_names(PRESETS[name]).items()}
    assert translated == expected
    assert len(translated) == 316


def test_the_published_form_of_the_lightest_published_network_has_the_original_s_names(shared, tmp_path):
    save_official(build(PRESETS["derain"]), tmp_path / "derain.pth")
    expected = json.loads((shared / "golden" / "model" / "official_deraining_keys.json").read_text())
    content = torch.load(tmp_path / "derain.pth", weights_only=True)
    assert list(content) == ["state_dict"]
    assert {name: list(tensor.shape) for name, tensor in content["state_dict"].items()} == expected
    slopes = [tensor for tensor in content["state_dict"].values() if tensor.numel() == 1]
    assert len(slopes) == 55  # CABs: 3 shallow, 2 × 6 in the encoders, 2 × 8 in the decoders, 3 × 8 in ORSNet
    assert len({float(slope) for slope in slopes}) == 1


# There and back

configs = st.builds(
    lambda channels, **others: MPRNetConfig(in_channels=channels, out_channels=channels, **others),
    channels=st.integers(1, 5),
    n_feat=st.integers(4, 12),
    scale_unetfeats=st.integers(0, 6),
    scale_orsnetfeats=st.integers(0, 6),
    num_cab=st.integers(1, 3),
    kernel_size=st.sampled_from([1, 3, 5]),
    reduction=st.integers(1, 4),
    bias=st.booleans(),
)


@settings(max_examples=20, deadline=None)
@given(config=configs, seed=st.integers(0, 9), dtype=st.sampled_from([torch.float32, torch.float16, torch.float64]))
@example(  # whose reduction only the coarsest scale tells
    config=MPRNetConfig(n_feat=4, scale_unetfeats=1, scale_orsnetfeats=0, num_cab=1, reduction=3),
    seed=0,
    dtype=torch.float32,
)
def test_ours_to_the_published_form_and_back_is_the_same_bits(config, seed, dtype):
    model = build(config, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(model, folder / "1.safetensors", metadata=METADATA, dtype=dtype)
        convert_checkpoint(folder / "1.safetensors", folder / "2.pth")
        convert_checkpoint(folder / "2.pth", folder / "3.safetensors")
        there, back = (safetensors.torch.load_file(folder / f"{k}.safetensors") for k in (1, 3))
        assert_same_bits(there, back)
        assert read_metadata(folder / "3.safetensors") == METADATA
        reread = load_checkpoint(folder / "3.safetensors").config
    # Narrow networks have the same shapes for several reductions; all else is told apart.
    assert {**asdict(reread), "reduction": 0} == {**asdict(config), "reduction": 0}
    with torch.device("meta"):
        assert [p.shape for p in MPRNet(reread).parameters()] == [p.shape for p in MPRNet(config).parameters()]


def test_the_published_form_to_ours_and_back_is_the_same_bits(shared, tmp_path):
    source = shared / "golden" / "model" / "width8.pth"
    convert_checkpoint(source, tmp_path / "ours.safetensors")
    convert_checkpoint(tmp_path / "ours.safetensors", tmp_path / "back.pth")
    assert_same_bits(state_dict_of(tmp_path / "back.pth"), {**state_dict_of(source)})


def test_ours_to_the_published_form_and_back_is_the_same_file(ours, tmp_path):
    convert_checkpoint(ours, tmp_path / "there.pth")
    convert_checkpoint(tmp_path / "there.pth", tmp_path / "back.safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == ours.read_bytes()


@pytest.mark.parametrize("reduction", [1, 2, 3, 4, 5, 8, 16])
def test_the_reduction_is_read_from_the_shapes_of_a_wide_network(tmp_path, reduction):
    config = MPRNetConfig(n_feat=40, num_cab=1, reduction=reduction)
    save_official(build(config), tmp_path / "wide.pth")
    assert load_checkpoint(tmp_path / "wide.pth").config == config


def test_what_is_loaded_is_what_was_saved(ours):
    assert_same_bits(parameters(load_checkpoint(ours)), parameters(build()))
    assert read_metadata(ours) == METADATA


def test_ours_remembers_max_pooling(tmp_path):
    config = MPRNetConfig(n_feat=6, num_cab=1, downsampling="maxpool")
    save_checkpoint(build(config), tmp_path / "maxpool.safetensors")
    assert load_checkpoint(tmp_path / "maxpool.safetensors").config == config


def test_half_precision_is_half_the_size_and_loads_as_float32(ours, tmp_path):
    save_checkpoint(build(), tmp_path / "half.safetensors", dtype=torch.float16)
    sizes = [
        sum(tensor.numpy().nbytes for tensor in safetensors.torch.load_file(path).values())
        for path in (tmp_path / "half.safetensors", ours)
    ]
    assert 2 * sizes[0] == sizes[1]
    loaded = parameters(load_checkpoint(tmp_path / "half.safetensors"))
    assert_same_bits(loaded, {name: tensor.half().float() for name, tensor in parameters(build()).items()})


def test_equal_weights_give_equal_files_and_hold_the_prelu_once(ours, tmp_path):
    save_checkpoint(build(), tmp_path / "again.safetensors", metadata=dict(reversed(METADATA.items())))
    assert (tmp_path / "again.safetensors").read_bytes() == ours.read_bytes()
    names = safetensors.torch.load_file(ours)
    assert [name for name in names if "activation" in name] == ["activation.weight"]


def normalised(network: MPRNet) -> MPRNet:
    """A network of someone's own, with what its blocks remember beside their parameters."""
    network.encoder1.level1.append(torch.nn.BatchNorm2d(8))
    return network


def test_a_network_with_buffers_is_not_saved(tmp_path):
    for save, name in ((save_checkpoint, "a.safetensors"), (save_official, "a.pth")):
        with pytest.raises(CheckpointError, match=r"has the buffer encoder1\.level1\.2\.running_mean, .* without buf"):
            save(normalised(build()), tmp_path / name)
        assert not (tmp_path / name).exists()


def test_weights_are_not_loaded_into_a_network_with_buffers(ours, monkeypatch):
    monkeypatch.setattr("mprnet.checkpoints.build", lambda config: normalised(MPRNet(config)))
    monkeypatch.setattr("mprnet.checkpoints._check_tensors", lambda *_: None)
    with pytest.raises(CheckpointError, match=r"has the buffer encoder1\.level1\.2\.running_mean"):
        load_checkpoint(ours)


def test_a_channels_last_model_is_saved_in_plain_order(ours, tmp_path):
    model = build().to(memory_format=torch.channels_last)
    save_checkpoint(model, tmp_path / "channels_last.safetensors", metadata=METADATA)
    assert (tmp_path / "channels_last.safetensors").read_bytes() == ours.read_bytes()


def test_loading_leaves_the_random_numbers_and_the_trainability_alone(ours, official):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for path in (ours, official):
        model = load_checkpoint(path)
        assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("bare", [True, False])
def test_a_published_file_may_be_bare_or_prefixed(official, tmp_path, prefix, bare):
    stored = {f"{prefix}{name}": tensor for name, tensor in state_dict_of(official).items()}
    torch.save(stored if bare else {"epoch": 3, "state_dict": stored, "optimizer": {}}, tmp_path / "variant.pt")
    assert_same_bits(parameters(load_checkpoint(tmp_path / "variant.pt")), parameters(build()))
    assert read_metadata(tmp_path / "variant.pt") == {}


def test_foreign_metadata_in_a_published_file_is_passed_over(official, tmp_path):
    torch.save({"state_dict": state_dict_of(official), "metadata": {"epochs": 3}}, tmp_path / "other.pth")
    assert read_metadata(tmp_path / "other.pth") == {}


# Files that are no weights


def test_a_name_that_the_disk_cannot_hold_says_so(tmp_path):
    too_long = tmp_path / ("a" * 300 + ".safetensors")
    assert refusal(too_long).startswith("cannot be read: ")
    with pytest.raises(CheckpointError, match="cannot be written: "):
        save_checkpoint(build(), too_long)


def test_a_missing_file_a_folder_and_an_empty_file_are_told_apart(tmp_path):
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"a{suffix}"
        assert refusal(path).startswith("does not exist")
        path.touch()
        assert refusal(path).startswith("is empty")
        path.unlink()
        path.mkdir()
        assert refusal(path).startswith("is a folder")


@pytest.mark.parametrize("form", ["official", "ours"])
def test_a_file_without_permission_says_so(form, request, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    path = request.getfixturevalue(form)
    path.chmod(0)
    if os.access(path, os.R_OK):  # nobody refuses root a file
        monkeypatch.setattr(torch, "load", refuse)
        monkeypatch.setattr(Path, "open", refuse)
    assert refusal(path) == "cannot be read: Permission denied"
    monkeypatch.setattr("mprnet.checkpoints.status_of", refuse)
    assert refusal(path) == "cannot be read: Permission denied"


class Trap:
    """Unpickled carelessly, it would leave a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(official, tmp_path):
    marker = tmp_path / "ran"
    for content in (Trap(marker), {"state_dict": Trap(marker)}, {**state_dict_of(official), "x": Trap(marker)}):
        torch.save(content, tmp_path / "trap.pth")
        message = refusal(tmp_path / "trap.pth")
        assert "mkdir" in message
        assert "would run code" in message
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(marker), protocol=2))
    assert "mkdir" in refusal(tmp_path / "trap.pth")
    assert not marker.exists()


def test_a_whole_pickled_model_is_refused_by_its_class(tmp_path):
    torch.save(build(), tmp_path / "model.pth")
    assert "mprnet.network.mprnet.MPRNet" in refusal(tmp_path / "model.pth")


@pytest.mark.parametrize("form", ["official", "ours"])
@pytest.mark.parametrize("kept", [1, 8, 100, 0.3, 0.99])
def test_a_truncated_file_is_called_so(request, form, kept):
    path = request.getfixturevalue(form)
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    assert refusal(path).startswith("is truncated or no ")


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(["a.pth", "a.safetensors"]),
    place=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=12),
    cut=st.booleans(),
)
def test_damage_anywhere_either_loads_or_is_one_clear_error(form, place, junk, cut):
    data = DAMAGED.setdefault(form, whole(form))
    start = int(place * len(data))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / form
        path.write_bytes(data[:start] + junk + (b"" if cut else data[start + len(junk) :]))
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            assert str(path) in str(error)  # noqa: PT017 (where the damage is harmless, loading is right)


DAMAGED: dict[str, bytes] = {}


def whole(form: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / form
        (save_official if form.endswith(".pth") else save_checkpoint)(build(MPRNetConfig(n_feat=4, num_cab=1)), path)
        return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(junk=st.binary(min_size=1, max_size=64), form=st.sampled_from(["a.pth", "a.safetensors"]))
def test_junk_is_one_clear_error(junk, form):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / form
        path.write_bytes(junk)
        refusal(path)


@pytest.mark.parametrize(
    "content", [[1, 2], 3, "weights", {}, {"state_dict": {}}, {"state_dict": 3}, {1: torch.ones(1)}]
)
def test_a_torch_file_without_a_state_dict_says_so(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    assert "expected" in refusal(tmp_path / "other.pth")
    assert "state dict" in refusal(tmp_path / "other.pth")


# Files of other networks


def test_another_architecture_is_recognised(tmp_path):
    torch.save({"state_dict": torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).state_dict()}, tmp_path / "other.pth")
    assert refusal(tmp_path / "other.pth").startswith("is of another architecture: it has 0.weight; expected")


def test_a_run_s_own_checkpoint_says_where_its_weights_are(tmp_path):
    stored = {f"model.{name}": tensor for name, tensor in build().state_dict().items()}
    torch.save({"state_dict": stored, "epoch": 0}, tmp_path / "last.ckpt")
    assert refusal(tmp_path / "last.ckpt").endswith("those of a run are in the .safetensors beside it")


def test_another_program_s_safetensors_is_recognised(tmp_path):
    path = tmp_path / "other.safetensors"
    for metadata in (None, {"format": "pt"}):
        safetensors.torch.save_file({"weight": torch.ones(1)}, path, metadata)
        assert refusal(path).startswith("was not written by mprnet")


CONFIG = MPRNetConfig(n_feat=4, num_cab=2, bias=True)
PUBLISHED = {theirs: parameters(build(CONFIG))[ours] for theirs, ours in official_names(CONFIG).items()}


@settings(max_examples=30, deadline=None)
@given(missing=st.sampled_from(sorted(PUBLISHED)))
@example("shallow_feat1.0.bias")
@example("shallow_feat1.0.weight")
@example("shallow_feat1.1.CA.conv_du.0.weight")
@example("stage1_encoder.down12.down.1.weight")
@example("stage1_encoder.encoder_level2.0.CA.conv_du.0.weight")
@example("stage1_encoder.encoder_level3.0.CA.conv_du.0.weight")
@example("stage3_orsnet.orb1.body.0.CA.conv_du.0.weight")
@example("stage3_orsnet.orb1.body.1.body.0.weight")
@example("stage3_orsnet.orb1.body.2.weight")
@example("concat23.weight")
@example("tail.weight")
def test_a_missing_tensor_is_named_even_where_hyper_parameters_are_read_from_it(missing):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut.pth"
        torch.save({name: tensor for name, tensor in PUBLISHED.items() if name != missing}, path)
        assert refusal(path).startswith(f"has no tensor {missing};")


@pytest.mark.parametrize("surplus", ["tail.bias", "stage4.weight", "module.tail.weight", "stage3_orsnet.orb1.body.0.x"])
def test_a_surplus_tensor_is_named(official, surplus):
    torch.save({**state_dict_of(official), surplus: torch.ones(3)}, official)
    assert refusal(official).startswith(f"has the surplus tensor {surplus};")


@pytest.mark.parametrize("name", ["tail.weight", "sam12.conv2.weight", "stage1_decoder.up21.up.1.weight"])
def test_a_wrong_shape_is_named(official, name):
    stored = state_dict_of(official)
    shape = tuple(stored[name].shape)
    torch.save({**stored, name: torch.ones(shape[0], shape[1] + 1, *shape[2:])}, official)
    message = refusal(official)
    assert message.startswith(f"has shape {(shape[0], shape[1] + 1, *shape[2:])} in {name}; expected {shape}")


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(PUBLISHED)), emptied=st.booleans())
def test_a_wrong_shape_anywhere_is_an_error(name, emptied):
    tensor = PUBLISHED[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wrong.pth"
        torch.save({**PUBLISHED, name: tensor.flatten()[:0] if emptied else torch.cat((tensor, tensor))}, path)
        assert "expected" in refusal(path)


def test_widths_that_no_network_has_are_an_error(official):
    stored = state_dict_of(official)
    torch.save({**stored, "concat23.weight": torch.ones(2, 16, 3, 3)}, official)
    assert "scale_orsnetfeats is -6" in refusal(official)


@pytest.mark.parametrize(
    "content", [3, "text", torch.ones(3, 12, 3, 3, dtype=torch.int32), torch.ones(3, 12, 3, 3).to_sparse(),
                torch.empty(3, 12, 3, 3, device="meta"),
                torch.zeros(3, 12, 3, 3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)]
)  # fmt: skip
def test_what_is_no_tensor_of_floats_is_named(official, content):
    stored = state_dict_of(official)
    name = "stage2_encoder.csff_enc1.weight"
    if isinstance(content, torch.Tensor):
        name = "tail.weight"
    torch.save({**stored, name: content}, official)
    assert refusal(official).endswith(f"in {name}") or f"in {name};" in refusal(official)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", ["tail.weight", "shallow_feat1.0.weight"])
def test_a_tensor_of_tensors_is_named(official, name):
    stored = state_dict_of(official)
    torch.save({**stored, name: torch.nested.nested_tensor([torch.ones(12, 3, 3)] * 3)}, official)
    assert refusal(official).endswith(f"in {name}") or f"in {name};" in refusal(official)


def test_one_value_that_stands_for_a_whole_tensor_is_named_and_a_part_of_a_larger_store_is_read(official):
    stored = state_dict_of(official)
    part = torch.stack([stored["tail.weight"]] * 3)[1]
    torch.save({**stored, "tail.weight": part}, official)
    load_checkpoint(official)
    torch.save({**stored, "tail.weight": torch.zeros(1).expand(part.shape)}, official)
    assert refusal(official).endswith("fewer values than a tensor of its shape in tail.weight; expected each of them")


def test_tensors_that_share_their_values_are_refused(official):
    stored = state_dict_of(official)
    alike = [name for name, tensor in stored.items() if tensor.shape == stored["shallow_feat1.1.body.0.weight"].shape]
    assert len(alike) > 2
    torch.save(stored | dict.fromkeys(alike, stored[alike[0]]), official)
    assert refusal(official).startswith("has fewer values than its tensors together")


def test_a_file_that_would_unpack_to_more_than_it_holds_is_refused_unread(official, monkeypatch):
    packed = official.with_name("packed.pth")
    with zipfile.ZipFile(official) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name))
        archive.writestr("archive/data/bomb", bytes(10**7))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
    assert "would unpack to" in refusal(packed)


def test_an_archive_whose_directory_python_and_torch_might_look_for_elsewhere_is_refused_unread(official, monkeypatch):
    whole = official.read_bytes()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
    for other in (
        whole + b"PK\x05\x06",  # Python sees no zip file any more
        whole[:-2] + b"\x04\x00note",
        whole[:-98] + bytes(50) + whole[-98:],  # a directory that is not where the end says
        whole[:-22] + bytes(20) + whole[-22:],
        whole[:-30],
    ):
        official.write_bytes(other)
        assert refusal(official).startswith("is truncated or no PyTorch file (its directory")


@pytest.mark.parametrize("is_large", [False, True])
def test_the_directory_of_an_archive_is_found_whichever_its_ends_are(official, monkeypatch, is_large):
    seen = []
    monkeypatch.setattr(torch, "load", lambda *_, **__: seen.append(1) or {})
    if is_large:  # torch writes the records of a large file always
        assert official.read_bytes()[-42:-38] == b"PK\x06\x07"
    else:
        with zipfile.ZipFile(official, "w") as archive:
            archive.writestr("a/data.pkl", b"x")
        assert official.read_bytes()[-42:-38] != b"PK\x06\x07"
    assert refusal(official).startswith("has no state dict")
    assert seen


@pytest.mark.parametrize("depth", [10**4, 10**5, "9" * 5000])
def test_a_depth_without_end_is_refused_at_once(official, depth):
    stored = state_dict_of(official)
    names = {f"n{number}": torch.zeros(1) for number in range(10**4)}
    torch.save({**stored, **names, f"stage3_orsnet.orb1.body.{depth}.weight": torch.zeros(1)}, official)
    start = time.process_time()
    refusal(official)
    assert time.process_time() - start < 10


def test_a_published_file_in_another_order_is_converted(official, tmp_path):
    stored = state_dict_of(official)
    torch.save({name: value.to(memory_format=torch.channels_last) if value.dim() == 4 else value
                for name, value in stored.items()}, official)  # fmt: skip
    convert_checkpoint(official, tmp_path / "ours.safetensors")
    for one, two in zip(
        load_checkpoint(official).parameters(), load_checkpoint(tmp_path / "ours.safetensors").parameters(), strict=True
    ):
        assert torch.equal(one, two)


def test_a_width_without_end_is_refused_at_once(official):
    stored = state_dict_of(official)
    part = stored["shallow_feat1.0.weight"]
    huge = torch.zeros(1).expand(10**12, *part.shape[1:])  # of one value
    torch.save({**stored, "shallow_feat1.0.weight": huge}, official)
    start = time.process_time()
    assert "tensor shapes that give no MPRNet" in refusal(official)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("form", ["official", "ours"])
def test_values_that_are_not_finite_are_named(official, ours, value, form):
    if form == "official":
        stored = state_dict_of(official)
        stored["tail.weight"][0, 0, 0, 0] = value
        torch.save(stored, official)
        assert refusal(official).startswith("has values that are not finite in tail.weight")
    else:
        rewrite(ours, tensors={"tail.weight": torch.full((3, 12, 3, 3), value)})
        assert refusal(ours).startswith("has values that are not finite in tail.weight")


def test_prelu_repeats_that_disagree_are_named(official):
    stored = {name: tensor.clone() for name, tensor in state_dict_of(official).items()}
    stored["stage2_decoder.skip_attn1.body.1.weight"].fill_(0.75)
    torch.save(stored, official)
    message = refusal(official)
    assert message.startswith("has different PReLU values: stage2_decoder.skip_attn1.body.1.weight is 0.75, those")


# Damage to our own form


def rewrite(path: Path, header: object = None, tensors: dict[str, torch.Tensor | None] | None = None) -> None:
    """Change a file of ours: `header` as JSON or text, `tensors` added, replaced or (None) removed."""
    with safetensors.safe_open(path, framework="pt") as file:
        text = file.metadata()["mprnet"]
    if header is not None:
        text = header if isinstance(header, str) else json.dumps({**json.loads(text), **header})
    changed = {**safetensors.torch.load_file(path), **(tensors or {})}
    safetensors.torch.save_file({name: t for name, t in changed.items() if t is not None}, path, {"mprnet": text})


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{", "damaged header"),
        ("[" * 100_000, "damaged header"),
        ("[]", "damaged header"),
        ("{}", "damaged header"),
        ({"version": 2}, "format version 2; expected 1"),
        ({"metadata": {"task": 3}}, "metadata are not all text"),
        ({"config": []}, "config that does not fit"),
        ({"config": {"colour": 3}}, "config that does not fit"),
        ({"config": {"n_feat": 0}}, "n_feat is 0"),
        ({"config": {"n_feat": 10**30}}, "larger than the file"),
        ({"config": {**asdict(TINY), "num_cab": 10**9}}, "larger than the file"),
        ({"config": {**asdict(TINY), "num_cab": 3}}, "has no tensor orsnet.orbs.0.cabs.2."),
        ({"config": {**asdict(TINY), "num_cab": 1}}, "surplus tensor orsnet.orbs.0.cabs.1."),
        ({"config": {**asdict(TINY), "n_feat": 10}}, "has shape (8, 3, 3, 3) in shallow1.0.weight; expected (10, "),
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit_is_explained(ours, header, message):
    rewrite(ours, header)
    assert message in refusal(ours)


def test_missing_and_surplus_tensors_of_ours_are_named(ours):
    original = ours.read_bytes()
    rewrite(ours, tensors={"activation.weight": None})
    assert refusal(ours).startswith("has no tensor activation.weight;")
    ours.write_bytes(original)
    rewrite(ours, tensors={"activation2.weight": torch.ones(1)})
    assert refusal(ours).startswith("has the surplus tensor activation2.weight;")


# Writing


@pytest.mark.parametrize("save", [save_checkpoint, save_official])
def test_nothing_is_overwritten_without_being_asked(tmp_path, save):
    path = tmp_path / ("a.safetensors" if save is save_checkpoint else "a.pth")
    path.write_text("precious")
    with pytest.raises(CheckpointError, match="exists; choose another name"):
        save(build(), path)
    assert path.read_text() == "precious"
    save(build(), path, overwrite=True)
    assert_same_bits(parameters(load_checkpoint(path)), parameters(build()))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(ours, monkeypatch, failing):
    before = ours.read_bytes()

    def fail(self: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, failing, fail)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        save_checkpoint(build(seed=1), ours, overwrite=True)
    monkeypatch.undo()
    assert ours.read_bytes() == before
    assert list(ours.parent.iterdir()) == [ours]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none/a.safetensors", "the folder .*none does not exist"),
        (".", "is a folder"),
        ("a.pth", "expected a path that"),
    ],
)
def test_a_path_that_cannot_be_written_is_explained(tmp_path, name, message):
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(build(), folder / name)
    assert list(folder.iterdir()) == []


def test_the_published_form_is_not_written_under_our_suffix(tmp_path):
    with pytest.raises(CheckpointError, match="'official'; expected a path that does not end in"):
        save_official(build(), tmp_path / "a.safetensors")


def test_max_pooling_is_not_passed_off_as_the_published_network(tmp_path):
    with pytest.raises(CheckpointError, match="downsamples by maxpool"):
        save_official(build(MPRNetConfig(n_feat=6, num_cab=1, downsampling="maxpool")), tmp_path / "a.pth")
    assert list(tmp_path.iterdir()) == []


def test_values_that_half_precision_cannot_hold_are_named(tmp_path):
    model = build()
    torch.nn.init.constant_(model.tail.weight, 1e6)
    with pytest.raises(CheckpointError, match=r"tail.weight has values that are not finite in torch.float16"):
        save_checkpoint(model, tmp_path / "a.safetensors", dtype=torch.float16)
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_is_not_text_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="expected text under text"):
        save_checkpoint(build(), tmp_path / "a.safetensors", metadata={"epochs": 3})


def test_a_form_that_does_not_exist_is_refused(ours, tmp_path):
    with pytest.raises(ConfigError, match="to is 'onnx'; expected official or mprnet"):
        convert_checkpoint(ours, tmp_path / "a.onnx", to="onnx")


def test_a_published_file_is_no_larger_than_its_tensors_need(official):
    tensors = state_dict_of(official)
    stored = sum(t.nbytes for t in tensors.values())
    assert official.stat().st_size < stored + 1000 * len(tensors)
    buffer = io.BytesIO()
    torch.save({name: tensor.clone() for name, tensor in tensors.items()}, buffer)
    assert official.stat().st_size <= buffer.tell()


def test_checkpoint_errors_are_the_package_s_own():
    assert issubclass(CheckpointError, MPRNetError)
    assert issubclass(CheckpointError, ValueError)


ABLATED = MPRNetConfig(
    n_feat=6, scale_unetfeats=4, scale_orsnetfeats=2, num_cab=1, combination="unet+orsnet", sam=False
)


def test_a_network_of_table_6_is_kept_and_rebuilt(tmp_path):
    torch.manual_seed(0)
    model, path = network.build(ABLATED), tmp_path / "ablated.safetensors"
    save_checkpoint(model, path)
    loaded = load_checkpoint(path)
    assert loaded.config == ABLATED
    assert_same_bits(parameters(loaded), parameters(model))


def test_a_network_of_table_6_has_no_published_form(tmp_path):
    with pytest.raises(CheckpointError, match=r"the network \(unet\+orsnet\) is one of Table 6"):
        save_official(network.build(ABLATED), tmp_path / "ablated.pth")
    assert not list(tmp_path.iterdir())


def test_files_of_the_paper_s_network_say_nothing_of_table_6(ours):
    with safetensors.safe_open(ours, framework="pt") as file:
        config = json.loads(file.metadata()["mprnet"])["config"]
    assert "combination" not in config
    assert config["n_feat"] == TINY.n_feat


def test_a_compiled_network_is_written_as_the_network_it_is(tmp_path):
    model = build()
    save_checkpoint(torch.compile(model, backend="eager"), tmp_path / "a.safetensors")
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    for one, two in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one, two)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    model = build()
    with pytest.raises(
        CheckpointError, match=r"would be torch\.int8; expected floats; .*a\.safetensors was not written"
    ):
        save_checkpoint(model, tmp_path / "a.safetensors", dtype=torch.int8)
    torch.nn.utils.parametrize.register_parametrization(model.tail, "weight", torch.nn.Identity())
    for save, name in ((save_checkpoint, "a.safetensors"), (save_official, "a.pth")):
        with pytest.raises(
            CheckpointError, match=r"the network has no parameter tail\.weight of shape .* was not written"
        ):
            save(model, tmp_path / name)
    assert list(tmp_path.iterdir()) == []

"""Weights on disk: our `.safetensors`, the published `.pth`, and the translation between their names.

Ours holds each parameter once, under the name it has in `mprnet.network`, and beside the tensors one metadata
entry `mprnet`: JSON with the format version, the hyper-parameters and free entries (task, provenance, training
crop…). The published form is `{"state_dict": …}`, or the bare state dict, under the names of the original program
and with the one PReLU repeated for every CAB; its hyper-parameters are read from the tensor shapes.

Files are read without running anything that is in them, checked tensor by tensor, and written whole or not at all.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import stat
import struct
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mprnet.errors import CheckpointError, ConfigError
from mprnet.files import PathLike, status_of, written_whole
from mprnet.network import TASKS, MPRNet, MPRNetConfig, build

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION = 1
"""Raised when a file of ours changes so that older programs would misread it."""

_HEADER = "mprnet"  # one entry only: safetensors writes several in random order, and equal weights give equal files
_SUFFIX = ".safetensors"
_FORMS = ("official", "mprnet")
_ENDS_BYTES = 56 + 20 + 22  # of the records that end a zip file: of a large one, where that is, and of any
_FLOATS = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz),
}  # torch has others, of 4 bits, which it cannot turn into these


@dataclass(frozen=True)
class _Checkpoint:
    """What a weights file holds, whichever its form: each tensor once, under our name, in its stored dtype."""

    config: MPRNetConfig
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def load_checkpoint(path: PathLike) -> MPRNet:
    """Rebuild the network that a weights file describes.

    Args:
        path: a `.safetensors` that `save_checkpoint` wrote, or a file in the published form (any other suffix),
            whose hyper-parameters are read from the tensor shapes; its downsampling, which leaves no trace
            there, is taken to be `bilinear`.

    Returns:
        MPRNet: on the CPU, in float32 whatever the file stores.

    Raises:
        CheckpointError: the file is missing, empty, damaged, would run code, belongs to another architecture, or
            a tensor is missing, surplus, of the wrong shape or not finite; the message names it. Or the network has
            buffers.
    """
    checkpoint = _read(Path(path))
    with torch.device("meta"):
        model = build(checkpoint.config)
    require_no_buffers(model)
    # On `meta` nothing is initialised, so that loading leaves the caller's random numbers alone.
    model = model.float().to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(checkpoint.tensors[name])
    return model


def read_metadata(path: PathLike) -> dict[str, str]:
    """Return the free entries that were saved with a weights file; none for a published one.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    return _read(Path(path)).metadata


def require_no_buffers(model: MPRNet) -> None:
    """Raise CheckpointError where a network holds what weights files do not, as a changed block of it may."""
    name = next((name for name, _ in model.named_buffers()), None)
    if name is not None:
        raise CheckpointError(
            f"the network has the buffer {name}, and weights files hold parameters alone; expected blocks without "
            "buffers (no register_buffer, no BatchNorm)"
        )


def task_of(metadata: Mapping[str, str], path: PathLike, asked: str | None = None) -> str | None:
    """Return what weights undo, by their file's entries, or what is asked for where they do not say.

    Args:
        metadata: of the file.
        path: the file, for the message.
        asked: the task they are wanted for; without one, that of the file.

    Raises:
        ConfigError: there is no such task, or the weights are for another one.
    """
    if asked not in (None, *TASKS):
        raise ConfigError(f"task is {asked!r}; expected one of {', '.join(TASKS)}")
    stored = metadata.get("task")
    if None not in (asked, stored) and asked != stored:
        raise ConfigError(
            f"{path} has weights for {stored!r}; expected those for {asked}: ask for the other, or name others"
        )
    return asked or stored


def trained_stages_of(metadata: Mapping[str, str]) -> int:
    """Return how many stages of a network were ever trained, by its file's entries: all, where they do not say.

    Example:
        >>> trained_stages_of({"trained_stages": "1"}), trained_stages_of({})
        (1, 3)
    """
    stages = metadata.get("trained_stages")
    return int(stages) if stages in ("1", "2") else 3


def save_checkpoint(
    model: MPRNet,
    path: PathLike,
    *,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
) -> None:
    """Write a network, hyper-parameters included, as `.safetensors`.

    Args:
        model: the network, on any device.
        path: the file to write, ending in `.safetensors`, in a folder that exists.
        metadata: free entries to keep with the weights, such as `task`, `provenance`, `training_crop_px`.
        dtype: what to store, such as `torch.float16` for half the size; without one, the parameters' own.
        overwrite: replace a file that is already there.

    Raises:
        CheckpointError: the file exists and `overwrite` was not given, cannot be written, has another suffix, a
            tensor is not finite (in `dtype`), or the network has buffers.
    """
    _write(_of_model(model, metadata, dtype), Path(path), "mprnet", overwrite)


def save_official(
    model: MPRNet, path: PathLike, *, metadata: Mapping[str, str] | None = None, overwrite: bool = False
) -> None:
    """Write a network in the published form, which the original program and spandrel load.

    Args:
        model: the network, on any device. Other programs can load only those with 3 channels.
        path: the file to write, usually ending in `.pth`, in a folder that exists.
        metadata: free entries to keep beside the `state_dict`, where other programs do not look.
        overwrite: replace a file that is already there.

    Raises:
        CheckpointError: as `save_checkpoint`, or the network downsamples by `maxpool`, which this form cannot say, or
            is one of Table 6, which other programs do not have.
    """
    _write(_of_model(model, metadata, None), Path(path), "official", overwrite)


def convert_checkpoint(source: PathLike, target: PathLike, *, to: str | None = None, overwrite: bool = False) -> None:
    """Rewrite a weights file in the other form; there and back gives the same bits.

    Args:
        source: the file to read, in either form.
        target: the file to write.
        to: `official` or `mprnet`; without it, `mprnet` where `target` ends in `.safetensors`.
        overwrite: replace a file that is already there.

    Raises:
        CheckpointError: as `load_checkpoint`, `save_checkpoint` and `save_official`.
        ConfigError: `to` is neither.
    """
    target = Path(target)
    form = to or ("mprnet" if target.suffix == _SUFFIX else "official")
    if form not in _FORMS:
        raise ConfigError(f"to is {to!r}; expected {' or '.join(_FORMS)}")
    _write(_read(Path(source)), target, form, overwrite)


def official_names(config: MPRNetConfig) -> dict[str, str]:
    """Translate every name of a published checkpoint to ours; read backwards, ours to theirs.

    Returns:
        Their name → our name. Several of theirs lead to our one PReLU, `activation.weight`.

    Example:
        >>> official_names(MPRNetConfig())["stage2_encoder.csff_enc1.weight"]
        'csff12.from_encoder.0.weight'
    """
    pieces = _pieces(config.num_cab)
    with torch.device("meta"):
        model = MPRNet(config)
    ours = {parameter: name for name, parameter in model.named_parameters()}
    table = {}
    for place, parameter in model.named_parameters(remove_duplicate=False):
        if place == "activation.weight":  # theirs repeats it in every CAB, but does not hold it on its own
            continue
        theirs = f".{place}."
        for our_piece, their_piece in pieces:
            theirs = theirs.replace(f".{our_piece}.", f".{their_piece}.")
        table[theirs[1:-1]] = ours[parameter]
    return table


def _pieces(num_cab: int) -> list[tuple[str, str]]:
    """List what differs between a name of ours and of theirs, to be replaced in this order."""
    pieces = [
        # CAB, Downsample and Upsample; before SAM, whose names of theirs are CAB's names of ours
        ("conv1", "body.0"),
        ("activation", "body.1"),
        ("conv2", "body.2"),
        ("attention.squeeze", "CA.conv_du.0"),
        ("attention.excite", "CA.conv_du.2"),
        ("widen", "down.1"),
        ("narrow", "up.1"),
        # SAM
        ("to_features", "conv1"),
        ("to_residual", "conv2"),
        ("to_mask", "conv3"),
        # MPRNet
        ("merge12", "concat12"),
        ("merge23", "concat23"),
        *((f"shallow{stage}", f"shallow_feat{stage}") for stage in (1, 2, 3)),
        # Decoder
        ("skip1", "skip_attn1"),
        ("skip2", "skip_attn2"),
    ]
    for k in (1, 2, 3):
        pieces.append((f"orsnet.orbs.{k - 1}.cabs", f"stage3_orsnet.orb{k}.body"))
        pieces.append((f"orsnet.orbs.{k - 1}.conv", f"stage3_orsnet.orb{k}.body.{num_cab}"))
    for half, short in (("encoder", "enc"), ("decoder", "dec")):
        for k in (1, 2, 3):
            pieces.append((f"csff12.from_{half}.{k - 1}", f"stage2_encoder.csff_{short}{k}"))
            pieces.append((f"orsnet.from_{half}.{k - 1}.project", f"stage3_orsnet.conv_{short}{k}"))
        pieces.append((f"orsnet.from_{half}.1.up.0", f"stage3_orsnet.up_{short}1"))
        pieces.append((f"orsnet.from_{half}.2.up", f"stage3_orsnet.up_{short}2"))
        for stage in (1, 2):
            pieces.extend((f"{half}{stage}.level{k}", f"stage{stage}_{half}.{half}_level{k}") for k in (1, 2, 3))
            pieces.append((f"{half}{stage}", f"stage{stage}_{half}"))
    return pieces


# Reading


def _read(path: Path) -> _Checkpoint:
    try:
        if (status := status_of(path)) is None:
            raise CheckpointError(f"{path} does not exist; expected a weights file (.safetensors or .pth)")
        if stat.S_ISDIR(status.st_mode):
            raise CheckpointError(f"{path} is a folder; expected a weights file")
        if status.st_size == 0:
            raise CheckpointError(f"{path} is empty (0 bytes); copy or download it again")
        return _read_mprnet(path) if path.suffix == _SUFFIX else _read_official(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_mprnet(path: Path) -> _Checkpoint:
    path.open("rb").close()  # raises what is wrong, where the library says of any file it may not open that it is none
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file: {error}") from error
    if header is None:
        raise CheckpointError(
            f"{path} was not written by mprnet: its metadata has no entry '{_HEADER}'; expected a file of "
            "mprnet.save_checkpoint, or the published form (.pth)"
        )
    config, metadata = _parse_header(path, header)
    _check_tensors(path, tensors, _shapes(path, config, len(tensors)))
    return _Checkpoint(config, tensors, metadata)


def _parse_header(path: Path, header: str) -> tuple[MPRNetConfig, dict[str, str]]:
    try:
        content = json.loads(header)
        version, entries, metadata = content["version"], content["config"], content["metadata"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged header '{_HEADER}' in its metadata: {error!r}") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} is of format version {version!r}; expected {FORMAT_VERSION}. Install the mprnet that wrote it"
        )
    if not _is_metadata(metadata):
        raise CheckpointError(f"{path} has a damaged header '{_HEADER}': its metadata are not all text")
    try:
        return MPRNetConfig(**entries), metadata
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{path} has a config that does not fit: {error}") from error


def _read_official(path: Path) -> _Checkpoint:
    content = _unpickle(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a state dict")
    stored = content.get("state_dict", content)
    if not isinstance(stored, dict) or not stored or not all(isinstance(name, str) for name in stored):
        raise CheckpointError(f"{path} has no state dict: expected tensors by name, under 'state_dict' or on their own")
    if all(name.startswith("module.") for name in stored):  # the network was trained on several GPUs
        stored = {name.removeprefix("module."): tensor for name, tensor in stored.items()}
    config = _infer_config(path, stored)
    shapes = _shapes(path, config, len(stored))
    names = official_names(config)
    _check_tensors(path, stored, {theirs: shapes[ours] for theirs, ours in names.items()})
    tensors: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        first = tensors.setdefault(ours, stored[theirs])
        if first is not stored[theirs] and first.item() != stored[theirs].item():
            raise CheckpointError(
                f"{path} has different PReLU values: {theirs} is {stored[theirs].item()}, those before it are "
                f"{first.item()}; expected one value, since all CABs share it"
            )
    stores = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    if sum(tensor.numel() * tensor.itemsize for tensor in tensors.values()) > sum(stores.values()):
        raise CheckpointError(f"{path} has fewer values than its tensors together; expected each of them")
    metadata = content.get("metadata")
    return _Checkpoint(config, tensors, metadata if _is_metadata(metadata) else {})


def _unpickle(path: Path) -> Any:
    try:
        _check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol of foreign files
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, CheckpointError):
        raise
    except Exception as error:  # damaged bytes make the unpickler raise nearly anything
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found:
            raise CheckpointError(
                f"{path} holds the Python object {found[1]}, and loading it would run code; expected only tensors. "
                "Save the network's state_dict() instead"
            ) from error
        raise CheckpointError(
            f"{path} is truncated or no PyTorch file ({type(error).__name__}); copy or download it again"
        ) from error


def _check_archive(path: Path) -> None:
    """Raise unless a zip file, as torch takes any to be that begins like one, unpacks to no more than it holds.

    Its directory must lie right before its end, without a comment, as torch writes it: elsewhere Python, which adds up
    what would be unpacked, and torch, which unpacks it, may each find a directory of their own.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _ENDS_BYTES))
        end = file.read().rjust(_ENDS_BYTES, b"\0")
    large, locator, last = end[:56], end[56:76], end[76:]
    if locator[:4] == b"PK\x06\x07":
        length, start = struct.unpack_from("<QQ", large, 40)
        (found,) = struct.unpack_from("<Q", locator, 8)
        is_whole = large[:4] == b"PK\x06\x06" and found == size - _ENDS_BYTES == start + length
    else:
        length, start = struct.unpack_from("<II", last, 12)
        is_whole = start + length == size - len(last)
    if last[:4] != b"PK\x05\x06" or last[20:] != b"\0\0" or not is_whole:
        raise CheckpointError(
            f"{path} is truncated or no PyTorch file (its directory is not at its end); copy or download it again"
        )
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > size:  # torch writes records as they are, and takes memory for the unpacked
        raise CheckpointError(f"{path} would unpack to {unpacked} bytes; expected records that are not packed")


def _infer_config(path: Path, stored: Mapping[str, Any]) -> MPRNetConfig:
    """Read every hyper-parameter but the downsampling from the shapes of a published state dict."""
    if not any(name.startswith(("stage1_", "stage2_", "stage3_orsnet")) for name in stored):
        if any(name.startswith("model.") for name in stored):
            raise CheckpointError(
                f"{path} is what training resumes from, or of another program; expected the weights alone: those of a "
                "run are in the .safetensors beside it"
            )
        raise CheckpointError(
            f"{path} is of another architecture: it has {next(iter(stored))}; expected the tensors of an MPRNet, "
            "such as stage1_encoder.down12.down.1.weight"
        )

    def shape(name: str) -> tuple[int, ...]:
        if name not in stored:
            raise CheckpointError(f"{path} has no tensor {name}; expected all of an MPRNet")
        tensor = stored[name]
        if not _is_plain(tensor) or tensor.dim() != 4:
            raise CheckpointError(f"{path} has no convolution in {name}; expected a tensor of 4 dimensions")
        return tuple(tensor.shape)

    n_feat, in_channels, kernel_size, _ = shape("shallow_feat1.0.weight")
    half_width, quarter_width = (shape(f"stage1_encoder.down{k}.down.1.weight")[0] for k in (12, 23))
    orsnet_width = shape("concat23.weight")[0]
    squeezed = {
        n_feat: shape("shallow_feat1.1.CA.conv_du.0.weight")[0],
        half_width: shape("stage1_encoder.encoder_level2.0.CA.conv_du.0.weight")[0],
        quarter_width: shape("stage1_encoder.encoder_level3.0.CA.conv_du.0.weight")[0],
        orsnet_width: shape("stage3_orsnet.orb1.body.0.CA.conv_du.0.weight")[0],
    }
    # Narrow networks have the same shapes for several reductions; the published one is the likeliest. Reckoned, not
    # tried one by one: no tensor has been held against what is stored of it yet, and a width may be any number.
    lowest = max(width // (narrow + 1) + 1 for width, narrow in squeezed.items())
    highest = min(width // max(narrow, 1) for width, narrow in squeezed.items())
    fitting = range(lowest, highest + 1)
    reduction = lowest if fitting and MPRNetConfig.reduction not in fitting else MPRNetConfig.reduction
    # The convolution that ends an ORB comes after its CABs. All three are asked, in case one is missing.
    ends = (re.fullmatch(r"stage3_orsnet\.orb[123]\.body\.([0-9]{1,6})\.weight", name) for name in stored)
    num_cab = max((int(end[1]) for end in ends if end), default=0)
    try:
        return MPRNetConfig(
            in_channels=in_channels,
            out_channels=shape("tail.weight")[0],
            n_feat=n_feat,
            scale_unetfeats=half_width - n_feat,
            scale_orsnetfeats=orsnet_width - n_feat,
            num_cab=num_cab,
            kernel_size=kernel_size,
            reduction=reduction,  # where none fits, the check below names the tensor
            bias=sum(name.endswith(".bias") for name in stored) > 1,  # one alone is a surplus tensor
        )
    except ConfigError as error:
        raise CheckpointError(f"{path} has tensor shapes that give no MPRNet: {error}") from error


def _shapes(path: Path, config: MPRNetConfig, tensor_count: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter, under our names, that a network of this config has."""
    try:
        # Depth is checked first, since building a billion blocks takes for ever; width costs nothing on `meta`.
        if 12 * config.num_cab * config.subnetworks.count("orsnet") > tensor_count:  # a CAB has four, an ORSNet 3 ORBs
            raise OverflowError
        with torch.device("meta"):
            return {name: tuple(parameter.shape) for name, parameter in build(config).named_parameters()}
    except (RuntimeError, OverflowError, TypeError) as error:
        raise CheckpointError(f"{path} describes a network larger than the file: {config}") from error


def _check_tensors(path: Path, tensors: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless `tensors` has the names and shapes of `shapes`, in finite floats."""
    for name, shape in shapes.items():
        if name not in tensors:
            raise CheckpointError(f"{path} has no tensor {name}; expected one of shape {shape}")
        tensor = tensors[name]
        if not _is_plain(tensor):
            raise CheckpointError(f"{path} has something else than a tensor of floats in {name}")
        if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():  # one value may stand for gigabytes
            raise CheckpointError(
                f"{path} has fewer values than a tensor of its shape in {name}; expected each of them"
            )
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"{path} has shape {tuple(tensor.shape)} in {name}; expected {shape}")
        if not _is_finite(tensor):
            raise CheckpointError(f"{path} has values that are not finite in {name}; expected numbers only")
    surplus = sorted(tensors.keys() - shapes.keys())
    if surplus:
        raise CheckpointError(f"{path} has the surplus tensor {surplus[0]}; expected only those of an MPRNet")


def _is_plain(content: object) -> TypeGuard[Tensor]:
    if not isinstance(content, Tensor):
        return False
    is_dense = content.layout == torch.strided and not content.is_meta and not content.is_nested
    return is_dense and content.dtype in _FLOATS


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor.float()).all())  # as float32, since not every narrow type can be asked


def _is_metadata(content: object) -> TypeGuard[dict[str, str]]:
    return isinstance(content, dict) and all(isinstance(text, str) for entry in content.items() for text in entry)


# Writing


def _of_model(model: MPRNet, metadata: Mapping[str, str] | None, dtype: torch.dtype | None) -> _Checkpoint:
    model = getattr(model, "_orig_mod", model)  # of what torch.compile returns, which names everything otherwise
    require_no_buffers(model)
    tensors = {
        name: parameter.detach().to("cpu", dtype or parameter.dtype) for name, parameter in model.named_parameters()
    }
    return _Checkpoint(model.config, tensors, dict(metadata or {}))


def _write(checkpoint: _Checkpoint, path: Path, form: str, overwrite: bool) -> None:
    if (path.suffix == _SUFFIX) != (form == "mprnet"):
        expected = f"a path that ends in {_SUFFIX}" if form == "mprnet" else f"a path that does not end in {_SUFFIX}"
        raise CheckpointError(f"{path} cannot be written in the form '{form}'; expected {expected}")
    if not _is_metadata(checkpoint.metadata):
        raise CheckpointError(f"metadata is {checkpoint.metadata!r}; expected text under text")
    for name, shape in _shapes(path, checkpoint.config, len(checkpoint.tensors)).items():
        if name not in checkpoint.tensors or checkpoint.tensors[name].shape != shape:
            raise CheckpointError(
                f"the network has no parameter {name} of shape {shape}; expected those of its config, without "
                f"parametrizations and wrappers; {path} was not written"
            )
    for name, tensor in checkpoint.tensors.items():
        if tensor.dtype not in _FLOATS:
            raise CheckpointError(f"{name} would be {tensor.dtype}; expected floats; {path} was not written")
        if not _is_finite(tensor):
            raise CheckpointError(f"{name} has values that are not finite in {tensor.dtype}; {path} was not written")
    # In plain order: tensors may be channels-last, share their memory, or be views of a larger store.
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in checkpoint.tensors.items()}
    plain = dataclasses.replace(checkpoint, tensors=tensors)
    data = _to_mprnet(plain) if form == "mprnet" else _to_official(plain)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder; expected a file to write")
        if not path.parent.is_dir():
            raise CheckpointError(f"{path} cannot be written: the folder {path.parent} does not exist")
        if path.exists() and not overwrite:
            raise CheckpointError(f"{path} exists; choose another name, or overwrite it (--overwrite, overwrite=True)")
        with written_whole(path) as unfinished:
            unfinished.write_bytes(data)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error


def _to_mprnet(checkpoint: _Checkpoint) -> bytes:
    header = {
        "version": FORMAT_VERSION,
        "config": checkpoint.config.entries(),
        "metadata": checkpoint.metadata,
    }
    data: bytes = safetensors.torch.save(checkpoint.tensors, {_HEADER: json.dumps(header, sort_keys=True)})
    return data


def _to_official(checkpoint: _Checkpoint) -> bytes:
    if checkpoint.config.downsampling != "bilinear":
        raise CheckpointError(
            f"the network downsamples by {checkpoint.config.downsampling}; the published form expects bilinear, and "
            "other programs would compute something else"
        )
    if checkpoint.config.is_ablated:
        raise CheckpointError(
            f"the network ({checkpoint.config.combination}) is one of Table 6, which the published form does not have; "
            "expected that of the paper"
        )
    content: dict[str, object] = {
        "state_dict": {theirs: checkpoint.tensors[ours] for theirs, ours in official_names(checkpoint.config).items()}
    }
    if checkpoint.metadata:
        content["metadata"] = checkpoint.metadata
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()

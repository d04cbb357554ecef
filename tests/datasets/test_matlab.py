"""MATLAB files of both formats: arrays, the validation blocks of SIDD, the boxes of DND, and what its server takes."""

from __future__ import annotations

import os
import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mprnet.datasets import open_benchmark, write_dnd_submission
from mprnet.datasets.matlab import MatlabArray, is_hdf5, read_struct_field, write_mat
from mprnet.errors import DataError, ImageError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

scipy_io = pytest.importorskip("scipy.io", reason="SciPy, of the extra `evaluate`, is not installed")
h5py = pytest.importorskip("h5py", reason="h5py, of the extra `evaluate`, is not installed")

RANDOM = np.random.default_rng(0)
BLOCKS = RANDOM.integers(0, 256, (2, 3, 6, 5, 3), np.uint8)


def write_v5(path: Path, **variables: Any) -> Path:
    scipy_io.savemat(path, variables, do_compression=True)
    return path


def new_v73(path: Path) -> Any:
    """A file as MATLAB writes it: 512 bytes of its own before the HDF5 file, axes in reverse."""
    return h5py.File(path, "w", userblock_size=512)


def write_v73(path: Path, **variables: np.ndarray) -> Path:
    with new_v73(path) as file:
        for name, array in variables.items():
            file[name] = array.T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))
    return path


WRITERS = pytest.mark.parametrize("write", [write_v5, write_v73])


@WRITERS
def test_an_array_keeps_its_axes_in_either_format(tmp_path: Path, write: Callable[..., Path]) -> None:
    array = MatlabArray(write(tmp_path / "a.mat", blocks=BLOCKS), "blocks")
    assert is_hdf5(array.path) == (write is write_v73)
    assert array.shape == BLOCKS.shape
    part = array[1, 2, slice(None), slice(1, 4), slice(None)]
    assert part.dtype == np.uint8
    assert np.array_equal(part, BLOCKS[1, 2, :, 1:4])


@WRITERS
def test_a_variable_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, write: Callable[..., Path]) -> None:
    array = MatlabArray(write(tmp_path / "a.mat", blocks=BLOCKS, other=BLOCKS), "Blocks")
    with pytest.raises(DataError, match=r"a\.mat has no variable Blocks; it has blocks, other"):
        _ = array.shape
    with pytest.raises(DataError, match="has no variable Blocks; it has blocks, other"):
        array[0, 0, 0, 0, 0]


@WRITERS
@pytest.mark.parametrize("kept", [0, 100, 600])
def test_a_truncated_file_is_one_line(tmp_path: Path, write: Callable[..., Path], kept: int) -> None:
    path = write(tmp_path / "a.mat", blocks=BLOCKS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a\.mat cannot be read, or blocks is not what was expected: .") as error:
        MatlabArray(path, "blocks")[0, 0, 0, 0, 0]
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.mat does not exist; expected a MATLAB file with blocks"):
        _ = MatlabArray(tmp_path / "a.mat", "blocks").shape


@WRITERS
def test_an_index_of_other_axes_is_one_line(tmp_path: Path, write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"a\.mat cannot be read, or blocks is not what was expected: .") as error:
        MatlabArray(write(tmp_path / "a.mat", blocks=BLOCKS[0, 0]), "blocks")[0, 0, 0, 0, 0]
    assert "\n" not in str(error.value)


@WRITERS
def test_a_file_that_changed_is_read_again(tmp_path: Path, write: Callable[..., Path]) -> None:
    array = MatlabArray(write(tmp_path / "a.mat", blocks=BLOCKS), "blocks")
    place = (0, 1, slice(None), slice(None), slice(None))
    assert np.array_equal(array[place], BLOCKS[place])
    written = array.path.stat().st_mtime_ns
    write(array.path, blocks=255 - BLOCKS)
    os.utime(array.path, ns=(written, written + 10**9))
    assert np.array_equal(array[place], 255 - BLOCKS[place])


@pytest.mark.parametrize("package", ["scipy.io", "h5py"])
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    write = write_v5 if package == "scipy.io" else write_v73
    path = write(tmp_path / "a.mat", blocks=BLOCKS)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r'pip install "mprnet\[evaluate\]"'):
        _ = MatlabArray(path, "blocks").shape


def write_sidd(folder: Path, write: Callable[..., Path], noisy: np.ndarray, target: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "ValidationNoisyBlocksSrgb.mat", ValidationNoisyBlocksSrgb=noisy)
    write(folder / "ValidationGtBlocksSrgb.mat", ValidationGtBlocksSrgb=target)
    return folder


@WRITERS
def test_the_blocks_of_sidd_are_items(tmp_path: Path, write: Callable[..., Path]) -> None:
    benchmark = open_benchmark("sidd", write_sidd(tmp_path, write, BLOCKS, 255 - BLOCKS), allow_partial=True)
    assert [item.name for item in benchmark.items] == [f"{p:04d}_{b:02d}" for p in (1, 2) for b in (1, 2, 3)]
    last = pickle.loads(pickle.dumps(benchmark.items[-1])).read()  # noqa: S301
    assert last.degraded.dtype == np.uint8
    assert np.array_equal(last.degraded, BLOCKS[1, 2])
    assert np.array_equal(last.target, 255 - BLOCKS[1, 2])


def test_sidd_has_1280_blocks(tmp_path: Path) -> None:
    blocks = np.zeros((40, 32, 1, 1, 3), np.uint8)
    folder = write_sidd(tmp_path / "SIDD" / "val", write_v5, blocks, blocks)
    assert len(open_benchmark("sidd", folder).items) == len(open_benchmark("sidd", tmp_path).items) == 1280
    write_sidd(folder, write_v5, BLOCKS, BLOCKS)
    with pytest.raises(DataError, match="holds 6 pictures, but SIDD validation has 1280"):
        open_benchmark("sidd", folder)


def test_sidd_without_its_ground_truth_or_with_another_one_is_refused(tmp_path: Path) -> None:
    write_sidd(tmp_path, write_v5, BLOCKS, BLOCKS[:1])
    with pytest.raises(DataError, match="2×3×6×5×3 and 1×3×6×5×3"):
        open_benchmark("sidd", tmp_path)
    write_sidd(tmp_path, write_v5, BLOCKS[0], BLOCKS[0])
    with pytest.raises(DataError, match="ValidationNoisyBlocksSrgb is 3×6×5×3; expected pictures × blocks"):
        open_benchmark("sidd", tmp_path)
    write_v5(tmp_path / "ValidationGtBlocksSrgb.mat", blocks=BLOCKS)
    with pytest.raises(DataError, match=r"GtBlocksSrgb\.mat has no variable ValidationGtBlocksSrgb; it has blocks"):
        open_benchmark("sidd", tmp_path)
    (tmp_path / "ValidationGtBlocksSrgb.mat").unlink()
    with pytest.raises(DataError, match=r"ValidationGtBlocksSrgb\.mat does not exist"):
        open_benchmark("sidd", tmp_path)


@pytest.fixture
def dnd(tmp_path: Path) -> Path:
    """Three pictures of 12×16 with two boxes each; the first box is the top left corner of 4×5."""
    boxes = np.array([[1, 1, 4, 5], [7, 9, 12, 16]], dtype=np.float64)
    with new_v73(tmp_path / "info.mat") as file:
        references = []
        for number in range(3):
            entry = file.create_dataset(f"#refs#/{number}", data=(boxes - [0, 0, number, 0]).T)
            references.append(entry.ref)
        file["info/boundingboxes"] = np.array([references], dtype=h5py.ref_dtype)
    (tmp_path / "images_srgb").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).random((12, 16, 3), np.float32)
        write_v73(tmp_path / "images_srgb" / f"{number + 1:04d}.mat", InoisySRGB=pixels)
    return tmp_path


def test_the_boxes_of_dnd_are_items_without_ground_truth(dnd: Path) -> None:
    benchmark = open_benchmark("dnd", dnd, allow_partial=True)
    assert [item.name for item in benchmark.items] == [f"{p:04d}_{b:02d}" for p in (1, 2, 3) for b in (1, 2)]
    assert (benchmark.protocol, benchmark.expected_count) == (None, 1000)
    pixels = np.random.default_rng(1).random((12, 16, 3), np.float32)
    first, second = (item.read() for item in benchmark.items[2:4])
    assert first.target is second.target is None
    assert first.degraded.dtype == np.float32
    assert np.array_equal(first.degraded, pixels[:3, :5])
    assert np.array_equal(second.degraded, pixels[6:11, 8:16])


def test_dnd_says_what_is_missing(dnd: Path) -> None:
    with pytest.raises(DataError, match="holds 6 pictures, but DND has 1000"):
        open_benchmark("dnd", dnd)
    (dnd / "images_srgb" / "0002.mat").unlink()
    assert len(open_benchmark("dnd", dnd, allow_partial=True).items) == 4
    write_v73(dnd / "images_srgb" / "0003.mat", Inoisy=BLOCKS)
    with pytest.raises(DataError, match=r"0003\.mat has no variable InoisySRGB; it has Inoisy"):
        open_benchmark("dnd", dnd, allow_partial=True).items[-1].read()
    write_v73(dnd / "images_srgb" / "0003.mat", InoisySRGB=np.zeros((3, 3, 3), np.float32))
    with pytest.raises(ImageError, match=r"0003\.mat does not hold the box \(1, 1, 2, 5\)"):
        open_benchmark("dnd", dnd, allow_partial=True).items[2].read()
    write_v73(dnd / "images_srgb" / "0004.mat", InoisySRGB=BLOCKS[0])
    with pytest.raises(DataError, match=r"the boxes of 3 pictures, but .*0004\.mat is there besides"):
        open_benchmark("dnd", dnd)
    (dnd / "info.mat").rename(dnd / "info.old")
    with pytest.raises(DataError, match=r"info\.mat does not exist; expected info\.mat with images_srgb"):
        open_benchmark("dnd", dnd)


def test_an_info_file_without_boxes_or_of_another_format_is_refused(tmp_path: Path) -> None:
    path = write_v73(tmp_path / "info.mat", boxes=BLOCKS)
    with pytest.raises(DataError, match=r"info\.mat has no info\.boundingboxes; it has boxes"):
        read_struct_field(path, "info", "boundingboxes")
    with pytest.raises(DataError, match=r"info\.mat is no MATLAB v7\.3 file"):
        read_struct_field(write_v5(path, info=BLOCKS), "info", "boundingboxes")
    with pytest.raises(DataError, match=r"images_srgb holds no NNNN\.mat"):
        open_benchmark("dnd", tmp_path)


BOXES = [RANDOM.random((4, 5, 3)) for _ in range(20)]


def test_a_submission_holds_what_the_server_takes(tmp_path: Path) -> None:
    path = write_dnd_submission(tmp_path / "bundled", 7, BOXES)
    assert path == tmp_path / "bundled" / "0007.mat"
    assert [entry.name for entry in path.parent.iterdir()] == ["0007.mat"]
    kinds = {name: (shape, kind) for name, shape, kind in scipy_io.whosmat(path)}
    assert kinds == {"Idenoised": ((1, 20), "cell"), "israw": ((1, 1), "logical"), "eval_version": ((1,), "char")}
    content = scipy_io.loadmat(path)
    assert content["israw"].item() == 0
    assert content["eval_version"].item() == "1.0"
    for box, given in zip(content["Idenoised"][0], BOXES, strict=True):
        assert box.dtype == np.float32
        assert np.array_equal(box, given.astype(np.float32))


def test_a_submission_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = write_dnd_submission(tmp_path, 1, BOXES)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"0001\.mat exists"):
        write_dnd_submission(tmp_path, 1, BOXES[::-1])
    assert path.read_bytes() == before
    write_dnd_submission(tmp_path, 1, BOXES[::-1], overwrite=True)
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    ("boxes", "complaint"),
    [
        (BOXES[:19], "19 boxes for picture 1 of DND; expected 20"),
        ([*BOXES[:19], BOXES[0] * 255], "box 20 of picture 1 of DND is 4×5×3, float64; expected"),
        ([*BOXES[:19], BOXES[0] * np.nan], "box 20"),
        ([BLOCKS[0, 0], *BOXES[1:]], "box 1 of picture 1 of DND is 6×5×3, uint8"),
        ([BOXES[0][..., 0], *BOXES[1:]], "box 1 of picture 1 of DND is 4×5, float64"),
    ],
)
def test_a_submission_that_the_server_would_refuse_is_not_written(
    tmp_path: Path, boxes: list[np.ndarray], complaint: str
) -> None:
    with pytest.raises(ImageError, match=complaint):
        write_dnd_submission(tmp_path, 1, boxes)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file cannot be made"):
        write_dnd_submission(tmp_path / "file", 1, BOXES)
    with pytest.raises(DataError, match=r"nowhere/a\.mat cannot be written"):
        write_mat(tmp_path / "nowhere" / "a.mat", {"a": 1})

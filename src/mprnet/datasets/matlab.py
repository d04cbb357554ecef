"""MATLAB files: arrays of both formats (v5 to v7, and v7.3, which is HDF5), and what a server takes.

Arrays have MATLAB's axis order, whichever format they come from.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mprnet.errors import DataError, MissingExtraError
from mprnet.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class MatlabArray:
    """An array in a `.mat` file, read where it is indexed.

    A v7.3 file is read piece by piece; of an older one the whole array is read and kept for a while.
    """

    path: Path
    variable: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes.

        Raises:
            DataError: the file is missing, broken, or lacks the variable.
        """
        with _opened(self.path, self.variable) as file:
            if is_hdf5(self.path):
                return tuple(reversed(_entry(self, file, list(file)).shape))
            shapes = {name: shape for name, shape, _ in _scipy().whosmat(str(self.path))}
            return tuple(_entry(self, shapes, list(shapes)))

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part, one index for each axis, counted from 0.

        Raises:
            DataError: the file is missing, broken, or lacks the variable; or the array has other axes.
        """
        with _opened(self.path, self.variable) as file:
            if not is_hdf5(self.path):
                return np.asarray(_load(self.path, self.variable, self.path.stat().st_mtime_ns)[index])
            return np.asarray(_entry(self, file, list(file))[tuple(reversed(index))]).T


def is_hdf5(path: Path) -> bool:
    """Tell a v7.3 file, which is HDF5, from an older one."""
    with path.open("rb") as file:
        head = file.read(512 + len(_HDF5))
    return head.startswith(_HDF5) or head[512:] == _HDF5  # MATLAB leaves room for its own header


def read_struct_field(path: Path, struct: str, field: str) -> list[NDArray[Any]]:
    """Read one field of every element of a struct array in a v7.3 file.

    Raises:
        DataError: the file is missing, broken, of an older format, or lacks the struct or its field.
    """
    with _opened(path, f"{struct}.{field}") as file:
        if not is_hdf5(path):
            raise DataError(f"{path} is no MATLAB v7.3 file; expected one with the struct {struct}")
        if struct not in file or field not in file[struct]:
            raise DataError(f"{path} has no {struct}.{field}; it has {', '.join(sorted(file)) or 'nothing'}")
        return [np.asarray(file[reference]).T for reference in np.asarray(file[struct][field]).flat]


def write_mat(path: Path, variables: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write a v5 file, whole or not at all; an array of objects becomes a cell array.

    Raises:
        DataError: the file exists and `overwrite` was not given, or it cannot be written.
    """
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists; choose another folder or ask to overwrite it")
    savemat = _scipy().savemat
    try:
        with written_whole(path) as unfinished, unfinished.open("xb") as file:
            savemat(file, dict(variables), do_compression=True)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def _entry(array: MatlabArray, entries: Any, names: list[str]) -> Any:
    if array.variable not in entries:
        found = ", ".join(sorted(name for name in names if not name.startswith("#"))) or "nothing"
        raise DataError(f"{array.path} has no variable {array.variable}; it has {found}")
    return entries[array.variable]


@contextlib.contextmanager
def _opened(path: Path, what: str) -> Iterator[Any]:
    """Open a v7.3 file as HDF5, an older one not at all, and name the file in what goes wrong inside."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; expected a MATLAB file with {what}")
    try:
        if is_hdf5(path):
            with _h5py().File(path, "r") as file:
                yield file
        else:
            yield None
    except (DataError, MissingExtraError):
        raise
    except Exception as error:  # damaged bytes make the readers raise nearly anything
        raise DataError(f"{path} cannot be read, or {what} is not what was expected: {error}") from error


@functools.lru_cache(maxsize=2)  # the noisy blocks of SIDD and their ground truth
def _load(path: Path, variable: str, changed: int) -> NDArray[Any]:  # noqa: ARG001 (a file that changed is read again)
    variables = _scipy().loadmat(str(path), variable_names=[variable])
    names = [name for name, *_ in _scipy().whosmat(str(path))]
    array: NDArray[Any] = _entry(MatlabArray(path, variable), variables, names)
    return array


def _scipy() -> ModuleType:
    try:
        import scipy.io  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError('MATLAB files need SciPy: pip install "mprnet[evaluate]"') from error
    module: ModuleType = scipy.io
    return module


def _h5py() -> ModuleType:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError('MATLAB v7.3 files need h5py: pip install "mprnet[evaluate]"') from error
    module: ModuleType = h5py
    return module

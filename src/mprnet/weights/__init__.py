"""The weights that travel with the package, and the names they are found by."""

from __future__ import annotations

from pathlib import Path

from mprnet.errors import CheckpointError
from mprnet.files import PathLike

_FOLDER = Path(__file__).parent


def shipped_weights() -> dict[str, Path]:
    """Return the shipped weights files by name, sorted.

    Example:
        >>> set(shipped_weights()) <= {"derain", "deblur", "denoise"}
        True
    """
    return {path.stem: path for path in sorted(_FOLDER.glob("*.safetensors"))}


def find_weights(name_or_path: PathLike) -> Path:
    """Return the weights file of a shipped name, or of a path.

    Args:
        name_or_path: `derain`, `deblur`, `denoise`, or a `.safetensors` or `.pth` file. A shipped name comes first.

    Raises:
        CheckpointError: neither exists.
    """
    shipped = shipped_weights()
    if (path := shipped.get(str(name_or_path))) is not None:
        return path
    if (path := Path(name_or_path)).is_file():
        return path
    raise CheckpointError(f"no weights {name_or_path!s}; expected a file, or one of {', '.join(shipped) or 'none'}")

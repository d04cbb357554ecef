"""Pictures of a test set that another program has restored, measured as if they were computed here."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mprnet.datasets.layouts import FileItem
from mprnet.errors import DataError
from mprnet.evaluation.benchmark import Method
from mprnet.evaluation.folders import pictures_by_name, read_pixels
from mprnet.imaging import to_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mprnet.datasets.benchmarks import Benchmark
    from mprnet.datasets.layouts import Item
    from mprnet.files import PathLike


def restored_method(folder: PathLike, benchmark: Benchmark, *, trained_on: str | None = None) -> Method:
    """Measure the pictures of a folder, whatever restored them, under the folder's name.

    A picture of the set is looked for, with any ending, by its name in the set, and by the place of the degraded
    picture, below any of the folders it lies in: of `test/SCENE/blur/1.png` as `SCENE-1`, `test/SCENE/blur/1`,
    `SCENE/blur/1`, and so on, as far as no other picture of the set goes by that.

    Args:
        folder: with the restored pictures, searched with its subfolders.
        benchmark: the test set.
        trained_on: the sets that the method has learned from, separated by commas, where it is known.

    Returns:
        Method: reading a picture that is not there, or there twice, or of another size than the degraded one, raises
            DataError.

    Raises:
        DataError: there is no such folder, it cannot be read, or holds no picture of the set.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected one with the restored pictures")
    there, places = pictures_by_name(folder), _places(benchmark.items)
    found = {name: [path for place in places[name] for path in there.get(place, [])] for name in places}
    digest = hashlib.sha256()
    try:
        for path in sorted(path for paths in found.values() for path in paths):
            digest.update(f"{path.relative_to(folder)}\n".encode(errors="surrogateescape"))
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}") from error
    if not any(found.values()):
        names = " or ".join(next(iter(places.values()))[:2])
        raise DataError(f"{folder} holds no picture of {benchmark.name}; expected such as {names}, with any ending")

    def restore(degraded: NDArray[Any], name: str) -> dict[str, NDArray[Any]]:
        paths = found[name]
        if len(paths) != 1:
            what = " and ".join(str(path.relative_to(folder)) for path in paths) or "no picture"
            raise DataError(f"{folder} holds {what} for {name}; expected one")
        restored = read_pixels(paths[0])
        if restored.shape != degraded.shape:
            sizes = [f"{picture.shape[1]}×{picture.shape[0]}" for picture in (restored, degraded)]
            raise DataError(f"{paths[0]} is {sizes[0]} and the degraded picture {sizes[1]}; expected one size")
        return {"restored": to_tensor(restored).permute(1, 2, 0).numpy()}

    name = folder.resolve().name
    facts = {"restored": name, "sha256": digest.hexdigest(), "trained_on": trained_on or ""}
    return Method(name, restore, ("restored",), facts, takes_name=True)


def _places(items: Sequence[Item]) -> dict[str, list[str]]:
    """Return under which names, without ending, the restored picture of each item may lie."""
    places = {}
    for item in items:
        path = item.degraded.with_suffix("") if isinstance(item, FileItem) else Path()
        parts = path.relative_to(path.anchor).parts
        ends = ("/".join(parts[-length:]) for length in range(1, len(parts) + 1))
        places[item.name] = list(dict.fromkeys((item.name, *ends)))
    claims = Counter(place for each in places.values() for place in each)
    return {name: [place for place in each if place == name or claims[place] == 1] for name, each in places.items()}

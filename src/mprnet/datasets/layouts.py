"""How published sets lie on disk: patterns of paths that name the degraded pictures and their ground truth.

A set is looked for in a few places below the folder that the user names, in each of the layouts that its authors and
the common re-packagings use. The first layout that fits wins; where none does, the message says what is missing.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from mprnet.datasets.folders import read_rgb
from mprnet.errors import DataError, ImageError
from mprnet.imaging import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class SetNotFoundError(DataError):
    """Nothing in a folder hints at the set that is looked for."""


class NearMissError(DataError):
    """A folder hints at a layout, but not one pair is there: it may have another layout."""


class ItemPictures(NamedTuple):
    """What an item holds.

    Attributes:
        degraded: `(H, W, 3)`, RGB: uint8, or floats in [0, 1], as stored.
        target: the same shape and kind; None where the ground truth is kept by a server.
    """

    degraded: NDArray[Any]
    target: NDArray[Any] | None


class Item(Protocol):
    """A picture of a set, read when it is asked for. Items can be sent to other processes."""

    @property
    def name(self) -> str:
        """Stable, unique in its set, and fit for a file name."""

    def read(self) -> ItemPictures:
        """Read the pictures.

        Raises:
            ImageError: this picture or its ground truth is broken or missing, or their sizes differ.
            DataError: the file that holds many of them is broken.
        """


class Layout(Protocol):
    """A way in which a set may lie in a folder."""

    def find(self, place: Path) -> Sequence[Item]:
        """Return the items in `place`, sorted by name; none where nothing hints at this layout.

        Raises:
            NearMissError: not one item is there, but something that goes with them.
            DataError: some items are there, and others are incomplete; the message says what is missing.
        """


@dataclass(frozen=True)
class FileItem:
    """A pair of picture files."""

    name: str
    degraded: Path
    target: Path

    def read(self) -> ItemPictures:
        pictures = ItemPictures(read_rgb(self.degraded), read_rgb(self.target))
        sizes = [f"{picture.shape[1]}×{picture.shape[0]}" for picture in pictures if picture is not None]
        if sizes[0] != sizes[1]:
            raise ImageError(f"{self.degraded} is {sizes[0]} and {self.target} {sizes[1]}; expected one size")
        return pictures


@dataclass(frozen=True)
class HalvesItem:
    """A file that holds both pictures side by side."""

    name: str
    path: Path
    degraded: Literal["left", "right"]

    def read(self) -> ItemPictures:
        both = read_rgb(self.path)
        width = both.shape[1]
        if width % 2:
            raise ImageError(f"{self.path} is {width} pixels wide; expected two pictures side by side, an even width")
        left, right = both[:, : width // 2], both[:, width // 2 :]
        return ItemPictures(left, right) if self.degraded == "left" else ItemPictures(right, left)


@dataclass(frozen=True)
class Files:
    """Pairs of files, by two patterns of paths without suffix, such as `{scene}/blur/{name}`.

    A field stands for any text inside one part of a path. Pictures whose fields agree are a pair; the target may lack
    fields, and then serves several degraded pictures.

    Attributes:
        degraded: where the degraded pictures are.
        target: where their ground truth is.
        name: what an item is called, in the fields of `degraded`.
    """

    degraded: str
    target: str
    name: str = "{name}"

    def __str__(self) -> str:
        return f"{_shown(self.degraded)} with {_shown(self.target)}"

    def find(self, place: Path) -> list[Item]:
        degraded, target = match(place, self.degraded), match(place, self.target)
        if not degraded or not target:
            # A folder of that name is a hint, though it be empty; a pattern that begins with a field is none.
            hints = [side for side in (self.degraded, self.target) if _fixed(side) and (place / _fixed(side)).is_dir()]
            if degraded or hints:
                missing = self.target if degraded else self.degraded
                found = f"{len(degraded)} pictures {_shown(self.degraded)}" if degraded else f"{_fixed(hints[0])}/"
                raise NearMissError(f"{place} has {found}, but no picture {_shown(missing)}; expected {self}")
            return []
        shared = _fields(self.target)
        items: list[Item] = []
        lonely = []
        used = set()
        for fields, path in degraded.items():
            values = dict(zip(_fields(self.degraded), fields, strict=True))
            key = tuple(values[field] for field in shared)
            used.add(key)
            if key in target:
                items.append(FileItem(self.name.format(**values), path, target[key]))
            else:
                lonely.append(path)
        if sorted(shared) == sorted(_fields(self.degraded)):
            lonely += [path for key, path in target.items() if key not in used]
        if lonely:
            # With some pairs there, another layout (GoPro has two) would measure something else in silence.
            raise (DataError if items else NearMissError)(
                f"{place}: {len(lonely)} pictures have no partner, the first is {lonely[0].relative_to(place)}; "
                f"expected {self}"
            )
        return sorted(items, key=lambda item: item.name)


@dataclass(frozen=True)
class Halves:
    """Files that hold both pictures side by side."""

    pattern: str
    degraded: Literal["left", "right"]

    def __str__(self) -> str:
        return f"{_shown(self.pattern)} holding both pictures side by side, the degraded one {self.degraded}"

    def find(self, place: Path) -> list[Item]:
        return [
            HalvesItem("-".join(fields), path, self.degraded) for fields, path in match(place, self.pattern).items()
        ]


@dataclass(frozen=True)
class ListFile:
    """Pairs named by a text file: in each line the path of the ground truth and that of the degraded picture.

    RealBlur names its pictures `SET/scene001/gt/gt_1.png` and `SET/scene001/blur/blur_1.png`.
    """

    file_name: str

    def __str__(self) -> str:
        return f"{self.file_name} and the pictures it lists"

    def find(self, place: Path) -> list[Item]:
        file = place / self.file_name
        if not file.is_file():
            return []
        try:
            lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read: {error}") from error
        wrong = [number for number, line in enumerate(lines, 1) if len(line) != 2]
        if wrong:
            raise DataError(f"{file}: entry {wrong[0]} is not a pair; expected two paths, ground truth first")
        items = []
        for target, degraded in lines:
            path = place / degraded
            items.append(FileItem(f"{path.parent.parent.name}-{path.stem}", path, place / target))
        missing = [path for item in items for path in (item.degraded, item.target) if not path.is_file()]
        if missing:
            raise DataError(f"{file} lists {len(missing)} pictures that are not there, the first is {missing[0]}")
        return sorted(items, key=lambda item: item.name)


@dataclass(frozen=True, kw_only=True)
class SetSpec:
    """A published set: what it is called, where it may lie, and how many items the paper counts.

    Attributes:
        title: the name in the paper, where it has one there.
        task: derain, deblur or denoise.
        expected_count: the items of the complete set (Table 1, Section 4.1).
        published_count: the items of the copy that the paper's authors publish, where they are fewer; it is taken, too.
        folders: names that the set's folder commonly has.
        splits: names that the folder of this part of the set commonly has.
        layouts: how it may lie there.
        lists: layouts that name the set; they are looked for first, in every place.
        shared_folders: names of folders that hold another set of as many items, too. Where a set has some, `layouts`
            are looked for only in a folder of its own name, and in the one that is given.
    """

    title: str
    task: str
    expected_count: int
    folders: tuple[str, ...]
    splits: tuple[str, ...]
    layouts: tuple[Layout, ...]
    lists: tuple[Layout, ...] = ()
    shared_folders: tuple[str, ...] = ()
    published_count: int | None = None

    def complete_count(self, items: Sequence[Item]) -> int:
        """Return the items of the complete set: of its published copy where these are as many, else the paper's."""
        return len(items) if len(items) == self.published_count else self.expected_count

    def find(self, root: Path, *, allow_partial: bool = False, inside: bool = True) -> Sequence[Item]:
        """Find the set in or below a folder.

        Args:
            root: the set's folder, or one that holds it.
            allow_partial: take what is there, however many.
            inside: `root` may be the set's own folder.

        Raises:
            SetNotFoundError: nothing hints at the set.
            DataError: the set is incomplete, or holds a name twice.
        """
        if not root.is_dir():
            raise DataError(f"{root} is not a folder; expected one that holds {self.title}")
        folders = (*self.folders, *self.shared_folders)
        both = itertools.product(folders, self.splits)
        names = [path for name, split in both for path in (f"{name}/{split}", f"{split}/{name}")]
        names += [*folders, *(self.splits if inside else ())]
        places = [root / name for name in names if (root / name).is_dir()] + [root] * inside
        problems = []
        for place, layout in (
            *itertools.product(places, self.lists),
            *itertools.product([place for place in places if self._is_own(place, root)], self.layouts),
        ):
            try:
                items = layout.find(place)
            except NearMissError as error:
                problems.append(error)
                continue
            if items:
                self._check(place, items, allow_partial)
                return items
        if problems:
            raise problems[0]
        raise SetNotFoundError(
            f"{self.title} was not found in {root}; expected it there, or in its folder {' or '.join(folders)}, "
            f"as {(*self.lists, *self.layouts)[0]}, or in another layout of docs/datasets.md"
        )

    def _is_own(self, place: Path, root: Path) -> bool:
        names = (root.resolve().name, *place.relative_to(root).parts)
        return not self.shared_folders or place == root or any(name in self.folders for name in names)

    def _check(self, place: Path, items: Sequence[Item], allow_partial: bool) -> None:
        name, times = Counter(item.name for item in items).most_common(1)[0]
        if times > 1:
            raise DataError(f"{place} holds {times} pictures that go by the name {name!r}; expected one")
        if len(items) != self.complete_count(items) and not allow_partial:
            copy = f" (its published copy {self.published_count})" if self.published_count else ""
            raise DataError(
                f"{place} holds {len(items)} pictures, but {self.title} has {self.expected_count}{copy}; "
                + (
                    "complete the set, or allow a partial one (--partial)"
                    if len(items) < self.expected_count
                    else "pictures of another part, training or test, may be among them; --partial takes them all"
                )
            )


@dataclass(frozen=True)
class PictureSet:
    """A set that was found.

    Attributes:
        name: its key in the table, or the folder's name.
        task: derain, deblur or denoise.
        items: its pictures, sorted by name.
        expected_count: the items of the complete set.
    """

    name: str
    task: str
    items: Sequence[Item]
    expected_count: int


def match(place: Path, pattern: str) -> dict[tuple[str, ...], Path]:
    """Return the pictures in a folder whose paths, without suffix, match a pattern, by the values of its fields.

    Raises:
        DataError: two files differ in their suffix alone, or a folder cannot be read.
    """
    found: dict[tuple[str, ...], Path] = {}
    for fields, path in _walk(place, pattern.split("/")):
        if fields in found:
            raise DataError(f"{path.parent} holds {found[fields].name} and {path.name}; expected one of them")
        found[fields] = path
    return found


def _walk(folder: Path, parts: list[str]) -> Iterator[tuple[tuple[str, ...], Path]]:
    part, *rest = parts
    if rest and "{" not in part:
        if (folder / part).is_dir():
            yield from _walk(folder / part, rest)
        return
    expression = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(part)))
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    for path in entries:
        if rest:
            if (fit := expression.fullmatch(path.name)) and path.is_dir():
                yield from ((fit.groups() + fields, found) for fields, found in _walk(path, rest))
        elif path.suffix.lower() in FORMATS and (fit := expression.fullmatch(path.stem)) and path.is_file():
            yield fit.groups(), path


def _fields(pattern: str) -> list[str]:
    return re.findall(r"{(\w+)}", pattern)


def _fixed(pattern: str) -> str:
    """Return the folders before the first field."""
    return pattern.split("{")[0].rpartition("/")[0]


def _shown(pattern: str) -> str:
    return re.sub(r"{(\w+)}", lambda field: field[1].upper(), pattern)

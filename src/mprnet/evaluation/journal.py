"""Results on disk: the journal that a run is taken up from, `results.json` and `results.csv`."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mprnet.errors import DataError
from mprnet.evaluation.protocols import to_json
from mprnet.evaluation.results import PictureResult, Results, to_csv, write_text
from mprnet.settings import flattened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mprnet.files import PathLike

RESULTS_JSON, RESULTS_CSV = "results.json", "results.csv"
_JOURNALS = "results.rank*.jsonl"
_OF_ROWS = ("method.trained_on", "method.weights")
"""Settings that say what stands in a row, not what is measured: the hash of the weights tells them from others."""


class Journal:
    """Results as they come, a line a picture, so that a run that is interrupted loses no picture that was done.

    Args:
        folder: where the journals of all processes lie, and `results.json` of a run that ended.
        settings: of this run.
        outputs: of its method; results with others are those of another run.
        rank: of this process; each writes a journal of its own.
        environment: of this process, noted beside what it measures.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        outputs: tuple[str, ...],
        rank: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._header = {"settings": dict(settings), "outputs": list(outputs)}
        self._environment = dict(environment or {})
        self._has_environment = False
        self._own = folder / _JOURNALS.replace("*", str(rank))

    def read(self) -> Results | None:
        """Return what earlier runs of these settings found; None where there were none.

        Raises:
            DataError: the folder has results of other settings or of several methods, or they cannot be read.
        """
        earlier: Results | None = None
        with _readable(self._folder):
            stored = _finished(self._folder)
            if "runs" in stored:
                raise DataError(
                    f"{self._folder} holds the results of several methods; choose another folder, or overwrite them"
                )
            if stored:
                self._check(self._folder / RESULTS_JSON, stored)
                earlier = Results.from_dict(stored)
            for path in sorted(self._folder.glob(_JOURNALS)):
                header, *lines = _whole_lines(path) or [None]
                if header is None:
                    continue
                self._check(path, header)
                earlier = earlier or Results(header["settings"], tuple(header["outputs"]), 0, 0)
                for line in lines:
                    if "name" in line:
                        earlier.images[line["name"]] = PictureResult.from_dict(line)
                    else:
                        earlier.add_environment(line["environment"])
        return earlier

    def add(self, name: str, image: PictureResult) -> None:
        """Write down what came of a picture, on the disk when this returns.

        Raises:
            DataError: it cannot be written.
        """
        lines: list[Any] = [{"name": name, **image.to_dict()}]
        if not self._has_environment:
            lines.insert(0, {"environment": self._environment})
        if not self._own.exists():
            lines.insert(0, self._header)
        try:
            with self._own.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            self._has_environment = True
        except OSError as error:
            raise DataError(f"{self._own} cannot be written: {error.strerror or error}") from error

    def mend(self) -> None:
        """Cut off the line of this process that an interruption left half written."""
        if self._own.exists():
            content = self._own.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if not whole:
                self._own.unlink()
            elif whole != content:
                os.truncate(self._own, len(whole))

    def finish(self, results: Results) -> None:
        """Write `results.json` and `results.csv`, which take the place of the journals of all processes."""
        write_results(self._folder, [results])
        for path in self._folder.glob(_JOURNALS):
            path.unlink()

    def _check(self, path: Path, stored: Mapping[str, Any]) -> None:
        """Raise DataError unless the results of a file are of these settings and outputs, whatever their row says."""
        was, now = (
            flattened({**header["settings"], "outputs": header["outputs"]})
            for header in (stored, json.loads(json.dumps(self._header)))
        )
        for name in _OF_ROWS:
            was.pop(name, None)
            now.pop(name, None)
        if was == now:
            return
        first = next((key for key in {**was, **now} if was.get(key) != now.get(key)), "settings")
        raise DataError(
            f"{path} holds results of another run: {first} was {was.get(first)}, now it is {now.get(first)}; "
            "choose another folder, or overwrite them"
        )


def forget(folder: Path) -> None:
    """Remove the results that a folder holds, of whatever settings.

    Raises:
        DataError: they cannot be removed.
    """
    try:
        for path in (*folder.glob(_JOURNALS), folder / RESULTS_JSON, folder / RESULTS_CSV):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error.strerror or error}") from error


def read_results(folder: PathLike) -> list[Results]:
    """Return what `results.json` of a folder holds: the results of one method, or of several.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    folder = Path(folder)
    with _readable(folder):
        stored = _finished(folder)
        if not stored:
            raise DataError(f"{folder} holds no {RESULTS_JSON}; expected a folder that mprnet evaluate has written")
        return [Results.from_dict(one) for one in stored.get("runs", [stored])]


def check_for_several(folder: Path) -> None:
    """Make sure that the results of several methods would replace none of a single run.

    Raises:
        DataError: the folder has results of a single run, or they cannot be read.
    """
    with _readable(folder):
        stored = _finished(folder)
        if (stored and "runs" not in stored) or any(folder.glob(_JOURNALS)):
            raise DataError(f"{folder} holds the results of a single run; choose another folder, or overwrite them")


def write_results(folder: Path, runs: list[Results]) -> None:
    """Write `results.json` and `results.csv`, each whole or not at all.

    Args:
        folder: an existing folder.
        runs: one, which `results.json` then holds as it is, or several, which stand under `runs`.
    """
    whole = runs[0].to_dict() if len(runs) == 1 else {"runs": [run.to_dict() for run in runs]}
    write_text(folder / RESULTS_JSON, to_json(whole) + "\n")
    write_text(folder / RESULTS_CSV, to_csv(runs))


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say in one line that what a folder holds are no results as they are written here."""
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{folder} holds results that cannot be read ({error}); choose another folder, or overwrite them"
        ) from error


def _finished(folder: Path) -> dict[str, Any]:
    """Return what `results.json` of a folder holds; nothing where there is none."""
    path = folder / RESULTS_JSON
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return stored


def _whole_lines(path: Path) -> list[Any]:
    """Return the lines of a journal; the last one is left out where its end was not written any more."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]

"""Files and folders: restored one after the other, what is done skipped, and what came of it written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch

from mprnet.errors import ConfigError, ImageError, MissingExtraError
from mprnet.files import PathLike, obstacle, remove_unfinished
from mprnet.imaging import Animation, Picture
from mprnet.imaging.video import VideoReader, choose_encoding
from mprnet.restoration.journal import Entry, Journal, settings_of, sha256_of
from mprnet.restoration.pictures import PictureOptions, Restored, load, restore, restore_animation, save
from mprnet.restoration.pipeline import overlap
from mprnet.restoration.plan import LOG_NAME, Failure, Job, LeftOut, at_home, is_video, plan, strip_of
from mprnet.restoration.restorer import several
from mprnet.restoration.videos import begun_stage, restore_video

if TYPE_CHECKING:
    from mprnet.restoration.restorer import Restorer


@dataclass(frozen=True)
class Skipped:
    """A picture that an earlier run has restored, with the same settings; both files are as they were."""

    source: Path
    target: Path


Outcome = Job | Skipped | Failure


class Progress(NamedTuple):
    """How far a run is: `source`, number `done` of `total` counted from 0, is under work, a `fraction` of it done.

    `outcome` is there once `source` is written; the next one may be under work by then.
    """

    source: Path
    done: int
    total: int
    fraction: float
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Report:
    """What came of a run, in its order."""

    restored: tuple[Job, ...]
    skipped: tuple[Skipped, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[LeftOut, ...] = ()
    """What was found in folders and by patterns, but not taken for an input."""


def restore_files(
    restorers: Restorer | Sequence[Restorer],
    inputs: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    *,
    options: PictureOptions = PictureOptions(),  # noqa: B008 (frozen)
    codec: str | None = None,
    crf: int | None = None,
    log: PathLike | None = None,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Restore picture files, videos and folders; one that fails does not stop the others.

    Folders are searched with all their subfolders for pictures; names that begin with a dot, linked folders, videos and
    the results of earlier runs are left out: folders that have a log, and `NAME_restored` beside a `NAME`. An input is
    never replaced, and neither is any other file unless `options.overwrite` is given. While one picture is under work,
    the next is read and the one before is written.

    Each output folder has a log, `mprnet-log.jsonl` (see `mprnet.restoration.journal`). A target that exists is skipped
    where the log says that it was made from the same content with the same settings, and it has not changed since;
    otherwise that picture fails, and the reason says what has changed. What is restored beside its source, or to a
    single named file, has no log unless `log` is given, so that nothing of it is skipped.

    Args:
        restorers: the network to use, or several that work one after the other.
        inputs: one or several: files, folders, and patterns such as `photos/**/*.jpg` where no file has that very name;
            `~` is the home folder.
        output: a folder, in which files keep their names, and the files of a folder, or of a pattern, their place in
            it; or, for a single file, also a file name with the ending of a picture or video. Without one, `NAME.png`
            becomes `NAME_restored.png` beside it, and the folder `NAME` becomes `NAME_restored`.
        options: how pictures are restored and written; of a video, stage, budget and strength count.
        codec: of videos, as `restore_video`.
        crf: of videos, as `restore_video`.
        log: where to keep one log of everything, instead of one in each output folder.
        watch: called in this thread when a picture begins, now and then under work, and, in order, when it is written.

    Returns:
        Report: the pictures made, those skipped, the failures with their reasons, and what was left out.

    Raises:
        ConfigError: no inputs, `output` does not fit them, a log is none of ours, a video's codec or quality is none,
            or as `restore_picture`; before anything is restored.
    """
    chosen = several(restorers)
    entries, left_out = plan(inputs, output, ending=options.ending, compare=options.compare)
    run = _Run(chosen, options, _Encoding(codec, crf), None if log is None else at_home(log), entries, watch)
    _remove_unfinished(entries)
    finished = False
    try:
        overlap(list(enumerate(entries)), read=run.read, work=run.work, write=run.write, settle=run.settle)
        finished = True
    finally:
        with suppress(OSError):  # what matters of the log is written, and where it could not be, that was said
            for journal in run.journals.values():
                journal.end(interrupted=not finished)
    return run.report(left_out)


class _Encoding(NamedTuple):
    """How videos are written, as for `restore_video`."""

    codec: str | None = None
    crf: int | None = None


class _Work(NamedTuple):
    """A picture on its way: read; restored; or, videos and animations, written already, when there is no content.

    `options` are the run's, or, where the log allows to replace the target, with `overwrite`.
    """

    job: Job
    source_sha256: str
    options: PictureOptions
    content: Picture | Animation | Restored | None
    seconds: float = 0


class _Stop(BaseException):
    """An error of the watcher, or of another picture, on its way out: not to be taken for one of that under work."""

    def __init__(self, error: Exception) -> None:
        self.error = error


_Numbered = tuple[int, Job | Failure]
_Step = _Work | Skipped | Failure


class _Run:
    """The steps of a run, for `overlap`; each hands on the `Failure` or `Skipped` of the one before."""

    def __init__(
        self,
        restorers: list[Restorer],
        options: PictureOptions,
        encoding: _Encoding,
        log: Path | None,
        entries: list[Job | Failure],
        watch: Callable[[Progress], None],
    ) -> None:
        self._restorers = restorers
        self._options = options
        self._encoding = encoding
        self._log = log
        self._total = len(entries)
        self._watch = watch
        self._outcomes: list[Outcome] = []
        given = [f"{name} is {value}" for name, value in encoding._asdict().items() if value is not None]
        sources = [entry.source for entry in entries if isinstance(entry, Job)]
        if given and sources and not any(map(is_video, sources)):
            raise ConfigError(
                f"{' and '.join(given)}, but no input is a video, and folders stand for their pictures; leave it out"
            )
        places = sorted({place for entry in entries if (place := self._place_of_log(entry))})
        settings = settings_of(restorers, options, **encoding._asdict()) if places else {}
        self._digests = self._two_digests() if places else ("", "")
        self.journals = {place: Journal(place, settings) for place in places}
        for entry in entries:
            if isinstance(entry, Job) and is_video(entry.source):
                with suppress(ImageError, MissingExtraError):  # which are of this video alone, when its turn comes
                    choose_encoding(entry.target, *encoding)

    def read(self, numbered: _Numbered, admit: Callable[[int], None]) -> _Step:
        _, entry = numbered
        return entry if isinstance(entry, Failure) else _attempt(entry, lambda: self._read(entry, admit))

    def work(self, numbered: _Numbered, loaded: _Step, breathe: Callable[[], None]) -> _Step:
        number, entry = numbered

        def progress(fraction: float) -> None:
            try:
                breathe()
                self._watch(Progress(entry.source, number, self._total, fraction))
            except Exception as error:
                raise _Stop(error) from error

        try:
            progress(0)
            return _attempt(loaded.job, lambda: self._work(loaded, progress)) if isinstance(loaded, _Work) else loaded
        except _Stop as stop:
            raise stop.error from None

    def write(self, numbered: _Numbered, worked: _Step) -> Outcome:
        _, entry = numbered
        outcome = _attempt(worked.job, lambda: self._write(worked)) if isinstance(worked, _Work) else worked
        if not isinstance(outcome, Job) and (journal := self._journal(entry)):
            target = entry.target if isinstance(entry, Job) else None
            with suppress(OSError):  # as for the summary
                if isinstance(outcome, Failure):
                    journal.add("failed", entry.source, target, reason=outcome.reason)
                else:
                    journal.add("skipped", entry.source, target)
        return outcome

    def settle(self, numbered: _Numbered, outcome: Outcome) -> None:
        number, entry = numbered
        self._outcomes.append(outcome)
        self._watch(Progress(entry.source, number, self._total, 1, outcome))

    def report(self, left_out: Iterable[LeftOut]) -> Report:
        return Report(
            tuple(outcome for outcome in self._outcomes if isinstance(outcome, Job)),
            tuple(outcome for outcome in self._outcomes if isinstance(outcome, Skipped)),
            tuple(outcome for outcome in self._outcomes if isinstance(outcome, Failure)),
            tuple(left_out),
        )

    def _read(self, job: Job, admit: Callable[[int], None]) -> _Work | Skipped:
        options, sha256 = self._options, ""
        if (journal := self._journal(job)) and job.source.is_file():
            sha256 = sha256_of(job.source)
            entry = journal.find(job.target)
            if entry and job.target.is_file() and not options.overwrite:
                self._check_unchanged(job, entry, sha256)
                if is_video(job.source) or not options.compare or _has_strip(job.target):
                    return Skipped(job.source, job.target)
                if (strip := strip_of(job.target)).exists():
                    raise ImageError(
                        f"{strip} exists, and is older than {job.target}: of another picture; remove it, or ask to "
                        "overwrite both"
                    )
                options = replace(options, overwrite=True)  # by the same picture again, for the sake of its strip
        content = None if is_video(job.source) else load(job.source, job.target, options, admit)
        if journal and (reason := obstacle(journal.path)):
            raise ImageError(f"{job.target} does not come into the log: {journal.path} cannot be written: {reason}")
        return _Work(job, sha256, options, content)

    def _check_unchanged(self, job: Job, entry: Entry, source_sha256: str) -> None:
        """Raise ImageError unless the target is what this run would make."""
        changes = {
            f"it is not what was written to it, from {job.source}": entry.target_sha256 != sha256_of(job.target),
            f"{job.source} has changed since it was restored": entry.source_sha256 != source_sha256,
            "it was restored with other settings": entry.settings != self._digests[is_video(job.source)],
        }
        if reason := next((change for change, is_so in changes.items() if is_so), None):
            raise ImageError(f"{job.target} exists, and {reason}; choose another output or ask to overwrite it")

    def _work(self, work: _Work, progress: Callable[[float], None]) -> _Work:
        start = time.perf_counter()
        if isinstance(work.content, Picture):
            restored = restore(self._restorers, work.content, work.options, progress=progress)
            return work._replace(content=restored, seconds=time.perf_counter() - start)

        def commit(unfinished: Path) -> None:
            self._keep(work._replace(seconds=time.perf_counter() - start), unfinished)

        if isinstance(work.content, Animation):
            restore_animation(self._restorers, work.content, work.job.target, work.options, progress, commit)
        else:
            self._restore_video(work.job, progress, commit)
        return work._replace(content=None)

    def _restore_video(self, job: Job, progress: Callable[[float], None], commit: Callable[[Path], None]) -> None:
        options = self._options
        if isinstance(options.stage, int):
            stage = options.stage
        else:
            stage = self._begun_stage(job) or self._chosen_stage(VideoReader(job.source))
        restore_video(
            self._restorers,
            job.source,
            job.target,
            stage=stage,
            strength=options.strength,
            overwrite=options.overwrite,
            progress=lambda done, total: progress(done / total if total else 1),
            commit=commit,
            **self._encoding._asdict(),
        )

    def _begun_stage(self, job: Job) -> int | None:
        """Return the stage that an interrupted run chose: measured anew it may be another, and its frames lost."""
        encoding = self._encoding._asdict()
        return begun_stage(self._restorers, job.source, job.target, strength=self._options.strength, **encoding)

    def _chosen_stage(self, video: VideoReader) -> int:
        share = 1 / (max(1, video.frames) * len(self._restorers))
        return self._options.choose_common_stage(self._restorers, video.size_hw, share)

    def _two_digests(self) -> tuple[str, str]:
        """Return the digests of all that decides what a picture becomes, and what a video does."""
        pictures = settings_of(self._restorers, self._options, **_Encoding()._asdict())
        of_videos = replace(self._options, quality=None, subsampling=None)
        videos = settings_of(self._restorers, of_videos, **self._encoding._asdict())
        return pictures["digest"], videos["digest"]

    def _write(self, work: _Work) -> Job:
        if isinstance(work.content, Restored):
            save(work.content, work.job.target, work.options, lambda unfinished: self._keep(work, unfinished))
        return work.job

    def _keep(self, work: _Work, written: Path) -> None:
        """Write down that a picture is restored."""
        if journal := self._journal(work.job):
            entry = Entry(work.source_sha256, sha256_of(written), self._digests[is_video(work.job.source)])
            try:
                journal.add("restored", work.job.source, work.job.target, entry, seconds=round(work.seconds, 3))
            except OSError as error:
                reason = f"{journal.path} cannot be written: {error.strerror or error}"
                raise ImageError(f"{work.job.target} does not come into the log: {reason}") from error

    def _journal(self, entry: Job | Failure) -> Journal | None:
        place = self._place_of_log(entry)
        return self.journals[place] if place else None

    def _place_of_log(self, entry: Job | Failure) -> Path | None:
        return self._log or (entry.folder / LOG_NAME if entry.folder else None)


def _has_strip(target: Path) -> bool:
    """Tell whether a target has the strip that was written after it, and not that of what stood there before."""
    strip = strip_of(target)
    return strip.is_file() and strip.stat().st_mtime_ns >= target.stat().st_mtime_ns


_Made = TypeVar("_Made")


def _attempt(job: Job, step: Callable[[], _Made]) -> _Made | Failure:
    """Take a step, or say in one line why that cannot be done."""
    try:
        return step()
    except (ImageError, MissingExtraError) as error:
        reason = str(error)
    except (MemoryError, torch.OutOfMemoryError):
        reason = f"{job.source} does not fit into memory"
    except OSError as error:
        reason = f"{job.source} cannot be restored: {error.strerror or error}"
    return Failure(job.source, reason, job.folder)


def _remove_unfinished(entries: Iterable[Job | Failure]) -> None:
    """Remove what killed runs left half written beside the targets."""
    for folder in {entry.target.parent for entry in entries if isinstance(entry, Job)}:
        with suppress(OSError):
            remove_unfinished(folder)

"""Videos: restored frame by frame, in segments that outlive an interruption, and joined at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mprnet.errors import ConfigError, VideoError
from mprnet.files import PathLike, remove_unfinished, written_whole
from mprnet.imaging.video import (
    Encoding,
    Times,
    VideoFrame,
    VideoReader,
    check_join,
    choose_encoding,
    join_segments,
    library_versions,
    write_segment,
)
from mprnet.restoration.journal import settings_of, sha256_of
from mprnet.restoration.pictures import PictureOptions
from mprnet.restoration.restorer import several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mprnet.imaging import Pixels
    from mprnet.restoration.restorer import Restorer


SEGMENT_FRAMES = 48
"""Two seconds of most videos: what an interruption loses at most."""

_SETTINGS = "settings.json"


def restore_video(
    restorers: Restorer | Sequence[Restorer],
    source: PathLike,
    target: PathLike,
    *,
    stage: int = 3,
    strength: float = 1.0,
    codec: str | None = None,
    crf: int | None = None,
    segment_frames: int = SEGMENT_FRAMES,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    commit: Callable[[Path], None] = lambda _: None,
) -> None:
    """Restore a video, keeping its times, sound, rotation and colour tags (see `mprnet.imaging.video`).

    One frame is worked on at a time, so memory does not grow with the video. Encoded segments wait in a hidden folder
    beside the target; a run that was interrupted, or killed, goes on after the last whole segment when it is started
    again with the same video and settings. The folder is removed when the target is there.

    Args:
        restorers: the network, or several that are applied to each frame one after the other, with 16 bits between.
        source: an MP4, MOV, Matroska or WebM file.
        target: the file to write, `.mp4`, `.m4v`, `.mov`, `.mkv` or `.webm`; its folder is made where it is missing.
        stage: 1, 2 or 3, whose picture to take.
        strength: 0 to 1, how much of the restored picture to blend with the frame.
        codec: FFmpeg's name of the encoder: `libx264`, `libvpx-vp9`, `mpeg4` or `ffv1` (lossless); without one, as
            `mprnet.imaging.video.choose_encoding`.
        crf: the encoder's constant quality, lower is better; without one, 17 for H.264 and 24 for VP9.
        segment_frames: how many frames a segment has, at least 1; each begins with a key frame.
        overwrite: replace `target` where it exists.
        progress: called with the frames done and the frames of the film: at the beginning, after each frame, and
            at the end; the latter is an estimate in videos that store frames which are not shown.
        commit: called with the finished file before it gets its name; where it fails, the file is not there, and the
            segments are.

    Raises:
        VideoError: `source` cannot be read; `target` exists, is `source`, cannot hold its sound, or cannot be written.
        ImageError: as `Restorer.restore_pixels`.
        ConfigError: an impossible codec, quality, stage, strength or length of segments.
        MissingExtraError: PyAV is not installed.
    """
    restorers, source, target = several(restorers), Path(source), Path(target)
    if segment_frames < 1:
        raise ConfigError(f"segment_frames is {segment_frames}; expected at least 1")
    encoding = choose_encoding(target, codec, crf)
    with _one_line(target):
        _check_target(source, target, overwrite)
    film = VideoReader(source, deep=len(restorers) > 1)
    check_join(target, film, encoding)
    with _one_line(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        key = _key(restorers, sha256_of(source), encoding, stage, strength, segment_frames)
        segments = _Segments(target, key)
    try:
        frames = film.after(segments.frames)
        progress(segments.frames, max(film.frames, segments.frames))
        for first in frames:
            batch, times = chain([first], islice(frames, segment_frames - 1)), Times([], [])
            restored = _restored(batch, restorers, stage, strength, film.quarter_turns, times)
            watched = _watched(restored, segments.frames, film.frames, progress)
            with _one_line(target), segments.next(times) as path:
                write_segment(watched, path, target, film, encoding)
        _check_target(source, target, overwrite)  # it may have come while the networks worked
        with _one_line(target), written_whole(target) as unfinished:
            join_segments(segments, unfinished, target, film, encoding)
            commit(unfinished)
        progress(segments.frames, segments.frames)
    except BaseException:
        segments.remove_if_empty()
        raise
    segments.remove()


def begun_stage(
    restorers: Sequence[Restorer],
    source: Path,
    target: Path,
    *,
    strength: float = 1.0,
    codec: str | None = None,
    crf: int | None = None,
) -> int | None:
    """Return the stage of the segments that an interrupted `restore_video` of these arguments left; None without any.

    Raises:
        OSError, ConfigError: as `restore_video`.
    """
    settings = _folder_of(target) / _SETTINGS
    if not settings.is_file():
        return None
    kept, sha256 = settings.read_text(encoding="ascii", errors="replace"), sha256_of(source)
    encoding = choose_encoding(target, codec, crf)
    keys = {_key(restorers, sha256, encoding, stage, strength, SEGMENT_FRAMES): stage for stage in (1, 2, 3)}
    return keys.get(kept)


def _restored(
    frames: Iterable[VideoFrame],
    restorers: Sequence[Restorer],
    stage: int,
    strength: float,
    quarter_turns: int,
    times: Times,
) -> Iterator[Pixels]:
    """Yield the restored pixels of frames, and note their times.

    The networks see them as players turn them: rain falls, and telephones that are held upright store what they film
    on its side.
    """
    for frame in frames:
        pixels = np.ascontiguousarray(np.rot90(frame.pixels, quarter_turns))
        for restorer in restorers:
            pixels = restorer.restore_pixels(pixels, stage=stage, strength=strength)
        pixels = np.ascontiguousarray(np.rot90(pixels, -quarter_turns))
        times.pts.append(frame.pts)
        times.durations.append(frame.duration)
        yield pixels


def _watched(frames: Iterable[Pixels], done: int, total: int, progress: Callable[[int, int], None]) -> Iterator[Pixels]:
    for number, pixels in enumerate(frames, done + 1):
        yield pixels
        progress(number, max(total, number))


_FRAMES_VERSION = 2
"""Raised when frames are read or written otherwise, so that segments of before are not joined with new ones."""


def _key(
    restorers: Sequence[Restorer], sha256: str, encoding: Encoding, stage: int, strength: float, segment_frames: int
) -> str:
    """Return all that decides what a segment is, as one word."""
    digest: str = settings_of(
        restorers,
        PictureOptions(stage=stage, strength=strength),
        source_sha256=sha256,
        encoding=dataclasses.asdict(encoding),
        segment_frames=segment_frames,
        frames=_FRAMES_VERSION,
        libraries=library_versions(),  # segments of two builds of an encoder do not fit each other
    )["digest"]
    return digest


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise VideoError(f"{target} is a folder; expected a file to write")
    if target.exists() and source.exists() and target.samefile(source):
        raise VideoError(f"{target} is the video to restore; choose another name")
    if target.exists() and not overwrite:
        raise VideoError(f"{target} exists; choose another name or ask to overwrite it")


@contextlib.contextmanager
def _one_line(target: Path) -> Iterator[None]:
    """Turn what goes wrong on the disk into one line that names the target."""
    try:
        yield
    except OSError as error:
        raise VideoError(f"{target} cannot be written: {error.strerror or error}") from error


def _folder_of(target: Path) -> Path:
    """Return where the segments of a target wait."""
    # Not the whole name: it might be too long for the file system with anything added.
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return target.with_name(f".{name}.mprnet-segments")


class _Segments:
    """The hidden folder of a target: encoded segments, and beside each the times of its frames.

    A segment counts once its times are there, which are written after it. Those of another video or of other settings
    are removed.
    """

    def __init__(self, target: Path, key: str) -> None:
        self.folder = _folder_of(target)
        settings = self.folder / _SETTINGS
        if not settings.is_file() or settings.read_text(encoding="ascii", errors="replace") != key:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            with written_whole(settings) as unfinished:
                unfinished.write_text(key, encoding="ascii")
        remove_unfinished(self.folder)
        self._count = self.frames = 0
        while self._times(self._count).is_file() and self._packets(self._count).is_file():
            self.frames += len(self._read(self._count).pts)
            self._count += 1

    def __iter__(self) -> Iterator[tuple[Path, Times]]:
        for number in range(self._count):
            yield self._packets(number), self._read(number)

    @contextlib.contextmanager
    def next(self, times: Times) -> Iterator[Path]:
        """Give a name to write the next segment to; it is kept, with its times, when the block ends well."""
        with written_whole(self._packets(self._count)) as path:
            yield path
        with written_whole(self._times(self._count)) as unfinished:
            unfinished.write_text(json.dumps(times), encoding="ascii")
        self.frames += len(times.pts)
        self._count += 1

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_if_empty(self) -> None:
        if not self._count:
            self.remove()

    def _packets(self, number: int) -> Path:
        return self.folder / f"{number:06}.nut"

    def _times(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"

    def _read(self, number: int) -> Times:
        try:
            times = Times(*json.loads(self._times(number).read_text(encoding="ascii")))
            if len(times.pts) != len(times.durations):
                raise ValueError("times and durations differ in number")
        except (ValueError, TypeError, RecursionError) as error:
            raise VideoError(f"{self._times(number)} is damaged; remove the folder {self.folder}") from error
        return times

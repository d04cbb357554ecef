"""Videos: files to frames with their times, and restored frames back to a file with all else that the video has.

PyAV, that is FFmpeg, does the work. What comes through:

- the presentation time of every frame, also at a variable rate, and the time base: exactly in MP4 and MOV, and in
  Matroska and WebM from a video of the same kind. Those count in milliseconds, so the times of others are rounded.
- audio and subtitle tracks, packet by packet as they are; chapters and titles.
- rotation and mirroring: the display matrix of the video is set on the new one, the frames stay as they are stored.
- range, matrix, primaries and transfer of the colours; the chroma subsampling; the shape of the pixels, for which VP9
  and FFV1 have a place in MP4 alone: in Matroska and WebM they are refused where pixels are not square.
- 10 bits, as 16-bit pixels between, where the codec has them (H.264 and FFV1; VP9 and MPEG-4 become 8 bits).

H.264 halves the chroma in both directions only where both sides are even; a video with an odd side is written with
whole chroma (4:4:4) instead of padding it, so that the size stays. Not every player shows that; `--codec libvpx-vp9`
into Matroska or WebM keeps odd sides at 4:2:0.

What does not come through: further video tracks, cover pictures, attached files and telemetry, alpha, and the
brightness notes of HDR videos (the tags of their colours do). Interlaced videos are refused.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mprnet.errors import ConfigError, MissingExtraError, VideoError
from mprnet.files import PathLike, status_of
from mprnet.imaging.decoding import MAX_PIXELS
from mprnet.imaging.pixels import to_8_bits

if TYPE_CHECKING:
    from types import ModuleType

    from mprnet.imaging.pixels import Pixels


SUFFIXES = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""The endings of the videos that can be read and written, in lower case, and FFmpeg's name of their container."""

# A video is a local file of one of these kinds: playlists and the like, which name other files, are no videos.
_OPEN = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm",
    "protocol_whitelist": "file",
    "max_pixels": str(MAX_PIXELS),
}

_OF_TELEPHONES = {
    f"com.apple.quicktime.{key}": name
    for key, name in (("location.ISO6709", "location"), ("creationdate", "date"), ("make", "make"), ("model", "model"))
}
"""Where and by what a video was made, in words that MP4 and MOV are not given, and in those that they are."""

_FULL_RANGE = 2
_LOW_WHITE = 255 * 256

_MISSING_SECONDS = 0.25
"""A file that ends by more than this (and two frames) before its header says is truncated."""


class _Codec(NamedTuple):
    """How an encoder is asked for quality: the default crf and the largest, or other options where it has none."""

    crf: int | None
    largest: int
    even: bool
    options: dict[str, str]


# libx265 is left out: the one in PyAV 18.1 writes to the error stream and corrupts memory on small frames.
_CODECS = {
    "libx264": _Codec(17, 51, True, {}),
    "libvpx-vp9": _Codec(24, 63, False, {"b": "0"}),
    "mpeg4": _Codec(None, 0, False, {"qmin": "2", "qmax": "2"}),
    "ffv1": _Codec(None, 0, False, {"level": "3"}),
}
_SHAPELESS = frozenset({"libvpx-vp9", "ffv1"})  # frames do not tell the shape of pixels, and PyAV not to Matroska
_DEFAULTS = {"webm": ("libvpx-vp9",), "mp4": ("libx264", "mpeg4")}


@dataclass(frozen=True)
class Encoding:
    """How a video is written: FFmpeg's names of the container and the encoder, and the quality.

    Args:
        container: one of `SUFFIXES`.
        codec: `libx264` (H.264), `libvpx-vp9` (VP9), `mpeg4` (MPEG-4 part 2) or `ffv1` (lossless).
        crf: the encoder's own constant quality, lower is better; None where it has none.
    """

    container: str
    codec: str
    crf: int | None


class VideoFrame(NamedTuple):
    """A frame of a video.

    Args:
        pixels: `(H, W, 3)`, RGB as stored, not rotated; uint8, or uint16 from videos of more than 8 bits.
        pts: when it is shown, in units of `time_base`.
        time_base: in seconds.
        duration: how long it is shown, in units of `time_base`; 0 where the video does not say.
    """

    pixels: Pixels
    pts: int
    time_base: Fraction
    duration: int


class Times(NamedTuple):
    """When the frames of a segment are shown, and for how long, in the time base of the video."""

    pts: list[int]
    durations: list[int]


class VideoReader:
    """A video, measured; iterating decodes it frame by frame, from the beginning every time.

    Args:
        path: an MP4, MOV, Matroska or WebM file.
        deep: give 16-bit pixels also where the video has 8, for several steps of work without rounding between.

    Attributes:
        size_hw: height and width of the frames as stored, in pixels.
        rate: frames a second, on average.
        time_base: the unit of all times, in seconds.
        frames: how many frames the file has; a few formats store some that are not shown.
        duration: in seconds.
        rotation: degrees counter-clockwise by which a player turns the frames.
        depth: bits of a sample: 8, 10, 12….
        chroma: `420`, `422` or `444`.
        colours: range, matrix, primaries and transfer, in the numbers of ITU-T H.273 (range: FFmpeg's).
        aspect: width by height of a pixel; None where the video does not say.
        matrix: the display matrix, nine numbers as FFmpeg has them; None where the video has none.

    Raises:
        VideoError: the file is missing, empty, truncated, no video, has no frames, is interlaced, or its frames are
            larger than `MAX_PIXELS`, which is asked before any is decoded.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: PathLike, *, deep: bool = False) -> None:
        self.path = Path(path)
        with _reading(self.path), _opened(self.path) as (_, stream):
            first = next(_decoded(stream, self.path), None)
            if first is None:
                raise VideoError(f"{self.path} has no frames; expected at least one")
            _check_progressive(self.path, first, 1)
            self.size_hw: tuple[int, int] = first.height, first.width
            _check_size(self.path, self.size_hw)
            self.time_base = Fraction(stream.time_base)
            self.rate = Fraction(stream.average_rate or stream.base_rate or 25)
            self.rotation: int = first.rotation
            self.depth: int = max(part.bits for part in first.format.components)
            self._is_yuv = not first.format.is_rgb and len(first.format.components) > 1
            self.chroma = _chroma(first.format)
            space = 6 if first.format.is_rgb else first.colorspace  # 6: BT.601, the matrix that FFmpeg takes from RGB
            self.colours: tuple[int, int, int, int] = (
                first.color_range,
                space,
                first.color_primaries,
                first.color_trc,
            )
            # Players let the container's win over that of the frames.
            self.aspect: Fraction | None = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
            matrix = first.side_data.get("DISPLAYMATRIX")
            self.matrix = None if matrix is None else tuple(np.frombuffer(bytes(matrix), np.int32)[:9].tolist())
        self.frames, self.duration = _measure(self.path)
        self._deep = deep

    @property
    def quarter_turns(self) -> int:
        """Counter-clockwise quarter turns after which what is down in a frame is what a player shows down."""
        if self.matrix is None:
            return 0
        by_column, by_row = self.matrix[1], self.matrix[4]  # how far down the next column and row are shown
        if abs(by_column) > abs(by_row):
            return 1 if by_column < 0 else 3
        return 2 if by_row < 0 else 0

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.after(0)

    def after(self, skip: int) -> Iterator[VideoFrame]:
        """Decode the video, leaving out its first `skip` frames.

        Raises:
            VideoError: the video is damaged, has an interlaced frame, changes its size, or has frames without times or
                with equal ones.
        """
        last: int | None = None
        with _reading(self.path), _opened(self.path) as (_, stream):
            for number, frame in enumerate(_decoded(stream, self.path), 1):
                _check_progressive(self.path, frame, number)
                if (frame.height, frame.width) != self.size_hw:
                    was, got = (f"{width}×{height}" for height, width in (self.size_hw, (frame.height, frame.width)))
                    raise VideoError(
                        f"{self.path} changes its size from {was} to {got} at frame {number}; cut it there"
                    )
                if frame.pts is None or (last is not None and frame.pts <= last):
                    raise VideoError(
                        f"{self.path} has no rising time at frame {number}: {last}, then {frame.pts}; "
                        "repair it first, for example with ffmpeg -fflags +genpts"
                    )
                last = frame.pts
                if number > skip:
                    yield VideoFrame(self._pixels(frame), frame.pts, self.time_base, frame.duration)

    def _pixels(self, frame: Any) -> Pixels:
        layout = "rgb48le" if self.depth > 8 else "rgb24"
        pixels: Pixels = frame.reformat(format=layout, interpolation=_interpolation()).to_ndarray()
        if self.depth > 8:
            return _scaled(pixels, 65535, self._white) if self._is_yuv else pixels
        return pixels.astype(np.uint16) * 257 if self._deep else pixels

    def for_encoder(self, pixels: Pixels) -> Pixels:
        """Return pixels as FFmpeg takes them for a video like this one, which is written as brightness and colour."""
        if self.depth > 8 and pixels.dtype == np.uint16:
            return _scaled(pixels, self._white, 65535)
        return to_8_bits(pixels)

    @property
    def _white(self) -> int:
        """What FFmpeg takes for white in 16 bits of RGB, beside more than 8 of brightness and colour."""
        return ((1 << self.depth) - 1) << (16 - self.depth) if self.colours[0] == _FULL_RANGE else _LOW_WHITE


def choose_encoding(target: PathLike, codec: str | None = None, crf: int | None = None) -> Encoding:
    """Say how a video of this name is written: H.264 at crf 17, or VP9 at 24 for WebM, unless asked otherwise.

    Without libx264 in the build of PyAV, it is MPEG-4 part 2 at its best quality.

    Raises:
        VideoError: the ending is none of a video.
        ConfigError: no such encoder, here or at all; or `crf` is outside its range.
        MissingExtraError: PyAV is not installed.
    """
    suffix = Path(target).suffix.lower()
    if suffix not in SUFFIXES:
        raise VideoError(f"{target} ends in {suffix!r}; expected one of {', '.join(SUFFIXES)}")
    container = SUFFIXES[suffix]
    for name in (codec,) if codec else _DEFAULTS.get(container, _DEFAULTS["mp4"]):
        if name in _CODECS and _is_encoder(name):
            break
    else:
        raise ConfigError(f"codec is {codec or 'not given'}; expected one that PyAV has of {', '.join(_CODECS)}")
    default, largest, _, _ = _CODECS[name]
    if crf is not None and default is None:
        raise ConfigError(f"crf is {crf}, but {name} has no such quality; leave it out")
    if crf is not None and not 0 <= crf <= largest:
        raise ConfigError(f"crf is {crf}; expected 0 (best) to {largest} for {name}")
    return Encoding(container, name, default if crf is None else crf)


def write_segment(frames: Iterable[Pixels], path: Path, target: Path, film: VideoReader, encoding: Encoding) -> None:
    """Encode frames that follow one another into a file that `join_segments` takes.

    No frame waits for a later one (there are no B-frames), so that segments can be joined at any frame and the order
    of packets is that of times. The file holds no times of its own.

    Args:
        frames: `(H, W, 3)`, uint8 or uint16, RGB, of the size of `film`.
        path: the file to write; its name may have any ending.
        target: what to call it in errors.
        film: the video they come from, which says what they mean.
        encoding: the codec and its quality.

    Raises:
        VideoError: the file cannot be written, or the encoder fails.
    """
    av = _pyav()
    # NUT takes packets as encoders make them, and gives them back so.
    with _writing(target), av.open(os.path.abspath(path), "w", format="nut") as output:  # noqa: PTH100 (no URL)
        stream = _add_video(output, film, encoding)
        matrix = film.colours[1]
        for number, restored in enumerate(frames):
            pixels = film.for_encoder(restored)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.dtype == np.uint8 else "rgb48le")
            frame = frame.reformat(
                format=stream.pix_fmt,
                dst_colorspace=matrix,
                dst_color_range=film.colours[0],
                interpolation=_interpolation(),
            )
            frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc = film.colours
            frame.pts, frame.time_base = number, stream.codec_context.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def check_join(target: Path, film: VideoReader, encoding: Encoding) -> None:
    """Raise VideoError where `join_segments` would, before the hard work: the container cannot hold a track."""
    with (
        _writing(target),
        _opened(film.path) as (source, _),
        _pyav().open(io.BytesIO(), "w", format=encoding.container) as output,
    ):
        _add_all(output, source, film, encoding, target)
        output.start_encoding()


def join_segments(
    segments: Iterable[tuple[Path, Times]], path: Path, target: Path, film: VideoReader, encoding: Encoding
) -> None:
    """Write a video from encoded segments and from the tracks, titles and chapters of `film`; nothing is re-encoded.

    Args:
        segments: files of `write_segment` in their order, and the times of their frames.
        path: the file to write; its name may have any ending.
        target: what to call it in errors.
        film: the video they come from.
        encoding: as the segments were written.

    Raises:
        VideoError: the file cannot be written, or a segment has not as many frames as times.
    """
    av = _pyav()
    options = {}
    if encoding.container in ("mp4", "mov"):
        # Both clocks of the file: that of the frames, and that of the moment when the track begins.
        scale = str(film.time_base.denominator)
        options = {"video_track_timescale": scale, "movie_timescale": scale}
    with (
        _writing(target),
        _opened(film.path) as (source, _),
        av.open(os.path.abspath(path), "w", format=encoding.container, container_options=options) as output,  # noqa: PTH100
    ):
        video, others = _add_all(output, source, film, encoding, target)
        output.start_encoding()
        packets = [_timed(segments, video, film.time_base)]
        if others:
            packets.append(_copied(source, others))
        # In the order of time, so that the container need not hold back one track until the other comes.
        for packet in heapq.merge(*packets, key=lambda packet: packet.dts * Fraction(packet.time_base)):
            output.mux(packet)


def library_versions() -> dict[str, list[int]]:
    """Return the versions of FFmpeg's libraries, which decide what an encoder makes of a frame.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    return {name: list(version) for name, version in sorted(_pyav().library_versions.items())}


def _timed(segments: Iterable[tuple[Path, Times]], stream: Any, time_base: Fraction) -> Iterator[Any]:
    for path, times in segments:
        with _pyav().open(os.path.abspath(path)) as segment:  # noqa: PTH100
            packets = (packet for packet in segment.demux(video=0) if packet.size)
            try:
                for packet, pts, duration in zip(packets, times.pts, times.durations, strict=True):
                    packet.stream = stream
                    packet.time_base = time_base
                    packet.pts = packet.dts = pts
                    packet.duration = duration
                    yield packet
            except ValueError as error:
                raise VideoError(f"{path} has not the {len(times.pts)} frames it should have; remove it") from error


def _copied(source: Any, others: dict[int, Any]) -> Iterator[Any]:
    for packet in source.demux([source.streams[index] for index in others]):
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is not None and packet.size:  # the empty ones only tell decoders that it is over
            packet.stream = others[packet.stream.index]
            yield packet


def _add_all(
    output: Any, source: Any, film: VideoReader, encoding: Encoding, target: Path
) -> tuple[Any, dict[int, Any]]:
    """Prepare all tracks of a video; return that of the video, and the others by their number in the source."""
    if film.aspect not in (None, 1) and encoding.codec in _SHAPELESS and encoding.container in ("matroska", "webm"):
        raise VideoError(
            f"{target} cannot hold the shape of the pixels of {film.path}, {film.aspect}, beside {encoding.codec}; "
            "choose a target that ends in .mp4, or in .mkv with --codec libx264"
        )
    video = _add_video(output, film, encoding)
    video.time_base = film.time_base
    original = _video(source, film.path)
    video.metadata.update(_titles(original.metadata))
    if film.matrix is not None:
        video.set_display_matrix(film.matrix)
    others = {}
    for track in _kept(source.streams, film.path):
        try:
            copy = output.add_stream_from_template(track, opaque=True)
        except ValueError as error:
            other = "as the video does" if encoding.container == "matroska" else "in .mkv"
            raise VideoError(
                f"{target} cannot hold the {track.type} of {film.path} ({track.codec_context.name}); choose a target "
                f"that ends {other}"
            ) from error
        copy.metadata.update(_titles(track.metadata))
        copy.disposition = track.disposition
        others[track.index] = copy
    output.metadata.update(_titles(source.metadata))
    output.set_chapters(source.chapters())
    return video, others


def _kept(streams: Any, path: Path) -> list[Any]:
    """Return the tracks of sound and text that are copied: those of a codec that FFmpeg has a name for.

    Others fit no container, such as the second track of telephones that record sound in space; they are left out.

    Raises:
        VideoError: there is sound, and no track of it can be kept.
    """
    known = [track for track in (*streams.audio, *streams.subtitles) if track.codec_context is not None]
    if streams.audio and not any(track.type == "audio" for track in known):
        raise VideoError(
            f"{path} has sound of a codec that FFmpeg does not know, which no target can hold; leave it out first: "
            "ffmpeg -i IN -c copy -an OUT"
        )
    return known


def _add_video(output: Any, film: VideoReader, encoding: Encoding) -> Any:
    codec = _CODECS[encoding.codec]
    options = dict(codec.options)
    if encoding.crf is not None:
        options["crf"] = str(encoding.crf)
    try:
        stream = output.add_stream(encoding.codec, rate=film.rate, options=options)
    except ValueError as error:
        raise VideoError(
            f"{encoding.codec} does not fit a {encoding.container} video; choose another --codec or ending"
        ) from error
    stream.height, stream.width = film.size_hw
    stream.pix_fmt = _pixel_format(film, encoding.codec)
    context = stream.codec_context
    # MPEG-4 part 2 counts no finer; the true times are set when the segments are joined.
    context.time_base = (1 / film.rate).limit_denominator(60000)
    context.max_b_frames = 0
    if film.aspect:
        context.sample_aspect_ratio = film.aspect
    context.color_range, context.colorspace, context.color_primaries, context.color_trc = film.colours
    return stream


def _pixel_format(film: VideoReader, codec: str) -> str:
    av = _pyav()
    chroma = "444" if _CODECS[codec].even and any(side % 2 for side in film.size_hw) else film.chroma
    names = {each.name for each in av.Codec(codec, "w").video_formats}
    wanted = ([f"yuv{chroma}p10le"] if film.depth > 8 else []) + [f"yuv{chroma}p", "yuv420p"]
    return next(name for name in wanted if name in names)


def _titles(metadata: dict[str, str]) -> dict[str, str]:
    """Keep what people wrote about a video or track; what describes the old file is no longer true."""
    stale = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "vendor_id", "rotate"}
    titles = {
        key: value
        for key, value in metadata.items()
        if key.lower() not in stale and not key.upper().startswith(("_STATISTICS", "NUMBER_OF_", "BPS"))
    }
    common = {name: metadata[key] for key, name in _OF_TELEPHONES.items() if key in metadata}
    return common | titles


def _chroma(layout: Any) -> str:
    if layout.is_rgb or layout.has_palette:
        return "444"
    if len(layout.components) < 3:  # grey
        return "420"
    kinds = {(4, 4): "420", (4, 8): "422"}
    return kinds.get((layout.chroma_width(8), layout.chroma_height(8)), "444")


def _scaled(pixels: Pixels, white: int, was: int) -> Pixels:
    """Multiply uint16 pixels so that `was` becomes `white`."""
    if white == was:
        return pixels
    scaled = np.empty_like(pixels)
    for row, row_scaled in zip(pixels, scaled, strict=True):  # a row at a time: no second picture of 32 bits
        row_scaled[...] = np.minimum((row.astype(np.uint32) * white + was // 2) // was, 65535)
    return scaled


def _interpolation() -> Any:
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def _check_progressive(path: Path, frame: Any, number: int) -> None:
    if frame.interlaced_frame:
        raise VideoError(f"{path} is interlaced at frame {number}, which is not supported; deinterlace it first")


def _check_size(path: Path, size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    if not 0 < height * width <= MAX_PIXELS:
        raise VideoError(f"{path} has frames of {width}×{height}; expected 1 to {MAX_PIXELS} pixels")


def _measure(path: Path) -> tuple[int, float]:
    """Count the frames of a video without decoding them, and its seconds; raise VideoError where the end is missing."""
    frames, begin, end = 0, Fraction(0), Fraction(0)
    with _reading(path), _opened(path) as (container, video):
        promised = Fraction(container.duration or 0, 1_000_000)
        for packet in container.demux():
            if packet.pts is None or not packet.size:
                continue
            begin = min(begin, packet.pts * Fraction(packet.time_base))
            end = max(end, (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base))
            frames += packet.stream.index == video.index and not packet.is_discard
        slack = Fraction(_MISSING_SECONDS) + 2 / Fraction(video.average_rate or 25)
    if end - begin + slack < promised:
        raise VideoError(
            f"{path} is truncated: it ends after {float(end):.1f} of {float(promised):.1f} s; copy or download it again"
        )
    return frames, float(end)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video and give it and its video track, having checked their size."""
    # The whole path, so that a name is never taken for a URL.
    # Titles may be in any encoding of their time.
    with _pyav().open(os.path.abspath(path), options=_OPEN, metadata_errors="replace") as container:  # noqa: PTH100
        video = _video(container, path)
        _check_size(path, (video.height, video.width))
        video.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        video.thread_type = "AUTO"
        yield container, video


def _video(container: Any, path: Path) -> Any:
    cover = _pyav().stream.Disposition.attached_pic
    tracks = [track for track in container.streams.video if not track.disposition & cover]
    if not tracks:
        raise VideoError(f"{path} has no video track; expected a video")
    if tracks[0].codec_context is None:
        raise VideoError(f"{path} is of a codec that this build of PyAV cannot decode; convert it first")
    return tracks[0]


def _decoded(video: Any, path: Path) -> Iterator[Any]:
    number = 0
    try:
        for packet in video.container.demux(video):
            for frame in packet.decode():
                number += 1
                yield frame
    except _pyav().error.InvalidDataError as error:
        if not number:
            raise
        raise VideoError(f"{path} cannot be decoded after frame {number}: {error.strerror}; cut it there") from error


def _is_encoder(name: str) -> bool:
    av = _pyav()
    try:
        return bool(av.Codec(name, "w").is_encoder)
    except av.codec.codec.UnknownCodecError:
        return False


def _pyav() -> ModuleType:
    try:
        import av
        import av.codec.codec
        import av.stream
    except ImportError as error:
        raise MissingExtraError('videos need PyAV: pip install "mprnet[video]"') from error
    return av


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a video into one line that names it."""
    errors = _pyav().error
    try:
        if (status := status_of(path)) is None:
            raise VideoError(f"{path} does not exist; expected a video")
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(f"{path} is a folder or no ordinary file; expected a video")
        if not status.st_size:
            raise VideoError(f"{path} is empty (0 bytes); copy or download it again")
        yield
    except (errors.InvalidDataError, errors.ArgumentError, errors.EOFError) as error:
        raise VideoError(
            f"{path} is no MP4, MOV, Matroska or WebM video, or is truncated or damaged: {error.strerror}"
        ) from error
    except errors.FFmpegError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise VideoError(f"{path} does not fit into memory") from error


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (_pyav().error.FFmpegError, OSError) as error:
        raise VideoError(f"{path} cannot be written: {error.strerror or error}") from error

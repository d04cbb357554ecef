"""Animated pictures (GIF, WebP, PNG, AVIF): frame by frame, with their times."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mprnet.errors import ImageError
from mprnet.imaging.decoding import MAX_PIXELS, damage_as_errors, decode, name_of, open_header, open_picture, upright
from mprnet.imaging.files import check_quality, check_target, save_options, target_format, to_image, write_to
from mprnet.imaging.formats import HOLD_FRAMES, check_holds, holds_grey
from mprnet.imaging.profiles import fit_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from PIL import Image

    from mprnet.files import PathLike
    from mprnet.imaging.decoding import OpenFile
    from mprnet.imaging.files import Subsampling
    from mprnet.imaging.picture import Picture


@dataclass(frozen=True)
class Frame:
    """A picture of an animation, whole, and how long it is seen."""

    picture: Picture
    duration_ms: float


@dataclass(frozen=True)
class Animation:
    """An animated file.

    Attributes:
        frames: decoded one by one as they are asked for, once; raises ImageError where the file is damaged.
        count: how many there are.
        loop: how often they are played; 0 for ever.
        format: of the file, one of `mprnet.imaging.FORMATS`' values.
        size_hw: of every frame, in pixels.
    """

    frames: Iterator[Frame]
    count: int
    loop: int
    format: str
    size_hw: tuple[int, int]


def read_frames(source: PathLike | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Animation:
    """Open an animated file; one frame at a time is in memory. A file of one picture has one frame.

    Args:
        source: the file, or a stream that can seek and stays open.
        max_pixels: refuse animations of more pixels, all frames together, before they are decoded.

    Raises:
        ImageError: as `mprnet.imaging.read_image`; frames of 16 bits are refused.
    """
    with open_picture(source, max_pixels) as opened:
        image = opened.image
        first, count = _first_and_count(opened)
        if image.width * image.height * count > max_pixels:
            raise ImageError(
                f"{opened.name} has {count} frames of {image.width}×{image.height}; expected at most {max_pixels} "
                "pixels in all of them"
            )
        loop = image.info.get("loop")
        plays = int(loop) if isinstance(loop, int) else 0
        if opened.format == "GIF":  # counts how often it is played again
            plays = 1 if loop is None else plays + (plays > 0)
        return Animation(
            _frames(source, first, count, max_pixels), count, plays, opened.format, (image.height, image.width)
        )


def _first_and_count(opened: OpenFile) -> tuple[int, int]:
    """Return the number of the first frame, and how many there are."""
    if opened.format not in HOLD_FRAMES:
        return 0, 1
    hidden = int(bool(opened.image.info.get("default_image")))  # a PNG's picture for programs that know no animation
    return hidden, max(1, getattr(opened.image, "n_frames", 1) - hidden)


def _frames(source: PathLike | BinaryIO, first: int, count: int, max_pixels: int) -> Iterator[Frame]:
    name = name_of(source)
    # Blocks of their own around each frame: what the caller does between two is none of the decoder's.
    with contextlib.ExitStack() as stack:
        with damage_as_errors(name):
            opened = stack.enter_context(open_header(source, name, max_pixels))
        image, size = opened.image, opened.image.size
        for number in range(first, first + count):
            with damage_as_errors(name):
                if number:
                    image.seek(number)
                if image.size != size:
                    raise ImageError(f"{name} has frames of several sizes, which is not supported")
                picture, orientation = decode(opened)
                if count > 1 and picture.depth == 16:
                    raise ImageError(f"{name} has frames of 16 bits, which is not supported; convert it to 8")
                frame = Frame(upright(picture, orientation), float(image.info.get("duration") or 0))
            yield frame


def write_frames(
    frames: Iterable[Frame],
    target: PathLike | BinaryIO,
    *,
    loop: int = 0,
    format: str | None = None,  # noqa: A002
    quality: int | None = None,
    subsampling: Subsampling | None = None,
    overwrite: bool = False,
    commit: Callable[[Path], None] = lambda _: None,
) -> None:
    """Write an animation in 8 bits, whole or not at all.

    The encoders need all frames at once: 4 bytes a pixel are held. Frames that follow each other and are the same may
    become one that is seen as long as both. GIF counts time in hundredths of a second, and has 256 colours a frame.

    Args:
        frames: at least one, all of one size.
        target: the file to write, or a stream.
        loop: how often it is played; 0 for ever. AVIF does not say.
        format: GIF, WEBP, PNG or AVIF; by the file's ending where not given.
        quality: of WebP and AVIF, as `mprnet.imaging.write_image`.
        subsampling: of AVIF, likewise.
        overwrite: replace a file that is already there.
        commit: as `mprnet.imaging.write_image`.

    Raises:
        ImageError: as `mprnet.imaging.write_image`; the format holds no animations, or sizes differ.
        ConfigError: as `mprnet.imaging.write_image`.
    """
    name, format_ = name_of(target), target_format(target, format)
    check_quality(quality, subsampling)
    if format_ not in HOLD_FRAMES:
        raise ImageError(
            f"{name} cannot be written: {format_} holds no animation; choose {', '.join(sorted(HOLD_FRAMES))}"
        )
    if isinstance(target, str | os.PathLike):
        check_target(Path(target), overwrite, format=format_)
    images: list[Image.Image] = []
    durations: list[int] = []
    end, shown = 0.0, 0
    tick = 10 if format_ == "GIF" else 1  # milliseconds that the format counts in
    first: Picture | None = None
    for frame in frames:
        picture = fit_profile(frame.picture, format_)
        if first is None:
            check_holds(format_, picture, name)
            first = picture
        images.append(to_image(picture))
        end += frame.duration_ms
        ticks = max(0, round(end / tick) - shown)  # rounding does not add up
        if format_ == "GIF" and frame.duration_ms > tick:
            ticks = max(2, ticks)  # browsers show a frame of one tick for ten
        shown += ticks
        end = max(end, (shown - 0.5) * tick)  # what was added is not taken from later frames
        durations.append(ticks * tick)
        if images[-1].size != images[0].size:
            raise ImageError(f"{name} cannot be written: its frames differ in size; expected one size")
    if first is None:
        raise ImageError(f"{name} cannot be written: there are no frames")
    has_alpha = any(image.mode in ("LA", "RGBA") for image in images)
    is_grey = all(image.mode in ("L", "LA") for image in images)
    if is_grey and (not has_alpha or holds_grey(format_, has_alpha=True)):
        mode = "LA" if has_alpha else "L"
    else:
        mode = "RGBA" if has_alpha else "RGB"
        first = replace(first, pixels=first.rgb())
    images = [image if image.mode == mode else image.convert(mode) for image in images]
    options = save_options(first, format_, quality, subsampling)
    options |= {"save_all": True, "append_images": images[1:], "duration": durations}
    if format_ == "GIF":
        options |= {"loop": loop - 1 if loop else 0} if loop != 1 else {}
        options["disposal"] = 2 if has_alpha else 0
    elif format_ == "PNG":
        options |= {"loop": loop, "blend": 0}
    elif format_ == "WEBP":
        options |= {"loop": loop, "method": 4}
    write_to(target, name, lambda file: images[0].save(file, format_, **options), commit)

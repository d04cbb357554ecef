"""One picture file from end to end: read, restored by one network or several in a row, written."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from mprnet.errors import ConfigError, ImageError
from mprnet.files import PathLike
from mprnet.imaging import (
    FORMATS,
    MAX_PIXELS,
    Animation,
    Frame,
    Picture,
    Subsampling,
    check_quality,
    check_target,
    contact_sheet,
    read_frames,
    read_image,
    thumbnail,
    write_frames,
    write_image,
)
from mprnet.imaging.decoding import check_samples, decode, name_of, open_picture, upright
from mprnet.imaging.formats import check_holds, format_named
from mprnet.imaging.pixels import to_8_bits
from mprnet.restoration.plan import at_home, check_ending, strip_of
from mprnet.restoration.restorer import several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mprnet.imaging.pixels import Pixels
    from mprnet.restoration.restorer import Restorer


_STRIP_PX = 800
"""The longest side of each picture of a strip before and after."""

_MAX_PIPE_BYTES = 2**30


@dataclass(frozen=True)
class PictureOptions:
    """How pictures are restored and written.

    Args:
        stage: 1, 2 or 3, whose picture to write; or `auto`, the last stage that is expected to fit the budget.
        budget_seconds: for `auto`, what a picture may take, all networks and frames together.
        strength: from 0, the picture as it was, to 1; of each network where there are several.
        format: what to write, one of `mprnet.imaging.FORMATS`' endings or values; by the target's name where not given.
        quality: of the formats that lose something, 1 to 100.
        subsampling: `4:4:4`, `4:2:2` or `4:2:0`, of the formats that have it.
        compare: write a strip of the picture before and after beside the target, `NAME_compare.jpg`.
        overwrite: replace files that exist.

    Raises:
        ConfigError: an option is none that there is, or `auto` and `budget_seconds` are not given together.
    """

    stage: int | Literal["auto"] = 3
    budget_seconds: float | None = None
    strength: float = 1.0
    format: str | None = None
    quality: int | None = None
    subsampling: Subsampling | None = None
    compare: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.stage not in (1, 2, 3, "auto"):
            raise ConfigError(f"stage is {self.stage!r}; expected 1, 2, 3 or auto")
        if (self.stage == "auto") != (self.budget_seconds is not None):
            raise ConfigError("stage 'auto' and a budget of seconds belong together; give both or neither")
        if self.budget_seconds is not None and not self.budget_seconds > 0:
            raise ConfigError(f"the budget is {self.budget_seconds} seconds; expected more than 0")
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"strength is {self.strength}; expected 0 to 1")
        check_quality(self.quality, self.subsampling)
        if self.format is not None:
            try:
                format_named(self.format)
            except ImageError as error:
                raise ConfigError(str(error)) from error

    @property
    def ending(self) -> str | None:
        """What files of `format` end in, such as `.webp`; None where no format is asked for."""
        if self.format is None:
            return None
        asked = f".{self.format.lower().removeprefix('.')}"
        return asked if asked in FORMATS else ending_of(format_named(self.format))

    def choose_stage(self, restorer: Restorer, size_hw: tuple[int, int], share: float) -> int:
        """Return the stage for a picture that may take `share` of the budget."""
        if self.stage != "auto" or self.budget_seconds is None:
            return int(self.stage)
        return restorer.choose_stage(size_hw, self.budget_seconds * share)

    def choose_common_stage(self, restorers: Sequence[Restorer], size_hw: tuple[int, int], share: float) -> int:
        """Return the earliest of the stages chosen for several networks, or the first one that all of them have."""
        chosen = min(self.choose_stage(restorer, size_hw, share) for restorer in restorers)
        return max(chosen, *(restorer.model.config.first_stage for restorer in restorers))


@dataclass(frozen=True)
class Restored:
    """A restored picture, and the strip before and after where one is asked for."""

    picture: Picture
    strip: Pixels | None = None


def restore_picture(
    restorers: Restorer | Sequence[Restorer],
    source: PathLike | BinaryIO,
    target: PathLike | BinaryIO,
    *,
    options: PictureOptions = PictureOptions(),
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Restore a picture, or every frame of an animation, with one network after the other.

    Depth, grey, transparency, colour profile and EXIF are kept. Between networks a picture has 16 bits.

    Args:
        restorers: the network, or several that work one after the other.
        source: a picture of any of `mprnet.imaging.FORMATS`, or a stream of its bytes.
        target: the file to write, whose folder is made where it is missing; or a stream, which gets the format of
            `source` where `options` name none, and nothing if anything fails.
        options: how.
        progress: called now and then with the fraction that is done.

    Raises:
        ImageError: as `mprnet.imaging.read_image` and `write_image`; an existing target is found before the picture
            is restored.
        ConfigError: there are no restorers; a network has other than 3 channels; `target` ends otherwise than the
            format that is asked for; a strip is asked for and `target` is
            a stream.
        MissingExtraError: a format needs a package that is not installed.
    """
    restorers = several(restorers)
    source = at_home(source) if isinstance(source, str | os.PathLike) else _content(source)
    if isinstance(target, str | os.PathLike):
        target = at_home(target)
        if target.suffix.lower() in FORMATS:
            check_ending(target, options.ending)
    elif options.compare:
        raise ConfigError("a strip before and after is asked for, but the output is a stream; name a file")
    try:
        content = load(source, target if isinstance(target, Path) else None, options)
        if isinstance(content, Animation):
            restore_animation(restorers, content, target, options, progress)
        else:
            save(restore(restorers, content, options, progress=progress), target, options)
    except MemoryError as error:
        raise ImageError(f"{name_of(source)} does not fit into memory") from error


def load(
    source: PathLike | BinaryIO,
    target: Path | None,
    options: PictureOptions,
    admit: Callable[[int], None] = lambda _: None,
) -> Picture | Animation:
    """Read a picture, or open an animation, once it is sure that the target can be written as far as that can be told.

    Args:
        source: a file, or a stream that can seek.
        target: the file to write, None for a stream.
        options: how.
        admit: called with the number of pixels before they are decoded.

    Raises:
        ImageError, MissingExtraError: as `restore_picture`.
    """
    with open_picture(source, MAX_PIXELS) as opened:
        pixels = opened.image.width * opened.image.height
        is_animated = opened.is_animated
        check_samples(opened)  # a raw photograph is none, whatever the target is called
        decoded = decode(opened) if opened.format == "HEIF" else None  # which opening it has decoded already
    if target is not None:
        check_target(target, options.overwrite, format=options.format)
        if options.compare:
            check_target(strip_of(target), options.overwrite)
    admit(pixels)
    if is_animated:
        return read_frames(source)
    picture = read_image(source) if decoded is None else upright(*decoded)
    if target is not None:
        check_target(target, options.overwrite, picture=picture, format=options.format)
    else:
        check_holds(format_named(_stream_format(options, picture.format)), picture, "the output")
    return picture


def restore(
    restorers: Sequence[Restorer],
    picture: Picture,
    options: PictureOptions,
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> Restored:
    """Restore a picture, in place where its memory can be written to.

    Args:
        restorers: at least one, in the order in which they work.
        picture: what to restore; its pixels hold the result afterwards, or anything.
        options: how.
        progress: called now and then with the fraction that is done.
    """
    before = thumbnail(picture, _STRIP_PX).rgb() if options.compare else None
    pixels = picture.pixels
    if len(restorers) > 1 and picture.depth == 8:
        pixels = pixels.astype(np.uint16)
        pixels *= 257  # 255 becomes 65535
    for place, restorer in enumerate(restorers):

        def report(fraction: float, place: int = place) -> None:
            progress((place + fraction) / len(restorers))

        pixels = restorer.restore_pixels(
            pixels,
            out=pixels if pixels.flags.writeable else None,
            stage=options.choose_stage(restorer, picture.size_hw, 1 / len(restorers)),
            strength=options.strength,
            progress=report,
        )
    restored = replace(picture, pixels=to_8_bits(pixels) if picture.depth == 8 else pixels)
    return Restored(restored, None if before is None else _strip(before, thumbnail(restored, _STRIP_PX).rgb()))


def save(
    restored: Restored,
    target: Path | BinaryIO,
    options: PictureOptions,
    commit: Callable[[Path], None] = lambda _: None,
) -> None:
    """Write a restored picture, and its strip.

    Args:
        restored: as `restore` returned it.
        target: the file to write, or a stream.
        options: how.
        commit: called with the finished file before it gets its name; where it fails, the file is not there.

    Raises:
        ImageError, MissingExtraError: as `restore_picture`.
    """
    _make_folder(target)
    write_image(restored.picture, target, commit=commit, **_choices(target, options, restored.picture.format))
    if isinstance(target, Path):
        _save_strip(restored, target, options)


def restore_animation(
    restorers: Sequence[Restorer],
    animation: Animation,
    target: Path | BinaryIO,
    options: PictureOptions,
    progress: Callable[[float], None] = lambda _: None,
    commit: Callable[[Path], None] = lambda _: None,
) -> None:
    """Restore every frame of an animation, and write it; arguments and errors are as for `restore` and `save`.

    The strip shows the first frame. With `auto`, all frames are of the one stage whose whole animation fits the budget.
    """
    if options.stage == "auto":
        share = 1 / (animation.count * len(restorers))
        stage = options.choose_common_stage(restorers, animation.size_hw, share)
        options = replace(options, stage=stage, budget_seconds=None)
    first: Restored | None = None

    def frames() -> Iterator[Frame]:
        nonlocal first
        for number, frame in enumerate(animation.frames):

            def report(fraction: float, number: int = number) -> None:
                progress((number + fraction) / animation.count)

            wanted = options if first is None else replace(options, compare=False)
            restored = restore(restorers, frame.picture, wanted, progress=report)
            first = first or restored
            yield replace(frame, picture=restored.picture)

    _make_folder(target)
    choices = _choices(target, options, animation.format)
    write_frames(frames(), target, loop=animation.loop, commit=commit, **choices)
    if isinstance(target, Path) and first is not None:
        _save_strip(first, target, options)


def _save_strip(restored: Restored, target: Path, options: PictureOptions) -> None:
    if restored.strip is not None:
        profile = None if restored.picture.is_grey else restored.picture.icc_profile
        write_image(restored.strip, strip_of(target), icc_profile=profile, overwrite=options.overwrite)


def _make_folder(target: Path | BinaryIO) -> None:
    if isinstance(target, Path):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{target} cannot be written: {error.strerror or error}") from error


def _choices(target: Path | BinaryIO, options: PictureOptions, given: str | None) -> dict[str, Any]:
    """Return how to write what was of the format `given`."""
    return {
        "format": options.format if isinstance(target, Path) else _stream_format(options, given),
        "quality": options.quality,
        "subsampling": options.subsampling,
        "overwrite": options.overwrite,
    }


def ending_of(format_: str) -> str:
    """Return what the files of a format end in.

    Example:
        >>> ending_of("JPEG")
        '.jpg'
    """
    return next(ending for ending, named in FORMATS.items() if named == format_)


def _stream_format(options: PictureOptions, given: str | None) -> str:
    """Return what to write to a stream: what is asked for, or what was read where it can be written."""
    if options.format is not None:
        return options.format
    return given if given is not None and given in FORMATS.values() else "PNG"


def _strip(before: Pixels, after: Pixels) -> Pixels:
    return contact_sheet([[("before", before), ("after", after)]], cell_px=_STRIP_PX)


class _Content(io.BytesIO):
    name = "standard input"


def _content(stream: BinaryIO) -> BinaryIO:
    """Read a stream to its end, so that it can be gone through more than once."""
    content = stream.read(_MAX_PIPE_BYTES + 1)
    if len(content) > _MAX_PIPE_BYTES:
        raise ImageError(f"what comes in is longer than {_MAX_PIPE_BYTES} bytes; expected one picture")
    return _Content(content)

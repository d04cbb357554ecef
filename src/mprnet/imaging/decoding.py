"""The boundary to the decoders: any file in, a picture or one clear error out, in bounded memory and time.

What a file is, is told by its first bytes, and only the decoder of that format sees it. Sizes are taken from headers
and checked before anything is decoded. Everything is decoded by Pillow (HEIF by pillow-heif), which is asked twice for
colours of 16 bits, once for the upper and once for the lower bytes, because its own pictures have 8.

No format is read in regions: the decoder holds the picture once (4 bytes a pixel in Pillow; a progressive JPEG
another 2 bytes a sample), the pixels are taken from it a strip at a time, and it is gone before they are turned.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import logging
import os
import re
import stat
import struct
import threading
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError, _imaging

from mprnet.errors import ImageError, MPRNetError
from mprnet.files import PathLike, status_of
from mprnet.imaging.directories import MAX_PAGES, excess_in
from mprnet.imaging.formats import HEADER_BYTES, HOLD_FRAMES, recognise
from mprnet.imaging.heif import open_heif
from mprnet.imaging.metadata import SIDEWAYS, exif_of, take_orientation
from mprnet.imaging.picture import Picture

if TYPE_CHECKING:
    from mprnet.imaging.pixels import Pixels


MAX_PIXELS = 256 * 1024 * 1024
"""Larger pictures are refused before they are decoded: 268 million pixels, above what cameras and telephones make."""

_KINDS = "PNG, JPEG, TIFF, WebP, BMP, GIF, AVIF or HEIF"
_MOST = {
    # of a JPEG
    "segments": 10_000,  # large notes take some hundred
    "segments of notes": 256,  # cameras write one, and Pillow's time grows with their square
    "scans": 100,  # each takes a walk over the whole picture
    # of a PNG
    "chunks beside those of its pixels": 50_000,  # each frame of an animation has one
    "compressed chunks of profile and text": 64,  # each may inflate to `_MAX_PROFILE_BYTES`
}
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # of JPEG, but for those that stand in the middle of a scan
_BARE = frozenset({0x01, 0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)})  # markers that Pillow takes for segments of two bytes
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # segments that say how the picture is coded
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_CODE_POINTS = {
    "PNG": re.compile(rb"\0\0\0\x04cICP(.)(.)", re.DOTALL),
    **dict.fromkeys(("AVIF", "HEIF"), re.compile(rb"colrnclx\0(.)\0(.)", re.DOTALL)),
}
_CODE_POINTS_WITHIN = 2**16  # bytes from the start: what describes a picture stands before it
_PRIMARIES, _TRANSFERS = frozenset({1, 2, 5, 6, 7}), frozenset({1, 2, 6, 13, 14, 15})  # sRGB, television, not said
_MAX_DPI = 65_535
_MAX_PROFILE_BYTES = 2**24  # of a PNG; those of scanners and printers take a few million
_STRIP_PIXELS = 2**18
_GREY_MODES = frozenset({"1", "L", "LA", "La"})
_COLOUR_MODES = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"})
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}

# Pillow's own limit is a million, less than other formats hold and than this package writes.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, _MAX_PROFILE_BYTES)

_STDERR = threading.Lock()

# Pillow tells of some damage before it raises; where nobody has set logging up, that would be printed.
logging.getLogger("PIL").addHandler(logging.NullHandler())

# Exif 2.32, 4.6.4: where row 0 and column 0 of the stored picture are when it is looked at. Transposed first, then
# the rows turned round, then the columns.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True)
class OpenFile:
    """A picture file whose header was read and found acceptable.

    Attributes:
        image: not yet decoded, except HEIF.
        format: one of `mprnet.imaging.FORMATS`' values, or `PPM`.
        name: for messages.
    """

    image: Image.Image
    format: str
    name: str
    file: BinaryIO

    @property
    def is_animated(self) -> bool:
        """Whether it has several frames; pages of a TIFF and pictures of a HEIF are none."""
        return self.format in HOLD_FRAMES and bool(getattr(self.image, "is_animated", False))


def name_of(source: PathLike | BinaryIO) -> str:
    """Return what messages call a file or stream."""
    return str(Path(source)) if isinstance(source, str | os.PathLike) else str(getattr(source, "name", "the stream"))


class _WhileUsed:
    """Something of the whole process that is changed while any of several threads uses it.

    Args:
        change: changes it, and restores it at its end: what the first thread begins, the last one ends.
    """

    def __init__(self, change: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._change = change
        self._changing = threading.Lock()
        self._users = 0
        self._changed = contextlib.ExitStack()

    @contextlib.contextmanager
    def used(self, further: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Have it changed in the block; `further` changes more of the same, which is restored with it."""
        with self._changing:
            if not self._users:
                self._changed.enter_context(self._change())
            self._users += 1
            further()
        try:
            yield
        finally:
            with self._changing:
                self._users -= 1
                if not self._users:
                    self._changed.close()


@contextlib.contextmanager
def _ignored_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _kept_limit() -> Iterator[None]:
    """Restore Pillow's own limit, lower than ours, at the end."""
    before = Image.MAX_IMAGE_PIXELS
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


_silence, _limit = _WhileUsed(_ignored_warnings), _WhileUsed(_kept_limit)


def _raise_limit(max_pixels: int) -> None:
    """Let Pillow decode so many pixels; what is larger is refused before."""
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)


@contextlib.contextmanager
def damage_as_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises in the block into an ImageError, and what it warns of into silence."""
    try:
        with _silence.used():  # about sizes, which are checked here, and about sloppy metadata
            yield
    except MPRNetError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is truncated, damaged, or of a kind that is not supported") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large: {error}") from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory") from error
    except Exception as error:  # damaged bytes make the decoders raise nearly anything
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"{name} cannot be read: {error.strerror}") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name} is truncated or damaged: {reason}") from error


@contextlib.contextmanager
def open_picture(source: PathLike | BinaryIO, max_pixels: int) -> Iterator[OpenFile]:
    """Read a file's header, and keep it open for the decoder.

    Args:
        source: the file, whatever its name ends in, or a stream of bytes; a stream that can seek stands at its start
            again afterwards.
        max_pixels: refuse larger pictures.

    Raises:
        ImageError: as `mprnet.imaging.read_image`.
    """
    name = name_of(source)
    with damage_as_errors(name), open_header(source, name, max_pixels) as opened:
        yield opened


@contextlib.contextmanager
def open_header(source: PathLike | BinaryIO, name: str, max_pixels: int) -> Iterator[OpenFile]:
    """Do the same, and let what the decoder raises through: for a block of `damage_as_errors`."""
    with _limit.used(lambda: _raise_limit(max_pixels)), _opened(source, name, max_pixels) as file:
        header = file.read(HEADER_BYTES)
        file.seek(0)
        if not header:
            raise ImageError(f"{name} is empty (0 bytes); copy or download it again")
        format_ = recognise(header)
        if format_ is None:
            raise ImageError(f"{name} is no picture of a kind that is read here; expected {_KINDS}")
        if format_ == "HEIF":
            image = open_heif(file, name, max_pixels)
            _check_code_points(name, image, file, format_)
            yield OpenFile(image, format_, name, file)
            return
        if format_ == "WEBP":
            _check_size(name, *_webp_size(header), max_pixels)  # opening one takes memory for the whole picture
        if format_ == "TIFF" and (excess := excess_in(file)):
            raise ImageError(f"{name} has {excess}")
        if format_ == "JPEG":
            _check_segments(name, file)
        if format_ == "PNG":
            _check_chunks(name, file)
        with Image.open(file, formats=(format_,)) as image:
            _check_size(name, *image.size, max_pixels)
            _check_code_points(name, image, file, format_)
            yield OpenFile(image, format_, name, file)


@contextlib.contextmanager
def _opened(source: PathLike | BinaryIO, name: str, max_pixels: int) -> Iterator[BinaryIO]:
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if (status := status_of(path)) is None:
            raise ImageError(f"{name} does not exist; expected a {_KINDS} file")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{name} is a folder or no ordinary file; expected a {_KINDS} file")
        with path.open("rb") as file:
            yield file
    elif source.seekable() and source.tell() == 0:
        try:
            yield source
        finally:
            source.seek(0)
    else:
        most = 8 * max_pixels + 2**26  # what the largest picture takes uncompressed, and room for its metadata
        content = source.read(most + 1)
        if len(content) > most:
            raise ImageError(f"{name} is longer than {most} bytes; expected one picture")
        yield io.BytesIO(content)


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(f"{name} is {width}×{height}; expected at most {max_pixels} pixels")


def _webp_size(header: bytes) -> tuple[int, int]:
    """Return width and height. Source: RFC 9649, sections 2.5 to 2.7."""
    if header[12:16] == b"VP8X":
        return int.from_bytes(header[24:27], "little") + 1, int.from_bytes(header[27:30], "little") + 1
    if header[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<L", header, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", header, 26)
    return width & 0x3FFF, height & 0x3FFF


def _check_code_points(name: str, image: Image.Image, file: BinaryIO, format_: str) -> None:
    """Refuse colours that only code points tell from those of sRGB: nothing that is written would say so.

    Source:
        ITU-T H.273, tables 2 and 3; PNG, third edition, 11.3.2.6 (cICP); ISO/IEC 23008-12, 6.5.5 (colr).
    """
    if format_ not in _CODE_POINTS or image.info.get("icc_profile"):
        return
    place = file.tell()
    found = _CODE_POINTS[format_].search(_rewound(file).read(_CODE_POINTS_WITHIN))
    file.seek(place)
    if found and not (found[1][0] in _PRIMARIES and found[2][0] in _TRANSFERS):
        raise ImageError(
            f"{name} has colours of code points {found[1][0]} and {found[2][0]} (wide gamut or HDR) without a "
            "profile, which is not supported; convert it to sRGB, or give it a profile"
        )


def _check_segments(name: str, file: BinaryIO) -> None:
    """Refuse a JPEG that would be read through or walked over again and again; the scans are counted, not decoded.

    What stands behind the end of the picture, such as the film of a moving photograph, is none of it.

    Source:
        ITU-T T.81, annex B.
    """
    place, channels, is_progressive, found = 2, 0, False, Counter[str]()
    while (place := _next_marker(file, place)) >= 0:
        file.seek(place)
        kind, length, content = struct.unpack(">xBH6s", file.read(10).ljust(10, b"\0"))
        if kind == 0xD9 and found["scans"]:  # before the first scan, Pillow reads on behind an end
            break
        found["segments"] += 1
        found["segments of notes"] += kind == 0xE1 and content == b"Exif\0\0"
        if kind in _FRAMES:
            channels, is_progressive = content[5], kind in _PROGRESSIVE
        if kind == 0xDA:
            found["scans"] += 1
            if found["scans"] == 1 and content[0] == channels and not is_progressive:
                break  # decoders stop after a first scan of all channels
        _check_counts(name, found)
        place += 2 if kind in _BARE else 2 + length
    file.seek(0)


def _check_chunks(name: str, file: BinaryIO) -> None:
    """Refuse a PNG of more chunks than Pillow reads through, and inflates, in a moment.

    Source:
        PNG, third edition, 5.3.
    """
    found = Counter[str]()
    file.seek(8)
    while len(head := file.read(8)) == 8 and not head.endswith(b"IEND"):
        length, kind = struct.unpack(">L4s", head)
        found["chunks beside those of its pixels"] += kind not in (b"IDAT", b"fdAT")
        start = file.tell()
        is_deflated = kind in (b"iCCP", b"zTXt")
        if kind == b"iTXt":  # the byte behind its keyword says it
            is_deflated = not file.read(min(length, 81)).partition(b"\0")[2].startswith(b"\0")
        found["compressed chunks of profile and text"] += is_deflated
        _check_counts(name, found)
        file.seek(start + length + 4)
    file.seek(0)


def _check_counts(name: str, found: Counter[str]) -> None:
    for what, count in found.items():
        if count > _MOST[what]:
            raise ImageError(
                f"{name} has more than {_MOST[what]} {what}, of which encoders make about ten; save it anew"
            )


def _next_marker(file: BinaryIO, place: int) -> int:
    """Return where the next marker of a JPEG is, from `place` on; -1 where there is none."""
    file.seek(place)
    last = b""
    while block := file.read(2**16):
        if found := _MARKER.search(last + block):
            return place - len(last) + found.start()
        place += len(block)
        last = block[-1:]
    return -1


def decode(opened: OpenFile) -> tuple[Picture, int]:
    """Decode the frame at which an image stands.

    Returns:
        tuple: the picture as it is stored, and the EXIF orientation by which `upright` turns it: apart, so that the
        decoder's memory can be given back before.

    Raises:
        ImageError: the samples are of a kind that would lose something.
    """
    image = opened.image
    check_samples(opened)
    deep = _is_deep(opened)
    stored_as = image.mode
    # Of a TIFF, Pillow turns the picture and forgets by how much.
    turn = image.tag_v2.get(274) if opened.format == "TIFF" else None  # type: ignore[attr-defined]
    if opened.format == "PNG":
        _widen_key(image)
    if opened.format == "PPM" and deep:
        pixels, alpha = _deep_ppm(opened), None
    elif deep:
        pixels, alpha = _deep(opened)
    else:
        _load(image, opened.format)
        pixels, alpha = _shallow(image)
    orientation, exif = take_orientation(exif_of(image, opened.format, turn))
    dpi = _dpi(image, orientation in SIDEWAYS)
    if opened.format in ("TIFF", "HEIF"):
        orientation = 1  # these decoders have turned the picture
    profile = image.info.get("icc_profile")
    if stored_as == "CMYK" or not isinstance(profile, bytes):  # it was used; or damaged, where a TIFF has numbers in it
        profile = None
    picture = Picture(pixels, alpha, profile or None, exif, opened.format, stored_as, dpi)
    return picture, orientation


def upright(picture: Picture, orientation: int) -> Picture:
    """Turn a picture as it is looked at; `orientation` is that of EXIF, 1 to 8."""
    if orientation not in _TURNS:
        return picture
    alpha = None if picture.alpha is None else _turned(picture.alpha, orientation)
    return replace(picture, pixels=_turned(picture.pixels, orientation), alpha=alpha)


def check_samples(opened: OpenFile) -> None:
    """Raise ImageError where the samples are of a kind that would lose something; nothing is decoded."""
    image, name = opened.image, opened.name
    kind, remedy = None, "convert it to RGB or grey of 8 or 16 bits"
    if opened.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if 3 in _as_tuple(tags.get(339, 1)):
            kind = "floating-point samples"
        elif 2 in _as_tuple(tags.get(339, 1)):
            kind = "signed samples"
        elif image.mode == "CMYK" and max(_as_tuple(tags.get(258, 8))) > 8:
            kind = "CMYK colours of 16 bits"
        elif tags.get(284) == 2 and len(image.getbands()) > 1 and max(_as_tuple(tags.get(258, 8))) > 8:
            kind = "colours of 16 bits in planes of their own"  # of which Pillow reads 8
        elif tags.get(254, 0) & 1 or 50706 in tags:
            kind = "only a small copy of its picture where pictures lie, as raw photographs have"
            remedy = "develop it to TIFF or JPEG first"
        elif 0 in _as_tuple(tags.get(338, 1)):
            kind = "a further channel, such as a saved selection, that is no transparency"
            remedy = "remove that channel"
        elif _has_pages(image):
            kind, remedy = "several pages", "save each page as a file"
    if image.mode == "F":
        kind = "floating-point samples"
    if kind is None and not _is_deep(opened) and image.mode not in _GREY_MODES | _COLOUR_MODES:
        kind = f"samples of kind {image.mode}"
    if kind is not None:
        raise ImageError(f"{name} has {kind}, which is not supported; {remedy}")


def _dpi(image: Image.Image, is_sideways: bool) -> tuple[float, float] | None:
    """Return how many pixels an inch a file wants across and down, as it is looked at; None where it makes no sense."""
    try:
        across, down = (float(number) for number in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not (1 < across <= _MAX_DPI and 1 < down <= _MAX_DPI):  # 1 is what Pillow says of a TIFF that does not say it
        return None
    return (down, across) if is_sideways else (across, down)


def _load(image: Image.Image, format_: str) -> None:
    """Decode; in silence, too, where libtiff would print what it thinks of a damaged file on the process's stderr.

    Where it cannot be told not to, stderr is closed to everyone for as long as a TIFF is decoded.
    """
    if format_ == "TIFF":
        image.info.pop("xmp", None)  # by which Pillow would turn a picture that has no orientation itself
    if format_ != "TIFF" or _silence_libtiff():
        image.load()
        return
    with _STDERR:
        try:
            stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        except OSError:  # there is no stderr, or no way to close it
            image.load()
            return
        try:
            os.dup2(nowhere, 2)
            image.load()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            os.close(nowhere)


@functools.cache
def _silence_libtiff() -> bool:
    """Take away libtiff's printer of errors, as Pillow does with that of warnings; return whether it is gone."""
    try:
        # Found among what Pillow's own library was loaded with; a libtiff built into that cannot be reached.
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
    except (OSError, AttributeError):
        return False
    return True


def _as_tuple(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _has_pages(image: Image.Image) -> bool:
    """Tell whether a TIFF has another page that is no small copy and no mask of the first."""
    try:
        for page in range(1, MAX_PAGES):
            image.seek(page)
            if not image.tag_v2.get(254, 0) & 0b101:  # type: ignore[attr-defined]
                return True
    except EOFError:
        return False
    finally:
        image.seek(0)
    return True


def _is_deep(opened: OpenFile) -> bool:
    """Tell whether samples have 16 bits, which Pillow would cut to 8 without a word."""
    if opened.format == "PPM":
        return any(_most(tile.args) > 255 for tile in opened.image.tile)  # type: ignore[attr-defined]
    tiles = getattr(opened.image, "tile", [])
    return opened.format in ("PNG", "TIFF") and (
        opened.image.mode.startswith("I;16") or any(";16" in _raw_mode(tile.args) for tile in tiles)
    )


def _most(tile_args: object) -> int:
    if isinstance(tile_args, tuple) and len(tile_args) > 1:
        return int(tile_args[1])
    return 65535 if "16" in str(tile_args) else 255


def _raw_mode(tile_args: object) -> str:
    return str(tile_args[0] if isinstance(tile_args, tuple) else tile_args)


def _shallow(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """Return pixels and alpha, uint8, of an image that is loaded."""
    grey, clear = image.mode in _GREY_MODES, image.has_transparency_data
    mode = ("LA" if clear else "L") if grey else ("RGBA" if clear else "RGB")
    to_srgb = _to_srgb(image) if image.mode == "CMYK" else None
    pixels = np.empty((image.height, image.width, 1 if grey else 3), np.uint8)
    alpha = np.empty(pixels.shape[:2], np.uint8) if clear else None
    for rows, strip in _strips(image):
        if to_srgb is not None:
            strip = ImageCms.applyTransform(strip, to_srgb) or strip
        _fill(pixels[rows], None if alpha is None else alpha[rows], np.asarray(strip.convert(mode)))
    return pixels, alpha


def _to_srgb(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """Return what turns printing inks into sRGB; None without a profile, or with one that is damaged."""
    if not (profile := image.info.get("icc_profile")):
        return None
    try:
        return ImageCms.buildTransform(
            io.BytesIO(profile), ImageCms.createProfile("sRGB"), "CMYK", "RGB", ImageCms.Intent.PERCEPTUAL
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _deep(opened: OpenFile) -> tuple[Pixels, Pixels | None]:
    """Return pixels and alpha, uint16."""
    image = opened.image
    raw_modes = {_raw_mode(tile.args) for tile in image.tile}  # type: ignore[attr-defined]
    if raw_modes == {"LA;16B"}:
        return _deep_grey_alpha(opened)
    if image.mode.startswith("I;16") and all(re.fullmatch(r"I;16[BLN]?", raw) for raw in raw_modes):
        _load(image, opened.format)
        grey = np.empty((image.height, image.width, 1), np.uint16)
        for rows, strip in _strips(image):
            grey[rows, :, 0] = np.asarray(strip)
        if opened.format == "TIFF" and image.tag_v2.get(262) == 0:  # type: ignore[attr-defined]
            np.subtract(65535, grey, out=grey)  # white is zero
        return grey, _keyed(grey, image.info.get("transparency"))
    if image.mode not in ("RGB", "RGBA") or not all(re.fullmatch(r"RGB[AX]*;16[BLN]", raw) for raw in raw_modes):
        kind = ", ".join(sorted(raw_modes))
        raise ImageError(f"{opened.name} has samples of kind {kind}, which is not supported; convert it to RGB")
    pixels = np.zeros((image.height, image.width, 3), np.uint16)
    alpha = np.zeros(pixels.shape[:2], np.uint16) if image.mode == "RGBA" else None
    for shift in (0, 8):
        _add_byte(opened, pixels, alpha, shift)
    return pixels, alpha if alpha is not None else _keyed(pixels, image.info.get("transparency"))


def _add_byte(opened: OpenFile, pixels: Pixels, alpha: Pixels | None, shift: int) -> None:
    """Decode the upper (shift 8) or lower (0) bytes of colours of 16 bits, and add them to what is there."""
    with Image.open(_rewound(opened.file), formats=(opened.format,)) as image:
        if shift == 0:
            image.tile = [tile._replace(args=_other_byte(tile.args)) for tile in image.tile]
        _load(image, opened.format)
        for rows, strip in _strips(image):
            samples = np.asarray(strip).astype(np.uint16) << shift
            pixels[rows] |= samples[..., :3]
            if alpha is not None:
                alpha[rows] |= samples[..., 3]
        opened.image.info.update(image.info)  # notes may stand behind the pixels


def _deep_grey_alpha(opened: OpenFile) -> tuple[Pixels, Pixels | None]:
    """Decode a PNG of grey and alpha in 16 bits as what has the same bytes: red, green, blue and alpha in 8.

    Pillow has no way to the lower bytes of this kind.
    """
    content = bytearray(_rewound(opened.file).read())
    content[24:26] = 8, 6
    content[29:33] = struct.pack(">L", zlib.crc32(content[12:29]))
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.load()
        samples = np.empty((image.height, image.width, 2), np.uint16)
        for rows, strip in _strips(image):
            samples[rows] = np.asarray(strip).view(">u2")
        opened.image.info.update(image.info)
    return np.ascontiguousarray(samples[..., :1]), np.ascontiguousarray(samples[..., 1])


def _deep_ppm(opened: OpenFile) -> Pixels:
    """Return the samples of a PPM or PGM of 16 bits, which stand behind the header as they are."""
    image, tile = opened.image, opened.image.tile[0]  # type: ignore[attr-defined]
    if tile.codec_name not in ("raw", "ppm") or _most(tile.args) != 65535:
        raise ImageError(f"{opened.name} has a PPM of an unusual kind, which is not supported; convert it to PNG")
    channels = 3 if image.mode == "RGB" else 1
    opened.file.seek(tile.offset)
    content = opened.file.read(image.width * image.height * channels * 2)
    samples = np.frombuffer(content, ">u2").reshape(image.height, image.width, channels)
    return samples.astype(np.uint16)


def _rewound(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return file


def _other_byte(tile_args: Any) -> Any:
    if isinstance(tile_args, tuple):
        return (_other_byte(tile_args[0]), *tile_args[1:])
    raw = str(tile_args)
    return raw[:-1] + _OTHER_BYTE[raw[-1]]


def _widen_key(image: Image.Image) -> None:
    """Count the transparent grey of a PNG of 2 or 4 bits as its pixels will be, in 8; Pillow leaves it as it is."""
    key, raw_modes = image.info.get("transparency"), {_raw_mode(tile.args) for tile in image.tile}  # type: ignore[attr-defined]
    for raw_mode, largest in (("L;2", 3), ("L;4", 15)):
        if raw_mode in raw_modes and isinstance(key, int) and key <= largest:
            image.info["transparency"] = key * 255 // largest


def _keyed(pixels: Pixels, key: object) -> Pixels | None:
    """Return the alpha channel that a PNG's transparent colour makes."""
    if key is None:
        return None
    return np.where((pixels == np.array(key)).all(axis=2), 0, 65535).astype(np.uint16)


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    step = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, step):
        bottom = min(top + step, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _fill(pixels: Pixels, alpha: Pixels | None, samples: Pixels) -> None:
    if samples.ndim == 2:
        samples = samples[..., None]
    pixels[...] = samples[..., : pixels.shape[2]]
    if alpha is not None:
        alpha[...] = samples[..., -1]


def _turned(samples: Pixels, orientation: int) -> Pixels:
    """Return rows and columns `(H, W, …)` as they are looked at."""
    transpose, turn_rows, turn_columns = _TURNS[orientation]
    turned = samples.swapaxes(0, 1) if transpose else samples
    return np.ascontiguousarray(turned[:: -1 if turn_rows else 1, :: -1 if turn_columns else 1])

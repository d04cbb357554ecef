"""Damage small pictures of every format in every way, and read them: no crash, no hang, no memory above a bound.

Run it from the root of the repository; it needs fork (Linux, macOS):

    python tests/checks/fuzz_files.py --files 10000 --seed 0

The files are made here and depend on the seed alone. Each is read by `read_image` and `read_frames` in a process of
its own limits; what is neither a picture nor an `ImageError` within the time and memory counts, is named, and makes
the exit code 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import multiprocessing
import os
import random
import resource
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

from mprnet.errors import ImageError
from mprnet.imaging import Frame, Picture, read_frames, read_image, write_frames, write_image

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MAX_PIXELS = 2**22
SECONDS = 10.0
MEMORY_MIB = 256  # above what the process has before the first file
BATCH = 500


def make_seeds() -> list[tuple[str, bytes]]:
    """Return small valid files by name: every format, depth and way to store colours that can be written here."""
    rng = np.random.default_rng(0)
    rgb = np.clip(np.mgrid[0:20, 0:24].sum(0)[..., None] * (3, 5, 6) + rng.integers(0, 9, (20, 24, 3)), 0, 255)
    deep = (rgb * 257).astype(np.uint16)
    rgb = rgb.astype(np.uint8)
    clear = np.where(rgb[..., 0] > 60, 255, 90).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    notes = Image.Exif()
    notes[0x0112], notes[0x010F] = 6, "A camera"
    notes[0x8769] = {0x9003: "2024:01:01 00:00:00", 0x927C: bytes(40)}
    exif = notes.tobytes().removeprefix(b"Exif\0\0")
    seeds: list[tuple[str, bytes]] = []

    def ours(name: str, picture: Picture) -> None:
        file = io.BytesIO()
        write_image(picture, file, format=name.split("-")[0])
        seeds.append((name, file.getvalue()))

    def pillows(name: str, image: Image.Image, **options: object) -> None:
        file = io.BytesIO()
        image.save(file, name.split("-")[0], **options)
        seeds.append((name, file.getvalue()))

    formats = ["PNG", "TIFF", "WEBP", "AVIF", "GIF"]
    try:
        import pillow_heif  # noqa: F401

        formats.append("HEIF")
    except ImportError:
        print("pillow-heif is not installed: no HEIF among the files", file=sys.stderr)
    for format_ in [*formats, "JPEG", "BMP"]:
        ours(f"{format_}-rgb", Picture(rgb, icc_profile=profile, exif=exif))
        ours(f"{format_}-grey", Picture(rgb[..., :1]))
    for format_ in formats:
        ours(f"{format_}-rgba", Picture(rgb, clear))
    for format_ in ("PNG", "TIFF"):
        ours(f"{format_}-la", Picture(rgb[..., :1], clear))
        for samples, alpha in (
            (deep, None),
            (deep, deep[..., 0]),
            (deep[..., :1], None),
            (deep[..., :1], deep[..., 0]),
        ):
            kind = f"{samples.shape[2]}{'a' if alpha is not None else ''}"
            ours(f"{format_}-16-{kind}", Picture(samples, alpha, icc_profile=profile, exif=exif))
    image = Image.fromarray(rgb)
    palette, cmyk = image.quantize(16), image.convert("CMYK")
    pillows("PNG-palette", palette, transparency=bytes(range(16)))
    pillows("PNG-1", image.convert("1"))
    pillows("PNG-key", image, transparency=(3, 5, 6))
    pillows("JPEG-exif", image, exif=notes.tobytes(), icc_profile=profile)
    pillows("JPEG-progressive", image, progressive=True)
    pillows("JPEG-cmyk", cmyk)
    pillows("BMP-palette", palette)
    pillows("WEBP-lossless", image, lossless=True)
    pillows("TIFF-big", image, big_tiff=True)
    pillows("TIFF-cmyk", cmyk, compression="tiff_lzw")
    pillows("TIFF-palette", palette)
    pillows("TIFF-fax", image.convert("1"), compression="group4")
    pillows("TIFF-float", Image.fromarray(rgb[..., 0].astype(np.float32)))
    pillows("TIFF-pages", image, save_all=True, append_images=[image])
    for compression in ("raw", "tiff_lzw", "packbits", "jpeg", "tiff_deflate"):
        pillows(f"TIFF-{compression}", image, compression=compression)
        if compression != "jpeg":
            pillows(f"TIFF-16-{compression}", Image.fromarray(deep[..., 0]), compression=compression)
    pillows("PPM", image)
    seeds.append(("PPM-16", b"P6 24 20 65535\n" + deep.astype(">u2").tobytes()))
    frames = [Frame(Picture(np.roll(rgb, 3 * step, axis=1), clear), 40 + 10 * step) for step in range(4)]
    for format_ in ("GIF", "WEBP", "PNG", "AVIF"):
        file = io.BytesIO()
        write_frames(frames, file, format=format_, loop=3)
        seeds.append((f"{format_}-frames", file.getvalue()))
    return seeds


def mutate(seeds: list[tuple[str, bytes]], draw: random.Random) -> tuple[str, bytes]:
    """Return a damaged file, and what it was."""
    name, content = draw.choice(seeds)
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        kind = draw.choice(("flip", "flip", "bytes", "cut", "swap", "repeat", "number", "number", "number", "splice"))
        place = draw.randrange(len(data)) if data else 0
        length = min(draw.choice((1, 4, 12, 40, 200)), len(data) - place)
        if kind == "flip":
            for _ in range(draw.choice((1, 2, 8, 30))):
                if data:
                    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        elif kind == "bytes":
            data[place : place + length] = draw.randbytes(length)
        elif kind == "cut":
            del data[place : place + draw.choice((length, len(data)))]
        elif kind == "swap":
            other = draw.randrange(len(data)) if data else 0
            data[place : place + length], data[other : other + length] = (
                data[other : other + length],
                data[place : place + length],
            )
        elif kind == "repeat":
            data[place:place] = data[place : place + length] * draw.choice((1, 2, 50, 2000))
        elif kind == "number":  # sizes, counts and offsets stand near the beginning, or the end in TIFF
            number = draw.choice((0, 1, 2, 255, 256, 2047, 4096, 65535, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1))
            packed = struct.pack(draw.choice("<>") + "L", number)[: draw.choice((1, 2, 4))]
            place = draw.choice((place, draw.randrange(64), max(0, len(data) - 1 - draw.randrange(300))))
            data[place : place + len(packed)] = packed
        else:
            other = draw.choice(seeds)[1]
            start = draw.randrange(len(other))
            data[place:] = other[start:]
    if draw.random() < 0.5:
        mend_png(data)
    return name, bytes(data)


def mend_png(data: bytearray) -> None:
    """Make the checksums right again, so that what they guard is reached."""
    place = 8
    while data[:4] == b"\x89PNG" and place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            return
        data[end : end + 4] = struct.pack(">L", zlib.crc32(data[place + 4 : end]))
        place = end + 4


def read(content: bytes) -> str:
    """Read a file in both ways; return `read` or `refused`, or what should not have happened."""
    outcome = "refused"
    for animated in (False, True):
        try:
            if animated:
                pictures = (frame.picture for frame in read_frames(io.BytesIO(content), max_pixels=MAX_PIXELS).frames)
            else:
                pictures = iter([read_image(io.BytesIO(content), max_pixels=MAX_PIXELS)])
            for picture in pictures:
                if picture.size_hw[0] * picture.size_hw[1] > MAX_PIXELS:
                    return "larger than allowed"
                outcome = "read"
        except ImageError as error:
            if "does not fit into memory" in str(error):
                return "memory"
            if "\n" in str(error):
                return f"error of several lines: {error!r}"
        except Exception as error:  # noqa: BLE001 Anything else is what this program looks for.
            return f"unexpected {type(error).__name__}: {error}"
    return outcome


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


def work(files: list[tuple[str, bytes]], results: Connection) -> None:
    """Read files one after the other, telling after each what came of it."""
    noise = tempfile.TemporaryFile()  # noqa: SIM115 It lives as long as the process.
    for stream in (1, 2):
        os.dup2(noise.fileno(), stream)
    base = peak_mib()
    if sys.platform == "linux":
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 4 * MEMORY_MIB * 2**20,) * 2)
    for _, content in files:
        start, quiet = time.monotonic(), noise.tell()
        outcome = read(content)
        seconds = time.monotonic() - start
        peak = peak_mib() - base
        if peak > MEMORY_MIB:
            outcome = "memory"
        elif os.lseek(noise.fileno(), 0, os.SEEK_END) > quiet:
            os.lseek(noise.fileno(), quiet, os.SEEK_SET)
            outcome = f"noise: {os.read(noise.fileno(), 120)!r}"
            os.lseek(noise.fileno(), 0, os.SEEK_END)
        results.send((outcome, seconds, peak))
        if outcome == "memory":
            return  # the peak stays: the next file needs a process of its own


@dataclasses.dataclass
class Tally:
    """What came of the files."""

    outcomes: Counter[str] = dataclasses.field(default_factory=Counter)
    faults: list[str] = dataclasses.field(default_factory=list)
    worst_seconds: float = 0.0
    peak_mib: float = 0.0

    def add(self, number: int, name: str, outcome: str) -> None:
        known = outcome if outcome in ("read", "refused", "crash", "hang", "memory") else outcome.split()[0].strip(":")
        self.outcomes[known] += 1
        if outcome not in ("read", "refused"):
            self.faults.append(f"file {number} ({name}): {outcome}")


def run(count: int, seed: int, keep: Path | None) -> Tally:
    """Damage and read `count` files."""
    seeds = make_seeds()
    for name, content in seeds:
        if read(content) != "read" and name not in ("TIFF-float", "TIFF-pages"):
            raise SystemExit(f"{name} is no picture to begin with: {read(content)}")
    context, tally, number = multiprocessing.get_context("fork"), Tally(), 0
    while number < count:
        # Numbered draws: a file is the same whatever batch it is in.
        files = [mutate(seeds, random.Random(f"{seed}/{n}")) for n in range(number, min(number + BATCH, count))]  # noqa: S311
        receive, send = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(files, send))
        worker.start()
        send.close()
        for name, content in files:
            outcome = "hang"
            try:
                if receive.poll(SECONDS):
                    outcome, seconds, peak = receive.recv()
                    tally.worst_seconds = max(tally.worst_seconds, seconds)
                    tally.peak_mib = max(tally.peak_mib, peak)
            except EOFError:
                worker.join()
                outcome = "crash"
            tally.add(number, f"{name}, {worker.exitcode}" if outcome == "crash" else name, outcome)
            if outcome not in ("read", "refused") and keep is not None:
                (keep / f"{seed}-{number}").write_bytes(content)
            number += 1
            if outcome in ("hang", "crash", "memory"):
                break
        if worker.is_alive() and outcome == "hang":
            worker.kill()
        worker.join()
        receive.close()
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder to keep the files in that should not be as they are")
    options = parser.parse_args()
    start = time.monotonic()
    tally = run(options.files, options.seed, options.keep)
    for fault in tally.faults[:50]:
        print(fault)
    counts = ", ".join(
        f"{tally.outcomes.pop(name, 0)} {name}" for name in ("read", "refused", "crash", "hang", "memory")
    )
    others = "".join(f", {number} {name}" for name, number in sorted(tally.outcomes.items()))
    print(
        f"{options.files} files, seed {options.seed}: {counts}{others}; slowest {tally.worst_seconds:.2f} s, "
        f"at most {tally.peak_mib:.0f} MiB above the start; {time.monotonic() - start:.0f} s in all"
    )
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())

"""Measure the degradations that training draws beside real ones: the tables of docs/degradations.md.

    python tests/checks/degradation_statistics.py ../shared/data

Nothing here needs more than the pairs of a degraded and a clean picture; our own are drawn over the clean pictures of
`validation/clean`. Only the crops of SIDD and two pictures of RNI15 come without a clean picture: there the noise is
what a plane does not explain in the flattest squares of 32 pixels; and rain before a black coat, which we take for
black.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mprnet.degradation import (
    CameraNoise,
    FilmGrain,
    MotionBlur,
    Noise,
    Rain,
    RainLayers,
    make_degradation,
    rain_layer,
)
from mprnet.imaging import read_image, to_tensor
from mprnet.training import load_recipe
from mprnet.training.data import RecipeData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Pair = tuple[Tensor, Tensor]
    """Degraded and clean, `(3, H, W)`, sRGB in [0, 1]."""

LUMA = torch.tensor((0.299, 0.587, 0.114)).view(3, 1, 1)
BINS = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
BLOCK_PX = 128


def read(path: Path) -> Tensor:
    return to_tensor(read_image(path).pixels).float()[:3]


def pairs(folder: Path) -> list[Pair]:
    degraded = {path.stem: path for path in (folder / "input").iterdir()}
    return [(read(degraded[path.stem]), read(path)) for path in sorted((folder / "target").iterdir())]


def drawn(degrade: Callable[[Tensor, torch.Generator], Tensor], clean: Iterable[Tensor]) -> list[Pair]:
    return [
        (degrade(picture[None], torch.Generator().manual_seed(seed))[0], picture) for seed, picture in enumerate(clean)
    ]


def correlation(field: Tensor, dy: int, dx: int) -> float:
    """Correlate `(…, H, W)` with itself, moved by whole pixels."""
    field = field - field.mean(dim=(-2, -1), keepdim=True)
    height, width = field.shape[-2:]
    moved = field[..., dy:, dx:] * field[..., : height - dy, : width - dx]
    return float(moved.mean() / field.square().mean().clamp(min=1e-12))


def rain_row(pair: Pair) -> list[float]:
    """Mean and 99th percentile of what is added, share of pixels under rain, direction and its certainty, shape."""
    layer = rain_layer(*pair)
    dy, dx = (layer.diff(dim=axis)[: layer.shape[0] - 1, : layer.shape[1] - 1] for axis in (0, 1))
    # Streaks lie across the strongest gradients (structure tensor).
    angle = 0.5 * math.atan2(2 * float((dx * dy).mean()), float((dx**2 - dy**2).mean()))
    along = math.hypot(2 * float((dx * dy).mean()), float((dx**2 - dy**2).mean()))
    return [
        float(layer.mean()),
        float(layer.flatten().quantile(0.99)),
        float((layer > 0.05).float().mean()),
        abs(math.degrees(angle)),
        along / max(float((dx**2 + dy**2).mean()), 1e-12),
        *(correlation(layer, 0, lag) for lag in (1, 2, 4)),
        *(correlation(layer, lag, 0) for lag in (4, 16)),
    ]


def noise_row(noise: Tensor, clean: Tensor) -> list[float]:
    """Deviation (of 255) by brightness, correlation of red with green, of brightness and of colour over space."""
    brightness = (clean * LUMA).sum(dim=-3)
    by_bin = []
    for low, high in itertools.pairwise(BINS):
        inside = (brightness >= low) & (brightness < high)
        values = noise.movedim(-3, 0)[:, inside]
        by_bin.append(float(values.square().mean().sqrt()) * 255 if values.shape[1] > 2000 else math.nan)
    red, green = noise[..., 0, :, :], noise[..., 1, :, :]
    grey, colour = (noise * LUMA).sum(dim=-3), red - green
    shared = float((red * green).mean() / (red.square().mean() * green.square().mean()).sqrt().clamp(min=1e-12))
    ratio = float(colour.std() / grey.std().clamp(min=1e-9))
    return [
        *by_bin,
        shared,
        ratio,
        *(correlation(grey, 0, lag) for lag in (1, 2, 4)),
        *(correlation(colour, 0, lag) for lag in (1, 2, 4)),
    ]


def softness(picture: Tensor) -> list[float]:
    """How much pixels two apart differ beside neighbours, in the square: 2 where steps are random, 4 on a ramp."""
    grey = (picture * LUMA).sum(dim=-3)
    far, near = (float((grey[..., apart:] - grey[..., :-apart]).square().mean()) for apart in (2, 1))
    return [far / max(near, 1e-12)]


def flat_squares(picture: Tensor, side: int = 32, share: float = 0.08) -> tuple[Tensor, Tensor]:
    """Noise and brightness of the flattest squares, each `(N, 3, side, side)`."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    plane = torch.stack([torch.ones_like(x), x, y, x * y, x**2, y**2]).flatten(1).T
    explained = plane @ torch.linalg.pinv(plane)
    squares = picture.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4).flatten(0, 1)
    level = squares.mean(dim=(2, 3))
    squares = squares[(level.amin(1) > 8 / 255) & (level.amax(1) < 247 / 255)]
    structure = squares.mean(1).unfold(1, 8, 8).unfold(2, 8, 8).mean(dim=(-2, -1)).flatten(1).std(dim=1)
    squares = squares[structure.argsort()[: max(6, int(len(squares) * share))]]
    smooth = (squares.flatten(2) @ explained.T).view_as(squares)
    return squares - smooth, smooth


def blur_row(pair: Pair) -> list[float]:
    """Length and width of the kernels of a picture, how both change over it, and what the sharp one differs by."""
    blurred, sharp = (((picture.clamp(0, 1) ** 2.2) * LUMA).sum(0) for picture in pair)
    window = torch.hann_window(BLOCK_PX, periodic=False)
    window = window[:, None] * window
    rows = []
    for top in range(0, sharp.shape[0] - BLOCK_PX + 1, BLOCK_PX // 2):
        for left in range(0, sharp.shape[1] - BLOCK_PX + 1, BLOCK_PX // 2):
            cut = (slice(top, top + BLOCK_PX), slice(left, left + BLOCK_PX))
            before, after = sharp[cut] - sharp[cut].mean(), blurred[cut] - sharp[cut].mean()
            if before.std() < 0.04:
                continue  # nothing there that could be blurred
            spectrum = torch.fft.rfft2(before * window)
            power = spectrum.abs() ** 2
            kernel = torch.fft.irfft2(torch.fft.rfft2(after * window) * spectrum.conj() / (power + 0.01 * power.mean()))
            kernel = torch.fft.fftshift(kernel)[32:-32, 32:-32]
            kernel = torch.where(kernel > 0.12 * kernel.amax(), kernel, 0)
            kernel = kernel / kernel.sum()
            place = torch.arange(kernel.shape[0]) - kernel.shape[0] / 2
            my, mx = (kernel.sum(axis) @ place for axis in (1, 0))
            yy, xx = kernel.sum(1) @ (place - my) ** 2, kernel.sum(0) @ (place - mx) ** 2
            xy = ((place - my)[:, None] * (place - mx) * kernel).sum()
            half, root = (yy + xx) / 2, ((yy - xx) ** 2 / 4 + xy**2).sqrt()
            rows.append([(half + root).sqrt(), (half - root).clamp(min=0).sqrt(), xy, xx - yy])
    length, width, xy, difference = torch.tensor(rows).unbind(1)
    # Directions are the same turned by 180 degrees: their mean is one of doubled angles, weighted by how long they are.
    agreement = torch.hypot(2 * xy.mean(), difference.mean()) / torch.hypot(2 * xy, difference).mean()
    return [float(length.mean()), float(width.mean()), float(length.std() / length.mean()), float(agreement)]


def table(title: str, heads: Sequence[str], rows: dict[str, list[list[float]]]) -> None:
    print(f"\n{title}\n\n| | pictures | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 2)}")
    for name, values in rows.items():
        middle = torch.tensor(values).nanquantile(0.5, dim=0).tolist()
        low, high = (torch.tensor(values).nanquantile(q, dim=0).tolist() for q in (0.1, 0.9))
        cells = [f"{m:.3g} ({a:.2g}–{b:.2g})" for m, a, b in zip(middle, low, high, strict=True)]
        print(f"| {name} | {len(values)} | {' | '.join(cells)} |")


def main(data: Path) -> None:
    clean = [read(path) for path in sorted((data / "validation/clean").iterdir())]
    layers = tuple(rain_layer(*pair) for pair in pairs(data / "train/rain_pairs/rain100_train"))
    changes = [f"data.root={data}", "data.growth=[]", "data.crop_px=128", "data.workers=0"]
    batches = RecipeData(load_recipe("lite-denoise", changes)).train_dataloader()
    softnesses = {
        "PolyU40": [softness(sharp) for _, sharp in pairs(data / "measure/PolyU40")],
        "Kodak24": [softness(read(path)) for path in sorted((data / "measure/Kodak24").iterdir())],
        "validation/clean": [softness(picture) for picture in clean],
        "ours, crops of lite-denoise": [softness(crop) for _, crops in itertools.islice(batches, 50) for crop in crops],
    }
    table("Softness of clean pictures: median (10 %–90 %)", ["softness"], softnesses)

    coat = read(data / "real/rain/1.jpg")[:, 270:420, 5:60]
    as_trained_rain = make_degradation("derain", load_recipe("lite-derain").degradation)
    rain = {
        "Rain100H(20)": pairs(data / "validation/Rain100H"),
        "Rain100L(20)": pairs(data / "validation/Rain100L"),
        "training pairs of Rain100": pairs(data / "train/rain_pairs/rain100_train"),
        "training pairs of Rain13K": pairs(data / "train/rain_pairs/rain13k"),
        "before a black coat": [(coat, torch.zeros_like(coat))],
        "ours, drawn": drawn(Rain(dry_share=0), clean),
        "ours, as lite-derain draws": drawn(replace(as_trained_rain, dry_share=0), clean),
        "ours, layers of real pairs": drawn(RainLayers(layers, dry_share=0), clean),
    }
    heads = ["added", "its 99 %", "share > 0.05", "tilt °", "certainty", "→1", "→2", "→4", "↓4", "↓16"]
    table("Rain: median (10 %–90 %)", heads, {name: [rain_row(pair) for pair in of] for name, of in rain.items()})

    sidd = [flat_squares(read(path)) for path in sorted((data / "real/noise").glob("sidd*"))]
    dog = [flat_squares(read(path)) for path in (data / "real/noise").glob("rni15_Dog*")]
    camera = drawn(CameraNoise(), clean)
    as_trained_noise = make_degradation("denoise", load_recipe("lite-denoise").degradation)
    recipe = drawn(replace(as_trained_noise.camera, grey_share=0), clean)
    bears = [flat_squares(read(path)) for path in (data / "real/noise").glob("rni15_Bears*")]
    film = drawn(FilmGrain(), clean)
    compressed = drawn(Noise(sigma=(15, 55), camera_share=0, jpeg_share=1), clean)
    noise = {
        "PolyU40": [noise_row(noisy - sharp, sharp) for noisy, sharp in pairs(data / "measure/PolyU40")],
        "SIDD, flat squares": [noise_row(*squares) for squares in sidd],
        "ours": [noise_row(noisy - sharp, sharp) for noisy, sharp in camera],
        "ours, as lite-denoise draws": [noise_row(noisy - sharp, sharp) for noisy, sharp in recipe],
        "ours, flat squares": [noise_row(*flat_squares(noisy)) for noisy, _ in camera],
        "RNI15 dog, flat squares": [noise_row(*squares) for squares in dog],
        "ours, white as JPEG, flat squares": [noise_row(*flat_squares(noisy)) for noisy, _ in compressed],
        "RNI15 bears, flat squares": [noise_row(*squares) for squares in bears],
        "ours, grain of film": [noise_row(noisy - sharp, sharp) for noisy, sharp in film],
    }
    heads = [f"σ {low:g}–{high:g}" for low, high in itertools.pairwise(BINS)]
    heads += ["red·green", "colour/grey", *(f"{kind} →{lag}" for kind in ("grey", "colour") for lag in (1, 2, 4))]
    table("Noise of cameras: median (10 %–90 %)", heads, noise)

    gopro = data / "measure/GoPro1"
    blur = {
        "GoPro": pairs(gopro),
        "validation/blur, measured kernels": pairs(data / "validation/blur")[::2],
        "validation/blur, drawn paths": pairs(data / "validation/blur")[1::2],
        "ours": drawn(MotionBlur(sharp_share=0), clean),
    }
    table(
        "Blur: median (10 %–90 %)",
        ["length σ px", "width σ px", "change of length", "one direction"],
        {name: [blur_row(pair) for pair in of] for name, of in blur.items()},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Options that several commands have, with one help text each."""

from __future__ import annotations

from typing import Annotated

import typer

COMPUTING = "How it computes"
"""The panel of the options that say how the network computes."""

TASKS = "derain|deblur|denoise"

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="NAME_OR_FILE",
        help="A .safetensors or .pth file, or a shipped name (derain, deblur, denoise), instead of the task's own.",
    ),
]

Local = Annotated[
    bool | None,
    typer.Option(
        "--local/--no-local",
        rich_help_panel=COMPUTING,
        help="Let the network judge each place by a window around it (1.5 times its training crops), or by the whole "
        "picture. Without either: by windows where the training crops were of 256 and more, so not as shipped.",
    ),
]

Ensemble = Annotated[
    bool,
    typer.Option(
        "--ensemble",
        rich_help_panel=COMPUTING,
        help="Mean over flips and rotations: 4 to 8 times slower, a little better.",
    ),
]

Scales = Annotated[
    int,
    typer.Option(
        rich_help_panel=COMPUTING,
        help="Restore at so many sizes, 1 to 5, the smallest first: 2 or 3 where a large photograph has coarse rain or "
        "grain.",
    ),
]

TilePx = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=COMPUTING,
        help="Largest side of a tile in pixels, a multiple of 8 from 16. Without it pictures up to a megapixel are "
        "restored whole, larger ones in tiles of up to 512, smaller where memory is short.",
    ),
]

Backend = Annotated[
    str,
    typer.Option(
        rich_help_panel=COMPUTING,
        metavar="auto|torch|compile|openvino|onnx",
        help="What computes. auto: torch on a GPU; on a processor the fastest of torch and, where installed, OpenVINO "
        "or else ONNX Runtime, measured once.",
    ),
]

Precision = Annotated[
    str,
    typer.Option(
        rich_help_panel=COMPUTING,
        metavar="auto|fp32|tf32|bf16|fp16|int8",
        help="Arithmetic. auto: fp16 on GPUs, bf16 on processors made for it, otherwise fp32, which is exact. fp16 and "
        "tf32 are for GPUs; int8 is for OpenVINO on processors, and costs a little quality.",
    ),
]

Device = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=COMPUTING,
        help="cpu, cuda, or cuda:1 for the second GPU; without it, the GPU where torch can use one, but "
        "for OpenVINO and ONNX Runtime, which compute on the processor.",
    ),
]

"""Fixtures of the whole suite."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference material that lies beside the repository, where there is any."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip("no reference material: the folder `shared` does not lie beside the repository")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """A cache of this run alone, for programs that it starts, too; what one test converts another need not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPRNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        # Tracing a network writes megabytes there, which pytest would collect in four times the time of the tracing.
        patch.setattr(logging.getLogger("torch.__trace"), "propagate", False)
        yield


@pytest.fixture(autouse=True)
def torch_for_auto(monkeypatch):
    """Let `auto` be torch, whatever is installed: converting a network takes longer than most tests."""
    monkeypatch.setattr("mprnet.backends.choice._is_installed", lambda engine: False)


@pytest.fixture
def make_clip(tmp_path):
    """Write a little video: a bar that moves over a ramp of colours, with a tone."""
    av = pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')

    def make(
        name="clip.mp4",
        pts=tuple(range(0, 12 * 512, 512)),
        size_hw=(32, 48),
        *,
        time_base=Fraction(1, 12800),
        codec="libx264",
        layout="yuv420p",
        audio="aac",
        matrix=None,
        colours=(1, 1, 1, 1),
        options=None,
    ):
        path = tmp_path / name
        kind = {".mkv": "matroska", ".webm": "webm", ".mov": "mov"}.get(path.suffix, "mp4")
        scale = {"video_track_timescale": str(time_base.denominator)} if kind in ("mp4", "mov") else {}
        height, width = size_hw
        with av.open(str(path), "w", format=kind, container_options=scale) as output:
            output.metadata["title"] = "A walk in the rain"
            film = output.add_stream(codec, rate=25, options=options or {"crf": "10"})
            film.width, film.height, film.pix_fmt = width, height, layout
            film.time_base = film.codec_context.time_base = time_base
            film.color_range, film.colorspace, film.color_primaries, film.color_trc = colours
            if matrix:
                film.set_display_matrix(matrix)
            tone = output.add_stream(audio, rate=48000) if audio else None
            output.start_encoding()  # a video without frames has a header too
            for number, when in enumerate(pts):
                pixels = np.empty((height, width, 3), np.uint8)
                ramp = np.linspace(40, 200, width).astype(np.uint8)
                pixels[..., 0], pixels[..., 1], pixels[..., 2] = ramp, 110, ramp[::-1]
                pixels[:, number % width :][:, :4] = (220, 60, 60)
                frame = av.VideoFrame.from_ndarray(pixels).reformat(
                    format=layout, dst_colorspace=colours[1], dst_color_range=colours[0]
                )
                frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc = colours
                frame.pts, frame.time_base, frame.duration = when, time_base, 512
                output.mux(film.encode(frame))
            output.mux(film.encode(None))
            for block in range(int(48000 * (pts[-1] - pts[0]) * time_base) // 960 + 1 if tone and pts else 0):
                wave = np.sin(np.arange(block * 960, (block + 1) * 960) * 2 * np.pi * 440 / 48000)
                sound = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None] / 2, format="fltp", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = 48000, block * 960, Fraction(1, 48000)
                output.mux(tone.encode(sound))
            if tone:
                output.mux(tone.encode(None))
        return path

    return make

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mprnet.backends import open_backend
from mprnet.errors import ConfigError, ImageError, VideoError
from mprnet.imaging import video
from mprnet.imaging.video import VideoReader
from mprnet.network import MPRNet, MPRNetConfig
from mprnet.restoration import videos
from mprnet.restoration.videos import begun_stage, restore_video

av = pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')

TURNED = (0, 65536, 0, -65536, 0, 0, 0, 0, 1073741824)
MIRRORED = (-65536, 0, 0, 0, 65536, 0, 0, 0, 1073741824)
VARIABLE = (0, 512, 700, 701, 2048, 9000, 9512, 12800, 12801, 20000)


class Plain:
    """Stands in for a `Restorer`: pixels through `change`, frames counted."""

    def __init__(self, change=lambda pixels: pixels):
        self.model = MPRNet(MPRNetConfig(n_feat=6, scale_unetfeats=2, scale_orsnetfeats=2, num_cab=1))
        for weight in self.model.parameters():
            weight.data.zero_()
        self.local, self.crop_px, self.ensemble, self.scales, self.upright = False, 256, False, 1, False
        self.backend = open_backend(self.model, name="torch", precision="fp32", device=torch.device("cpu"))
        self.change, self.seen, self.asked = change, [], []

    def restore_pixels(self, pixels, *, out=None, stage=3, strength=1.0, progress=lambda _: None):
        self.seen.append(pixels)
        self.asked.append((stage, strength))
        return self.change(pixels)


def frames(path, **options):
    return list(VideoReader(path, **options))


def times(path):
    return [(frame.pts, frame.duration, frame.time_base) for frame in frames(path)]


def packets(path, kind="audio"):
    with av.open(str(path)) as film:
        track = getattr(film.streams, kind)[0]
        return [(bytes(packet), packet.pts, packet.duration) for packet in film.demux(track) if packet.size]


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("segment_frames", [1, 5, 12, 48])
def test_every_frame_and_its_time_come_through(segment_frames, make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "new" / "out.mp4"
    restore_video([Plain()], source, target, segment_frames=segment_frames)
    assert times(target) == times(source)
    for before, after in zip(frames(source), frames(target), strict=True):
        assert np.abs(before.pixels.astype(int) - after.pixels).mean() < 8
    new, old = VideoReader(target), VideoReader(source)
    assert (new.rate, new.time_base, new.frames) == (old.rate, old.time_base, old.frames)
    assert sorted(path.name for path in target.parent.iterdir()) == ["out.mp4"]


@pytest.mark.parametrize("segment_frames", [1, 5, 48])
def test_every_frame_stands_in_its_own_place(segment_frames, make_clip, tmp_path):
    source, numbered = make_clip(), Plain()
    numbered.change = lambda pixels: np.full_like(pixels, 20 * len(numbered.seen))  # neighbours are too much alike
    restore_video([numbered], source, tmp_path / "out.mp4", segment_frames=segment_frames)
    assert np.array_equal(numbered.seen, [frame.pixels for frame in frames(source)])
    assert [frame.pixels.mean() for frame in frames(tmp_path / "out.mp4")] == pytest.approx(range(20, 241, 20), abs=5)


@pytest.mark.parametrize(
    ("ending", "base"), [(".mp4", 12800), (".mp4", 600), (".mp4", 90000), (".mov", 30000), (".m4v", 15360)]
)
def test_variable_times_come_through_exactly(ending, base, make_clip, tmp_path):
    source = make_clip(f"clip{ending}", VARIABLE, time_base=Fraction(1, base), audio=None)
    restore_video([Plain()], source, tmp_path / f"out{ending}", segment_frames=4)
    assert [frame.pts for frame in frames(source)] == list(VARIABLE)
    assert [frame.pts for frame in frames(tmp_path / f"out{ending}")] == list(VARIABLE)
    assert VideoReader(tmp_path / f"out{ending}").time_base == Fraction(1, base)


@pytest.mark.parametrize(("ending", "codec", "audio"), [(".mkv", "libx264", "aac"), (".webm", "libvpx-vp9", "libopus")])
def test_variable_times_come_through_in_matroska_and_webm(ending, codec, audio, make_clip, tmp_path):
    source = make_clip(
        f"clip{ending}", (0, 33, 67, 68, 200, 640), codec=codec, audio=audio, time_base=Fraction(1, 1000)
    )
    target = tmp_path / f"out{ending}"
    restore_video([Plain()], source, target, segment_frames=4)
    assert [frame.pts for frame in frames(target)] == [frame.pts for frame in frames(source)]
    assert VideoReader(target).time_base == Fraction(1, 1000)
    assert packets(target) == packets(source)


def test_a_video_that_begins_late_does_so_again(make_clip, tmp_path):
    source = make_clip(pts=tuple(range(7001, 7001 + 12 * 512, 512)))
    restore_video([Plain()], source, tmp_path / "out.mp4", segment_frames=5)
    assert times(tmp_path / "out.mp4") == times(source)


def test_times_go_to_the_nearest_millisecond_from_mp4_to_matroska(make_clip, tmp_path):
    times = [0, 512, 700, 761, 2048, 9001]
    restore_video([Plain()], make_clip(pts=times, audio=None), tmp_path / "out.mkv", segment_frames=4)
    got = [frame.pts for frame in frames(tmp_path / "out.mkv")]
    assert np.abs(np.array(got) - np.array(times) / 12.8).max() <= 0.5


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied_packet_by_packet(ending, make_clip, tmp_path):
    source = make_clip(
        f"clip{ending}", time_base=Fraction(1, 1000 if ending == ".mkv" else 12800), pts=range(0, 600, 40)
    )
    restore_video([Plain()], source, tmp_path / f"out{ending}", segment_frames=4)
    assert len(packets(source)) > 2
    assert packets(tmp_path / f"out{ending}") == packets(source)


def test_sound_stays_with_the_pictures_from_mp4_to_matroska(make_clip, tmp_path):
    source = make_clip()
    restore_video([Plain()], source, tmp_path / "out.mkv", segment_frames=4)
    assert [content for content, _, _ in packets(tmp_path / "out.mkv")] == [
        content for content, _, _ in packets(source)
    ]

    def distance(path):
        with av.open(str(path)) as film:
            video, audio = film.streams.video[0], film.streams.audio[0]
            starts = {}
            for packet in film.demux(video, audio):
                if packet.pts is not None:
                    starts.setdefault(packet.stream.index, packet.pts * packet.time_base)
            return float(starts[video.index] - starts[audio.index])

    assert distance(tmp_path / "out.mkv") == pytest.approx(distance(source), abs=0.0011)


def test_a_video_without_sound_stays_so(make_clip, tmp_path):
    restore_video([Plain()], make_clip(audio=None), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as film:
        assert [track.type for track in film.streams] == ["video"]


def test_subtitles_and_titles_come_through(make_clip, tmp_path):
    (tmp_path / "said.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nIt rains\n\n")
    source, clip = (
        tmp_path / "subtitled.mkv",
        make_clip("clip.mkv", range(0, 480, 40), codec="mpeg4", time_base=Fraction(1, 1000)),
    )
    with av.open(str(clip)) as film, av.open(str(tmp_path / "said.srt")) as said, av.open(str(source), "w") as output:
        tracks = [(each, output.add_stream_from_template(each, opaque=True)) for each in (*film.streams, *said.streams)]
        tracks[2][1].metadata["language"] = "eng"
        output.metadata["title"] = "A walk"
        output.set_chapters(
            [{"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000), "metadata": {"title": "I"}}]
        )
        for origin, new in tracks:
            for packet in (film if origin in film.streams.get() else said).demux(origin):
                if packet.size and packet.pts is not None:
                    packet.stream = new
                    packet.dts = packet.pts
                    output.mux(packet)
            film.seek(0)
    restore_video([Plain()], source, tmp_path / "out.mkv", segment_frames=5)
    assert [content for content, _, _ in packets(tmp_path / "out.mkv", "subtitles")] == [b"It rains"]
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert film.metadata["title"] == "A walk"
        assert film.streams.subtitles[0].metadata["language"] == "eng"
        assert [chapter["metadata"]["title"] for chapter in film.chapters()] == ["I"]


@pytest.mark.parametrize("matrix", [TURNED, MIRRORED])
@pytest.mark.parametrize(("ending", "base"), [(".mp4", 12800), (".mov", 12800), (".mkv", 1000)])
def test_the_rotation_is_kept(matrix, ending, base, make_clip, tmp_path):
    source = make_clip(f"clip{ending}", range(0, 480, 40), matrix=matrix, time_base=Fraction(1, base))
    film = VideoReader(source)
    if matrix == TURNED:
        assert abs(film.rotation) == 90
    restore_video([Plain()], source, tmp_path / f"out{ending}")
    after = VideoReader(tmp_path / f"out{ending}")
    assert (after.rotation, after.matrix, after.size_hw) == (film.rotation, film.matrix, film.size_hw)


UPSIDE_DOWN = (-65536, 0, 0, 0, -65536, 0, 0, 0, 1073741824)
TURNED_BACK = (0, -65536, 0, 65536, 0, 0, 0, 0, 1073741824)


@pytest.mark.parametrize(
    ("matrix", "turns"), [(None, 0), (MIRRORED, 0), (TURNED_BACK, 1), (UPSIDE_DOWN, 2), (TURNED, 3)]
)
def test_the_networks_see_frames_as_they_are_shown(matrix, turns, make_clip, tmp_path):
    source, plain = make_clip(matrix=matrix), Plain()
    restore_video([plain], source, tmp_path / "out.mkv", codec="ffv1")
    for stored, seen, after in zip(frames(source), plain.seen, frames(tmp_path / "out.mkv"), strict=True):
        assert np.array_equal(seen, np.rot90(stored.pixels, turns))
        assert np.abs(stored.pixels.astype(int) - after.pixels).mean() < 4  # and it is stored as it was


def test_the_way_frames_are_turned_is_that_of_players(make_clip):
    film = VideoReader(make_clip(matrix=TURNED))
    assert film.quarter_turns == film.rotation / 90 % 4


@pytest.mark.parametrize(("ending", "kept"), [(".mov", {"make": "Maker", "model": "One"}), (".mp4", {})])
def test_the_place_and_the_day_of_a_telephone_s_video_are_kept(ending, kept, make_clip, tmp_path):
    source = tmp_path / "telephone.mov"
    notes = {"location.ISO6709": "+48.1+011.5/", "creationdate": "2026-05-01T10:00:00+0200", "make": "Maker"}
    tags = {"movflags": "use_metadata_tags"}
    with av.open(str(make_clip())) as film, av.open(str(source), "w", container_options=tags) as output:
        copy = output.add_stream_from_template(film.streams.video[0], opaque=True)
        output.metadata.update({f"com.apple.quicktime.{key}": text for key, text in {**notes, "model": "One"}.items()})
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    restore_video([Plain()], source, tmp_path / f"out{ending}")
    with av.open(str(tmp_path / f"out{ending}")) as film:
        assert film.metadata["location"].startswith("+48.1")
        assert film.metadata["date"] == "2026-05-01T10:00:00+0200"
        assert kept.items() <= film.metadata.items()


@pytest.mark.parametrize(("container", "advice"), [("matroska", "as the video does"), ("webm", r"in \.mkv")])
def test_the_advice_for_a_track_that_does_not_fit_is_another_container(container, advice, make_clip, monkeypatch):
    def refuse(*_, **__):
        raise ValueError

    text = SimpleNamespace(type="subtitle", codec_context=SimpleNamespace(name="mov_text"), metadata={})
    film = VideoReader(make_clip())
    monkeypatch.setattr(video, "_kept", lambda *_: [text])
    monkeypatch.setattr(video, "_add_video", lambda *_: SimpleNamespace(metadata={}))
    output = SimpleNamespace(add_stream_from_template=refuse)
    with av.open(str(film.path)) as source, pytest.raises(VideoError, match=rf"\(mov_text\); .* ends {advice}$"):
        video._add_all(output, source, film, SimpleNamespace(container=container), Path("a.mkv"))


def test_a_title_of_another_time_is_no_reason_to_fail(make_clip, tmp_path):
    source = make_clip("clip.mkv", time_base=Fraction(1, 1000), pts=range(0, 480, 40))
    content = source.read_bytes()
    assert content.count(b"A walk in the rain") == 1
    source.write_bytes(content.replace(b"A walk in the rain", b"Caf\xe9 in the rain!!"))
    restore_video([Plain()], source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert film.metadata["title"] == "Caf\ufffd in the rain!!"


@pytest.mark.parametrize(
    "colours", [(1, 1, 1, 1), (2, 1, 1, 13), (1, 6, 6, 6), (1, 9, 9, 14), (0, 2, 2, 2), (2, 5, 5, 6)]
)
@pytest.mark.parametrize(("ending", "base"), [(".mp4", 12800), (".mkv", 1000)])
def test_colours_and_their_tags_are_kept(colours, ending, base, make_clip, tmp_path):
    source = make_clip(f"clip{ending}", range(0, 480, 40), colours=colours, time_base=Fraction(1, base))
    restore_video([Plain()], source, tmp_path / f"out{ending}", crf=4)
    old, new = VideoReader(source), VideoReader(tmp_path / f"out{ending}")
    assert old.colours[1:] == colours[1:]
    assert new.colours == old.colours
    for before, after in zip(old, new, strict=True):
        assert np.abs(before.pixels[:, 30:].astype(int) - after.pixels[:, 30:]).max() <= 6


def test_frames_are_what_the_restorer_makes_of_them(make_clip, tmp_path):
    dark = Plain(lambda pixels: pixels // 2)
    restore_video([dark], make_clip(), tmp_path / "out.mp4", stage=2, strength=0.5)
    assert set(dark.asked) == {(2, 0.5)}
    for before, after in zip(frames(tmp_path / "clip.mp4"), frames(tmp_path / "out.mp4"), strict=True):
        assert np.abs(before.pixels.astype(int) // 2 - after.pixels).mean() < 4
        assert (dark.seen[0].dtype, dark.seen[0].shape) == (np.uint8, (32, 48, 3))


def test_several_restorers_work_one_after_the_other_in_sixteen_bits(make_clip, tmp_path):
    first, second = Plain(lambda pixels: pixels // 2), Plain(lambda pixels: pixels // 2)
    restore_video([first, second], make_clip(), tmp_path / "out.mp4")
    assert first.seen[0].dtype == second.seen[0].dtype == np.uint16
    assert np.array_equal(second.seen[3], first.seen[3] // 2)
    after = frames(tmp_path / "out.mp4")[3].pixels
    assert np.abs(first.seen[3] / 257 / 4 - after).mean() < 4


def test_ten_bits_stay_ten(make_clip, tmp_path):
    source, plain = make_clip(layout="yuv420p10le"), Plain()
    restore_video([plain], source, tmp_path / "lossy.mp4")
    restore_video([plain], source, tmp_path / "exact.mkv", codec="ffv1")
    assert {pixels.dtype for pixels in plain.seen} == {np.dtype(np.uint16)}
    light = np.array([0.2126, 0.7152, 0.0722]) / 257  # halved chroma, which is sampled anew, does not come into it
    before = frames(source)[5].pixels[:, 30:] @ light
    for name, within in (("lossy.mp4", 3), ("exact.mkv", 0.1)):
        assert VideoReader(tmp_path / name).depth == 10
        assert np.abs(before - frames(tmp_path / name)[5].pixels[:, 30:] @ light).mean() < within


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_odd_sizes_are_kept(ending, make_clip, tmp_path):
    source = make_clip(
        "odd.mkv", range(0, 480, 40), (33, 47), codec="ffv1", options={}, time_base=Fraction(1, 1000), audio="libopus"
    )
    restore_video([Plain()], source, tmp_path / f"out{ending}")
    after = VideoReader(tmp_path / f"out{ending}")
    assert (after.size_hw, after.chroma) == ((33, 47), "420" if ending == ".webm" else "444")
    assert np.abs(next(iter(after)).pixels.astype(int) - next(iter(VideoReader(source))).pixels).mean() < 4


def test_whole_chroma_is_kept(make_clip, tmp_path):
    restore_video([Plain()], make_clip(layout="yuv444p"), tmp_path / "out.mp4")
    assert VideoReader(tmp_path / "out.mp4").chroma == "444"


@pytest.mark.parametrize(("codec", "ending", "name"), [("mpeg4", ".mp4", "mpeg4"), ("ffv1", ".mkv", "ffv1")])
def test_the_codec_can_be_chosen(codec, ending, name, make_clip, tmp_path):
    source = make_clip(pts=range(0, 10 * 3003, 3003), audio=None, time_base=Fraction(1, 90000))
    restore_video([Plain()], source, tmp_path / f"out{ending}", codec=codec, segment_frames=4)
    with av.open(str(tmp_path / f"out{ending}")) as film:
        assert film.streams.video[0].codec_context.name == name
    assert len(frames(tmp_path / f"out{ending}")) == 10
    if ending == ".mp4":
        assert [frame.pts for frame in frames(tmp_path / "out.mp4")] == [frame.pts for frame in frames(source)]


def test_a_lower_crf_makes_a_larger_file(make_clip, tmp_path):
    source, grain = make_clip(audio=None), np.random.default_rng(0).integers(0, 99, (32, 48, 3), np.uint8)
    for crf in (5, 40):
        restore_video([Plain(lambda pixels: pixels // 2 + grain)], source, tmp_path / f"{crf}.mp4", crf=crf)
    assert (tmp_path / "5.mp4").stat().st_size > 2 * (tmp_path / "40.mp4").stat().st_size


def test_progress_counts_frames(make_clip, tmp_path):
    calls = []
    restore_video(
        [Plain()], make_clip(), tmp_path / "out.mp4", segment_frames=5, progress=lambda *call: calls.append(call)
    )
    assert calls == [(done, 12) for done in (*range(13), 12)]


class StopError(Exception):
    pass


def stop_after(count):
    seen = []

    def change(pixels):
        seen.append(1)
        if len(seen) > count:
            raise StopError
        return pixels

    return change


def assert_same(path, other):
    """Not byte for byte: on frames as small as these, libx264 itself is not the same every time."""
    assert times(path) == times(other)
    assert packets(path) == packets(other)
    for one, two in zip(frames(path), frames(other), strict=True):
        assert np.abs(one.pixels.astype(int) - two.pixels).mean() < 3


@pytest.mark.parametrize("stop", [3, 7, 10, 11])
def test_an_interrupted_run_goes_on_with_the_next_segment(stop, make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "out.mp4"
    restore_video([Plain()], source, tmp_path / "whole.mp4", segment_frames=3)
    with pytest.raises(StopError):
        restore_video([Plain(stop_after(stop))], source, target, segment_frames=3)
    assert not target.exists()
    calls, again = [], Plain()
    restore_video([again], source, target, segment_frames=3, progress=lambda *call: calls.append(call))
    assert calls[0] == (stop // 3 * 3, 12)
    assert len(again.seen) == 12 - stop // 3 * 3
    assert_same(target, tmp_path / "whole.mp4")
    assert hidden(tmp_path) == []


def test_the_stage_of_segments_that_wait_is_known_again(make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "out.mp4"
    long = make_clip("long.mp4", pts=tuple(range(0, 60 * 512, 512)))
    assert begun_stage([Plain()], source, target) is None
    with pytest.raises(StopError):
        restore_video([Plain(stop_after(50))], long, target, stage=2)
    assert begun_stage([Plain()], long, target) == 2
    assert begun_stage([Plain()], long, target, crf=30) is None
    assert begun_stage([Plain()], source, target) is None


@pytest.mark.parametrize("damage", ["[", "3", "[[1], []]", "[" * 10**5])
def test_times_that_somebody_damaged_are_one_line(damage, make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "out.mp4"
    with pytest.raises(StopError):
        restore_video([Plain(stop_after(7))], source, target, segment_frames=3)
    next(tmp_path.glob(".*/000000.json")).write_text(damage)
    with pytest.raises(VideoError, match=r"000000\.json is damaged; remove the folder"):
        restore_video([Plain()], source, target, segment_frames=3)


def test_a_video_has_its_name_when_it_is_written_down_and_not_before(make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "out.mp4"

    def stop(unfinished):
        assert unfinished.stat().st_size > 0
        assert not target.exists()
        raise StopError

    with pytest.raises(StopError):
        restore_video([Plain()], source, target, commit=stop)
    assert not target.exists()
    restore_video([again := Plain()], source, target)
    assert again.seen == []
    assert times(target) == times(source)


def test_sound_of_a_codec_that_nobody_knows_is_left_out_beside_other_sound():
    known = SimpleNamespace(type="audio", codec_context="aac")
    unknown = SimpleNamespace(type="audio", codec_context=None)
    text = SimpleNamespace(type="subtitle", codec_context="mov_text")
    kept = video._kept(SimpleNamespace(audio=[known, unknown], subtitles=[text]), Path("a.mov"))
    assert kept == [known, text]
    with pytest.raises(VideoError, match=r"a\.mov has sound of a codec that FFmpeg does not know"):
        video._kept(SimpleNamespace(audio=[unknown], subtitles=[text]), Path("a.mov"))


def test_a_run_stopped_before_joining_only_joins(make_clip, tmp_path, monkeypatch):
    source, target = make_clip(), tmp_path / "out.mp4"
    with monkeypatch.context() as patch:
        patch.setattr(videos, "join_segments", lambda *_: (_ for _ in ()).throw(StopError))
        with pytest.raises(StopError):
            restore_video([Plain()], source, target, segment_frames=5)
    again = Plain()
    restore_video([again], source, target, segment_frames=5)
    assert again.seen == []
    assert times(target) == times(source)


@pytest.mark.parametrize("change", ["crf", "stage", "strength", "segment_frames", "film", "weights"])
def test_segments_of_other_settings_are_not_used(change, make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "out.mp4"
    with pytest.raises(StopError):
        restore_video([Plain(stop_after(7))], source, target, segment_frames=3)
    again, options = Plain(), {"segment_frames": 3}
    if change == "film":
        source = make_clip(pts=range(0, 24 * 512, 1024))
    elif change == "weights":
        next(again.model.parameters()).data.fill_(1)
    else:
        options[change] = {"crf": 30, "stage": 1, "strength": 0.5, "segment_frames": 2}[change]
    restore_video([again], source, target, **options)
    assert len(again.seen) == 12
    assert hidden(tmp_path) == []


def test_a_killed_run_goes_on(make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "out.mp4"
    restore_video([Plain()], source, tmp_path / "whole.mp4", segment_frames=3)
    program = f"""
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("here", {str(Path(__file__))!r})
here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(here)
count = 0
def change(pixels):
    global count
    count += 1
    if count == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return pixels
here.restore_video([here.Plain(change)], {str(source)!r}, {str(target)!r}, segment_frames=3)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not target.exists()
    folder = tmp_path / hidden(tmp_path)[0]
    assert len([path for path in folder.iterdir() if path.suffix == ".nut"]) == 2
    again = Plain()
    restore_video([again], source, target, segment_frames=3)
    assert len(again.seen) == 6
    assert_same(target, tmp_path / "whole.mp4")
    assert hidden(tmp_path) == []


def test_nothing_is_left_when_no_segment_was_finished(make_clip, tmp_path):
    source = make_clip()
    with pytest.raises(StopError):
        restore_video([Plain(stop_after(2))], source, tmp_path / "out.mp4", segment_frames=5)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_target_is_replaced_only_when_asked(make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "out.mp4"
    target.write_bytes(b"mine")
    with pytest.raises(VideoError, match="exists"):
        restore_video([Plain()], source, target)
    assert target.read_bytes() == b"mine"
    with pytest.raises(StopError):
        restore_video([Plain(stop_after(2))], source, target, overwrite=True)
    assert target.read_bytes() == b"mine"
    restore_video([Plain()], source, target, overwrite=True)
    assert times(target) == times(source)


def test_a_target_that_came_while_the_video_was_restored_is_not_replaced(make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "out.mp4"

    def come(pixels):
        target.write_bytes(b"mine")
        return pixels

    with pytest.raises(VideoError, match="exists"):
        restore_video([Plain(come)], source, target, segment_frames=5)
    assert target.read_bytes() == b"mine"
    again = Plain()
    restore_video([again], source, target, segment_frames=5, overwrite=True)
    assert again.seen == []
    assert times(target) == times(source)


def test_a_segment_that_somebody_removed_is_made_again(make_clip, tmp_path):
    source, target = make_clip(), tmp_path / "out.mp4"
    with pytest.raises(StopError):
        restore_video([Plain(stop_after(10))], source, target, segment_frames=3)
    (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith("."))
    sorted(folder.glob("*.nut"))[1].unlink()
    restore_video([Plain()], source, target, segment_frames=3)
    assert times(target) == times(source)


@pytest.mark.parametrize("name", ["clip.mp4", "link.mp4"])
def test_a_video_is_never_replaced_by_its_restoration(name, make_clip, tmp_path):
    source = make_clip()
    before = source.read_bytes()
    if name == "link.mp4":
        (tmp_path / name).symlink_to(source)
    with pytest.raises(VideoError, match="choose another name"):
        restore_video([Plain()], source, tmp_path / name, overwrite=True)
    assert source.read_bytes() == before


def test_a_damaged_video_leaves_nothing(make_clip, tmp_path):
    source = make_clip("clip.mkv", time_base=Fraction(1, 1000), pts=range(0, 2400, 40))
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match="truncated"):
        restore_video([Plain()], source, tmp_path / "out.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_what_a_container_cannot_hold_is_said_before_the_work(make_clip, tmp_path):
    plain = Plain()
    with pytest.raises(VideoError, match=r"aac.*\.mkv"):
        restore_video([plain], make_clip(), tmp_path / "out.webm")
    with pytest.raises(VideoError, match="libx264 does not fit a webm"):
        restore_video([plain], make_clip(audio=None), tmp_path / "out.webm", codec="libx264")
    assert plain.seen == []
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 1)() < 0, reason="needs a POSIX file system")
def test_a_folder_that_cannot_be_made_gives_one_line(make_clip, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(VideoError, match="cannot be written"):
        restore_video([Plain()], make_clip(), tmp_path / "file" / "out.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(VideoError, match="is a folder"):
        restore_video([Plain()], tmp_path / "clip.mp4", tmp_path / "folder.mp4")


def test_a_full_disk_gives_one_line_and_keeps_what_is_done(make_clip, tmp_path, monkeypatch):
    source, target = make_clip(), tmp_path / "out.mp4"

    def fill(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(videos, "join_segments", fill)
        with pytest.raises(VideoError, match=r"out\.mp4 cannot be written: No space left on device"):
            restore_video([Plain()], source, target, segment_frames=5)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == ["clip.mp4"]
    again = Plain()
    restore_video([again], source, target, segment_frames=5)
    assert again.seen == []


def test_impossible_options_give_one_line(make_clip, tmp_path):
    with pytest.raises(ConfigError, match="segment_frames is 0"):
        restore_video([Plain()], make_clip(), tmp_path / "out.mp4", segment_frames=0)
    with pytest.raises(ConfigError, match="no restorers"):
        restore_video([], tmp_path / "clip.mp4", tmp_path / "out.mp4")


def test_names_in_any_script_and_very_long_ones_work(make_clip, tmp_path):
    for name in ("雨の日 %03d:é.mp4", "x" * 250 + ".mp4"):
        restore_video([Plain()], make_clip(), tmp_path / name, segment_frames=5)
        assert len(frames(tmp_path / name)) == 12
    assert hidden(tmp_path) == []


def test_memory_does_not_grow_with_the_video(make_clip, tmp_path):
    peaks = []
    for count in (10, 40):
        source = make_clip(pts=range(0, count * 512, 512), size_hw=(96, 128), audio=None)
        restorer = Plain()
        restorer.seen = type("Nothing", (list,), {"append": lambda *_: None})()
        restore_video([restorer], source, tmp_path / "warm.mp4", overwrite=True)  # what is loaded once
        tracemalloc.start()
        restore_video([restorer], source, tmp_path / "out.mp4", segment_frames=5, overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5 * 96 * 128 * 3


def test_a_real_restorer_restores_a_video(restorer, make_clip, tmp_path):
    source = make_clip(pts=(0, 512, 1024))
    restore_video([restorer], source, tmp_path / "out.mp4", stage=1, crf=1)
    for before, after in zip(frames(source), frames(tmp_path / "out.mp4"), strict=True):
        assert np.abs(restorer.restore_pixels(before.pixels, stage=1).astype(int) - after.pixels).mean() < 4

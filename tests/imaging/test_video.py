from __future__ import annotations

import builtins
from fractions import Fraction

import numpy as np
import pytest

from mprnet.errors import ConfigError, MissingExtraError, VideoError
from mprnet.imaging import video
from mprnet.imaging.video import SUFFIXES, VideoReader, choose_encoding

TURNED = (0, 65536, 0, -65536, 0, 0, 0, 0, 1073741824)  # a telephone held upright

RAMP = np.stack([np.linspace(40, 200, 48), np.full(48, 110), np.linspace(200, 40, 48)], axis=-1)


def test_a_video_is_measured(make_clip):
    film = VideoReader(make_clip())
    assert (film.size_hw, film.rate, film.time_base, film.frames) == ((32, 48), 25, Fraction(1, 12800), 12)
    assert film.duration == pytest.approx(12 / 25, abs=0.03)
    assert (film.depth, film.chroma, film.rotation, film.matrix) == (8, "420", 0, None)
    assert film.colours == (1, 1, 1, 1)


def test_frames_come_in_order_with_their_times(make_clip):
    frames = list(VideoReader(make_clip()))
    assert [frame.pts for frame in frames] == list(range(0, 12 * 512, 512))
    assert {frame.time_base for frame in frames} == {Fraction(1, 12800)}
    assert {frame.duration for frame in frames} == {512}
    for number, frame in enumerate(frames):
        assert (frame.pixels.shape, frame.pixels.dtype) == ((32, 48, 3), np.uint8)
        bar = frame.pixels[16, number : number + 4].astype(int).mean(axis=0)
        assert np.abs(bar - (220, 60, 60)).max() < 40
        assert np.abs(frame.pixels[16, 30:].astype(int) - RAMP[30:]).max() < 8


def test_reading_twice_gives_the_same_and_can_begin_later(make_clip):
    film = VideoReader(make_clip())
    first, again = list(film), list(film.after(9))
    assert [frame.pts for frame in again] == [frame.pts for frame in first[9:]]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(again, first[9:], strict=True))
    assert list(film.after(12)) == []


def test_a_turned_video_says_so_and_is_read_as_stored(make_clip):
    film = VideoReader(make_clip(matrix=TURNED))
    assert (abs(film.rotation), film.matrix, film.size_hw) == (90, TURNED, (32, 48))


@pytest.mark.parametrize("range_", [1, 2])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_colours_are_read_as_they_are_tagged(range_, matrix, make_clip):
    film = VideoReader(make_clip(colours=(range_, matrix, 1, 1), layout="yuv444p"))
    assert film.colours == (range_, matrix, 1, 1)
    first = next(iter(film))
    assert np.abs(first.pixels[16, 1:3].astype(int) - (220, 60, 60)).max() < 12
    assert np.abs(first.pixels[16, 30:].astype(int) - RAMP[30:]).max() < 8


def test_ten_bits_are_read_as_sixteen(make_clip):
    film = VideoReader(make_clip(layout="yuv420p10le"))
    assert film.depth == 10
    first = next(iter(film))
    assert first.pixels.dtype == np.uint16
    assert np.abs(first.pixels[16, 30:] / 257 - RAMP[30:]).max() < 8


def test_sixteen_bits_can_be_asked_for(make_clip):
    path = make_clip()
    deep, plain = next(iter(VideoReader(path, deep=True))), next(iter(VideoReader(path)))
    assert deep.pixels.dtype == np.uint16
    assert np.array_equal(deep.pixels, plain.pixels.astype(int) * 257)


def luma(frame):
    plane = frame.planes[0]
    samples = np.frombuffer(plane, np.uint8 if frame.format.components[0].bits == 8 else np.dtype("<u2"))
    return set(samples.reshape(plane.height, -1)[:, : plane.width].ravel().tolist())


@pytest.mark.parametrize(
    ("layout", "range_", "white", "black"),
    [
        *(("yuv420p", 1, 235, 16), ("yuv420p", 2, 255, 0)),
        *(("yuv420p10le", 1, 940, 64), ("yuv420p10le", 2, 1023, 0), ("gbrp10le", 1, 940, 64)),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_white_is_white_and_black_is_black_in_and_out(layout, range_, white, black, deep, make_clip, tmp_path):
    av = pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')
    path = make_clip("clip.mkv", codec="ffv1", options={}, layout=layout, colours=(range_, 1, 1, 1))
    film = VideoReader(path, deep=deep)
    kind = next(iter(film)).pixels.dtype
    frames = [np.full((32, 48, 3), value, kind) for value in (np.iinfo(kind).max, 0)]
    segment, target, encoding = tmp_path / "segment.nut", tmp_path / "flat.mkv", choose_encoding("flat.mkv", "ffv1")
    video.write_segment(frames, segment, target, film, encoding)
    with av.open(str(segment)) as container:
        assert [luma(frame) for frame in container.decode(video=0)] == [{white}, {black}]
    times = video.Times([0, 512], [512, 512])
    video.join_segments([(segment, times)], target, target, film, encoding)
    read = [frame.pixels for frame in VideoReader(target, deep=deep)]
    slack = 0 if kind == np.uint8 else 129  # half a step of 8 bits: FFmpeg makes grey 511 of 1023 in the full range
    assert all(np.abs(ours.astype(int) - frame).max() <= slack for ours, frame in zip(read, frames, strict=True))


def test_an_odd_sized_video_is_read(make_clip):
    film = VideoReader(make_clip("odd.mkv", size_hw=(33, 47), codec="ffv1", options={}, time_base=Fraction(1, 1000)))
    assert {frame.pixels.shape for frame in film} == {(33, 47, 3)}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"rain " * 400, "no MP4, MOV, Matroska or WebM video"),
        ("list.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n", "no MP4"),
        ("list.mkv", b"ffconcat version 1.0\nfile clip.mp4\n", "no MP4"),
    ],
)
def test_what_is_no_video_gives_one_line(name, content, message, tmp_path):
    pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=message) as error:
        VideoReader(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files_folders_and_names_that_look_like_addresses_give_one_line(tmp_path, monkeypatch):
    pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.mp4").mkdir()
    for name in ("none.mp4", "http://example.invalid/a.mp4", "concat:a.mp4|b.mp4"):
        with pytest.raises(VideoError, match="does not exist"):
            VideoReader(name)
    with pytest.raises(VideoError, match="folder"):
        VideoReader(tmp_path / "folder.mp4")


def test_a_name_with_a_colon_is_a_file(make_clip, tmp_path, monkeypatch):
    make_clip().rename(tmp_path / "http:a%03d.mp4")
    monkeypatch.chdir(tmp_path)
    assert VideoReader("http:a%03d.mp4").frames == 12


@pytest.mark.parametrize(("name", "audio"), [("a.mp4", "aac"), ("a.mkv", "aac"), ("front.mp4", "aac"), ("b.mkv", None)])
@pytest.mark.parametrize("kept", [0.3, 0.6])
def test_a_truncated_video_gives_one_line(name, audio, kept, make_clip):
    path = make_clip(name, pts=range(0, 60 * 512, 512), audio=audio)
    if name == "front.mp4":
        to_front(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(VideoError, match=r"truncated|damaged"):
        list(VideoReader(path))


def to_front(path):
    import av

    with av.open(str(path)) as source, av.open(str(path) + ".2", "w", "mp4", {"movflags": "+faststart"}) as output:
        tracks = {track.index: output.add_stream_from_template(track, opaque=True) for track in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream.index]
                output.mux(packet)
    path.with_name(path.name + ".2").replace(path)


@pytest.mark.parametrize("name", ["none.mp4", "none.mkv"])
def test_a_video_without_frames_gives_one_line(name, make_clip):
    with pytest.raises(VideoError, match=r"no frames|no video track|truncated"):
        VideoReader(make_clip(name, pts=(), audio=None))


def test_a_video_without_video_gives_one_line(tmp_path):
    av = pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as output:
        tone = output.add_stream("aac", rate=48000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 48000
        output.mux(tone.encode(sound))
        output.mux(tone.encode(None))
    with pytest.raises(VideoError, match="no video track"):
        VideoReader(path)


def test_a_video_that_is_too_large_is_refused_before_it_is_decoded(make_clip, monkeypatch):
    path = make_clip()
    monkeypatch.setattr(video, "MAX_PIXELS", 32 * 48 - 1)
    monkeypatch.setattr(video, "_decoded", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(VideoError, match="48×32"):
        VideoReader(path)


def test_interlaced_videos_are_refused(make_clip):
    with pytest.raises(VideoError, match="interlaced"):
        VideoReader(make_clip(size_hw=(64, 64), options={"crf": "10", "x264-params": "tff=1"}))


def test_videos_that_become_interlaced_are_refused_there(make_clip):
    film = VideoReader(make_clip(size_hw=(64, 64)))
    film.path = make_clip("later.mp4", size_hw=(64, 64), options={"crf": "10", "x264-params": "tff=1"})
    with pytest.raises(VideoError, match=r"later\.mp4 is interlaced at frame 1"):
        list(film)


def test_damage_in_the_middle_says_after_which_frame(make_clip):
    av = pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')
    path = make_clip(codec="mpeg4", audio=None)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][8]
        start, end = packet.pos, packet.pos + packet.size
    content = path.read_bytes()
    path.write_bytes(content[:start] + b"\xff" * (end - start) + content[end:])
    film = VideoReader(path)
    with pytest.raises(VideoError, match=r"clip.mp4 cannot be decoded after frame 8: .*; cut it there"):
        list(film)


@pytest.fixture
def wide(tmp_path):
    """A video whose pixels are four thirds as wide as high."""
    av = pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')
    with av.open(str(tmp_path / "wide.mp4"), "w") as output:
        film = output.add_stream("libx264", rate=25)
        film.width, film.height, film.pix_fmt = 48, 32, "yuv420p"
        film.codec_context.sample_aspect_ratio = Fraction(4, 3)
        output.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8))))
        output.mux(film.encode(None))
    return tmp_path / "wide.mp4"


def test_the_shape_of_pixels_is_that_of_the_container_as_players_take_it(wide):
    assert VideoReader(wide).aspect == Fraction(4, 3)
    content = wide.read_bytes()
    assert content.count(b"pasp\0\0\0\4\0\0\0\3") == 1
    wide.write_bytes(content.replace(b"pasp\0\0\0\4\0\0\0\3", b"pasp\0\0\0\2\0\0\0\1"))
    assert VideoReader(wide).aspect == 2


@pytest.mark.parametrize(
    ("name", "codec", "is_kept"),
    [
        *(("a.mp4", "libx264", True), ("a.mp4", "libvpx-vp9", True), ("a.mkv", "libx264", True)),
        *(("a.mkv", "mpeg4", True), ("a.mkv", "libvpx-vp9", False), ("a.mkv", "ffv1", False)),
        ("a.webm", "libvpx-vp9", False),
    ],
)
def test_the_shape_of_pixels_is_kept_or_refused_before_the_work(name, codec, is_kept, wide, tmp_path):
    film, encoding = VideoReader(wide), choose_encoding(name, codec)
    if not is_kept:
        with pytest.raises(VideoError, match=r"a\.\w+ cannot hold the shape of the pixels of .*wide.mp4, 4/3, .*\.mp4"):
            video.check_join(tmp_path / name, film, encoding)
        film.aspect = Fraction(1)
        video.check_join(tmp_path / name, film, encoding)
        return
    video.check_join(tmp_path / name, film, encoding)
    segment, frame = tmp_path / "segment.nut", next(iter(film))
    video.write_segment([frame.pixels], segment, tmp_path / name, film, encoding)
    times = video.Times([frame.pts], [frame.duration])
    video.join_segments([(segment, times)], tmp_path / name, tmp_path / name, film, encoding)
    assert VideoReader(tmp_path / name).aspect == Fraction(4, 3)


def test_a_video_that_changes_its_size_is_refused(make_clip, tmp_path):
    small, large = make_clip("a.mkv", codec="mpeg4", audio=None), make_clip("b.mkv", size_hw=(64, 64), codec="mpeg4")
    film = VideoReader(small)
    film.path = large
    with pytest.raises(VideoError, match="from 48×32 to 64×64 at frame 1"):
        list(film)


def test_the_encoding_follows_the_ending():
    pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')
    assert set(SUFFIXES) == {".mp4", ".m4v", ".mov", ".mkv", ".webm"}
    assert choose_encoding("a.MP4").codec in ("libx264", "mpeg4")
    assert (choose_encoding("a.webm").codec, choose_encoding("a.webm").crf) == ("libvpx-vp9", 24)
    assert choose_encoding("a.mkv", "ffv1").crf is None
    assert (choose_encoding("a.mp4", "libx264").crf, choose_encoding("a.mp4", "libx264", 0).crf) == (17, 0)


def test_without_libx264_mpeg4_is_taken(monkeypatch):
    pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')
    real = video._is_encoder
    monkeypatch.setattr(video, "_is_encoder", lambda name: name != "libx264" and real(name))
    assert choose_encoding("a.mp4").codec == "mpeg4"
    with pytest.raises(ConfigError, match="libx264"):
        choose_encoding("a.mp4", "libx264")


@pytest.mark.parametrize(
    ("name", "codec", "crf", "message"),
    [
        ("a.mp4", "libx264", 52, "0 .best. to 51"),
        ("a.mp4", "libx264", -1, "0 .best. to 51"),
        ("a.mp4", "h265", None, "h265"),
        ("a.mkv", "ffv1", 3, "no such quality"),
    ],
)
def test_an_impossible_encoding_gives_one_line(name, codec, crf, message):
    pytest.importorskip("av", reason='videos need PyAV: pip install "mprnet[video]"')
    with pytest.raises(ConfigError, match=message):
        choose_encoding(name, codec, crf)


def test_an_ending_that_is_none_of_a_video_gives_one_line():
    with pytest.raises(VideoError, match=r"'\.avi'"):
        choose_encoding("a.avi")


def test_without_pyav_the_line_names_the_extra(monkeypatch, tmp_path):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r'pip install "mprnet\[video\]"'):
        VideoReader(tmp_path / "a.mp4")

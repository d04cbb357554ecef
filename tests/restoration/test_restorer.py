from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mprnet.imaging
from mprnet.checkpoints import save_checkpoint
from mprnet.errors import CheckpointError, ConfigError, ImageError, MPRNetError
from mprnet.network import TASKS
from mprnet.restoration import PictureOptions, Restorer, restore_picture
from mprnet.restoration.canvas import PixelCanvas

sides = st.one_of(st.integers(1, 9), st.integers(1, 40))


@settings(deadline=None, max_examples=60)
@given(height=sides, width=sides, batch=st.integers(1, 3), stage=st.integers(1, 3))
def test_any_size_from_one_pixel_up_keeps_its_shape(restorer, height, width, batch, stage):
    restored = restorer(torch.rand(batch, 3, height, width), stage=stage)
    assert restored.shape == (batch, 3, height, width)
    assert 0 <= restored.min() <= restored.max() <= 1


def test_a_size_that_needs_no_padding_is_what_the_network_gives(restorer):
    picture = torch.rand(2, 3, 24, 16)
    with torch.inference_mode():
        expected = restorer.model(picture)
    for stage in (1, 2, 3):
        torch.testing.assert_close(restorer(picture, stage=stage), expected[stage - 1].clamp(0, 1))
    assert torch.equal(restorer(picture), restorer(picture, stage=3))


@pytest.mark.parametrize("ensemble", [False, True])
def test_noise_that_was_not_clipped_is_clipped_for_the_network(make_network, ensemble):
    restorer = Restorer(make_network(), ensemble=ensemble)
    noisy = torch.rand(3, 24, 16) * 2 - 0.5
    before = noisy.clone()
    assert torch.equal(restorer(noisy), restorer(noisy.clamp(0, 1)))
    assert torch.equal(restorer.stages(noisy).stage1, restorer(noisy.clamp(0, 1), stage=1))
    assert torch.equal(noisy, before)


def test_the_stages_differ(restorer):
    picture = torch.rand(3, 24, 16) / 2 + 0.25
    one, two, three = (restorer(picture, stage=stage) for stage in (1, 2, 3))
    assert not torch.allclose(one, two)
    assert not torch.allclose(two, three)


@pytest.mark.parametrize("tiled", [False, True])
def test_all_stages_come_from_one_pass_and_are_what_single_calls_give(make_network, tiled):
    restorer = Restorer(make_network(), tile_px=32, overlap_px=8, max_whole_px=0 if tiled else 1024 * 1024)
    degraded = torch.rand(2, 3, 45, 51, generator=torch.Generator().manual_seed(1))
    outputs = restorer.stages(degraded)
    for stage, picture in enumerate(outputs, 1):
        assert picture.shape == degraded.shape
        assert torch.equal(picture, restorer(degraded, stage=stage))


def test_stages_stop_where_they_are_told(restorer):
    outputs = restorer.stages(torch.rand(3, 20, 30), stage=2)
    assert [picture is None for picture in outputs] == [False, False, True]
    with pytest.raises(ConfigError, match="stage is 0"):
        restorer.stages(torch.rand(3, 20, 30), stage=0)


def test_only_the_stages_that_are_wanted_are_asked_of_the_engine(make_network, spy):
    restorer = Restorer(make_network())
    asked = spy(restorer)
    assert restorer(torch.rand(3, 8, 8), stage=2).shape == (3, 8, 8)
    restorer.stages(torch.rand(3, 8, 8), stage=2)
    assert asked == [((1, 3, 8, 8), (2,)), ((1, 3, 8, 8), (1, 2))]


def test_a_batch_gives_what_its_pictures_give(restorer):
    batch = torch.rand(3, 3, 21, 18)
    one_by_one = torch.stack([restorer(picture) for picture in batch])
    torch.testing.assert_close(restorer(batch), one_by_one, rtol=0, atol=1e-5)


def test_a_batch_too_large_for_one_pass_is_divided(make_network, spy):
    restorer = Restorer(make_network(), max_whole_px=2 * 16 * 16)
    asked = spy(restorer)
    batch, fractions = torch.rand(5, 3, 15, 16), []
    restored = restorer(batch, progress=fractions.append)
    assert [shape[0] for shape, _ in asked] == [2, 2, 1]
    assert fractions == pytest.approx([0.4, 0.8, 1])
    torch.testing.assert_close(restored, Restorer(make_network())(batch), rtol=0, atol=1e-5)


def test_a_large_picture_is_restored_in_tiles(make_network, spy):
    network, fractions = make_network(), []
    restorer = Restorer(network, tile_px=64, overlap_px=16, max_whole_px=64 * 64)
    whole = Restorer(network)(picture := torch.rand(2, 3, 100, 90))
    asked = spy(restorer)
    tiled = restorer(picture, progress=fractions.append)
    assert tiled.shape == picture.shape
    assert {shape for shape, _ in asked} == {(1, 3, 64, 56)}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    # Not the same, since the network looks far, but the same picture.
    assert 1e-6 < (tiled - whole).abs().mean() < 0.1


@pytest.mark.parametrize(("upright", "ways"), [(True, 4), (False, 8)])
def test_an_ensemble_says_how_far_it_is_within_a_tile(make_network, upright, ways):
    restorer, fractions = Restorer(make_network(), ensemble=True, upright=upright), []
    restorer(torch.rand(3, 16, 24), progress=fractions.append)
    assert fractions == pytest.approx([(way + 1) / ways for way in range(ways)])
    tiled = Restorer(make_network(), ensemble=True, upright=upright, tile_px=16)
    tiled(torch.rand(3, 16, 40), progress=(fractions := []).append)
    assert fractions == sorted(fractions)
    assert len(fractions) % ways == 0
    assert len(fractions) >= 2 * ways


def test_a_sliver_is_measured_as_it_is_padded(make_network, spy):
    restorer = Restorer(make_network(), tile_px=64, overlap_px=16, max_whole_px=1000)
    asked = spy(restorer)
    assert restorer(torch.rand(3, 1, 500)).shape == (3, 1, 500)
    assert max(shape[2] * shape[3] for shape, _ in asked) <= 1000


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_is_kept(restorer, dtype):
    picture = torch.rand(3, 9, 9).to(dtype)
    restored = restorer(picture)
    assert restored.dtype == dtype
    torch.testing.assert_close(restored, restorer(picture.float()).to(dtype))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_device_is_chosen_and_the_input_s_is_kept(make_network):
    picture = torch.rand(2, 3, 70, 50)
    expected = Restorer(make_network())(picture)
    restorer = Restorer(make_network(), device="cuda", tile_px=64, overlap_px=16)
    for max_whole_px in (0, 10**6):
        restorer.max_whole_px = max_whole_px
        assert restorer(picture).device.type == "cpu"
        assert restorer(picture.cuda()).device.type == "cuda"
    torch.testing.assert_close(restorer(picture), expected, rtol=0, atol=2e-3)


def test_a_device_that_is_not_there_is_one_clear_line(make_network):
    with pytest.raises(ConfigError, match="device is 'nowhere'"):
        Restorer(make_network(), device="nowhere")


def test_the_result_is_an_ordinary_tensor_and_the_input_is_left_alone(restorer):
    picture = torch.rand(3, 8, 8, requires_grad=True)
    before = picture.detach().clone()
    restored = restorer(picture)
    assert not restored.requires_grad
    assert not restored.is_inference()
    assert torch.equal(picture, before)
    (restored * picture).sum().backward()
    assert picture.grad is not None


def test_any_number_of_channels_that_the_network_has(make_network):
    restorer = Restorer(make_network(in_channels=5, out_channels=5))
    assert restorer.model.config.in_channels == 5
    assert restorer(torch.rand(5, 10, 11)).shape == (5, 10, 11)
    with pytest.raises(ImageError, match=r"shape \(3, 8, 8\); expected \(5, H, W\)"):
        restorer(torch.rand(3, 8, 8))


def test_noise_that_leaves_the_range_a_little_is_taken(restorer):
    noisy = torch.rand(3, 8, 8) + torch.randn(3, 8, 8).clamp(-2, 2) * 0.2
    assert noisy.min() < 0
    assert noisy.max() > 1
    assert 0 <= restorer(noisy).min() <= restorer(noisy).max() <= 1


@pytest.mark.parametrize(
    ("degraded", "message"),
    [
        (torch.rand(8, 8), r"shape \(8, 8\); expected \(3, H, W\) or \(B, 3, H, W\)"),
        (torch.rand(4, 8, 8), r"shape \(4, 8, 8\)"),
        (torch.rand(1, 1, 3, 8, 8), "shape"),
        (torch.rand(0, 3, 8, 8), "shape"),
        (torch.rand(3, 0, 8), "shape"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"torch\.uint8; expected floats in \[0, 1\]: divide"),
        (torch.rand(3, 8, 8) * 255, r"expected \[0, 1\]: divide 8-bit values by 255"),
        (torch.full((3, 8, 8), -2.0), "values from -2 to -2"),
        (torch.full((3, 8, 8), torch.nan), "not finite"),
        (torch.full((3, 8, 8), torch.inf), "not finite"),
        (np.zeros((3, 8, 8), np.float32), "is a ndarray; expected a torch tensor"),
    ],
)
def test_what_is_no_picture_is_one_clear_line(restorer, degraded, message):
    with pytest.raises(ImageError, match=message) as refused:
        restorer(degraded)
    assert isinstance(refused.value, MPRNetError)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("stage", [0, 4, "3"])
def test_a_stage_that_does_not_exist_is_one_clear_line(restorer, stage):
    with pytest.raises(ConfigError, match="expected 1, 2 or 3"):
        restorer(torch.rand(3, 8, 8), stage=stage)


@pytest.mark.parametrize(
    "sizes",
    [{"tile_px": 100}, {"tile_px": 8}, {"overlap_px": 0}, {"overlap_px": 12}, {"tile_px": 64, "overlap_px": 40}],
)
def test_tile_sizes_that_do_not_fit_are_one_clear_line(make_network, sizes):
    with pytest.raises(ConfigError, match="expected a multiple of 8"):
        Restorer(make_network(), **sizes)


def test_weights_are_loaded_from_a_file(make_network, restorer, tmp_path):
    save_checkpoint(make_network(), tmp_path / "a.safetensors")
    picture = torch.rand(3, 9, 10)
    loaded = Restorer.from_pretrained(tmp_path / "a.safetensors", device="cpu", precision="fp32")
    assert torch.equal(loaded(picture), restorer(picture))
    with pytest.raises(CheckpointError, match="no weights"):
        Restorer.from_pretrained(tmp_path / "b.safetensors")


def test_the_task_is_asked_for_where_the_file_does_not_say_it(make_network, tmp_path):
    save_checkpoint(make_network(), tmp_path / "nameless.safetensors")
    for task, upright in ((None, False), ("derain", True), ("denoise", False)):
        loaded = Restorer.from_pretrained(tmp_path / "nameless.safetensors", task=task, device="cpu")
        assert loaded.upright == upright
    save_checkpoint(make_network(), tmp_path / "rain.safetensors", metadata={"task": "derain"})
    assert Restorer.from_pretrained(tmp_path / "rain.safetensors", task="derain", device="cpu").upright
    with pytest.raises(ConfigError, match="has weights for 'derain'; expected those for deblur"):
        Restorer.from_pretrained(tmp_path / "rain.safetensors", task="deblur")


# Pixels


def random_pixels(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def brighten(restorer, change=lambda tile: tile):
    """Put a function in the place of the engine."""
    restorer.backend.run = lambda tile, stages: tuple([change(tile)] * len(stages))
    return restorer


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("max_whole_px", [0, 10**6])
def test_pixels_are_restored_as_a_tensor_of_them_is(make_network, dtype, max_whole_px):
    restorer = Restorer(make_network(), tile_px=32, overlap_px=8, max_whole_px=max_whole_px)
    pixels = random_pixels(43, 50, 3, dtype=dtype)
    restored = restorer.restore_pixels(pixels, stage=2)
    assert restored.dtype == dtype
    assert np.array_equal(pixels, random_pixels(43, 50, 3, dtype=dtype))
    degraded = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / np.iinfo(dtype).max
    expected = mprnet.imaging.to_pixels(restorer(degraded, stage=2), depth=8 * pixels.itemsize)
    assert np.abs(restored.astype(int) - expected).max() <= (1 if dtype == np.uint8 else 2)


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 90), width=st.integers(1, 60), channels=st.sampled_from([1, 3]))
def test_in_place_gives_what_a_new_array_gets(make_network, height, width, channels):
    restorer = Restorer(make_network(), tile_px=32, overlap_px=16, max_whole_px=0)
    pixels = random_pixels(height, width, channels, dtype=np.uint16)
    apart = restorer.restore_pixels(pixels, stage=1, strength=0.75)
    assert restorer.restore_pixels(pixels, out=pixels, stage=1, strength=0.75) is pixels
    assert np.array_equal(pixels, apart)


def test_sixteen_bits_do_not_pass_through_eight(make_network):
    restorer = brighten(Restorer(make_network(), tile_px=64, overlap_px=16, max_whole_px=0))
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(restorer.restore_pixels(ramp), ramp)
    assert np.array_equal(restorer.restore_pixels(np.repeat(ramp, 3, axis=2), strength=0.5)[..., 1:2], ramp)


def test_grey_is_the_mean_of_what_becomes_of_its_copies(make_network):
    restorer = brighten(Restorer(make_network()), lambda tile: tile + torch.tensor([0.3, 0.0, -0.15]).view(3, 1, 1))
    restored = restorer.restore_pixels(np.full((9, 7, 1), 102, np.uint8))
    assert restored.shape == (9, 7, 1)
    assert set(restored.flat) == {round(255 * (0.4 + 0.15 / 3))}


def test_a_network_of_other_channels_is_one_clear_line(make_network):
    grey = Restorer(make_network(in_channels=1, out_channels=1))
    assert grey.restore_pixels(np.zeros((5, 5, 1), np.uint8)).shape == (5, 5, 1)
    with pytest.raises(ConfigError, match="the network has 1 channels; expected 3"):
        grey.restore_pixels(np.zeros((5, 5, 3), np.uint8))


def test_an_output_that_does_not_fit_is_one_clear_line(restorer):
    pixels = random_pixels(20, 20, 3)
    for out in (
        np.zeros((20, 20, 1), np.uint8),
        np.zeros((20, 20, 3), np.uint16),
        np.frombuffer(bytes(1200), np.uint8),
    ):
        with pytest.raises(ImageError, match="out is"):
            restorer.restore_pixels(pixels, out=out)
    with pytest.raises(ImageError, match="shares a part of its memory"):
        restorer.restore_pixels(pixels[:10], out=pixels[5:15])
    with pytest.raises(ImageError, match="expected uint8"):
        restorer.restore_pixels(pixels.astype(np.float32))


def test_a_network_that_gives_no_numbers_is_one_clear_line(make_network):
    restorer = brighten(Restorer(make_network()), lambda tile: tile * torch.nan)
    with pytest.raises(ImageError, match="the network gives values that are not numbers"):
        restorer.restore_pixels(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ImageError, match="the network gives values that are not numbers"):
        restorer(torch.zeros(3, 8, 8))


@pytest.mark.parametrize("size_hw", [(1, 65535), (65535, 1)])
def test_slivers_are_restored_a_tile_at_a_time(make_network, size_hw):
    most = []
    restorer = brighten(Restorer(make_network(), max_whole_px=0), lambda tile: most.append(tile.numel()) or tile)
    pixels = random_pixels(*size_hw, 3)
    assert np.array_equal(restorer.restore_pixels(pixels), pixels)
    assert max(most) <= 3 * 512 * 8


def test_no_more_than_a_tile_reaches_the_network_and_a_strip_the_canvas(make_network, monkeypatch):
    tiles, strips = [], []
    write = PixelCanvas.write
    monkeypatch.setattr(
        PixelCanvas, "write", lambda self, top, strip: strips.append(strip.shape[2]) or write(self, top, strip)
    )
    restorer = brighten(
        Restorer(make_network(), tile_px=128, overlap_px=32), lambda tile: tiles.append(tile.shape[2:]) or tile
    )
    pixels = random_pixels(1000, 100, 3)
    assert np.array_equal(restorer.restore_pixels(pixels), pixels)
    assert max(max(size) for size in tiles) <= 128
    assert max(strips) <= 128
    assert sum(strips) == 1000


# Strength, ensemble, time, memory


def test_strength_blends_with_the_input(make_network, restorer):
    picture = torch.rand(3, 20, 17)
    full, half = restorer(picture), restorer(picture, strength=0.5)
    torch.testing.assert_close(half, (full + picture) / 2, rtol=0, atol=1e-5)
    pixels = random_pixels(20, 17, 3)
    assert np.array_equal(restorer.restore_pixels(pixels, strength=1), restorer.restore_pixels(pixels))
    dark = brighten(Restorer(make_network()), lambda tile: tile / 3)
    for dtype in (np.uint8, np.uint16):
        pixels = random_pixels(20, 17, 3, dtype=dtype)
        assert np.array_equal(dark.restore_pixels(pixels, strength=0.5), np.rint((pixels + pixels / 3) / 2))


def test_strength_zero_is_the_input_and_runs_nothing(make_network, spy):
    restorer, pixels = Restorer(make_network()), random_pixels(9, 8, 3, dtype=np.uint16)
    asked = spy(restorer)
    picture = torch.randn(3, 9, 8).clamp(-0.5, 1.5)
    assert torch.equal(restorer(picture, strength=0), picture)
    assert np.array_equal(restorer.restore_pixels(pixels, strength=0), pixels)
    assert asked == []
    with pytest.raises(ConfigError, match="stage is 4"):
        restorer.restore_pixels(pixels, strength=0, stage=4)


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_an_impossible_strength_is_one_clear_line(restorer, strength):
    with pytest.raises(ConfigError, match="expected 0 to 1"):
        restorer(torch.rand(3, 8, 8), strength=strength)
    with pytest.raises(ConfigError, match="expected 0 to 1"):
        restorer.restore_pixels(random_pixels(8, 8, 3), strength=strength)


@pytest.mark.parametrize(("upright", "angles"), [(False, (0, 1, 2, 3)), (True, (0, 2))])
def test_the_ensemble_is_the_mean_over_all_turned_pictures(make_network, upright, angles):
    network = make_network()
    picture = torch.rand(3, 24, 16)
    plain, expected = Restorer(network), torch.zeros(3, 24, 16)
    for turns in angles:
        for flip in ([], [2]):
            turned = torch.rot90(picture.flip(flip), turns, (1, 2))
            with torch.inference_mode():
                restored = plain.model(turned.unsqueeze(0)).stage3[0]
            expected += torch.rot90(restored, -turns, (1, 2)).flip(flip) / (2 * len(angles))
    ensemble = Restorer(network, ensemble=True, upright=upright)
    torch.testing.assert_close(ensemble(picture), expected.clamp(0, 1), rtol=0, atol=1e-5)
    assert len(ensemble.stages(picture).computed) == 3


@pytest.mark.parametrize("task", TASKS)
def test_rain_is_never_laid_on_its_side(task):
    assert Restorer.from_pretrained(task, device="cpu").upright == (task == "derain")


def test_local_pooling_follows_the_training_crop(make_network, tmp_path):
    def window(**options):
        restorer = Restorer(make_network(), **options)
        return restorer.model.orsnet.orbs[0].cabs[0].attention.window

    assert window().height == 384
    assert window(crop_px=64) is None
    assert window(crop_px=64, local=True).height == 96
    assert window(local=False) is None
    save_checkpoint(make_network(), tmp_path / "a.safetensors", metadata={"training_crop_px": "64"})
    assert Restorer.from_pretrained(tmp_path / "a.safetensors").crop_px == 64
    with pytest.raises(ConfigError, match="local is 'no'"):
        Restorer(make_network(), local="no")
    with pytest.raises(ConfigError, match="crop_px is 12"):
        Restorer(make_network(), crop_px=12, local=False)


def test_a_stage_that_was_never_trained_is_refused(make_network, tmp_path):
    save_checkpoint(make_network(), tmp_path / "a.safetensors", metadata={"trained_stages": "1"})
    restorer = Restorer.from_pretrained(tmp_path / "a.safetensors")
    picture = torch.rand(3, 16, 16)
    assert restorer(picture, stage=1).shape == picture.shape
    assert restorer.choose_stage((16, 16), 1e6) == 1
    with pytest.raises(ConfigError, match="stage is 3, but this network was trained up to stage 1 alone"):
        restorer(picture)


@pytest.mark.parametrize("crop", ["large", "9" * 5000])
def test_a_training_crop_that_is_no_number_is_one_clear_line(make_network, tmp_path, crop):
    save_checkpoint(make_network(), tmp_path / "a.safetensors", metadata={"training_crop_px": crop})
    with pytest.raises(CheckpointError, match=f"training_crop_px '{crop[:20]}'"):
        Restorer.from_pretrained(tmp_path / "a.safetensors")


def test_later_stages_and_larger_pictures_are_expected_to_take_longer(make_network):
    restorer = Restorer(make_network())
    seconds = [restorer.seconds((100, 200), stage) for stage in (1, 2, 3)]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    assert restorer.seconds((1000, 2000), 1) > 50 * seconds[0]
    assert restorer.choose_stage((100, 200), 0) == 1
    assert restorer.choose_stage((100, 200), (seconds[1] + seconds[2]) / 2) == 2
    assert restorer.choose_stage((100, 200), 2 * seconds[2]) == 3
    with pytest.raises(ConfigError, match="stage is 5"):
        restorer.seconds((8, 8), 5)


def test_what_pictures_took_refines_what_is_expected(make_network, monkeypatch):
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr("mprnet.restoration.restorer.time.perf_counter", lambda: next(clock))
    restorer = Restorer(make_network())
    for _ in range(2):  # the first prepares the engine
        restorer(torch.rand(3, 128, 128))
    assert restorer.seconds((128, 128), 3) == pytest.approx(10)


def test_the_time_of_converting_the_network_is_not_taken_for_that_of_a_stage(make_network):
    restorer = Restorer(make_network())
    computed = []

    def run(degraded, stages):
        if stages not in computed:  # as an engine that converts the network for each set of stages
            computed.append(stages)
            time.sleep(0.5)
        return tuple(degraded.clone() for _ in stages)

    restorer.backend.run = run
    assert restorer.choose_stage((128, 128), 0.2) == 3
    restorer(torch.rand(3, 128, 128), stage=3)
    assert restorer.choose_stage((128, 128), 0.2) == 3


@pytest.mark.parametrize("engine", ["openvino", "compile"])
def test_what_an_engine_does_for_every_size_is_not_taken_for_its_speed(make_network, engine):
    restorer = Restorer(make_network())
    seen = set()

    def run(degraded, stages):
        if degraded.shape not in seen:
            seen.add(degraded.shape)
            time.sleep(0.5)
        return tuple(degraded.clone() for _ in stages)

    restorer.backend.run = run
    restorer.backend.name = engine
    for side in (128, 136, 144):
        restorer(torch.rand(3, side, side))
    assert restorer.seconds((128, 128)) < 0.2


def test_pictures_up_to_a_megapixel_are_whole_and_larger_ones_in_tiles_of_512(make_network, monkeypatch):
    tiles = []
    restorer = brighten(Restorer(make_network()), lambda tile: tiles.append(tuple(tile.shape[2:])) or tile)
    monkeypatch.setattr("mprnet.restoration.restorer.free_bytes", lambda _: 2**40)
    for size_hw, tile_hw in (((1024, 1024), (1024, 1024)), ((1032, 1024), (392, 384)), ((960, 1408), (512, 512))):
        tiles.clear()
        restorer.restore_pixels(random_pixels(*size_hw, 3))
        assert set(tiles) == {tile_hw}


def test_the_tile_follows_the_memory_that_is_free(make_network, monkeypatch):
    tiles = []
    restorer = brighten(Restorer(make_network()), lambda tile: tiles.append(max(tile.shape[2:])) or tile)
    pixels = random_pixels(600, 600, 3)
    per_px = restorer.backend.bytes_per_pixel(3)
    for free, side in ((2**40, 600), (2 * 200**2 * per_px, 200), (0, 128)):
        tiles.clear()
        monkeypatch.setattr("mprnet.restoration.restorer.free_bytes", lambda _, free=free: free)
        assert np.array_equal(restorer.restore_pixels(pixels), pixels)
        assert set(tiles) == {side}


def test_as_many_pictures_of_a_batch_are_under_work_at_once_as_the_memory_takes(make_network, monkeypatch):
    shapes = []
    restorer = brighten(Restorer(make_network()), lambda tile: shapes.append(tuple(tile.shape)) or tile)
    per_px = restorer.backend.bytes_per_pixel(3)
    batch = torch.rand(5, 3, 200, 200)
    for pictures, counts in ((10, [5]), (2.5, [2, 2, 1]), (1, [1] * 5)):
        shapes.clear()
        monkeypatch.setattr(
            "mprnet.restoration.restorer.free_bytes", lambda _, free=int(2 * pictures * 200**2 * per_px): free
        )
        assert torch.equal(restorer(batch), batch)
        assert shapes == [(count, 3, 200, 200) for count in counts]


def test_a_size_that_was_whole_stays_whole_while_the_engine_holds_its_memory(make_network, monkeypatch):
    shapes = []
    restorer = brighten(Restorer(make_network()), lambda tile: shapes.append(tuple(tile.shape[2:])) or tile)
    enough = 2 * 256 * 320 * restorer.backend.bytes_per_pixel(3)
    frame = torch.rand(3, 256, 320)
    for engine, whole in (("openvino", True), ("torch", False)):  # which gives its memory back
        shapes.clear()
        restorer.backend.name = engine
        for free in (enough, enough // 2):
            monkeypatch.setattr("mprnet.restoration.restorer.free_bytes", lambda _, free=free: free)
            restorer(frame)
        assert (shapes == [(256, 320)] * 2) == whole
        restorer(torch.rand(3, 320, 256))  # another size has to fit
        assert (320, 256) not in shapes
    restorer.backend.name, restorer.scales = "openvino", 2
    for free in (enough, enough // 2):
        shapes.clear()
        monkeypatch.setattr("mprnet.restoration.restorer.free_bytes", lambda _, free=free: free)
        restorer(frame)
        assert shapes == [(128, 160), (256, 320)]


def test_the_caller_s_default_dtype_decides_nothing(make_network):
    restorer = Restorer(make_network(), tile_px=64, overlap_px=16, max_whole_px=1, scales=2)
    picture = torch.rand(3, 100, 140)
    expected = restorer(picture)
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert torch.equal(restorer(picture), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_too_little_memory_halves_the_tile_and_loses_nothing(make_network):
    sides = []

    def forward(tile):
        sides.append(max(tile.shape[2:]))
        if tile.shape[2] * tile.shape[3] > 200 * 200:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate …")
        return tile

    restorer = brighten(Restorer(make_network()), forward)
    pixels = random_pixels(500, 300, 3)
    assert np.array_equal(restorer.restore_pixels(pixels.copy(), out=(out := pixels.copy())), pixels)
    assert np.array_equal(out, pixels)
    assert sides[0] == 504
    assert max(sides[2:]) <= 252
    sides.clear()
    restorer.restore_pixels(pixels)
    assert max(sides) <= 252  # without failing first


def test_memory_for_no_tile_at_all_is_one_clear_line(make_network):
    def forward(tile):
        raise MemoryError

    with pytest.raises(
        ImageError, match=r"the memory does not suffice for a tile of 1[012]\d pixels a side"
    ) as refused:
        brighten(Restorer(make_network()), forward).restore_pixels(random_pixels(520, 300, 3))
    assert "\n" not in str(refused.value)


def test_what_an_icon_took_says_nothing_of_a_photograph(make_network):
    restorer = Restorer(make_network())
    before = restorer.seconds((2000, 3000))
    restorer(torch.rand(3, 200, 200))
    for _ in range(8):
        restorer(torch.rand(3, 1, 1))
    assert restorer.seconds((2000, 3000)) < 10 * before


def test_memory_that_runs_out_beside_the_tiles_is_one_clear_line_too(make_network, monkeypatch):
    def write(self, top, strip):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(PixelCanvas, "write", write)
    with pytest.raises(ImageError, match="the memory does not suffice for a row of tiles of a picture of 30×20") as no:
        Restorer(make_network()).restore_pixels(random_pixels(20, 30, 3))
    assert "\n" not in str(no.value)


# Files


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_odd_sized_photo_keeps_its_size(restorer, suffix, tmp_path):
    Image.new("RGB", (37, 21), "teal").save(tmp_path / f"a{suffix}")
    restore_picture(restorer, tmp_path / f"a{suffix}", tmp_path / "new" / "folder" / f"b{suffix}")
    with Image.open(tmp_path / "new" / "folder" / f"b{suffix}") as image:
        assert image.size == (37, 21)


def test_a_file_holds_what_the_tensor_would(restorer, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 13, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    restore_picture(restorer, tmp_path / "a.png", tmp_path / "b.png", options=PictureOptions(stage=2))
    expected = restorer(torch.from_numpy(pixels).permute(2, 0, 1) / 255, stage=2)
    assert np.array_equal(mprnet.imaging.read_image(tmp_path / "b.png").pixels, mprnet.imaging.to_pixels(expected))


def test_a_photo_taken_upright_stays_upright_and_keeps_its_exif(restorer, tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "A camera"
    Image.new("RGB", (24, 16)).save(tmp_path / "a.jpg", exif=exif)
    restore_picture(restorer, tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.size == (16, 24)
        assert dict(image.getexif()) == {0x0110: "A camera"}


def test_an_existing_file_is_found_before_the_hard_work(make_network, spy, tmp_path):
    restorer = Restorer(make_network())
    asked = spy(restorer)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    with pytest.raises(ImageError, match=r"b\.png exists"):
        restore_picture(restorer, tmp_path / "a.png", tmp_path / "b.png")
    assert asked == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(restorer, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"b\.png cannot be written: .*a\.png is no folder"):
        restore_picture(restorer, tmp_path / "a.png", tmp_path / "a.png" / "b.png")


def test_a_gpu_that_torch_has_no_code_for_is_left_alone(make_network, tmp_path, monkeypatch):
    def zeros(*_, device, **__):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with …")

    save_checkpoint(make_network(), tmp_path / "a.safetensors")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", zeros)
    told = []
    restorer = Restorer.from_pretrained(tmp_path / "a.safetensors", backend="torch", notice=told.append)
    assert restorer.backend.device.type == "cpu"
    assert told == [
        "the GPU is left alone, since torch cannot use it: CUDA error: no kernel image is available for execution on "
        "the device"
    ]


@pytest.mark.parametrize(
    ("backend", "precision", "device"),
    [
        ("auto", "auto", "cuda"),
        ("torch", "fp16", "cuda"),
        ("compile", "auto", "cuda"),
        ("openvino", "auto", "cpu"),
        ("onnx", "auto", "cpu"),
        ("auto", "int8", "cpu"),
    ],
)
def test_what_processors_alone_compute_goes_there_although_there_is_a_gpu(
    make_network, tmp_path, monkeypatch, backend, precision, device
):
    class Asked(Restorer):
        def __init__(self, model, *, device, **_):
            self.device = device

    save_checkpoint(make_network(), tmp_path / "a.safetensors")
    monkeypatch.setattr("mprnet.restoration.restorer._has_gpu", lambda notice: True)
    asked = Asked.from_pretrained(tmp_path / "a.safetensors", backend=backend, precision=precision)
    assert asked.device == device

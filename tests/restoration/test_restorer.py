from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mprnet.imaging
from mprnet.checkpoints import save_checkpoint
from mprnet.errors import CheckpointError, ConfigError, ImageError, MPRNetError
from mprnet.restoration import Restorer

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


def test_later_stages_are_not_computed(make_network):
    network = make_network()
    network.orsnet.register_forward_hook(lambda *_: pytest.fail("stage 3 was computed"))
    assert Restorer(network)(torch.rand(3, 8, 8), stage=2).shape == (3, 8, 8)


def test_a_batch_gives_what_its_pictures_give(restorer):
    batch = torch.rand(3, 3, 21, 18)
    one_by_one = torch.stack([restorer(picture) for picture in batch])
    torch.testing.assert_close(restorer(batch), one_by_one, rtol=0, atol=1e-5)


def test_a_batch_too_large_for_one_pass_is_divided(make_network):
    network = make_network()
    batches = []
    network.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    batch, fractions = torch.rand(5, 3, 15, 16), []
    restored = Restorer(network, max_whole_px=2 * 16 * 16)(batch, progress=fractions.append)
    assert batches == [2, 2, 1]
    assert fractions == pytest.approx([0.4, 0.8, 1])
    torch.testing.assert_close(restored, Restorer(network)(batch), rtol=0, atol=1e-5)


def test_a_large_picture_is_restored_in_tiles(make_network):
    network, sizes, fractions = make_network(), [], []
    restorer = Restorer(network, tile_px=64, overlap_px=16, max_whole_px=64 * 64)
    whole = Restorer(network)(picture := torch.rand(2, 3, 100, 90))
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape)))
    tiled = restorer(picture, progress=fractions.append)
    assert tiled.shape == picture.shape
    assert set(sizes) == {(1, 3, 64, 56)}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    # Not the same, since the network looks far, but the same picture.
    assert 1e-6 < (tiled - whole).abs().mean() < 0.1


def test_a_sliver_is_measured_as_it_is_padded(make_network):
    sizes = []
    network = make_network()
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].numel() // 3))
    assert Restorer(network, tile_px=64, overlap_px=16, max_whole_px=1000)(torch.rand(3, 1, 500)).shape == (3, 1, 500)
    assert max(sizes) <= 1000


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
    assert torch.equal(Restorer.from_checkpoint(tmp_path / "a.safetensors", device="cpu")(picture), restorer(picture))
    with pytest.raises(CheckpointError, match="does not exist"):
        Restorer.from_checkpoint(tmp_path / "b.safetensors")


# Files


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_odd_sized_photo_keeps_its_size(restorer, suffix, tmp_path):
    Image.new("RGB", (37, 21), "teal").save(tmp_path / f"a{suffix}")
    restorer.restore_file(tmp_path / f"a{suffix}", tmp_path / "new" / "folder" / f"b{suffix}")
    with Image.open(tmp_path / "new" / "folder" / f"b{suffix}") as image:
        assert image.size == (37, 21)


def test_a_file_holds_what_the_tensor_would(restorer, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 13, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    restorer.restore_file(tmp_path / "a.png", tmp_path / "b.png", stage=2)
    expected = restorer(torch.from_numpy(pixels).permute(2, 0, 1) / 255, stage=2)
    assert np.array_equal(mprnet.imaging.read_image(tmp_path / "b.png").pixels, mprnet.imaging.to_pixels(expected))


def test_a_photo_taken_upright_stays_upright_and_keeps_its_exif(restorer, tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "A camera"
    Image.new("RGB", (24, 16)).save(tmp_path / "a.jpg", exif=exif)
    restorer.restore_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.size == (16, 24)
        assert dict(image.getexif()) == {0x0110: "A camera"}


def test_an_existing_file_is_found_before_the_hard_work(make_network, tmp_path):
    network = make_network()
    network.register_forward_pre_hook(lambda *_: pytest.fail("the network was run"))
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    with pytest.raises(ImageError, match=r"b\.png exists"):
        Restorer(network).restore_file(tmp_path / "a.png", tmp_path / "b.png")


def test_a_folder_that_cannot_be_made_is_one_clear_line(restorer, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png cannot be made"):
        restorer.restore_file(tmp_path / "a.png", tmp_path / "a.png" / "b.png")

"""The object people hold: a trained network, ready for pictures of any size."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from torch import Tensor

from mprnet.backends import BackendName, Precision, open_backend
from mprnet.checkpoints import load_checkpoint, read_metadata, task_of, trained_stages_of
from mprnet.errors import CheckpointError, ConfigError, ImageError
from mprnet.files import PathLike
from mprnet.imaging.pixels import check_pixels
from mprnet.network import PRESETS, SIZE_MULTIPLE, MPRNet, StageOutputs, set_local_pooling, stage_costs
from mprnet.restoration.canvas import Canvas, PixelCanvas, TensorCanvas
from mprnet.restoration.memory import (
    SMALLEST_TILE_PX,
    OutOfMemory,
    choose_side,
    fitting,
    free_bytes,
    watched,
)
from mprnet.restoration.scales import CorrectedCanvas, reduced, reduced_size
from mprnet.restoration.tiling import lay_out, restore_tiled
from mprnet.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from mprnet.imaging.pixels import Pixels

Local = Literal["auto"] | bool

TILE_PX = 512
"""The largest tile where memory would allow more: 384 and 512 took the same time a pixel, 256 a fifth more."""

OVERLAP_PX = 64
MAX_WHOLE_PX = 1024 * 1024
"""Up to this size a picture is restored whole: 1280×720 is, a photograph of 2 megapixels is not."""

CROP_PX = 256
"""Side of the training crops in the paper."""

MAX_SCALES = 5
"""At the fifth, smallest one a picture has a 256th of its pixels."""

_FARTHEST = 1.0
"""How far values may lie outside [0, 1] to be clipped: noise leads there, pictures in 0…255 lie much farther."""

_PROBE_PX = 128
"""Side of the tile that a first guess of the speed comes from."""


class Restorer:
    """Restore pictures with a trained MPRNet, whatever their size.

    A picture is padded to a multiple of 8 and cut back. One of more than `max_whole_px` pixels, or too large for the
    memory that is free, is restored in overlapping tiles, row by row, so that memory does not grow with it, but
    for what several `scales` hold of it in floating point. Where
    memory runs out all the same, smaller tiles go on from the rows that are done. Calls from several threads may
    overlap; they share the processor, and `last_tile_px` is then that of any of them.

    Args:
        model: the network; it is moved to `device`, set to evaluation and to its pooling as it is, not copied. Its
            weights, of any float dtype, are those that it has now; engines may have copied them.
        device: where to compute; without one, where the network is. Engines other than torch take processors only.
        tile_px: the largest height and width of a tile, in pixels, a multiple of 8; without one, what the memory that
            is free allows, up to 512.
        overlap_px: what neighbouring tiles share at least, in pixels, a multiple of 8, at most half a tile; without
            one, 64, or half a tile where that is less.
        max_whole_px: the most pixels (H × W × pictures, H and W padded) that are restored in one pass; 0 for tiles
            always. Without one, a tile's where `tile_px` is given, else 1024².
        local: whether channel attention averages over a window 1.5 times as large as what training saw, in place of
            the whole picture or tile. `auto`: where `crop_px` is 256 or more. That gains with weights trained like the
            paper's (Chu et al.); those trained with smaller crops lose by it, up to 0.3 dB in what was measured, or
            gain next to nothing.
        crop_px: side of the training crops in pixels, a multiple of 8; without one, 256 as in the paper.
        ensemble: whether to average over the eight flips and rotations of each tile, for eight times the time.
        scales: at how many sizes to restore, each half as large as the one after it, the last the picture's own; the
            smaller ones take out what is too coarse for the network, such as rain and grain in a large photograph.
            Each size costs a quarter of the one after it.
        upright: whether what is undone has a direction, as rain has, which falls; the ensemble is then of the four
            flips alone, since rain that lies on its side is left where it is. Files say it by their task.
        trained_stages: how many of the stages were ever trained; later ones are refused. Files say it.
        backend: the engine: `torch`, `compile` (torch, compiled), `openvino`, `onnx` (ONNX Runtime); or `auto`: torch
            on GPUs and with local pooling, elsewhere torch or OpenVINO (without it, ONNX Runtime), whichever was
            faster, measured once and remembered. Here torch, in fp32, is the default, which converts nothing;
            `from_pretrained` takes `auto` for both.
        precision: what convolutions compute with: `fp32`, `bf16`, on a GPU `fp16` and `tf32`, with OpenVINO `int8`; or
            `auto`, fp16 on GPUs, bf16 on processors that are faster with it and fp32 elsewhere.
        int8: for int8, the quantized network that `mprnet export` made of these weights.
        notice: called with a line before what takes seconds, such as converting the network for an engine.

    Attributes:
        model: the network, an `MPRNet`; its config says how many channels a picture has.
        backend: what computes, a `mprnet.backends.Backend`.
        int8: the file of the quantized network, which is read where the precision is int8; None without one.
        is_local: whether channel attention averages over windows, as `local` and `crop_px` decide.
        last_tile_px: the side of the tiles, in pixels, that the last picture was restored in at its own size; None
            where it was whole, or there was none yet.

    Raises:
        ConfigError: the device or a size is impossible, or the engine cannot do what is asked for.
        MissingExtraError: the engine is not installed.

    Example:
        >>> from mprnet.network import MPRNet, MPRNetConfig
        >>> restorer = Restorer(MPRNet(MPRNetConfig(n_feat=8, num_cab=1)))
        >>> restorer(torch.rand(3, 21, 13)).shape
        torch.Size([3, 21, 13])
    """

    def __init__(
        self,
        model: MPRNet,
        *,
        device: str | torch.device | None = None,
        tile_px: int | None = None,
        overlap_px: int | None = None,
        max_whole_px: int | None = None,
        local: Local = "auto",
        crop_px: int | None = None,
        ensemble: bool = False,
        scales: int = 1,
        upright: bool = False,
        trained_stages: int = 3,
        backend: BackendName = "torch",
        precision: Precision = "fp32",
        int8: PathLike | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        largest_px = TILE_PX if tile_px is None else tile_px
        if largest_px < 2 * SIZE_MULTIPLE or largest_px % SIZE_MULTIPLE:
            raise ConfigError(f"tile_px is {tile_px}; expected a multiple of {SIZE_MULTIPLE} from {2 * SIZE_MULTIPLE}")
        if overlap_px is None:
            overlap_px = min(OVERLAP_PX, largest_px // 2 // SIZE_MULTIPLE * SIZE_MULTIPLE)
        if not 0 < overlap_px <= largest_px // 2 or overlap_px % SIZE_MULTIPLE:
            raise ConfigError(
                f"overlap_px is {overlap_px}; expected a multiple of {SIZE_MULTIPLE} from {SIZE_MULTIPLE} to half of "
                f"tile_px = {largest_px}"
            )
        if local not in ("auto", True, False):
            raise ConfigError(f"local is {local!r}; expected 'auto', True or False")
        if scales not in range(1, MAX_SCALES + 1):
            raise ConfigError(f"scales is {scales!r}; expected 1 to {MAX_SCALES}")
        try:
            self.model = model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"device is {device!r}, which this machine or torch does not have: {reason}") from error
        self.tile_px = tile_px
        self.overlap_px = overlap_px
        self.max_whole_px = (
            max_whole_px if max_whole_px is not None else MAX_WHOLE_PX if tile_px is None else tile_px**2
        )
        self.crop_px = CROP_PX if crop_px is None else crop_px
        self.ensemble = ensemble
        self.scales = scales
        self.upright = upright
        self.trained_stages = trained_stages
        self.int8 = None if int8 is None else Path(int8)
        self.is_local = self.crop_px >= CROP_PX if local == "auto" else bool(local)
        self.last_tile_px: int | None = None
        set_local_pooling(self.model, self.crop_px)  # which checks the size
        if not self.is_local:
            set_local_pooling(self.model, None)
        self.backend = open_backend(
            self.model,
            name=backend,
            precision=precision,
            device=next(self.model.parameters()).device,
            int8=self.int8,
            notice=notice,
        )
        self._ceiling_px = 2**31
        self._seconds_per_px: dict[int, float] = {}
        self._prepared: set[tuple[object, ...]] = set()  # kinds of pictures that have been computed
        self._held: dict[tuple[object, ...], int] = {}  # bytes, by the size and stages that were restored whole

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: PathLike,
        *,
        task: str | None = None,
        device: str | torch.device | None = None,
        local: Local = "auto",
        ensemble: bool = False,
        scales: int = 1,
        tile_px: int | None = None,
        backend: BackendName = "auto",
        precision: Precision = "auto",
        notice: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Load shipped weights by the name of their task, or a weights file, in our form or the published one.

        Args:
            name_or_path: `derain`, `deblur`, `denoise`, or a path.
            task: what the weights are to undo, where their file does not say it.
            device: where to compute; without one, the GPU where there is one.
            local: as for a `Restorer`, as are the following; the training crop is in the file's metadata.
            ensemble: likewise.
            scales: likewise.
            tile_px: likewise.
            backend: likewise.
            precision: likewise; the quantized network for int8 is the file `NAME.int8.xml` beside the weights.
            notice: likewise.

        Raises:
            CheckpointError: no such weights, they cannot be read, or the training crop in their metadata is no number.
            ConfigError: the weights are for another task, the device does not exist, a size is impossible, or the
                engine cannot do what is asked for.
            MissingExtraError: the engine is not installed.
        """
        path = find_weights(name_or_path)
        model = load_checkpoint(path)
        metadata = read_metadata(path)
        crop = metadata.get("training_crop_px")
        if crop is not None and not re.fullmatch("[0-9]{1,6}", crop):
            raise CheckpointError(
                f"{path} has training_crop_px {crop[:20]!r} in its metadata; expected a number of pixels"
            )
        # Published files name no task, but of those networks only the one for rain has this width.
        task = task_of(metadata, path, task) or ("derain" if model.config.n_feat == PRESETS["derain"].n_feat else None)
        is_for_gpus = backend in ("auto", "torch", "compile") and precision != "int8"
        return cls(
            model,
            device=device or ("cuda" if is_for_gpus and _has_gpu(notice) else "cpu"),
            local=local,
            crop_px=None if crop is None else int(crop),
            ensemble=ensemble,
            scales=scales,
            upright=task == "derain",
            trained_stages=trained_stages_of(metadata),
            tile_px=tile_px,
            backend=backend,
            precision=precision,
            int8=path.with_suffix(".int8.xml"),
            notice=notice,
        )

    def __call__(
        self,
        degraded: Tensor,
        *,
        stage: int = 3,
        strength: float = 1.0,
        progress: Callable[[float], None] = lambda _: None,
    ) -> Tensor:
        """Restore a picture, or a batch of them.

        Args:
            degraded: `(C, H, W)` or `(B, C, H, W)`, any float dtype and device, nominally in [0, 1]; noise may
                lead a little out of that range, and is clipped before the network. C is what the network has (3: RGB).
            stage: 1, 2 or 3, whose picture to return; later stages are not computed.
            strength: 0 to 1, how much of the restored picture to blend with `degraded`; 0 gives `degraded` as it is.
            progress: called now and then with the fraction that is done.

        Returns:
            Tensor: shape, dtype and device of `degraded`; what the network gives is clamped to [0, 1] before it is
                blended.

        Raises:
            ImageError: another shape or dtype, values that are not finite or far outside [0, 1]; or the memory does
                not suffice for the smallest tile.
            ConfigError: `stage` is not 1, 2 or 3 or was not trained, or `strength` is outside [0, 1].
        """
        self._check_choices(stage, strength)
        self._check(degraded)
        if strength == 0:
            progress(1)
            return degraded.detach().clone()
        return self._restore_all(degraded, (stage,), strength, progress)[0]

    def stages(
        self, degraded: Tensor, *, stage: int = 3, progress: Callable[[float], None] = lambda _: None
    ) -> StageOutputs:
        """Restore as a call does, and return the picture of every stage on the way, at no further cost.

        With several scales each stage is a restoration of its own, begun at the smallest size, and costs as much.

        Args:
            degraded: as for a call.
            stage: 1, 2 or 3, the last stage to compute.
            progress: as for a call.

        Returns:
            StageOutputs: for each stage up to `stage` a tensor of the shape, dtype and device of `degraded`, clamped
                to [0, 1].

        Raises:
            ImageError, ConfigError: as a call.

        Example:
            >>> from mprnet.network import MPRNet, MPRNetConfig
            >>> restorer = Restorer(MPRNet(MPRNetConfig(n_feat=8, num_cab=1)))
            >>> len(restorer.stages(torch.rand(3, 21, 13), stage=2).computed)
            2
        """
        self._check_choices(stage, 1)
        self._check(degraded)
        first = self.model.config.first_stage
        asked = tuple(range(first, stage + 1))
        missing = [None] * (first - 1)
        if self.scales == 1:
            return StageOutputs(*missing, *self._restore_all(degraded, asked, 1, progress))

        def report(fraction: float) -> None:
            progress((len(restored) + fraction) / len(asked))

        restored: list[Tensor] = []
        for one in asked:
            restored += self._restore_all(degraded, (one,), 1, report)
        return StageOutputs(*missing, *restored)

    def restore_pixels(
        self,
        pixels: Pixels,
        *,
        out: Pixels | None = None,
        stage: int = 3,
        strength: float = 1.0,
        progress: Callable[[float], None] = lambda _: None,
    ) -> Pixels:
        """Restore the pixels of a picture, in place where that is asked for; only a strip is ever held as floats.

        Args:
            pixels: `(H, W, 3)`, or `(H, W, 1)` grey, which is repeated to the network's channels and becomes the mean
                of the result; uint8 or uint16.
            out: where to write the result, of the same shape and dtype; it may be `pixels`, of which some rows are
                then restored and others not if anything fails. Without one, a new array.
            stage: 1, 2 or 3, whose picture to return; later stages are not computed.
            strength: 0 to 1, how much of the restored picture to blend with `pixels`, before rounding.
            progress: called now and then with the fraction that is done.

        Returns:
            NDArray: `out`, shape and dtype of `pixels`.

        Raises:
            ImageError: another shape or dtype; `out` does not fit; the memory does not suffice for the smallest tile;
                or the network gives values that are not numbers.
            ConfigError: `stage` is not 1, 2 or 3 or was not trained, `strength` is outside [0, 1], or the network has
                another number of channels than the picture.

        Example:
            >>> from mprnet.network import MPRNet, MPRNetConfig
            >>> restorer = Restorer(MPRNet(MPRNetConfig(n_feat=8, num_cab=1)))
            >>> restorer.restore_pixels(np.zeros((5, 9, 3), np.uint16)).dtype
            dtype('uint16')
        """
        self._check_choices(stage, strength)
        check_pixels(pixels)
        channels = self.model.config.in_channels
        if pixels.shape[2] not in (1, channels):
            raise ConfigError(f"the network has {channels} channels; expected {pixels.shape[2]}, as the picture has")
        if out is None:
            out = np.empty_like(pixels)
        elif (out.shape, out.dtype) != (pixels.shape, pixels.dtype) or not out.flags.writeable:
            raise ImageError(
                f"out is {out.dtype} of shape {out.shape}; expected {pixels.dtype} of shape {pixels.shape}, writeable"
            )
        elif not _is_same(out, pixels) and np.may_share_memory(out, pixels):
            raise ImageError("out shares a part of its memory with pixels; expected the same array, or one apart")
        if strength == 0:
            out[...] = pixels
            progress(1)
        else:
            self._restore(PixelCanvas(pixels, out, channels, strength), (stage,), 1, progress)
        return out

    def seconds(self, size_hw: tuple[int, int], stage: int = 3) -> float:
        """Return how long a picture is expected to take, by what earlier ones took; at first, by a small tile.

        Args:
            size_hw: height and width of the picture in pixels.
            stage: 1, 2 or 3.
        """
        self._check_choices(stage, 1)
        if not self._seconds_per_px:
            self._probe()
        # Of a stage that no picture has gone through, the cost tells in relation to one that some have.
        known = stage if stage in self._seconds_per_px else max(self._seconds_per_px)
        share = self._costs[stage] / self._costs[known]
        sizes = [reduced_size(size_hw, factor) for factor in (*self._factors, 1)]
        return (
            self._seconds_per_px[known]
            * share
            * sum(self._computed_px(size, self._side(size, (stage,), 1)) for size in sizes)
        )

    def choose_stage(self, size_hw: tuple[int, int], budget_seconds: float) -> int:
        """Return the last stage whose picture is expected within the budget; the first one where none is.

        Args:
            size_hw: height and width of the picture in pixels.
            budget_seconds: what it may take.
        """
        first = self.model.config.first_stage
        later = range(self.trained_stages, first, -1)
        return next((stage for stage in later if self.seconds(size_hw, stage) <= budget_seconds), first)

    def _check_choices(self, stage: int, strength: float) -> None:
        if stage not in (1, 2, 3):
            raise ConfigError(f"stage is {stage!r}; expected 1, 2 or 3")
        self.model.config.require(stage)
        if stage > self.trained_stages:
            trained = f"this network was trained up to stage {self.trained_stages} alone"
            raise ConfigError(f"stage is {stage}, but {trained}; choose an earlier stage")
        if not 0 <= strength <= 1:
            raise ConfigError(f"strength is {strength}; expected 0 to 1")

    def _restore_all(
        self, degraded: Tensor, stages: tuple[int, ...], strength: float, progress: Callable[[float], None]
    ) -> tuple[Tensor, ...]:
        """Return the pictures of `stages`, each shaped as `degraded`."""
        batch = degraded.detach() if degraded.dim() == 4 else degraded.detach().unsqueeze(0)
        pixels = math.prod(_padded(batch.shape[-2:]))
        needed = self.backend.bytes_per_pixel(stages[-1]) * pixels
        per_pass = max(
            1, min(self.max_whole_px // pixels, fitting(self._free(tuple(batch.shape[-2:]), stages), needed))
        )
        # Made outside of inference mode, so that the caller gets ordinary tensors.
        restored = tuple(torch.empty_like(batch) for _ in stages)
        for start in range(0, len(batch), per_pass):
            part = slice(start, start + per_pass)
            count = len(batch[part])

            def report(fraction: float, start: int = start, count: int = count) -> None:
                progress((start + count * fraction) / len(batch))

            canvas = TensorCanvas(batch[part], [whole[part] for whole in restored], strength)
            self._restore(canvas, stages, count, report)
        return tuple(whole.reshape(degraded.shape) for whole in restored)

    @property
    def _factors(self) -> list[int]:
        """By how much a picture is reduced before it is restored at its own size, one size after the other."""
        return [2**halvings for halvings in range(self.scales - 1, 0, -1)]

    @torch.inference_mode()
    def _restore(self, canvas: Canvas, stages: tuple[int, ...], count: int, progress: Callable[[float], None]) -> None:
        """Restore `count` pictures of one size, side by side, coarse to fine where there are several scales."""
        total = sum(1 / factor**2 for factor in (*self._factors, 1))
        done, size_hw = 0.0, canvas.size_hw

        def report(fraction: float) -> None:
            progress((done + fraction / factor**2) / total)

        try:
            with watched():  # of rows of tiles, and of smaller sizes; a tile itself is tried again
                for factor in self._factors:
                    small = reduced(canvas, factor)
                    restored = torch.empty_like(small)
                    self._restore_once(TensorCanvas(small, [restored], 1), stages[-1:], count, report)
                    canvas = CorrectedCanvas(canvas, restored.sub_(small), factor)
                    done += 1 / factor**2
                factor = 1
                self._restore_once(canvas, stages, count, report)
        except OutOfMemory as failure:
            height, width = size_hw
            raise ImageError(
                f"the memory does not suffice for a row of tiles of a picture of {width}×{height} ({failure}); close "
                "other programs"
            ) from failure

    def _restore_once(
        self, canvas: Canvas, stages: tuple[int, ...], count: int, progress: Callable[[float], None]
    ) -> None:
        """Restore `count` pictures of one size, side by side, at that size."""

        def shrink(tried_px: int, failure: OutOfMemory) -> int:
            if tried_px <= SMALLEST_TILE_PX:
                needed = self.backend.bytes_per_pixel(stages[-1]) * count * tried_px**2
                raise ImageError(
                    f"the memory does not suffice for a tile of {tried_px} pixels a side, about {needed / 1e6:.0f} MB "
                    f"({failure}); close other programs, or ask for an earlier stage"
                ) from None
            smaller_px = max(SMALLEST_TILE_PX, tried_px // 2 // SIZE_MULTIPLE * SIZE_MULTIPLE)
            if self.backend.device.type == "cuda":
                torch.cuda.empty_cache()
            self._ceiling_px = smaller_px  # so that the next frame of a video need not fail first
            self._held.clear()  # as engines have done
            return smaller_px

        side_px = self._side(canvas.size_hw, stages, count)
        computed_px = count * self._computed_px(canvas.size_hw, side_px)
        begun = time.perf_counter()
        restore_tiled(
            lambda tile, within: self._turned(tile, stages, within) if self.ensemble else self._forward(tile, stages),
            canvas,
            tile_px=side_px,
            overlap_px=self.overlap_px,
            multiple=SIZE_MULTIPLE,
            progress=progress,
            shrink=shrink,
        )
        tile_px = min(side_px, self._ceiling_px)
        self.last_tile_px = None if tile_px >= max(_padded(canvas.size_hw)) else tile_px
        self._remember(canvas.size_hw, stages, count)
        # For the first of a kind the engine may have converted or compiled the network; some do for every size.
        has_size = self.backend.name in ("compile", "openvino") or (self.backend.name == "onnx" and self.is_local)
        is_prepared = (kind := (stages, canvas.size_hw if has_size else None)) in self._prepared
        self._prepared.add(kind)
        # What a smaller one takes is not in proportion, and says nothing of large ones.
        if computed_px >= _PROBE_PX**2 and is_prepared:
            self._learn(stages[-1], (time.perf_counter() - begun) / computed_px)

    def _forward(self, tile: Tensor, stages: tuple[int, ...]) -> Tensor:
        """Return the pictures of `stages`, `(stages × B, C, h, w)`, float32, where the tile is."""
        # What lies outside, no network has seen in training: a clipped picture comes out much nearer to the truth.
        return torch.cat(self.backend.run(tile.to(torch.float32).clamp(0, 1), stages))

    def _turned(self, tile: Tensor, stages: tuple[int, ...], progress: Callable[[float], None]) -> Tensor:
        """Return the mean over the tile's rotations and those of its mirror image, each turned back."""
        total = torch.zeros(())
        ways = [(turns, flipped) for turns in self._turns for flipped in ([], [3])]
        for done, (turns, flipped) in enumerate(ways):
            if done:
                progress(done / len(ways))
            turned = torch.rot90(tile.flip(flipped), turns, (2, 3))
            back = torch.rot90(self._forward(turned, stages), -turns, (2, 3)).flip(flipped)
            total = total.to(back) + back
        return total / len(ways)

    @property
    def _turns(self) -> tuple[int, ...]:
        """By how many right angles the ensemble turns; a half turn of the mirror image is the other flip."""
        # Sideways ones together, since some engines compile for every shape.
        return (0, 2) if self.upright else (0, 2, 1, 3)

    def _side(self, size_hw: tuple[int, int], stages: tuple[int, ...], count: int) -> int:
        """Choose the tile: as large as the picture where one pass may do it."""
        height, width = _padded(size_hw)
        per_px = self.backend.bytes_per_pixel(stages[-1]) * count
        free = self._free(size_hw, stages)
        whole_px = max(height, width)
        may_fit = height * width <= self.max_whole_px and whole_px <= self._ceiling_px
        if may_fit and fitting(free, height * width * per_px):
            return whole_px
        largest_px = min(self.tile_px or TILE_PX, self._ceiling_px)
        return largest_px if self.tile_px else choose_side(free, per_px, largest_px)

    def _free(self, size_hw: tuple[int, ...], stages: tuple[int, ...]) -> int:
        """Return the memory that pictures of a size may take: what is free, and what the engine holds since the last.

        Networks that are compiled for a size keep their memory, which the next picture of that size takes again.
        """
        return free_bytes(self.backend.device) + self._held.get((tuple(size_hw), stages), 0)

    def _remember(self, size_hw: tuple[int, ...], stages: tuple[int, ...], count: int) -> None:
        """Note what the engine holds after pictures of a size; of the last sizes alone, as it does."""
        before = self._held.pop(kind := (tuple(size_hw), stages), 0)
        if self.backend.name in ("openvino", "onnx") and self.last_tile_px is None:
            height, width = _padded(size_hw)
            self._held[kind] = max(before, self.backend.bytes_per_pixel(stages[-1]) * count * height * width)
        while len(self._held) > MAX_SCALES:
            del self._held[next(iter(self._held))]

    def _computed_px(self, size_hw: tuple[int, int], tile_px: int) -> int:
        """Return how many pixels the network sees of a picture, those that tiles share and turns counted each time."""
        overlap_px = min(self.overlap_px, tile_px // 2 // SIZE_MULTIPLE * SIZE_MULTIPLE)
        sides = [lay_out(length, tile_px, overlap_px, SIZE_MULTIPLE) for length in _padded(size_hw)]
        rows, columns = (len(spans) * len(spans[0].weights) for spans in sides)
        return rows * columns * (2 * len(self._turns) if self.ensemble else 1)

    @torch.inference_mode()
    def _probe(self) -> None:
        """Time the first stage on a small tile, the second time, when the processor has warmed up."""
        tile, first = torch.zeros(1, self.model.config.in_channels, _PROBE_PX, _PROBE_PX), self.model.config.first_stage
        for _ in range(2):
            begun = time.perf_counter()
            self._forward(tile, (first,))  # back on the processor, so it is done
            seconds = time.perf_counter() - begun
        self._learn(first, seconds / _PROBE_PX**2)

    def _learn(self, stage: int, seconds_per_px: float) -> None:
        """Take what a picture took, and half of what was thought before."""
        self._seconds_per_px[stage] = (self._seconds_per_px.get(stage, seconds_per_px) + seconds_per_px) / 2

    @cached_property
    def _costs(self) -> dict[int, int]:
        return {cost.stage: cost.macs for cost in stage_costs(self.model.config)}

    def _check(self, degraded: Tensor) -> None:
        channels = self.model.config.in_channels
        if not isinstance(degraded, Tensor):
            raise ImageError(f"degraded is a {type(degraded).__name__}; expected a torch tensor of floats in [0, 1]")
        if not degraded.is_floating_point():
            raise ImageError(f"degraded is {degraded.dtype}; expected floats in [0, 1]: divide 8-bit values by 255")
        if degraded.dim() not in (3, 4) or degraded.shape[-3] != channels or not degraded.numel():
            raise ImageError(
                f"degraded has shape {tuple(degraded.shape)}; expected ({channels}, H, W) or (B, {channels}, H, W)"
            )
        low, high = (bound.item() for bound in torch.aminmax(degraded.detach()))
        if not math.isfinite(low) or not math.isfinite(high):
            raise ImageError("degraded has values that are not finite (NaN or infinity); expected values in [0, 1]")
        if low < -_FARTHEST or high > 1 + _FARTHEST:
            raise ImageError(
                f"degraded has values from {low:g} to {high:g}; expected [0, 1]: divide 8-bit values by 255"
            )


def several(restorers: Restorer | Sequence[Restorer]) -> list[Restorer]:
    """Return the networks that work one after the other, where one may be given by itself.

    Raises:
        ConfigError: there are none.
    """
    chosen = list(restorers) if isinstance(restorers, Sequence) else [restorers]
    if not chosen:
        raise ConfigError("no restorers are given; expected at least one")
    return chosen


def _has_gpu(notice: Callable[[str], None]) -> bool:
    """Tell whether there is a GPU, and torch has code for it: builds leave out what is older than some years."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.zeros(1, device="cuda").add_(1).item()
    except RuntimeError as error:
        notice(f"the GPU is left alone, since torch cannot use it: {str(error).strip().splitlines()[0]}")
        return False
    return True


def _padded(size_hw: tuple[int, ...]) -> tuple[int, int]:
    height, width = (side + -side % SIZE_MULTIPLE for side in size_hw)
    return height, width


def _is_same(one: Pixels, other: Pixels) -> bool:
    """Tell whether two arrays of one shape and dtype are the same memory, sample for sample."""
    return one.ctypes.data == other.ctypes.data and one.strides == other.strides

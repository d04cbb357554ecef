"""The object people hold: a trained network, ready for pictures of any size."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from mprnet.checkpoints import load_checkpoint
from mprnet.errors import ConfigError, ImageError
from mprnet.imaging import check_target, crop, pad_to_multiple, read_image, write_image
from mprnet.network import SIZE_MULTIPLE, MPRNet, StageOutputs
from mprnet.restoration.tiling import restore_tiled
from mprnet.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Callable

PathLike = str | os.PathLike[str]

TILE_PX = 512
OVERLAP_PX = 64
MAX_WHOLE_PX = 1024 * 1024
"""Up to this size a picture is restored whole: 1280×720 is, a photograph of 2 megapixels is not."""

_FARTHEST = 1.0
"""How far values may lie outside [0, 1]: noise that is not clipped does, pictures in 0…255 do much more."""


class Restorer:
    """Restore pictures with a trained MPRNet, whatever their size.

    A picture is padded to a multiple of 8 and cut back. One of more than `max_whole_px` pixels is restored in
    overlapping tiles, so that memory does not grow with it.

    Args:
        model: the network; it is moved to `device` and set to evaluation as it is, not copied.
        device: where to compute; without one, where the network is.
        tile_px: the largest height and width of a tile, in pixels, a multiple of 8.
        overlap_px: what neighbouring tiles share at least, in pixels, a multiple of 8, at most half a tile.
        max_whole_px: the most pixels (H × W × pictures, H and W padded) that are restored in one pass; 0 for tiles
            always.

    Attributes:
        model: the network, an `MPRNet`; its config says how many channels a picture has.

    Raises:
        ConfigError: the device or a size is impossible.

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
        tile_px: int = TILE_PX,
        overlap_px: int = OVERLAP_PX,
        max_whole_px: int = MAX_WHOLE_PX,
    ) -> None:
        if tile_px < 2 * SIZE_MULTIPLE or tile_px % SIZE_MULTIPLE:
            raise ConfigError(f"tile_px is {tile_px}; expected a multiple of {SIZE_MULTIPLE} from {2 * SIZE_MULTIPLE}")
        if not 0 < overlap_px <= tile_px // 2 or overlap_px % SIZE_MULTIPLE:
            raise ConfigError(
                f"overlap_px is {overlap_px}; expected a multiple of {SIZE_MULTIPLE} from {SIZE_MULTIPLE} to half of "
                f"tile_px = {tile_px}"
            )
        try:
            self.model = model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"device is {device!r}, which this machine or torch does not have: {reason}") from error
        self.tile_px = tile_px
        self.overlap_px = overlap_px
        self.max_whole_px = max_whole_px

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, *, device: str | torch.device | None = None) -> Self:
        """Load shipped weights by the name of their task, or a weights file.

        Args:
            name_or_path: `derain`, `deblur`, `denoise`, or a path.
            device: where to compute; without one, the GPU where there is one.

        Raises:
            CheckpointError: no such weights, or they cannot be read.
            ConfigError: the device does not exist.
        """
        return cls.from_checkpoint(find_weights(name_or_path), device=device)

    @classmethod
    def from_checkpoint(cls, path: PathLike, *, device: str | torch.device | None = None) -> Self:
        """Load a weights file, in our form or the published one.

        Args:
            path: the file.
            device: where to compute; without one, the GPU where there is one.

        Raises:
            CheckpointError: the file cannot be read.
            ConfigError: the device does not exist.
        """
        return cls(load_checkpoint(path), device=device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def __call__(
        self, degraded: Tensor, *, stage: int = 3, progress: Callable[[float], None] = lambda _: None
    ) -> Tensor:
        """Restore a picture, or a batch of them.

        Args:
            degraded: `(C, H, W)` or `(B, C, H, W)`, any float dtype and device, nominally in [0, 1]; unclipped noise
                may leave that range. C is what the network has (3: RGB).
            stage: 1, 2 or 3, whose picture to return; later stages are not computed.
            progress: called now and then with the fraction that is done.

        Returns:
            Tensor: shape, dtype and device of `degraded`, clamped to [0, 1].

        Raises:
            ImageError: another shape or dtype, values that are not finite or far outside [0, 1].
            ConfigError: `stage` is not 1, 2 or 3.
        """
        self._check(degraded, stage)
        return self._restore_all(degraded, (stage,), progress)[0]

    def stages(
        self, degraded: Tensor, *, stage: int = 3, progress: Callable[[float], None] = lambda _: None
    ) -> StageOutputs:
        """Restore as a call does, and return the picture of every stage on the way, at no further cost.

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
        self._check(degraded, stage)
        return StageOutputs(*self._restore_all(degraded, tuple(range(1, stage + 1)), progress))

    def restore_file(
        self,
        source: PathLike,
        target: PathLike,
        *,
        stage: int = 3,
        overwrite: bool = False,
        progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Restore a picture file, RGB of 8 bits, keeping its colour profile and EXIF.

        Args:
            source: a PNG or JPEG.
            target: the file to write, `.png`, `.jpg` or `.jpeg`; its folder is made where it is missing.
            stage: 1, 2 or 3, whose picture to write.
            overwrite: replace `target` where it exists.
            progress: called now and then with the fraction that is done.

        Raises:
            ImageError: as `mprnet.imaging.read_image` and `write_image`; an existing target is found before the
                picture is restored.
            ConfigError: `stage` is not 1, 2 or 3, or the network has other than 3 channels.
        """
        source, target = Path(source), Path(target)
        picture = read_image(source)
        check_target(target, overwrite)
        restored = self(picture.to_tensor(), stage=stage, progress=progress)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{target.parent} cannot be made: {error.strerror or error}") from error
        write_image(restored, target, icc_profile=picture.icc_profile, exif=picture.exif, overwrite=overwrite)

    def _restore_all(
        self, degraded: Tensor, stages: tuple[int, ...], progress: Callable[[float], None]
    ) -> tuple[Tensor, ...]:
        """Return the pictures of `stages`, each shaped as `degraded`."""
        batch = degraded if degraded.dim() == 4 else degraded.unsqueeze(0)
        height, width = (side + -side % SIZE_MULTIPLE for side in batch.shape[-2:])
        per_pass = max(1, self.max_whole_px // (height * width))
        # Made outside of inference mode, so that the caller gets ordinary tensors.
        restored = tuple(torch.empty_like(batch) for _ in stages)
        for start in range(0, len(batch), per_pass):
            part = batch[start : start + per_pass]

            def report(fraction: float, start: int = start, count: int = len(part)) -> None:
                progress((start + count * fraction) / len(batch))

            for whole, picture in zip(restored, self._restore(part, stages, report), strict=True):
                whole[start : start + per_pass] = picture
        return tuple(whole.reshape(degraded.shape) for whole in restored)

    @torch.inference_mode()
    def _restore(self, batch: Tensor, stages: tuple[int, ...], progress: Callable[[float], None]) -> tuple[Tensor, ...]:
        height, width = batch.shape[-2:]
        weight = next(self.model.parameters())
        padded = pad_to_multiple(batch.to(weight.dtype), SIZE_MULTIPLE)

        def forward(picture: Tensor) -> Tensor:
            # Convolutions are a fifth faster with the channels of a pixel side by side.
            moved = picture.to(weight.device, memory_format=torch.channels_last)
            computed = self.model(moved, stages=stages[-1]).computed
            return torch.cat([computed[stage - 1] for stage in stages]).to(picture.device)

        if padded.shape[-2] * padded.shape[-1] <= self.max_whole_px:
            restored = forward(padded)
            progress(1)
        else:
            # Tiles keep the shape of what they are cut from: the batch stands there once a stage.
            restored = restore_tiled(
                lambda repeated: forward(repeated[: len(batch)]),
                padded.repeat(len(stages), 1, 1, 1),
                tile_px=self.tile_px,
                overlap_px=self.overlap_px,
                multiple=SIZE_MULTIPLE,
                progress=progress,
            )
        return crop(restored, (height, width)).clamp_(0, 1).chunk(len(stages))

    def _check(self, degraded: Tensor, stage: int) -> None:
        channels = self.model.config.in_channels
        if stage not in (1, 2, 3):
            raise ConfigError(f"stage is {stage!r}; expected 1, 2 or 3")
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

"""What is restored and where the result goes, rows at a time: tensors, or the pixels of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from mprnet.errors import ImageError
from mprnet.imaging.pixels import to_pixels, to_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mprnet.imaging.pixels import Pixels


class Canvas(Protocol):
    """A picture that is read in tiles and written in strips, top to bottom.

    Attributes:
        size_hw: height and width in pixels.
    """

    size_hw: tuple[int, int]

    def read(self, rows: slice, columns: slice) -> Tensor:
        """Return a part of what is restored, `(B, C, h, w)`, float; less where the slices reach over the picture."""

    def write(self, top: int, strip: Tensor) -> None:
        """Take the result for the rows from `top` on, `(N, C, h, w)`, float; what reaches over the picture is cut.

        Rows that are written are not read any more.
        """


class TensorCanvas:
    """A batch of pictures, and a tensor for the result of each stage that is asked for.

    Args:
        degraded: `(B, C, H, W)`, float.
        restored: tensors of the same shape, one a stage; strips have the batch once for each.
        strength: 0 to 1, how much of the result to blend with the input.
    """

    def __init__(self, degraded: Tensor, restored: Sequence[Tensor], strength: float) -> None:
        self.size_hw = (degraded.shape[2], degraded.shape[3])
        self._degraded = degraded
        self._restored = restored
        self._strength = strength

    def read(self, rows: slice, columns: slice) -> Tensor:
        return self._degraded[..., rows, columns]

    def write(self, top: int, strip: Tensor) -> None:
        rows, columns = _covered(self.size_hw, top, strip)
        degraded = self.read(rows, columns)
        pictures = strip[..., : degraded.shape[2], : degraded.shape[3]].clamp_(0, 1).chunk(len(self._restored))
        for whole, picture in zip(self._restored, pictures, strict=True):
            _check_numbers(picture)
            whole[..., rows, columns] = _blend(degraded, picture, self._strength)


class PixelCanvas:
    """The pixels of a picture, of which no more than a strip is ever held as floats.

    Args:
        pixels: `(H, W, 3)`, or `(H, W, 1)` grey, uint8 or uint16.
        restored: of the same shape and dtype, or `pixels` itself.
        channels: what the network takes; grey is repeated to as many, and becomes the mean of the result.
        strength: 0 to 1, how much of the result to blend with the input.
    """

    def __init__(self, pixels: Pixels, restored: Pixels, channels: int, strength: float) -> None:
        self.size_hw = (pixels.shape[0], pixels.shape[1])
        self._pixels = pixels
        self._restored = restored
        self._channels = channels
        self._strength = strength

    def read(self, rows: slice, columns: slice) -> Tensor:
        return to_tensor(self._pixels[rows, columns]).unsqueeze(0).expand(-1, self._channels, -1, -1)

    def write(self, top: int, strip: Tensor) -> None:
        rows, columns = _covered(self.size_hw, top, strip)
        stored = to_tensor(self._pixels[rows, columns])
        picture = strip[0, :, : stored.shape[1], : stored.shape[2]].clamp_(0, 1)
        if len(stored) < len(picture):
            picture = picture.mean(dim=0, keepdim=True)
        _check_numbers(picture)
        picture = _blend(stored, picture, self._strength)
        self._restored[rows, columns] = to_pixels(picture, depth=8 if self._restored.itemsize == 1 else 16)


def _covered(size_hw: tuple[int, int], top: int, strip: Tensor) -> tuple[slice, slice]:
    height, width = size_hw
    return slice(top, min(height, top + strip.shape[2])), slice(0, min(width, strip.shape[3]))


def _check_numbers(picture: Tensor) -> None:
    if bool(picture.isnan().any()):
        raise ImageError(
            "the network gives values that are not numbers (NaN); its weights are damaged, or their dtype is too "
            "narrow for it"
        )


def _blend(degraded: Tensor, restored: Tensor, strength: float) -> Tensor:
    return restored if strength == 1 else torch.lerp(degraded.to(restored), restored, strength)

"""Distances that agree with the eye rather than with arithmetic: LPIPS and DISTS, through TorchMetrics.

They compare features of networks trained on ImageNet, whose weights torchvision fetches on first use. Lower is better.
Needs the extra `perceptual`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprnet.errors import ImageError, MissingExtraError

Picture = NDArray[Any]


def lpips(restored: Picture, target: Picture, *, data_range: float) -> float:
    """Return the learned perceptual image patch similarity on AlexNet's features, as papers report it.

    Args:
        restored: `(H, W, 3)`, RGB; at least 64×64, which the network's poolings need.
        target: the same size and range.
        data_range: 255 for 8-bit pictures, 65535 for 16-bit, 1 for floats.

    Returns:
        float: 0 for equal pictures.

    Raises:
        ImageError: the shapes differ or do not fit, or a value lies outside [0, `data_range`].
        MissingExtraError: TorchMetrics or torchvision is not installed.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018.
    """
    return _distance(_lpips_network, restored, target, data_range)


def dists(restored: Picture, target: Picture, *, data_range: float) -> float:
    """Return the deep image structure and texture similarity, on VGG-16's features.

    Args:
        restored: `(H, W, 3)`, RGB; at least 64×64, which the network's poolings need.
        target: the same size and range.
        data_range: 255 for 8-bit pictures, 65535 for 16-bit, 1 for floats.

    Returns:
        float: 0 for equal pictures.

    Raises:
        ImageError: the shapes differ or do not fit, or a value lies outside [0, `data_range`].
        MissingExtraError: TorchMetrics or torchvision is not installed.

    Source: Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", 2020.
    """
    return _distance(_dists_network, restored, target, data_range)


def _distance(
    network: Callable[[], Callable[[Tensor, Tensor], Tensor]], restored: Picture, target: Picture, data_range: float
) -> float:
    pictures = []
    for name, picture in (("restored", restored), ("target", target)):
        if picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape[:2]) < 64:
            raise ImageError(f"expected RGB (H, W, 3) of at least 64×64: `{name}` has the shape {picture.shape}")
        if not (picture.min() >= 0 and picture.max() <= data_range):
            raise ImageError(f"expected values in [0, {data_range:g}]: `{name}` has others")
        scaled = torch.from_numpy(picture.astype(np.float32) / np.float32(data_range))
        pictures.append(scaled.permute(2, 0, 1).unsqueeze(0))  # (1, 3, H, W) in [0, 1]
    if restored.shape != target.shape:
        raise ImageError(f"the sizes differ: restored {restored.shape}, target {target.shape}")
    with torch.inference_mode():
        return float(network()(*pictures))


@functools.cache
def _lpips_network() -> Callable[[Tensor, Tensor], Tensor]:
    _need_torchvision()
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    # `normalize`: pictures come in [0, 1], the network wants [-1, 1].
    return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).eval()


@functools.cache
def _dists_network() -> Callable[[Tensor, Tensor], Tensor]:
    _need_torchvision()
    from torchmetrics.image.dists import DeepImageStructureAndTextureSimilarity

    return DeepImageStructureAndTextureSimilarity().eval()


def _need_torchvision() -> None:
    for package in ("torchmetrics", "torchvision"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise MissingExtraError(
                f'LPIPS and DISTS need {package}; install it with: pip install "mprnet[perceptual]"'
            ) from None

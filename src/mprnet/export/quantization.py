"""Eight bits instead of 32: the ranges of all features, found with pictures like those to come.

Source: post-training quantization as NNCF does it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mprnet.backends.openvino import core
from mprnet.datasets.batches import CropBatches, PictureSource
from mprnet.datasets.folders import list_pictures
from mprnet.degradation import make_degradation
from mprnet.errors import ConfigError
from mprnet.network import SIZE_MULTIPLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

CROPS = 128
"""How many crops a network is calibrated with."""

CROP_PX = 128
"""Side of the crops in pixels."""


def calibration_crops(
    folder: str | os.PathLike[str], task: str, *, count: int = CROPS, crop_px: int = CROP_PX, seed: int = 0
) -> Iterator[Tensor]:
    """Draw crops of clean pictures and degrade them, by the defaults of the task's degradation.

    Args:
        folder: of clean pictures, smaller ones mirrored at their border; its subfolders are left alone.
        task: `derain`, `deblur` or `denoise`, whose degradation is drawn.
        count: how many crops.
        crop_px: their side in pixels, a multiple of 8.
        seed: of everything drawn.

    Returns:
        Iterator[Tensor]: `(1, 3, crop_px, crop_px)` each, float32 in [0, 1], made when asked for.

    Raises:
        ConfigError: there is no such task, or `count` or `crop_px` cannot be.
        DataError: the folder holds no pictures; or, later, one cannot be read.
    """
    if count < 1:
        raise ConfigError(f"count is {count}; expected at least 1")
    if crop_px < SIZE_MULTIPLE or crop_px % SIZE_MULTIPLE:
        raise ConfigError(f"crop_px is {crop_px}; expected a multiple of {SIZE_MULTIPLE} above 0")
    source = PictureSource(list_pictures(Path(folder)), [(make_degradation(task, {}), 1.0)])
    batches = CropBatches([source], batch=1, crop_px=crop_px, seed=seed)
    return (batches.make(number)[0] for number in range(count))


def quantized(network: Any, crops: Iterable[Tensor]) -> Any:
    """Quantize the convolutions of an OpenVINO network, but for those that read or give a picture.

    What is added up along the network, and the gates of channel attention, stay in floating point: with those in eight
    bits too, a network for noise lost 0.1 to 0.4 dB, and took as long. Ranges are the widest that were seen: with the
    mean over the crops, NNCF's default, large values are clipped and another 0.7 dB are lost.

    Args:
        network: an `openvino.Model` in float32.
        crops: degraded pictures `(B, C, H, W)`, float32 in [0, 1], like those to come.

    Returns:
        openvino.Model: the quantized one. OpenVINO is to be given the size of a picture (`reshape`) before it compiles
            it: with sizes left open, it computes such mixed networks wrongly (seen with 2026.4).
    """
    os.environ.setdefault("NNCF_CI", "1")  # or it tells its makers over the network that it is used
    import nncf  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from nncf.quantization.advanced_parameters import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        AdvancedQuantizationParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        RangeEstimatorParametersSet,
    )

    core()  # before those that NNCF makes and drops
    samples = [crop.numpy() for crop in crops]
    if not samples:
        raise ConfigError("there are no pictures to calibrate with; expected some")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            network,
            nncf.Dataset(samples),
            subset_size=len(samples),
            preset=nncf.QuantizationPreset.MIXED,  # features lie above zero and below it, though not as far
            ignored_scope=nncf.IgnoredScope(
                names=_at_pictures(network),
                types=["Add", "Multiply", "ReduceMean", "Sigmoid", "Interpolate", "AvgPool", "MaxPool"],
                validate=False,  # a network has either kind of pooling
            ),
            advanced_parameters=AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                overflow_fix=OverflowFix.ENABLE,  # without VNNI, sums of two products have 16 bits
            ),
        )


def _at_pictures(network: Any) -> list[str]:
    """Return the names of the convolutions that read a picture or give one."""
    weights = {
        node.get_friendly_name(): tuple(node.get_input_shape(1))
        for node in network.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    }
    channels = list(weights.values())[-1][0]  # the last one gives a picture; the input's own may be a symbol
    return [name for name, (outputs, inputs, *_) in weights.items() if channels in (outputs, inputs)]

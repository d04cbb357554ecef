"""Methods that need no training, so that a table shows what a network buys.

Where each comes from, its settings and its licence: docs/baselines.md.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mprnet.errors import ConfigError, ImageError
from mprnet.evaluation.baselines import classical
from mprnet.evaluation.baselines.dct import multi_scale_dct
from mprnet.evaluation.baselines.noise_level import estimate_sigma

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["BASELINES", "Baseline", "estimate_sigma"]


@dataclass(frozen=True)
class Baseline:
    """A method that needs no training: a row of `BASELINES`, called with a picture.

    Attributes:
        name: as `--method` takes it.
        description: what it does, in a few words, for a table.
        needs: "sigma" if it is told the strength of the noise, or "nothing".
        method: the function itself, with its settings: see `multi_scale_dct` and `classical`.
    """

    name: str
    description: str
    needs: Literal["nothing", "sigma"]
    method: Callable[..., NDArray[np.float32]]

    def __call__(
        self, degraded: NDArray[np.float32], *, sigma: float | None = None, **settings: Any
    ) -> NDArray[np.float32]:
        """Restore a picture.

        Args:
            degraded: `(H, W, 3)`, float32 in [0, 1], RGB, at least one pixel.
            sigma: standard deviation of its white noise, of white = 255; `None` estimates it from the picture with
                `estimate_sigma`. Not used by a method that needs nothing.
            settings: of this method, where its defaults are not wanted, such as `kernel=` of `wiener`.

        Returns:
            `(H, W, 3)` float32 in [0, 1]; the picture itself is left as it was.

        Raises:
            ImageError: the picture is of another shape, dtype or range.
            ConfigError: sigma is negative or not a number, or a setting is wrong.
            MissingExtraError: scikit-image or PyWavelets is needed and missing.

        Example:
            >>> grey = np.full((8, 8, 3), 0.5, dtype=np.float32)
            >>> BASELINES["dct"](grey, sigma=25).round(3).max()
            np.float32(0.5)
        """
        _check(degraded)
        if self.needs == "sigma":
            if sigma is None:
                sigma = estimate_sigma(degraded)
            elif not (math.isfinite(sigma) and sigma >= 0):
                raise ConfigError(
                    f"sigma is {sigma}: expected the noise's standard deviation, of white = 255, 0 or more"
                )
            settings["sigma"] = sigma
        known = list(inspect.signature(self.method).parameters)[1:]
        for name in settings:
            if name not in known:
                raise ConfigError(f"{self.name} has no setting {name}; expected {', '.join(known)}")
        restored: NDArray[np.float32] = np.clip(self.method(degraded, **settings), 0, 1)
        return restored


BASELINES = {
    row.name: row
    for row in (
        Baseline("dct", "multi-scale DCT denoising", "sigma", multi_scale_dct),
        Baseline("nlm", "non-local means", "sigma", classical.nlm),
        Baseline("wavelet", "wavelet shrinkage (BayesShrink)", "sigma", classical.wavelet),
        Baseline("tv", "total variation (Chambolle)", "sigma", classical.tv),
        Baseline("unsharp", "unsharp masking", "nothing", classical.unsharp),
        Baseline("wiener", "Wiener–Hunt deconvolution, generic kernel", "nothing", classical.wiener),
        Baseline(
            "richardson-lucy",
            "Richardson–Lucy deconvolution, generic kernel",
            "nothing",
            classical.richardson_lucy,
        ),
        Baseline("median", "median of 5×5 pixels", "nothing", classical.median),
        Baseline("guided", "guided filter", "nothing", classical.guided),
    )
}


def _check(degraded: NDArray[np.float32]) -> None:
    if degraded.dtype != np.float32 or degraded.ndim != 3 or degraded.shape[2] != 3 or not degraded.size:
        raise ImageError(
            f"picture is {degraded.dtype} of shape {degraded.shape}; expected float32 of shape (H, W, 3) in [0, 1]"
        )
    if not (degraded.min() >= 0 and degraded.max() <= 1):  # written so that NaN fails too
        raise ImageError(
            f"values from {degraded.min():g} to {degraded.max():g}: expected [0, 1]; clamp or divide first"
        )

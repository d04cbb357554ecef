"""What every degradation is, and which one each task undoes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mprnet.degradation.blur import MotionBlur
from mprnet.degradation.noise import Noise
from mprnet.degradation.rain import Rain
from mprnet.errors import ConfigError
from mprnet.settings import build

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class Degradation(Protocol):
    """What every degradation of this package is.

    `margin_px` is how far beyond a pixel it looks: crop that much larger, and cut it off both pictures afterwards.
    """

    @property
    def margin_px(self) -> int: ...

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Degrade `clean` `(B, C, H, W)`, sRGB in [0, 1]; the result has its shape, dtype, device and range."""
        ...


DEGRADATIONS: dict[str, type[Rain] | type[MotionBlur] | type[Noise]] = {
    "derain": Rain,
    "deblur": MotionBlur,
    "denoise": Noise,
}
"""What each task undoes."""


def make_degradation(task: str, settings: Mapping[str, Any]) -> Degradation:
    """Build a task's degradation with some of its settings changed.

    Args:
        task: `derain`, `deblur` or `denoise`.
        settings: value by field of the task's dataclass in `DEGRADATIONS`, ranges as lists.

    Raises:
        ConfigError: there is no such task, or a setting does not exist, is of the wrong type or out of range.

    Example:
        >>> make_degradation("deblur", {"extent_px": [4, 8]}).margin_px
        6
    """
    if task not in DEGRADATIONS:
        raise ConfigError(f"task is {task!r}; expected one of {', '.join(DEGRADATIONS)}")
    degradation: Degradation = build(DEGRADATIONS[task], settings, f"degradation ({task})")
    return degradation

"""The named networks: a task is a row of numbers, never a folder."""

from __future__ import annotations

from mprnet.errors import ConfigError
from mprnet.network.mprnet import MPRNetConfig

PRESETS: dict[str, MPRNetConfig] = {
    # The widths of the published checkpoints (the paper's Section 4.2 gives `n_feat` alone).
    "derain": MPRNetConfig(n_feat=40, scale_unetfeats=20, scale_orsnetfeats=16, num_cab=8),
    "denoise": MPRNetConfig(n_feat=80, scale_unetfeats=48, scale_orsnetfeats=32, num_cab=8),
    "deblur": MPRNetConfig(n_feat=96, scale_unetfeats=48, scale_orsnetfeats=32, num_cab=8),
    # Ours: a network for laptops, which the shipped weights use.
    "lite": MPRNetConfig(n_feat=24, scale_unetfeats=12, scale_orsnetfeats=8, num_cab=4),
}

TASKS: tuple[str, ...] = ("derain", "deblur", "denoise")
"""What can be restored; each has shipped weights of its name."""


def preset(name: str) -> MPRNetConfig:
    """Return the hyper-parameters of a named network.

    Raises:
        ConfigError: no such preset.

    Example:
        >>> preset("lite").n_feat
        24
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(f"preset is {name!r}; expected one of {', '.join(PRESETS)}") from None

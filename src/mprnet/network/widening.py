"""A wider and deeper network that begins with what a narrower one has learned."""

from __future__ import annotations

import torch
from torch import Tensor

from mprnet.errors import ConfigError
from mprnet.network.mprnet import MPRNet, MPRNetConfig


def widen(model: MPRNet, config: MPRNetConfig) -> MPRNet:
    """Return a wider network that computes the same pictures.

    The features that it had come first and see nothing of the new ones: those weights begin at zero. The new features
    begin at random and see all; CABs that an ORB had not add nothing until their second convolution has learned. So
    training begins where that of `model` ended, with room for more.

    Args:
        model: the network; it is left as it is.
        config: its hyper-parameters but for `n_feat`, `scale_unetfeats`, `scale_orsnetfeats`, `num_cab` and
            `reduction`, with which no width, no squeezed width of a channel attention and no number of CABs gets
            smaller.

    Returns:
        MPRNet: in the dtype and on the device of `model`; new weights are drawn from torch's generator of the CPU.

    Raises:
        ConfigError: `config` differs elsewhere, or something gets smaller; the message names it. Or the network is one
            of Table 6.

    Example:
        >>> narrow, picture = MPRNet(MPRNetConfig(n_feat=8, num_cab=1)), torch.rand(1, 3, 16, 16)
        >>> wide = widen(narrow, MPRNetConfig(n_feat=16, num_cab=2))
        >>> torch.allclose(wide(picture).stage3, narrow(picture).stage3, atol=1e-5)
        True

    Source: Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", 2016, which copies
    features where this draws new ones.
    """
    _check(model.config, config)
    wider = MPRNet(config)
    learned = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in wider.named_parameters():
            if name in learned:
                # Only where CSFF and SAM meet does a convolution see two sets of features, one behind the other.
                _embed(learned[name].cpu(), parameter, 2 if name.startswith("merge") else 1)
            elif ".conv2." in name:
                parameter.zero_()
    return wider.to(next(model.parameters()))


def _embed(learned: Tensor, parameter: Tensor, sets: int) -> None:
    """Write what was learned into the first channels, and zero where they would see a new one."""
    rows = parameter[: len(learned)]
    if learned.dim() == 1:  # biases, and the slope of the PReLU
        rows.copy_(learned)
        return
    rows.zero_()
    for theirs, ours in zip(learned.chunk(sets, dim=1), rows.chunk(sets, dim=1), strict=True):
        ours[:, : theirs.shape[1]].copy_(theirs)


def _check(narrow: MPRNetConfig, wide: MPRNetConfig) -> None:
    if narrow.is_ablated:
        raise ConfigError(f"the network ({narrow.combination}) is one of Table 6; expected that of the paper to widen")
    for name in ("in_channels", "kernel_size", "bias", "downsampling", "combination", "sam", "csff"):
        before, after = getattr(narrow, name), getattr(wide, name)
        if before != after:
            raise ConfigError(f"{name} would change from {before!r} to {after!r}; expected the same in both networks")
    after_by_name = _sizes(wide)
    for name, before in _sizes(narrow).items():
        if after_by_name[name] < before:
            raise ConfigError(f"{name} would shrink from {before} to {after_by_name[name]}; expected at least {before}")


def _sizes(config: MPRNetConfig) -> dict[str, int]:
    """Name each width that a weight of the network can have, and its depth."""
    places = ("at full resolution", "at half resolution", "at quarter resolution", "of ORSNet")
    widths = dict(zip(places, (*config.unet_widths, config.orsnet_width), strict=True))
    sizes = {f"the width {place}": width for place, width in widths.items()}
    sizes |= {f"the squeezed width {place}": width // config.reduction for place, width in widths.items()}
    return sizes | {"num_cab": config.num_cab}

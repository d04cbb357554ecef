"""Colour profiles where a format has no place for them: the pixels become sRGB, which is meant where there is none."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

from mprnet.imaging.formats import HOLD_PROFILE, holds_grey
from mprnet.imaging.pixels import to_8_bits

if TYPE_CHECKING:
    from mprnet.imaging.picture import Picture

_GREY, _COLOUR = b"GRAY", b"RGB "


def fit_profile(picture: Picture, format_: str) -> Picture:
    """Turn a picture into sRGB, 8 bits, without a profile, where a format holds none, or none for this picture.

    Colours outside sRGB are cut to it: there is no other way to say them in such a file. A damaged profile is left
    out. Where a format stores grey as RGB, a profile of grey does not describe it any more.

    Source:
        ICC.1:2022, 7.2.6 (the colour space of a profile's data).
    """
    profile = picture.icc_profile
    if profile is None:
        return picture
    space = profile[16:20]
    becomes_colour = picture.is_grey and not holds_grey(
        format_, has_alpha=picture.alpha is not None, depth=picture.depth
    )
    if format_ in HOLD_PROFILE and not (space == _GREY and becomes_colour):
        return picture
    if space != _COLOUR and not (picture.is_grey and space == _GREY):
        return replace(picture, icc_profile=None)
    # A profile of colours describes grey, too: as the colour of three equal channels.
    image = Image.fromarray(to_8_bits(picture.pixels)[..., 0] if space == _GREY else to_8_bits(picture.rgb()))
    try:
        converted = ImageCms.profileToProfile(
            image,
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        converted = None
    if converted is None:
        return replace(picture, icc_profile=None)
    pixels = np.asarray(converted)[..., 1:2] if picture.is_grey else np.asarray(converted)
    alpha = None if picture.alpha is None else to_8_bits(picture.alpha)
    return replace(picture, pixels=pixels, alpha=alpha, icc_profile=None)

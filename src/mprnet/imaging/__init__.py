"""Pictures: files to arrays to tensors and back, and the sizes that the network takes."""

from mprnet.imaging.files import FORMATS, MAX_PIXELS, Picture, check_target, read_image, write_image
from mprnet.imaging.padding import crop, pad_to_multiple
from mprnet.imaging.pixels import to_pixels, to_tensor
from mprnet.imaging.sheet import compare, contact_sheet

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Picture",
    "check_target",
    "compare",
    "contact_sheet",
    "crop",
    "pad_to_multiple",
    "read_image",
    "to_pixels",
    "to_tensor",
    "write_image",
]

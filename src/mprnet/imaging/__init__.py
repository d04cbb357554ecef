"""Pictures: files to arrays to tensors and back, and the sizes that the network takes."""

from mprnet.imaging.animation import Animation, Frame, read_frames, write_frames
from mprnet.imaging.decoding import MAX_PIXELS
from mprnet.imaging.files import Subsampling, check_quality, check_target, read_image, target_format, write_image
from mprnet.imaging.formats import FORMATS, HOLD_FRAMES
from mprnet.imaging.padding import crop, pad_to_multiple
from mprnet.imaging.picture import Picture
from mprnet.imaging.pixels import Pixels, to_pixels, to_tensor
from mprnet.imaging.sheet import compare, contact_sheet
from mprnet.imaging.thumbnails import first_frame, thumbnail

__all__ = [
    "FORMATS",
    "HOLD_FRAMES",
    "MAX_PIXELS",
    "Animation",
    "Frame",
    "Picture",
    "Pixels",
    "Subsampling",
    "check_quality",
    "check_target",
    "compare",
    "contact_sheet",
    "crop",
    "first_frame",
    "pad_to_multiple",
    "read_frames",
    "read_image",
    "target_format",
    "thumbnail",
    "to_pixels",
    "to_tensor",
    "write_frames",
    "write_image",
]

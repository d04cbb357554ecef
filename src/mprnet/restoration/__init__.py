"""Restoring pictures: tensors, files, and folders of them."""

from mprnet.restoration.jobs import Progress, Report, Skipped, restore_files
from mprnet.restoration.pictures import PictureOptions, restore_picture
from mprnet.restoration.plan import Failure, Job, LeftOut
from mprnet.restoration.restorer import Restorer
from mprnet.restoration.videos import restore_video

__all__ = [
    "Failure",
    "Job",
    "LeftOut",
    "PictureOptions",
    "Progress",
    "Report",
    "Restorer",
    "Skipped",
    "restore_files",
    "restore_picture",
    "restore_video",
]

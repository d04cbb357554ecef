"""Restoring pictures: tensors, files, and folders of them."""

from mprnet.restoration.jobs import Failure, Job, Progress, Report, restore_files
from mprnet.restoration.restorer import Restorer

__all__ = ["Failure", "Job", "Progress", "Report", "Restorer", "restore_files"]

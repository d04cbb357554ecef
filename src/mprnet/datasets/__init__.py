"""Pictures to train and to validate on: paired folders, and clean pictures to degrade on the fly."""

from mprnet.datasets.batches import CropBatches, PictureSource
from mprnet.datasets.folders import FolderPair, list_pictures, pair_folders, read_rgb

__all__ = ["CropBatches", "FolderPair", "PictureSource", "list_pictures", "pair_folders", "read_rgb"]

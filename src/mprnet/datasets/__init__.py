"""Pictures to train and to measure on: published sets, paired folders, clean pictures, and pairs made of them."""

from mprnet.datasets.batches import CropBatches, Growth, PairSource, PictureSource
from mprnet.datasets.benchmarks import BENCHMARKS, Benchmark, open_benchmark
from mprnet.datasets.degrade import DegradeReport, degrade_folder
from mprnet.datasets.folders import FolderPair, list_pictures, pair_folders, read_rgb
from mprnet.datasets.layouts import Item, ItemPictures, PictureSet
from mprnet.datasets.preparation import PrepareReport, prepare
from mprnet.datasets.real_noise import write_dnd_submission
from mprnet.datasets.training_sets import TRAINING_SETS, open_training_set

__all__ = [
    "BENCHMARKS",
    "TRAINING_SETS",
    "Benchmark",
    "CropBatches",
    "DegradeReport",
    "FolderPair",
    "Growth",
    "Item",
    "ItemPictures",
    "PairSource",
    "PictureSet",
    "PictureSource",
    "PrepareReport",
    "degrade_folder",
    "list_pictures",
    "open_benchmark",
    "open_training_set",
    "pair_folders",
    "prepare",
    "read_rgb",
    "write_dnd_submission",
]

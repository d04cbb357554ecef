"""Restored pictures measured as the papers measured theirs."""

from mprnet.evaluation.folders import FolderScores, score_folders
from mprnet.evaluation.protocols import PROTOCOLS, Protocol, Score, score

__all__ = ["PROTOCOLS", "FolderScores", "Protocol", "Score", "score", "score_folders"]

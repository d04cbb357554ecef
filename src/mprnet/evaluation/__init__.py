"""Restored pictures measured as the papers measured theirs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mprnet.evaluation.folders import FolderScores, score_folders
from mprnet.evaluation.protocols import PROTOCOLS, Protocol, Score, score

if TYPE_CHECKING:
    from mprnet.evaluation.benchmark import Method, Run, baseline_method, evaluate, evaluate_all, network_method
    from mprnet.evaluation.journal import read_results
    from mprnet.evaluation.markup import to_latex, to_markdown
    from mprnet.evaluation.own_sets import noisy_set, paired_set
    from mprnet.evaluation.report import examples_of, write_report
    from mprnet.evaluation.restored import restored_method
    from mprnet.evaluation.results import Results
    from mprnet.evaluation.standing import AblationStanding, Standing, ablations, standings

__all__ = [
    "PROTOCOLS",
    "AblationStanding",
    "FolderScores",
    "Method",
    "Protocol",
    "Results",
    "Run",
    "Score",
    "Standing",
    "ablations",
    "baseline_method",
    "evaluate",
    "evaluate_all",
    "examples_of",
    "network_method",
    "noisy_set",
    "paired_set",
    "read_results",
    "restored_method",
    "score",
    "score_folders",
    "standings",
    "to_latex",
    "to_markdown",
    "write_report",
]

_HOMES = {
    **dict.fromkeys(("Method", "Run", "baseline_method", "evaluate", "evaluate_all", "network_method"), "benchmark"),
    **dict.fromkeys(("noisy_set", "paired_set"), "own_sets"),
    **dict.fromkeys(("examples_of", "write_report"), "report"),
    **dict.fromkeys(("AblationStanding", "Standing", "ablations", "standings"), "standing"),
    **dict.fromkeys(("to_latex", "to_markdown"), "markup"),
    "Results": "results",
    "read_results": "journal",
    "restored_method": "restored",
}


def __getattr__(name: str) -> Any:
    """Import what restores pictures when it is first asked for, so that measuring them stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mprnet.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mprnet.evaluation.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

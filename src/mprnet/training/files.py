"""The files of a run, written whole or not at all, so that a run that is killed can be resumed."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from mprnet.checkpoints import require_no_buffers, save_checkpoint
from mprnet.errors import CheckpointError
from mprnet.files import written_whole
from mprnet.network import MPRNet

LAST, BEST = "last", "best"
"""The two states of a run that are kept."""


class Past(NamedTuple):
    """What weights have been through.

    Attributes:
        steps: of the same task, before the run.
        stages: how many were ever trained.
        trained_on: names of all the folders they ever learned from; `unknown` is what weights to begin with do not say.
    """

    steps: int
    stages: int
    trained_on: str = ""


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write what `torch.load` reads, whole or not at all.

    Raises:
        CheckpointError: it cannot be written, as to a full disk, which torch calls a RuntimeError.
    """
    try:
        with written_whole(path) as unfinished:
            torch.save(dict(state), unfinished)
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise CheckpointError(f"{path} cannot be written: {why}") from error


class RunFiles(TorchCheckpointIO):
    """Writes each checkpoint, and beside it its averaged weights as a `.safetensors` in half precision.

    Lightning's own writer puts the unfinished file into the system's temporary folder, from where it is copied, not
    renamed, if that is another disk.

    Args:
        model: a network of the run's shape; it is copied.
        metadata: what to write beside the weights, by the steps that the run has made.
        past: what the weights had been through before the run.

    Raises:
        CheckpointError: the network has buffers, which weights files do not hold; said before the run, not after hours.
    """

    def __init__(self, model: MPRNet, metadata: Callable[[int], Mapping[str, str]], past: Past) -> None:
        require_no_buffers(model)
        self._model = copy.deepcopy(model).cpu()
        self._metadata = metadata
        self._past = past

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        checkpoint |= {"past": self._past._asdict()}
        # The weights first: the checkpoint is what says that a step is done.
        self.export(checkpoint, Path(path).with_suffix(".safetensors"))
        save_state(checkpoint, Path(path))

    def export(self, checkpoint: Mapping[str, Any], target: Path) -> None:
        """Write the averaged weights of a checkpoint as a weights file.

        Args:
            checkpoint: its content.
            target: the `.safetensors` to write; an older one is replaced.
        """
        prefix = "model."
        weights = {name.removeprefix(prefix): value for name, value in checkpoint["state_dict"].items()}
        self._model.load_state_dict(weights)
        metadata = {
            **self._metadata(checkpoint["global_step"]),
            "training_steps": str(self._past.steps + checkpoint["global_step"]),
            "trained_stages": str(self._past.stages),
            "trained_on": self._past.trained_on,
        }
        save_checkpoint(self._model, target, metadata=metadata, dtype=torch.float16, overwrite=True)

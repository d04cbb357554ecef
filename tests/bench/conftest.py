from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from mprnet.bench import measurement
from mprnet.checkpoints import save_checkpoint
from mprnet.network import MPRNet, MPRNetConfig

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Weights of a network so small that it takes no time, with pictures that differ from what goes in."""
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(MPRNet(MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1)), path)
    return path


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up peak, since a measured one takes seconds."""
    monkeypatch.setattr(measurement, "peak_operations", lambda precision, device: 1e11)

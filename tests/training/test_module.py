from __future__ import annotations

import pytest
import torch

from mprnet.network import MPRNet, MPRNetConfig
from mprnet.training.loss import restoration_loss
from mprnet.training.module import RestorationModule
from mprnet.training.recipe import Optimization


@pytest.mark.parametrize("edge_weight", [0, 0.05])
@pytest.mark.parametrize("root_over", ["numbers", "pictures"])
@pytest.mark.parametrize("stages", [1, 3])
def test_a_step_has_the_loss_that_is_asked_for(tmp_path, edge_weight, root_over, stages):
    torch.manual_seed(1)
    network = MPRNet(MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1))
    degraded, target = torch.rand(2, 2, 3, 16, 16)
    chosen = Optimization(edge_weight=edge_weight, root_over=root_over, stages=stages)
    loss = RestorationModule(network, chosen, tmp_path).training_step((degraded, target), 0)
    pictures = network(degraded, stages).computed
    assert len(pictures) == stages
    torch.testing.assert_close(loss, restoration_loss(pictures, target, edge_weight, root_over))

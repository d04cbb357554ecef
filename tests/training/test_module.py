from __future__ import annotations

import pytest
import torch

from mprnet.errors import TrainingError
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


@pytest.mark.parametrize(("jump", "stops"), [(25, True), (8, False)])
def test_a_loss_far_above_what_it_was_stops_the_run(tmp_path, monkeypatch, jump, stops):
    network = MPRNet(MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1))
    training = RestorationModule(network, Optimization(), tmp_path)
    losses = [*(0.1 * (1 + number % 3) for number in range(60)), 0.2 * jump]  # 0.2 on average
    monkeypatch.setattr("mprnet.training.module.restoration_loss", lambda *_: torch.tensor(losses.pop(0)))
    monkeypatch.setattr(RestorationModule, "global_step", 60)
    batch = tuple(torch.rand(2, 1, 3, 16, 16))
    for _ in range(60):
        training.training_step(batch, 0)
    if not stops:
        training.training_step(batch, 0)
        return
    with pytest.raises(TrainingError, match=r"^the loss is 5, 2\d times what it was, at step 60 with learning rate"):
        training.training_step(batch, 0)
    assert (tmp_path / "batch-of-step-60.pt").exists()


def test_the_first_losses_may_differ_much(tmp_path, monkeypatch):
    network = MPRNet(MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1))
    training = RestorationModule(network, Optimization(), tmp_path)
    losses = [0.001, *[0.01] * 38, 0.5, 0.1]
    monkeypatch.setattr("mprnet.training.module.restoration_loss", lambda *_: torch.tensor(losses.pop(0)))
    for _ in range(41):
        training.training_step(tuple(torch.rand(2, 1, 3, 16, 16)), 0)


SECOND = ("shallow2", "csff12", "merge12", "encoder2", "decoder2", "sam23")
LAST = ("shallow3", "merge23", "orsnet", "tail")


@pytest.mark.parametrize(
    ("stages", "later"),
    [
        (1, ("sam12.to_features", "sam12.to_mask", *SECOND, *LAST)),
        (2, ("sam23.to_features", "sam23.to_mask", *LAST)),
        (3, ()),
    ],
)
def test_what_later_stages_alone_use_is_frozen(tmp_path, stages, later):
    network = MPRNet(MPRNetConfig(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1))
    RestorationModule(network, Optimization(stages=stages), tmp_path)
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == [name for name, _ in network.named_parameters() if name.startswith(later)]

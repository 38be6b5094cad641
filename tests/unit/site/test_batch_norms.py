"""What batch norms know of their inputs is estimated anew, and nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tasuki.errors import TrainerError
from tasuki.trainer import recalibrate


def net() -> nn.Sequential:
    torch.manual_seed(3)
    layers = nn.Linear(4, 5), nn.BatchNorm1d(5, momentum=0.3), nn.Dropout(0.5), nn.Linear(5, 2)
    return nn.Sequential(*layers)


def batches(*sizes: int) -> list[torch.Tensor]:
    torch.manual_seed(5)
    return [torch.randn(size, 4) * 3 + 1 for size in sizes]


def norm_of(model: nn.Sequential) -> nn.BatchNorm1d:
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm1d)
    return norm


def test_the_statistics_are_the_mean_of_those_of_all_batches_that_count_alike() -> None:
    model, seen = net(), batches(8, 2, 32)
    norm_of(model).running_mean.fill_(7)  # type: ignore[union-attr]
    recalibrate(model, seen)
    with torch.no_grad():
        inputs = [model[0](batch) for batch in seen]
    mean = torch.stack([each.mean(0) for each in inputs]).mean(0)
    var = torch.stack([each.var(0) for each in inputs]).mean(0)
    torch.testing.assert_close(norm_of(model).running_mean, mean)
    torch.testing.assert_close(norm_of(model).running_var, var)
    assert 3 == norm_of(model).num_batches_tracked


@pytest.mark.parametrize("is_training", [True, False])
def test_all_else_is_as_it_was(is_training: bool) -> None:
    model = net().train(is_training)
    norm_of(model).eval()  # frozen by its trainer
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recalibrate(model, [(batch, torch.zeros(8)) for batch in batches(8, 8)])
    changed = {k for k, value in model.state_dict().items() if not torch.equal(value, before[k])}
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} == changed
    modes = [module.training for module in model]
    assert [is_training, False, is_training, is_training] == modes
    assert model.training is is_training
    assert 0.3 == norm_of(model).momentum
    assert all(each.grad is None for each in model.parameters())


def test_a_failure_leaves_modes_as_they_were() -> None:
    model = net().eval()
    with pytest.raises(RuntimeError):
        recalibrate(model, [torch.zeros(8, 3)])
    assert not any(module.training for module in model.modules())
    assert 0.3 == norm_of(model).momentum


def test_no_batch_is_told_and_changes_nothing() -> None:
    model = net()
    norm_of(model).running_mean.fill_(7)  # type: ignore[union-attr]
    with pytest.raises(TrainerError, match="some of the site's own data"):
        recalibrate(model, [])
    assert torch.equal(torch.full((5,), 7.0), norm_of(model).running_mean)  # type: ignore[arg-type]


def test_a_network_without_parameters_is_estimated_too() -> None:
    norm = nn.BatchNorm1d(4, affine=False)
    (seen,) = batches(16)
    recalibrate(norm, [seen])
    torch.testing.assert_close(norm.running_mean, seen.mean(0))


def test_a_network_without_batch_norms_takes_no_batch() -> None:
    taken = iter(batches(2))
    for model in (nn.Linear(4, 2), nn.BatchNorm1d(4, track_running_stats=False)):
        recalibrate(model, taken)
    assert 1 == len(list(taken))

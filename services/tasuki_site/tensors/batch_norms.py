"""What batch norms know of their inputs, estimated anew: `tasuki.trainer.recalibrate`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tasuki.errors import TrainerError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.nn.modules.batchnorm import _BatchNorm


def recalibrate(net: nn.Module, batches: Iterable[Any]) -> None:  # Any: as in `_input_of`
    """As `tasuki.trainer.recalibrate`."""
    import torch

    norms = _norms(net)
    if not norms:
        return
    count = 0
    with torch.no_grad(), ExitStack() as stack:
        for batch in batches:
            if not count:  # not before: without a batch, what there is stays
                stack.enter_context(_estimating(net, norms))
            net(_input_of(batch).to(_device(norms[0])))
            count += 1
    if not count:
        raise TrainerError("recalibrate got no batch: give it some of the site's own data")


def _norms(net: nn.Module) -> list[_BatchNorm]:
    """Those that keep what they have seen; not all do."""
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = (module for module in net.modules() if isinstance(module, _BatchNorm))
    return [norm for norm in norms if norm.running_mean is not None]


def _device(norm: _BatchNorm) -> torch.device:
    assert norm.running_mean is not None  # noqa: S101 - else it is none of them
    return norm.running_mean.device


@contextmanager
def _estimating(net: nn.Module, norms: list[_BatchNorm]) -> Iterator[None]:
    """Meanwhile norms begin from nothing and take the mean over all batches."""
    modes = [(module, module.training) for module in net.modules()]
    momenta = [norm.momentum for norm in norms]
    net.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, was_training in modes:
            module.training = was_training


def _input_of(batch: Any) -> Tensor:  # Any: a tensor, or a tuple or list that begins with one
    tensor: Tensor = batch[0] if isinstance(batch, tuple | list) else batch
    return tensor

"""NVFlare's Client API with PyTorch Lightning: `patch` makes a Trainer train turns.

In a script `import nvflare.client.lightning as flare` becomes `import tasuki.flare.lightning as
flare`:

    trainer = Trainer(max_epochs=1)
    flare.patch(trainer)
    while flare.is_running():
        trainer.validate(module, datamodule=data)  # of the received weights
        trainer.fit(module, datamodule=data)  # receives, trains, sends

In a turn that evaluates, `validate` sends what it finds, and `fit` does nothing.

Both packages of Lightning will do, `lightning` and `pytorch_lightning`; Tasuki imports neither.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

from tasuki.errors import TrainerError
from tasuki.flare import *  # noqa: F403 - as in NVFlare, one import has it all
from tasuki.flare import __all__ as _client
from tasuki.flare.absent import absent
from tasuki.flare.api import init, log
from tasuki.flare.constants import FLMetaKey
from tasuki.flare.epochs import Epochs
from tasuki.flare.exchange import Exchange

__all__ = [*_client, "patch"]  # FLCallback and logger are made when they are asked for

# Any, in all of this module: Lightning is not installed where Tasuki is checked.
_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
_META = "__fl_meta__"  # NVFlare's: what a module's author wants in the meta of the result


def patch(
    trainer: Any,
    restore_state: bool = False,
    load_state_dict_strict: bool = True,
    update_fit_loop: bool = True,
) -> None:
    """Make each `trainer.fit` train one turn; patching twice is harmless.

    Args:
        restore_state: go on with the optimizers and schedulers of this process's last turn. Off,
            because a turn that is repeated after a crash could not repeat itself.
        load_state_dict_strict: the received weights must be all of the module's.
        update_fit_loop: a turn trains for the Trainer's epochs or steps, or the run's budget, anew;
            without it that is for the script to see to.
    """
    if any(isinstance(callback, _Turns) for callback in trainer.callbacks):
        return
    kind = _callback((_package_of(trainer),))
    callback = kind(
        trainer.global_rank,
        restore_state=restore_state,
        load_state_dict_strict=load_state_dict_strict,
        update_fit_loop=update_fit_loop,
    )
    # First: others, such as those that save checkpoints, see the received weights and not the old.
    trainer.callbacks.insert(0, callback)


class _Turns:
    """The hooks of the callback."""

    def __init__(
        self,
        rank: int = 0,
        load_state_dict_strict: bool = True,
        update_fit_loop: bool = True,
        *,
        restore_state: bool = False,
    ) -> None:
        init(rank)
        self._exchange = Exchange()
        self._strict = load_state_dict_strict
        self._epochs = Epochs() if update_fit_loop else None
        self._restore_state = restore_state
        self._optimizers: list[Any] = []
        self._schedulers: list[Any] = []
        self._first_step = 0
        self._own_epochs: Any = None  # while a `fit` is left out

    def reset_state(self, trainer: Any) -> None:
        """Nothing to do: every turn begins by itself. NVFlare's scripts may call it."""

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if self._evaluates_received(trainer):
            self._receive(pl_module, what="trainer.validate")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self._evaluates_received(trainer):
            self._exchange.evaluated(trainer.callback_metrics, _meta(pl_module))

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage != "fit":
            return
        if self._exchange.leaves_out_training("trainer.fit"):
            self._own_epochs = trainer.fit_loop.max_epochs
            trainer.fit_loop.max_epochs = 0  # then Lightning trains nothing
        elif self._epochs is not None:
            self._epochs.prepare(trainer, self._exchange.budget)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if self._own_epochs is None:
            self._receive(pl_module, what="trainer.fit")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self._epochs is not None:
            self._epochs.count_on(trainer, turn=self._exchange.round)
        self._first_step = trainer.global_step
        if self._restore_state:
            self._restore(trainer)
        self._exchange.begin()

    def on_train_batch_end(self, trainer: Any, *_args: Any) -> None:
        if self._exchange.is_out_of_time:
            trainer.fit_loop.min_epochs = trainer.fit_loop.epoch_loop.min_steps = None
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        log(dict(trainer.callback_metrics), step=trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self._restore_state:
            self._optimizers = [each.state_dict() for each in trainer.optimizers]
            self._schedulers = [
                each.scheduler.state_dict() for each in trainer.lr_scheduler_configs
            ]

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        if self._own_epochs is not None:
            trainer.fit_loop.max_epochs, self._own_epochs = self._own_epochs, None
            return
        # After everybody else's on_train_end: there weights may still be averaged or swapped.
        steps = trainer.global_step - self._first_step
        self._exchange.send(
            pl_module.state_dict(),
            metrics=trainer.callback_metrics,
            meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: steps, **_meta(pl_module)},
        )

    def _evaluates_received(self, trainer: Any) -> bool:
        """Not while `fit` validates, nor after it: those metrics are about the trained weights."""
        return trainer.state.fn == "validate" and self._exchange.is_open

    def _receive(self, module: Any, *, what: str) -> None:
        self._exchange.receive(
            functools.partial(module.load_state_dict, strict=self._strict), what=what
        )

    def _restore(self, trainer: Any) -> None:
        for optimizer, state in zip(trainer.optimizers, self._optimizers, strict=False):
            optimizer.load_state_dict(state)
        for config, state in zip(trainer.lr_scheduler_configs, self._schedulers, strict=False):
            config.scheduler.load_state_dict(state)


def _meta(module: Any) -> dict[str, Any]:
    meta = getattr(module, _META, {})
    if not isinstance(meta, dict):
        raise TrainerError(f"{_META} of the module is a {type(meta).__name__}, not a dict")
    return meta


class _Progress:
    """A logger's hooks: its numbers are shown as progress of the turn, as `flare.log` does."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = f"{prefix}-" if prefix else ""

    @property
    def name(self) -> str:
        return "tasuki"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> None:
        return None

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        log({f"{self._prefix}{name}": value for name, value in metrics.items()}, step=step)

    def log_hyperparams(self, *_args: Any, **_kwargs: Any) -> None:
        """Ignored: a run's settings are in its run file."""


def __getattr__(name: str) -> Any:
    if name == "FLCallback":
        return _callback(_packages_here())
    if name == "logger":
        return _logger(_packages_here())
    raise absent(__name__, name)


@functools.cache
def _callback(packages: tuple[str, ...]) -> Any:
    bases = [importlib.import_module(f"{package}.callbacks").Callback for package in packages]
    return type("FLCallback", (_Turns, *bases), {"__module__": __name__})


@functools.cache
def _logger(packages: tuple[str, ...]) -> Any:
    bases = [importlib.import_module(f"{package}.loggers.logger").Logger for package in packages]
    return type("logger", (_Progress, *bases), {"__module__": __name__})


def _package_of(trainer: Any) -> str:
    """The one that a Trainer is of: each accepts callbacks of its own kind only."""
    modules = [kind.__module__ for kind in type(trainer).__mro__]
    for package in _PACKAGES:
        if any(module.startswith(f"{package}.") for module in modules):
            return package
    raise TrainerError(
        f"flare.patch takes a Trainer of Lightning, and this is a {type(trainer).__name__}"
    )


def _packages_here() -> tuple[str, ...]:
    """Those that the script has imported: a callback of all of them is one of each."""
    found = tuple(package for package in _PACKAGES if package in sys.modules)
    if not found:
        raise TrainerError("import lightning (or pytorch_lightning) before tasuki.flare.lightning")
    return found

"""NVFlare's Client API with Hugging Face: `patch` makes a Trainer train turns.

In a script `import nvflare.client.hf as flare` becomes `import tasuki.flare.hf as flare`:

    trainer = Trainer(model=model, args=args, train_dataset=data)
    flare.patch(trainer)
    while flare.is_running():
        trainer.evaluate()  # of the received weights
        trainer.train()  # receives, trains, sends

In a turn that evaluates, `evaluate` sends what it finds, and `train` does nothing.

The Trainer is that of transformers or one made from it, such as TRL's SFTTrainer. Of a model of
PEFT the adapters alone travel. Tasuki imports none of these; the script has.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any, Literal

from tasuki.errors import TrainerError
from tasuki.flare import *  # noqa: F403 - as in NVFlare, one import has it all
from tasuki.flare import __all__ as _client
from tasuki.flare.absent import absent
from tasuki.flare.api import init, log
from tasuki.flare.constants import FLMetaKey
from tasuki.flare.exchange import Exchange

__all__ = [*_client, "patch"]

# Any, in all of this module: transformers is not installed where Tasuki is checked.
Scope = Literal["auto", "model", "adapter"]
_PATCHED = "_tasuki_turns"
# What a Trainer counts among its metrics although it is about the machine.
_OF_THE_MACHINE = ("_runtime", "_per_second", "_time")
_COUNTS = {"epoch", "total_flos", "step"}


def patch(
    trainer: Any,
    restore_state: bool = False,
    load_state_dict_strict: bool = True,
    params_scope: Scope = "auto",
    server_key_prefix: str | None = None,
    local_epochs: float | None = None,
    local_steps: int | None = None,
    stream_metrics: bool = True,
) -> Any:
    """Make each `trainer.train()` train one turn; patching twice is harmless.

    Args:
        restore_state: go on with the optimizer of this process's last turn. Off, because a turn
            that is repeated after a crash could not repeat itself.
        load_state_dict_strict: the received weights must be all of the model's.
        params_scope: "adapter" of PEFT, or the whole "model"; "auto" is the first where there is
            one.
        server_key_prefix: what the run's names have before the model's.
        local_epochs, local_steps: how long a turn trains, if the run has no budget and it is not
            what the Trainer's arguments say.
        stream_metrics: show what the Trainer logs as progress of the turn.

    Raises:
        TrainerError: it is no such Trainer, or one that cannot train turns.
    """
    _check(trainer)
    if local_epochs is not None and local_steps is not None:
        raise TrainerError("flare.patch takes local_epochs or local_steps, not both")
    if not hasattr(trainer, _PATCHED):
        init()
        model = _Model(trainer, params_scope, load_state_dict_strict, server_key_prefix or "")
        length = {"num_train_epochs": local_epochs, "max_steps": local_steps}
        setattr(trainer, _PATCHED, _Turns(trainer, model, length, restore_state=restore_state))
        trainer.add_callback(_callback()(getattr(trainer, _PATCHED), streams=stream_metrics))
    return trainer


class _Turns:
    """The Trainer's own `train` and `evaluate`, each within a turn."""

    def __init__(
        self, trainer: Any, model: _Model, length: Mapping[str, Any], *, restore_state: bool
    ) -> None:
        self.exchange = Exchange()
        self._trainer = trainer
        self._model = model
        self._length = {key: value for key, value in length.items() if value is not None}
        self._has_own_optimizer = trainer.optimizer is not None
        self._restore_state = restore_state
        self._is_training = False
        self._train = _wrapped(trainer, "train", self.train)
        self._evaluate = _wrapped(trainer, "evaluate", self.evaluate)

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        if resume_from_checkpoint:
            raise TrainerError(
                "trainer.train(resume_from_checkpoint=...) would train the checkpoint's weights"
                " instead of the received ones; leave it out"
            )
        if self.exchange.leaves_out_training("trainer.train"):
            return None
        self.exchange.receive(self._model.load, what="trainer.train")
        if not self._restore_state:
            self._forget_optimizer()
        self.exchange.begin()
        with self._for_this_turn():
            done = self._train(*args, **kwargs)
        self.exchange.send(
            self._model.state(),
            metrics=_trained_metrics(done.metrics, self._trainer.state.log_history),
            meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: done.global_step},
        )
        return done

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        # Not while a turn trains, nor after it: those metrics are about the trained weights.
        if self._is_training or not self.exchange.is_open:
            return self._evaluate(*args, **kwargs)
        self.exchange.receive(self._model.load, what="trainer.evaluate")
        metrics = self._evaluate(*args, **kwargs)
        self.exchange.evaluated(_about_weights(metrics), self._samples(*args, **kwargs))
        return metrics

    def _samples(self, eval_dataset: Any = None, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """How many were evaluated, where that is known before."""
        data = self._trainer.eval_dataset if eval_dataset is None else eval_dataset
        is_one = isinstance(data, Sized) and not isinstance(data, Mapping | str)
        return {"num_samples": len(data)} if is_one else {}

    def _forget_optimizer(self) -> None:
        if self._has_own_optimizer:
            self._trainer.optimizer.state.clear()
        else:
            self._trainer.optimizer = self._trainer.lr_scheduler = None

    @contextmanager
    def _for_this_turn(self) -> Iterator[None]:
        args, length = self._trainer.args, self._turn_length()
        own = {key: getattr(args, key) for key in length}
        _set(args, length)
        self._is_training = True
        try:
            yield
        finally:
            self._is_training = False
            _set(args, own)

    def _turn_length(self) -> dict[str, Any]:
        """The run's budget, or else what `patch` was told."""
        budget = self.exchange.budget
        if budget.steps is not None:
            return {"max_steps": budget.steps}
        if budget.epochs is not None:
            return {"max_steps": -1, "num_train_epochs": budget.epochs}
        return {"max_steps": -1, **self._length} if self._length else {}


class _Model:
    """The part of a Trainer's model that travels."""

    def __init__(self, trainer: Any, scope: str, strict: bool, prefix: str) -> None:
        self._trainer = trainer
        self._strict = strict
        self._prefix = prefix
        is_peft = hasattr(self._module, "peft_config")
        if scope == "adapter" and not is_peft:
            raise TrainerError(
                'params_scope="adapter" needs a model of PEFT; get_peft_model has it'
            )
        self._is_adapter = is_peft and scope != "model"

    @property
    def _module(self) -> Any:
        return self._trainer.accelerator.unwrap_model(self._trainer.model)

    def load(self, params: Mapping[str, Any]) -> None:
        own = {name.removeprefix(self._prefix): value for name, value in params.items()}
        if not self._is_adapter:
            self._module.load_state_dict(own, strict=self._strict)
            return
        peft: Any = importlib.import_module("peft")
        wanted = peft.get_peft_model_state_dict(self._module)
        if self._strict and wanted.keys() != own.keys():
            raise KeyError(_difference(wanted, own))
        peft.set_peft_model_state_dict(self._module, own)

    def state(self) -> dict[str, Any]:
        if self._is_adapter:
            peft: Any = importlib.import_module("peft")
            state = peft.get_peft_model_state_dict(self._module)
        else:
            state = self._module.state_dict()
        return {f"{self._prefix}{name}": value for name, value in state.items()}


def __getattr__(name: str) -> Any:
    raise absent(__name__, name)


@functools.cache
def _callback() -> Any:
    base: Any = importlib.import_module("transformers").TrainerCallback

    class TurnCallback(base):  # type: ignore[misc]  # of a package that is not installed here
        """Shows what is logged, and ends a turn whose time is up."""

        def __init__(self, turns: _Turns, *, streams: bool) -> None:
            self._turns = turns
            self._streams = streams

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self._streams and logs:
                log(dict(logs), step=state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self._turns.exchange.is_out_of_time:
                control.should_training_stop = True

    return TurnCallback


def _check(trainer: Any) -> None:
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(trainer).__mro__}
    if "transformers.trainer.Trainer" not in names:
        raise TrainerError(
            f"flare.patch takes a Trainer of transformers, and this is a {type(trainer).__name__}"
        )
    for what in ("deepspeed", "fsdp"):
        if getattr(trainer, f"is_{what}_enabled", False):
            raise TrainerError(
                f"a Trainer with {what} holds a part of the weights only; leave {what} out, or"
                " gather them yourself between flare.receive and flare.send"
            )
    if getattr(trainer, "model_init", None) is not None:
        raise TrainerError(
            "a Trainer with model_init makes a new model in every train(); give it model= instead"
        )


def _wrapped(trainer: Any, name: str, instead: Callable[..., Any]) -> Callable[..., Any]:
    own: Callable[..., Any] = getattr(trainer, name)
    setattr(trainer, name, instead)
    return own


def _set(args: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        setattr(args, key, value)


def _trained_metrics(metrics: Mapping[str, Any], history: Any) -> dict[str, Any]:
    """The loss of training, and of evaluations on the way the newest."""
    evaluated = {
        name: value for entry in history for name, value in entry.items() if name.startswith("eval")
    }
    return _about_weights({**metrics, **evaluated})


def _about_weights(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in metrics.items()
        if name not in _COUNTS and not name.endswith(_OF_THE_MACHINE)
    }


def _difference(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    return (
        f"{len(missing)} of the adapter's tensors are missing, the first {missing[:1]},"
        f" and {len(unknown)} are none of its own, the first {unknown[:1]}"
    )

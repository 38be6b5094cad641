"""NVFlare's decorators: a function that trains, and one that evaluates, as a whole turn."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from tasuki.errors import TrainerError
from tasuki.flare.api import initialized
from tasuki.flare.model import FLModel

Function: TypeAlias = Callable[..., Any]
"""The script's own. Any, because it takes and returns what it likes besides the model."""


def train(function: Function | None = None, **_kwargs: object) -> Function:
    """Make a function train a turn: it gets the received model first, what it returns is sent.

    If it returns no metrics, those that `evaluate` found before are sent as `received_...`. In a
    turn that evaluates it is not called, and None comes of it.

    Raises:
        TrainerError: when called: it returns no FLModel, or the run is over.
    """
    if function is None:
        return train

    @functools.wraps(function)
    def trained(*args: object, **kwargs: object) -> FLModel | None:
        if initialized().leaves_out_training(f"{_name(function)}, which has @flare.train"):
            return None
        model = _called(function, args, kwargs)
        if not isinstance(model, FLModel):
            raise TrainerError(
                f"{_name(function)} returned {type(model).__name__}; with @flare.train it needs to"
                " return a flare.FLModel"
            )
        initialized().send(model)
        return model

    return trained


def evaluate(function: Function | None = None, **_kwargs: object) -> Function:
    """Make a function evaluate the received model, which it gets first, before it is trained.

    It returns a number, or a dict of numbers. They are kept for `train` to send; in a turn that
    only evaluates they are sent at once.

    Raises:
        TrainerError: when called: it returns None, or the run is over.
    """
    if function is None:
        return evaluate

    @functools.wraps(function)
    def evaluated(*args: object, **kwargs: object) -> object:
        metrics = _called(function, args, kwargs)
        if metrics is None:
            raise TrainerError(
                f"{_name(function)} returned None; with @flare.evaluate it needs to return a number"
                " or a dict of numbers"
            )
        initialized().evaluated(metrics)
        return metrics

    return evaluated


def _called(function: Function, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    model = initialized().receive()
    if model is None:
        raise TrainerError(
            f"there is no model for {_name(function)}, because the run is over; call it inside"
            " `while flare.is_running():`"
        )
    # Whatever the script passes as the model, the received one takes its place, as in NVFlare.
    first = next(iter(inspect.signature(function).parameters), None)
    if first is not None:
        kwargs.pop(first, None)
    return function(model, *args[1:], **kwargs)


def _name(function: Function) -> str:
    return getattr(function, "__name__", "the function")

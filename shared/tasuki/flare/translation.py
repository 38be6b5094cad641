"""What a turn is as an `FLModel`, and what a script's `FLModel` is as the turn's result."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from numbers import Real
from typing import Any

from tasuki.core.model import Kind
from tasuki.errors import CannotEvaluate, TrainerError
from tasuki.flare.model import FLModel, ParamsType
from tasuki.trainer import Framework, Result, Scores, Turn

# The one that a script is likeliest to mean comes first. Steps are no samples, but they weigh
# sites alike when all use one batch size, and NVFlare's scripts send nothing else.
_SAMPLES = ("num_samples", "samples", "num_examples", "NUM_STEPS_CURRENT_ROUND")

TASKS = {Kind.TRAIN: "train", Kind.EVALUATE: "validate"}
"""What NVFlare calls what a turn asks for."""

_FORMATS: dict[str, Framework] = {"torch": "torch", "pytorch": "torch", "numpy": "numpy"}


def framework_named(name: object) -> Framework:
    """The framework that a script asks for by this name.

    Raises:
        TrainerError: there is none of that name.
    """
    framework = _FORMATS.get(str(name).rpartition(".")[2].lower())
    if framework is None:
        raise TrainerError(f"params cannot be given as {name!r:.60}; choose torch or numpy")
    return framework


def framework_in_use() -> Framework:
    """What a script means that does not say: torch if it has imported it, else NumPy."""
    return "torch" if sys.modules.get("torch") is not None else "numpy"


def model_of(turn: Turn, *, framework: Framework) -> FLModel:
    """What `receive` gives."""
    return FLModel(
        params_type=ParamsType.FULL,
        params=_params(turn, framework=framework),
        current_round=turn.round,
        total_rounds=turn.rounds,
        meta={
            **turn.params,
            **system_info(turn),
            "start_round": 0,
            "current_round": turn.round,
            "total_rounds": turn.rounds,
            "merged": turn.merged,
        },
    )


def system_info(turn: Turn) -> dict[str, Any]:  # Any: a script may add to it
    return {
        "site_name": turn.site,
        "job_id": turn.run,
        "task_name": TASKS[turn.kind],
    }


def config(turn: Turn) -> dict[str, Any]:  # Any: the run's params are
    budget = turn.budget
    return {
        **system_info(turn),
        "total_rounds": turn.rounds,
        "params": dict(turn.params),
        "budget": {"epochs": budget.epochs, "steps": budget.steps, "seconds": budget.seconds},
        "data": turn.data,
        "split": turn.split,
        "merged": turn.merged,
        "device": turn.device,
        "seed": turn.seed,
    }


def result_of(turn: Turn, model: FLModel) -> Result | Scores:
    """What `send` hands on; of a turn that evaluates, the scores alone.

    Raises:
        CannotEvaluate: the turn evaluates, and the script has trained.
        TrainerError: the model is no result of this turn; the message says what to change.
    """
    metrics, samples = metrics_of(model.metrics), _samples(model.meta or {})
    if turn.kind is Kind.EVALUATE:
        if model.params is not None:
            raise CannotEvaluate(
                "the script sent weights in a turn that evaluates; if flare.is_evaluate(), send"
                " flare.FLModel(metrics=...) without params, and train nothing"
            )
        if not metrics:
            raise TrainerError(
                "the model to send has no metrics, and this turn asks for nothing else"
            )
        return turn.scores(metrics, samples=samples)
    if not isinstance(model.params, Mapping):
        raise TrainerError(
            f"this turn trains, and the params to send are of type {type(model.params).__name__};"
            " send flare.FLModel(params=...) with a dict of name -> tensor, metrics alone are no"
            " result"
        )
    finish = turn.difference if model.is_difference else turn.result
    return finish(model.params, metrics=metrics, samples=samples)


def metrics_of(value: Any) -> dict[str, Any]:  # Any: whatever the script calls a number
    """Metrics by name; a number without one is called `metric`."""
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else {"metric": value}


def received_metrics(value: object) -> dict[str, Any]:  # Any: as above
    """Metrics of weights as they were received, by the names that tell them from the trained."""
    return {
        name if name.startswith("received_") else f"received_{name}": number
        for name, number in metrics_of(value).items()
    }


def numbers_of(values: Mapping[Any, Any]) -> dict[str, float]:  # Any: a script logs anything
    """Those of the values that are numbers, by their names; of a dict among them, by `name/key`."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            numbers |= {f"{name}/{key}": each for key, each in numbers_of(value).items()}
        elif (number := number_of(value)) is not None:
            numbers[str(name)] = number
    return numbers


def number_of(value: Any) -> float | None:  # Any: a script logs anything
    """The number, of whatever scalar type it is, or None."""
    try:
        scalar = value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError, RuntimeError):
        return None  # an array or a tensor of several numbers
    return float(scalar) if isinstance(scalar, Real) else None


def _samples(meta: Mapping[str, object]) -> int:
    for key in _SAMPLES:
        if meta.get(key) is None:
            continue
        number = number_of(meta[key])
        if number is None or not 0 <= number < 2**53:
            raise TrainerError(f"meta[{key!r}] is {meta[key]!r:.60}, not a number of samples")
        return int(number)
    return 0


def _params(turn: Turn, *, framework: Framework) -> dict[str, Any]:  # Any: tensors
    params = turn.weights(framework)
    # Lists are layers of Keras, which takes arrays, even in a script that also imports torch.
    is_keras = any(isinstance(value, list) for value in params.values())
    return turn.weights("numpy") if is_keras and framework == "torch" else params

"""The decorators, on turns in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tasuki.flare as flare
from support.scripts import Desk
from tasuki.core.model import Kind
from tasuki.errors import TrainerError
from tasuki.flare.session import install


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    install(desk.session())
    flare.init()
    yield desk
    install(None)


@flare.train
def add(input_model: flare.FLModel | None = None, step: float = 1.0) -> flare.FLModel:
    """Adds to the weights."""
    assert input_model is not None
    return flare.FLModel(params={"w": input_model.params["w"] + np.float32(step)})


@flare.evaluate
def mean(input_model: flare.FLModel) -> dict[str, float]:
    return {"mean": float(input_model.params["w"].mean())}


def test_a_function_that_trains_gets_the_model_and_its_result_is_sent(desk: Desk) -> None:
    desk.add()
    add(step=2)
    assert desk.results[0].state["w"].tolist() == [3, 3]
    assert (add.__name__, add.__doc__) == ("add", "Adds to the weights.")


@pytest.mark.parametrize(("args", "kwargs"), [((None, 4), {}), ((), {"input_model": 0, "step": 4})])
def test_the_received_model_takes_the_place_of_the_first_argument(
    desk: Desk, args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    desk.add()
    add(*args, **kwargs)
    assert desk.results[0].state["w"].tolist() == [5, 5]


def test_what_was_evaluated_is_sent_with_what_was_trained(desk: Desk) -> None:
    for round in range(2):
        desk.add(round=round)
    model = flare.receive()
    assert mean(model) == {"mean": 1.0}
    add(model)
    add()
    assert [result.metrics for result in desk.results] == [{"received_mean": 1.0}, {}]


def test_metrics_of_the_trained_model_come_before_evaluated_ones(desk: Desk) -> None:
    @flare.train()
    def keep(model: flare.FLModel) -> flare.FLModel:
        return flare.FLModel(params=model.params, metrics={"loss": 0.25})

    desk.add()
    mean()
    keep()
    assert desk.results[0].metrics == {"loss": 0.25}


def test_one_number_is_called_metric(desk: Desk) -> None:
    @flare.evaluate()
    def score(_model: flare.FLModel) -> float:
        return 0.75

    desk.add()
    score()
    add()
    assert desk.results[0].metrics == {"received_metric": 0.75}


def test_in_a_turn_that_evaluates_the_metrics_are_sent_at_once(desk: Desk) -> None:
    desk.add(kind=Kind.EVALUATE)
    mean()
    assert desk.results[0].metrics == {"mean": 1.0}


def test_a_function_that_returns_nothing_is_refused(desk: Desk) -> None:
    def nothing(_model: flare.FLModel) -> None:
        return None

    desk.add()
    with pytest.raises(TrainerError, match="nothing returned NoneType"):
        flare.train(nothing)()
    with pytest.raises(TrainerError, match="nothing returned None"):
        flare.evaluate(nothing)()
    assert desk.results == []


def test_after_the_run_a_function_is_not_called(desk: Desk) -> None:
    with pytest.raises(TrainerError, match="the run is over"):
        add()

"""The Client API's functions, on turns in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import tasuki.flare as flare
from support.scripts import ROUNDS, Desk
from tasuki.core.model import Kind
from tasuki.errors import CannotEvaluate, NonFiniteWeights, TrainerError
from tasuki.flare.constants import AlgorithmConstants, FLMetaKey
from tasuki.flare.session import install
from tasuki.flare.tracking import MLflowWriter, SummaryWriter, WandBWriter
from tasuki.trainer import Scores

PARAMS = {"w": np.zeros(2, np.float32)}


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    install(desk.session())
    flare.init()
    yield desk
    install(None)


def received() -> flare.FLModel:
    model = flare.receive()
    assert model is not None
    return model


def test_outside_of_a_site_init_says_what_to_do() -> None:
    with pytest.raises(TrainerError, match="tasuki simulate"):
        flare.init()


@pytest.mark.parametrize(
    "call", [flare.is_running, flare.receive, flare.system_info, flare.is_submit_model]
)
def test_whatever_is_called_before_init_says_so(call: object) -> None:
    install(Desk().session())
    try:
        with pytest.raises(TrainerError, match=r"call flare.init\(\)"):
            call()  # type: ignore[operator]  # pytest keeps no type of its parameters
    finally:
        install(None)


def test_init_takes_what_nvflare_takes_and_may_be_called_twice(desk: Desk) -> None:
    flare.init("0")
    flare.init(rank="0", config_file="config.json")


def test_a_loop_trains_every_turn_and_ends(desk: Desk) -> None:
    for round in range(ROUNDS):
        desk.add(round=round)
    rounds = []
    while flare.is_running():
        assert flare.is_running()
        model = received()
        rounds.append((model.start_round, model.current_round, model.total_rounds))
        params = {"w": model.params["w"] + 1}
        flare.send(flare.FLModel(params=params, metrics={"accuracy": np.float32(0.5)}))
    assert [(0, round, ROUNDS) for round in range(ROUNDS)] == rounds
    assert [result.state["w"].tolist() for result in desk.results] == [[2, 2]] * ROUNDS
    assert desk.results[0].metrics == {"accuracy": 0.5}
    assert flare.receive() is None
    assert not flare.is_running()


def test_the_same_model_is_received_until_it_is_sent(desk: Desk) -> None:
    desk.add()
    assert received() is received()
    assert flare.is_running()


def test_generators_are_seeded_once_and_only_when_the_model_is_received(desk: Desk) -> None:
    desk.add(round=1)
    assert flare.get_site_name() == "site-1"
    assert flare.is_running()
    assert desk.seeds == []
    received()
    received()
    assert desk.seeds == [101]


def test_a_difference_is_handed_on_as_one(desk: Desk) -> None:
    desk.add()
    received()
    flare.send(flare.FLModel(params_type=flare.ParamsType.DIFF, params=dict(PARAMS)))
    assert desk.results[0].is_difference


def test_sending_before_receiving_is_refused(desk: Desk) -> None:
    desk.add()
    assert flare.is_running()
    with pytest.raises(TrainerError, match='"receive" needs to be called'):
        flare.send(flare.FLModel(params=dict(PARAMS)))


def test_sending_twice_for_one_turn_is_refused(desk: Desk) -> None:
    desk.add()
    received()
    flare.send(flare.FLModel(params=dict(PARAMS)))
    with pytest.raises(TrainerError, match="twice"):
        flare.send(flare.FLModel(params=dict(PARAMS)))
    assert len(desk.results) == 1


def test_sending_something_else_than_a_model_is_refused(desk: Desk) -> None:
    desk.add()
    received()
    with pytest.raises(TypeError, match="FLModel"):
        flare.send(PARAMS)  # type: ignore[arg-type]  # the script's mistake


def test_a_result_that_was_refused_may_be_corrected(desk: Desk) -> None:
    desk.add()
    received()
    desk.refusal = NonFiniteWeights()
    with pytest.raises(NonFiniteWeights):
        flare.send(flare.FLModel(params=dict(PARAMS)))
    desk.refusal = None
    assert flare.is_running()
    flare.send(flare.FLModel(params=dict(PARAMS)))
    assert len(desk.results) == 1


@pytest.mark.parametrize("clear_cache", [True, False])
def test_both_models_are_freed_by_sending_unless_the_script_keeps_them(
    desk: Desk, *, clear_cache: bool
) -> None:
    desk.add()
    given, sent = received(), flare.FLModel(params=dict(PARAMS))
    flare.send(sent, clear_cache=clear_cache)
    assert (clear_cache, clear_cache) == (given.params is None, sent.params is None)


def test_metrics_alone_are_no_result_of_a_turn_that_trains(desk: Desk) -> None:
    desk.add()
    received()
    with pytest.raises(TrainerError, match="metrics alone are no result"):
        flare.send(flare.FLModel(metrics={"accuracy": 0.5}))


def test_of_a_turn_that_evaluates_the_metrics_alone_are_sent(desk: Desk) -> None:
    desk.add(kind=Kind.EVALUATE)
    received()
    assert (
        flare.is_evaluate(),
        flare.is_train(),
        flare.get_task_name(),
    ) == (True, False, "validate")
    flare.send(flare.FLModel(metrics={"accuracy": 0.5}, meta={"num_samples": 9}))
    assert [Scores(metrics={"accuracy": 0.5}, samples=9)] == desk.results


def test_weights_are_no_result_of_a_turn_that_evaluates(desk: Desk) -> None:
    desk.add(kind=Kind.EVALUATE)
    received()
    with pytest.raises(CannotEvaluate, match="sent weights in a turn that evaluates"):
        flare.send(flare.FLModel(params=dict(PARAMS), metrics={"accuracy": 0.5}))
    assert [] == desk.results


def test_a_turn_that_evaluates_needs_metrics(desk: Desk) -> None:
    desk.add(kind=Kind.EVALUATE)
    received()
    with pytest.raises(TrainerError, match="has no metrics"):
        flare.send(flare.FLModel())


@pytest.mark.parametrize(
    ("meta", "samples"),
    [
        ({}, 0),
        ({"NUM_STEPS_CURRENT_ROUND": 7}, 7),
        ({"NUM_STEPS_CURRENT_ROUND": 7, "num_samples": np.int64(90)}, 90),
        ({"samples": torch.tensor(5)}, 5),
    ],
)
def test_samples_are_found_in_the_meta_data(
    desk: Desk, meta: dict[str, object], samples: int
) -> None:
    desk.add()
    received()
    flare.send(flare.FLModel(params=dict(PARAMS), meta=meta))
    assert samples == desk.results[0].samples


def test_samples_that_are_no_number_are_refused(desk: Desk) -> None:
    desk.add()
    received()
    with pytest.raises(TrainerError, match="'num_samples'"):
        flare.send(flare.FLModel(params=dict(PARAMS), meta={"num_samples": "many"}))


def test_only_numbers_are_shown_as_progress(desk: Desk) -> None:
    desk.add()
    assert not flare.log("loss", 1.0)
    received()
    assert flare.log("loss", torch.tensor(0.5), flare.AnalyticsDataType.SCALAR, global_step=3)
    assert not flare.log("note", "good", data_type="TEXT")
    assert not flare.log("image", np.zeros((2, 2)))
    SummaryWriter().add_scalars("loss", {"train": 1, "valid": 2.0})
    shown = [{"step": 3.0, "loss": 0.5}, {"loss/train": 1.0}, {"loss/valid": 2.0}]
    assert shown == desk.logged


@pytest.mark.parametrize(
    "log",
    [
        lambda: flare.log({"loss": 0.5, "note": "good", "lr": np.float32(0.25)}, step=3),
        lambda: flare.log(loss=0.5, lr=0.25, global_step=3),
        lambda: flare.log(
            key={"loss": 0.5},
            value=None,
            data_type=flare.AnalyticsDataType.METRICS,
            lr=0.25,
            step=3,
        ),
    ],
)
def test_several_numbers_are_shown_at_once(desk: Desk, log: Callable[[], bool]) -> None:
    desk.add()
    received()
    assert log()
    assert desk.logged == [{"step": 3.0, "loss": 0.5, "lr": 0.25}]


def test_a_dict_under_a_name_is_shown_with_both_names(desk: Desk) -> None:
    desk.add()
    received()
    assert flare.log("loss", {"train": 1, "valid": {"a": 2}}, flare.AnalyticsDataType.SCALARS)
    assert not flare.log("none", {"text": "x"})
    assert not flare.log(step=3)
    assert desk.logged == [{"loss/train": 1.0, "loss/valid/a": 2.0}]


def test_every_writer_of_nvflare_shows_its_numbers(desk: Desk) -> None:
    desk.add()
    received()
    mlflow = MLflowWriter()
    mlflow.log_metric("loss", 0.5, step=1)
    mlflow.log_metrics({"accuracy": np.float32(0.25)}, step=2)
    mlflow.log_param("lr", 0.1)
    mlflow.log_params({"lr": 0.1})
    mlflow.log_text("good", "note.txt")
    mlflow.set_tag("site", "one")
    mlflow.set_tags({"site": "one"})
    WandBWriter().log({"train/loss": 0.75}, step=3)
    SummaryWriter().add_scalar(tag="f1", scalar=1.0)
    assert desk.logged == [
        {"step": 1.0, "loss": 0.5},
        {"step": 2.0, "accuracy": 0.25},
        {"step": 3.0, "train/loss": 0.75},
        {"f1": 1.0},
    ]


def test_a_script_may_pass_on_what_init_gave_it(desk: Desk) -> None:
    desk.add()
    ctx = flare.init()  # type: ignore[func-returns-value]  # as scripts for NVFlare do
    assert flare.is_running(ctx=ctx)
    assert flare.receive(ctx=ctx) is not None
    assert flare.get_site_name(ctx=ctx) == flare.system_info(ctx=ctx)["site_name"]
    assert flare.is_train(ctx=ctx)
    SummaryWriter(ctx).add_scalar("loss", 1.0)
    flare.send(flare.FLModel(params=dict(PARAMS)), ctx=ctx)
    assert len(desk.results) == len(desk.logged) == 1


def test_a_script_can_ask_where_it_is(desk: Desk) -> None:
    desk.add()
    assert flare.system_info()["site_name"] == "site-1"
    assert (
        flare.get_job_id(),
        flare.get_site_name(),
        flare.get_task_name(),
    ) == ("demo", "site-1", "train")
    assert flare.is_train()
    assert not flare.is_submit_model()
    config = flare.get_config()
    assert (
        config["params"],
        config["total_rounds"],
        config["device"],
    ) == ({"lr": 0.5}, ROUNDS, "cpu")
    meta = received().meta
    assert meta is not None
    assert (meta["site_name"], meta["job_id"], meta["current_round"]) == ("site-1", "demo", 0)


def test_the_runs_params_are_in_the_meta_and_do_not_hide_what_is_there(desk: Desk) -> None:
    desk.add(params={"fedprox_mu": 0.1, "site_name": "mine"})
    meta = received().meta
    assert meta is not None
    assert meta[AlgorithmConstants.FEDPROX_MU] == 0.1
    assert meta[FLMetaKey.SITE_NAME] == "site-1"


@pytest.mark.parametrize("merged", [True, False])
def test_a_script_is_told_of_weights_that_were_just_merged(desk: Desk, merged: bool) -> None:
    desk.add(merged=merged)
    meta = received().meta
    assert meta is not None
    assert (merged, merged) == (meta["merged"], flare.get_config()["merged"])


def test_without_any_turn_there_is_nothing_to_say(desk: Desk) -> None:
    with pytest.raises(TrainerError, match="no turn"):
        flare.get_site_name()


def test_after_shutdown_there_are_no_more_turns(desk: Desk) -> None:
    desk.add()
    flare.shutdown()
    assert not flare.is_running()
    assert flare.receive() is None


def test_clear_lets_the_turn_begin_again(desk: Desk) -> None:
    desk.add()
    first = received()
    flare.clear()
    assert first is not received()
    assert desk.seeds == [100, 100]


def test_receive_returns_none_when_it_took_too_long(desk: Desk) -> None:
    desk.more_may_come = True
    assert flare.receive(timeout=0.001) is None
    desk.add()
    assert flare.receive(timeout=0.001) is not None


@pytest.mark.parametrize(
    ("name", "framework"),
    [("numpy", "numpy"), ("PYTORCH", "torch"), ("ExchangeFormat.NUMPY", "numpy")],
)
def test_a_script_may_choose_its_framework(desk: Desk, name: str, framework: str) -> None:
    flare.init(params_format=name)
    desk.add()
    received()
    assert [framework] == desk.asked


def test_an_unknown_framework_is_refused(desk: Desk) -> None:
    with pytest.raises(TrainerError, match="torch or numpy"):
        flare.init(params_format="onnx")


@pytest.mark.parametrize(
    ("has_imported_torch", "state", "asked"),
    [
        (True, {"w": 1}, ["torch"]),
        (True, {"dense": [1, 2]}, ["torch", "numpy"]),
        (False, {"w": 1}, ["numpy"]),
    ],
)
def test_without_a_choice_params_are_torchs_if_the_script_uses_it_but_keras_layers_are_numpys(
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_imported_torch: bool,
    state: dict[str, object],
    asked: list[str],
) -> None:
    if not has_imported_torch:
        monkeypatch.delitem(sys.modules, "torch")
    desk = Desk()
    desk.add(state)
    desk.session(framework=None).receive()
    assert asked == desk.asked


def test_a_type_of_params_needs_params() -> None:
    with pytest.raises(ValueError, match="params must be provided"):
        flare.FLModel(params_type=flare.ParamsType.DIFF)
    with pytest.raises(ValueError, match="HALF"):
        flare.FLModel(params_type="HALF", params={})


def test_params_are_full_unless_said_otherwise() -> None:
    assert flare.ParamsType.FULL is flare.FLModel(params={}).params_type
    assert flare.FLModel(metrics={"a": 1}).params_type is None
    assert flare.FLModel("DIFF", {}).is_difference

"""Scripts as sites run them: in a trainer's process of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.scripts import script_site
from tasuki.core.model import Kind
from tasuki_site.trainer import channel

FIVE_CALLS = """
    flare.init()
    print("drawn while setting up:", np.random.rand() > -1)
    while flare.is_running():
        input_model = flare.receive()
        assert isinstance(input_model.params["w"], np.ndarray)
        flare.log("loss", 0.5, global_step=2)
        flare.send(
            flare.FLModel(
                params={"w": np.random.rand(2).astype(np.float32)},
                metrics={"accuracy": 0.5, "round": input_model.current_round},
                meta={"NUM_STEPS_CURRENT_ROUND": 7},
            )
        )
    assert flare.receive() is None
    print("ended at", flare.system_info()["site_name"])
"""


def test_the_five_calls_train_turn_after_turn_and_end_well(tmp_path: Path) -> None:
    with script_site(tmp_path, FIVE_CALLS) as site:
        answers, weights = [], []
        for round in 0, 1, 1:
            answers.append(site.train(round=round))
            weights.append(site.result["w"].tolist())
        printed = site.no_more_turns()
    assert [answer["metrics"]["round"] for answer in answers] == [0, 1, 1]
    assert answers[0]["samples"] == 7
    assert site.logged == [{"step": 2.0, "loss": 0.5}] * 3
    assert weights[0] != weights[1]
    assert weights[1] == weights[2], "a repeated turn repeats itself"
    assert "ended at site-1" in printed


def test_what_a_script_draws_while_it_sets_up_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Bug: a Dropout of Keras, which draws its seed when it is made, made each run another one."""
    script = """
        import random

        own = random.random(), np.random.rand()
        flare.init()
        params = flare.receive().params
        flare.send(flare.FLModel(params=params, metrics={"own": own[0], "also": own[1]}))
    """
    drawn = []
    for round in 0, 0, 1:
        with script_site(tmp_path, script) as site:
            drawn.append(site.train(round=round)["metrics"])
            site.no_more_turns()
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_a_difference_is_added_to_the_received_weights(tmp_path: Path) -> None:
    script = """
        flare.init()
        flare.receive()
        diff = {"w": np.array([1, 2], np.float32)}
        flare.send(flare.FLModel(params_type=flare.ParamsType.DIFF, params=diff))
    """
    with script_site(tmp_path, script) as site:
        assert "digest" in site.train()
        assert site.result["w"].tolist() == [2, 3]
        site.no_more_turns()


def test_layers_of_keras_are_lists_of_arrays_there_and_back(tmp_path: Path) -> None:
    script = """
        flare.init()
        while flare.is_running():
            layers = flare.receive().params
            params = {name: [array + 1 for array in arrays] for name, arrays in layers.items()}
            flare.send(flare.FLModel(params=params))
    """
    state = {"dense": [np.zeros((2, 2), np.float32), np.ones(2, np.float32)], "pool": []}
    with script_site(tmp_path, script, state=state) as site:
        assert "digest" in site.train()
        dense = [array.tolist() for array in site.result["dense"]]
        assert (dense, site.result["pool"]) == ([[[1, 1], [1, 1]], [2, 2]], [])


def test_decorated_functions_train_turn_after_turn(tmp_path: Path) -> None:
    script = """
        @flare.train
        def train(input_model=None, step=1):
            return flare.FLModel(params={"w": input_model.params["w"] + np.float32(step)})

        @flare.evaluate
        def evaluate(input_model):
            return {"mean": input_model.params["w"].mean()}

        if __name__ == "__main__":
            flare.init()
            while flare.is_running():
                input_model = flare.receive()
                evaluate(input_model)
                train(input_model, step=2)
    """
    with script_site(tmp_path, script) as site:
        for round in range(2):
            assert site.train(round=round)["metrics"] == {"received_mean": 1.0}
            assert site.result["w"].tolist() == [3, 3]
        site.no_more_turns()


EVALUATES = """
    flare.init()
    while flare.is_running():
        w = flare.receive().params["w"]
        if flare.is_evaluate():
            split = flare.get_config()["split"]
            meta = {"num_samples": 9}
            flare.send(flare.FLModel(metrics={split: w.mean()}, meta=meta))
            continue
        flare.send(flare.FLModel(params={"w": w + 1}, metrics={"trained": 1}))
"""


def test_a_script_evaluates_and_trains_in_one_process(tmp_path: Path) -> None:
    with script_site(tmp_path, EVALUATES) as site:
        for round in range(2):
            assert site.train(round=round)["metrics"] == {"trained": 1.0}
            (site.folder / "result").unlink()
            answer = site.train(round=round, kind=Kind.EVALUATE)
            assert {"digest": "", "size": 0, "metrics": {"test": 1.0}, "samples": 9} == answer
            assert not (site.folder / "result").exists()
        site.no_more_turns()


def test_decorated_functions_evaluate_and_train_in_one_process(tmp_path: Path) -> None:
    script = """
        @flare.train
        def train(input_model=None):
            return flare.FLModel(params={"w": input_model.params["w"] + 1})

        @flare.evaluate
        def evaluate(input_model):
            return {"mean": input_model.params["w"].mean()}

        flare.init()
        while flare.is_running():
            evaluate()
            train()
    """
    with script_site(tmp_path, script) as site:
        for round in range(2):
            for kind, name in (Kind.EVALUATE, "mean"), (Kind.EVALUATE, "mean"):
                assert site.train(round=round, kind=kind)["metrics"] == {name: 1.0}
            assert site.train(round=round)["metrics"] == {"received_mean": 1.0}
            assert site.result["w"].tolist() == [2, 2]
        site.no_more_turns()


@pytest.mark.parametrize(
    ("sends", "error", "said"),
    [
        ("params={'w': w}", "CannotEvaluate", "sent weights in a turn that evaluates"),
        ("params={'w': w}, metrics={'a': 1}", "CannotEvaluate", "sent weights in a turn that"),
        ("", "TrainerError", "has no metrics"),
        ("metrics={'a': np.nan}", "TrainerError", "the score 'a' is nan"),
        ("metrics={'a': -np.inf}", "TrainerError", "the score 'a' is -inf"),
        ("metrics={'a': 1}, meta={'num_samples': -1}", "TrainerError", "not a number of samples"),
    ],
)
def test_what_is_no_evaluation_fails_its_turn_and_says_what_to_send(
    tmp_path: Path, sends: str, error: str, said: str
) -> None:
    script = f"""
        flare.init()
        w = flare.receive().params["w"]
        flare.send(flare.FLModel({sends}))
    """
    with script_site(tmp_path, script) as site:
        answer = site.train(kind=Kind.EVALUATE)
    assert error == answer["error"], answer
    assert said in answer["detail"]


def test_a_script_that_only_trains_fails_a_turn_that_evaluates(tmp_path: Path) -> None:
    with script_site(tmp_path, FIVE_CALLS) as site:
        assert "digest" in site.train()
        assert "CannotEvaluate" == site.train(kind=Kind.EVALUATE)["error"]


def test_a_decorated_function_that_only_trains_says_that_nothing_evaluates(tmp_path: Path) -> None:
    script = """
        @flare.train
        def train(input_model=None):
            return flare.FLModel(params=input_model.params)

        flare.init()
        while flare.is_running():
            train()
    """
    with script_site(tmp_path, script) as site:
        assert "digest" in site.train()
        answer = site.train(kind=Kind.EVALUATE)
    assert "CannotEvaluate" == answer["error"]
    assert "has called nothing but train, which has @flare.train" in answer["detail"]


def test_a_script_that_ends_without_sending_fails_a_turn_that_evaluates(tmp_path: Path) -> None:
    with script_site(tmp_path, "flare.init(); flare.receive()") as site:
        answer = site.train(kind=Kind.EVALUATE)
    assert answer["detail"] == "the script ended without flare.send for round 1 of 3"


def test_a_script_may_wait_for_a_while_only(tmp_path: Path) -> None:
    script = """
        flare.init()
        flare.send(flare.FLModel(params=flare.receive().params))
        print("waited for", flare.receive(timeout=0.01), flush=True)
        flare.send(flare.FLModel(params=flare.receive(timeout=60).params))
    """
    with script_site(tmp_path, script) as site:
        assert "digest" in site.train()
        assert site.process.stdout is not None
        assert site.process.stdout.readline() == "waited for None\n"
        assert "digest" in site.train(round=1)
        site.no_more_turns()


def test_a_script_that_ends_without_sending_fails_its_turn(tmp_path: Path) -> None:
    with script_site(tmp_path, "flare.init(); flare.receive()") as site:
        answer = site.train(round=1)
    assert answer["error"] == "TrainerError"
    assert answer["detail"] == "the script ended without flare.send for round 2 of 3"


def test_a_script_that_ends_well_after_its_result_says_so_and_begins_no_other_turn(
    tmp_path: Path,
) -> None:
    script = """
        flare.init()
        flare.send(flare.FLModel(params=flare.receive().params))
    """
    with script_site(tmp_path, script) as site:
        assert "digest" in site.train()
        assert {"ended": True} == site.train(round=1)
        assert 0 == site.process.wait(timeout=20)


@pytest.mark.parametrize("output", ["None", "open(os.devnull, 'w')", "object()"])
def test_whatever_a_script_makes_of_its_output_ends_nothing(tmp_path: Path, output: str) -> None:
    """Bug: its result was lost, and with it why."""
    script = f"""
        import os, sys
        flare.init()
        sys.stdout = {output}
        sys.stdout and hasattr(sys.stdout, "close") and sys.stdout.close()
        flare.send(flare.FLModel(params=flare.receive().params))
    """
    with script_site(tmp_path, script) as site:
        assert "digest" in site.train()


def test_a_script_that_never_receives_fails_the_turn_that_comes_then(tmp_path: Path) -> None:
    with script_site(tmp_path, "flare.init()") as site:
        assert "round 2 of 3, which came after its end" in site.train(round=1)["detail"]


def test_a_script_that_raises_fails_its_turn_with_the_last_frames(tmp_path: Path) -> None:
    script = """
        flare.init()
        flare.receive()
        raise ZeroDivisionError("no batches")
    """
    with script_site(tmp_path, script) as site:
        answer = site.train()
        printed, _ = site.process.communicate(timeout=20)
    assert site.process.returncode == 1
    assert answer["error"] == "TrainerRaised"
    assert "client_api.py" in answer["detail"]
    assert answer["detail"].endswith("ZeroDivisionError: no batches")
    assert "ZeroDivisionError: no batches" in printed


def test_what_a_script_raises_between_turns_fails_the_next(tmp_path: Path) -> None:
    script = """
        flare.init()
        flare.send(flare.FLModel(params=flare.receive().params))
        raise ZeroDivisionError("no batches")
    """
    with script_site(tmp_path, script) as site:
        assert "digest" in site.train()
        assert "no batches" in site.train(round=1)["detail"]


def test_a_script_that_exits_with_a_code_says_so(tmp_path: Path) -> None:
    with script_site(tmp_path, "raise SystemExit(3)") as site:
        assert "sys.exit(3)" in site.train()["detail"]


def test_a_script_that_exits_with_words_after_its_last_turn_says_them(tmp_path: Path) -> None:
    """Bug: nobody waited for a result any more, and so nobody was told."""
    script = """
        import sys
        flare.init()
        while flare.is_running():
            flare.send(flare.FLModel(params=flare.receive().params))
        sys.exit("the upload failed")
    """
    with script_site(tmp_path, script) as site:
        assert "digest" in site.train()
        site.connection.sendall(channel.pack({"request": None}))
        printed, _ = site.process.communicate(timeout=20)
    assert "the upload failed" in printed


def test_a_script_gets_the_arguments_that_its_trainer_is_named_with(tmp_path: Path) -> None:
    script = """
        import argparse

        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int, required=True)
        parser.add_argument("--note")
        args = parser.parse_args()
        flare.init()
        params = flare.receive().params
        flare.send(flare.FLModel(params=params, metrics={"epochs": args.epochs}))
        print(args.note)
    """
    with script_site(tmp_path, script, arguments="--epochs 2 --note 'a word'") as site:
        assert site.train()["metrics"] == {"epochs": 2.0}
        assert "a word" in site.no_more_turns()


def test_other_tensors_than_were_received_fail_in_send(tmp_path: Path) -> None:
    script = """
        flare.init()
        flare.receive()
        flare.send(flare.FLModel(params={"other": np.zeros(2, np.float32)}))
    """
    with script_site(tmp_path, script) as site:
        answer = site.train()
    assert answer["error"] == "ManifestMismatch"


def test_a_script_with_torch_gets_tensors_and_seeded_generators(tmp_path: Path) -> None:
    script = """
        import torch

        flare.init()
        while flare.is_running():
            model = flare.receive()
            flare.send(flare.FLModel(params={"w": model.params["w"] + torch.rand(2)}))
    """
    with script_site(tmp_path, script, has_torch=True) as site:
        results = []
        for _ in range(2):
            assert "digest" in site.train()
            results.append(site.result["w"].tolist())
        site.no_more_turns()
    assert results[0] == results[1]


def test_a_script_with_numpy_alone_gets_arrays_where_torch_is_installed_too(
    tmp_path: Path,
) -> None:
    script = """
        flare.init()
        while flare.is_running():
            w = flare.receive().params["w"]
            flare.send(flare.FLModel(params={"w": w + 1}, metrics={"mean": np.mean(w)}))
    """
    with script_site(tmp_path, script, has_torch=True) as site:
        assert [site.train(round=round)["metrics"] for round in range(2)] == [{"mean": 1.0}] * 2
        site.no_more_turns()

"""What evaluates at a site: a function, a script, or the ranks of a command, in real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from support.requests import a_request
from tasuki import errors
from tasuki.core.model import EVALUATION, Kind
from tasuki.errors import CannotEvaluate, TasukiError, TrainerNotFound, TrainerRaised
from tasuki.trainer import evaluate_seed, turn_seed
from tasuki_site.tensors import load_state, save_state
from tasuki_site.trainer.child_trainer import ChildTrainer
from tasuki_site.trainer.result import Outcome
from tasuki_site.trainer.source import Source

FUNCTIONS = """
import os, random
import numpy as np

turns = 0


def train(turn):
    global turns
    turns += 1
    return turn.result({"w": turn.weights("numpy")["w"] + 1})


def evaluate(turn):
    w = turn.weights("numpy")["w"]
    seen = {"w": w.sum(), "turns": turns, "pid": os.getpid(), "drawn": random.random()}
    return turn.scores({**seen, "split " + turn.split: 1}, samples=np.int64(9))


def raises(turn):
    raise ZeroDivisionError("no images")


def unknown_split(turn):
    return {"validation": 1}[turn.split]


def weights(turn):
    return turn.result(turn.weights("numpy"))


def a_dict(turn):
    return {"accuracy": 0.5}


def nothing(turn):
    return None


def nan(turn):
    return turn.scores({"loss": 1.0, "accuracy": float("nan")})


def infinite(turn):
    return turn.scores({"loss": np.float32("inf")})


def empty(turn):
    return turn.scores({}, samples=3)


def half(turn):
    return turn.scores({"loss": 1.0}, samples=7.5)


def words(turn):
    return turn.scores({"loss": 1.0}, samples="many")


def list_of_scores(turn):
    return turn.scores({"loss": [1.0, 2.0]})


def scores(turn):
    return turn.scores({"loss": 1.0})
"""

RANKS = """
import os
import tasuki.flare as flare

rank = int(os.environ["RANK"])
flare.init()
while flare.is_running():
    w = flare.receive().params["w"]
    if flare.is_evaluate():
        metrics, meta = {"rank": rank, "w": w.sum()}, {"num_samples": 5}
        flare.send(flare.FLModel(metrics=metrics, meta=meta))
    else:
        flare.send(flare.FLModel(params={"w": w + 1}))
"""


ALWAYS_TRAINS = """
import tasuki.flare as flare

flare.init()
while flare.is_running():
    flare.send(flare.FLModel(params=flare.receive().params))
"""


def outcomes(source: Source, *kinds: Kind, lane: int = 0) -> Sequence[Outcome]:
    """Turns of these kinds by one trainer; those that evaluate have a lane of their own."""
    folder = source.folder
    save_state(folder / "received", {"w": np.zeros(2, np.float32)})

    async def run() -> list[Outcome]:
        trainer = ChildTrainer(source, lambda *_: None, farewell_s=30)
        try:
            found = []
            async with asyncio.timeout(60):
                for kind in kinds:
                    own = 10**9 if kind is Kind.EVALUATE else lane
                    request = a_request(folder, kind=kind.value, lane=own, split="test")
                    found.append(await trainer.train(request, lambda _: None))
                await trainer.farewell()
            return found
        finally:
            await trainer.close()

    return asyncio.run(run())


def test_what_is_evaluated_is_of_no_lane_for_its_trainer() -> None:
    """Bug: it saw the number by which its turn is told from those that train, 2**32 and more."""
    request = a_request(kind=Kind.EVALUATE.value, lane=EVALUATION + 1)
    assert 0 == request.open(lambda _: None).lane
    assert 3 == a_request(lane=3).open(lambda _: None).lane


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(FUNCTIONS)
    return tmp_path


def test_a_function_scores_in_the_process_that_trains_and_leaves_no_weights(folder: Path) -> None:
    source = Source(run="own:train", folder=folder)
    source.check()
    trained, first, again = outcomes(source, Kind.TRAIN, Kind.EVALUATE, Kind.EVALUATE)
    assert [1, 1] == load_state(folder / "result", framework="numpy")["w"].tolist()
    assert trained.digest
    assert first == again, "a repeated turn repeats itself, in the same process"
    assert (first.digest, first.size, first.samples) == ("", 0, 9)
    assert {"w": 0, "turns": 1, "split test": 1}.items() <= first.metrics.items()


def test_evaluation_alone_writes_no_file(folder: Path) -> None:
    outcomes(Source(run="own:train", folder=folder), Kind.EVALUATE)
    assert {"own.py", "received", "__pycache__"} >= {path.name for path in folder.iterdir()}


def test_the_function_that_evaluates_may_be_named_and_be_elsewhere(folder: Path) -> None:
    (folder / "judge.py").write_text("def judge(turn): return turn.scores({'fair': 1})")
    source = Source(run="own:train", folder=folder, evaluate="judge:judge")
    source.check()
    assert {"fair": 1} == outcomes(source, Kind.TRAIN, Kind.EVALUATE)[1].metrics


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        ("raises", "TrainerRaised", "ZeroDivisionError: no images"),
        ("unknown_split", "TrainerRaised", "KeyError: 'test'"),
        ("weights", "TrainerError", "returned weights (a Result), and an evaluation changes none"),
        ("a_dict", "TrainerError", "evaluate returned a dict; return turn.scores("),
        ("nothing", "TrainerError", "evaluate returned nothing (None); return turn.scores("),
        ("nan", "TrainerError", "the score 'accuracy' is nan"),
        ("infinite", "TrainerError", "the score 'loss' is inf"),
        ("empty", "TrainerError", "the scores are empty; give at least one"),
        ("half", "TrainerError", "the evaluation has samples=7.5, which is no number of samples"),
        ("words", "TrainerError", "the evaluation: samples is 'many', not a number"),
        ("list_of_scores", "TrainerError", "scores: loss is a list of 2, not a number"),
        ("gone", "CannotEvaluate", "module 'own' has no function 'gone', which its settings name"),
    ],
)
def test_what_is_no_evaluation_fails_its_turn_and_says_what_to_do(
    folder: Path, function: str, error: str, said: str
) -> None:
    source = Source(run="own:train", folder=folder, evaluate=f"own:{function}")
    kind: type[TasukiError] = getattr(errors, error)
    with pytest.raises(kind) as raised:
        outcomes(source, Kind.EVALUATE)
    assert type(raised.value) is kind
    assert said in str(raised.value)


def test_scores_are_no_result_of_a_turn_that_trains(folder: Path) -> None:
    with pytest.raises(errors.TrainerError, match=r"returned Scores; return turn\.result"):
        outcomes(Source(run="own:scores", folder=folder), Kind.TRAIN)


def test_without_a_function_that_evaluates_the_message_says_where_to_write_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.py").write_text("def train(turn): return turn.difference({})")
    source = Source(run="own:train", folder=tmp_path)
    with pytest.raises(CannotEvaluate, match="'own:train' cannot evaluate") as raised:
        outcomes(source, Kind.TRAIN, Kind.EVALUATE)
    assert source.why_not_evaluate() == str(raised.value)


def test_a_module_that_cannot_be_imported_says_so_itself(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import gone_for_ever\ndef evaluate(turn): pass")
    with pytest.raises(TrainerNotFound, match="gone_for_ever"):
        outcomes(Source(run="own:train", folder=tmp_path), Kind.EVALUATE)


@pytest.mark.parametrize(
    "text",
    [
        "def evaluate(turn): ...",
        "async def evaluate(turn): ...",
        "if True:\n    def evaluate(turn): ...",
        "try:\n    from judge import evaluate\nexcept ImportError:\n    evaluate = None",
        "from judge import score as evaluate",
        "evaluate = lambda turn: None",
        "other = evaluate = print",
        "from judge import *",
        "def __getattr__(name): ...",
        "def broken(:",
        "\0",
    ],
)
def test_what_may_evaluate_is_not_refused_beforehand(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.py").write_text(text)
    assert Source(run="own:train", folder=tmp_path).why_not_evaluate() is None


@pytest.mark.parametrize(
    "text",
    [
        "def train(turn): ...",
        "import evaluate",
        "def train(turn):\n    evaluate = 1\n    def evaluate(): ...",
        "class Trainer:\n    def evaluate(self): ...",
        "print(evaluate)",
    ],
)
@pytest.mark.parametrize("place", ["own.py", "own/__init__.py"])
def test_what_cannot_evaluate_is_told_by_its_text_alone(
    tmp_path: Path, text: str, place: str
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(f"{text}\nraise SystemExit")
    said = Source(run="own:train", folder=tmp_path).why_not_evaluate()
    assert said is not None
    assert "module 'own' has no function 'evaluate'" in said


@pytest.mark.parametrize("run", ["client.py", "python client.py", "installed.elsewhere:train"])
def test_scripts_commands_and_installed_packages_are_not_judged(tmp_path: Path, run: str) -> None:
    (tmp_path / "client.py").touch()
    assert Source(run=run, folder=tmp_path).why_not_evaluate() is None


@pytest.mark.parametrize(
    ("run", "evaluate", "said"),
    [
        ("client.py", "judge:judge", "is no function, so that evaluate = 'judge:judge' says"),
        ("python client.py", "judge:judge", "let the script ask flare.is_evaluate()"),
        ("own:train", "judge", "write module:function, as in train:evaluate"),
        ("own:train", ":judge", "write module:function"),
        ("own:train", "judge.py", "write module:function"),
    ],
)
def test_what_names_no_function_that_evaluates_is_said_early(
    folder: Path, run: str, evaluate: str, said: str
) -> None:
    (folder / "client.py").touch()
    with pytest.raises(TrainerNotFound) as raised:
        Source(run=run, folder=folder, evaluate=evaluate).check()
    assert said in str(raised.value)


@pytest.mark.timeout(180)
def test_the_ranks_of_torchrun_evaluate_and_rank_0_speaks_for_all(tmp_path: Path) -> None:
    (tmp_path / "ranks.py").write_text(RANKS)
    source = Source(run="torchrun --nproc_per_node=2 ranks.py", folder=tmp_path)
    scored, trained, again = outcomes(source, Kind.EVALUATE, Kind.TRAIN, Kind.EVALUATE)
    assert Outcome(metrics={"rank": 0, "w": 0}, samples=5) == scored == again
    assert trained.digest


def test_a_command_that_sends_weights_is_told_by_the_name_of_what_is_wrong(tmp_path: Path) -> None:
    """Bug: the site heard that its process had ended, so that it was tried again."""
    (tmp_path / "client.py").write_text(ALWAYS_TRAINS)
    with pytest.raises(CannotEvaluate, match="sent weights in a turn that evaluates"):
        outcomes(Source(run="python client.py", folder=tmp_path), Kind.TRAIN, Kind.EVALUATE)


def test_the_seed_of_an_evaluation_is_that_of_run_round_and_site_alone() -> None:
    seed = evaluate_seed(seed=7, round=2, site="site-1")
    assert 4285635161 == seed
    others = [
        evaluate_seed(seed=7, round=3, site="site-1"),
        turn_seed(seed=7, round=2, hop=0, site="site-1"),
    ]
    assert seed not in others


def test_an_evaluation_that_dies_costs_its_process_and_not_the_next_turn(folder: Path) -> None:
    (folder / "dies.py").write_text("import os\ndef judge(turn): os.kill(os.getpid(), 9)")
    source = Source(run="own:train", folder=folder, evaluate="dies:judge")
    with pytest.raises(errors.TrainerDied, match="SIGKILL"):
        outcomes(source, Kind.TRAIN, Kind.EVALUATE)


def test_what_evaluate_raises_has_its_last_frames(folder: Path) -> None:
    with pytest.raises(TrainerRaised, match=r"own\.py"):
        outcomes(Source(run="own:train", folder=folder, evaluate="own:raises"), Kind.EVALUATE)

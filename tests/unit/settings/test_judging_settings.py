"""What a run file says of evaluation, of the best round and of an early end."""

from __future__ import annotations

import pytest

from tasuki.core.model import EvaluatePolicy, Of, Plan, StopPolicy
from tasuki.errors import SettingsError
from tasuki.settings.run import RunFile
from tasuki.settings.toml import parse

TOP = 'name = "r"\nrounds = 4\ntrainer = "train:train"\n[weights]\ninitial = "train:make"\n'


def planned(*tables: str) -> Plan:
    text = TOP + "\n".join(tables)
    return parse(text, RunFile, name="run.toml").plan(["a", "b"])


def refused(*tables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        planned(*tables)
    return str(caught.value)


def test_what_is_judged_by_evaluation_is_no_part_of_a_turn_s_result() -> None:
    evaluated = planned(
        '[checkpoint]\nbest = "auc"',
        '[stop]\nmetric = "received_auc"\npatience = 2',
        '[evaluate]\nevery_n_rounds = 2\nof = "worst"\nsplit = "validation"',
    )
    assert EvaluatePolicy(every_n_rounds=2, split="validation") == evaluated.evaluate
    assert (("received_auc",), ("auc",)) == (evaluated.task.requires, evaluated.task.scores)
    assert Of.WORST is evaluated.checkpoint.of
    assert StopPolicy(metric="received_auc", patience=2, of=Of.WORST) == evaluated.stop
    by_turns = planned('[checkpoint]\nbest = "auc"', "[evaluate]")
    assert (("auc",), ()) == (by_turns.task.requires, by_turns.task.scores)


@pytest.mark.parametrize(
    ("checkpoint", "metric", "mode"),
    [
        ('best = "auc"', "auc", "max"),
        ('best = "loss"\nbest_mode = "min"', "loss", "min"),
        ('best = "loss"\nbest_mode = "max"', "loss", "max"),
        ('best = "auc"', "val_loss", "min"),
    ],
)
def test_less_or_more_is_better_as_the_best_round_or_the_name_says(
    checkpoint: str, metric: str, mode: str
) -> None:
    stop = planned(f"[checkpoint]\n{checkpoint}", f'[stop]\nmetric = "{metric}"\ntarget = 1').stop
    assert stop is not None
    assert mode == stop.mode


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (['[checkpoint]\nbest = "loss"'], "say so, best_mode = 'min'"),
        (
            ['[checkpoint]\nbest = "auc"', '[stop]\nmetric = "auc"\nmode = "min"\ntarget = 1'],
            "is more of it better, or less?",
        ),
        (["[evaluate]\nevery_n_rounds = 5\nat_end = false"], "no round is ever evaluated"),
        (["[evaluate]\nevery_n_round = 5"], "did you mean 'every_n_rounds'"),
        (["[stop]\npatince = 5"], "did you mean 'patience'"),
        (["[stop]\npatience = 5"], "patience is of a metric"),
        (['[stop]\nmetric = "auc"'], "give a target or patience"),
        (["[stop]"], "or leave [stop] out"),
    ],
)
def test_what_fits_nothing_is_refused_with_what_to_do(tables: list[str], said: str) -> None:
    assert said in refused(*tables)

"""The controller's numbers show the newest planned evaluation, and who was left out of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.evaluations import asked_for, fails, goes_silent, score, scores
from support.measured import Measured
from support.runs import plan
from tasuki.core import run as machine
from tasuki.core.model import CheckpointPolicy, EvaluatePolicy, StopPolicy
from tasuki.core.run import Status
from tasuki.observe.bounds import MOST_NAMES
from tasuki.observe.runs import KEPT_S

SITES = ("a", "b")


def evaluating(*, rounds: int = 3, best: str = "accuracy", stop: str = "accuracy") -> Measured:
    """A run whose first round is over and is evaluated."""
    run = Measured(
        replace(
            plan(sites=SITES, rounds=rounds, min_sites=1, max_attempts=1),
            evaluate=EvaluatePolicy(every_n_rounds=1),
            checkpoint=CheckpointPolicy(best=best),
            stop=StopPolicy(metric=stop, target=9.0),
        )
    )
    run.finish_round()
    return run


def next_round(run: Measured, a: float, b: float) -> None:
    run.finish_round()
    scores(run, "a", a)
    scores(run, "b", b)


def of_evaluation(run: Measured) -> dict[str, float]:
    """What is shown of the newest, without the run's own label."""
    name = "tasuki_evaluation_"
    return {
        key.removeprefix(name).replace('run="r"', "r"): value
        for key, value in run.numbers.items()
        if key.startswith(name)
    }


def test_the_newest_evaluation_is_shown_by_mean_and_worst_and_by_how_many_sites_it_has() -> None:
    run = evaluating()
    scores(run, "a", 0.75, samples=30)
    assert {} == of_evaluation(run)
    scores(run, "b", 0.25)
    assert {
        'score{name="accuracy",of="mean",r}': 0.625,
        'score{name="accuracy",of="worst",r}': 0.25,
        'sites{outcome="scored",r}': 2,
        'sites{outcome="left_out",r}': 0,
    } == of_evaluation(run)
    next_round(run, 0.5, 1.0)
    assert 0.75 == of_evaluation(run)['score{name="accuracy",of="mean",r}']


def test_where_less_is_better_the_worst_is_the_highest() -> None:
    run = evaluating()
    for site, loss in (("a", 0.25), ("b", 0.75)):
        run(machine.TurnFinished(record=score(run, site, named={"loss": loss})))
    assert 0.75 == of_evaluation(run)['score{name="loss",of="worst",r}']


def test_a_site_that_was_left_out_is_shown_with_the_reason_until_it_has_scored_again() -> None:
    run = evaluating()
    scores(run, "a")
    fails(run, "b")
    shown = of_evaluation(run)
    assert (1, 1) == (shown['sites{outcome="scored",r}'], shown['sites{outcome="left_out",r}'])
    assert 1 == shown['left_out{reason="TrainerRaised",r,site="b"}']
    next_round(run, 0.5, 0.5)
    shown = of_evaluation(run)
    assert [] == [name for name in shown if name.startswith("left_out")]
    assert 0 == shown['sites{outcome="left_out",r}']


def test_an_evaluation_without_any_score_shows_none_of_the_one_before() -> None:
    run = evaluating()
    scores(run, "a")
    scores(run, "b")
    run.finish_round()
    for site in SITES:
        goes_silent(run, site)
    assert {
        'sites{outcome="scored",r}': 0,
        'sites{outcome="left_out",r}': 2,
        'left_out{reason="silent",r,site="a"}': 1,
        'left_out{reason="silent",r,site="b"}': 1,
    } == of_evaluation(run)


def became(run: Measured, site: str, outcome: str) -> float:
    name = f'tasuki_evaluate_turns_total{{outcome="{outcome}",run="r",site="{site}"}}'
    return run.numbers.get(name, 0)


@pytest.mark.parametrize(
    ("error", "outcome"), [("CannotEvaluate", "CannotEvaluate"), ("x" * 999, "other")]
)
def test_what_becomes_of_a_site_is_counted_with_a_reason_only_if_it_is_one(
    error: str, outcome: str
) -> None:
    run = evaluating()
    scores(run, "a")
    fails(run, "b", error=error)
    next_round(run, 0.5, 0.5)
    assert (2, 1, 1) == (
        became(run, "a", "scored"),
        became(run, "b", "scored"),
        became(run, "b", outcome),
    )
    assert not [name for name in run.numbers if "x" * 99 in name]


def test_what_an_operator_asks_for_is_counted_and_shows_nothing() -> None:
    """It may be about any file, and any split."""
    run = evaluating()
    scores(run, "a")
    scores(run, "b")
    before = of_evaluation(run)
    asked_for(run)
    scores(run, "a", 0.0)
    goes_silent(run, "b")
    assert before == of_evaluation(run)
    assert (2, 1) == (became(run, "a", "scored"), became(run, "b", "silent"))


def test_an_evaluation_that_was_called_off_says_nothing_of_its_sites() -> None:
    run = evaluating()
    scores(run, "a")
    run(machine.StopRequested())
    assert Status.STOPPED is run.state.status
    assert {} == of_evaluation(run)
    assert (1, 1) == (became(run, "a", "scored"), became(run, "b", "called_off"))


def test_the_best_round_is_shown_with_what_chose_it_and_after_a_restart_too() -> None:
    run = evaluating()
    best = 'tasuki_best_round{run="r"}', 'tasuki_best_value{run="r"}'
    assert not set(best) & set(run.numbers)
    scores(run, "a", 0.25)
    scores(run, "b", 0.25)
    next_round(run, 0.75, 0.75)
    next_round(run, 0.5, 0.5)
    assert [2, 0.75] == [run.numbers[name] for name in best]
    restarted = Measured(replace(plan(), run="another"))
    restarted.metrics.runs.found(replace(run.state, status=Status.RELAYING))
    assert [2, 0.75] == [restarted.numbers[name] for name in best]


def test_evaluations_are_forgotten_with_their_run() -> None:
    run = evaluating(rounds=1)
    scores(run, "a")
    fails(run, "b")
    assert Status.FINISHED is run.state.status
    assert 6 == len(of_evaluation(run)) + len([key for key in run.numbers if "_best_v" in key])
    run.now += KEPT_S + 1
    assert [] == run.of_run()


def test_a_trainer_cannot_fill_the_page_with_names_and_what_the_run_goes_by_is_shown() -> None:
    run = evaluating(best="z-best", stop="z-stop")
    names = {f"metric-{number}": 1.0 for number in range(1000)} | {"y" * 10**5: 1.0}
    said = {**names, "z-best": 0.5, "z-stop": 0.5}
    for site in SITES:
        run(machine.TurnFinished(record=score(run, site, named=said)))
    shown = [name for name in of_evaluation(run) if name.startswith("score")]
    assert 2 * MOST_NAMES == len(shown)
    assert {'score{name="z-best",of="mean",r}', 'score{name="z-stop",of="mean",r}'} <= set(shown)
    run.finish_round()
    for site in SITES:
        run(machine.TurnFinished(record=score(run, site, named={"later": 0.5, "z-best": 0.5})))
    assert ['score{name="z-best",of="mean",r}', 'score{name="z-best",of="worst",r}'] == [
        name for name in of_evaluation(run) if name.startswith("score")
    ]

"""Evaluations on a broker, whatever happens in the middle of them: as a plain loop has them."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from support import numbers
from support.broker import Broker
from support.federation import SITES, Waiting
from support.judged import JUDGE, evaluate, is_as_judged, scoring, stop
from support.plain import judged_loop, load_trainer
from support.scripted import ORDER, ROUNDS, Scripted, scripted, write_scripted
from support.simulation import command, environment, simulate, tasuki
from support.waiting import wait_until
from tasuki import errors
from tasuki.core.model import CONTROLLER
from tasuki.settings.initial import RunWeights

Write = Callable[..., Path]
_names = (f"judged-{number}" for number in itertools.count(1))
EACH = evaluate(every_n_rounds=1)


@pytest.fixture(scope="module")
def judging(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Scripted]:
    """A federation whose sites score by `walk:judge`."""
    with scripted(tmp_path_factory.mktemp("judging"), broker, trainers=JUDGE) as federation:
        yield federation


@pytest.fixture
def write_judged(tmp_path: Path) -> Write:
    """Writes a run file whose rounds all sites score, and whose run has a name of its own."""

    def write(*tables: str, params: str = "", **changes: object) -> Path:
        settings: dict[str, Any] = {  # Any: whatever goes into the file
            "initial": "walk:make",
            "bottom": "\n".join([JUDGE, *(tables or (EACH,))]),
            "params": "\n".join(["stamps = 1", params]),
            "flag": tmp_path,
            **changes,
        }
        return write_scripted(tmp_path, next(_names), **settings)

    return write


def ended(judging: Scripted, run: str) -> dict[str, Any]:  # Any: JSON
    """How a run ended, once it has."""
    with judging.client() as client:
        for _ in client.follow(run):
            pass
        return client.outcome(run).model_dump(mode="json")


def scores_of(judging: Scripted, run: str) -> dict[str, Any]:  # Any: JSON
    with judging.client() as client:
        return client.scores(run, metric=None, mode=None).model_dump(mode="json")


def is_judged(
    judging: Scripted, run: str, *, rounds: int = ROUNDS, of: str = "mean", **settings: Any
) -> dict[str, Any]:  # Any: JSON
    """Wait for the run's end, which has to be that of the plain loop."""
    sites = settings.pop("sites", SITES)
    judged = judged_loop([ORDER] * rounds, sites, of=of, **settings)
    last, scores = ended(judging, run), scores_of(judging, run)
    assert "finished" == last["status"], last
    is_as_judged(last, scores, judged, of=of)
    with judging.client() as client:
        client.verify(run)
    return scores


def left_out(scores: dict[str, Any]) -> list[list[tuple[str, str]]]:  # Any: JSON
    return [
        [(site["site"], site["reason"]) for site in each["left_out"]]
        for each in scores["evaluations"]
    ]


def events(judging: Scripted, run: str) -> list[str]:
    with judging.client() as client:
        return [row.event for row in client.rows(run)]


def back(judging: Scripted, name: str) -> None:
    """Returns once its supervisor has started it."""
    process = judging.federation[name]
    wait_until(process.is_up, what=f"{name} is started again")
    process.await_ready()


def asking(judging: Scripted, *words: str | Path) -> Waiting:
    """`tasuki evaluate` under way."""
    token = judging.federation.folder / "data-controller/token"
    where: list[str | Path] = [
        "--controller",
        judging.federation[CONTROLLER].url,
        "--token-file",
        token,
        "--json",
    ]
    process = subprocess.Popen(
        command("evaluate", *words, *where),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Waiting(str(words[0]), process)


def test_scores_best_and_early_end_are_those_of_a_plain_loop_and_of_a_simulation(
    judging: Scripted, write_judged: Write
) -> None:
    settings = {"patience": 2, "min_delta": 0.01}
    tables = [
        evaluate(every_n_rounds=1, of="worst", split="test"),
        stop(metric="accuracy", **settings),
    ]
    run = write_judged(*tables, rounds=9)
    name = judging.submit(run)
    scores = is_judged(judging, name, rounds=9, of="worst", split="test", **settings)
    assert [[]] * len(scores["evaluations"]) == left_out(scores)
    watched = judging.federation.watch(name, "--json").finished()
    assert watched["reason"].startswith("enough: worst of accuracy by evaluation (3 of 3 sites)")
    simulated = simulate(run, "--one-process")
    assert simulated.code == 0, simulated.err
    for key in ("digest", "best_round", "reason", "rounds"):
        assert watched[key] == simulated.last[key]
    alone = tasuki("scores", name, "--data", run.parent / "data", "--json").last
    assert alone["evaluated"] == scores["evaluated"]


def test_a_site_killed_while_it_scores_scores_again_and_counts_once(
    judging: Scripted, write_judged: Write, tmp_path: Path
) -> None:
    run = judging.submit(write_judged(params='hold_scores = { site-1 = "go" }'))
    (began,) = wait_until(
        lambda: scoring(tmp_path, run, "site-1"), what="site-1 scores", within_s=60
    )
    judging.federation["site-1"].signal(SIGKILL)
    wait_until(
        lambda: len(scoring(tmp_path, run, "site-1")) > 1, what="it scores again", within_s=60
    )
    (tmp_path / "go").touch()
    scores = is_judged(judging, run)
    assert [[]] * ROUNDS == left_out(scores)
    assert began["term"] == scoring(tmp_path, run, "site-1")[1]["term"]  # by its own journal


def test_a_controller_killed_while_sites_score_waits_for_those_that_have_not(
    judging: Scripted, write_judged: Write, tmp_path: Path
) -> None:
    run = judging.submit(write_judged(params='hold_scores = { site-1 = "go" }'))
    await_scoring(tmp_path, run, "site-1")
    with judging.supervisor.down(CONTROLLER):
        (tmp_path / "go").touch()
    back(judging, CONTROLLER)
    scores = is_judged(judging, run)
    assert [[]] * ROUNDS == left_out(scores)
    assert not {"LeaseExpired", "TurnFailed"} & set(events(judging, run))
    assert [1] * ROUNDS == [
        len([each for each in scoring(tmp_path, run, "site-2") if each["round"] == round])
        for round in range(ROUNDS)
    ]


@pytest.mark.parametrize("on_silent", ["retry", "skip"])
def test_a_site_that_stays_away_is_left_out_and_the_run_finishes(
    judging: Scripted, write_judged: Write, tmp_path: Path, on_silent: str
) -> None:
    """It goes while it scores what the last round has ended with, and is not heard of again."""
    table = evaluate(every_n_rounds=1, wait_s=6)
    params = 'hold_scores = { site-3 = "never" }'
    run = judging.submit(
        write_judged(table, params=params, failure=f'on_silent = "{on_silent}"', rounds=1)
    )
    await_scoring(tmp_path, run, "site-3")
    with judging.supervisor.down("site-3"):
        scores = is_judged(judging, run, rounds=1, sites=SITES[:2])
        assert [[("site-3", "silent")]] == left_out(scores)
        shown = judging.federation.tell("scores", run).out
        assert "no score of round 1 by site-3: silent" in shown
        name = f'tasuki_evaluation_left_out{{reason="silent",run="{run}",site="site-3"}}'
        assert 1 == numbers.shown(judging.federation[CONTROLLER].metrics()).get(name)
    (tmp_path / "never").touch()
    back(judging, "site-3")


def test_a_site_whose_trainer_raises_is_left_out_with_what_it_says(
    judging: Scripted, write_judged: Write
) -> None:
    run = judging.submit(write_judged(params='broken = "site-2"'))
    scores = is_judged(judging, run, sites=["site-1", "site-3"])
    assert [[("site-2", "TrainerRaised")]] * ROUNDS == left_out(scores)


def test_a_site_with_one_place_trains_and_scores_and_no_lease_runs_out(
    judging: Scripted, write_judged: Write, tmp_path: Path
) -> None:
    """It trains for longer than a lease while it is asked to score."""
    run_toml = write_judged(evaluate(at_end=False), pause_s=7, failure="lease_s = 4", rounds=1)
    run = judging.submit(run_toml)
    wait_until(lambda: (tmp_path / "stamps").exists(), what="the first turn trains", within_s=60)
    asked = asking(judging, run, "--weights", "round-0").finished()
    (row,) = asked["evaluated"][0]["rows"]
    walk = load_trainer("walk")
    assert {site: walk.judged(walk.make(), site)[0]["accuracy"] for site in SITES} == {
        score["site"]: score["value"] for score in row["sites"]
    }
    last = ended(judging, run)
    assert judged_loop([ORDER], SITES).digest == last["digest"]
    assert not {"LeaseExpired", "TurnFailed"} & set(events(judging, run))
    first = next(each for each in scoring(tmp_path, run, ORDER[0]))
    stamps = map(json.loads, (tmp_path / "stamps").read_text().splitlines())
    trained = next(each for each in stamps if (each["what"], each["site"]) == ("end", ORDER[0]))
    assert trained["at"] <= first["at"]  # one after the other


def test_a_run_that_is_over_is_scored_one_wish_after_the_other_and_its_trainers_end(
    judging: Scripted, write_judged: Write, tmp_path: Path
) -> None:
    """Bug to look for: sites that score a run that is over keep its trainers for ever."""
    run = judging.submit(
        write_judged(evaluate(), params='hold_scores = { site-1 = "go" }', rounds=1)
    )
    (tmp_path / "go").touch()
    ended(judging, run)
    is_gone(tmp_path, run)
    (tmp_path / "go").unlink()
    one = asking(judging, run, "--split", "test")
    await_scoring(tmp_path, run, "site-1", times=2)
    model = judging.federation.ask("export", run, "-o", tmp_path / "m.safetensors", "--round", "0")
    assert model.code == 0, model.err
    other = asking(judging, run, "--weights", tmp_path / "m.safetensors")
    wait_until(
        lambda: events(judging, run).count("EvaluationRequested") == 2, what="both are asked for"
    )
    (tmp_path / "go").touch()
    first, second = one.finished(), other.finished()
    walk = load_trainer("walk")
    for asked, state, split in (
        (first, judged_state(walk), "test"),
        (second, walk.make(), ""),
    ):
        (evaluation,) = asked["evaluations"]
        assert (split, True, []) == (
            evaluation["split"],
            evaluation["asked"],
            evaluation["left_out"],
        )
        (row,) = asked["evaluated"][0]["rows"]
        assert {site: walk.judged(state, site, split)[0]["accuracy"] for site in SITES} == {
            score["site"]: score["value"] for score in row["sites"]
        }
    assert [2, 3] == [each["evaluations"][0]["number"] for each in (first, second)]
    is_gone(tmp_path, run)


def judged_state(walk: Any) -> Any:  # Any: a module, and arrays
    from support.plain import seed_of

    state = walk.make()
    for hop, site in enumerate(ORDER):
        state = walk.walk(state, seed_of(0, hop, site))
    return state


def await_scoring(
    folder: Path, run: str, site: str, *, times: int = 1
) -> list[dict[str, Any]]:  # Any: JSON
    """Returns once the site is at it, for the so-manieth time in this run."""

    def began() -> list[dict[str, Any]]:  # Any: JSON
        found = scoring(folder, run, site)
        return found if len(found) >= times else []

    return wait_until(began, what=f"{site} scores", within_s=60)


def is_gone(folder: Path, run: str) -> None:
    """No process that has scored in this run is left."""
    pids = {stamp["pid"] for stamp in scoring(folder, run)}
    wait_until(
        lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()],
        what="trainers of a run that is over end",
        within_s=30,
    )


def test_what_cannot_be_scored_is_refused_with_the_error_of_its_kind(
    judging: Scripted, write_judged: Write, tmp_path: Path
) -> None:
    run = judging.submit(write_judged(evaluate(), rounds=1))
    other = judging.submit(write_judged(evaluate(), rounds=1, initial="walk:make_large"))
    ended(judging, run), ended(judging, other)
    (tmp_path / "no.safetensors").write_bytes(b"no weights at all")
    with judging.client() as client:
        with pytest.raises(errors.UnknownRun, match="keeps no weights of round 9"):
            client.evaluate(run, RunWeights(run=run, round=9), split=None)
        with pytest.raises(errors.UnknownRun, match="there is no run 'nobody-knows'"):
            client.evaluate("nobody-knows", None, split=None)
        with pytest.raises(errors.BadWeights):
            client.upload(tmp_path / "no.safetensors")
        uploaded = client.upload(client.copy_weights(other, tmp_path, round=None).path)
        with pytest.raises(errors.ManifestMismatch, match=rf"of another model than {run}: tensor"):
            client.evaluate(run, uploaded, split=None)
        client.remove(run, stop=False)
        with pytest.raises(errors.WeightsRemoved, match="was removed"):
            client.evaluate(run, None, split=None)

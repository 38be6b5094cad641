"""More rounds, a run from another's weights and removal at a controller, over RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.federation import Federation
from support.plain import plain_loop
from tasuki import errors
from tasuki.core.model import CONTROLLER

ROUND = ["site-2", "site-1", "site-3"]
Write = Callable[..., Path]


def test_an_extended_run_has_the_weights_of_a_plain_loop_over_all_its_rounds(
    federation: Federation, write: Write
) -> None:
    """A restart of the controller, and of a site, between its end and its going on."""
    name = federation.submit(write(rounds=2)).last["run"]
    federation[CONTROLLER].kill()
    federation["site-1"].kill()
    for process in (federation[CONTROLLER], federation["site-1"]):
        process.start()
        process.await_ready()
    extended = federation.ask("extend", name, "--rounds", "4")
    assert (extended.code, extended.last["rounds"]) == (0, "3/4"), extended.err
    ended = federation.ask("watch", name)
    assert (ended.code, ended.last["turns"], ended.last["skipped"]) == (0, 12, 0), ended.err
    assert ended.last["digest"] == plain_loop([ROUND] * 4)
    assert federation.ask("ledger", name, "--verify").last["verified"] is True
    assert federation.ask("extend", name, "--rounds", "4").code == 0
    fewer = federation.ask("extend", name, "--rounds", "3")
    assert (fewer.code, "4 rounds already" in fewer.err) == (errors.FewerRounds.exit_code, True)


def test_a_run_is_extended_as_soon_as_it_has_finished(federation: Federation, write: Write) -> None:
    """Its sites are told of its end by one queue, and of its next turn by another."""
    name = federation.submit(write(rounds=1)).last["run"]
    for rounds in range(2, 5):
        assert federation.ask("extend", name, "--rounds", str(rounds)).code == 0
        ended = federation.ask("watch", name)
        assert (ended.code, ended.last["turns"]) == (0, 3 * rounds), ended.err
    assert ended.last["digest"] == plain_loop([ROUND] * 4)
    events = [row["event"] for row in federation.ledger(name)]
    assert "LeaseExpired" not in events


def test_a_run_under_way_is_extended_while_its_controller_is_killed(
    federation: Federation, write: Write
) -> None:
    name = federation.ask("submit", write(rounds=1, pause_s=0.5)).last["run"]
    federation.await_turns(name, 1)
    assert federation.ask("extend", name, "--rounds", "3").code == 0
    federation[CONTROLLER].kill()
    federation[CONTROLLER].start()
    federation[CONTROLLER].await_ready()
    ended = federation.ask("watch", name)
    assert (ended.code, ended.last["digest"]) == (0, plain_loop([ROUND] * 3)), ended.err


def test_a_stopped_run_is_not_extended_and_another_begins_from_its_weights(
    federation: Federation, write: Write
) -> None:
    name = federation.ask("submit", write(rounds=60, pause_s=1)).last["run"]
    federation.await_turns(name, 4)
    assert federation.ask("stop", name).code == 0
    refused = federation.ask("extend", name, "--rounds", "99")
    assert refused.code == errors.NotExtended.exit_code
    assert f'initial = "run:{name}"' in refused.err
    other = federation.submit(write(rounds=1, initial=f"run:{name}/round-1"))
    assert other.code == 0, other.err
    began = federation.ledger(other.last["run"])[0]["what"]
    assert f"from round 1 of {name}, " in began
    assert (other.last["origin"]["run"], other.last["origin"]["round"]) == (name, 1)


def test_first_weights_of_another_run_that_are_not_there_are_explained(
    federation: Federation, write: Write
) -> None:
    name = federation.submit(write(rounds=1)).last["run"]
    pruned = federation.ask("submit", write(initial=f"run:{name}/round-7"))
    assert pruned.code == errors.UnknownRun.exit_code
    assert "no weights of round 7, only of 0, 1" in pruned.err
    unknown = federation.ask("submit", write(initial="run:wolk"))
    assert (unknown.code, name in unknown.err) == (errors.UnknownRun.exit_code, True)


def test_a_run_is_removed_at_its_controller(federation: Federation, write: Write) -> None:
    run = write(rounds=60, pause_s=0.2)
    name = federation.ask("submit", run).last["run"]
    refused = federation.ask("remove", name, "--yes")
    assert (refused.code, "tasuki stop" in refused.err) == (errors.RunUnderWay.exit_code, True)
    removed = federation.ask("remove", name, "--yes", "--stop")
    assert (removed.code, removed.last["removed"]) == (0, True), removed.err
    assert removed.last["freed"] > 0
    assert not (federation.folder / "data-controller/runs" / name).exists()
    assert name not in [row["run"] for row in federation.ask("runs").last["runs"]]
    assert name in [row["run"] for row in federation.ask("runs", "--all").last["runs"]]
    verified = federation.tell("ledger", name, "--verify")
    assert (verified.code, "its weights were removed" in verified.out) == (0, True), verified.err
    assert federation.ask("remove", name, "--yes").last["outcome"] == "removed_already"
    again = federation.ask("submit", run)
    assert (again.code, "its name is taken" in again.err) == (errors.RunExists.exit_code, True)
    for words in (("extend", name, "--rounds", "99"), ("export", name, "-o", run.parent / "m.pt")):
        assert federation.ask(*words).code == errors.WeightsRemoved.exit_code
    begun = federation.ask("submit", write(initial=f"run:{name}"))
    assert begun.code == errors.WeightsRemoved.exit_code

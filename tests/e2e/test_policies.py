"""A site that is killed at or before its turn: each policy does what it says within one lease."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from support.federation import Federation
from support.plain import plain_loop
from tasuki.errors import RunFailed, SitesLeftOut

LEASE_S = 3.0
LATE_S = 1.5  # a busy machine may notice so late that a lease has run out
ROUND = ["site-2", "site-1", "site-3"]
SILENT = f"site-1 was silent for {LEASE_S:g} s"

Write = Callable[..., Path]
Rows = list[dict[str, Any]]  # Any: JSON


def policy(on_silent: str) -> str:
    return f'lease_s = {LEASE_S}\non_silent = "{on_silent}"'


def kill_in_its_turn(federation: Federation, run: str) -> None:
    """Kill site-1 once it trains: its trainer waits for a file that is not there."""
    federation.await_log("site-1", f"turn taken .*{run}/0")
    federation.await_turns(run, 1)
    federation["site-1"].kill()


def kill_before_its_turn(federation: Federation, run: str, go: Path) -> None:
    """Kill site-1 while site-2 trains, which then goes on."""
    federation.await_log("site-2", f"turn taken .*{run}/0")
    federation["site-1"].kill()
    go.touch()


def at(row: dict[str, Any]) -> float:
    return datetime.fromisoformat(row["at"]).timestamp()


def expired(rows: Rows) -> Rows:
    return [row for row in rows if row["event"] == "LeaseExpired"]


def within_a_lease(row: dict[str, Any], *, since: float) -> bool:
    """Whether a lease ran out in time: not long after it could, and never before."""
    return LEASE_S - 0.1 <= at(row) - since <= LEASE_S + LATE_S


def accepted(rows: Rows, *, hop: int) -> dict[str, Any]:
    """The row of a turn of the first round."""
    (row,) = [
        row
        for row in rows
        if (row["event"], row["outcome"]) == ("TurnFinished", "")
        and (row["turn"]["round"], row["turn"]["hop"]) == (0, hop)
    ]
    return row


def test_skip_goes_on_with_the_next_site_and_everybody_is_told(
    federation: Federation, write: Write
) -> None:
    waiting = federation.begin(
        write(rounds=2, params='hold = { site-1 = "never" }', failure=policy("skip"))
    )
    run = waiting.name
    federation.await_turns(run, 1)
    watching = federation.watch(run)
    kill_in_its_turn(federation, run)
    killed_at = time.time()
    last = waiting.finished(code=SitesLeftOut.exit_code)

    skip = {"hop": 1, "site": "site-1", "reason": "silent", "lane": 0}
    skips = [{"round": round, **skip} for round in range(2)]
    assert (last["turns"], last["skipped"], last["skips"]) == (4, 2, skips)
    assert last["digest"] == plain_loop([["site-2", None, "site-3"], ["site-2", "site-3"]])

    rows = federation.ledger(run)
    (lease,) = expired(rows)
    assert at(lease) - killed_at <= LEASE_S + LATE_S
    assert lease["turn"]["site"] == "site-1"
    assert lease["skipped"] == skips[:1]
    assert "site-1 skipped: silent" in lease["led_to"]
    assert [skip for row in rows for skip in row["skipped"]] == skips
    assert federation.ask("ledger", run, "--verify").code == 0
    assert "site-1 skipped: silent" in federation.tell("ledger", run).out

    watched = watching.ended()
    assert watched.code == SitesLeftOut.exit_code, watched.err
    assert "no turn of site-1 was accepted in any" in watched.out
    assert "site-1 skipped in round 1: silent" in watched.out
    assert "site-1 skipped in round 2: silent" in watched.out
    assert f"{run} finished: 4 turns, 2 skipped" in watched.out
    table = [line.split() for line in watched.out.splitlines()]
    assert ["1", "site-1", "skipped", "silent", "-"] in table
    assert [row[:2] for row in table if row[:1] == ["2"]] == [
        ["2", "site-2"],
        ["2", "site-1"],
        ["2", "site-3"],
    ]
    assert federation.ask("watch", run).last["skips"] == skips
    assert "skipped in round 1: silent" in federation.ask("watch", run).err


def test_wait_leaves_the_turn_with_its_site_until_that_returns(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    waiting = federation.begin(
        write(rounds=1, params='hold = { site-2 = "go" }', failure=policy("wait"))
    )
    run = waiting.name
    kill_before_its_turn(federation, run, tmp_path / "go")
    watching = federation.watch(run)
    federation.await_reason(run, f"waiting: {SILENT}")
    assert f"waiting: {SILENT}" in federation.tell("runs").out
    rows = federation.ledger(run)
    (lease,) = expired(rows)
    assert within_a_lease(lease, since=at(accepted(rows, hop=0)))

    federation["site-1"].start()
    last = waiting.finished()
    assert (last["turns"], last["skipped"]) == (3, 0)
    assert last["digest"] == plain_loop([ROUND])
    rows = federation.ledger(run)
    assert {row["turn"]["term"] for row in rows if row["turn"]} == {1}
    assert not [told for row in rows for told in row["led_to"] if "attempt 2" in told]
    watched = watching.ended().out
    assert f"waiting: {SILENT}" in watched
    assert f"{run} goes on" in watched


def test_retry_gives_the_turn_to_the_same_site_again_until_it_returns(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    run_toml = write(
        rounds=1, params='hold = { site-1 = "go" }', failure=policy("retry"), attempts=20
    )
    waiting = federation.begin(run_toml)
    run = waiting.name
    kill_in_its_turn(federation, run)
    killed_at = time.time()
    federation.await_row(run, "issued to site-1, term 3, attempt 3")
    first, second, *_ = expired(federation.ledger(run))
    assert at(first) - killed_at <= LEASE_S + LATE_S
    assert within_a_lease(second, since=at(first))

    (tmp_path / "go").touch()
    federation["site-1"].start()
    last = waiting.finished()
    assert (last["turns"], last["skipped"]) == (3, 0)
    assert last["digest"] == plain_loop([ROUND])
    issued = [told for row in federation.ledger(run) for told in row["led_to"] if "issued" in told]
    assert [told.partition(",")[0] for told in issued[1:]] == ["issued to site-1"] * len(issued[1:])


def test_retry_fails_when_every_attempt_was_in_vain(federation: Federation, write: Write) -> None:
    run_toml = write(
        rounds=1, params='hold = { site-1 = "never" }', failure=policy("retry"), attempts=2
    )
    waiting = federation.begin(run_toml)
    kill_in_its_turn(federation, waiting.name)
    ended = waiting.ended()
    assert ended.code == RunFailed.exit_code
    assert ended.last["status"] == "failed"
    assert ended.last["reason"] == f"{SILENT} (2 attempts)"
    first, second = expired(federation.ledger(waiting.name))
    assert within_a_lease(second, since=at(first))
    assert f"failed: {SILENT} (2 attempts)" in second["led_to"]


def test_fail_ends_the_run_with_the_name_of_the_site(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    waiting = federation.begin(
        write(rounds=1, params='hold = { site-2 = "go" }', failure=policy("fail"))
    )
    run = waiting.name
    kill_before_its_turn(federation, run, tmp_path / "go")
    ended = waiting.ended()
    assert ended.code == RunFailed.exit_code
    assert (ended.last["status"], ended.last["reason"]) == ("failed", SILENT)
    rows = federation.ledger(run)
    (lease,) = expired(rows)
    assert within_a_lease(lease, since=at(accepted(rows, hop=0)))
    watched = federation.tell("watch", run)
    assert watched.code == RunFailed.exit_code
    assert f"reason: {SILENT}" in watched.out


def test_below_its_least_number_of_sites_a_run_pauses_and_resumes_by_itself(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    run_toml = write(
        rounds=2, params='hold = { site-2 = "go" }', failure=policy("skip"), min_sites=3
    )
    waiting = federation.begin(run_toml)
    run = waiting.name
    kill_before_its_turn(federation, run, tmp_path / "go")
    watching = federation.watch(run)
    federation.await_status(run, "paused")
    reason = "2 of at least 3 sites are there"
    rows = federation.ledger(run)
    (lease,) = expired(rows)
    assert within_a_lease(lease, since=at(accepted(rows, hop=0)))
    assert f"paused: {reason}" in lease["led_to"]
    (listed,) = [row for row in federation.ask("runs").last["runs"] if row["run"] == run]
    assert (listed["status"], listed["reason"]) == ("paused", reason)
    assert reason in federation.tell("runs").out

    federation["site-1"].start()
    last = waiting.finished()
    assert (last["turns"], last["skipped"]) == (6, 0)
    assert last["digest"] == plain_loop([ROUND] * 2)
    watched = watching.ended().out
    assert f"{run} paused: {reason}" in watched
    assert f"{run} goes on" in watched


def test_a_site_that_returns_after_its_run_has_ended_does_not_train_for_it(
    federation: Federation, write: Write
) -> None:
    """Even if it was away for longer than control messages are kept."""
    waiting = federation.begin(
        write(rounds=1, params='stamps = 1\nhold = { site-1 = "never" }', failure=policy("fail"))
    )
    run = waiting.name
    kill_in_its_turn(federation, run)
    assert waiting.ended().code == RunFailed.exit_code
    federation.broker.management.purge(federation.vhost, "tasuki.control.site-1")
    site = federation["site-1"]
    site.start()
    federation.await_log("site-1", f"dropped .*fenced.*{run}/0", after=site.started_at)
    next_run = federation.begin(write(rounds=1))
    assert next_run.finished()["digest"] == plain_loop([ROUND])

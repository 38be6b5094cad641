"""Controller and sites as processes on RabbitMQ: the same weights, whatever happens (P1 to P4)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from safetensors.numpy import load_file

from support.broker import Broker
from support.federation import Federation, finished
from support.plain import plain_loop
from support.simulation import simulate, tasuki, write_run
from tasuki import errors
from tasuki.core.model import CONTROLLER

ROUND = ["site-2", "site-1", "site-3"]
FIXED = '["site-2", "site-1", "site-3"]'


@pytest.fixture
def federation(tmp_path: Path, broker: Broker, vhost: str) -> Iterator[Federation]:
    write_run(tmp_path)
    with Federation(tmp_path, broker, vhost) as federation:
        yield federation


def test_every_order_gives_the_weights_of_a_plain_loop_and_of_a_simulation(
    federation: Federation, tmp_path: Path
) -> None:
    orders = [FIXED, '"fixed"', '"random"', '"random_without_same_in_a_row"']
    for number, order in enumerate(orders):
        run = write_run(tmp_path, order=order, rounds=2)
        run.write_text(run.read_text().replace('name = "walk"', f'name = "walk-{number}"'))
        ended = federation.submit(run)
        assert ended.code == 0, ended.err
        assert ended.last["status"] == "finished"
        assert ended.last["turns"] == 6
        if order == FIXED:
            assert ended.last["digest"] == plain_loop([ROUND] * 2)
        simulated = simulate(run, "--in-process").last["digest"]
        assert ended.last["digest"] == simulated, order


def test_the_record_can_be_read_verified_and_exported_over_http(
    federation: Federation, tmp_path: Path
) -> None:
    ended = federation.submit(write_run(tmp_path, order=FIXED, rounds=1))
    assert ended.code == 0, ended.err
    assert [run["digest"] for run in federation.ask("runs").last["runs"]] == [ended.last["digest"]]
    assert federation.ask("ledger", "walk", "--verify").last["verified"] is True
    assert len(federation.ask("ledger", "walk").last["rows"]) >= 6
    exported = federation.ask("export", "walk", "-o", tmp_path / "model.safetensors")
    assert exported.last["digest"] == ended.last["digest"]
    assert load_file(tmp_path / "model.safetensors")["n"] == 3
    unknown = federation.ask("watch", "wolk")
    assert unknown.code == errors.UnknownRun.exit_code
    assert "walk" in unknown.err
    again = federation.ask("submit", tmp_path / "run.toml")
    assert again.code == errors.RunExists.exit_code
    assert federation.ask("stop", "walk").code == errors.RunError.exit_code
    url = federation[CONTROLLER].url
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert httpx.get(f"{url}/runs", headers=headers).status_code == 401
    for name in (CONTROLLER, "site-1"):
        page = httpx.get(f"{federation[name].url}/metrics").text
        assert "tasuki_broker_up 1.0" in page
        assert "tasuki_broker_reconnects_total 0.0" in page


def test_a_run_is_paused_resumed_and_stopped(federation: Federation, tmp_path: Path) -> None:
    run = write_run(tmp_path, order=FIXED, rounds=3, pause_s=0.2)
    assert federation.ask("submit", run).code == 0
    assert federation.ask("pause", "walk").code == 0
    federation.await_status("paused")
    assert federation.get("/runs/walk").json()["turns"] == 3
    assert federation.ask("resume", "walk").code == 0
    federation.await_turns(4)
    assert federation.ask("stop", "walk").code == 0
    watched = federation.ask("watch", "walk")
    assert watched.code == errors.RunStopped.exit_code
    assert watched.last["status"] == "stopped"


def test_a_killed_site_and_a_killed_controller_change_nothing(
    federation: Federation, tmp_path: Path
) -> None:
    waiting = federation.begin(write_run(tmp_path, order=FIXED, rounds=4, pause_s=0.5))
    federation.await_turns(1)
    for turns, name in ((2, "site-1"), (4, CONTROLLER), (6, "site-3"), (7, CONTROLLER)):
        federation[name].kill()
        federation[name].start()
        federation[name].await_ready()
        federation.await_turns(turns)
    assert finished(waiting)["digest"] == plain_loop([ROUND] * 4)
    assert federation.ask("ledger", "walk", "--verify").code == 0
    local = tasuki("ledger", "walk", "--verify", "--data", tmp_path / "data-controller")
    assert local.code == 0, local.err


def test_a_round_is_completed_while_the_controller_is_away(
    federation: Federation, tmp_path: Path
) -> None:
    waiting = federation.begin(write_run(tmp_path, order=FIXED, rounds=2, pause_s=0.3))
    federation.await_turns(1)
    federation[CONTROLLER].kill()
    federation.await_log("site-3", "handed over")
    federation[CONTROLLER].start()
    assert finished(waiting)["digest"] == plain_loop([ROUND] * 2)


def test_a_site_that_is_asked_to_end_hands_its_turn_over_first(
    federation: Federation, tmp_path: Path
) -> None:
    waiting = federation.begin(write_run(tmp_path, order=FIXED, rounds=3, pause_s=0.5))
    federation.await_log("site-1", "turn taken")
    assert federation["site-1"].end(signal.SIGTERM) == 0
    assert "handed over" in federation["site-1"].log.read_text()
    federation["site-1"].start()
    assert federation[CONTROLLER].end(signal.SIGTERM) == 0
    federation[CONTROLLER].start()
    assert finished(waiting)["digest"] == plain_loop([ROUND] * 3)


def test_a_second_signal_ends_a_site_at_once_and_its_turn_is_trained_again(
    federation: Federation, tmp_path: Path
) -> None:
    waiting = federation.begin(write_run(tmp_path, order=FIXED, rounds=1, pause_s=2.0))
    federation.await_log("site-1", "turn taken")
    federation["site-1"].signal(signal.SIGTERM)
    federation.await_log("site-1", "once more ends it at once")
    assert federation["site-1"].end(signal.SIGTERM) == 128 + signal.SIGTERM
    federation["site-1"].start()
    assert finished(waiting)["digest"] == plain_loop([ROUND])

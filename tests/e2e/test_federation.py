"""Controller and sites as processes on RabbitMQ: the same weights, whatever happens (P1 to P4)."""

from __future__ import annotations

import itertools
import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.numpy import load_file

from support.broker import Broker
from support.federation import Federation, free_port
from support.plain import plain_loop
from support.simulation import simulate, tasuki
from support.waiting import wait_until
from tasuki import errors
from tasuki.core.model import CONTROLLER

ROUND = ["site-2", "site-1", "site-3"]
FIXED = '["site-2", "site-1", "site-3"]'
PLAIN = {
    FIXED: [ROUND] * 5,
    '["site-1", "site-1", "site-3"]': [["site-1", "site-1", "site-3"]] * 5,
    '"fixed"': [["site-1", "site-2", "site-3"]] * 5,
}
RANDOM = ['"random"', '"random_without_same_in_a_row"']


Write = Callable[..., Path]
Rows = list[dict[str, Any]]  # Any: JSON


def order_of(rows: Rows) -> list[list[str]]:
    """Who trained in each round, as the ledger has it."""
    rounds: dict[int, list[str]] = {}
    for row in rows:
        if (row["event"], row["outcome"]) == ("TurnFinished", ""):
            rounds.setdefault(row["turn"]["round"], []).append(row["turn"]["site"])
    return list(rounds.values())


@pytest.mark.parametrize("order", [*PLAIN, *RANDOM])
def test_every_order_gives_the_weights_of_a_plain_loop_and_of_a_simulation(
    federation: Federation, write: Write, order: str
) -> None:
    run = write(order=order, rounds=5)
    ended = federation.submit(run)
    assert ended.code == 0, ended.err
    assert (ended.last["status"], ended.last["turns"]) == ("finished", 15)
    trained = order_of(federation.ledger(ended.last["run"]))
    assert trained == PLAIN[order] if order in PLAIN else is_random(trained, order)
    assert ended.last["digest"] == plain_loop(trained)

    simulated = simulate(run, "--one-process")
    assert simulated.code == 0, simulated.err
    assert simulated.last["digest"] == ended.last["digest"]
    alone = tasuki("ledger", ended.last["run"], "--data", run.parent / "data", "--json")
    assert order_of(alone.last["rows"]) == trained


def is_random(order: list[list[str]], policy: str) -> bool:
    """Whether every round has every site, in an order that changes, as the policy says."""
    all_there = all(sorted(round) == sorted(ROUND) for round in order)
    changes = len({tuple(round) for round in order}) > 1
    pairs = list(itertools.pairwise(order))
    in_a_row = any(before[-1] == after[0] for before, after in pairs)
    return all_there and changes and (policy == RANDOM[0] or not in_a_row)


def test_the_record_can_be_read_verified_and_exported_over_http(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    ended = federation.submit(write(rounds=1))
    assert ended.code == 0, ended.err
    name, digest = ended.last["run"], ended.last["digest"]
    runs = {run["run"]: run["digest"] for run in federation.ask("runs").last["runs"]}
    assert runs[name] == digest
    assert federation.ask("ledger", name, "--verify").last["verified"] is True
    rows = federation.ask("ledger", name).last["rows"]
    assert len(rows) >= 6
    file = tmp_path / "rows"
    assert len(rows) == federation.ask("ledger", name, "--export", file).last["rows"]
    alone = tasuki("ledger", name, "--verify", "--from", file, "--json")
    assert (True, len(rows)) == (alone.last["verified"], alone.last["rows"])
    exported = federation.ask("export", name, "-o", tmp_path / "model.safetensors")
    assert exported.last["digest"] == digest
    assert load_file(tmp_path / "model.safetensors")["n"] == 3
    start = federation.ask("export", name, "--round", "0", "-o", tmp_path / "start.safetensors")
    assert start.last["round"] == 0
    assert load_file(tmp_path / "start.safetensors")["n"] == 0
    assert federation.get(f"/runs/{name}/weights?which=latest").headers["Tasuki-Name"] == "latest"


def test_turns_scores_and_the_best_round_are_those_of_a_simulation(
    federation: Federation, write: Write
) -> None:
    """P4 for what sites report: over the broker and HTTP, and read from a folder."""
    run = write(rounds=3, trainer="judge_first")
    run.write_text(run.read_text().replace('trainer = "walk"', 'trainer = "judging"', 1))
    ended, simulated = federation.submit(run), simulate(run, "--one-process")
    name, data = ended.last["run"], run.parent / "data"
    assert 3 == ended.last["best_round"]["round"]
    assert simulated.last["best_round"] == ended.last["best_round"]
    for words in (
        ["turns", name],
        ["scores", name],
        ["scores", name, "--metric", "accuracy", "--mode", "min"],
    ):
        here, there = tasuki(*words, "--data", data, "--json").last, federation.ask(*words).last
        assert without_seconds(here) == without_seconds(there)
        assert here.get("turns") or here["rolling"][0]["rounds"]
    written = federation.tell("turns", name, "--csv").out.splitlines()
    assert written[0].endswith(",received_accuracy,accuracy")
    assert 1 + 9 == len(written)
    watched = federation.tell("watch", name).out
    assert "best round: 3, with the highest mean accuracy, 8.1667" in watched
    unknown = federation.ask("scores", name, "--metric", "dice")
    assert errors.SettingsError.exit_code == unknown.code
    assert "no site reports received_dice" in unknown.err


def test_a_report_over_http_has_the_numbers_of_one_from_a_folder(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    run = write(rounds=2, trainer="judge_first")
    run.write_text(run.read_text().replace('trainer = "walk"', 'trainer = "judging"', 1))
    name = federation.submit(run).last["run"]
    assert 0 == simulate(run, "--one-process").code
    page, there, here = tmp_path / "report.html", tmp_path / "there", tmp_path / "here"
    told = federation.ask("report", name, "-o", page, "--csv", there)
    assert (0, True) == (told.code, told.last["verified"]), told.err
    assert page.stat().st_size == told.last["size"]
    assert 0 == tasuki("report", name, "--data", run.parent / "data", "--csv", here).code
    for table in ("rolling_scores.csv", "matrix.csv", "lineage.csv"):
        assert (here / table).read_text() == (there / table).read_text()
        assert len((here / table).read_text().splitlines()) > 1


def without_seconds(told: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """How long a turn took is its own."""
    turns = [{**turn, "seconds": None} for turn in told.get("turns", [])]
    return {**told, "turns": turns}


def test_what_an_operator_gets_wrong_is_answered_with_the_error_of_its_kind(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    run = write(rounds=1)
    name = federation.submit(run).last["run"]
    unknown = federation.ask("watch", "wolk")
    assert unknown.code == errors.UnknownRun.exit_code
    assert name in unknown.err
    assert federation.ask("submit", run).code == errors.RunExists.exit_code
    assert federation.ask("stop", name).code == errors.RunError.exit_code
    (tmp_path / "token").write_text("wrong")
    asked = ("--controller", federation[CONTROLLER].url, "--token-file", tmp_path / "token")
    assert tasuki("runs", *asked).code == errors.NotPermitted.exit_code
    assert httpx.get(f"{federation[CONTROLLER].url}/runs").status_code == 401
    answer = federation.post("/weights", b"\x80\x04no weights")
    assert answer.status_code == 422
    assert answer.json()["error"] == "BadWeights"


def test_services_say_how_they_are(federation: Federation) -> None:
    for name in (CONTROLLER, "site-1"):
        url = federation[name].url
        assert httpx.get(f"{url}/healthz").text == "alive\n"
        page = httpx.get(f"{url}/metrics").text
        assert f'tasuki_broker_up{{service="{name}"}} 1.0' in page
        assert "tasuki_broker_reconnects_total" in page
        assert httpx.get(f"{url}/nothing").status_code == 404


def test_a_service_that_cannot_start_says_why(federation: Federation) -> None:
    config = federation.folder / "site-1.toml"
    second = tasuki("site", "--config", config)
    assert second.code == errors.DataInUse.exit_code
    (federation.folder / "wrong.password").write_text("hunter2")
    other = federation.folder / "other.toml"
    text = config.read_text().replace("data-site-1", "data-other").partition("[http]")[0]
    other.write_text(text.replace("site-1.password", "wrong.password"))
    refused = tasuki("site", "--config", other)
    assert refused.code == errors.NotPermitted.exit_code
    assert "hunter2" not in refused.err + refused.out
    other.write_text(text.replace("walk:train", "gone.py"))
    assert tasuki("site", "--config", other).code == errors.TrainerNotFound.exit_code
    closed = f"127.0.0.1:{free_port()}"
    unreachable = text.replace(f"127.0.0.1:{federation.broker.port}", closed)
    other.write_text(unreachable.replace("[broker]", "[broker]\npatience_s = 0.5"))
    assert tasuki("site", "--config", other).code == errors.BrokerUnreachable.exit_code


def test_no_log_has_a_password(federation: Federation) -> None:
    for name, process in federation.processes.items():
        assert federation.broker.password(name) not in process.log.read_text()


def test_a_run_is_paused_resumed_and_stopped(federation: Federation, write: Write) -> None:
    name = federation.ask("submit", write(rounds=60, pause_s=0.2)).last["run"]
    assert federation.ask("pause", name).code == 0
    federation.await_status(name, "paused")
    turns = federation.get(f"/runs/{name}").json()["turns"]
    assert turns % 3 == 0  # whole rounds
    assert federation.ask("resume", name).code == 0
    federation.await_turns(name, turns + 1)
    assert federation.ask("stop", name).code == 0
    watched = federation.ask("watch", name)
    assert watched.code == errors.RunStopped.exit_code
    assert watched.last["status"] == "stopped"


def test_a_killed_site_and_a_killed_controller_change_nothing(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    run = federation.begin(write(rounds=3, pause_s=0.4))
    federation.await_turns(run.name, 1)
    for turns, name in ((2, "site-1"), (4, CONTROLLER), (6, "site-3")):
        federation[name].kill()
        federation[name].start()
        federation[name].await_ready()
        federation.await_turns(run.name, turns)
    assert run.finished()["digest"] == plain_loop([ROUND] * 3)
    data = federation.folder / "data-controller"
    verified = tasuki("ledger", run.name, "--verify", "--data", data)
    assert verified.code == 0, verified.err


def test_a_round_is_completed_while_the_controller_is_away_for_half_a_minute(
    federation: Federation, write: Write
) -> None:
    waiting = federation.begin(write(rounds=2, pause_s=0.3))
    run = waiting.name
    federation.await_log("site-2", f"handed over .*{run}/0 term 1 round 0 hop 0")
    federation[CONTROLLER].kill()
    killed_at = time.monotonic()
    federation.await_log("site-3", f"handed over .*{run}/0 term 1 round 0 hop 2")
    # What is promised is about these 30 s: there is nothing else to wait for.
    wait_until(lambda: time.monotonic() - killed_at >= 30, what="30 s", within_s=40)
    assert not federation.has_logged("site-2", f"turn taken .*{run}/0 .*round 1")
    federation[CONTROLLER].start()
    last = waiting.finished()
    assert last["digest"] == plain_loop([ROUND] * 2)
    rows = federation.ledger(run)
    assert not [row for row in rows if row["event"] == "LeaseExpired"]
    assert {row["turn"]["term"] for row in rows if row["turn"]} == {1, 2}  # one a round
    assert federation.ask("ledger", run, "--verify").last["verified"] is True


def test_who_is_asked_to_end_hands_its_turn_over_first(
    federation: Federation, write: Write
) -> None:
    run = federation.begin(write(rounds=2, pause_s=0.5))
    federation.await_log("site-1", f"turn taken .*{run.name}/0 term 1 round 0 hop 1")
    assert federation["site-1"].end(signal.SIGTERM) == 0
    assert federation.has_logged("site-1", f"handed over .*{run.name}/0 term 1 round 0 hop 1")
    federation["site-1"].start()
    assert federation[CONTROLLER].end(signal.SIGTERM) == 0
    federation[CONTROLLER].start()
    assert run.finished()["digest"] == plain_loop([ROUND] * 2)


def test_a_second_signal_ends_a_site_and_its_trainer_at_once_and_its_turn_is_trained_again(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    run = federation.begin(write(rounds=1, params='stamps = 1\nhold = { site-1 = "go" }'))
    wait_until(lambda: starts(tmp_path, site="site-1"), what="site-1 trains")
    site = federation["site-1"]
    site.signal(signal.SIGTERM)
    federation.await_log("site-1", "once more ends it at once", after=site.started_at)
    assert site.end(signal.SIGTERM) == 128 + signal.SIGTERM
    (first,) = starts(tmp_path, site="site-1")
    wait_until(lambda: not is_running(first["pid"]), what="its trainer has ended")
    (tmp_path / "go").touch()
    site.start()
    assert run.finished()["digest"] == plain_loop([ROUND])
    assert len(starts(tmp_path, site="site-1")) == 2
    assert len(starts(tmp_path, site="site-3")) == 1


def test_a_site_whose_password_was_taken_back_ends_when_it_is_asked_to(
    federation: Federation, broker: Broker, write: Write, tmp_path: Path
) -> None:
    """Bug: it waited for ever to hand over what nobody would take, until a second signal."""
    run = federation.begin(write(rounds=1, params='stamps = 1\nhold = { site-1 = "go" }'))
    wait_until(lambda: starts(tmp_path, site="site-1"), what="site-1 trains")
    site, password = federation["site-1"], broker.password("site-1")
    broker.management.add_user("site-1", "another one")
    try:
        broker.ctl("close_all_user_connections", "site-1", "its password was taken back")
        (tmp_path / "go").touch()
        assert site.end(signal.SIGTERM) == 0
    finally:
        broker.management.add_user("site-1", password)
    assert federation.has_logged("site-1", "cannot be finished", after=site.started_at)
    site.start()
    assert run.finished()["digest"] == plain_loop([ROUND])


def test_a_site_s_log_says_what_it_has_when_it_is_ready_and_of_which_run_each_line_is(
    federation: Federation, write: Write
) -> None:
    name = federation.submit(write(rounds=1)).last["run"]
    for said in (r"site starts .*trainers=.*walk", "ready for turns", rf"turn taken .*run={name} "):
        federation.await_log("site-1", said)


def test_two_runs_at_a_time_share_the_sites_turn_by_turn_in_the_order_of_arrival(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    other = '["site-3", "site-1", "site-2"]'
    run_tomls = [
        write(order=order, rounds=3, pause_s=0.2, params="stamps = 1") for order in (FIXED, other)
    ]
    begun = [federation.begin(run_toml) for run_toml in run_tomls]
    digests = [run.finished()["digest"] for run in begun]
    assert digests == [plain_loop([ROUND] * 3), plain_loop([["site-3", "site-1", "site-2"]] * 3)]
    both_at_work = False
    for site in ROUND:
        turns = [stamp for stamp in read_stamps(tmp_path) if stamp["site"] == site]
        assert [stamp["what"] for stamp in turns] == ["start", "end"] * 6
        trained = [(stamp["run"], stamp["round"]) for stamp in turns if stamp["what"] == "start"]
        assert trained == arrivals(federation, site, [run.name for run in begun])
        changes = sum(before[0] != after[0] for before, after in itertools.pairwise(trained))
        both_at_work = both_at_work or changes > 1
    assert both_at_work


def arrivals(federation: Federation, site: str, runs: list[str]) -> list[tuple[str, int]]:
    """The turns of these runs (and their round) in the order in which a site took them."""
    log = federation[site].log.read_text()
    names = "|".join(map(re.escape, runs))
    found = re.findall(rf"turn taken .*\b({names})/0 term \d+ round (\d+) hop", log)
    return [(run, int(round)) for run, round in found]


def read_stamps(folder: Path) -> Rows:
    """What the trainers left, in the order of time."""
    stamps = folder / "stamps"
    return [json.loads(line) for line in stamps.read_text().splitlines()] if stamps.exists() else []


def is_running(pid: int) -> bool:
    """Whether a process does anything; whoever adopted a dead one may be slow to bury it."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def starts(folder: Path, *, site: str) -> Rows:
    return [s for s in read_stamps(folder) if (s["what"], s["site"]) == ("start", site)]

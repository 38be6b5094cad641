"""Controller and sites as processes on RabbitMQ: the same weights, whatever happens (P1 to P4)."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from safetensors.numpy import load_file

from support.broker import Broker
from support.federation import NO_TORCH, Federation, free_port
from support.plain import plain_loop
from support.simulation import simulate, tasuki, write_run
from tasuki import errors
from tasuki.core.model import CONTROLLER

ROUND = ["site-2", "site-1", "site-3"]
FIXED = '["site-2", "site-1", "site-3"]'
PLAIN = {
    FIXED: ROUND,
    '["site-1", "site-1", "site-3"]': ["site-1", "site-1", "site-3"],
    '"fixed"': ["site-1", "site-2", "site-3"],
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Federation]:
    """One for all: every test has a run of its own and leaves everybody at work."""
    folder, vhost = tmp_path_factory.mktemp("federation"), broker.vhost()
    write_run(folder)
    path = os.pathsep.join([str(NO_TORCH), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        # Trainers that need no torch do not pay for it: a second of each process.
        patch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
        with Federation(folder, broker, vhost) as federation:
            yield federation
    broker.drop_vhost(vhost)


Write = Callable[..., Path]
_names = (f"run-{number}" for number in itertools.count(1))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a run file whose run has a name of its own."""

    def write_named(**changes: object) -> Path:
        path = write_run(tmp_path, **{"order": FIXED, **changes})
        path.write_text(path.read_text().replace('name = "walk"', f'name = "{next(_names)}"'))
        return path

    return write_named


def test_every_order_gives_the_weights_of_a_plain_loop_and_of_a_simulation(
    federation: Federation, write: Write
) -> None:
    for order in (*PLAIN, '"random"', '"random_without_same_in_a_row"'):
        run = write(order=order, rounds=2)
        ended = federation.submit(run)
        assert ended.code == 0, ended.err
        assert ended.last["status"] == "finished"
        assert ended.last["turns"] == 6
        if order in PLAIN:
            assert ended.last["digest"] == plain_loop([PLAIN[order]] * 2)
        else:
            assert ended.last["digest"] == simulate(run, "--in-process").last["digest"], order


def test_the_record_can_be_read_verified_and_exported_over_http(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    ended = federation.submit(write(rounds=1))
    assert ended.code == 0, ended.err
    name, digest = ended.last["run"], ended.last["digest"]
    runs = {run["run"]: run["digest"] for run in federation.ask("runs").last["runs"]}
    assert runs[name] == digest
    assert federation.ask("ledger", name, "--verify").last["verified"] is True
    assert len(federation.ask("ledger", name).last["rows"]) >= 6
    exported = federation.ask("export", name, "-o", tmp_path / "model.safetensors")
    assert exported.last["digest"] == digest
    assert load_file(tmp_path / "model.safetensors")["n"] == 3


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
        assert "tasuki_broker_up 1.0" in page
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
    name = federation.ask("submit", write(rounds=3, pause_s=0.2)).last["run"]
    assert federation.ask("pause", name).code == 0
    federation.await_status(name, "paused")
    assert federation.get(f"/runs/{name}").json()["turns"] == 3
    assert federation.ask("resume", name).code == 0
    federation.await_turns(name, 4)
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


def test_a_round_is_completed_while_the_controller_is_away(
    federation: Federation, write: Write
) -> None:
    run = federation.begin(write(rounds=2, pause_s=0.3))
    federation.await_turns(run.name, 1)
    federation[CONTROLLER].kill()
    federation.await_log("site-3", f"handed over .*{run.name}/0 term 1 round 0 hop 2")
    federation[CONTROLLER].start()
    assert run.finished()["digest"] == plain_loop([ROUND] * 2)


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


def test_a_second_signal_ends_a_site_at_once_and_its_turn_is_trained_again(
    federation: Federation, write: Write
) -> None:
    run = federation.begin(write(rounds=1, pause_s=1.2))
    federation.await_log("site-1", f"turn taken .*{run.name}/0")
    site = federation["site-1"]
    site.signal(signal.SIGTERM)
    federation.await_log("site-1", "once more ends it at once", after=site.started_at)
    assert site.end(signal.SIGTERM) == 128 + signal.SIGTERM
    site.start()
    assert run.finished()["digest"] == plain_loop([ROUND])

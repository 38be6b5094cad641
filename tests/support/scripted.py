"""A federation whose services follow a script of faults, and what has to be true of it after."""

from __future__ import annotations

import functools
import itertools
import os
import re
import signal
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pika
import pytest

from support.federation import NO_TORCH, SITES, Federation
from support.members import EVERYTHING
from support.plain import plain_loop
from support.simulation import write_run
from support.supervision import Supervisor
from support.vhosts import Vhosts
from support.waiting import wait_until
from tasuki.core.model import CONTROLLER
from tasuki.errors import TransportError
from tasuki.testing.faults import VARIABLE, log_of, read_log
from tasuki.wire import names
from tasuki_cli import operate
from tasuki_cli.client import ControllerClient

ROUNDS = 2
ORDER = ("site-2", "site-1", "site-3")
QUEUES = (
    names.REPORTS,
    names.DEAD,
    *(names.turns_queue(site) for site in SITES),
    *(names.control_queue(site) for site in SITES),
)
REFUSED = re.compile(r"(message|report|weights|chunk) refused ")
Row = dict[str, Any]  # Any: JSON


@dataclass
class Scripted:
    """The federation, its supervisor, its broker and its script."""

    federation: Federation
    supervisor: Supervisor
    broker: Vhosts
    script: Path

    def client(self) -> closing[ControllerClient]:
        token = self.federation.folder / "data-controller/token"
        return closing(ControllerClient(self.federation[CONTROLLER].url, token))

    def follow(self, *rules: str) -> None:
        """A new script."""
        log_of(self.script).unlink(missing_ok=True)
        self.script.write_text("".join(f"{rule}\n" for rule in rules))

    def reached(self, rule: str) -> bool:
        return any(line["rule"] == rule for line in read_log(self.script))

    def await_stop(self, rule: str) -> int:
        """Returns the process that a rule has stopped, once it stands."""

        def stopped() -> int:
            for line in read_log(self.script):
                pid = int(line["pid"])
                if line["rule"] == rule and _state(pid) == "T":
                    return pid
            return 0

        return wait_until(stopped, what=rule, within_s=60)

    def submit(self, run_toml: Path) -> str:
        """Its name. A controller that dies of it has the run on record all the same."""
        with suppress(TransportError), self.client() as client:
            operate.submit(run_toml, client, wait=False, as_json=True)
        return str(tomllib.loads(run_toml.read_text())["name"])

    def check(self, run: str, order: Sequence[str] = ORDER) -> list[Row]:
        """Wait for the run's end, and see that nothing is missing; its ledger's rows."""
        self.check_bits(run, order)
        with self.client() as client:
            checked = client.verify(run)
            rows = [row.model_dump(mode="json") for row in client.rows(run)]
        assert (checked.rows, checked.checkpoints) == (len(rows), ROUNDS + 1)
        wait_until(lambda: not self.leftovers(), what="no message stays")
        return rows

    def check_bits(self, run: str, order: Sequence[str]) -> None:
        """Wait for the run's end, which has to be that of the undisturbed loop."""
        with self.client() as client:
            for _ in client.follow(run):
                pass
            standing = client.outcome(run)
        assert standing.status == "finished", standing
        assert standing.digest == undisturbed(tuple(order))
        assert standing.turns == ROUNDS * len(order)

    def check_spools(self) -> None:
        """Weights on their way are needed by nobody once every run is over."""
        found = self.federation.folder.glob
        wait_until(lambda: not list(found("data-*/spool/*.safetensors")), what="no weights stay")

    def leftovers(self) -> dict[str, int]:
        """Messages that wait in a queue that should be empty by now."""
        url = self.broker.url("admin", self.federation.vhost)
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            counts = {
                name: channel.queue_declare(name, passive=True).method.message_count
                for name in QUEUES
            }
        return {name: count for name, count in counts.items() if count}


@functools.cache
def undisturbed(order: tuple[str, ...]) -> str:
    """The digest of a run in this order."""
    return plain_loop([order] * ROUNDS, make="make_large")


def write_scripted(
    folder: Path, name: str, *, order: Sequence[str] = ORDER, **changes: object
) -> Path:
    """A run file of weights that take several chunks."""
    folder = folder / name
    folder.mkdir()
    listed = ", ".join(f'"{site}"' for site in order)
    settings = {"rounds": ROUNDS, "initial": "walk:make_large", "attempts": 3, **changes}
    path = write_run(folder, order=f"[{listed}]", **settings)
    path.write_text(path.read_text().replace('name = "walk"', f'name = "{name}"'))
    return path


@contextmanager
def scripted(
    folder: Path,
    broker: Vhosts,
    *,
    settings: str = "",
    hosts: Sequence[str] = (),
    trainers: str = "",
    require: Sequence[str] = EVERYTHING,
    is_lied_to: bool = False,
) -> Iterator[Scripted]:
    """Everybody at work and kept at it; in the end no message may be in anybody's hands.

    Args:
        settings: further lines of every service's [broker].
        hosts: the broker's nodes, if not as it says itself.
        trainers: further lines of every site's trainers.
        require: what everybody takes nothing without.
        is_lied_to: somebody forges messages, so that some are refused.
    """
    vhost, script = broker.vhost(), folder / "script"
    script.touch()
    write_run(folder)
    path = os.pathsep.join([str(NO_TORCH), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
        patch.setenv(VARIABLE, str(script))
        settings_of_all = dict.fromkeys((CONTROLLER, *SITES), settings)
        with Federation(
            folder,
            broker,
            vhost,
            hosts=hosts,
            broker_settings=settings_of_all,
            trainers=dict.fromkeys(SITES, trainers),
            require=require,
        ) as federation:
            with Supervisor(federation.processes) as supervisor:
                yield Scripted(federation, supervisor, broker, script)
            refused = [] if is_lied_to else _refusals(federation)
            assert not refused, refused
            wait_until(lambda: not _unsettled(broker, vhost), what="every message is settled")
    broker.drop_vhost(vhost)


def seconds_of_turns(rows: Sequence[Row]) -> list[float]:
    """How long each took, from what came before it to its record."""
    told = [row for row in rows if row["event"] in {"RunSubmitted", "TurnFinished"}]
    times = [datetime.fromisoformat(row["at"]) for row in told]
    return [(after - before).total_seconds() for before, after in itertools.pairwise(times)]


def go_on(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _refusals(federation: Federation) -> list[str]:
    """What services took for forged, altered or broken, as their logs say."""
    logs = (process.log.read_text() for process in federation.processes.values())
    return [line for log in logs for line in log.splitlines() if REFUSED.search(line)]


def _unsettled(broker: Vhosts, vhost: str) -> dict[str, object]:
    queues = broker.list_queues(vhost)
    return {name: queues[name]["messages"] for name in QUEUES if queues[name].get("messages")}


def _state(pid: int) -> str:
    """As the kernel has it: T is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""

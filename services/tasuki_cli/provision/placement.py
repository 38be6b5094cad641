"""See to it that every queue and stream has its replicas on a running broker, and tell what lacks.

What is to be done is decided in `replicas`.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tasuki.errors import SettingsError, TransportError
from tasuki_cli.provision import ctl as commands
from tasuki_cli.provision import replicas
from tasuki_cli.provision.ctl import Command, Ctl
from tasuki_cli.provision.definitions import Document
from tasuki_cli.provision.management import Management
from tasuki_cli.provision.replicas import Change, Nodes, Placed, Wanted

_SHOWS_S = 10.0
"""The management API's statistics are that old at times."""
_SETTLES_S = 30.0
"""What was changed may need so long until it is so."""
_LOOKS_EACH_S = 1.0


@dataclass(slots=True)
class Placement:
    """How it is in the end.

    Attributes:
        nodes: of the broker, by name.
        replicas: of each queue and stream, as many as can be.
        done: what was changed for it.
        missing: what is not as it should be; nothing, and the federation is whole.
        commands: what a person has to run where we could not.
        notes: what is no fault, and worth knowing.
    """

    nodes: list[str] = field(default_factory=list)
    replicas: int = 0
    done: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def place(
    document: Document, management: Management, *, count: int, prefix: str | None
) -> Placement:
    """Bring what was declared to its replicas.

    Args:
        count: how many replicas are wanted.
        prefix: what the broker's own commands are run through; None for those of this machine.

    Raises:
        SettingsError: the prefix does not lead to this broker.
        TransportError: the broker cannot be reached or refuses.
    """
    wanted = Wanted(queues=tuple(q["name"] for q in document["queues"]), replicas=count)
    return _Placing(management, document["vhosts"][0]["name"], wanted).run(prefix)


class _Placing:
    def __init__(self, management: Management, vhost: str, wanted: Wanted) -> None:
        self._management = management
        self._vhost = vhost
        self._wanted = wanted
        self._ctl: Ctl | None = None
        self._found = Placement()
        self._patient_until = time.monotonic() + _SHOWS_S
        self._look()

    def run(self, prefix: str | None) -> Placement:
        if self._torn:
            count = self._wanted.on(self._nodes)
            return Placement(nodes=sorted(self._nodes.all), replicas=count, missing=self._torn)
        if len(self._nodes.all) > 1 or self._changes():
            self._ctl = self._reached(prefix)
            self._look()
        # Twice: a queue takes one change at a time, and may be busy with the one before.
        for todo in (self._changes, self._changes, self._renewals):
            if self._ctl is not None:
                self._do(todo(), self._ctl)
            self._await(lambda: not self._missing())
        self._spread()
        return self._told()

    def _reached(self, prefix: str | None) -> Ctl | None:
        """The broker's commands, if they are those of this broker."""
        ours = self._nodes.all
        ctl = commands.found(prefix)
        try:
            known = frozenset() if ctl is None else ctl.nodes()
        except TransportError as exc:
            if prefix is not None:
                raise SettingsError(f"--ctl: {exc}") from exc
            return None  # this machine has RabbitMQ's commands, and no broker for them
        if prefix is not None and not known & ours:
            raise SettingsError(
                f"--ctl {prefix} leads to {', '.join(sorted(known))}, and the management API is of "
                f"{', '.join(sorted(ours))}: name one of the same broker"
            )
        return ctl if known & ours else None

    # --- what is there

    def _look(self) -> None:
        listed = self._management.ask("GET", "nodes")
        running = [node["name"] for node in listed if node["running"]]
        away = [node["name"] for node in listed if not node["running"]]
        self._nodes = Nodes(running=tuple(sorted(running)), away=tuple(sorted(away)))
        self._torn = replicas.torn({node["name"]: node.get("partitions", ()) for node in listed})
        self._placed = self._all_placed()

    def _all_placed(self) -> list[Placed]:
        if self._ctl is not None:
            return self._ctl.placed(self._vhost)
        rows = self._management.ask("GET", "queues", self._vhost)
        return [
            commands.placed(row, leader=row.get("leader") or row.get("node", "")) for row in rows
        ]

    def _changes(self) -> list[Change]:
        return replicas.changes(self._placed, self._nodes, self._wanted)

    def _renewals(self) -> list[Change]:
        """Of quorum queues, after they had time to start; a stream would be copied whole."""
        found = replicas.renewals(self._placed, self._nodes)
        return [change for change in found if not change.is_stream]

    def _missing(self) -> list[str]:
        return replicas.missing(self._placed, self._nodes, self._wanted)

    def _version(self) -> tuple[int, int]:
        major, minor, *_ = self._management.ask("GET", "overview")["rabbitmq_version"].split(".")
        return int(major), int(minor)

    # --- what is done about it

    def _do(self, todo: list[Change], ctl: Ctl) -> None:
        if not todo:
            return
        version = self._version()
        self._found.notes.clear()
        for change in todo:
            command = commands.command_for(change, vhost=self._vhost, version=version)
            self._try(ctl, command, done=_told(change))
        self._expect_change()

    def _try(self, ctl: Ctl, command: Command, *, done: str) -> None:
        try:
            ctl.run(*command)
        except TransportError as exc:
            self._found.notes.append(str(exc))
        else:
            self._found.done.append(done)

    def _spread(self) -> None:
        """Let no node lead nearly nothing, as after restarts of the others."""
        kinds = commands.movable(self._version()) if self._uneven() else frozenset()
        if self._ctl is not None and kinds & self._uneven().keys():
            done = "spread leaders over the nodes"
            self._try(self._ctl, commands.rebalance(self._vhost), done=done)
            self._expect_change()
            self._await(lambda: not kinds & self._uneven().keys())
        for kind, leads in self._uneven().items():
            self._found.notes.append(_UNEVEN[kind].format(leads=replicas.spread(leads)))

    def _uneven(self) -> Mapping[str, Counter[str]]:
        return replicas.uneven(self._placed, self._nodes)

    def _expect_change(self) -> None:
        self._patient_until = time.monotonic() + _SETTLES_S
        self._look()

    def _await(self, condition: Callable[[], object]) -> None:
        """Look until it is so. What was just changed needs some seconds; nothing else does."""
        while not condition() and time.monotonic() < self._patient_until:
            time.sleep(_LOOKS_EACH_S)
            self._look()

    # --- what is told

    def _told(self) -> Placement:
        placed, nodes, found = self._placed, self._nodes, self._found
        todo = self._changes() + replicas.renewals(placed, nodes)
        version = self._version() if todo else (0, 0)
        found.nodes = sorted(nodes.all)
        found.replicas = self._wanted.on(nodes)
        found.missing = [
            *replicas.away(placed, nodes, self._wanted),
            *self._missing(),
        ]
        found.commands = [
            shlex.join(commands.command_for(change, vhost=self._vhost, version=version))
            for change in todo
        ]
        return found


_UNEVEN = {
    "quorum": "the leaders of quorum queues are spread badly ({leads}): "
    "rabbitmq-queues rebalance all",
    "stream": "the leaders of streams are spread badly ({leads}): rabbitmq-queues rebalance all; "
    "before 4.0 one moves only when its node is restarted",
}


def _told(change: Change) -> str:
    done = (
        f"added a replica of {change.queue} on" if change.adds else f"removed {change.queue} from"
    )
    return f"{done} {change.node}"

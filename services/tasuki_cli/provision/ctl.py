"""The broker's own commands, for what its management API cannot do.

No release has the API for a stream's replicas, and 3.10 has it for nothing of the kind.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasuki.errors import TransportError
from tasuki_cli.provision.replicas import Change, Placed

Command = tuple[str, ...]

_ANSWER_S = 120.0
_SHOWN = 300
_KINDS = ("quorum", "stream", "classic")
_FORGETS_STREAMS = (3, 13)
"""Before that a stream's replica on a node that is gone cannot be removed by its command."""
_MOVES_STREAMS = (4, 0)


class Ctl:
    """Runs them.

    Args:
        prefix: what leads to where they are, such as `docker compose exec -T rabbitmq`.
    """

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self._prefix = tuple(prefix)

    def run(self, *command: str) -> str:
        """What it said.

        Raises:
            TransportError: it cannot be run, or failed.
        """
        words = [*self._prefix, *self._quoted(command)]
        try:
            done = subprocess.run(  # noqa: S603 - what the operator names
                words, capture_output=True, text=True, timeout=_ANSWER_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise TransportError(f"{shlex.join(words)}: {exc}") from exc
        if done.returncode:
            said = " ".join(f"{done.stdout} {done.stderr}".split())[-_SHOWN:]
            raise TransportError(f"{shlex.join(words)} ended with {done.returncode}: {said}")
        return done.stdout

    def nodes(self) -> frozenset[str]:
        """The broker's nodes by name; raises TransportError."""
        found = self._json("cluster_status")
        return frozenset([*found["disk_nodes"], *found.get("ram_nodes", ())])

    def placed(self, vhost: str) -> list[Placed]:
        """Where everything is now; the management API may tell what was minutes ago."""
        columns = ("name", "type", "leader", "members", "online")
        rows = self._json("list_queues", "--vhost", vhost, *columns)
        return [placed(row, leader=row["leader"]) for row in rows]

    def _quoted(self, command: Sequence[str]) -> Sequence[str]:
        """ssh hands its words to a shell at the other end."""
        is_ssh = bool(self._prefix) and Path(self._prefix[0]).name == "ssh"
        return [shlex.quote(word) for word in command] if is_ssh else command

    def _json(self, command: str, *words: str) -> Any:  # Any: JSON
        said = self.run("rabbitmqctl", "--silent", command, "--formatter", "json", *words)
        try:
            return json.loads(said)
        except ValueError as exc:
            raise TransportError(f"rabbitmqctl {command} gave no JSON: {said[:_SHOWN]}") from exc


def found(prefix: str | None) -> Ctl | None:
    """Through this prefix, or those of this machine, if it has any."""
    if prefix is not None:
        return Ctl(shlex.split(prefix))
    return Ctl() if shutil.which("rabbitmqctl") else None


def placed(row: dict[str, Any], *, leader: str) -> Placed:  # Any: JSON
    """What the broker tells of a queue, by command or by its management API."""
    kind = next((kind for kind in _KINDS if kind in row["type"]), str(row["type"]))
    # A stream that was just made has no statistics yet, but is on its leader's node.
    members = row.get("members") or [leader or row.get("node", "")]
    return Placed(
        name=row["name"],
        kind=kind,
        leader=leader,
        members=frozenset(members) - {""},
        online=frozenset(row.get("online") or members) - {""},
    )


def command_for(change: Change, *, vhost: str, version: tuple[int, int]) -> Command:
    """What makes this change on a broker of this version."""
    if change.is_stream and not change.adds and version < _FORGETS_STREAMS:
        return ("rabbitmqctl", "eval", _FORGET.format(vhost=vhost, change=change))
    tool, what = (
        ("rabbitmq-streams", "replica") if change.is_stream else ("rabbitmq-queues", "member")
    )
    verb = "add" if change.adds else "delete"
    return (tool, f"{verb}_{what}", "--vhost", vhost, change.queue, change.node)


def rebalance(vhost: str) -> Command:
    """What spreads the leaders of a vhost over the nodes, of the kinds that `movable` has."""
    pattern = f"^{vhost.replace('.', '[.]')}$"
    return ("rabbitmq-queues", "rebalance", "all", "--vhost-pattern", pattern)


def movable(version: tuple[int, int]) -> frozenset[str]:
    """Whose leaders a broker of this version can move."""
    return frozenset({"quorum", "stream"} if version >= _MOVES_STREAMS else {"quorum"})


_FORGET = (
    'N = rabbit_misc:r(<<"{vhost}">>, queue, <<"{change.queue}">>), '
    "{{ok, Q}} = rabbit_amqqueue:lookup(N), #{{name := S}} = amqqueue:get_type_state(Q), "
    "{{ok, ok, _}} = rabbit_stream_coordinator:delete_replica(S, '{change.node}'), ok."
)

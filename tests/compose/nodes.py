"""The broker's nodes in a drill: what each of them has, and what is done to one."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compose.engine import FOLDER, command, docker
from compose.field import Field
from support.waiting import wait_until

NODES = ("rabbitmq", "rabbitmq-2", "rabbitmq-3")
REPLICATED = {"quorum", "stream"}
VHOST = "demo"
BACK_S = (
    180.0  # until a node that is started has all its replicas, on a machine with much else to do
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where one queue or stream is: by service, as all of this file."""

    name: str
    kind: str
    leader: str
    members: frozenset[str]
    online: frozenset[str]


def ctl(field: Field, node: str, *words: str) -> str:
    """A command of the broker's, on this node."""
    return field.stack.compose("exec", "-T", node, *words)


def placed(field: Field, *, asked: str) -> list[Placed]:
    """As this node knows it."""
    columns = ("name", "type", "leader", "members", "online")
    said = ctl(
        field, asked, "rabbitmqctl", "--silent", "list_queues", "--vhost", VHOST,
        "--formatter", "json", *columns,
    )  # fmt: skip
    return [
        Placed(
            name=row["name"],
            kind=row["type"],
            leader=_service(row["leader"]),
            members=frozenset(map(_service, row["members"])),
            online=frozenset(map(_service, row["online"])),
        )
        for row in json.loads(said)
        if row["type"] in REPLICATED
    ]


def leading_most(field: Field, *, among: Sequence[str] = NODES) -> str:
    """The node with which most is lost."""
    leads = Counter(each.leader for each in placed(field, asked=NODES[0]))
    field.say(f"leaders: {', '.join(f'{node} {leads[node]}' for node in NODES)}")
    return max(among, key=lambda node: leads[node])


def other_than(node: str) -> str:
    return next(other for other in NODES if other != node)


def lacking(field: Field, *, asked: str) -> list[str]:
    """Queues and streams that do not run on all three."""
    return [each.name for each in placed(field, asked=asked) if each.online != frozenset(NODES)]


def await_whole(field: Field, *, asked: str = NODES[0]) -> None:
    found = ["everything"]

    def is_whole() -> bool:
        found[:] = lacking(field, asked=asked)
        return not found

    try:
        wait_until(is_whole, what="all replicas run", within_s=BACK_S, poll_s=1)
    except TimeoutError:
        field.say(f"not on all three nodes: {', '.join(found)}")
        raise


def mend_if_torn(field: Field, node: str) -> None:
    """Seldom a node that was cut off has noticed too late: as the page says, it is restarted."""
    said = ctl(field, node, "rabbitmqctl", "--silent", "cluster_status", "--formatter", "json")
    if not json.loads(said)["partitions"]:
        return
    field.say(f"{node} goes on without knowing of the others, and is restarted")
    field.stack.compose("restart", "--no-deps", node)
    field.await_healthy(node)


def stop_dead(field: Field, node: str) -> None:
    """SIGKILL, and it stays away until it is started: the engine takes it for stopped by hand."""
    docker("kill", field.stack.container(node))


def start(field: Field, node: str) -> None:
    docker("start", field.stack.container(node))


def lose(field: Field, node: str) -> None:
    """It and its data, for good."""
    field.stack.compose("rm", "--stop", "--force", node)
    docker("volume", "rm", f"{field.stack.project}_{volume(node)}")


def volume(node: str) -> str:
    return f"broker-{node.rpartition('-')[2]}-data" if "-" in node else "broker-data"


# What an operator does, with the federation's kits at hand.


def admin_is_made(field: Field) -> None:
    """As the broker's page in the kit says."""
    ctl(field, NODES[0], "rabbitmqctl", "add_user", "admin", _password(field).read_text())
    ctl(field, NODES[0], "rabbitmqctl", "set_user_tags", "admin", "administrator")
    field.stack.compose(
        "run", "--rm", "-T", "--no-deps", "--volume", f"{field.folder}:/out",
        "--entrypoint", "cp", "init", "-a", "/kits/.", "/out/kits",
    )  # fmt: skip


def provision(field: Field) -> None:
    """`tasuki provision --apply`, which ends well only if everything has all its replicas."""
    said = command(
        Path(sys.executable).with_name("tasuki"), "provision", FOLDER / "demo" / "cluster.toml",
        "--out", field.folder / "kits", "--apply", "--admin-password-file", _password(field),
        "--management", f"https://localhost:{field.stack.port('MANAGEMENT')}",
        "--ctl", f"docker exec {field.stack.container(NODES[0])}",
    )  # fmt: skip
    field.say(f"tasuki provision --apply:\n{said.strip()}")


def _password(field: Field) -> Path:
    path = field.folder / "admin-password"
    if not path.exists():
        path.write_text("of-the-drill-alone")
        path.chmod(0o600)
    return path


def _service(node: str) -> str:
    return node.partition("@")[2]

"""Bring a running broker to what the definitions say: add, and shut out who was revoked."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tasuki.broker.topology import NOTHING, PLACING
from tasuki.errors import SettingsError
from tasuki.wire import names
from tasuki_cli.provision.definitions import Document
from tasuki_cli.provision.management import Management
from tasuki_cli.provision.passwords import HASHING, is_hash_of

View = Mapping[str, Any]  # Any: JSON
_TYPE = "x-queue-type"
_OF_QUEUES = {"queues", "all", "quorum_queues"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of it.

    Attributes:
        differences: what the broker keeps otherwise than wanted, in words.
        unlisted: sites that have queues there and are in no list.
        replaced: control queues of an earlier kind that were made again, of today's.
    """

    differences: list[str]
    unlisted: list[str]
    replaced: list[str]


def apply(
    document: Document,
    passwords: Mapping[str, str],
    management: Management,
    *,
    reissued: str | None = None,
    disconnect: bool = True,
    hashes: Mapping[str, Collection[str]] | None = None,
    shut_out: Collection[str] = (),
) -> Applied:
    """Create on the broker what it lacks.

    Args:
        reissued: whose password is meant to be another one than there.
        disconnect: end what was opened with the old one too.
        hashes: of passwords that only their users know: those which the broker may have now.
        shut_out: whose users are deleted.

    Raises:
        SettingsError: a user is there with another password, so that its owner would be locked out.
        TransportError: the broker cannot be reached or refuses.
    """
    users = management.ask("GET", "users")
    known = {u: word for u, word in passwords.items() if u != reissued}
    _refuse_strangers(users, known, hashes or {})
    for user in sorted(set(shut_out) & {user["name"] for user in users}):
        management.ask("DELETE", "users", user)
        _disconnect(user, management)
    vhost = document["vhosts"][0]["name"]
    replaced, kept = _delete_old_control(document, management, vhost)
    # One request for all of it: existing objects and their messages are left alone.
    management.ask("POST", "definitions", body=_without(document, kept))
    if reissued is not None and disconnect:
        _disconnect(reissued, management)  # who came in with the old password
    queues = management.ask("GET", "queues", vhost)
    return Applied(
        differences=[
            *_differences(document, queues),
            *shadowed(document, management.ask("GET", "policies", vhost)),
        ],
        unlisted=_unlisted(document, queues),
        replaced=sorted(replaced),
    )


def _delete_old_control(
    document: Document, management: Management, vhost: str
) -> tuple[set[str], set[str]]:
    """Make room for control queues of today's type: what is in one is harmless to lose.

    Whoever reads one goes on by itself with the new one. Returns those that are gone, and those
    that could not be deleted, since the one node that they are on is away.
    """

    def old() -> set[str]:
        there = management.ask("GET", "queues", vhost, missing_ok=True) or ()
        return listed & {queue["name"] for queue in there if _is_old_control(queue)}

    listed = {queue["name"] for queue in document["queues"]}
    found = old()
    if not found:
        return set(), set()
    with _may_delete(management, vhost):
        for name in sorted(found):
            management.ask("DELETE", "queues", vhost, name, missing_ok=True)
    kept = old()
    return found - kept, kept


@contextmanager
def _may_delete(management: Management, vhost: str) -> Iterator[None]:
    """An administrator declares by definitions; to delete, it needs a permission in the vhost."""
    path = ("permissions", vhost, management.user)
    if management.ask("GET", *path, missing_ok=True) is not None:
        yield
        return
    configure = "^" + re.escape(names.control_queue(""))
    patterns = {"configure": configure, "write": NOTHING, "read": NOTHING}
    management.ask("PUT", *path, body=patterns)
    try:
        yield
    finally:
        management.ask("DELETE", *path)


def _without(document: Document, queues: Collection[str]) -> Document:
    """RabbitMQ takes nothing at all if it is to bind a queue whose node is away."""
    return {
        **document,
        "queues": [queue for queue in document["queues"] if queue["name"] not in queues],
        "bindings": [one for one in document["bindings"] if one["destination"] not in queues],
    }


def _is_old_control(queue: View) -> bool:
    name: str = queue["name"]
    return name.startswith(names.control_queue("")) and queue["arguments"].get(_TYPE) != "quorum"


def _refuse_strangers(
    users: Iterable[View], passwords: Mapping[str, str], hashes: Mapping[str, Collection[str]]
) -> None:
    strangers = [
        name
        for user in users
        if (name := user["name"]) in {*passwords, *hashes}
        if user["password_hash"] not in hashes.get(name, ())
        if name not in passwords or not _knows(user, passwords[name])
    ]
    if strangers:
        raise SettingsError(
            f"the broker has {', '.join(sorted(strangers))} with another password than this "
            "folder: use the folder that they were made in, or first delete these users on the "
            "broker (rabbitmqctl delete_user) to give them new passwords; nothing was changed there"
        )


def _knows(user: View, password: str) -> bool:
    algorithm = user.get("hashing_algorithm", HASHING)
    return bool(algorithm == HASHING and is_hash_of(user["password_hash"], password))


def _disconnect(user: str, management: Management) -> None:
    for connection in management.ask("GET", "connections"):
        if connection.get("user") == user:
            management.ask("DELETE", "connections", connection["name"], missing_ok=True)


def _differences(document: Document, queues: Iterable[View]) -> list[str]:
    """Arguments of a queue are for life; whoever changed a size has to be told."""
    there = {queue["name"]: queue["arguments"] for queue in queues if not _is_old_control(queue)}
    return [
        f"the broker keeps {queue['name']} with {key} = {there[queue['name']].get(key)}, "
        f"not {wanted}; to have it made again, delete it there while no run is on"
        for queue in document["queues"]
        for key, wanted in queue["arguments"].items()
        if queue["name"] in there and key not in PLACING
        if there[queue["name"]].get(key) != wanted
    ]


def shadowed(document: Document, policies: Iterable[View]) -> list[str]:
    """Queues without their bound: a queue has one policy, and the broker has one that wins.

    Args:
        policies: those of the vhost, ours among them.
    """
    ours = {policy["name"]: policy for policy in document["policies"]}
    rivals = [
        policy
        for policy in policies
        if policy["name"] not in ours and policy["apply-to"] in _OF_QUEUES
    ]
    return [
        f"the broker keeps {queue['name']} by its policy {rival['name']}, and not by "
        f"{mine['name']}, so that its length has no bound of ours; give {rival['name']} a priority "
        f"below {mine['priority']}"
        for queue in document["queues"]
        for mine in ours.values()
        if _matches(mine, queue)
        for rival in rivals
        if rival["priority"] >= mine["priority"] and _matches(rival, queue)
    ]


def _matches(policy: View, queue: View) -> bool:
    try:
        return re.search(policy["pattern"], queue["name"]) is not None
    except re.error:  # Erlang's patterns have a few forms that these have not
        return False


def _unlisted(document: Document, queues: Iterable[View]) -> list[str]:
    listed = {queue["name"] for queue in document["queues"]}
    prefix = names.turns_queue("")
    return sorted(
        queue["name"].removeprefix(prefix)
        for queue in queues
        if queue["name"].startswith(prefix) and queue["name"] not in listed
    )

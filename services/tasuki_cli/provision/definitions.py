"""The broker's side of a federation as files: its definitions and its configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasuki.broker import topology
from tasuki.broker.topology import Permissions
from tasuki.core.model import CONTROLLER
from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import PUBLIC
from tasuki.errors import SettingsError
from tasuki.settings.federation import BROKER, OPERATOR, FederationFile
from tasuki.wire import names
from tasuki_cli.provision import files, nodes
from tasuki_cli.provision.passwords import HASHING, is_hash_of, password_hash
from tasuki_cli.provision.texts import render

Document = Mapping[str, Any]  # Any: JSON

_DEFINITIONS = f"{BROKER}/definitions.json"
_CONFIGURATION = f"{BROKER}/rabbitmq.conf"
_ADVANCED = f"{BROKER}/advanced.config"


def document(
    federation: FederationFile,
    passwords: Mapping[str, str],
    *,
    known: Mapping[str, str],
    hashes: Mapping[str, str] | None = None,
) -> Document:
    """Everything of the federation as RabbitMQ's definitions.

    Who has neither a password nor a hash is no user yet.

    Args:
        hashes: of passwords that only their users know.
        known: hashes made earlier, by user; one that still fits is kept with its salt.
    """
    objects = topology.topology(federation.sites, sizes=federation.sizes())
    defined = topology.definitions(objects, vhost=federation.name)
    hashes = hashes or {}
    users = [
        user
        for user in (CONTROLLER, OPERATOR, *federation.sites)
        if user in passwords or user in hashes
    ]
    permissions = [*defined["permissions"], _permission(_OPERATOR, federation)]
    return {
        "vhosts": [{"name": federation.name}],
        "users": [
            _user(user, hashes.get(user) or _hash_of(passwords[user], known.get(user)))
            for user in users
        ],
        "permissions": [each for each in permissions if each["user"] in users],
        "topic_permissions": [_topic_permission(user, federation) for user in users],
        "exchanges": defined["exchanges"],
        "queues": defined["queues"],
        "bindings": defined["bindings"],
        "policies": defined["policies"],
    }


def write_definitions(
    federation: FederationFile,
    passwords: Mapping[str, str],
    out: Path,
    *,
    hashes: Mapping[str, str] | None = None,
) -> tuple[Document, list[str]]:
    """Write the broker's files; the document, and which of them are new or changed.

    Raises:
        SettingsError: the definitions that are there cannot be read.
        StorageError: the folder cannot be written.
    """
    path = out / _DEFINITIONS
    files.make_folder(path.parent, mode=0o755)
    made = document(federation, passwords, known=known_hashes(out), hashes=hashes)
    contents = {
        _DEFINITIONS: json.dumps(made, indent=2) + "\n",
        _CONFIGURATION: _configuration(federation),
    }
    if terms := _advanced(federation):
        contents[_ADVANCED] = f"%% Made by `tasuki provision` again each time.\n[{terms}].\n"
    changed = [
        name for name, content in contents.items() if files.put(out / name, content, mode=PUBLIC)
    ]
    return made, changed


def _advanced(federation: FederationFile) -> str:
    """What rabbitmq.conf cannot say, in Erlang; empty if there is nothing."""
    wanted = {
        "advanced-nodes.config": bool(nodes.node_names(federation.broker)),
        "advanced-mutual.config": federation.has_own_authority,
    }
    return ",\n".join(render(name, {}).strip() for name, is_so in wanted.items() if is_so)


MOST_CONNECTIONS = 64
"""Of one site. It has two; those that a bad network broke count for a minute."""
MOST_CHANNELS = 256
"""Of one site, on all its connections: each costs the broker memory, and can hold a message that
has not come whole. A site has a handful, and no more than 40 with 32 hand-overs under way."""

_SITE_LIMITS = {"max-connections": MOST_CONNECTIONS, "max-channels": MOST_CHANNELS}
_OPERATOR = Permissions(user=OPERATOR, read=f"^{re.escape(names.DEAD)}$")


def _hash_of(password: str, known: str | None) -> str:
    keep = known is not None and is_hash_of(known, password)
    return known if keep and known is not None else password_hash(password)


def _user(user: str, password_hash: str) -> dict[str, object]:
    is_site = user not in {CONTROLLER, OPERATOR}
    return {
        "name": user,
        "password_hash": password_hash,
        "hashing_algorithm": HASHING,
        # Operators see their own vhost in the management pages; nobody else has a page.
        "tags": ["management"] if user == OPERATOR else [],
        # Or one site could take all connections that the broker has, or its memory.
        "limits": _SITE_LIMITS if is_site else {},
    }


def _permission(allowed: Permissions, federation: FederationFile) -> dict[str, object]:
    return {
        "user": allowed.user,
        "vhost": federation.name,
        "configure": allowed.configure,
        "write": allowed.write,
        "read": allowed.read,
    }


def _topic_permission(user: str, federation: FederationFile) -> dict[str, object]:
    """Control comes from the controller and goes where provisioning bound it."""
    return {
        "user": user,
        "vhost": federation.name,
        "exchange": names.CONTROL,
        "write": r"^(all|site\..+)$" if user == CONTROLLER else topology.NOTHING,
        "read": topology.NOTHING,
    }


def known_hashes(out: Path) -> dict[str, str]:
    """Those of the definitions that are there, by user."""
    path = out / _DEFINITIONS
    if not path.exists():
        return {}
    try:
        with disk_errors(path):
            users = json.loads(path.read_text(encoding="utf-8"))["users"]
        return {user["name"]: user["password_hash"] for user in users}
    except (ValueError, KeyError, TypeError) as exc:
        raise SettingsError(
            f"{path} is not what `tasuki provision` writes; move it away, it is made again"
        ) from exc


def _configuration(federation: FederationFile) -> str:
    text = render("rabbitmq.conf", {})
    if federation.broker.scheme == "amqps":
        tls = {True: "rabbitmq-mutual.conf", False: "rabbitmq-tls.conf"}
        port = federation.broker.port_number
        text += render(tls[federation.has_own_authority], {"port": port})
    return text + nodes.configuration(federation.broker, federation=federation.name)

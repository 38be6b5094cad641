"""The broker's side of a federation as two files: its definitions and its configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasuki.core.model import CONTROLLER
from tasuki.errors import SettingsError
from tasuki.settings.federation import BROKER, OPERATOR, FederationFile
from tasuki.transport import topology
from tasuki.transport.topology import Permissions
from tasuki.wire import names
from tasuki.wire.spool import disk_errors
from tasuki_cli.provision import files
from tasuki_cli.provision.passwords import HASHING, is_hash_of, password_hash

Document = Mapping[str, Any]  # Any: JSON

_DEFINITIONS = f"{BROKER}/definitions.json"
_CONFIGURATION = f"{BROKER}/rabbitmq.conf"


def document(
    federation: FederationFile, passwords: Mapping[str, str], *, known: Mapping[str, str]
) -> Document:
    """Everything of the federation as RabbitMQ's definitions.

    Args:
        known: hashes made earlier, by user; one that still fits is kept with its salt.
    """
    objects = topology.topology(federation.sites, sizes=federation.sizes())
    defined = topology.definitions(objects, vhost=federation.name)
    users = [CONTROLLER, OPERATOR, *federation.sites]
    operator = _permission(_OPERATOR, federation)
    return {
        "vhosts": [{"name": federation.name}],
        "users": [_user(user, passwords[user], known.get(user)) for user in users],
        "permissions": [*defined["permissions"], operator],
        "topic_permissions": [_topic_permission(user, federation) for user in users],
        "exchanges": defined["exchanges"],
        "queues": defined["queues"],
        "bindings": defined["bindings"],
    }


def write_definitions(
    federation: FederationFile, passwords: Mapping[str, str], out: Path
) -> tuple[Document, list[str]]:
    """Write both files; the document, and which of them are new or changed.

    Raises:
        SettingsError: the definitions that are there cannot be read.
        StorageError: the folder cannot be written.
    """
    path = out / _DEFINITIONS
    files.make_folder(path.parent, mode=0o755)
    made = document(federation, passwords, known=_known_hashes(path))
    contents = {
        _DEFINITIONS: json.dumps(made, indent=2) + "\n",
        _CONFIGURATION: _configuration(federation),
    }
    changed = [
        name
        for name, content in contents.items()
        if files.put(out / name, content, mode=files.PUBLIC)
    ]
    return made, changed


_OPERATOR = Permissions(user=OPERATOR, read=f"^{re.escape(names.DEAD)}$")


def _user(user: str, password: str, known: str | None) -> dict[str, object]:
    keep = known is not None and is_hash_of(known, password)
    return {
        "name": user,
        "password_hash": known if keep else password_hash(password),
        "hashing_algorithm": HASHING,
        # Operators see their own vhost in the management pages; nobody else has a page.
        "tags": ["management"] if user == OPERATOR else [],
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


def _known_hashes(path: Path) -> dict[str, str]:
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
    tls = federation.broker.scheme == "amqps"
    return _LIMITS + (_TLS.format(port=federation.broker.port or 5671) if tls else "")


_LIMITS = """\
# Made by `tasuki provision` again each time: put settings of your own into conf.d.
load_definitions = /etc/rabbitmq/definitions.json

# A chunk of weights has at most 4 MiB, and so has a message.
max_message_size = 16777216
# Publishers wait, and nothing is lost, while memory or disk are short.
vm_memory_high_watermark.relative = 0.6
disk_free_limit.absolute = 2GB
# Everyone has two connections with few channels on them.
channel_max = 64
heartbeat = 30
"""

_TLS = """\

listeners.tcp = none
listeners.ssl.default = {port}
ssl_options.certfile = /etc/rabbitmq/tls/cert.pem
ssl_options.keyfile = /etc/rabbitmq/tls/key.pem
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
# Sites prove who they are by password.
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
"""

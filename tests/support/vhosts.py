"""Federations on a test broker, whatever it is made of: each has a vhost of its own."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from urllib.parse import quote

from support.management import Management
from support.rabbit import ADMIN, HOST
from tasuki.broker.topology import Topology, definitions


class Vhosts(ABC):
    """A broker's vhosts and users, by its management API.

    Attributes:
        standing: the vhosts of the federations that there are.
    """

    host = HOST

    def __init__(self) -> None:
        self._passwords = {ADMIN: secrets.token_hex(8)}
        self._vhosts = 0
        self.standing: list[str] = []

    @property
    @abstractmethod
    def management(self) -> Management:
        """Of a node that is up."""

    @property
    @abstractmethod
    def port(self) -> int:
        """Where a node that is up takes connections."""

    @abstractmethod
    def sync(self) -> None:
        """Wait until what was declared so far outlives a kill."""

    @property
    def hosts(self) -> Sequence[str]:
        """Every node, for a service's settings; nothing if there is but one."""
        return ()

    def vhost(self) -> str:
        """A fresh vhost that the administrator may do everything in."""
        self._vhosts += 1
        name = f"test-{self._vhosts}"
        self.management.add_vhost(name, owner=ADMIN)
        self.standing.append(name)
        return name

    def drop_vhost(self, vhost: str) -> None:
        self.management.ask("DELETE", "vhosts", vhost)
        self.standing.remove(vhost)

    def add_user(
        self, name: str, password: str, *, vhost: str, configure: str, write: str, read: str
    ) -> None:
        self.management.add_user(name, password)
        self.management.permit(name, vhost, configure=configure, write=write, read=read)
        self._passwords[name] = password

    def provision(self, vhost: str, topology: Topology) -> None:
        """Declare a federation's objects, and its users if they are new to this broker."""
        self.management.load_definitions(vhost, definitions(topology, vhost=vhost))
        for allowed in topology.permissions:
            self.add_user(
                allowed.user,
                self._passwords.get(allowed.user) or secrets.token_hex(8),
                vhost=vhost,
                configure=allowed.configure,
                write=allowed.write,
                read=allowed.read,
            )

    def password(self, user: str = ADMIN) -> str:
        return self._passwords[user]

    def url(self, user: str, vhost: str) -> str:
        password = self._passwords[user]
        return f"amqp://{user}:{password}@{self.host}:{self.port}/{quote(vhost, safe='')}"

    def list_queues(self, vhost: str) -> dict[str, dict[str, object]]:
        """Every queue and stream by name, as the management API describes it."""
        return {str(queue["name"]): queue for queue in self.management.queues(vhost)}

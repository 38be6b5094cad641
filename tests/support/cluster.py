"""A RabbitMQ cluster of three nodes of our own, and all that may happen to one of them.

As private as `broker.py`. The nodes share a cookie and a folder; the first starts alone, and the
others join it while they start. Each finds the others through the switchboard, where a node can be
cut off from them and healed; its `front` is a proxy for clients that shall be cut off with it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from support import replicas
from support.broker import ATTEMPTS, SYNC
from support.management import Management
from support.proxy import Proxy
from support.rabbit import HOST, BrokerDied, Rabbit, Refused, Watchdog, write_cookie
from support.switchboard import Switchboard
from support.vhosts import Vhosts
from support.waiting import wait_until
from tasuki_cli.provision.texts import render

SIZE = 3
TICK_S = 4
"""A link that is cut stays unnoticed for up to five quarters of this."""

_MACHINE = f"+S 1:1 -kernel net_ticktime {TICK_S}"
_SETTINGS = {"cluster_partition_handling": "pause_minority", "cluster_name": "tasuki"}
_JOINING = {
    "cluster_formation.peer_discovery_backend": "classic_config",
    # Soon after the first one is there; the default is each 0.5 s, ten times.
    "cluster_formation.discovery_retry_limit": "600",
    "cluster_formation.discovery_retry_interval": "100",
}
_PEER = "cluster_formation.classic_config.nodes"
_FORM_S = 120


class Cluster(Vhosts):
    """Three nodes.

    Args:
        config: further lines of every rabbitmq.conf.
        plugins: of every node, in Erlang's words.
    """

    def __init__(
        self, *, config: Mapping[str, str] | None = None, plugins: str = "rabbitmq_management"
    ) -> None:
        super().__init__()
        self._config = _SETTINGS | dict(config or {})
        self._plugins = plugins
        self._folder = Path(tempfile.mkdtemp(prefix="tasuki-cluster-"))
        write_cookie(self._folder)
        self._watchdog = Watchdog(self._folder)
        self._board = Switchboard()
        self._fronts: dict[str, Proxy] = {}
        self._cut_off: set[str] = set()
        self._made = 0
        self.nodes: list[Rabbit] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def living(self) -> list[Rabbit]:
        """The nodes that take connections."""
        return [it for it in self.nodes if it.name not in self._cut_off and it.answers()]

    @property
    def management(self) -> Management:
        return self.living[0].management

    @property
    def port(self) -> int:
        return self.living[0].port

    @property
    def hosts(self) -> Sequence[str]:
        return [f"{HOST}:{node.port}" for node in self.nodes]

    @property
    def fronts(self) -> Sequence[str]:
        """The same, for clients that lose a node when it is cut off."""
        return [f"{HOST}:{self._fronts[node.name].port}" for node in self.nodes]

    def named(self, name: str | None) -> Rabbit:
        """One of `nodes`, by its name in Erlang."""
        (node,) = [node for node in self.nodes if node.name == name]
        return node

    def start(self) -> None:
        """Start all and wait until they are one.

        Raises:
            BrokerDied: they did not come up.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._form()
            except BrokerDied:
                self._end()
                if attempt == ATTEMPTS:
                    self.stop()
                    raise
            else:
                return

    def kill(self, node: Rabbit) -> None:
        """`kill -9`, as by the kernel."""
        node.kill()
        self._guard()

    def terminate(self, node: Rabbit) -> None:
        """SIGTERM, as by an operator, until it has ended."""
        node.terminate()
        self._guard()

    def begin(self, node: Rabbit) -> None:
        """Start again, on the same ports and data, and do not wait."""
        node.start()
        self._guard()

    def restart(self, node: Rabbit) -> None:
        """Start again, until it is a member with all of its replicas."""
        self.begin(node)
        self._await_back()

    def cut_off(self, node: Rabbit) -> None:
        """From the other nodes, and from the clients that come through its front."""
        self._cut_off.add(node.name)
        self._fronts[node.name].stall()
        self._board.cut_off(node.name)

    def connect(self, node: Rabbit) -> None:
        """Undo a cut, and do not wait."""
        self._board.heal(node.name)
        self._fronts[node.name].restore()
        self._cut_off.discard(node.name)

    def heal(self, node: Rabbit) -> None:
        """Until it is a member with all of its replicas."""
        self.connect(node)
        self.await_whole()

    def lose(self, node: Rabbit) -> None:
        """Kill it and remove its data: it never comes back. The cluster still waits for it."""
        node.remove()
        self._guard()

    def forget(self, node: Rabbit) -> None:
        """As an operator does with a node that is lost, once others lead what it led.

        Before that 3.10.8 takes its queues for lost with it, and deletes them.
        """
        asked = self.living[0]
        wait_until(
            lambda: all(
                each.leader not in {node.name, None} and each.recorded != node.name
                for each in replicas.replicas(asked)
            ),
            what="others lead",
            within_s=_FORM_S,
        )
        asked.ctl("forget_cluster_node", node.name)
        self.nodes.remove(node)
        self._board.remove(node.name)
        self._fronts.pop(node.name).close()

    def join(self, *, port: int | None = None) -> Rabbit:
        """A new node, as a member, perhaps at the address of one that is gone. Without replicas."""
        node = self._new(self.living[0], port=port)
        self.begin(node)
        self._await_one()
        return node

    def drop_vhost(self, vhost: str) -> None:
        """With all nodes there: it may take longer than a request while one is away."""
        self.mend()
        super().drop_vhost(vhost)

    def gather(self, vhost: str) -> Rabbit:
        """Let one node lead everything of a vhost, and say which."""
        return self.named(replicas.gather(self.living[0], vhost))

    def mend(self) -> None:
        """Bring back whoever is away."""
        for name in list(self._cut_off):
            self.connect(self.named(name))
        self._begin_all()
        self._await_back()

    def await_whole(self) -> None:
        """Returns once every node is a member and has a running replica of everything."""
        wait_until(self._is_whole, what="the cluster is whole", within_s=_FORM_S, poll_s=0.2)

    def sync(self) -> None:
        """Wait until what was declared so far outlives a kill; see `Broker.sync`."""
        self.await_whole()
        for node in self.nodes:
            node.evaluate(SYNC)

    def stop(self) -> None:
        """End every process and remove the data. Harmless twice."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def logs(self) -> str:
        return "\n".join(f"--- {node}\n{node.logs()}" for node in self.nodes)

    def _form(self) -> None:
        # Nodes that join take turns by a lock with long pauses: they should not wait for the first.
        first = self._new(None)
        self.begin(first)
        first.await_ready(within_s=_FORM_S)
        for _ in range(SIZE - 1):
            self.begin(self._new(first))
        self._await_one()

    def _begin_all(self) -> None:
        for node in self.nodes:
            if not node.is_running:
                self.begin(node)

    def _await_back(self) -> None:
        """3.10.8 ends at times if another node connects while it starts; so it is started again."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self.await_whole()
            except BrokerDied:
                if attempt == ATTEMPTS:
                    raise
                self._begin_all()
            else:
                return

    def _new(self, joins: Rabbit | None, *, port: int | None = None) -> Rabbit:
        self._made += 1
        directory = self._board.directory()
        node = Rabbit(
            name=f"n{self._made}",
            folder=self._folder / f"n{self._made}",
            home=self._folder,
            epmd_port=directory.port,
            password=self.password(),
            settings=self._config,
            erl=_MACHINE,
            advanced=f"[{render('advanced-nodes.config', {})}].",
            plugins=self._plugins,
            port=port,
        )
        if joins is not None:
            peers = {f"{_PEER}.1": joins.name, f"{_PEER}.2": node.name}
            node.settings |= _JOINING | peers
        self._board.add(directory, node.name, node.dist_port)
        self._fronts[node.name] = Proxy(node.port)
        self.nodes.append(node)
        return node

    def _await_one(self) -> None:
        wait_until(self._are_one, what="all are members", within_s=_FORM_S, poll_s=0.2)

    def _are_one(self) -> bool:
        count = str(len(self.nodes))
        with suppress(Refused):  # a node that starts does not answer everything
            return all(node.is_ready() for node in self.nodes) and all(
                node.evaluate("length(rabbit_nodes:all_running())") == count for node in self.nodes
            )
        return False

    def _is_whole(self) -> bool:
        with suppress(Refused):
            return self._are_one() and replicas.are_whole(self.living[0], of=self.nodes)
        return False

    def _guard(self) -> None:
        self._watchdog.guard([node.pid for node in self.nodes if node.is_running])

    def _end(self) -> None:
        for node in self.nodes:
            node.remove()
        self.nodes.clear()
        for front in self._fronts.values():
            front.close()
        self._fronts.clear()
        self._board.close()
        self._board = Switchboard()
        self._watchdog.end()

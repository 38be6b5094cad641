"""A RabbitMQ of our own for tests: own ports, data, cookie, node name and epmd.

Nothing of it is shared with another broker on the machine or with a test session that runs at the
same time, and nothing of it stays: a watchdog ends it even when the session is killed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from support.management import Management
from support.rabbit import (
    BrokerDied,
    Rabbit,
    Watchdog,
    environment,
    free_ports,
    spawn,
    write_cookie,
)
from support.vhosts import Vhosts

ATTEMPTS = 3  # a free port may be taken by someone else before the broker has it
SYNC = "mnesia:sync_log(), [dets:sync(T) || T <- dets:all()]"
_TO_ITS_LEADER = """
    {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>)),
    Leader = case amqqueue:get_type(Q) of
        rabbit_stream_queue -> maps:get(leader_pid, amqqueue:get_type_state(Q));
        rabbit_quorum_queue -> element(1, amqqueue:get_pid(Q))
    end,
    sys:%s(Leader).
"""


class Broker(Vhosts):
    """One RabbitMQ node.

    Args:
        config: further lines of rabbitmq.conf, such as {"consumer_timeout": "20000"}.
        advanced: all of advanced.config.
    """

    def __init__(
        self, *, config: Mapping[str, str] | None = None, advanced: str | None = None
    ) -> None:
        super().__init__()
        self._config = config
        self._advanced = advanced
        self._folder = Path(tempfile.mkdtemp(prefix="tasuki-rabbit-"))
        write_cookie(self._folder)
        self._watchdog = Watchdog(self._folder)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._choose_ports()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it takes connections.

        Raises:
            BrokerDied: it did not come up.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._start_once()
            except BrokerDied:
                self._end()
                if attempt == ATTEMPTS:
                    self.stop()
                    raise
                self._choose_ports()
            else:
                return

    def kill(self) -> None:
        """`kill -9`, as by the kernel: what was not on disk is gone."""
        self._node.kill()

    def restart(self) -> None:
        """Start again after `kill` on the same ports and data."""
        self._start_once()

    def stop(self) -> None:
        """End every process and remove the data. Harmless twice."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def sync(self) -> None:
        """Wait until what was declared so far outlives a `kill`.

        A quorum queue lives in Mnesia's log and in a dets table of its log's library, which are
        written some hundred ms later: a node killed before that has forgotten the queue with all
        that it confirmed. This writes them now, instead of sleeping until they surely are.
        """
        self._node.evaluate(SYNC)

    def stand_still(self, vhost: str, queue: str) -> None:
        """A queue or stream that confirms nothing, as one that has lost most of its replicas."""
        self.ctl("eval", _TO_ITS_LEADER % (vhost, queue, "suspend"))

    def go_on(self, vhost: str, queue: str) -> None:
        """What came meanwhile is taken and confirmed now."""
        self.ctl("eval", _TO_ITS_LEADER % (vhost, queue, "resume"))

    def ctl(self, *args: str) -> str:
        """Run rabbitmqctl; takes a second or two."""
        return self._node.ctl(*args)

    def logs(self) -> str:
        """The end of what the broker has logged."""
        return self._node.logs()

    @property
    def folder(self) -> Path:
        """Where all of it is that it keeps on disk."""
        return self._folder

    @property
    def management(self) -> Management:
        return self._node.management

    @property
    def port(self) -> int:
        return self._node.port

    @property
    def http_port(self) -> int:
        return self._node.http_port

    @property
    def prometheus_port(self) -> int:
        return self._node.prometheus_port

    @property
    def pid(self) -> int:
        return self._node.pid

    def _choose_ports(self) -> None:
        (self._epmd_port,) = free_ports(1)
        self._node = Rabbit(
            folder=self._folder,
            home=self._folder,
            epmd_port=self._epmd_port,
            password=self.password(),
            settings=self._config,
            advanced=self._advanced,
        )

    def _start_once(self) -> None:
        if self._epmd is None:
            # In the foreground and as our child, so that Erlang starts no daemon that would stay.
            command = ["epmd", "-address", self.host, "-port", str(self._epmd_port)]
            env = environment(home=self._folder, epmd_port=self._epmd_port)
            self._epmd = spawn(command, folder=self._folder, env=env)
        self._node.start()
        self._watchdog.guard([self._node.pid, self._epmd.pid])
        self._node.await_ready()

    def _end(self) -> None:
        self._node.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None
        self._watchdog.end()

"""A RabbitMQ of our own for tests: own ports, data, cookie, node name and epmd.

Nothing of it is shared with another broker on the machine or with a test session that runs at the
same time, and nothing of it stays: a watchdog ends it even when the session is killed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from support.management import Management
from support.waiting import wait_until
from tasuki.transport.topology import Topology, definitions

_SERVERS = Path("/usr/lib/rabbitmq/lib")
_ADMIN = "admin"
_ATTEMPTS = 3  # a free port may be taken by someone else before the broker has it
_SYNC = "mnesia:sync_log(), [dets:sync(T) || T <- dets:all()]."
_WATCHDOG = 'cat >/dev/null; kill -9 "$1" "$2"; rm -rf "$3"'
_TO_ITS_LEADER = """
    {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>)),
    Leader = case amqqueue:get_type(Q) of
        rabbit_stream_queue -> maps:get(leader_pid, amqqueue:get_type_state(Q));
        rabbit_quorum_queue -> element(1, amqqueue:get_pid(Q))
    end,
    sys:%s(Leader).
"""


class BrokerDied(Exception):
    """The private RabbitMQ ended by itself; its last words follow."""


def installed() -> Path | None:
    """The folder with RabbitMQ's own scripts, which do not switch users as /usr/sbin's do."""
    found = sorted(_SERVERS.glob("rabbitmq_server-*/sbin"))
    return found[-1] if found and shutil.which("erl") and shutil.which("epmd") else None


class Broker:
    """One RabbitMQ node.

    Args:
        config: further lines of rabbitmq.conf, such as {"consumer_timeout": "20000"}.
        advanced: all of advanced.config.
    """

    def __init__(
        self, *, config: Mapping[str, str] | None = None, advanced: str | None = None
    ) -> None:
        sbin = installed()
        if sbin is None:
            raise BrokerDied("RabbitMQ is not installed: apt-get install rabbitmq-server")
        self._sbin = sbin
        self._extra = dict(config or {})
        self._advanced = advanced
        self._folder = Path(tempfile.mkdtemp(prefix="tasuki-rabbit-"))
        self._passwords = {_ADMIN: secrets.token_hex(8)}
        self._node: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._vhosts = 0
        self.host = "127.0.0.1"
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
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start_once()
            except BrokerDied:
                self._end()
                if attempt == _ATTEMPTS:
                    self.stop()
                    raise
                self._choose_ports()
            else:
                return

    def kill(self) -> None:
        """`kill -9`, as by the kernel: what was not on disk is gone."""
        assert self._node is not None
        self._node.kill()
        self._node.wait()

    def restart(self) -> None:
        """Start again after `kill` on the same ports and data."""
        self._start_once()

    def stop(self) -> None:
        """End every process and remove the data. Harmless twice."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def vhost(self) -> str:
        """A fresh vhost that the administrator may do everything in."""
        self._vhosts += 1
        name = f"test-{self._vhosts}"
        self.management.add_vhost(name, owner=_ADMIN)
        return name

    def drop_vhost(self, vhost: str) -> None:
        self.management.ask("DELETE", "vhosts", vhost)

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

    def password(self, user: str = _ADMIN) -> str:
        return self._passwords[user]

    def url(self, user: str, vhost: str) -> str:
        password = self._passwords[user]
        return f"amqp://{user}:{password}@{self.host}:{self.port}/{quote(vhost, safe='')}"

    def list_queues(self, vhost: str) -> dict[str, dict[str, object]]:
        """Every queue and stream by name, as the management API describes it."""
        return {str(queue["name"]): queue for queue in self.management.queues(vhost)}

    def sync(self) -> None:
        """Wait until what was declared so far outlives a `kill`.

        A quorum queue lives in Mnesia's log and in a dets table of its log's library, which are
        written some hundred ms later: a node killed before that has forgotten the queue with all
        that it confirmed. This writes them now, instead of sleeping until they surely are.
        """
        self.ctl("eval", _SYNC)

    def stand_still(self, vhost: str, queue: str) -> None:
        """A queue or stream that confirms nothing, as one that has lost most of its replicas."""
        self.ctl("eval", _TO_ITS_LEADER % (vhost, queue, "suspend"))

    def go_on(self, vhost: str, queue: str) -> None:
        """What came meanwhile is taken and confirmed now."""
        self.ctl("eval", _TO_ITS_LEADER % (vhost, queue, "resume"))

    def ctl(self, *args: str) -> str:
        """Run rabbitmqctl; takes a second or two."""
        done = subprocess.run(
            [self._sbin / "rabbitmqctl", "-n", self._nodename, *args],
            env=self._environment(),
            capture_output=True,
            check=True,
            timeout=60,
            text=True,
        )
        return done.stdout

    def logs(self) -> str:
        """The end of what the broker has logged."""
        files = [self._folder / "output", *(self._folder / "log").glob("*.log")]
        return "\n".join(file.read_text(errors="replace")[-4000:] for file in files)

    @property
    def pid(self) -> int:
        assert self._node is not None
        return self._node.pid

    def _choose_ports(self) -> None:
        self.port, self.http_port, self.prometheus_port, self._dist, self._epmd_port = _free(5)
        self._nodename = f"tasuki-{self.port}-{secrets.token_hex(3)}@localhost"
        self.management = Management(self.http_port, user=_ADMIN, password=self.password())

    def _start_once(self) -> None:
        self._configure()
        if self._epmd is None:
            # In the foreground and as our child, so that Erlang starts no daemon that would stay.
            command = ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)]
            self._epmd = self._spawn(command)
        self._node = self._spawn([str(self._sbin / "rabbitmq-server"), "-noinput"])
        self._watch()
        wait_until(self._is_ready, what="RabbitMQ is up", within_s=90)

    def _is_ready(self) -> bool:
        assert self._node is not None
        if self._node.poll() is not None:
            raise BrokerDied(f"RabbitMQ ended with {self._node.returncode}:\n{self.logs()}")
        return self._answers_amqp() and self.management.is_up()

    def _answers_amqp(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as probe:
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the tests; they end the broker
            )

    def _watch(self) -> None:
        """Leave someone behind who ends it all once our end of the pipe is gone."""
        assert self._node is not None
        assert self._epmd is not None
        self._unwatch()
        pids = [str(self._node.pid), str(self._epmd.pid), str(self._folder)]
        self._watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, "watchdog", *pids],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _unwatch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            pipe: IO[bytes] | None = self._watchdog.stdin
            if pipe is not None:
                pipe.close()
            self._watchdog = None

    def _end(self) -> None:
        for process in (self._node, self._epmd):
            if process is not None:
                process.kill()
                process.wait()
        self._node = self._epmd = None
        self._unwatch()

    def _configure(self) -> None:
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "default_user": _ADMIN,
            "default_pass": self.password(),
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": str(self.http_port),
            "prometheus.tcp.ip": "127.0.0.1",
            "prometheus.tcp.port": str(self.prometheus_port),
            "collect_statistics_interval": "1000",
            "disk_free_limit.absolute": "50MB",
            **self._extra,
        }
        lines = [f"{key} = {value}\n" for key, value in settings.items()]
        (self._folder / "rabbitmq.conf").write_text("".join(lines))
        if self._advanced is not None:
            (self._folder / "advanced.config").write_text(self._advanced)
        (self._folder / "plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        return kept | {
            "HOME": str(folder),  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ALLOW_INPUT": "1",  # no shell in between: our child is the node itself
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": self._nodename,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": self.host,
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }


def _free(count: int) -> list[int]:
    """Ports that nobody listens on, different from each other."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()

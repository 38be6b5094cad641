"""One node of RabbitMQ as a process of ours: own ports, data, name and cookie.

A broker of one node and a cluster are made of these; see `broker.py` and `cluster.py`.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from support.management import Management
from support.waiting import wait_until

ADMIN = "admin"
HOST = "127.0.0.1"
_SERVERS = Path("/usr/lib/rabbitmq/lib")
_PLUGINS = {
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_prelaunch",
    "rabbitmq_prometheus",
    "rabbitmq_web_dispatch",
}
"""All that a test enables, and what those need. A node that has to look through the folders of the
other forty whenever it loads something takes a third more of the processor to start."""
_WATCHDOG = 'cat >/dev/null; folder=$1; shift; kill -9 "$@"; rm -rf "$folder"'


class BrokerDied(Exception):
    """The private RabbitMQ ended by itself; its last words follow."""


class Refused(Exception):
    """A node did not do what it was told to."""


def installed() -> Path | None:
    """The folder with RabbitMQ's own scripts, which do not switch users as /usr/sbin's do."""
    found = sorted(_SERVERS.glob("rabbitmq_server-*/sbin"))
    return found[-1] if found and shutil.which("erl") and shutil.which("epmd") else None


class Rabbit:
    """One node; its ports are chosen when it is made and stay the same over its restarts.

    Args:
        name: what comes before the ports in the node's name.
        folder: for all that it writes.
        home: where Erlang finds the cookie; nodes of one cluster share it.
        epmd_port: who knows where the other nodes are.
        password: the administrator's.
        settings: further lines of rabbitmq.conf.
        advanced: all of advanced.config.
        erl: further arguments of Erlang's virtual machine.
        plugins: in Erlang's words.
        port: for clients, if it is not to be any that is free.
    """

    def __init__(
        self,
        *,
        name: str = "tasuki",
        folder: Path,
        home: Path,
        epmd_port: int,
        password: str,
        settings: Mapping[str, str] | None = None,
        advanced: str | None = None,
        erl: str = "",
        plugins: str = "rabbitmq_management,rabbitmq_prometheus",
        port: int | None = None,
    ) -> None:
        sbin = installed()
        if sbin is None:
            raise BrokerDied("RabbitMQ is not installed: apt-get install rabbitmq-server")
        self._sbin = sbin
        self._folder = folder
        self._home = home
        self._epmd_port = epmd_port
        self._password = password
        self._advanced = advanced
        self._erl = f"-kernel inet_dist_use_interface {{127,0,0,1}} {erl}".strip()
        self._plugins = plugins
        self._process: subprocess.Popen[bytes] | None = None
        self.settings = dict(settings or {})
        taken, self.http_port, self.prometheus_port, self.dist_port = free_ports(4)
        self.port = port or taken
        self.name = f"{name}-{self.port}-{secrets.token_hex(3)}@localhost"
        self.management = Management(self.http_port, user=ADMIN, password=password)

    def __repr__(self) -> str:
        return self.name

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process; see `is_ready` for what it does."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and do not wait."""
        self._folder.mkdir(exist_ok=True)
        self._configure()
        # No shell in between: our child is the node itself.
        command = [str(self._sbin / "rabbitmq-server"), "-noinput"]
        self._process = spawn(command, folder=self._folder, env=self._environment())

    def await_ready(self, *, within_s: float = 90) -> None:
        """Returns once it takes connections.

        Raises:
            BrokerDied: it did not come up.
        """
        wait_until(self.is_ready, what=f"{self.name} is up", within_s=within_s, poll_s=0.1)

    def is_ready(self) -> bool:
        """Whether it takes connections. Raises BrokerDied: there is no process any more."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise BrokerDied(f"RabbitMQ ended with {self._process.returncode}:\n{self.logs()}")
        return self.answers() and self.management.is_up()

    def answers(self) -> bool:
        """Whether it speaks AMQP."""
        try:
            with socket.create_connection((HOST, self.port), timeout=5) as probe:
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def kill(self) -> None:
        """`kill -9`, as by the kernel: what was not on disk is gone. Harmless twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self, *, within_s: float = 60) -> None:
        """SIGTERM, as by an operator, until it has ended."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(within_s)

    def remove(self) -> None:
        """Kill it and remove its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def ctl(self, *args: str, tool: str = "rabbitmqctl") -> str:
        """Run one of RabbitMQ's commands; takes a second or two.

        Raises:
            Refused: it failed.
        """
        return self._run([str(self._sbin / tool), "-n", self.name, *args])

    def evaluate(self, expression: str) -> str:
        """What Erlang makes of an expression in this node; takes some hundredths of a second.

        Raises:
            Refused: it is away, or the expression failed.
        """
        cookie = (self._home / ".erlang.cookie").read_text()
        command = ["erl_call", "-c", cookie, "-n", self.name, "-timeout", "30", "-e"]
        answer = self._run(command, asked=f"{' '.join(expression.split())}.\n")
        if not answer.startswith("{ok, ") or "'EXIT'" in answer:
            raise Refused(f"{self.name}: {expression}: {answer}")
        return answer.removeprefix("{ok, ").removesuffix("}")

    def prefix(self) -> str:
        """What `tasuki provision --ctl` needs to run this node's commands."""
        script = self._folder / "ctl.sh"
        listed = shlex.join(f"{key}={value}" for key, value in self._environment().items())
        script.write_text(f'tool=$1; shift; exec env {listed} {self._sbin}/"$tool" "$@"\n')
        return f"sh {script}"

    def logs(self) -> str:
        """The end of what it has logged."""
        files = [self._folder / "output", *(self._folder / "log").glob("*.log")]
        return "\n".join(file.read_text(errors="replace")[-4000:] for file in files)

    def _run(self, command: Sequence[str], *, asked: str = "") -> str:
        env = self._environment()
        done = subprocess.run(
            command, env=env, input=asked, capture_output=True, check=False, timeout=60, text=True
        )
        if done.returncode:
            raise Refused(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def _configure(self) -> None:
        settings = {
            "listeners.tcp.1": f"{HOST}:{self.port}",
            "default_user": ADMIN,
            "default_pass": self._password,
            "management.tcp.ip": HOST,
            "management.tcp.port": str(self.http_port),
            "prometheus.tcp.ip": HOST,
            "prometheus.tcp.port": str(self.prometheus_port),
            "collect_statistics_interval": "1000",
            "disk_free_limit.absolute": "50MB",
            **self.settings,
        }
        if "rabbitmq_prometheus" not in self._plugins:
            settings = {key: settings[key] for key in settings if not key.startswith("prometheus.")}
        lines = [f"{key} = {value}\n" for key, value in settings.items()]
        (self._folder / "rabbitmq.conf").write_text("".join(lines))
        if self._advanced is not None:
            (self._folder / "advanced.config").write_text(self._advanced)
        (self._folder / "enabled_plugins").write_text(f"[{self._plugins}].\n")
        self._choose_plugins()

    def _choose_plugins(self) -> None:
        chosen = self._folder / "plugins"
        if chosen.exists():
            return
        chosen.mkdir()
        for found in (self._sbin.parent / "plugins").iterdir():
            name = found.name.rpartition("-")[0]
            if name in _PLUGINS or not name.startswith("rabbitmq_"):
                (chosen / found.name).symlink_to(found)

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return environment(home=self._home, epmd_port=self._epmd_port) | {
            "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the node, it does not watch it
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": self._erl,
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PLUGINS_DIR": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }


class Watchdog:
    """Ends every process and removes the folder once our end of a pipe is gone, however we went."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def guard(self, pids: Sequence[int]) -> None:
        """These from now on, in place of those before."""
        words = ["sh", "-c", _WATCHDOG, "watchdog", str(self._folder), *map(str, pids)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
        self.end()
        self._process = process

    def end(self) -> None:
        """Nobody is guarded. Harmless twice."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        pipe: IO[bytes] | None = self._process.stdin
        if pipe is not None:
            pipe.close()
        self._process = None


def environment(*, home: Path, epmd_port: int) -> dict[str, str]:
    """Of Erlang's programs: nothing of a broker that the machine may have beside ours."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    return kept | {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": HOST,
    }


def write_cookie(home: Path) -> None:
    """What nodes know each other by; Erlang makes its own too late for several that start."""
    cookie = home / ".erlang.cookie"
    cookie.write_text(secrets.token_hex(10))
    cookie.chmod(0o400)


def spawn(command: list[str], *, folder: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that writes into `folder`."""
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the tests; they end the broker
        )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, different from each other."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()

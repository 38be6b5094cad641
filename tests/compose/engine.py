"""The stack under drill: `docker compose` on the project's files, and what only a host can do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "compose"
JSON = Any  # Any: what JSON may hold
# What an engine keeps of a project: how to list it, and how to remove it.
KINDS = (
    (("ps", "--all"), ("rm", "--force", "--volumes")),
    (("volume", "ls"), ("volume", "rm")),
    (("network", "ls"), ("network", "rm")),
)


def command(*words: str | Path, check: bool = True, env: Mapping[str, str] | None = None) -> str:
    """What a command printed; its error is shown in full."""
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        env=None if env is None else {**os.environ, **env},
    )
    if check and done.returncode:
        shown = " ".join(str(word) for word in words)
        raise RuntimeError(f"{shown}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr if not check else done.stdout


def docker(*words: str | Path, check: bool = True) -> str:
    return command("docker", *words, check=check)


def free_ports() -> Iterator[int]:
    """Ports that nobody listens on, below those that the system gives to outgoing connections."""
    for port in range(20_000, 32_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            yield port


class Stack:
    """One project of `docker compose`, started from `compose/`."""

    def __init__(
        self, project: str, ports: Mapping[str, int], *, files: Sequence[str] = ("compose.yaml",)
    ) -> None:
        self.project = project
        self._files = [word for file in files for word in ("-f", FOLDER / file)]
        self._ports = dict(ports)
        self._env = {
            "COMPOSE_PROJECT_NAME": project,
            **{f"TASUKI_{name}_PORT": str(port) for name, port in ports.items()},
        }
        self._token = ""

    def compose(self, *words: str | Path, check: bool = True) -> str:
        return command(
            "docker", "compose", *self._files, "--project-directory", FOLDER, *words,
            check=check, env=self._env,
        )  # fmt: skip

    # Containers.

    def container(self, service: str) -> str:
        return self.compose("ps", "--all", "--quiet", service).strip()

    def standing(self, service: str) -> str:
        """`healthy`, `unhealthy`, `starting`, or how it ended: `exited 0`."""
        container = self.container(service)
        if not container:
            return "absent"
        state = json.loads(docker("inspect", "--format", "{{json .State}}", container))
        if state["Status"] != "running":
            return f"{state['Status']} {state['ExitCode']}"
        return str(state.get("Health", {}).get("Status", "running"))

    def kill(self, service: str) -> None:
        """SIGKILL for the main process, from outside: `docker kill` would count as a stop."""
        pid = docker("inspect", "--format", "{{.State.Pid}}", self.container(service))
        os.kill(int(pid), signal.SIGKILL)

    def restarts(self, service: str) -> int:
        return int(docker("inspect", "--format", "{{.RestartCount}}", self.container(service)))

    def network(self, name: str) -> str:
        return f"{self.project}_{name}"

    def cut(self, service: str) -> list[str]:
        """Take it off all its networks; which ones."""
        container = self.container(service)
        form = "{{json .NetworkSettings.Networks}}"
        networks = list(json.loads(docker("inspect", "--format", form, container)))
        for network in networks:
            docker("network", "disconnect", "--force", network, container)
        return networks

    def join(self, service: str, networks: list[str]) -> None:
        for network in networks:
            docker("network", "connect", "--alias", service, network, self.container(service))

    def logs(self, service: str) -> str:
        return docker("logs", self.container(service))

    def leftovers(self) -> list[str]:
        """Whatever the engine still has of this project."""
        return [name for listing, _ in KINDS for name in self._ours(listing)]

    def clear(self) -> None:
        """Remove all of it, whichever files it came from."""
        for listing, removal in KINDS:
            if names := self._ours(listing):
                docker(*removal, *names)

    def _ours(self, listing: Sequence[str]) -> list[str]:
        ours = f"label=com.docker.compose.project={self.project}"
        return docker(*listing, "--quiet", "--filter", ours).split()

    # Its doors.

    def port(self, door: str) -> int:
        return self._ports[door]

    def address(self, door: str) -> str:
        return f"http://127.0.0.1:{self.port(door)}"

    def ask(self, door: str, path: str, *, method: str = "GET") -> JSON:
        """The JSON of one of the stack's services; the operator's token goes to the controller."""
        headers = {}
        if door == "CONTROLLER":
            self._token = self._token or self.compose(
                "exec", "-T", "controller", "cat", "/kit/token"
            )
            headers["Authorization"] = f"Bearer {self._token.strip()}"
        url = self.address(door) + path
        request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - http
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - http
            return json.load(answer)

    def query(self, promql: str) -> list[JSON]:
        """What Prometheus has for an expression now."""
        found = self.ask("PROMETHEUS", "/api/v1/query?query=" + urllib.parse.quote(promql))
        result: list[JSON] = found["data"]["result"]
        return result


class Runs:
    """Runs as the controller's door shows them; a door that is being restarted is asked again."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    def submit(self, name: str, text: str) -> None:
        path = self._folder / f"{name}.toml"
        path.write_text(text)
        path.chmod(0o644)
        self._stack.compose(
            "run", "--rm", "--no-deps", "-T", "--volume", f"{path}:/opt/digits/{name}.toml:ro",
            "--entrypoint", "tasuki", "demo", "submit", f"/opt/digits/{name}.toml",
        )  # fmt: skip

    def standing(self, run: str) -> JSON:
        def asked() -> JSON | None:
            try:
                return self._stack.ask("CONTROLLER", f"/runs/{run}")
            except OSError:
                return None

        found = wait_until(asked, what="the controller answers", within_s=30, poll_s=1)
        assert found is not None
        return found

    def holder(self, run: str) -> str | None:
        holder: str | None = self.standing(run)["holder"]
        return holder

    def turns_of(self, run: str, site: str) -> list[int]:
        """The rounds (from 1) in which a site's turn was accepted."""
        return [
            row["turn"]["round"] + 1
            for row in self.ledger(run)
            if row["event"] == "TurnFinished" and not row["outcome"] and row["turn"]["site"] == site
        ]

    def ledger(self, run: str) -> list[JSON]:
        rows: list[JSON] = self._stack.ask("CONTROLLER", f"/runs/{run}/ledger")["rows"]
        return rows

    def prove(self, run: str) -> JSON:
        """What a run's ledger proves, by the roster of the controller's kit."""
        door = ("--controller", "http://127.0.0.1:8470", "--token-file", "/kit/token")
        said = self._stack.compose(
            "exec", "-T", "controller", "tasuki", "ledger", run, "--verify", "--json",
            "--roster", "/kit/roster.pem", *door,
        )  # fmt: skip
        return json.loads(said.splitlines()[-1])

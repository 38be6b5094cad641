"""Turns for a script under test: in memory, or given to a real trainer's process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from support.requests import a_request
from tasuki.core.model import Kind
from tasuki.flare.session import ScriptTurn, Session
from tasuki.trainer import Framework, Result, Scores, Turn
from tasuki_site.tensors import load_state, save_state
from tasuki_site.trainer import channel

ROUNDS = 3


@dataclass(slots=True, kw_only=True)
class Desk:
    """Gives turns to a session in this process, and keeps what comes back."""

    turns: deque[Turn] = field(default_factory=deque)
    more_may_come: bool = False
    results: list[Any] = field(default_factory=list)  # Any: Result or Scores, as the turn asks
    logged: list[Mapping[str, float]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    asked: list[Framework] = field(default_factory=list)
    refusal: Exception | None = None

    def session(self, *, framework: Framework | None = "numpy") -> Session:
        return Session(self._next, framework=framework)

    def add(
        self,
        state: Mapping[str, Any] | None = None,
        *,
        round: int = 0,
        kind: Kind = Kind.TRAIN,
        params: Mapping[str, Any] | None = None,
        merged: bool = False,
    ) -> None:
        weights = {"w": np.ones(2, np.float32)} if state is None else state

        def load(framework: Framework) -> dict[str, Any]:  # Any: arrays
            self.asked.append(framework)
            return dict(weights)

        self.turns.append(
            Turn(
                run="demo",
                lane=0,
                term=1,
                round=round,
                hop=0,
                rounds=ROUNDS,
                site="site-1",
                seed=100 + round,
                kind=kind,
                merged=merged,
                params={"lr": 0.5} if params is None else params,
                load=load,
                report=self.logged.append,
            )
        )

    def _next(self, *, timeout_s: float | None) -> ScriptTurn | None:
        if not self.turns:
            if self.more_may_come and timeout_s is not None:
                raise TimeoutError
            return None
        turn = self.turns.popleft()
        return ScriptTurn(turn=turn, seed=lambda: self.seeds.append(turn.seed), finish=self._finish)

    def _finish(self, result: Result | Scores) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.results.append(result)


@dataclass(slots=True, kw_only=True)
class ScriptSite:
    """The site's side of a real trainer's process."""

    folder: Path
    process: subprocess.Popen[str]
    connection: socket.socket
    kind: Kind = Kind.TRAIN
    logged: list[Mapping[str, Any]] = field(default_factory=list)  # Any: as it came

    @property
    def result(self) -> dict[str, Any]:  # Any: arrays
        return load_state(self.folder / "result", framework="numpy")

    def train(
        self, *, round: int = 0, kind: Kind | None = None
    ) -> Mapping[str, Any]:  # Any: plain values
        """Give a turn, and wait for its answer."""
        request = a_request(
            self.folder,
            run="demo",
            round=round,
            rounds=ROUNDS,
            site="site-1",
            seed=100 + round,
            kind=(kind or self.kind).value,
            split="test" if kind is Kind.EVALUATE else "",
            params={"lr": 0.5},
        )
        self.connection.sendall(channel.pack({"request": request.to_map()}))
        while (message := channel.receive(self.connection)) is not None:
            if "log" not in message:
                return message
            self.logged.append(message["log"])
        raise AssertionError(f"the trainer's process died: {self.process.communicate()[0]}")

    def no_more_turns(self) -> str:
        """End the run; what the script printed. It must end well."""
        self.connection.sendall(channel.pack({"request": None}))
        printed = self.process.communicate(timeout=20)[0]
        assert self.process.returncode == 0, printed
        return printed


@contextmanager
def script_site(
    folder: Path,
    script: str,
    *,
    state: Mapping[str, Any] | None = None,  # Any: arrays
    kind: Kind = Kind.TRAIN,
    has_torch: bool = False,
    arguments: str = "",
) -> Iterator[ScriptSite]:
    """Start `python -m tasuki_site.trainer.child` with a script, which may use `flare` and `np`.

    Args:
        has_torch: torch can be imported there, which takes seconds.
    """
    save_state(folder / "received", {"w": np.ones(2, np.float32)} if state is None else state)
    (folder / "client_api.py").write_text("".join(_lines(script, has_torch=has_torch)))
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    with ours, theirs:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tasuki_site.trainer.child",
                f"client_api.py {arguments}",
                str(folder),
            ],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(["shared", "services"]),
                channel.FD_VARIABLE: str(theirs.fileno()),
            },
            cwd=Path(__file__).parents[2],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        theirs.close()
        with process:
            yield ScriptSite(folder=folder, process=process, connection=ours, kind=kind)
            process.kill()


def _lines(script: str, *, has_torch: bool) -> Iterable[str]:
    if not has_torch:
        # As on a site that has no torch; importing it takes seconds.
        yield "import sys\nsys.modules['torch'] = None\n"
    yield "import numpy as np\nimport tasuki.flare as flare\n"
    yield textwrap.dedent(script)

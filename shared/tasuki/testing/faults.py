"""Scripted faults: a service that kills, stops or traces itself at a moment of a turn.

A script is a file with one rule a line, `ACTOR MOMENT FAULT [KEY=VALUE ...]`:

    site-2      turn.journaled    kill   run=walk round=1
    controller  ledger.appended   stop   run=walk round=1 hop=0
    *           *                 trace

ACTOR is a site's name, `controller` (in a simulation all of it but its trainers), `trainer` (a
trainer's process) or `*`; MOMENT one of `tasuki.moments.Moment` or `*`; the keys are those of the
turn's identity. `kill` is SIGKILL and `stop` SIGSTOP, each to the process itself and once for each
rule, however often it starts again.

What was done is appended to the script's log, a line of JSON each, before it is done: what, who,
which turn, and when by the machine's monotonic clock. A script may grow while services run.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from tasuki.core.model import TurnId
from tasuki.errors import SettingsError
from tasuki.moments import UNWATCHED, Moment, Moments

VARIABLE = "TASUKI_FAULTS"
"""The environment variable with the script's path. Only entry points read it."""

ANY = "*"
KEYS = ("run", "lane", "term", "round", "hop")


class Fault(StrEnum):
    """What happens to the process that gets to the moment."""

    KILL = "kill"
    STOP = "stop"
    TRACE = "trace"


SIGNALS = {Fault.KILL: signal.SIGKILL, Fault.STOP: signal.SIGSTOP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of a script; `text` names it in the log."""

    text: str
    actor: str
    moment: str
    fault: Fault
    where: Mapping[str, str]

    @classmethod
    def parse(cls, line: str) -> Rule:
        """Read one line.

        Raises:
            SettingsError: it is no rule.
        """
        try:
            actor, moment, fault, *conditions = line.split()
            where = dict(condition.split("=", 1) for condition in conditions)
            known = Fault(fault)
            if moment != ANY:
                Moment(moment)
        except ValueError as exc:
            raise SettingsError(f"fault {line!r}: {exc}") from exc
        if not where.keys() <= set(KEYS):
            raise SettingsError(f"fault {line!r}: a turn has {', '.join(KEYS)}")
        text = " ".join(line.split())
        return cls(text=text, actor=actor, moment=moment, fault=known, where=where)

    def matches(self, actor: str, moment: Moment, id: TurnId | None) -> bool:
        """Whether this is the moment. Where the turn is unknown, no rule about one matches."""
        if self.actor not in {ANY, actor} or self.moment not in {ANY, moment.value}:
            return False
        return all(id and str(getattr(id, key)) == value for key, value in self.where.items())


class Script:
    """The moments of one process, with its rules for them.

    Raises:
        SettingsError: there is no such script.
    """

    def __init__(self, path: Path, *, actor: str) -> None:
        if not path.is_file():
            raise SettingsError(f"{VARIABLE}: there is no script {path}")
        self._path = path
        self._actor = actor
        self._lock = threading.Lock()
        self._read = 0  # the script's time of change when it was last read
        self._rules: tuple[Rule, ...] = ()

    def reach(self, moment: Moment, id: TurnId | None) -> None:
        now = time.monotonic_ns()
        with self._lock:
            for rule in self._current_rules():
                if rule.matches(self._actor, moment, id):
                    self._do(rule, moment, id, now)

    def _current_rules(self) -> tuple[Rule, ...]:
        changed = self._path.stat().st_mtime_ns
        if changed != self._read:
            lines = self._path.read_text().splitlines()
            self._rules = tuple(Rule.parse(line) for line in lines if line.strip())
            self._read = changed
        return self._rules

    def _do(self, rule: Rule, moment: Moment, id: TurnId | None, now: int) -> None:
        number = SIGNALS.get(rule.fault)
        if number is not None and any(done["rule"] == rule.text for done in read_log(self._path)):
            return
        line = {
            "rule": rule.text,
            "fault": rule.fault.value,
            "actor": self._actor,
            "moment": moment.value,
            "turn": None if id is None else {key: getattr(id, key) for key in KEYS},
            "ns": now,
            "pid": os.getpid(),
        }
        with log_of(self._path).open("a") as log:
            log.write(json.dumps(line) + "\n")
            if number is not None:
                log.flush()
                os.fsync(log.fileno())
        if number is not None:
            os.kill(os.getpid(), number)


def log_of(script: Path) -> Path:
    """Where a script's processes write what they did."""
    return script.with_name(script.name + ".log")


def read_log(script: Path) -> list[dict[str, Any]]:  # Any: JSON
    """What was done so far, in order."""
    log = log_of(script)
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines()]


def listening(script: str | None, *, actor: str) -> Moments:
    """Whoever listens to this process's moments: nobody, unless there is a script.

    Raises:
        SettingsError: there is no such script.
    """
    if not script:
        return UNWATCHED
    structlog.get_logger().warning(
        "THIS PROCESS FOLLOWS A SCRIPT OF FAULTS and may kill itself: for tests only",
        script=script,
        actor=actor,
        variable=VARIABLE,
    )
    return Script(Path(script), actor=actor)

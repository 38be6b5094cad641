"""Services that all stand at a moment of a turn, each of a run of its own, when a broker is killed.

Starting a broker again takes seconds, so each kill hits several services at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.scripted import Row, Scripted, go_on
from tasuki.core.model import CONTROLLER
from tasuki.moments import Moment

Write = Callable[..., Path]
ORDERS: Mapping[str, tuple[str, ...]] = {
    "site-1": ("site-1", "site-2", "site-3"),
    "site-2": ("site-2", "site-3", "site-1"),
    "site-3": ("site-3", "site-1", "site-2"),
    CONTROLLER: ("site-1", "site-2"),
}
ONWARD = {Moment.TURN_SENT, Moment.CHUNKS_HALF_SENT, Moment.WEIGHTS_CONFIRMED}
"""Told of with the turn that is sent, which at a site is the next one."""

TOGETHER = {
    "before the journal": {
        "site-1": Moment.TURN_RECEIVED,
        "site-2": Moment.TURN_JOURNALED,
        "site-3": Moment.CHUNKS_HALF_RECEIVED,
        CONTROLLER: Moment.LEDGER_APPENDED,
    },
    "while they train": {
        "site-1": Moment.TRAINING,
        "site-2": Moment.PROGRESSED,
        "site-3": Moment.TRAINED,
        CONTROLLER: Moment.CHUNKS_HALF_SENT,
    },
    "while they send weights": {
        "site-1": Moment.RESULT_JOURNALED,
        "site-2": Moment.CHUNKS_HALF_SENT,
        "site-3": Moment.WEIGHTS_CONFIRMED,
        CONTROLLER: Moment.WEIGHTS_CONFIRMED,
    },
    "while they send turns": {
        "site-1": Moment.TURN_SENT,
        "site-2": Moment.CONFIRMED,
        "site-3": Moment.HANDED_OVER,
        CONTROLLER: Moment.TURN_SENT,
    },
    "when the controller has sent a turn": {
        "site-1": Moment.WEIGHTS_COMPLETE,
        CONTROLLER: Moment.CONFIRMED,
    },
}
CONTROLLERS = {
    "before a report is on record": (Moment.REPORT_RECEIVED, 0),
    "when a report is on record and not acknowledged": (Moment.LEDGER_APPENDED, 1),
    "when the round's weights have come": (Moment.WEIGHTS_COLLECTED, 2),
}


@dataclass
class Standing:
    """Runs whose services stand.

    Attributes:
        runs: by the service that stands.
        pids: of those that stand.
    """

    scripted: Scripted
    runs: dict[str, str] = field(default_factory=dict)
    pids: list[int] = field(default_factory=list)

    def go_on(self) -> None:
        for pid in self.pids:
            go_on(pid)

    def check(self) -> dict[str, list[Row]]:
        """Wait for their ends, and see that nothing is missing; the rows of each run."""
        return {run: self.scripted.check(run, ORDERS[actor]) for actor, run in self.runs.items()}


@contextmanager
def standing(
    scripted: Scripted, write: Write, moments: Mapping[str, Moment], **changes: object
) -> Iterator[Standing]:
    """Each of these services at its moment; they have to go on within this.

    Args:
        changes: to the run files.
    """
    files = {actor: write(order=ORDERS[actor], **changes) for actor in moments}
    found = Standing(scripted, {actor: file.parent.name for actor, file in files.items()})
    rules = {actor: stop_at(actor, at, found.runs[actor]) for actor, at in moments.items()}
    scripted.follow(*rules.values())
    for site in [actor for actor in moments if actor != CONTROLLER]:
        scripted.submit(files[site])
        found.pids.append(scripted.await_stop(rules[site]))
    # Its answer may have to wait until the controller goes on.
    submitting = threading.Thread(target=scripted.submit, args=[files[CONTROLLER]])
    submitting.start()
    found.pids.append(scripted.await_stop(rules[CONTROLLER]))
    yield found
    submitting.join()


def stop_at(actor: str, moment: Moment, run: str, *, hop: int = 0) -> str:
    """The rule that stops it there."""
    if moment is Moment.CHUNKS_HALF_RECEIVED:
        return f"{actor} {moment} stop"  # whose they are is not known yet
    if moment in ONWARD and actor != CONTROLLER:
        hop += 1
    return f"{actor} {moment} stop run={run} round=0 hop={hop}"

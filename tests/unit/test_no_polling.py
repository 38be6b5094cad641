"""A hand-over does not poll: on its path every wait is for an event.

Whoever adds a wait by the clock here has to say why it is none that a hand-over has to sit out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ON_THE_PATH = (
    *sorted((ROOT / "services/tasuki_site").rglob("*.py")),
    *sorted((ROOT / "services/tasuki_controller/followers").glob("*.py")),
    *sorted((ROOT / "shared/tasuki/transport").rglob("*.py")),
    *sorted((ROOT / "shared/tasuki/wire").rglob("*.py")),
    *sorted((ROOT / "shared/tasuki/weights").rglob("*.py")),
    *(
        ROOT / f"services/tasuki_controller/{name}.py"
        for name in ("service", "outbox", "turns_out", "intake", "leases", "checkpoints")
    ),
)
BY_THE_CLOCK = {"sleep", "wait_for", "timeout", "timeout_at", "settimeout"}
KNOWN = {
    "tasuki_site/service.py _beat_idly": "says that an idle site lives",
    "tasuki_site/service.py _measure": "tells the site's numbers for metrics",
    "tasuki_site/service.py _part": "how long a service that ends waits for what stands still",
    "tasuki_site/reports.py all_confirmed": "how long a service that ends waits for the broker",
    "tasuki_controller/outbox.py _fence": "only as long as a queue takes no fence",
    "tasuki_controller/service.py let_go": "only of a run that is over, and was removed",
    "trainer/launcher.py _fail_unless": "only after a rank of a command died",
    "trainer/time_limits.py hear": "only as long as the run lets a turn take",
    "trainer/pool.py close": "how long trainers may take when their service ends",
    "trainer/child_process.py ended_within": "how long a trainer may take to end by itself",
    "trainer/printing.py heard_out": "only after a trainer died or was ended",
    "trainer/connection.py next_request": "only if the trainer's script itself sets a limit",
    "tasuki_controller/outbox.py remind": "after a hand-over that nobody awaits any more",
    "tasuki_controller/outbox.py bring_roster": "only to a site that has an older roster",
    "tasuki_controller/turns_out.py _ask_broker": "only after silence",
    "followers/following.py led": "how long a follower may take when its controller ends",
    "followers/following.py _lead": "only before a follower is told again what it failed at",
    "followers/watch.py follow": "tells an onlooker that nothing is new",
    "tasuki_controller/intake.py _open": "how long a stream may take to accept a reader",
    "weights/receiver.py _wait": "waits for weights; the limit is for those that stop coming",
    "transport/broker.py refuses": "only of a site that is asked to end",
    "weights/sender.py take_back": "after a hand-over that nobody awaits any more",
    "amqp/transport.py open": "how long to try to connect",
    "amqp/transport.py close": "how long a service that ends waits for the broker",
    "amqp/transport.py _counts": "how long the broker may take to answer",
}


def waits(path: Path) -> Iterator[str]:
    """Each function that waits by the clock, as `folder/module.py function`."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
            if any(map(is_by_the_clock, calls)):
                yield f"{path.parent.name}/{path.name} {function.name}"


def is_by_the_clock(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg for keyword in call.keywords}
    return name in BY_THE_CLOCK or (name in {"get", "wait", "join"} and "timeout" in given)


def test_whatever_waits_by_the_clock_is_no_step_of_a_hand_over() -> None:
    found = {wait for path in ON_THE_PATH for wait in waits(path)}

    assert set(KNOWN) == found

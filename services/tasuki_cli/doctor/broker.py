"""What the broker lets us do. Looks only: no queue of anybody's gets or loses a message."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tasuki.core.model import CONTROLLER
from tasuki.transport.amqp.probe import Probe
from tasuki.weights.chunks import MAX_CHUNK_BYTES
from tasuki.wire import names
from tasuki_cli.doctor.machine import is_at_work
from tasuki_cli.doctor.report import Finding, Status, Step

_PROVISION = "provision this federation on this broker: `tasuki provision FEDERATION.toml --apply`"


def login(probe: Probe, *, who: str) -> Step:
    return Step(
        name="login",
        look=partial(_login, probe, who),
        advice="compare user, vhost, password_file and cert with the kit; a revoked or renewed "
        "site needs a new kit",
    )


def steps(probe: Probe, *, who: str, folder: Path) -> list[Step]:
    """After `login`, in the order in which a service needs them.

    Args:
        folder: where that service works.
    """
    return [
        Step(name="queues", look=partial(_queues, probe, _reads(who)), advice=_PROVISION),
        Step(
            name="no second copy",
            look=partial(_readers, probe, _reads(who)[0], folder),
            advice=f"end the other service of the name {who}, on whatever machine it is; one whose "
            "machine lost its power is gone within a minute",
        ),
        Step(name="permissions", look=partial(_permissions, probe, who), advice=_PROVISION),
        Step(
            name="message size",
            look=partial(_size, probe),
            advice="raise max_message_size in the broker's configuration",
        ),
        Step(name="ack timeout", look=_ack_timeout, advice=""),
    ]


def _reads(who: str) -> Sequence[str]:
    if who == CONTROLLER:
        return (names.REPORTS, names.weights_stream(who), names.DEAD)
    return (names.turns_queue(who), names.weights_stream(who), names.control_queue(who))


def _writes(who: str) -> Sequence[str]:
    if who == CONTROLLER:
        return (names.TURNS, names.WEIGHTS, names.CONTROL)
    return (names.TURNS, names.WEIGHTS, names.REPORTS)


def _login(probe: Probe, who: str) -> Finding:
    probe.connect()
    return Finding(found=f"the broker lets {who} in")


def _queues(probe: Probe, queues: Sequence[str]) -> Finding:
    for queue in queues:
        probe.find_queue(queue)
    return Finding(found=f"{', '.join(queues)} are there", brief=f"{len(queues)} are there")


def _readers(probe: Probe, queue: str, folder: Path) -> Finding:
    """Of two services of one name, one waits; when it gets its turn it has another's journal."""
    if probe.find_queue(queue) == 0:
        return Finding(found=f"nobody reads {queue} now")
    if is_at_work(folder):
        said = f"the service that works in {folder} reads {queue}"
        return Finding(found=said, brief="the service on this machine is the only one")
    said = f"somebody reads {queue}, and no service works in {folder}"
    return Finding(found=said, status=Status.WARN)


def _permissions(probe: Probe, who: str) -> Finding:
    for queue in _reads(who):
        probe.read_nothing(queue)
    for exchange in _writes(who):
        probe.send_nowhere(exchange, size=1)
    said = f"may read these, and write to {', '.join(_writes(who))}"
    return Finding(found=said, brief="may read and write all that it needs")


def _size(probe: Probe) -> Finding:
    """A chunk as large as they get, to a key that no queue is bound to: it is sent back."""
    probe.send_nowhere(names.WEIGHTS, size=MAX_CHUNK_BYTES)
    return Finding(found=f"takes {MAX_CHUNK_BYTES >> 20} MiB, as much as a piece of weights has")


def _ack_timeout() -> Finding:
    said = "cannot be asked for; any will do, since a turn is acknowledged before it is trained"
    return Finding(found=said, status=Status.SKIPPED, brief="cannot be asked for; any will do")

"""The one long step of a turn that evaluates: scores of the received weights, and nothing else."""

from __future__ import annotations

from tasuki.clock import Stopwatch
from tasuki.core.model import Turn, TurnRecord
from tasuki.errors import GateRejected
from tasuki.trust.member import submission_of
from tasuki.wire.size import check_record
from tasuki_site.gate.metrics import some
from tasuki_site.sending import transfer_of
from tasuki_site.site import Site
from tasuki_site.trainer.request import Log, TurnRequest
from tasuki_site.trainer.result import Outcome


async def evaluate(site: Site, turn: Turn, log: Log) -> TurnRecord:
    """Score; what the record has as sent is what was received.

    Raises:
        TasukiError: why there are no scores.
    """
    stopwatch = Stopwatch(site.clock)
    received = site.spool.path(transfer_of(turn), turn.weights)
    unused = site.spool.part(f"{transfer_of(turn).hex()}-{site.name}-scores")
    request = TurnRequest.of(
        turn, received=received, result=unused, data=site.data, device=site.device
    )
    outcome = await site.trainers.train(turn.task.trainer, request, log, began=stopwatch.start)
    _check(turn, outcome)
    record = _record(turn, outcome, seconds=stopwatch.seconds)
    check_record(turn, record)
    return site.member.write(record, about=submission_of(turn).about)


def _check(turn: Turn, outcome: Outcome) -> None:
    """Raises GateRejected: a score that the run judges by is missing."""
    missing = [name for name in turn.task.scores if name not in outcome.metrics]
    if missing:
        raise GateRejected(
            f"the evaluation has no score {missing[0]!r}, which [checkpoint] best or [stop] metric "
            "of the run names; it has "
            f"{some(outcome.metrics)}: return turn.scores({{{missing[0]!r}: ...}})"
        )


def _record(turn: Turn, outcome: Outcome, *, seconds: float) -> TurnRecord:
    return TurnRecord(
        id=turn.id,
        site=turn.site,
        received=turn.weights.digest,
        sent=turn.weights,
        metrics=dict(outcome.metrics),
        samples=outcome.samples,
        seconds=round(seconds, 6),
        kind=turn.kind,
    )

"""The first long step of a turn: train, and let nothing through that must not be handed on."""

from __future__ import annotations

import secrets

from tasuki.clock import Stopwatch
from tasuki.core.model import Turn, TurnRecord, WeightsRef
from tasuki.disk.errors import disk_errors
from tasuki.errors import WeightsError
from tasuki.trust.member import submission_of
from tasuki.wire.size import check_one_more, check_record
from tasuki_site import gate
from tasuki_site.facts import GateClosed, Trained
from tasuki_site.gate import Candidate
from tasuki_site.sending import passed_on, transfer_of
from tasuki_site.site import Site
from tasuki_site.trainer.request import Log, TurnRequest
from tasuki_site.trainer.result import Outcome


async def train(site: Site, turn: Turn, log: Log) -> TurnRecord:
    """Train; the result is in the spool, named for the turn that it goes to.

    A turn that could not be sent on is not trained at all.

    Raises:
        TasukiError: why there is no result that may be handed on.
    """
    check_one_more(turn)
    stopwatch = Stopwatch(site.clock)
    received = site.spool.path(transfer_of(turn), turn.weights)
    # A name of its own each time: an aborted trainer in a thread may go on writing for a while.
    result = site.spool.part(f"{transfer_of(turn).hex()}-{site.name}-{secrets.token_hex(4)}")
    try:
        request = TurnRequest.of(
            turn, received=received, result=result, data=site.data, device=site.device
        )
        outcome = await site.trainers.train(turn.task.trainer, request, log, began=stopwatch.start)
        with disk_errors(result):  # whatever the site's code started may have removed it
            candidate = Candidate(task=turn.task, received=received, result=result, outcome=outcome)
            gate.check(candidate)
            outcome = gate.as_received(turn, candidate)
        record = _record(turn, outcome, seconds=stopwatch.seconds)
        check_record(turn, record)
        record = site.member.write(record, about=submission_of(turn).about)
        site.spool.adopt(result, transfer_of(passed_on(turn, record)), record.sent)
    except BaseException as exc:
        result.unlink(missing_ok=True)
        if isinstance(exc, WeightsError):
            site.watcher(GateClosed(id=turn.id, error=exc))
        raise
    site.watcher(Trained(id=turn.id, seconds=record.seconds))
    return record


def _record(turn: Turn, outcome: Outcome, *, seconds: float) -> TurnRecord:
    return TurnRecord(
        id=turn.id,
        site=turn.site,
        received=turn.weights.digest,
        sent=WeightsRef(digest=outcome.digest, size=outcome.size),
        metrics=dict(outcome.metrics),
        samples=outcome.samples,
        seconds=round(seconds, 6),
    )

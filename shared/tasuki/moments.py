"""The moments of a turn at which a crash leaves something different behind.

The services say when they get to one. By default nobody listens; `tasuki.testing.faults` does
when it is asked to, and kills, stops or traces the process right there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from tasuki.core.model import TurnId


class Moment(StrEnum):
    """In the order in which a turn passes them; `docs/decisions/0010-fault-points.md`."""

    # At a site.
    STARTED = "started"  # the journal is open, and nobody was told
    CHUNKS_HALF_RECEIVED = "chunks.half_received"
    TURN_RECEIVED = "turn.received"  # and not journaled
    TURN_JOURNALED = "turn.journaled"  # and not acknowledged
    WEIGHTS_COMPLETE = "weights.complete"
    TRAINING = "training"  # the trainer was given its turn
    PROGRESSED = "progressed"  # the trainer said something, and has no result yet
    TRAINED = "trained"  # and not journaled
    RESULT_JOURNALED = "result.journaled"  # and not sent
    # At whoever hands over: a site, or the controller that issues a turn.
    CHUNKS_HALF_SENT = "chunks.half_sent"
    WEIGHTS_CONFIRMED = "weights.confirmed"  # and the turn not sent
    TURN_SENT = "turn.sent"  # and not confirmed; the identity is that of the turn that was sent
    CONFIRMED = "confirmed"  # and not journaled
    HANDED_OVER = "handed_over"  # journaled, and not reported
    # In the trainer's process.
    TRAINER_ASKED = "trainer.asked"
    TRAINER_LOADED = "trainer.loaded"  # the user's code has its weights
    TRAINER_RETURNED = "trainer.returned"  # the user's code has its result
    TRAINER_SAVED = "trainer.saved"  # written and digested
    # At the controller; the identity is that of the turn that is expected then.
    REPORT_RECEIVED = "report.received"  # and not appended
    LEDGER_APPENDED = "ledger.appended"  # and nothing of what follows from it done
    WEIGHTS_COLLECTED = "weights.collected"  # and not appended
    MERGE_BEGUN = "merge.begun"  # and nothing written
    MERGE_WRITTEN = "merge.written"  # and not appended
    CHECKPOINT_SAVED = "checkpoint.saved"  # and not struck from what is to be done


class Moments(Protocol):
    """Told of each moment. May end or stop the process; it never raises."""

    def reach(self, moment: Moment, id: TurnId | None) -> None:
        """Called on whatever thread gets there. `id` is None where the turn is not known yet."""


class Unwatched:
    """Nobody listens."""

    def reach(self, moment: Moment, id: TurnId | None) -> None:
        """Nothing happens."""


UNWATCHED = Unwatched()

"""Whether a turn is what its controller gave out, and all that it says was done since was done.

Signatures are checked elsewhere: here it is whether what was signed fits together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tasuki.core.model import Kind, Turn, TurnRecord
from tasuki.core.trust import Submission, Warrant

OTHER_RUN, OLDER_RUN = "other_run", "older_run"
"""Why something that was truly signed is about no run that counts, in a word."""


def why_other(known: Submission, said: Submission) -> str:
    """Why a turn is of no run that counts; empty if it is of the run that is known, or a later one.

    Args:
        known: of this name, of all that came so far.
        said: what the turn is of, by its warrant.
    """
    if not known.about or said.about == known.about:
        return ""
    if not said.about:
        return OTHER_RUN
    return "" if said.began > known.began else OLDER_RUN


def before(turn: Turn, warrant: Warrant) -> int:
    """How many of a turn's records it was given out with; the rest came on its way."""
    return len(turn.history) - (turn.id.hop - warrant.id.hop)


def why_not_whole(
    turn: Turn, warrant: Warrant, *, digests: Sequence[str], since: Sequence[TurnRecord]
) -> str:
    """What does not fit; empty if every turn from the controller to this one is there.

    Args:
        digests: of the records that the turn was given out with.
        since: the records that came on its way.
    """
    id, first = turn.id, warrant.id
    if replace(id, hop=0) != replace(first, hop=0) or id.hop < first.hop:
        return f"the controller gave out {first}, not {id}"
    if (turn.itinerary, turn.task, turn.kind, turn.split) != (
        warrant.itinerary,
        warrant.task,
        warrant.kind,
        warrant.split,
    ):
        return f"{id} is not as the controller gave it out"
    if turn.merged != (warrant.merged and id == first):
        return f"{id} says wrongly whether its weights were just merged"
    if tuple(digests) != warrant.before or len(since) != id.hop - first.hop:
        return f"{id} comes with other records than it has to"
    newest = warrant.weights
    for hop, record in enumerate(since, start=first.hop):
        if (record.id, record.site) != (replace(first, hop=hop), warrant.itinerary[hop]):
            return f"{id} comes with a record of {record.id} at {record.site}, out of its place"
        if record.received != newest.digest or record.kind is not Kind.TRAIN:
            return f"the record of {record.id} does not follow the one before it"
        newest = record.sent
    return "" if turn.weights == newest else f"{id} comes with weights that nobody handed on"

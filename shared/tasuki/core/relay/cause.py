"""Why a turn is given up or a lease ran out, in words for the operator."""

from __future__ import annotations

from tasuki.core.model import CONTROLLER
from tasuki.core.relay.events import TurnFailed
from tasuki.core.relay.state import Failed, RelayState
from tasuki.core.report import LASTING, OWN, Stage

SAME_TWICE = "the same failure twice: not tried again"
CANNOT_CHANGE = "another attempt cannot change that: not tried again"


def why_not_again(state: RelayState, event: TurnFailed) -> str:
    """Why a turn that failed is given up with attempts left; empty if it is not.

    A trainer has the same seed each time, so that a mistake in it comes back word for word. What
    comes from without, like a signal, a disk or a queue, may be gone the next time.
    """
    failure = state.failure
    if event.id != state.expected:
        return ""
    if event.error in LASTING:
        return CANNOT_CHANGE
    if state.attempts >= failure.max_attempts:
        return ""
    is_own = failure.same_twice_ends and event.error in OWN
    return SAME_TWICE if is_own and how_it_failed(event) == state.failed else ""


def how_it_failed(event: TurnFailed) -> Failed:
    """What the next attempt is compared with."""
    return Failed(error=event.error, detail=event.detail)


def why_expired(phase: str, *, holder: str, successor: str, lease_s: float) -> str:
    """What its holder did, or did not do, for a lease."""
    for_s = f"for {lease_s:g} s"
    match phase:
        case "":
            return f"{holder} was silent {for_s}"
        case Stage.GIVEN_OUT:
            return f"nothing more could be sent to {holder} {for_s}"
        case Stage.WAITING:
            return f"{holder} has another turn before this one, which has not come on {for_s}"
        case Stage.TAKEN:
            return f"{holder} has received no weights {for_s}"
        case Stage.TRAINED:
            to = f"the {CONTROLLER}" if successor == CONTROLLER else successor
            return f"{holder} has handed nothing on to {to} {for_s}"
    return f"{holder} has not come on {for_s}"

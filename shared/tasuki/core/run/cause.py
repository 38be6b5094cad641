"""Why a lease ran out, in words for the operator."""

from __future__ import annotations

from tasuki.core.model import CONTROLLER
from tasuki.core.report import Stage


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

"""What a result must pass before it is handed on.

Finite values, names, shapes and dtypes were checked while the result was written; what is left
needs the run's own settings. A check is a file here and its line in `CHECKS`; it raises what is
wrong with a result.
"""

from collections.abc import Callable

from tasuki_site.gate import distance, metrics, same_tensors
from tasuki_site.gate.candidate import Candidate
from tasuki_site.gate.unchanged import as_received

__all__ = ["CHECKS", "Candidate", "as_received", "check"]

CHECKS: tuple[Callable[[Candidate], None], ...] = (
    same_tensors.check,
    metrics.check,
    distance.check,
)


def check(candidate: Candidate) -> None:
    """Let a result pass.

    Raises:
        WeightsError: what the first check that it does not pass has to say.
    """
    for each in CHECKS:
        each(candidate)

"""The tensors of a result are those that were received."""

from __future__ import annotations

from tasuki.errors import ManifestMismatch
from tasuki.weights.container import read_manifest
from tasuki_site.gate.candidate import Candidate


def check(candidate: Candidate) -> None:
    """Raises ManifestMismatch: other tensors than those received."""
    before, after = read_manifest(candidate.received), read_manifest(candidate.result)
    if (difference := before.difference(after)) is not None:
        raise ManifestMismatch(difference)

"""Which tests go to one worker, one after the other, when there are several: `make test`."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

LONG_FIRST = ("faults", "integration", "e2e", "frameworks", "contract", "unit")
SHARING = {"faults", "integration", "e2e", "frameworks"}
"""Whose tests of one file share a broker, a federation, a wheel or a run."""
CLUSTER = "test_cluster_"
"""How the files begin whose tests share the cluster."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """What is shared is made once; any other test is for whoever is free.

    By names, which is all that there is to go by: xdist's own groups are none with pytest 9.2, and
    nobody says so (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        _, suite, *_, name = file.split("/")
        if name.startswith(CLUSTER):
            return "cluster"
        return file if suite in SHARING else nodeid

"""What all suites share: how hard hypothesis tries, the broker, and who runs beside whom."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from support.federation import Federation

pytest_plugins = ["support.broker_fixtures"]

# The deadline is off: a busy machine is no bug, and pytest-timeout ends what hangs.
settings.register_profile("laptop", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=500, deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "laptop")

TESTS = Path(__file__).parent
BROKER_SUITES = {"integration", "faults"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on a broker run one after the other, in one worker: they mostly wait, and by the clock.

    The other worker does meanwhile what needs a processor, and the tests on a cluster.
    """
    for item in items:
        suite = item.path.relative_to(TESTS).parts[0]
        fixtures = getattr(item, "fixturenames", ())
        if "cluster" in fixtures:
            item.add_marker(pytest.mark.xdist_group("cluster"))
        elif suite in BROKER_SUITES or "broker" in fixtures:
            item.add_marker(pytest.mark.xdist_group("broker"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed is shown with what the services of its federation have logged."""
    report = yield
    if report.failed:
        for fixture in getattr(item, "funcargs", {}).values():
            federation = getattr(fixture, "federation", fixture)
            if isinstance(federation, Federation):
                report.sections += [
                    (f"log of {name}", said) for name, said in federation.last_words().items()
                ]
    return report

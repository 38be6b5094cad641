"""What all suites share: how hard hypothesis tries, the broker, and who runs beside whom."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from support.federation import Federation
from support.workers import CLUSTER, LONG_FIRST, ByFile

pytest_plugins = ["support.broker_fixtures"]

# The deadline is off: a busy machine is no bug, and pytest-timeout ends what hangs.
settings.register_profile("laptop", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=500, deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "laptop")

TESTS = Path(__file__).parent


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Short tests come last: they keep every worker at work until the end."""
    for item in items:
        on_cluster = "cluster" in getattr(item, "fixturenames", ())
        assert on_cluster == item.path.name.startswith(CLUSTER), f"{item.path}: see workers.py"
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[bool, int]:
    suite = item.path.relative_to(TESTS).parts[0]
    return not item.path.name.startswith(CLUSTER), LONG_FIRST.index(suite)


def pytest_runtest_teardown() -> None:
    """A command that ran in this process has set up logging for itself, not for what comes next."""
    structlog.reset_defaults()


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

"""promtool, which knows Prometheus' language better than we do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.promql import Promtool


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Runs promtool; skips where it is missing, unless this is a build."""
    found = shutil.which("promtool")
    if found is None:
        missing = "promtool is not installed: apt-get install prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [found, *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    return run

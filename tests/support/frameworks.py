"""Whether the frameworks that a test is about are here."""

from __future__ import annotations

import importlib.util
import os

import pytest


def need(*packages: str) -> None:
    """Skip the test without them; in CI, where `make test` installs them, it fails instead."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"{', '.join(missing)} not installed: make test installs them")
    assert missing == []

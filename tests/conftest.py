"""What every suite shares: how hard hypothesis tries, and the private broker."""

from __future__ import annotations

import os

from hypothesis import settings

pytest_plugins = ["support.broker_fixtures"]

# The deadline is off: a busy machine is no bug, and pytest-timeout ends what hangs.
settings.register_profile("laptop", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=500, deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "laptop")

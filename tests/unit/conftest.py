"""How hard hypothesis tries: enough to notice on a laptop, more in CI."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("laptop", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=500, deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "laptop")

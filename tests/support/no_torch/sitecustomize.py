"""First on the path of a process, this makes it a machine without torch, which starts sooner."""

import sys

sys.modules["torch"] = None  # type: ignore[assignment]  # what import takes for "not there"

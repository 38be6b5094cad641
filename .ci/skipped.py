"""List the tests that a JUnit report calls skipped; fail if there are any, or no test at all."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main(report: Path) -> int:
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - pytest wrote it just now
    skipped = [
        f"skipped: {case.get('classname')}::{case.get('name')}: {skip.get('message')}"
        for case in cases
        for skip in case.iter("skipped")
        if skip.get("type") != "pytest.xfail"
    ]
    sys.stdout.write("".join(f"{line}\n" for line in skipped))
    sys.stdout.write(f"{len(cases)} tests, {len(skipped)} of them skipped\n")
    return 0 if cases and not skipped else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

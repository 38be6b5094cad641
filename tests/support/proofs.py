"""The ledgers of a federation whose services are down, proved by nothing but files."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from tasuki_cli.ledgers import prove, read_roster
from tasuki_cli.records import LocalArchive


def prove_all(data: Path, *, roster: Path) -> None:
    """As `tasuki ledger RUN --verify --roster FILE --data FOLDER` of every run that there was.

    Raises:
        LedgerBroken: naming the first row or file that is not proved, and why.
    """
    archive = LocalArchive(data)
    members = read_roster(roster, roster.with_name("authority.pem"))
    for row in archive.runs(even_removed=True):
        with redirect_stdout(io.StringIO()):
            prove(row.run, archive, members, as_json=True)

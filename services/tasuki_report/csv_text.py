"""Tables as CSV, which spreadsheets read: what others wrote is no formula there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from tasuki.observe.printable import one_line

NO_NUMBER = "NaN"
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A line for the head and one for each row; None is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()


def foreign(text: str) -> str:
    """What a site wrote, where a spreadsheet may read it: no formula, and nothing but one line."""
    # Some spreadsheets separate fields by semicolons, whatever stands in quotes.
    return ";".join(map(_defused, one_line(text).split(";")))


def _defused(field: str) -> str:
    return f"'{field}" if field.lstrip().startswith(_BEGINS_A_FORMULA) else field

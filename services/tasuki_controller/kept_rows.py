"""A run's rows as they were written, on their way to whoever checks them: over HTTP, or in a file.

A file is lines of JSON: which run it is of, its rows, how many they are. Each line has one form, so
that no byte can be changed without that showing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, PlainSerializer

from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import sync
from tasuki.errors import LedgerBroken, SettingsError
from tasuki.ledger.sqlite import Row
from tasuki.wire.messages import MAX_BYTES
from tasuki_controller.documents import Document

MOST_LINE = 2 * MAX_BYTES
PAGE_ROWS, PAGE_BYTES = 500, MAX_BYTES


def _from_text(text: object) -> object:
    return base64.b64decode(text, validate=True) if isinstance(text, str) else text


def _as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


Base64 = Annotated[bytes, BeforeValidator(_from_text), PlainSerializer(_as_text, return_type=str)]


class KeptRow(Document):
    """A row as it was written, bytes as base64."""

    seq: int
    at: float
    event: Base64
    outcome: str
    hash: str
    signature: Base64

    @classmethod
    def of(cls, row: Row) -> KeptRow:
        return cls.model_construct(**{key: getattr(row, key) for key in cls.model_fields})

    def row(self, run: str) -> Row:
        return Row(run=run, **dict(self))


class KeptRows(Document):
    """Rows of a run after one of them, as many as an answer has; none: there are no more."""

    run: str
    rows: list[KeptRow]


class Header(Document):
    """Which run a file of rows is of."""

    tasuki: Literal["ledger"] = "ledger"
    v: Literal[1] = 1
    run: str


class End(Document):
    """How many rows the file has."""

    rows: int


D = TypeVar("D", bound=Document)


def page(run: str, rows: Iterable[Row]) -> KeptRows:
    """As many of them as an answer has, and one at least."""
    taken: list[KeptRow] = []
    size = 0
    for row in rows:
        size += len(row.event)
        if taken and (size > PAGE_BYTES or len(taken) == PAGE_ROWS):
            break
        taken.append(KeptRow.of(row))
    return KeptRows(run=run, rows=taken)


def write(path: Path, run: str, rows: Iterable[Row]) -> int:
    """Write a run's rows to a file; returns how many there are.

    Raises:
        SettingsError: there is such a file.
        DiskFull, StorageError: it cannot be written.
    """
    part, count = path.with_name(f".{path.name}.part"), 0
    if path.exists():
        raise SettingsError(f"{path} is there already: name another file")
    with disk_errors(path):
        try:
            with part.open("wb") as file:
                file.write(_line(Header(run=run)))
                for row in rows:
                    file.write(_line(KeptRow.of(row)))
                    count += 1
                file.write(_line(End(rows=count)))
            sync(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return count


def run_of(path: Path) -> str:
    """The run that a file of rows is of.

    Raises:
        SettingsError: it is no such file.
    """
    with disk_errors(path), path.open("rb") as file:
        try:
            return _parsed(file.readline(MOST_LINE), Header).run
        except ValueError as exc:
            raise SettingsError(
                f"{path} is no ledger that `tasuki ledger RUN --export` wrote"
            ) from exc


def read(path: Path) -> Iterator[Row]:
    """The rows in a file, as they come; nothing of them is checked.

    Raises:
        LedgerBroken: a line is not as it was written, or the end is missing.
    """
    run, count = run_of(path), 0
    with disk_errors(path), path.open("rb") as file:
        file.readline(MOST_LINE)
        while line := file.readline(MOST_LINE):
            if line == _line(End(rows=count)) and not file.read(1):
                return
            try:
                row = _parsed(line, KeptRow).row(run)
            except ValueError as exc:
                raise LedgerBroken(f"{path} is not as it was written after row {count}") from exc
            count += 1
            yield row
    raise LedgerBroken(f"{path} ends after row {count}, and not all of it is there: copy it again")


def _line(document: Document) -> bytes:
    return document.line().encode() + b"\n"


def _parsed(line: bytes, kind: type[D]) -> D:
    """Raises ValueError: it is no such line, or not in the form in which it is written."""
    found = kind.model_validate_json(line)
    if _line(found) != line:
        raise ValueError("in another form")
    return found

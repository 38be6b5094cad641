"""`tasuki ledger RUN --verify`, `--export` and `--from`: rows that travel, and what they prove."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tasuki.core.run import Status
from tasuki.core.trust import Roster
from tasuki.errors import MessageError, SettingsError, UnknownRun
from tasuki.ledger.sqlite import Row, chained
from tasuki.trust.rosters import authority_in, read_issued, verified
from tasuki_cli.records import Archive, Ledgers, LocalArchive, print_json
from tasuki_controller import documents, history, kept_rows, proving
from tasuki_controller.data_folder import Verified, verified_ledger
from tasuki_controller.ledger_in_words import replayed_rows
from tasuki_controller.proven_merges import check_merges
from tasuki_controller.proving import Proved

AUTHORITY = "ca.pem"
"""The authority's certificate, where it lies beside a roster."""


class LedgerFile:
    """What `--export` wrote: rows, and nothing of the run beside them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, run: str) -> Sequence[documents.LedgerRow]:
        return replayed_rows(list(history.steps(self.kept_rows(run))))

    def kept_rows(self, run: str) -> Iterator[Row]:
        if (found := kept_rows.run_of(self.path)) != run:
            raise UnknownRun(f"{self.path} is the ledger of {found}, not of {run}")
        return kept_rows.read(self.path)


def check_asked(
    *,
    verify: bool,
    roster: Path | None,
    authority: Path | None,
    export: Path | None,
    has_two: bool,
) -> None:
    """Raises SettingsError: options that do not go together."""
    if roster is not None and not verify:
        raise SettingsError("--roster says by whose keys to verify: add --verify")
    if authority is not None and roster is None:
        raise SettingsError("--authority says who signed the roster: give --roster too")
    if export is not None and verify:
        raise SettingsError("give --export or --verify; what was exported, --from verifies")
    if has_two:
        raise SettingsError("--from is a ledger by itself: leave --data and --export out")


def read_roster(path: Path, authority: Path | None) -> Roster:
    """A roster whose authority has signed it, be it ended.

    Raises:
        SettingsError: it is none, or another's.
    """
    certificate = authority or path.with_name(AUTHORITY)
    if authority is None and not certificate.exists():
        raise SettingsError(
            f"who signed {path}? give --authority, the certificate of the federation's authority"
        )
    try:
        return verified(read_issued(path), authority_in(certificate))
    except MessageError as exc:
        raise SettingsError(f"--roster {path}, by {certificate}: {exc}") from exc


def export(run: str, path: Path, ledger: Ledgers, *, as_json: bool) -> None:
    """Write a run's rows to a file of their own."""
    rows = kept_rows.write(path, run, ledger.kept_rows(run))
    if as_json:
        print_json(documents.ExportedLedger(run=run, path=str(path), rows=rows))
        return
    _say(f"{path}: {rows} rows of {run}")


def verify(run: str, ledger: Archive | LedgerFile, *, as_json: bool) -> None:
    """Raises LedgerBroken: naming the first row or file that is not what was recorded."""
    found = _verified(run, ledger)
    if as_json:
        print_json(found)
        return
    _say(f"{run}: {_checked(found, ledger)} are as they were recorded")


def prove(run: str, ledger: Archive | LedgerFile, roster: Roster, *, as_json: bool) -> None:
    """Raises LedgerBroken: naming the first row or file that is not proved, and why."""
    # Here, whoever keeps the ledger: a controller's word would prove nothing.
    proved = proving.prove(chained(ledger.kept_rows(run), run), roster)
    files = None if isinstance(ledger, LedgerFile) else ledger.verify(run)
    done = _document(run, proved, roster, files)
    if as_json:
        print_json(done)
        return
    for line in _in_words(done, is_local=isinstance(ledger, LocalArchive)):
        _say(line)


def _verified(run: str, ledger: Archive | LedgerFile) -> documents.VerifiedLedger:
    if not isinstance(ledger, LedgerFile):
        return ledger.verify(run)
    steps = list(history.steps(chained(ledger.kept_rows(run), run)))
    return verified_ledger(run, Verified(steps=steps, merges=check_merges(steps)))


def _checked(found: documents.VerifiedLedger, ledger: Archive | LedgerFile) -> str:
    if isinstance(ledger, LedgerFile):
        return f"{found.rows} rows"
    if found.removed:
        return f"its weights were removed; {found.rows} rows"
    merges = f", {found.merges} merges" if found.merges else ""
    return f"{found.rows} rows{merges} and {found.checkpoints} checkpoints"


def _document(
    run: str, proved: Proved, roster: Roster, files: documents.VerifiedLedger | None
) -> documents.ProvedLedger:
    state, newest = proved.state, proved.newest
    removed = state is not None and state.removed
    return documents.ProvedLedger(
        run=run,
        rows=proved.rows,
        records=proved.records,
        reports=proved.reports,
        unsaid=proved.unsaid,
        status=Status.SUBMITTED if state is None else state.status,
        hash=newest.hash,
        at=datetime.fromtimestamp(newest.at, UTC),
        origin=None if state is None else state.plan.origin,
        checkpoints=None if files is None or removed else files.checkpoints,
        removed=removed,
        removal_signed=proved.is_removal_signed,
        federation=roster.federation,
        roster=roster.number,
        verified=True,
    )


def _in_words(done: documents.ProvedLedger, *, is_local: bool) -> list[str]:
    """What is proved, and then what is not."""
    lines = [
        f"{done.run}: {done.rows} rows are signed by the controller, the {done.records} results "
        f"and {done.reports} reports of failures in them by their sites; proved by roster "
        f"{done.roster} of {done.federation}"
    ]
    if done.checkpoints is not None:
        whose = "" if is_local else "by the controller's word, "
        lines.append(f"{whose}{done.checkpoints} checkpoints are as they were recorded")
    if done.unsaid:
        lines.append(f"of {done.unsaid} failures only the controller tells")
    if done.origin is not None:
        lines.append(
            f"it began from round {done.origin.round} of {done.origin.run}: prove that too"
        )
    if not done.removal_signed:
        lines.append("that its weights were removed nobody has signed")
    at = done.at.isoformat()[:19]
    lines.append(
        f"it is {done.status} by row {done.rows}, {at} UTC; of later rows nothing is known"
    )
    return [*lines, f"that row's hash is {done.hash}"]


def _say(line: str) -> None:
    Console(soft_wrap=True, highlight=False).print(line, markup=False)

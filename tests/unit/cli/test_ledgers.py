"""A run's rows leave its folder in a file, and whoever has that and a roster proves the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from support.members import NOW, Signatory
from support.proved import Lab, troubled
from tasuki.core.model import CheckpointPolicy
from tasuki.core.run import RunRemoved
from tasuki.errors import LedgerBroken, SettingsError, TasukiError, UnknownRun
from tasuki.ledger.sqlite import Row, SqliteLedger
from tasuki.trust.rosters import write_issued
from tasuki_cli.ledgers import LedgerFile
from tasuki_cli.main import app
from tasuki_controller import history, kept_rows
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.kept_rows import KeptRow


def certify(signatory: Signatory, path: Path) -> Path:
    """The certificate of the authority, as a kit has it."""
    key = load_pem_private_key(signatory.authority.pem(), password=None)
    assert isinstance(key, EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    made = (
        x509.CertificateBuilder(name, name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


class Kept:
    """A controller's data folder, and a roster with its authority's certificate beside it."""

    def __init__(self, folder: Path) -> None:
        self.lab = Lab()
        self.data = folder / "data"
        self.data.mkdir()
        self.roster, self.file = folder / "roster.pem", folder / "r.ledger"
        write_issued(self.roster, self.lab.issued)
        certify(self.lab.signatory, folder / "ca.pem")
        self.ledger = SqliteLedger(DataFolder(self.data).ledger_path, sign=self.lab.sign_row)
        self.it = troubled(self.lab, ledger=self.ledger)
        first = history.documents(list(history.steps(self.it.rows)))[0]
        weights = folder / "first"
        weights.write_bytes(b"first")
        DataFolder(self.data).checkpoints("r").save(weights, first, CheckpointPolicy())

    def asks(self, *words: str | Path) -> str:
        """What `tasuki ledger r` answers.

        Raises:
            TasukiError: what it ends with.
        """
        done = CliRunner().invoke(app, ["ledger", "r", *map(str, words)])
        if isinstance(done.exception, TasukiError):
            raise done.exception
        assert 0 == done.exit_code, done.output
        return done.stdout

    def refuses(self, *words: str | Path) -> str:
        with pytest.raises(TasukiError) as caught:
            self.asks(*words)
        return str(caught.value)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    with closing(kept.ledger):
        yield kept


def test_a_folders_run_is_proved_with_its_checkpoints(kept: Kept) -> None:
    said = kept.asks("--verify", "--roster", kept.roster, "--data", kept.data)
    assert "r: 26 rows are signed by the controller, the 11 results and 3 reports" in said
    assert "proved by roster 1 of lab\n1 checkpoints are as they were recorded\n" in said
    assert "it is finished by row 26, " in said
    assert f"that row's hash is {kept.it.rows[-1].hash}\n" in said
    done = json.loads(kept.asks("--verify", "--roster", kept.roster, "--data", kept.data, "--json"))
    assert ("lab", 1, 26, 11, 3, 0) == tuple(
        done[key] for key in ("federation", "roster", "rows", "records", "reports", "unsaid")
    )
    assert (True, "finished", 1) == (done["verified"], done["status"], done["checkpoints"])


def test_an_exported_run_is_proved_without_its_folder(kept: Kept) -> None:
    assert f"{kept.file}: 26 rows of r\n" == kept.asks("--export", kept.file, "--data", kept.data)
    kept.ledger.close()
    DataFolder(kept.data).ledger_path.unlink()
    prove = ("--verify", "--from", kept.file, "--roster", kept.roster)
    said = kept.asks(*prove)
    assert "26 rows are signed by the controller" in said
    assert "checkpoint" not in said
    assert json.loads(kept.asks(*prove, "--json"))["checkpoints"] is None
    assert "r: 26 rows are as they were recorded\n" == kept.asks("--verify", "--from", kept.file)
    assert 26 == len(json.loads(kept.asks("--from", kept.file, "--json"))["rows"])


def test_a_removed_run_is_proved_too(kept: Kept) -> None:
    kept.it(RunRemoved())
    done = kept.asks("--verify", "--roster", kept.roster, "--data", kept.data, "--json")
    assert (None, True, True) == tuple(
        json.loads(done)[key] for key in ("checkpoints", "removed", "removal_signed")
    )


def test_a_controllers_word_that_all_is_well_is_not_asked_for(kept: Kept) -> None:
    """A row that is signed by somebody else, in a chain that holds."""
    with closing(SqliteLedger(DataFolder(kept.data).ledger_path)) as ledger:
        ledger.append("r", kept.it.rows[-1].event, at=NOW + 99, outcome="not_awaited")
    assert "27 rows" in kept.asks("--verify", "--data", kept.data)
    said = kept.refuses("--verify", "--roster", kept.roster, "--data", kept.data)
    assert "row 27 of r is not proved: nobody has signed it, nor any row after it" in said


def test_a_foreign_roster_proves_nothing(kept: Kept, tmp_path: Path) -> None:
    other = certify(Signatory(), tmp_path / "other.pem")
    prove = ("--verify", "--data", kept.data, "--roster", kept.roster)
    assert "roster 1 of lab is not signed by our authority" in kept.refuses(
        *prove, "--authority", other
    )
    (tmp_path / "ca.pem").unlink()
    assert "give --authority" in kept.refuses(*prove)
    kept.roster.write_text("no roster")
    assert "there is no roster of Tasuki in it" in kept.refuses(*prove, "--authority", other)


def test_options_that_do_not_go_together_are_refused(kept: Kept) -> None:
    for words, said in (
        (("--roster", kept.roster), "add --verify"),
        (("--verify", "--authority", kept.roster), "give --roster too"),
        (("--verify", "--export", kept.file), "give --export or --verify"),
        (("--from", kept.file, "--data", kept.data), "leave --data and --export out"),
    ):
        with pytest.raises(SettingsError, match=said):
            kept.asks(*words)


def test_a_file_is_of_its_run_and_never_written_over(kept: Kept) -> None:
    kept.asks("--export", kept.file, "--data", kept.data)
    before = kept.file.read_bytes()
    assert "is there already" in kept.refuses("--export", kept.file, "--data", kept.data)
    assert before == kept.file.read_bytes()
    with pytest.raises(UnknownRun, match="is the ledger of r, not of s"):
        LedgerFile(kept.file).kept_rows("s")
    assert "is no ledger that `tasuki ledger RUN --export` wrote" in kept.refuses(
        "--from", kept.roster
    )


def test_of_a_run_that_is_not_there_no_file_is_left(kept: Kept) -> None:
    with pytest.raises(UnknownRun, match="there is no run 's'"):
        kept_rows.write(kept.file, "s", DataFolder(kept.data).kept_rows("s"))
    assert {"data", "roster.pem", "ca.pem", "first"} == {
        each.name for each in kept.file.parent.iterdir()
    }


def test_a_file_whose_end_is_missing_is_no_whole_one(kept: Kept) -> None:
    kept.asks("--export", kept.file, "--data", kept.data)
    whole = kept.file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in (b"".join(lines[:-1]), b"".join(lines[:5]), whole[:-1], whole[:900], lines[0]):
        kept.file.write_bytes(cut)
        with pytest.raises(LedgerBroken, match="after row"):
            list(kept_rows.read(kept.file))
    for more in (whole + b"\n", whole + lines[3]):
        kept.file.write_bytes(more)
        with pytest.raises(LedgerBroken, match="after row 26"):
            list(kept_rows.read(kept.file))


ROWS = st.builds(
    Row,
    run=st.just("r"),
    seq=st.integers(1),
    at=st.floats(allow_nan=False, allow_infinity=False),
    event=st.binary(),
    outcome=st.text(),
    hash=st.text(),
    signature=st.binary(),
)


@given(row=ROWS)
def test_a_row_arrives_as_it_was(row: Row) -> None:
    line = KeptRow.of(row).line()
    assert row == KeptRow.model_validate_json(line).row("r")


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_byte_of_a_file_is_changed_it_is_not_proved(
    kept: Kept, data: st.DataObject
) -> None:
    if not kept.file.exists():
        kept.asks("--export", kept.file, "--data", kept.data)
    whole = kept.file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1), label="byte")
    flip = data.draw(st.integers(1, 255), label="flip")
    altered = kept.file.with_name("altered")
    altered.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
    kept.refuses("--verify", "--from", altered, "--roster", kept.roster)


def test_rows_travel_in_pages_that_a_message_could_hold() -> None:
    small, large = (
        Row(run="r", seq=1, at=0.0, event=bytes(size), outcome="", hash="")
        for size in (1, 3 * 2**20)
    )
    assert kept_rows.PAGE_ROWS == len(kept_rows.page("r", [small] * 1200).rows)
    assert 1 == len(kept_rows.page("r", [large] * 3).rows)
    assert [] == kept_rows.page("r", []).rows

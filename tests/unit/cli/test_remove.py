"""Before a run is removed, whoever can be asked is."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import pytest

from support.runs import FIRST, Relay, plan
from tasuki.errors import SettingsError
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.wire.messages import encode
from tasuki_cli.records import LocalArchive, remove_run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def archive(tmp_path: Path) -> LocalArchive:
    """With a run that is over."""
    relay = Relay(plan(rounds=1))
    relay.finish_round()
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        for event in (relay.plan, FIRST, *relay.history):
            ledger.append("r", encode(event), at=1.0)
    return LocalArchive(tmp_path)


@pytest.mark.parametrize(
    ("said", "left"), [("y\n", 0), ("Yes\n", 0), ("\n", 1), ("no\n", 1), ("", 1)]
)
def test_only_a_yes_removes_it(
    archive: LocalArchive,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: str,
    left: int,
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(said))
    assert left == remove_run("r", archive, yes=False, stop=False, as_json=False)
    assert "r (finished, 3 turns) and all of its weights go for good" in capsys.readouterr().err
    assert left == len(archive.runs())


def test_nobody_is_asked_about_a_run_that_was_removed(
    archive: LocalArchive, capsys: pytest.CaptureFixture[str]
) -> None:
    for was in (", 0.0 MiB are free again", " already"):
        yes = was != " already"
        assert 0 == remove_run("r", archive, yes=yes, stop=False, as_json=False)
        said = f"r was removed{was}; its ledger stays, and its name is taken\n"
        assert said == capsys.readouterr().out


def test_where_nobody_can_be_asked_the_option_is_named(
    archive: LocalArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(SettingsError, match="--yes"):
        remove_run("r", archive, yes=False, stop=False, as_json=False)
    assert 1 == len(archive.runs())

"""A run that is removed from a data folder: recorded, then done, whatever comes between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.runs import FIRST, Relay, plan, weights
from tasuki.clock import SystemClock
from tasuki.core import run as machine
from tasuki.errors import DataInUse, LedgerBroken, RunUnderWay, UnknownRun
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.wire.messages import encode
from tasuki_controller import history
from tasuki_controller.checkpoints import Checkpoints
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.documents import RemovedRun
from tasuki_controller.removal import remove

SAVE = machine.SaveCheckpoint(round=0, weights=FIRST, records=())
END = machine.Conclude(status=machine.Status.FINISHED, reason="")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        yield ledger


@pytest.fixture
def folder(ledger: SqliteLedger, tmp_path: Path) -> DataFolder:
    """With a run that is over, of which a crash has left something to do."""
    relay = Relay(plan(rounds=1))
    relay.finish_round()
    for event in (relay.plan, FIRST, *relay.history):
        ledger.append("r", encode(event), at=1.0)
    ledger.append("r", encode(machine.ResumeRequested()), at=1.0, outcome="run_over")
    put(tmp_path / "runs/r", 100)
    return DataFolder(tmp_path)


def put(folder: Path, size: int, name: str = "round-0001.safetensors") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(bytes(size))


def removed(folder: DataFolder, *, stop: bool = False) -> RemovedRun:
    return remove(folder, "r", SystemClock(), stop=stop)


def test_its_files_go_and_its_chain_holds(folder: DataFolder, ledger: SqliteLedger) -> None:
    put(folder.path / "runs/r/sites/site-1", 11, "notes.txt")
    done = removed(folder)
    assert (111, "", True) == (done.freed, done.outcome, done.removed)
    assert not (folder.path / "runs/r").exists()
    found = folder.verify("r")
    assert (len(ledger.verify("r")), 0) == (len(found.steps), found.files)
    assert [] == ledger.pending()


def test_what_a_controller_had_in_its_spool_for_it_goes_too(
    folder: DataFolder, ledger: SqliteLedger
) -> None:
    """Bug: with a controller that was stopped midway it stayed for ever."""
    ended_with = history.runs(ledger)["r"].weights
    own, another_s = (f"{of.digest[7:]}-00.safetensors" for of in (ended_with, weights("x")))
    put(folder.spool_path, 1, own)
    put(folder.spool_path, 1, another_s)
    removed(folder)
    assert [another_s] == [path.name for path in folder.spool_path.iterdir()]


def test_what_a_crash_left_to_do_with_its_weights_is_not_done_and_sites_are_told_all_the_same(
    folder: DataFolder, ledger: SqliteLedger
) -> None:
    """Else a controller would look for weights that are gone, and end."""
    lasting = [encode(SAVE), encode(END)]
    ledger.append("r", encode(machine.RunRemoved()), at=1.0, outcome="x", effects=lasting)
    removed(folder)
    assert [encode(END)] == [pending.effect for pending in ledger.pending()]


def test_a_removal_that_a_crash_cut_off_is_finished_by_the_next_one(
    folder: DataFolder, ledger: SqliteLedger
) -> None:
    lasting = [encode(machine.DiscardWeights())]
    ledger.append("r", encode(machine.RunRemoved()), at=1.0, effects=lasting)
    rows = len(ledger.verify("r"))
    done = removed(folder)
    assert ("removed_already", 100, rows) == (done.outcome, done.freed, len(ledger.verify("r")))
    assert not (folder.path / "runs/r").exists()
    assert [] == ledger.pending()
    assert 0 == removed(folder).freed


class RemovedMeanwhile(DataFolder):
    """By another process, just when somebody looks at the checkpoints."""

    def checkpoints(self, run: str) -> Checkpoints:
        removed(DataFolder(self.path))
        return super().checkpoints(run)


def test_a_run_that_is_removed_while_it_is_verified_is_not_taken_for_broken(
    folder: DataFolder, ledger: SqliteLedger
) -> None:
    found = RemovedMeanwhile(folder.path).verify("r")
    assert (len(ledger.verify("r")), 0) == (len(found.steps), found.files)


def test_a_checkpoint_that_is_wrong_for_good_is_found(folder: DataFolder) -> None:
    put(folder.path / "runs/r", 1, "round-0001.json")
    with pytest.raises(LedgerBroken, match=r"round-0001\.json is not what the ledger says"):
        folder.verify("r")


def test_the_room_of_a_file_that_another_run_has_too_is_not_counted(folder: DataFolder) -> None:
    other = folder.path / "runs/other"
    other.mkdir()
    (other / "round-0000.safetensors").hardlink_to(folder.path / "runs/r/round-0001.safetensors")
    assert 0 == removed(folder).freed
    assert 100 == (other / "round-0000.safetensors").stat().st_size


def test_a_run_that_is_not_there_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UnknownRun):
        removed(DataFolder(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_folder_that_somebody_works_in_is_left_alone(folder: DataFolder) -> None:
    with folder.locked(), pytest.raises(DataInUse):
        removed(folder)
    assert (folder.path / "runs/r").exists()


def test_a_run_that_is_to_end_first_has_its_sites_told(tmp_path: Path) -> None:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        for event in (plan(), FIRST, machine.RunSubmitted()):
            ledger.append("r", encode(event), at=1.0)
        put(tmp_path / "runs/r", 100)
        with pytest.raises(RunUnderWay, match="--stop"):
            removed(DataFolder(tmp_path))
        assert (tmp_path / "runs/r").exists()
        assert machine.Status.STOPPED is removed(DataFolder(tmp_path), stop=True).status
        kinds = [b"do.Fence", b"do.Conclude"]
        assert all(kind in p.effect for kind, p in zip(kinds, ledger.pending(), strict=True))

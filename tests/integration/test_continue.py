"""What comes after a run's end at a controller, on queues in memory: the real services."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from support.operated import operations_of
from support.relay import Relay, relay
from support.waiting import until
from tasuki.core.model import CONTROLLER, Origin
from tasuki.core.run import (
    DiscardWeights,
    RoundsAdded,
    RunRemoved,
    SaveCheckpoint,
    Status,
    StopRequested,
)
from tasuki.errors import (
    FewerRounds,
    LedgerBroken,
    NotExtended,
    RunExists,
    RunUnderWay,
    SettingsError,
    UnknownRun,
    WeightsRemoved,
)
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.settings.initial import RunWeights
from tasuki.wire import names
from tasuki.wire.messages import encode
from tasuki_controller.data_folder import DataFolder

ORDER = '["site-2", "site-1", "site-3"]'
Doing = Callable[[Relay], Awaitable[None]]


def with_relay(folder: Path, doing: Doing, **changes: object) -> None:
    async def run() -> None:
        async with relay(folder, {"order": ORDER, **changes}) as it:
            it.submit()
            await doing(it)

    folder.mkdir(exist_ok=True)
    asyncio.run(run())


def digest_of(folder: Path, *, rounds: int) -> str:
    """The weights of a run that had so many rounds from the start."""
    found = []

    async def doing(it: Relay) -> None:
        found.append((await it.until_over()).weights.digest)

    with_relay(folder, doing, rounds=rounds)
    return found[0]


async def concluded(it: Relay) -> None:
    """The run is over, and its sites were told."""
    await it.until_over()
    await it.controller.wait(it.run)


@pytest.mark.parametrize("when", ["at its end", "later", "after a restart"])
def test_a_run_that_finished_goes_on_to_the_weights_of_one_with_all_the_rounds(
    tmp_path: Path, when: str
) -> None:
    async def doing(it: Relay) -> None:
        await it.until_over()
        if when != "at its end":  # when sites have not been told yet
            await concluded(it)
        if when == "after a restart":
            await it.stop(CONTROLLER)
            await it.start_controller()
        operations_of(it).extend(it.run, 4)
        assert Status.RELAYING is it.state.status
        await it.controller.wait(it.run)
        assert (Status.FINISHED, 12) == (it.state.status, it.state.turns)
        assert expected == it.state.weights.digest
        folder = DataFolder(it.folder)
        assert (5, 4) == (folder.verify(it.run).files, folder.checkpoint(it.run).round)

    expected = digest_of(tmp_path / "whole", rounds=4)
    with_relay(tmp_path / "added", doing, rounds=2)


def test_a_controller_that_dies_after_it_recorded_more_rounds_goes_on_with_them(
    tmp_path: Path,
) -> None:
    async def doing(it: Relay) -> None:
        await concluded(it)
        it.controller.apply(it.run, RoundsAdded(rounds=2))
        await it.stop(CONTROLLER)  # before its outbox had a turn
        await it.start_controller()
        await it.controller.wait(it.run)
        assert expected == it.state.weights.digest

    expected = digest_of(tmp_path / "whole", rounds=2)
    with_relay(tmp_path / "added", doing, rounds=1)


def test_a_run_under_way_gets_more_rounds(tmp_path: Path) -> None:
    async def doing(it: Relay) -> None:
        operations = operations_of(it)
        assert "" == operations.extend(it.run, 3).outcome
        assert "has_as_many" == operations.extend(it.run, 3).outcome
        with pytest.raises(FewerRounds, match="3 rounds already"):
            operations.extend(it.run, 2)
        assert 9 == (await it.until_over()).turns

    with_relay(tmp_path, doing, rounds=1)


def test_what_a_stream_cannot_keep_is_not_extended(tmp_path: Path) -> None:
    async def doing(it: Relay) -> None:
        await it.until_over()
        with pytest.raises(SettingsError, match="too large for streams"):
            operations_of(it, stream_bytes=10).extend(it.run, 2)

    with_relay(tmp_path, doing, rounds=1)


def test_a_run_whose_weights_are_gone_is_not_extended_and_stays_finished(tmp_path: Path) -> None:
    async def doing(it: Relay) -> None:
        await concluded(it)
        shutil.rmtree(it.folder / "runs")
        with pytest.raises(LedgerBroken, match="restore the folder from a copy"):
            operations_of(it).extend(it.run, 2)
        assert Status.FINISHED is it.state.status

    with_relay(tmp_path, doing, rounds=1)


def test_a_stopped_run_is_not_extended_and_its_weights_are_offered(tmp_path: Path) -> None:
    async def doing(it: Relay) -> None:
        it.controller.apply(it.run, StopRequested())
        with pytest.raises(NotExtended, match='initial = "run:walk"'):
            operations_of(it).extend(it.run, 9)

    with_relay(tmp_path, doing)


def test_a_run_begins_from_a_checkpoint_of_the_controllers(tmp_path: Path) -> None:
    async def doing(it: Relay) -> None:
        await concluded(it)
        operations, kept = (
            operations_of(it),
            DataFolder(it.folder).weights_of(RunWeights(run="walk")),
        )
        other = it.run_file.model_copy(update={"name": "other"})
        state = await operations.submit_from(other, "walk", kept)
        assert state.plan.origin is not None
        assert ("walk", 1, kept.digest) == (
            state.plan.origin.run,
            state.plan.origin.round,
            state.lanes[0].relay.base.digest,
        )
        assert [] == list((it.folder / "uploads").iterdir())
        first = (await operations.rows("other"))[0]
        assert first.what.startswith("the run as it was submitted, from round 1 of walk, ")
        with pytest.raises(RunExists):
            await operations.submit_from(other, "walk", kept)
        assert [] == list((it.folder / "uploads").iterdir())
        await it.controller.wait("other")

    with_relay(tmp_path, doing, rounds=1)


def test_a_submission_that_was_cut_off_is_made_again_though_the_other_run_went_on(
    tmp_path: Path,
) -> None:
    """Bug: its name was taken for ever, since "run:walk" was other weights by then."""

    async def doing(it: Relay) -> None:
        await concluded(it)
        operations, folder = operations_of(it), DataFolder(it.folder)
        first = folder.weights_of(RunWeights(run="walk"))
        other = it.run_file.model_copy(update={"name": "other"})
        origin = Origin(run="walk", round=1, digest=first.digest)
        it.ledger.append("other", encode(replace(other.plan(it.sites), origin=origin)), at=0.0)
        operations.extend(it.run, 2)
        await it.controller.wait(it.run)
        with pytest.raises(RunExists, match='initial = "run:walk/round-1", or give'):
            await operations.submit_from(other, "walk", folder.weights_of(RunWeights(run="walk")))
        named = folder.weights_of(RunWeights(run="walk", round=1))
        await operations.submit_from(other, "walk", named)
        await it.controller.wait("other")

    with_relay(tmp_path, doing, rounds=1)


def test_a_checkpoint_that_has_other_bytes_starts_no_run(tmp_path: Path) -> None:
    async def doing(it: Relay) -> None:
        await concluded(it)
        operations = operations_of(it)
        kept = DataFolder(it.folder).weights_of(RunWeights(run="walk"))
        kept.path.write_bytes(kept.path.read_bytes()[:-1] + b"x")
        other = it.run_file.model_copy(update={"name": "other"})
        with pytest.raises(LedgerBroken, match="other bytes"):
            await operations.submit_from(other, "walk", kept)
        kept.path.unlink()
        with pytest.raises(UnknownRun, match="pruned just now"):
            await operations.submit_from(other, "walk", kept)
        assert (["walk"], []) == (it.ledger.runs(), list((it.folder / "uploads").iterdir()))

    with_relay(tmp_path, doing, rounds=1)


def test_weights_of_a_run_that_is_removed_meanwhile_are_told_to_be_removed(tmp_path: Path) -> None:
    """Bug: they were told to be pruned, and a newer round to be named."""

    async def doing(it: Relay) -> None:
        await concluded(it)
        operations = operations_of(it)
        kept = DataFolder(it.folder).weights_of(RunWeights(run="walk"))
        await operations.remove("walk")
        other = it.run_file.model_copy(update={"name": "other"})
        with pytest.raises(WeightsRemoved):
            await operations.submit_from(other, "walk", kept)
        assert ["walk"] == it.ledger.runs()

    with_relay(tmp_path, doing, rounds=1)


# Reading.


def test_a_ledger_is_replayed_beside_what_the_controller_does(tmp_path: Path) -> None:
    """Bug: whoever asked for the turns of a long run held up every run while they were read."""

    async def doing(it: Relay) -> None:
        await concluded(it)
        operations = operations_of(it)
        for asked in (
            operations.standing(it.run),
            operations.rows(it.run),
            operations.turns(it.run),
            operations.scores(it.run, metric=None, mode=None),
        ):
            answer, turns = asyncio.create_task(asked), 0
            while not answer.done():
                await asyncio.sleep(0)
                turns += 1
            assert answer.result()
            assert turns > 1, f"{asked} was done in one turn of the event loop"

    with_relay(tmp_path, doing, rounds=1)


# Removal.


def test_a_removed_run_is_gone_but_for_its_rows_and_its_name(tmp_path: Path) -> None:
    async def doing(it: Relay) -> None:
        operations, folder = operations_of(it), it.folder / "runs/walk"
        with pytest.raises(RunUnderWay, match="tasuki stop walk"):
            await operations.remove(it.run)
        assert folder.exists()
        await concluded(it)
        assert "" == (await operations.remove(it.run)).outcome
        assert not folder.exists()
        assert [] == list((it.folder / "spool" / CONTROLLER).glob("*.safetensors"))
        assert "removed_already" == (await operations.remove(it.run)).outcome
        assert [] == operations.runs()
        assert [True] == [row.removed for row in operations.runs(even_removed=True)]
        assert 0 == DataFolder(it.folder).verify(it.run).files
        with pytest.raises(WeightsRemoved):
            operations.extend(it.run, 9)
        with pytest.raises(RunExists, match="its name is taken"):
            it.submit()

    with_relay(tmp_path, doing, rounds=1)


def test_weights_of_a_run_that_was_stopped_midway_leave_the_spool_though_others_go_on(
    tmp_path: Path,
) -> None:
    async def doing(it: Relay) -> None:
        await it.until(lambda state: state.round == 1)
        it.controller.apply(it.run, StopRequested())
        stuck = it.folder / "spool" / CONTROLLER / f"{it.state.weights.digest[7:]}-00.safetensors"
        stuck.write_bytes(b"rescued")
        it.run_file = it.run_file.model_copy(update={"name": "other"})
        it.submit()
        await operations_of(it).remove("walk")
        assert not stuck.exists()
        await it.until_over()

    with_relay(tmp_path, doing)


def test_a_removal_that_was_recorded_is_done_after_a_restart(tmp_path: Path) -> None:
    async def doing(it: Relay) -> None:
        await concluded(it)
        await it.stop(CONTROLLER)
        lasting = [encode(DiscardWeights())]
        it.ledger.append(it.run, encode(RunRemoved()), at=0.0, effects=lasting)
        (it.folder / "runs/walk/round-0001.safetensors").unlink()  # some of it was done
        await it.start_controller()
        await until(lambda: not (it.folder / "runs/walk").exists(), what="its folder is gone")
        await until(lambda: not it.ledger.pending(), what="nothing is left to do")

    with_relay(tmp_path, doing, rounds=1)


def test_a_removal_waits_for_no_broker(tmp_path: Path) -> None:
    async def doing(it: Relay) -> None:
        it.stuck.routes.add(names.to_control(None))  # nobody can be told of the end
        await it.until_over()
        await operations_of(it).remove(it.run)
        assert not (it.folder / "runs/walk").exists()
        it.stuck.free()
        await until(lambda: not it.ledger.pending(), what="nothing is left to do")

    with_relay(tmp_path, doing, rounds=1)


def test_a_checkpoint_of_a_removed_run_that_was_still_to_be_saved_ends_no_controller(
    tmp_path: Path,
) -> None:
    async def doing(it: Relay) -> None:
        await concluded(it)
        await it.stop(CONTROLLER)
        save = SaveCheckpoint(round=0, weights=it.state.weights, records=it.state.records)
        lasting = [encode(save), encode(DiscardWeights())]
        it.ledger.append(it.run, encode(RunRemoved()), at=0.0, effects=lasting)
        shutil.rmtree(it.folder / "runs/walk")
        await it.start_controller()
        await until(lambda: not it.ledger.pending(), what="nothing is left to do")
        it.raise_what_ended_early()

    with_relay(tmp_path, doing, rounds=1)


def test_a_run_that_finished_long_ago_and_was_extended_can_be_removed_at_its_new_end(
    tmp_path: Path,
) -> None:
    async def doing(it: Relay) -> None:
        await concluded(it)
        operations = operations_of(it)
        operations.extend(it.run, 2)
        with pytest.raises(RunUnderWay):
            await operations.remove(it.run)
        await it.controller.wait(it.run)
        await operations.remove(it.run)
        with closing(SqliteLedger(it.folder / "ledger.sqlite")) as ledger:
            assert len(ledger.verify(it.run)) == it.ledger.head(it.run)[0]

    with_relay(tmp_path, doing, rounds=1)

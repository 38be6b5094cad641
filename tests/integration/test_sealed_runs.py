"""A run whose weights are sealed: the same bits as without, or a reason why not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest

from support.members import Signatory
from support.relay import relay
from tasuki.core.model import CONTROLLER
from tasuki.core.run import RunState, Status
from tasuki.core.trust import Must
from tasuki.ports import Route
from tasuki.transport.memory import Fault
from tasuki.trust.member import NOBODY, Member
from tasuki.weights.chunks import SealedChunk, decode_chunk
from tasuki.wire import names

SITES = ("site-1", "site-2", "site-3")
ORDER = '["site-2", "site-1", "site-3"]'


def members(*names: str, require: Collection[Must] = (Must.SEALED,)) -> dict[str, Member]:
    """Of whom the roster has a card."""
    lab = Signatory()
    roster = lab.roster(names)
    return {name: lab.member(name, roster, require=require) for name in names}


def everyone() -> dict[str, Member]:
    return members(CONTROLLER, *SITES)


def known(found: Mapping[str, Member]) -> Callable[[str], Member]:
    """Who is not among them has no keys."""
    return lambda name: found.get(name, NOBODY)


def ended(
    folder: Path, found: Mapping[str, Member], *, fault: Fault | None = None, **changes: object
) -> RunState:
    """How a run of these members ends."""

    async def run() -> RunState:
        async with relay(folder, {"order": ORDER, **changes}, members=known(found)) as it:
            it.queues.fault = fault
            it.submit()
            return await it.until_over()

    folder.mkdir()
    return asyncio.run(run())


def test_sealed_weights_are_bit_for_bit_those_of_a_run_without(tmp_path: Path) -> None:
    """Of every transfer each piece is sealed, those of the controller and to it included."""
    sent: list[tuple[str, object]] = []

    def note(route: Route, body: bytes) -> list[bytes]:
        if route.exchange == names.WEIGHTS:
            sent.append((route.key, decode_chunk(body)))
        return [body]

    plain = ended(tmp_path / "plain", {})
    sealed = ended(tmp_path / "sealed", everyone(), fault=note)
    assert Status.FINISHED is sealed.status
    assert plain.weights == sealed.weights
    assert {CONTROLLER, *SITES} == {key for key, _ in sent}
    assert all(isinstance(piece, SealedChunk) for _, piece in sent)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_done_to_pieces_on_their_way_the_weights_are_the_same(
    tmp_path: Path, seed: int
) -> None:
    """Lost, repeated, altered, and swapped with one of any time before."""
    draws, seen = random.Random(seed), [b""]

    def attack(route: Route, body: bytes) -> list[bytes]:
        if route.exchange != names.WEIGHTS:
            return [body]
        seen.append(body)
        bit = draws.randrange(8 * len(body))
        altered = bytearray(body)
        altered[bit // 8] ^= 1 << bit % 8
        options: tuple[list[bytes], ...] = (
            [],
            [body] * 2,
            [bytes(altered), body],
            [bytes(altered)],
            [draws.choice(seen)],
        )
        return draws.choice([[body]] * 5 + list(options))

    expected = ended(tmp_path / "whole", {}, rounds=2)
    state = ended(
        tmp_path / "attacked",
        everyone(),
        fault=attack,
        rounds=2,
        attempts=50,
        failure="lease_s = 0.4",
    )
    assert Status.FINISHED is state.status
    assert expected.weights == state.weights


def test_a_run_with_a_site_that_has_no_card_ends_with_words(tmp_path: Path) -> None:
    """Neither the site before it crashes, nor does anybody wait for ever."""
    state = ended(tmp_path / "r", members(CONTROLLER, "site-1", "site-2"), attempts=1)
    assert Status.FAILED is state.status
    assert "no good card of site-3" in state.reason


def test_a_first_site_that_has_no_card_ends_a_run_with_words_too(tmp_path: Path) -> None:
    state = ended(tmp_path / "r", members(CONTROLLER, "site-1", "site-3"), attempts=1)
    assert Status.FAILED is state.status
    assert "no good card of site-2" in state.reason


def test_a_run_that_may_leave_out_sites_goes_on_around_one_without_a_card(tmp_path: Path) -> None:
    """Whoever cannot hand on has not done its turn, so that the one before is left out too."""
    found = members(CONTROLLER, "site-1", "site-2")
    state = ended(tmp_path / "r", found, attempts=1, failure='on_silent = "skip"')
    assert Status.FINISHED is state.status
    reasons = {skip.site: skip.reason for skip in state.skipped}
    assert reasons == {"site-1": "CannotSeal", "site-3": "CannotSeal"}


def test_those_who_do_not_insist_send_to_a_site_without_keys_as_before(tmp_path: Path) -> None:
    """So that a federation can get its keys one site after the other."""
    found = members(CONTROLLER, "site-1", "site-2", require=())
    assert Status.FINISHED is ended(tmp_path / "r", found).status


def test_a_run_goes_on_with_sealed_weights_after_every_service_was_started_anew(
    tmp_path: Path,
) -> None:
    found = everyone()

    async def run() -> RunState:
        changes = {"order": ORDER, "failure": "lease_s = 1", "attempts": 50, "pause_s": 0.05}
        async with relay(tmp_path / "r", changes, members=known(found)) as it:
            it.submit()
            for turns, name in ((1, "site-2"), (3, CONTROLLER), (5, "site-1"), (7, "site-3")):
                await it.until(lambda state, turns=turns: state.turns >= turns)  # type: ignore[misc]
                await it.stop(name)
                if name == CONTROLLER:
                    await it.start_controller()
                else:
                    it.start_site(name)
            return await it.until_over()

    (tmp_path / "r").mkdir()
    state = asyncio.run(run())
    assert Status.FINISHED is state.status
    assert ended(tmp_path / "whole", {}).weights == state.weights

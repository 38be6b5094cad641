"""Since when others could reach a service through its broker, and why they cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tasuki.settings.broker import BrokerTable
from tasuki.transport.amqp import LinkState, StateChange
from tasuki.transport.amqp.publication import publishing
from tasuki.transport.broker import BrokerConnection
from tasuki.wire import names

UP, DOWN, BLOCKED = LinkState.UP, LinkState.DOWN, LinkState.BLOCKED
UNBLOCKED, REFUSED = LinkState.UNBLOCKED, LinkState.REFUSED
BOTH_UP = (("publish", UP), ("consume", UP))
Changes = Sequence[tuple[str, LinkState]]


class Heard:
    """What a service knew after each change of its connections."""

    def __init__(self, folder: Path, *changes: tuple[str, LinkState]) -> None:
        self.since: list[float | None] = []
        self.held_up: list[str] = []
        self.told: list[str] = []
        password = folder / "password"
        password.write_text("secret")
        password.chmod(0o600)
        table = BrokerTable(url="amqp://controller@localhost/v", password_file=password)
        asyncio.run(self._run(table, changes))

    async def _run(self, table: BrokerTable, changes: Changes) -> None:
        connection = BrokerConnection(table)
        connection.on_held_up = lambda: self.told.append(connection.held_up)
        for link, state in changes:
            reason = "" if state in {UP, UNBLOCKED} else f"{state} for a reason"
            before = asyncio.get_running_loop().time()
            connection.note(StateChange(link=link, state=state, reason=reason))
            self.since.append(connection.hears_since)
            self.held_up.append(connection.held_up)
            self.is_new = (connection.hears_since or 0) >= before


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ((("publish", UP),), False),
        (BOTH_UP, True),
        ((*BOTH_UP, ("consume", DOWN)), False),
        ((*BOTH_UP, ("consume", DOWN), ("consume", UP)), True),
        ((*BOTH_UP, ("publish", DOWN)), False),
        ((*BOTH_UP, ("publish", BLOCKED)), False),
        ((*BOTH_UP, ("publish", BLOCKED), ("publish", UNBLOCKED)), True),
        ((*BOTH_UP, ("publish", BLOCKED), ("publish", DOWN)), False),
        ((*BOTH_UP, ("publish", BLOCKED), ("publish", DOWN), ("publish", UP)), True),
    ],
)
def test_a_service_hears_while_both_connections_are_up_and_the_broker_takes_messages(
    tmp_path: Path, changes: Changes, expected: bool
) -> None:
    heard = Heard(tmp_path, *changes)
    assert expected == (heard.since[-1] is not None)
    assert heard.is_new == expected


def test_a_connection_for_publishing_that_is_made_anew_does_not_make_the_others_unheard(
    tmp_path: Path,
) -> None:
    """One that is given up again and again, because one queue confirms nothing, excuses nobody."""
    heard = Heard(tmp_path, *BOTH_UP, ("publish", DOWN), ("publish", UP))
    assert heard.since[1] == heard.since[-1] is not None


def test_why_nobody_can_come_on_is_said_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    heard = Heard(
        tmp_path,
        *BOTH_UP,
        ("publish", BLOCKED),
        ("publish", UNBLOCKED),
        ("consume", DOWN),
        ("consume", REFUSED),
        ("consume", UP),
    )
    blocked, away = "the broker takes nothing: blocked for a reason", "no connection to the broker:"
    down, refused = f"{away} down for a reason", f"{away} refused for a reason"
    assert ["", "", blocked, "", down, refused, ""] == heard.held_up
    assert [blocked, "", down, refused, ""] == heard.told


def test_a_connection_for_publishing_that_is_made_anew_holds_nobody_up(tmp_path: Path) -> None:
    heard = Heard(tmp_path, *BOTH_UP, ("publish", DOWN), ("publish", UP))
    assert [] == heard.told


REFUSED = LinkState.REFUSED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("publish", UP)], False),
        ([("publish", UP), ("publish", DOWN)], False),
        ([("publish", UP), ("publish", DOWN), ("publish", REFUSED)], True),
        ([("publish", REFUSED), ("publish", DOWN)], True),
        ([("publish", REFUSED), ("publish", UP)], False),
        ([("publish", UP), ("publish", REFUSED), ("publish", UP), ("consume", REFUSED)], True),
    ],
)
def test_who_waits_for_that_learns_that_the_broker_takes_our_credentials_no_more(
    tmp_path: Path, changes: list[tuple[str, LinkState]], expected: bool
) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o600)
    table = BrokerTable(url="amqp://site-1@localhost/v", password_file=password)

    async def run() -> bool:
        connection = BrokerConnection(table)
        for link, state in changes:
            connection.note(StateChange(link=link, state=state))
        waiting = asyncio.create_task(connection.refuses(for_s=0.02))
        done, _ = await asyncio.wait({waiting}, timeout=30 if expected else 0.2)
        waiting.cancel()
        return bool(done)

    assert expected == asyncio.run(run())


def test_a_queue_that_refuses_is_known_until_it_takes_something(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    table = BrokerTable(url="amqp://controller@localhost/v", password_file=password)
    route, other = names.to_turns("a"), names.to_turns("b")

    async def scenario() -> None:
        connection = BrokerConnection(table)

        def note(state: LinkState, *, reason: str = "") -> None:
            what = publishing(route)
            connection.note(StateChange(link="publish", state=state, what=what, reason=reason))

        assert "" == connection.refused(route)
        note(LinkState.WAITING, reason="it is full")
        assert ("it is full", "") == (connection.refused(route), connection.refused(other))
        note(LinkState.SERVED)
        assert "" == connection.refused(route)

    asyncio.run(scenario())

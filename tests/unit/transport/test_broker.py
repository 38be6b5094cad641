"""Since when others could reach a service through its broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki.settings.broker import BrokerTable
from tasuki.transport.amqp import LinkState, StateChange
from tasuki.transport.broker import BrokerConnection

UP, DOWN, BLOCKED = LinkState.UP, LinkState.DOWN, LinkState.BLOCKED


def hears(folder: Path, *changes: tuple[str, LinkState]) -> bool:
    """Whether a service hears after these changes of its connections."""
    password = folder / "password"
    password.write_text("secret")
    password.chmod(0o600)
    table = BrokerTable(url="amqp://controller@localhost/v", password_file=password)

    async def run() -> bool:
        connection = BrokerConnection(table)
        for link, state in changes:
            before = asyncio.get_running_loop().time()
            connection.note(StateChange(link=link, state=state))
        since = connection.hears_since
        assert since is None or since >= before
        return since is not None

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("publish", UP)], False),
        ([("publish", UP), ("consume", UP)], True),
        ([("publish", UP), ("consume", UP), ("consume", DOWN)], False),
        ([("publish", UP), ("consume", UP), ("consume", DOWN), ("consume", UP)], True),
        ([("publish", UP), ("consume", UP), ("publish", BLOCKED)], False),
        (
            [
                ("publish", UP),
                ("consume", UP),
                ("publish", BLOCKED),
                ("publish", LinkState.UNBLOCKED),
            ],
            True,
        ),
        ([("publish", UP), ("consume", UP), ("publish", BLOCKED), ("publish", DOWN)], False),
    ],
)
def test_a_service_hears_while_both_connections_are_up_and_the_broker_takes_messages(
    tmp_path: Path, changes: list[tuple[str, LinkState]], expected: bool
) -> None:
    assert expected == hears(tmp_path, *changes)


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

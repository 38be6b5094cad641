"""docs/security.md says what the broker is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasuki.broker.topology import NOTHING, Permissions, topology
from tasuki.core.model import CONTROLLER
from tasuki.wire import names

PAGE = (Path(__file__).parents[2] / "docs/security.md").read_text()
ROWS = {
    cells[0].strip("` "): cells[1:]
    for line in PAGE.splitlines()
    if (cells := [cell.strip() for cell in line.strip("|").split("|")]) and len(cells) == 4
}
EXCHANGES = (names.TURNS, names.WEIGHTS, names.REPORTS, names.CONTROL, names.DEAD)
USERS = {"a site": "site-1", CONTROLLER: CONTROLLER}


def permissions(user: str) -> Permissions:
    return next(p for p in topology(["site-1", "site-2"]).permissions if p.user == user)


@pytest.mark.parametrize("row", USERS)
def test_the_page_names_the_exchanges_that_a_user_may_write_to(row: str) -> None:
    allowed = {name for name in EXCHANGES if re.search(permissions(USERS[row]).write, name)}

    assert allowed == set(re.findall(r"`(tasuki\.\w+)`", ROWS[row][1]))


@pytest.mark.parametrize("row", USERS)
def test_the_page_says_that_no_service_declares_anything(row: str) -> None:
    assert (NOTHING, "nothing") == (permissions(USERS[row]).configure, ROWS[row][0])


def test_the_page_names_the_queues_that_the_controller_reads() -> None:
    queues = [queue.name for queue in topology(["site-1"]).queues]
    readable = {name for name in queues if re.search(permissions(CONTROLLER).read, name)}
    streams = {name for name in readable if name.startswith(names.weights_stream(""))}

    assert readable - streams == set(re.findall(r"`(tasuki\.\w+)`", ROWS[CONTROLLER][2]))
    assert "every site's weights stream" in ROWS[CONTROLLER][2]
    assert names.weights_stream("site-1") in streams

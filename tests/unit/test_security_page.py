"""docs/security.md says what the broker is told, what everybody can read, and what is refused."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import msgpack
import pytest

from support.members import Signatory
from support.sites import turn
from tasuki.broker.topology import NOTHING, Permissions, topology
from tasuki.core.control import Control
from tasuki.core.model import CONTROLLER
from tasuki.core.trust import Must, Sealed
from tasuki.core.turn.proof import OLDER_RUN, OTHER_RUN
from tasuki.settings.security import SecurityTable
from tasuki.trust.member import (
    BAD_SIGNATURE,
    NEWER_ROSTER,
    NOT_SEALED,
    NOT_SIGNED,
    UNPROVED,
)
from tasuki.trust.rosters import ENDED, FOREIGN, OLD
from tasuki.wire import names
from tasuki.wire.messages import encode
from tasuki_controller.hearing import REPLAYED

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


# What is signed and sealed.


def section(heading: str) -> str:
    _, _, rest = PAGE.partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


def words(text: str) -> set[str]:
    """All that stands there as code."""
    return set(re.findall(r"(?<!`)`([^`\n]+)`", text))


def test_the_page_names_what_everybody_can_read_of_a_closed_message() -> None:
    lab = Signatory()
    roster = lab.roster([CONTROLLER, "a"])
    closed = lab.member(CONTROLLER, roster).close(encode(turn()), to="a")
    readable = set(msgpack.unpackb(closed)) - {"v", "type", "data"}
    assert readable == {field.name for field in fields(Sealed)} - {"data"}
    (row,) = re.findall(r"^\| a closed .*$", section("What everybody can read"), re.MULTILINE)
    assert readable <= words(row)


def test_the_page_names_every_control_message_as_one_that_everybody_can_read() -> None:
    assert {kind.__name__ for kind in get_args(Control)} <= words(
        section("What everybody can read")
    )


@pytest.mark.parametrize(
    "reason",
    [
        *(NOT_SIGNED, NOT_SEALED, BAD_SIGNATURE, UNPROVED, REPLAYED),
        *(OTHER_RUN, OLDER_RUN, NEWER_ROSTER, OLD, ENDED, FOREIGN),
    ],
)
def test_the_page_says_what_each_reason_for_a_forgery_is_about(reason: str) -> None:
    assert reason in words(PAGE)


def test_the_page_says_how_to_insist_on_all_that_can_be_insisted_on() -> None:
    required = re.search(r"^require = (\[.*\])$", PAGE, re.MULTILINE)
    assert required is not None
    assert {must.value for must in Must} == set(re.findall(r'"(\w+)"', required[1]))
    assert "require" in SecurityTable.model_fields


@pytest.mark.parametrize("secret", ["client.key", "seal.key", "kits/ca", "roster.pem"])
def test_the_page_says_what_to_do_when_a_key_is_lost_or_stolen(secret: str) -> None:
    assert secret in words(section("When a key is lost or stolen"))


def test_every_place_where_something_lies_is_in_the_table() -> None:
    table = section("What lies in clear, and where")
    for place in ("spool/", "journal.sqlite", "uploads/", "runs/", "ledger.sqlite", "/metrics"):
        assert place in words(table), place
    for queue in (names.CONTROL, names.DEAD):
        assert queue in words(table), queue


def test_links_within_the_page_lead_to_its_headings() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    there = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= there

"""The roster that counts is the newest that was seen, over every restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.members import DAY, NOW, Signatory
from tasuki.core.model import CONTROLLER
from tasuki.core.report import SiteBeat
from tasuki.errors import CannotSeal, MessageError, SettingsError
from tasuki.trust.rosters import ENDED, KEPT, OLD, Rosters, write_issued
from tasuki.trust.signing import public_key

NAMES = (CONTROLLER, "a")


@pytest.fixture
def lab() -> Signatory:
    return Signatory()


def kept_in(folder: Path, lab: Signatory, *, at: float = NOW) -> Rosters:
    return Rosters(public_key(lab.authority.public), now=lambda: at, folder=folder)


def refused(rosters: Rosters, issued: bytes) -> str:
    with pytest.raises(MessageError) as caught:
        rosters.take(issued)
    return caught.value.reason


def test_an_older_roster_that_has_ended_is_old_to_who_has_a_newer_one(
    tmp_path: Path, lab: Signatory
) -> None:
    """Bug: a year on, a service would not start, for the roster that its settings file names."""
    first = lab.roster(NAMES, number=1, days=1)
    kept_in(tmp_path, lab).take(lab.roster(NAMES, number=2, days=100))
    later = kept_in(tmp_path, lab, at=NOW + 2 * DAY)
    assert OLD == refused(later, first)
    assert 2 == later.newest.number


def test_a_newer_roster_that_has_ended_is_not_taken(tmp_path: Path, lab: Signatory) -> None:
    rosters = kept_in(tmp_path, lab, at=NOW + 2 * DAY)
    rosters.take(lab.roster(NAMES, number=1, days=100))
    assert ENDED == refused(rosters, lab.roster(NAMES, number=2, days=1))
    assert 1 == rosters.newest.number


def test_a_folder_that_is_of_another_authority_says_what_to_do(
    tmp_path: Path, lab: Signatory
) -> None:
    write_issued(tmp_path / KEPT, Signatory().roster(NAMES))
    with pytest.raises(SettingsError, match=r"roster\.pem.*move this file away"):
        kept_in(tmp_path, lab)


def test_a_revoked_card_counts_nowhere_however_slow_a_clock_is(lab: Signatory) -> None:
    """Bug: a service whose clock was an hour late went on to believe it for that hour."""
    at = int(NOW)
    stolen = lab.card("a", revoked=at)
    roster = lab.roster_of([lab.card(CONTROLLER), stolen])
    thief, slow = (lab.member(name, roster, now=lambda: at - 3600.0) for name in ("a", CONTROLLER))
    with pytest.raises(MessageError, match="has not signed"):
        slow.read(thief.sign(SiteBeat(site="a")), SiteBeat, sender="a")
    with pytest.raises(CannotSeal):
        slow.close(slow.sign(SiteBeat(site="a")), to="a")

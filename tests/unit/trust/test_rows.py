"""A row of the ledger is proved by the controller's signature, whoever has the ledger now."""

from __future__ import annotations

import pytest

from support.members import NOW, Signatory
from tasuki.core.model import CONTROLLER
from tasuki.core.trust import Roster
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.trust.member import Member
from tasuki.trust.rosters import verified
from tasuki.trust.rows import is_row_signed
from tasuki.trust.signing import public_key


@pytest.fixture
def lab() -> Signatory:
    return Signatory()


def roster_of(lab: Signatory, issued: bytes) -> Roster:
    return verified(issued, public_key(lab.authority.public))


def test_a_row_is_signed_by_the_controller_of_its_time(lab: Signatory) -> None:
    issued = lab.roster([CONTROLLER, "a"])
    controller = lab.member(CONTROLLER, issued)
    ledger = SqliteLedger(":memory:", sign=controller.sign_row)
    row, _ = ledger.append("r", b"event", at=NOW)
    roster = roster_of(lab, issued)
    assert is_row_signed(row.hash, row.signature, roster, row.at)
    assert not is_row_signed(row.hash, row.signature, roster, roster.ends + 10**9)
    assert not is_row_signed(row.hash[:-1] + "0", row.signature[:-1] + b"0", roster, row.at)
    assert not is_row_signed(row.hash, b"", roster, row.at)


def test_nobody_else_signs_rows(lab: Signatory) -> None:
    issued = lab.roster([CONTROLLER, "a"])
    by_a = lab.member("a", issued).sign_row("blake3:1")
    assert not is_row_signed("blake3:1", by_a, roster_of(lab, issued), NOW)


def test_a_row_of_another_federation_is_not_ours(lab: Signatory) -> None:
    other = Signatory(federation="other", authority=lab.authority, keys=lab.keys)
    issued, elsewhere = lab.roster([CONTROLLER]), other.roster([CONTROLLER])
    signature = other.member(CONTROLLER, elsewhere).sign_row("blake3:1")
    assert not is_row_signed("blake3:1", signature, roster_of(lab, issued), NOW)


def test_a_row_that_was_signed_before_its_key_was_revoked_stays_signed(lab: Signatory) -> None:
    signature = lab.member(CONTROLLER, lab.roster([CONTROLLER])).sign_row("blake3:1")
    card = lab.card(CONTROLLER, revoked=int(NOW))
    roster = roster_of(lab, lab.roster_of([card], number=2))
    assert is_row_signed("blake3:1", signature, roster, NOW - 1)
    assert not is_row_signed("blake3:1", signature, roster, NOW + 1)


def test_who_has_no_keys_signs_no_rows() -> None:
    assert b"" == Member(CONTROLLER).sign_row("blake3:1")

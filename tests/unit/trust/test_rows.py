"""A controller's signature over a row of its ledger."""

from __future__ import annotations

from dataclasses import replace

from support.members import DAY, NOW
from support.proved import Lab
from tasuki.trust.rows import is_row_signed


def test_a_row_is_signed_by_the_controller_for_its_federation_and_its_time() -> None:
    lab = Lab()
    signature = lab.sign_row("h")
    assert is_row_signed("h", signature, lab.roster, NOW)
    assert not is_row_signed("i", signature, lab.roster, NOW)
    assert not is_row_signed("h", signature, lab.roster, NOW - 2 * DAY)
    assert not is_row_signed("h", signature, replace(lab.roster, federation="other"), NOW)
    assert not is_row_signed("h", lab.sign_row("h", by="a"), lab.roster, NOW)

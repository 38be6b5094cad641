"""What a run's rows say is proved, or the first row that is not is named: offline, by a roster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.members import DAY, NOW
from support.proved import PLAN, SITES, Lab, SignedRun, proof, rewritten, troubled
from support.runs import weights
from tasuki.core.model import CONTROLLER, TurnRecord
from tasuki.core.report import TurnAbandoned
from tasuki.core.run import (
    RunRemoved,
    RunSubmitted,
    Status,
    TurnFailed,
    TurnFinished,
    TurnReturned,
)
from tasuki.core.trust import Roster
from tasuki.errors import LedgerBroken
from tasuki.ledger.sqlite import GENESIS, Row, row_hash
from tasuki.trust.rows import is_row_signed
from tasuki.wire.messages import decode, encode
from tasuki_controller.history import EVENTS


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="module")
def it(lab: Lab) -> SignedRun:
    return troubled(lab)


def unproved(rows: list[Row], roster: Roster) -> str:
    with pytest.raises(LedgerBroken) as caught:
        proof(rows, roster)
    return str(caught.value)


def event_of(row: Row) -> object:
    return decode(row.event, EVENTS) if row.seq > 2 else None


def at_first(kind: type, change: Callable[[Row], Row | None]) -> Callable[[Row], Row | None]:
    """Changes the first row of a kind."""
    done: list[int] = []

    def changed(row: Row) -> Row | None:
        if not done and isinstance(event_of(row), kind):
            done.append(row.seq)
            return change(row)
        return row

    return changed


def with_event(kind: type, event: object) -> Callable[[Row], Row | None]:
    """In place of the first one of this kind."""
    return at_first(kind, lambda row: replace(row, event=encode(event)))


def first_record(rows: list[Row]) -> tuple[int, TurnRecord]:
    for row in rows:
        event = event_of(row)
        if isinstance(event, TurnFinished):
            return row.seq, replace(event.record, written=b"")
    raise AssertionError


def with_record(record: TurnRecord) -> Callable[[Row], Row | None]:
    """In place of the first one."""
    return with_event(TurnFinished, TurnFinished(record=record))


# A run of which nothing was altered.


def test_a_run_with_failures_lanes_and_scores_is_proved(it: SignedRun, lab: Lab) -> None:
    proved = proof(it.rows, lab.roster)
    assert (len(it.rows), it.rows[-1]) == (proved.rows, proved.newest)
    assert (11, 3, 0) == (proved.records, proved.reports, proved.unsaid)
    assert proved.state is not None
    assert Status.FINISHED is proved.state.status


def test_a_failure_that_no_site_told_of_is_counted_as_the_controllers_word(lab: Lab) -> None:
    it = SignedRun(lab)
    it.gives_up(0)
    event = event_of(it.rows[-1])
    assert isinstance(event, TurnFailed)
    rows = rewritten(it.rows, lab.sign_row, change=with_event(TurnFailed, replace(event, said=b"")))
    proved = proof(rows, lab.roster)
    assert (0, 1) == (proved.reports, proved.unsaid)


def test_a_removal_without_the_controller_is_said_to_be_unsigned(lab: Lab) -> None:
    it = troubled(lab)
    it(RunRemoved())
    assert proof(it.rows, lab.roster).is_removal_signed
    rows = [*it.rows[:-1], replace(it.rows[-1], signature=b"")]
    assert not proof(rows, lab.roster).is_removal_signed


def test_only_the_end_of_a_run_can_be_removed_by_nobody(it: SignedRun, lab: Lab) -> None:
    removed = encode(RunRemoved())
    head = it.rows[:6]
    end = row_hash(head[-1].hash, "r", 7, NOW, removed, "")
    forged = replace(head[-1], seq=7, at=NOW, event=removed, hash=end, signature=b"")
    assert "row 7 of r is not proved: what it says that it led to" in unproved(
        [*head, forged], lab.roster
    )


def test_of_a_ledger_whose_end_was_cut_off_it_is_said_where_it_stands(
    it: SignedRun, lab: Lab
) -> None:
    proved = proof(it.rows[:12], lab.roster)
    assert (12, it.rows[11].hash) == (proved.rows, proved.newest.hash)
    assert proved.state is not None
    assert Status.CLOSING is proved.state.status


def test_a_row_is_signed_by_the_controller_for_its_federation_and_its_time(lab: Lab) -> None:
    signature = lab.sign_row("h")
    assert is_row_signed("h", signature, lab.roster, NOW)
    assert not is_row_signed("i", signature, lab.roster, NOW)
    assert not is_row_signed("h", signature, lab.roster, NOW - 2 * DAY)
    assert not is_row_signed("h", signature, replace(lab.roster, federation="other"), NOW)
    assert not is_row_signed("h", lab.sign_row("h", by="a"), lab.roster, NOW)


# Rows that were altered.


def test_a_row_that_was_changed_is_named(it: SignedRun, lab: Lab) -> None:
    rows = it.rows
    rows[4] = replace(rows[4], event=rows[4].event[:-1] + b"\0")
    assert "row 5 of r is not what was recorded" == unproved(rows, lab.roster)


def test_rows_that_were_swapped_or_left_out_are_named(it: SignedRun, lab: Lab) -> None:
    rows = it.rows
    assert "row 4 of r is missing" == unproved([*rows[:3], *rows[4:]], lab.roster)
    rows[3], rows[4] = rows[4], rows[3]
    assert "row 4 of r is missing" == unproved(rows, lab.roster)


def test_a_ledger_that_was_rewritten_without_the_controllers_key_is_unproved(
    it: SignedRun, lab: Lab
) -> None:
    """By somebody with the machine: unsigned, or signed by a site that conspires."""
    said = unproved(rewritten(it.rows, lambda _: b""), lab.roster)
    assert "row 1 of r is not proved: nobody has signed it, nor any row after it" == said
    rows = rewritten(it.rows, lambda hash: lab.sign_row(hash, by="a"))
    said = unproved(rows, lab.roster)
    assert "row 1 of r is not proved: no key of controller has signed it, by roster 1" == said


def test_a_ledger_that_began_before_there_were_signatures_says_from_where_on_it_has_them(
    it: SignedRun, lab: Lab
) -> None:
    rows = [replace(row, signature=b"") if row.seq < 9 else row for row in it.rows]
    said = unproved(rows, lab.roster)
    assert "row 1 of r is not proved: nobody has signed it; they are signed from row 9 on" == said


def test_a_row_without_its_signature_is_named_with_what_is_proved(it: SignedRun, lab: Lab) -> None:
    rows = it.rows
    rows[9] = replace(rows[9], signature=b"")
    assert (
        "row 10 of r is not proved: nobody has signed it; they are signed from row 11 on; "
        "rows 1 to 9 and the 2 results in them are" == unproved(rows, lab.roster)
    )


# Whoever has the controller's key, and no site's.


def forged(it: SignedRun, lab: Lab, change: Callable[[Row], Row | None]) -> str:
    """Why it is not proved, once the controller's key has signed all of it again."""
    return unproved(rewritten(it.rows, lab.sign_row, change=change), lab.roster)


def test_the_controllers_key_makes_no_record(it: SignedRun, lab: Lab) -> None:
    seq, record = first_record(it.rows)
    better = replace(record, metrics={"accuracy": 1.0})
    says = {
        "has not signed the record": replace(better, written=b""),
        "is signed by 'controller', not by a": lab.members[CONTROLLER].write(
            better, about=it.about
        ),
        "is signed by 'b', not by a": lab.members["b"].write(better, about=it.about),
        "is of another run, be it of the same name": lab.members["a"].write(better, about=GENESIS),
    }
    for why, made_up in says.items():
        said = forged(it, lab, with_record(made_up))
        assert f"row {seq} of r is not proved: " in said
        assert why in said


def test_a_run_of_the_same_name_lends_no_record(lab: Lab, it: SignedRun) -> None:
    """Its plan may be the same, to the byte: it was submitted at another time."""
    again = SignedRun(lab)
    rows = rewritten(
        [replace(row, at=row.at + 1) for row in it.rows[:3]] + it.rows[3:], lab.sign_row
    )
    assert again.about == it.about != rows[0].hash
    assert "is of another run, be it of the same name" in unproved(rows, lab.roster)


def test_a_key_that_claims_anothers_name_is_found(it: SignedRun, lab: Lab) -> None:
    _, record = first_record(it.rows)
    other = Lab()
    written = other.members["a"].write(record, about=it.about)
    said = forged(it, lab, with_record(written))
    assert "no key of a has signed the record of r/0 term 1 round 0 hop 0, by roster 1" in said


def test_a_result_that_was_left_out_leaves_a_hole(it: SignedRun, lab: Lab) -> None:
    """What comes after it does not follow from what was before."""
    said = forged(it, lab, at_first(TurnFinished, lambda _: None))
    assert "is not what it leads to" in said


def test_a_result_that_counts_is_not_called_a_late_one(it: SignedRun, lab: Lab) -> None:
    seq, _ = first_record(it.rows)
    why = "what it says that it led to is not what it leads to"
    late = at_first(TurnFinished, lambda row: replace(row, outcome="stale_term"))
    assert f"row {seq} of r is not proved: {why}" in forged(it, lab, late)
    (dropped,) = [row.seq for row in it.rows if row.outcome]
    counts = forged(it, lab, lambda row: replace(row, outcome=""))
    assert f"row {dropped} of r is not proved: {why}" in counts


@pytest.mark.parametrize("kind", [TurnFailed, TurnReturned])
def test_a_failure_is_in_its_sites_own_words(it: SignedRun, lab: Lab, kind: type) -> None:
    event = next(each for each in map(event_of, it.rows) if isinstance(each, kind))
    assert isinstance(event, TurnFailed | TurnReturned)
    site, controller, about = lab.members[event.site], lab.members[CONTROLLER], it.about
    honest = decode(event.said, TurnAbandoned)
    others = [
        replace(honest, id=replace(honest.id, term=9)),
        replace(honest, site="other"),
        replace(honest, returned=not honest.returned),
    ]
    if kind is TurnFailed:
        others += [replace(honest, error="Other"), replace(honest, detail="other")]
    says = [("says something else", site.sign(other, about=about)) for other in others]
    says += [
        ("has not signed", encode(honest)),
        ("of another run", site.sign(honest, about="")),
        ("signed by 'controller'", controller.sign(honest, about=about)),
    ]
    for why, said in says:
        assert why in forged(it, lab, with_event(kind, replace(event, said=said)))


def test_a_plan_of_another_run_is_none_of_this(it: SignedRun, lab: Lab) -> None:
    other = encode(replace(PLAN, run="other"))
    said = forged(it, lab, lambda row: replace(row, event=other) if row.seq == 1 else row)
    assert "row 1 of r is not proved: it is the plan of other" == said


def test_weights_that_nobody_sent_are_not_received(it: SignedRun, lab: Lab) -> None:
    """A site's key alone puts nothing into the chain."""
    _, record = first_record(it.rows)
    made_up = replace(record, received=weights("others").digest, written=b"")
    said = forged(it, lab, with_record(lab.members["a"].write(made_up, about=it.about)))
    assert "is not what it leads to" in said


# Rosters.


def test_a_roster_that_does_not_know_a_signer_says_so(it: SignedRun, lab: Lab) -> None:
    for gone in (CONTROLLER, "c"):
        names = {CONTROLLER, *SITES} - {gone}
        roster = lab.read(lab.signatory.roster(sorted(names)))
        assert f"roster 1 has no card of {gone}: take a newer one" in unproved(it.rows, roster)


def test_what_was_signed_before_a_card_was_revoked_stays_proved(it: SignedRun, lab: Lab) -> None:
    def revoked(at: float) -> Roster:
        cards = [
            lab.signatory.card(name, revoked=int(at) if name == "d" else None)
            for name in (CONTROLLER, *SITES)
        ]
        return lab.read(lab.signatory.roster_of(cards, number=2))

    proof(it.rows, revoked(NOW + DAY))
    assert "the card of d was revoked by then, by roster 2" in unproved(it.rows, revoked(NOW))


def test_an_ended_roster_proves_what_was_before_its_end(lab: Lab) -> None:
    it = troubled(lab)
    names = (CONTROLLER, *SITES)
    roster = lab.read(lab.signatory.roster(names))
    assert proof(it.rows, replace(roster, ends=int(it.rows[-1].at) + 1)).rows == len(it.rows)
    ended = replace(roster, ends=int(it.rows[8].at))
    said = unproved(it.rows, ended)
    assert "row 9 of r is not proved: roster 1 had ended by then: take a newer one" in said


def test_a_card_from_after_the_row_proves_nothing(it: SignedRun, lab: Lab) -> None:
    cards = [lab.signatory.card(name) for name in (CONTROLLER, *SITES)]
    cards[0] = lab.signatory.card(CONTROLLER, begins=NOW + DAY)
    roster = lab.read(lab.signatory.roster_of(cards))
    assert "the card of controller was not good then, by roster 1" in unproved(it.rows, roster)


# Any byte.


@given(data=st.data())
def test_whatever_byte_is_changed_it_is_not_proved(
    it: SignedRun, lab: Lab, data: st.DataObject
) -> None:
    """Of a row, its signature or its hash; be it that its hash is made to fit again."""
    rows = it.rows
    number = data.draw(st.integers(0, len(rows) - 1), label="row")
    part = data.draw(st.sampled_from(["event", "signature", "outcome", "at", "seq"]), label="part")
    flip = data.draw(st.integers(1, 255), label="flip")
    rows[number] = changed = _altered(rows[number], part, flip, data)
    if data.draw(st.booleans(), label="made to fit"):
        previous = rows[number - 1].hash if number else GENESIS
        content = (changed.run, changed.seq, changed.at, changed.event, changed.outcome)
        rows[number] = replace(changed, hash=row_hash(previous, *content))
    unproved(rows, lab.roster)


def _flipped(value: bytes, flip: int, data: st.DataObject) -> bytes:
    place = data.draw(st.integers(0, len(value) - 1), label="byte")
    return value[:place] + bytes([value[place] ^ flip]) + value[place + 1 :]


def _altered(row: Row, part: str, flip: int, data: st.DataObject) -> Row:
    if part == "event":
        return replace(row, event=_flipped(row.event, flip, data))
    if part == "signature":
        return replace(row, signature=_flipped(row.signature, flip, data))
    if part == "outcome":
        return replace(row, outcome=row.outcome + chr(flip))
    return replace(row, at=row.at + flip) if part == "at" else replace(row, seq=row.seq + flip)


@given(data=st.data())
def test_whatever_byte_of_a_sites_word_is_changed_the_controllers_key_does_not_mend_it(
    it: SignedRun, lab: Lab, data: st.DataObject
) -> None:
    words = [row.seq for row in it.rows if _word(row)]
    seq = data.draw(st.sampled_from(words), label="row")
    flip = data.draw(st.integers(1, 255), label="flip")

    def change(row: Row) -> Row:
        if row.seq != seq:
            return row
        word = _word(row)
        before, _, behind = row.event.partition(word)
        return replace(row, event=before + _flipped(word, flip, data) + behind)

    unproved(rewritten(it.rows, lab.sign_row, change=change), lab.roster)


def _word(row: Row) -> bytes:
    """What the row has of a site."""
    match event_of(row):
        case TurnFinished(record=record):
            return record.written
        case TurnFailed(said=said) | TurnReturned(said=said):
            return said
    return b""


def test_a_run_that_has_just_begun_is_proved_as_far_as_it_is(lab: Lab) -> None:
    it = SignedRun(lab)
    assert isinstance(it.history[0], RunSubmitted)
    assert (3, 0) == ((proved := proof(it.rows, lab.roster)).rows, proved.records)

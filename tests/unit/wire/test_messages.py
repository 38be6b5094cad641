"""Messages come back as they were sent; anything else is refused with one kind of error."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.runs import Relay, plan, weights
from support.sites import result, turn
from support.strategies import VALUES, instances, messages
from tasuki.core import run
from tasuki.core.control import FenceRaised
from tasuki.core.model import Turn, TurnId, TurnRecord
from tasuki.core.report import SiteMeasured, TurnDone
from tasuki.errors import MessageError
from tasuki.wire.messages import MAX_BYTES, MESSAGES, decode, encode

EVERY_KIND = tuple(MESSAGES.values())


def refused(body: bytes, *, kinds: tuple[type, ...] = EVERY_KIND) -> str:
    with pytest.raises(MessageError) as caught:
        decode(body, kinds)
    return str(caught.value)


def taken_or_refused(body: bytes) -> None:
    """Any other exception fails the test."""
    try:
        message: object = decode(body, EVERY_KIND)
    except MessageError:
        return
    assert type(message) in EVERY_KIND


def raw(**fields: object) -> bytes:
    return bytes(msgpack.packb(fields))


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(max_examples=100)  # of each of so many kinds
@given(data=st.data())
def test_every_kind_of_message_comes_back_as_it_was_sent(name: str, data: st.DataObject) -> None:
    kind = MESSAGES[name]
    message: object = data.draw(instances(kind))
    body = encode(message)

    assert message == decode(body, kind)
    assert message == decode(memoryview(body), EVERY_KIND)
    assert body == encode(decode(body, kind))


def test_every_message_says_its_version_and_type() -> None:
    fields = msgpack.unpackb(encode(turn()))
    assert (1, "turn") == (fields["v"], fields["type"])


def test_the_form_of_a_turn_never_changes_between_releases() -> None:
    """Sites of an older release are still out there: raise `VERSION` before you change this."""
    mine = replace(turn(), history=(b"\x01",))
    digest = mine.weights.digest
    assert {
        "v": 1,
        "type": "turn",
        "id": {"run": "r", "lane": 0, "term": 1, "round": 0, "hop": 1},
        "itinerary": ["a", "b", "c"],
        "weights": {"digest": digest, "size": len(str(mine.id)) + 1},
        "task": {
            "trainer": "t",
            "params": {},
            "params_at": {},
            "budget": {"epochs": None, "steps": None, "seconds": None},
            "seed": 0,
            "rounds": 1,
            "beat_s": 5.0,
            "requires": [],
            "scores": [],
            "max_norm": None,
            "non_finite": [],
            "refuses_unchanged": False,
            "turn_s": None,
            "progress_s": None,
        },
        "kind": "train",
        "split": "",
        "merged": False,
        "history": [b"\x01"],
    } == msgpack.unpackb(encode(mine))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(body: bytes) -> None:
    taken_or_refused(body)


@given(message=messages(), data=st.data())
def test_a_message_with_spoiled_bytes_is_taken_or_refused(
    message: object, data: st.DataObject
) -> None:
    body = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not body:
            break
    taken_or_refused(bytes(body))


@given(message=messages(), data=st.data())
def test_a_message_with_a_spoiled_value_is_taken_or_refused(
    message: object, data: st.DataObject
) -> None:
    fields = msgpack.unpackb(encode(message))
    inside: Any = fields  # Any: whatever is at that depth
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(inside[key], dict | list) and inside[key] and data.draw(st.booleans()):
            inside = inside[key]
            continue
        inside[key] = data.draw(VALUES)
        break
    taken_or_refused(msgpack.packb(fields))


@given(message=messages(), data=st.data())
def test_a_message_that_was_cut_off_is_refused(message: object, data: st.DataObject) -> None:
    body = encode(message)
    refused(body[: data.draw(st.integers(0, len(body) - 1))])


def test_a_message_with_something_behind_it_is_refused() -> None:
    refused(encode(turn()) + b"\x00")


@given(
    message=messages(),
    extra=st.dictionaries(st.text(min_size=1).map("x-{}".format), VALUES, min_size=1, max_size=3),
)
def test_unknown_keys_are_ignored(message: object, extra: dict[str, object]) -> None:
    fields = msgpack.unpackb(encode(message))
    assert message == decode(msgpack.packb({**fields, **extra}), EVERY_KIND)


def test_unknown_keys_are_ignored_inside_too() -> None:
    fields = msgpack.unpackb(encode(turn()))
    fields["id"]["colour"] = fields["task"]["colour"] = "red"
    assert turn() == decode(msgpack.packb(fields), Turn)


@pytest.mark.parametrize("version", [0, 2, 10**9, -1, "1", "one", None, [1], {"v": 1}, 1.5])
def test_an_unknown_version_is_refused(version: object) -> None:
    fields = msgpack.unpackb(encode(turn()))
    assert "upgrade the older side" in refused(msgpack.packb({**fields, "v": version}))


def test_a_message_without_a_version_is_refused() -> None:
    assert "version None" in refused(raw(type="turn"))


@pytest.mark.parametrize("name", ["unheard-of", "", None, 1, ["turn"], {"turn": 1}, b"turn"])
def test_an_unknown_type_is_refused(name: object) -> None:
    assert "does not belong here" in refused(raw(v=1, type=name))


def test_a_message_of_another_kind_than_expected_is_refused() -> None:
    fence = FenceRaised(run="r", lane=0, term=1)
    assert "does not belong here" in refused(encode(fence), kinds=(Turn,))


@pytest.mark.parametrize("body", [b"", b"\x90", b"\x01", b"\xa4turn", json.dumps({}).encode()])
def test_what_is_no_map_is_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize("key", ["v", "type", "id", "task", "unknown"])
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1x"])
def test_endless_nesting_is_refused(key: str, opening: bytes) -> None:
    """Bug: a version or type nested 1000 deep ended the service with a RecursionError."""
    for depth in (200, 1000, 1020, 5000):
        fields = {**msgpack.unpackb(encode(turn())), key: "here"}
        nested = opening * depth + b"\xc0"
        taken_or_refused(msgpack.packb(fields).replace(b"\xa4here", nested))


def test_a_map_with_keys_that_are_no_text_is_refused() -> None:
    refused(msgpack.packb({1: 2, "v": 1, "type": "turn"}))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("id", "run"), "../../etc", "run name"),
        (("id", "run"), "", "run name"),
        (("id", "hop"), -1, "start at 0"),
        (("id", "hop"), 3, "past the end"),
        (("id", "hop"), None, "id.hop"),
        (("weights", "digest"), "md5", "algorithm:hex"),
        (("weights", "size"), -1, "number of bytes"),
        (("itinerary",), "abc", "itinerary"),
        (("itinerary",), [], "past the end"),
        (("kind",), "dance", "kind"),
        (("task", "params"), [1], "task.params"),
    ],
)
def test_a_turn_with_an_impossible_value_is_refused_in_words(
    path: tuple[str, ...], value: object, complaint: str
) -> None:
    fields = msgpack.unpackb(encode(turn()))
    inside = fields
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    assert complaint in refused(msgpack.packb(fields))


@pytest.mark.parametrize("part", ["run", "term", "round", "hop"])
def test_a_turn_without_a_part_of_its_identity_is_refused(part: str) -> None:
    fields = msgpack.unpackb(encode(turn()))
    del fields["id"][part]
    assert f"id.{part}" in refused(msgpack.packb(fields))


def test_a_message_that_is_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasuki.wire.messages.msgpack.unpackb", pytest.fail)
    assert "more than a message may have" in refused(b"\x80" * (MAX_BYTES + 1))


def test_a_message_that_is_too_large_cannot_be_sent() -> None:
    mine = replace(turn(), history=(bytes(MAX_BYTES),))
    with pytest.raises(MessageError, match="too large to send"):
        encode(mine)


def test_what_only_our_own_ledger_has_may_be_larger() -> None:
    """Bug: a checkpoint of many lanes' turns could not be written down."""
    record = Relay().record()
    saved = run.SaveCheckpoint(
        round=1, weights=record.sent, records=(record,) * 9000, earlier=(record,) * 9000
    )
    body = encode(saved, travels=False)
    assert len(body) > MAX_BYTES
    assert "more than a message may have" in refused(body)
    found = decode(body, run.SaveCheckpoint, travelled=False)
    assert (9000, record) == (len(found.earlier), replace(found.earlier[-1], written=b""))


def test_a_checkpoint_that_was_to_be_saved_before_names_its_round_alone() -> None:
    saved = run.SaveCheckpoint(round=1, weights=weights("w"), records=())
    content = msgpack.unpackb(encode(saved))
    del content["earlier"]
    assert saved == decode(msgpack.packb(content), run.SaveCheckpoint)


def test_a_claim_of_endless_length_costs_nothing() -> None:
    assert "not msgpack" in refused(b"\xdf\xff\xff\xff\xff")
    assert "not msgpack" in refused(b"\xdd\xff\xff\xff\xff")
    assert "not msgpack" in refused(b"\xc6\xff\xff\xff\xff")


@pytest.mark.parametrize("value", [object(), 2**64, {"a": {1, 2}}, "\ud800"])
def test_a_value_that_cannot_travel_is_refused_where_it_was_given(value: object) -> None:
    mine = plan()
    mine = replace(mine, task=replace(mine.task, params={"x": value}))
    with pytest.raises(MessageError, match="a Plan cannot be sent"):
        encode(mine)


def test_numbers_that_are_none_travel() -> None:
    beat = decode(encode(SiteMeasured(site="a", series={"loss": float("nan")})), SiteMeasured)
    assert beat.series["loss"] != beat.series["loss"]


def test_all_five_parts_of_an_identity_travel() -> None:
    id = TurnId(run="r", lane=1, term=2, round=3, hop=4)
    record = TurnRecord(id=id, site="a", received=weights("x").digest, sent=weights("y"))
    assert id == decode(encode(TurnDone(record=record, site="a")), TurnDone).record.id


def test_history_is_opaque_bytes_that_decode_to_records() -> None:
    record = result(turn())
    carried = decode(encode(replace(turn(), history=(encode(record),))), Turn)
    assert record == decode(carried.history[0], TurnRecord)


# Turn records keep their bytes.

RECORD = result(turn())
NEWER: bytes = msgpack.packb({**msgpack.unpackb(encode(RECORD)), "newer": [1, 2.5, None]})


def test_a_record_is_passed_on_as_its_site_wrote_it() -> None:
    record = decode(NEWER, TurnRecord)
    assert (RECORD, NEWER) == (record, encode(record))


@pytest.mark.parametrize(
    "around",
    [
        TurnDone(record=decode(NEWER, TurnRecord), site="a"),
        run.TurnFinished(record=decode(NEWER, TurnRecord)),
        run.SaveCheckpoint(round=0, weights=RECORD.sent, records=(decode(NEWER, TurnRecord),)),
        run.IssueTurn(
            id=RECORD.id,
            itinerary=("a",),
            weights=RECORD.sent,
            at="a",
            records=(decode(NEWER, TurnRecord), RECORD),
        ),
    ],
    ids=lambda message: type(message).__name__,
)
def test_inside_another_message_a_record_is_the_bytes_that_its_site_wrote(around: object) -> None:
    body = encode(around)
    assert NEWER in body
    again = decode(body, type(around))
    assert (around, body) == (again, encode(again))


def test_nobody_says_what_a_record_was_written_as() -> None:
    forged = msgpack.packb({**msgpack.unpackb(encode(RECORD)), "written": b"other"})
    assert forged == decode(forged, TurnRecord).written
    inside = {**msgpack.unpackb(encode(RECORD)), "written": b"other"}
    done = msgpack.packb({"v": 1, "type": "TurnDone", "site": "a", "record": inside})
    assert b"" == decode(done, TurnDone).record.written


def test_a_record_of_the_time_before_is_read_and_then_written_as_it_was() -> None:
    whole = msgpack.unpackb(encode(RECORD))
    before = msgpack.packb({"v": 1, "type": "run.TurnFinished", "record": whole})
    event = decode(before, run.TurnFinished)
    assert (RECORD, encode(RECORD)) == (event.record, encode(event.record))


@pytest.mark.parametrize("depth", [1, 400, 10_000])
def test_a_nest_of_lists_instead_of_a_record_is_refused(depth: int) -> None:
    """Bug: what was nested deeper than Python goes ended the controller, again and again."""
    nest = b"\x91" * depth + b"\xc0"
    head = msgpack.packb({"v": 1, "type": "TurnDone", "site": "a", "record": None})[:-1]
    refused(head + nest, kinds=(TurnDone,))


def test_records_in_records_are_not_looked_into() -> None:
    nested = encode(RECORD)
    for _ in range(2000):
        nested = msgpack.packb({**msgpack.unpackb(encode(RECORD)), "record": nested})
    assert nested == decode(nested, TurnRecord).written

"""Messages <-> bytes: a msgpack map with `v` and `type`, validated field by field on arrival.

What a message is, is decided by the core's own dataclasses; here is only how it travels. Decoding
raises `MessageError` whatever went wrong, so that a caller can settle the delivery and go on.

A turn record is written once, by its site. Inside another message it is those bytes, and so it is
when it is encoded again: never a decoded record put together anew.

Of a signed message, what is inside is decoded here, and nothing is proved by that: `tasuki.trust`
checks signatures.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any, TypeVar, cast, get_args

import msgpack
from pydantic import TypeAdapter, ValidationError

from tasuki.core import control, model, report, run, trust
from tasuki.core.model import Turn, TurnRecord
from tasuki.core.trust import Sealed, Signed, Warrant
from tasuki.errors import MessageError
from tasuki.ports import Buffer

VERSION = 1
MAX_BYTES = 4 * 2**20
"""A message larger than this is refused unread; weights travel in chunks instead."""

MESSAGES: dict[str, type] = {
    "turn": model.Turn,
    "turn_record": model.TurnRecord,
    "plan": model.Plan,
    "weights_ref": model.WeightsRef,
    "warrant": trust.Warrant,
    "seal": trust.Seal,
    "roster": trust.Roster,
    **{kind.__name__: kind for kind in get_args(report.Report)},
    **{kind.__name__: kind for kind in get_args(control.Control)},
    **{f"run.{kind.__name__}": kind for kind in get_args(run.Event)},
    **{f"do.{kind.__name__}": kind for kind in get_args(run.Effect)},
}
_TYPE_OF = {kind: name for name, kind in MESSAGES.items()}

T = TypeVar("T")
_INSIDE = {
    kind: [each.name for each in fields(kind) if each.name in {"record", "records", "earlier"}]
    for kind in MESSAGES.values()
}
"""Which fields of which messages hold a turn record, or several."""

_IF_ANY = ("warrant", "said")
"""Fields that a message without signatures does not have, as in the time before there were any."""

_WARRANTED = ("itinerary", "task", "kind", "split")
"""What a turn's warrant says does not travel twice."""

_SIGNED, _SEALED = "signed", "sealed"


def encode(message: object, *, travels: bool = True) -> bytes:
    """One of the core's nouns as bytes. `travels`: else only our own ledger has it, however large.

    Raises:
        MessageError: a value in it has no msgpack form, or it is too large to be accepted.
    """
    body = _packed(message)
    if travels and len(body) > MAX_BYTES:
        raise MessageError(f"a {type(message).__name__} of {len(body)} bytes is too large to send")
    return body


def enclose(signed: Signed) -> bytes:
    """A signed message as bytes, in the one form that it has."""
    content = {
        "v": VERSION,
        "type": _SIGNED,
        "kind": signed.kind,
        "by": signed.by,
        "about": signed.about,
        "at": float(signed.at),
        "body": bytes(signed.body),
        "signature": bytes(signed.signature),
    }
    return bytes(msgpack.packb(content))


def signed_in(body: Buffer) -> Signed | None:
    """The envelope of a signed message; None: these bytes are something else.

    Raises:
        MessageError: an envelope that is not in the form in which its sender wrote it.
    """
    content = _unpack(body, limited=True)
    if content.get("type") != _SIGNED:
        return None
    signed = _signed(content)
    if enclose(signed) != bytes(body):
        raise MessageError("a signed message in another form than the one that was signed")
    return signed


def close(sealed: Sealed) -> bytes:
    """A sealed message as bytes, in the one form that it has."""
    content = {
        "v": VERSION,
        "type": _SEALED,
        "kind": sealed.kind,
        "by": sealed.by,
        "to": sealed.to,
        "keys": list(sealed.keys),
        "data": sealed.data,
    }
    return bytes(msgpack.packb(content))


def sealed_in(body: Buffer) -> Sealed | None:
    """A sealed message, as far as everybody can read it; None: these bytes are something else.

    Raises:
        MessageError: one that is not in the form in which its sender wrote it.
    """
    content = _unpack(body, limited=True)
    if content.get("type") != _SEALED:
        return None
    names = ("kind", "by", "to", "keys", "data")
    try:
        sealed = _adapters()[Sealed].validate_python({name: content[name] for name in names})
    except (ValidationError, KeyError) as exc:
        raise MessageError(f"a malformed sealed message: {_first_error(exc)}") from exc
    if close(sealed) != bytes(body):
        raise MessageError("a sealed message in another form than the one that was sent")
    return cast("Sealed", sealed)


def kind_in(body: Buffer) -> str:
    """The type of an encoded message."""
    return str(_unpack(body, limited=True).get("type"))[:64]


def kind_of(message: object) -> str:
    """What a message of its type is called where it travels."""
    return _TYPE_OF[type(message)]


def size_of(message: object) -> int:
    """How many bytes it would have, however many.

    Raises:
        MessageError: a value in it has no msgpack form.
    """
    return len(_packed(message))


def decode(body: Buffer, expected: type[T] | tuple[type[T], ...], *, travelled: bool = True) -> T:
    """The message in these bytes, if it is of an expected kind. `travelled`: see `encode`.

    Unknown keys are ignored, so that an older site understands a newer one; an unknown version or
    kind is refused.

    Raises:
        MessageError: whatever is wrong with it, in words.
    """
    return _decode(body, expected, written=bytes(body), travelled=travelled)


def _decode(
    body: Buffer,
    expected: type[T] | tuple[type[T], ...],
    *,
    written: bytes,
    travelled: bool = True,
) -> T:
    content = _unpack(body, limited=travelled)
    if content.get("v") != VERSION:
        raise MessageError(
            f"version {_brief(content.get('v'))} is not {VERSION}: upgrade the older side",
            reason="unknown_version",
        )
    name = content.get("type")
    if name == _SIGNED and len(written) == len(body):  # one is not inside another
        return _inside(_signed(content), expected, written=written)
    kind = MESSAGES.get(name) if isinstance(name, str) else None
    kinds = expected if isinstance(expected, tuple) else (expected,)
    if kind is None or kind not in kinds:
        raise MessageError(
            f"a message of type {_brief(name)} does not belong here", reason="unknown_type"
        )
    content.pop("written", None)  # that is for us to say
    if kind is TurnRecord:
        content["written"] = written
    try:
        for key in _INSIDE[kind]:
            if key in content:
                content[key] = _read(content[key])
        if kind is Turn and content.get("warrant"):
            content |= _warranted(content["warrant"])
        return cast("T", _adapters()[kind].validate_python(content))
    except (ValidationError, RecursionError) as exc:
        raise MessageError(f"a malformed {name}: {_first_error(exc)}") from exc


def _signed(content: dict[object, object]) -> Signed:
    names = ("kind", "by", "about", "at", "body", "signature")
    try:
        return cast("Signed", _adapters()[Signed].validate_python({n: content[n] for n in names}))
    except (ValidationError, KeyError) as exc:
        raise MessageError(f"a malformed signed message: {_first_error(exc)}") from exc


def _inside(signed: Signed, expected: type[T] | tuple[type[T], ...], *, written: bytes) -> T:
    """What is inside, if it is what the envelope says."""
    message = _decode(signed.body, expected, written=written)
    if kind_of(message) != signed.kind:
        raise MessageError(f"a {kind_of(message)} that was signed as a {signed.kind[:60]!r}")
    return message


def _warranted(warrant: object) -> dict[object, object]:
    """What holds for a turn by its warrant, whatever else may stand beside it."""
    if not isinstance(warrant, bytes):
        raise MessageError("a malformed turn: its warrant is no message")
    found = decode(warrant, Warrant)
    return {name: getattr(found, name) for name in _WARRANTED}


def _read(inside: object) -> object:
    """A record as it was written; one of the time before records kept their bytes is a map."""
    if isinstance(inside, bytes):
        return decode(inside, TurnRecord)
    if isinstance(inside, list):
        return [_read(each) for each in inside]
    if isinstance(inside, dict):
        inside.pop("written", None)
    return inside


def _packed(message: object) -> bytes:
    if isinstance(message, TurnRecord) and message.written:
        return message.written
    kind = type(message)
    content = _adapters()[kind].dump_python(message)
    content.pop("written", None)
    for key in _IF_ANY:
        if not content.get(key):
            content.pop(key, None)
    if content.get("warrant"):
        for key in _WARRANTED:
            del content[key]
    for key in _INSIDE[kind]:
        inside = getattr(message, key)
        content[key] = list(map(_packed, inside)) if isinstance(inside, tuple) else _packed(inside)
    try:
        body = msgpack.packb({"v": VERSION, "type": _TYPE_OF[kind], **content})
    except (TypeError, ValueError, OverflowError) as exc:
        raise MessageError(f"a {kind.__name__} cannot be sent: {exc}") from exc
    return bytes(body)


def _unpack(body: Buffer, *, limited: bool) -> dict[object, object]:
    if limited and len(body) > MAX_BYTES:
        raise MessageError(
            f"{len(body)} bytes are more than a message may have ({MAX_BYTES})", reason="oversized"
        )
    try:
        fields = msgpack.unpackb(body, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as exc:
        raise MessageError(f"not msgpack: {exc!r:.120}", reason="undecodable") from exc
    if not isinstance(fields, dict):
        raise MessageError("not a map", reason="undecodable")
    return fields


@cache
def _adapters() -> dict[type, TypeAdapter[Any]]:  # Any: one adapter for each kind
    return {kind: TypeAdapter(kind) for kind in (*MESSAGES.values(), Signed, Sealed)}


def _brief(value: object) -> str:
    """A foreign value for people; a nested one is not looked into, since it may have no end."""
    return type(value).__name__ if isinstance(value, list | dict) else f"{value!r:.60}"


def _first_error(exc: Exception) -> str:
    if isinstance(exc, KeyError):
        return f"{exc.args[0]}: missing"
    if not isinstance(exc, ValidationError):
        return "nested too deeply"
    first = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]

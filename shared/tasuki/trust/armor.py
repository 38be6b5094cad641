"""Signed things as text files, to be sent by mail and looked at: base64 between two lines."""

from __future__ import annotations

import base64
import binascii
import textwrap

MOST = 4 * 2**20


def armored(data: bytes, *, what: str) -> bytes:
    """`what`: in capitals, as in ROSTER."""
    lines = textwrap.fill(base64.b64encode(data).decode(), 64)
    return f"-----BEGIN TASUKI {what}-----\n{lines}\n-----END TASUKI {what}-----\n".encode()


def unarmored(text: bytes, *, what: str) -> bytes:
    """Whatever stands before and after it is no part of it.

    Raises:
        ValueError: there is no such thing in this text, or not all of it.
    """
    begin, end = f"-----BEGIN TASUKI {what}-----", f"-----END TASUKI {what}-----"
    if len(text) > MOST:
        raise ValueError(f"{len(text)} bytes are more than a {what.lower()} has")
    _, found, rest = text.decode(errors="replace").partition(begin)
    inside, is_whole, _ = rest.partition(end)
    if not found or not is_whole:
        raise ValueError(f"there is no {what.lower()} of Tasuki in it, or not all of it")
    try:
        return base64.b64decode("".join(inside.split()), validate=True)
    except binascii.Error as exc:
        raise ValueError(f"its {what.lower()} is damaged: {exc}") from exc

"""Whatever a stranger puts into a request is answered in words."""

from __future__ import annotations

import base64

from tasuki.trust.papers import Request, certificate_request
from tasuki.trust.sealing import SealingKey
from tasuki.trust.signing import SigningKey


def request(pem: str) -> Request:
    return Request(
        federation="clinics",
        name="site-1",
        certificate_request=pem,
        unseals=base64.b64encode(SealingKey.new().public).decode(),
        password_hash=base64.b64encode(bytes(36)).decode(),
        at=1,
    )


def test_whatever_byte_of_a_certificate_request_is_altered_that_is_said_in_words() -> None:
    """Bug: unknown algorithms and versions ended provisioning with a traceback."""
    pem = certificate_request("site-1", SigningKey.new().pem())
    assert "" == request(pem).why_not()
    first, *lines, last, _ = pem.split("\n")
    der = base64.b64decode("".join(lines))
    said = set()
    for at in range(len(der)):
        for flipped in (0x01, 0x80, 0xFF):
            altered = der[:at] + bytes([der[at] ^ flipped]) + der[at + 1 :]
            text = base64.b64encode(altered).decode()
            said.add(request(f"{first}\n{text}\n{last}\n").why_not())
    assert "its certificate request is not its own" in said
    assert any("is not supported" in why for why in said)

"""TLS between two contexts in memory: what each end says of the other, without a socket."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_of(folder: Path) -> ssl.SSLContext:
    """A server as strict as the broker: it asks for a certificate, and for a well-formed one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, *, host: str) -> ssl.SSLObject:
    """The client's end once both ends are content.

    Raises:
        ssl.SSLError: one of them is not.
    """
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):  # with TLS 1.3 two rounds are enough
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours

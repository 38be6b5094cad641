"""Addresses that are given as an http:// or https:// URL, looked at before anybody is asked.

A wrong one is best told where it was written: further on it is a traceback of some library's.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from tasuki.broker.nodes import address_of

_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
PORTS = {"http": 80, "https": 443}


def check_http(url: str) -> SplitResult:
    """The parts of `http[s]://host[:port]`, perhaps with a path.

    Raises:
        ValueError: this is no such address, or there is more in it than an address.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{without_password(url)!r} is no http[s]://host[:port]")
    if "@" in parts.netloc:
        raise ValueError("leave user and password out of the address")
    address_of(parts.netloc, port=PORTS[parts.scheme])
    if not url.isprintable() or " " in url:
        raise ValueError(f"{url!r} is no http[s]://host[:port]: it has a space in it")
    return parts


def check_bind(host: str) -> str:
    """The host that a server is to listen at, as it is.

    Raises:
        ValueError: it is none, or has a port.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if _NAME.fullmatch(host) is None:
            raise ValueError(
                f"{host!r} is no host name and no address; 0.0.0.0 is all of this machine's, and "
                "the port is a key of its own"
            ) from None
    return host


def without_password(url: str) -> str:
    """The address as it may be shown."""
    before, at, after = url.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme}{slashes}...@{after}" if at else url

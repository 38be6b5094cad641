"""When a client certificate ends, and a warning in time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from tasuki.installed import command_for

log = structlog.get_logger()

DAY_S = 86400.0
WARN_DAYS = 30


def certificate_expiry(path: Path) -> float | None:
    """When the first certificate of a PEM file ends, in seconds since 1970.

    None if nobody can say: the file cannot be read, or `cryptography` is not installed.
    """
    valid = certificate_validity(path)
    return None if valid is None else valid[1]


def certificate_validity(path: Path) -> tuple[float, float] | None:
    """When it begins and when it ends, likewise."""
    try:
        from cryptography.x509 import load_pem_x509_certificate
    except ImportError:
        return None
    try:
        found = load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()


def warn_if_near(path: Path, *, now: float) -> bool:
    """Say so if fewer than `WARN_DAYS` days are left."""
    expiry = certificate_expiry(path)
    if expiry is None:
        log.info("nobody watches when the client certificate ends", mend=command_for("tls"))
        return False
    if expiry - now >= WARN_DAYS * DAY_S:
        return False
    days = (expiry - now) / DAY_S
    log.warning("the client certificate ends soon: renew it", path=str(path), days=round(days, 1))
    return True


async def watch(path: Path | None) -> None:
    """Warn now and every day, until this is cancelled."""
    while path is not None:
        warn_if_near(path, now=time.time())
        await asyncio.sleep(DAY_S)

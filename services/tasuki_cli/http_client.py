"""How an operator's command reaches a controller: the address, whom to trust, and no detours.

httpx would read proxies, passwords and more from the environment of whoever runs the command. On
many machines that names a proxy for everybody, and the token would be told to it. So nothing of
that is heeded, and a proxy is used where `--proxy` says so.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tasuki.errors import SettingsError
from tasuki.installed import command_for
from tasuki.settings.address import check_http

if TYPE_CHECKING:
    import httpx

SILENCE_S = 30.0  # three times as long as the controller is ever silent
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


def opened(
    url: str, *, token: str, ca: Path | None = None, proxy: str | None = None
) -> httpx.Client:
    """A client of the controller at `url`.

    Raises:
        SettingsError: an address or the certificates cannot be used, or httpx is missing.
    """
    try:
        import httpx
    except ImportError as exc:
        raise SettingsError(f"asking a controller needs httpx: {command_for('operator')}") from exc
    _check(url, option="--controller")
    if not (token.isascii() and token.isprintable()):
        raise SettingsError("--token-file: the token has other letters than a controller's")
    if proxy is not None:
        _check(proxy, option="--proxy")
    return httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx.Timeout(SILENCE_S, read=300.0),
        verify=_trusting(ca, httpx.create_ssl_context),
        proxy=proxy,
        trust_env=False,
    )


def advice(*, proxy: str | None) -> str:
    """What to do about a controller that cannot be reached."""
    said = "start it, or name it by --controller"
    there = [name for name in _VARIABLES if os.environ.get(name) or os.environ.get(name.upper())]
    if proxy is None and there:
        said += f"; {there[0]} is not heeded: if a proxy leads there, name it by --proxy"
    return said


def _check(url: str, *, option: str) -> None:
    try:
        check_http(url)
    except ValueError as exc:
        raise SettingsError(f"{option}: {exc}") from exc


def _trusting(ca: Path | None, otherwise: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Whom to believe that he is the controller."""
    try:
        return otherwise() if ca is None else ssl.create_default_context(cafile=ca)
    except OSError as exc:
        said = f"--ca {ca}" if ca else "what SSL_CERT_FILE or SSL_CERT_DIR names"
        raise SettingsError(f"{said} cannot be used: {exc}") from exc

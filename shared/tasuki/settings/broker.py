"""The part of the settings that every service has: its broker, and its own small HTTP server."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from tasuki.errors import SettingsError
from tasuki.settings.toml import Keys, Settings, SettingsPath

ENVIRONMENT: dict[str, Keys] = {
    "TASUKI_BROKER_URL": ("broker", "url"),
    "TASUKI_BROKER_PASSWORD_FILE": ("broker", "password_file"),
    "TASUKI_BROKER_CA": ("broker", "ca"),
    "TASUKI_HTTP_HOST": ("http", "host"),
    "TASUKI_HTTP_PORT": ("http", "port"),
    "TASUKI_LOG": ("log",),
}


class BrokerTable(Settings):
    """Where the broker is and who we are to it.

    `url`: amqp[s]://user@host[:port]/vhost; the password is in a file of its own, so that no
    settings, no process list and no log ever show it. `ca`: certificates to trust instead of the
    system's.
    """

    url: str
    password_file: SettingsPath
    ca: SettingsPath | None = None
    heartbeat_s: int = Field(default=30, ge=2)
    patience_s: float = Field(default=30.0, gt=0)

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.password is not None:
            raise ValueError("leave the password out of the url: put it into password_file")
        if parts.scheme not in {"amqp", "amqps"} or not parts.hostname or not parts.username:
            raise ValueError("use amqp[s]://user@host[:port]/vhost")
        return url

    @property
    def user(self) -> str:
        return urlsplit(self.url).username or ""

    def password(self) -> str:
        """Raises SettingsError: there is no such file, or nothing in it."""
        return read_secret(self.password_file, what="[broker] password_file")

    def tls(self) -> ssl.SSLContext | None:
        """How to verify the broker; None speaks plain text.

        Raises:
            SettingsError: the certificates cannot be read.
        """
        if not self.url.startswith("amqps:"):
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except OSError as exc:
            raise SettingsError(f"[broker] ca = {self.ca}: {exc}") from exc


class HttpTable(Settings):
    """Where a service answers; no port, no server. 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65535)


def read_secret(path: Path, *, what: str) -> str:
    """The one line of a secret's file.

    Raises:
        SettingsError: there is no such file, or nothing in it.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not text"
        raise SettingsError(f"{what}: {path} cannot be read: {reason}") from exc
    if not secret:
        raise SettingsError(f"{what}: {path} is empty")
    return secret

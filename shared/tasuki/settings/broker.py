"""The part of the settings that every service has: its broker, and its own small HTTP server."""

from __future__ import annotations

import ssl
import stat
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from tasuki.broker.nodes import PORTS, Node, node_of
from tasuki.errors import SettingsError
from tasuki.settings.address import check_bind
from tasuki.settings.toml import Keys, Settings, SettingsPath, read_text

NEXT, OLD = ".next", ".old"
"""Behind the names of secrets that a renewal brings, and of those that it replaced."""

ENVIRONMENT: dict[str, Keys] = {
    "TASUKI_BROKER_URL": ("broker", "url"),
    "TASUKI_BROKER_HOSTS": ("broker", "hosts"),
    "TASUKI_BROKER_PASSWORD_FILE": ("broker", "password_file"),
    "TASUKI_BROKER_CA": ("broker", "ca"),
    "TASUKI_BROKER_CERT": ("broker", "cert"),
    "TASUKI_BROKER_KEY": ("broker", "key"),
    "TASUKI_HTTP_HOST": ("http", "host"),
    "TASUKI_HTTP_PORT": ("http", "port"),
    "TASUKI_LOG": ("log",),
}


class BrokerTable(Settings):
    """Where the broker is and who we are to it.

    `url`: amqp[s]://user@host[:port]/vhost; the password is in a file of its own, so that no
    settings, no process list and no log ever show it. Where the broker refuses it, those are tried
    that are beside it with `.next` and `.old` behind its name: a renewal is under way. `hosts`: the
    nodes of a broker that has several, each `host[:port]`, in place of the one in `url`; whoever
    loses one goes to the next.
    `ca`: certificates to trust instead of the system's. `cert` and `key`: our own certificate and
    its private key, where the broker asks for one; the password is needed all the same.
    `patience_s`: how long a service that starts tries to connect; `retry_s`: the longest pause
    between two attempts of one that lost its broker; `answer_s`: how long the broker may owe an
    answer before its connection is given up and another one made.
    """

    url: str
    hosts: list[str] = Field(default_factory=list)
    password_file: SettingsPath
    ca: SettingsPath | None = None
    cert: SettingsPath | None = None
    key: SettingsPath | None = None
    heartbeat_s: int = Field(default=10, ge=2)
    patience_s: float = Field(default=30.0, gt=0)
    retry_s: float = Field(default=15.0, gt=0)
    answer_s: float = Field(default=15.0, ge=1)

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.password is not None:
            raise ValueError("leave the password out of the url: put it into password_file")
        if parts.scheme not in PORTS or not parts.hostname or not parts.username:
            raise ValueError("use amqp[s]://user@host[:port]/vhost")
        _node_in(url)
        return url

    @field_validator("hosts", mode="before")
    @classmethod
    def _from_one_line(cls, hosts: object) -> object:
        """An environment variable has no lists: there they are between commas."""
        return [host.strip() for host in hosts.split(",")] if isinstance(hosts, str) else hosts

    @model_validator(mode="after")
    def _hosts_are_nodes(self) -> BrokerTable:
        scheme = urlsplit(self.url).scheme
        nodes = [node_of(host, scheme=scheme) for host in self.hosts]
        if twice := [str(node) for node in nodes if nodes.count(node) > 1]:
            raise ValueError(f"hosts names {twice[0]} twice")
        return self

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> BrokerTable:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together: give both or none")
        if self.cert is not None and not self.url.startswith("amqps:"):
            raise ValueError("a cert without an amqps:// url would prove nothing")
        return self

    @property
    def user(self) -> str:
        return urlsplit(self.url).username or ""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Where the broker can be reached."""
        scheme = urlsplit(self.url).scheme
        named = tuple(node_of(host, scheme=scheme) for host in self.hosts)
        return named or (_node_in(self.url),)

    def password(self) -> str:
        """Raises SettingsError: there is no such file, or nothing in it."""
        return read_secret(self.password_file, what="[broker] password_file")

    def passwords(self) -> tuple[str, ...]:
        """All that the broker may have of us now: while a password is changed there are several.

        What cannot be read is left out: somebody may be changing it just now.
        """
        found: list[str] = []
        for path in (self.password_file, *beside(self.password_file)):
            with suppress(SettingsError):
                found.append(read_secret(path, what="[broker] password_file"))
        return tuple(dict.fromkeys(found))

    def tls(self) -> ssl.SSLContext | None:
        """How to verify the broker, by its host name too; None speaks plain text.

        Raises:
            SettingsError: the certificates or our key cannot be read.
        """
        if not self.url.startswith("amqps:"):
            return None
        if self.ca is not None:
            _refuse_unreadable(self.ca, what="[broker] ca")
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as exc:
            raise SettingsError(
                f"[broker] ca: {self.ca} holds no PEM certificate; take the ca.pem of the kit"
            ) from exc
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert is not None:
            self._prove(context, self.cert)
        return context

    def secrets_of_all(self) -> list[Path]:
        """Those that everyone on this machine may read."""
        return of_all(self.password_file, *beside(self.password_file), self.key)

    def _prove(self, context: ssl.SSLContext, cert: Path) -> None:
        for name, path in (("cert", cert), ("key", self.key or cert)):
            _refuse_unreadable(path, what=f"[broker] {name}")
        try:
            # An encrypted key fails: without a password of ours OpenSSL would ask the terminal.
            context.load_cert_chain(cert, self.key, password="")
        except OSError as exc:
            raise SettingsError(
                f"[broker] cert = {cert}, key = {self.key}: {exc}; it needs a PEM certificate and "
                "its unencrypted key"
            ) from exc


class HttpTable(Settings):
    """Where a service answers; no port, no server. 0 takes a free one."""

    host: Annotated[str, AfterValidator(check_bind)] = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65535)


def _node_in(url: str) -> Node:
    """Raises ValueError: its host or port cannot be one."""
    parts = urlsplit(url)
    return node_of(parts.netloc.rpartition("@")[2], scheme=parts.scheme)


def beside(secret: Path) -> tuple[Path, Path]:
    """What a renewal will put in this file's place, and what it had before; if they are there."""
    return secret.with_name(secret.name + NEXT), secret.with_name(secret.name + OLD)


def of_all(*secrets: Path | None) -> list[Path]:
    """Files that everyone on this machine may read and only we should.

    A group may: that is how systemd and Kubernetes hand a secret to a service.
    """
    there = [path for path in secrets if path is not None and path.exists()]
    return [path for path in there if path.stat().st_mode & stat.S_IROTH]


def read_secret(path: Path, *, what: str) -> str:
    """The one line of a secret's file.

    Raises:
        SettingsError: there is no such file, or it holds no secret, or more than one.
    """
    try:
        secret = read_text(path).strip()
    except OSError as exc:
        raise _unreadable(path, exc, what=what) from exc
    except ValueError as exc:
        raise SettingsError(f"{what}: {path} cannot be read: {exc}") from exc
    if not secret:
        raise SettingsError(f"{what}: {path} is empty")
    if len(secret.splitlines()) > 1:
        raise SettingsError(f"{what}: {path} has several lines; it holds the secret and no more")
    return secret


def _refuse_unreadable(path: Path, *, what: str) -> None:
    try:
        path.open("rb").close()
    except OSError as exc:
        raise _unreadable(path, exc, what=what) from exc


def _unreadable(path: Path, exc: OSError, *, what: str) -> SettingsError:
    advice = ""
    if isinstance(exc, FileNotFoundError):
        advice = "; put the file there, or name where it is"
    elif isinstance(exc, PermissionError):
        advice = f"; let the user who runs this read it: `ls -l {path}` shows whose it is"
    return SettingsError(f"{what}: {path} cannot be read: {exc.strerror}{advice}")

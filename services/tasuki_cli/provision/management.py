"""The little of RabbitMQ's management API that provisioning needs."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tasuki.errors import BrokerUnreachable, NotPermitted, SettingsError, TransportError

_PORTS = {"http": 15672, "https": 15671}
_ANSWER_S = 60.0
_SHOWN = 500


class Management:
    """A broker's management API, as its administrator.

    Args:
        url: http[s]://host[:port], perhaps with a path before /api.
        ca: certificates to trust instead of the system's.

    Raises:
        SettingsError: the certificates cannot be read.
    """

    def __init__(self, url: str, *, user: str, password: str, ca: Path | None = None) -> None:
        parts = urlsplit(url)
        self.user = user
        self._url = url
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._before = parts.path.rstrip("/")
        self._tls = _tls(ca) if parts.scheme == "https" else None
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def ask(
        self, method: str, *path: str, body: object = None, missing_ok: bool = False
    ) -> Any:  # Any: JSON
        """One request; the answer's JSON, or None for an empty one.

        Args:
            missing_ok: that there is no such thing is no error, but None.

        Raises:
            BrokerUnreachable: nobody answers there.
            NotPermitted: the user is not known, or no administrator.
            TransportError: refused for another reason.
        """
        place = "/".join([self._before, "api", *(quote(part, safe="") for part in path)])
        content = None if body is None else json.dumps(body)
        connection = self._connection()
        try:
            connection.request(method, place, content, self._headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as exc:
            raise BrokerUnreachable(f"the management API at {self._url}: {exc}") from exc
        finally:
            connection.close()
        if answer.status in {401, 403}:
            raise NotPermitted(f"{self._url} does not take this user as an administrator")
        if answer.status == http.HTTPStatus.NOT_FOUND and missing_ok:
            return None
        if answer.status // 100 != 2:
            said = f"{method} {place}: {answer.status} {text[:_SHOWN]}"
            raise TransportError(f"the broker refuses: {said}")
        return _json(text, self._url)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=_ANSWER_S)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=_ANSWER_S, context=self._tls
        )


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as exc:
        raise SettingsError(f"[broker] ca = {ca}: {exc}") from exc


def _json(text: str, url: str) -> Any:  # Any: JSON
    try:
        return json.loads(text) if text else None
    except ValueError as exc:
        raise BrokerUnreachable(f"{url} answers, but is no management API of RabbitMQ") from exc

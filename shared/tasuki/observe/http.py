"""A site's three pages: /healthz, /readyz and /metrics. No more of HTTP than that takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from tasuki.errors import SettingsError
from tasuki.observe.metrics import CONTENT_TYPE, Metrics

_PATIENCE_S = 5.0
Page = tuple[str, str, bytes]


def lacking(*, is_started: bool, is_up: bool) -> str:
    """Why a service is not ready, in a few words; empty if it is."""
    if not is_up:
        return "no connection to the broker"
    return "" if is_started else "it has not started yet"


class Pages:
    """What is answered."""

    def __init__(self, metrics: Metrics, *, lacks: Callable[[], str]) -> None:
        self._metrics = metrics
        self._lacks = lacks

    def page(self, path: str) -> Page:
        """What stands there; a query is refused, since there is nothing to ask."""
        match path:
            case _ if "?" in path:
                known = path.partition("?")[0]
                return (
                    "422 Unprocessable Content",
                    "text/plain",
                    f"{known} takes no query\n".encode(),
                )
            case "/healthz":
                return "200 OK", "text/plain", b"alive\n"
            case "/readyz" if why := self._lacks():
                return "503 Service Unavailable", "text/plain", f"not ready: {why}\n".encode()
            case "/readyz":
                return "200 OK", "text/plain", b"ready\n"
            case "/metrics":
                return "200 OK", CONTENT_TYPE, self._metrics.text()
        return "404 Not Found", "text/plain", b"/healthz /readyz /metrics\n"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, and goodbye."""
        with suppress(TimeoutError, ConnectionError, ValueError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, _, rest = (await reader.readline()).decode("latin-1").partition(" ")
        while (await reader.readline()).strip():
            pass  # no header matters here
        status, kind, body = self.page(rest.partition(" ")[0])
        if method not in {"GET", "HEAD"}:
            status, kind, body = "405 Method Not Allowed", "text/plain", b""
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        writer.write(head.encode("latin-1") + (b"" if method == "HEAD" else body))
        await writer.drain()


@asynccontextmanager
async def served(pages: Pages, host: str, port: int | None) -> AsyncIterator[None]:
    """Answer on this port, if there is one.

    Raises:
        SettingsError: it cannot be had.
    """
    if port is None:
        yield
        return
    try:
        server = await asyncio.start_server(pages.answer, host, port)
    except OSError as exc:
        raise SettingsError(f"[http] {host}:{port} cannot be used: {exc.strerror or exc}") from exc
    async with server:
        yield

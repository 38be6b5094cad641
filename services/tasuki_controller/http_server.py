"""Opens the operators' door on a port, for as long as the controller serves."""

from __future__ import annotations

import socket
from asyncio import CancelledError, Transport, create_task
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from tasuki.errors import SettingsError
from tasuki.installed import command_for
from tasuki.settings.controller import ControllerHttpTable
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.operations import Operations

if TYPE_CHECKING:
    import uvicorn

log = structlog.get_logger()

MOST_CONNECTIONS = 128
"""Each is an open file; a stranger must not take those that ledger and weights need."""

_HERE = ("127.", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What is behind it."""

    operations: Operations
    folder: DataFolder
    token: str = field(repr=False)
    is_ready: Callable[[], bool]
    lacks: Callable[[], str] = lambda: ""


@asynccontextmanager
async def opened(door: Door, http: ControllerHttpTable) -> AsyncIterator[None]:
    """Let operators in on this port, if there is one.

    Raises:
        SettingsError: it cannot be had, its certificate cannot be read, or the extra is missing.
    """
    if http.port is None:
        yield
        return
    server = _server(door, http)
    listening = _listen(http.host, http.port)
    serving = create_task(server.serve(sockets=[listening]))
    port = listening.getsockname()[1]
    log.info("door open", host=http.host, port=port, tls=http.cert is not None)
    if http.cert is None and not http.host.startswith(_HERE):
        log.warning("operators' tokens travel in clear text: give [http] cert and key")
    for path in http.secrets_of_all():
        log.warning("everyone on this machine can read a secret: chmod it to 600", path=str(path))
    try:
        yield
    finally:
        server.should_exit = True
        try:
            await serving
        except CancelledError:
            serving.cancel()
            raise


def _server(door: Door, http: ControllerHttpTable) -> uvicorn.Server:
    try:
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol

        from tasuki_controller.api import make_app
    except ImportError as exc:
        raise SettingsError(
            f"the controller's door needs {exc.name}: {command_for('controller')}"
        ) from exc

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # the service has its own

    class Connection(H11Protocol):
        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > MOST_CONNECTIONS:
                transport.close()

    config = uvicorn.Config(
        make_app(
            door.operations,
            door.folder,
            token=door.token,
            is_ready=door.is_ready,
            lacks=door.lacks,
        ),
        http=Connection,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
        ssl_certfile=http.cert,
        ssl_keyfile=http.key,
    )
    try:
        config.load()
    except OSError as exc:
        raise SettingsError(f"[http] cert and key cannot be used: {exc}") from exc
    return Server(config)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as exc:
        raise SettingsError(f"[http] {host}:{port} cannot be used: {exc.strerror or exc}") from exc

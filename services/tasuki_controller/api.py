"""The operators' door: the desk over HTTP, for those who know the token.

Starlette and uvicorn come with the extra `controller`; they are imported when the door opens.
Errors travel as `{"error": class, "message": text}`, so that a client ends with the same code.
"""

from __future__ import annotations

import hmac
import socket
from asyncio import CancelledError, create_task
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from tasuki import errors
from tasuki.core import run as machine
from tasuki.core.model import WeightsRef
from tasuki.errors import SettingsError, TasukiError
from tasuki.observe.metrics import CONTENT_TYPE
from tasuki.settings.run import RunFile
from tasuki.settings.toml import parse
from tasuki_controller import views
from tasuki_controller.checkpoints import BEST, LATEST
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.desk import Desk

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

log = structlog.get_logger()

MAX_RUN_FILE_BYTES = 2**20
BEAT_S = 10.0
STATUS: tuple[tuple[type[TasukiError], int], ...] = (
    (errors.RunExists, 409),
    (errors.UnknownRun, 404),
    (errors.SettingsError, 422),
    (errors.WeightsError, 422),
    (errors.DiskFull, 507),
)
STEERING: Mapping[str, Callable[[], machine.Event]] = {
    "pause": machine.PauseRequested,
    "resume": machine.ResumeRequested,
    "stop": machine.StopRequested,
}
Handler = Callable[["Request"], Awaitable["Response"]]


class Door:
    """The routes and what is behind each."""

    def __init__(
        self, desk: Desk, folder: DataFolder, *, token: str, is_ready: Callable[[], bool]
    ) -> None:
        self._desk = desk
        self._folder = folder
        self._token = token.encode()
        self._is_ready = is_ready

    def app(self) -> Starlette:
        from starlette.applications import Starlette
        from starlette.routing import Route

        operators: list[tuple[str, str, Handler]] = [
            ("POST", "/weights", self._upload),
            ("POST", "/runs", self._submit),
            ("GET", "/runs", self._runs),
            ("GET", "/runs/{run}", self._run),
            ("GET", "/runs/{run}/ledger", self._ledger),
            ("GET", "/runs/{run}/weights", self._weights),
            ("GET", "/runs/{run}/events", self._events),
            ("POST", "/runs/{run}/{what}", self._steer),
        ]
        pages: list[tuple[str, Handler]] = [
            ("/healthz", self._healthz),
            ("/readyz", self._readyz),
            ("/metrics", self._metrics),
        ]
        return Starlette(
            routes=[
                *(Route(path, page, methods=["GET"]) for path, page in pages),
                *(Route(path, self._kept(do), methods=[how]) for how, path, do in operators),
            ]
        )

    def _kept(self, handler: Handler) -> Handler:
        """Only for operators, and with our errors in words."""

        async def answer(request: Request) -> Response:
            if not self._knows(request):
                return _json({"error": "NotPermitted", "message": "this token is not ours"}, 401)
            if not self._is_ready():
                return _json({"error": "TransportError", "message": "not ready yet"}, 503)
            try:
                return await handler(request)
            except TasukiError as exc:
                status = next((code for kind, code in STATUS if isinstance(exc, kind)), 500)
                return _json({"error": type(exc).__name__, "message": str(exc)}, status)

        return answer

    def _knows(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_equal = hmac.compare_digest(given.strip().encode(), self._token)
        return scheme.lower() == "bearer" and is_equal

    # For operators.

    async def _upload(self, request: Request) -> Response:
        weights = await self._desk.uploads.receive(request.stream())
        return _json({"digest": weights.digest, "size": weights.size}, 201)

    async def _submit(self, request: Request) -> Response:
        run_file = parse(await _text(request), RunFile, name="the run file")
        state = self._desk.submit(run_file, _weights(request.query_params))
        return _json(views.run_row(state), 201)

    async def _runs(self, _: Request) -> Response:
        return _json({"runs": self._desk.runs()})

    async def _run(self, request: Request) -> Response:
        return _json(self._desk.standing(request.path_params["run"]))

    async def _ledger(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        run = request.path_params["run"]
        if request.query_params.get("verify") != "true":
            return _json({"run": run, "rows": self._desk.rows(run)})
        self._desk.state(run)
        rows, files = await run_in_threadpool(self._folder.verify, run)
        return _json({"run": run, "rows": rows, "checkpoints": files, "verified": True})

    async def _weights(self, request: Request) -> Response:
        from starlette.responses import FileResponse

        run = request.path_params["run"]
        self._desk.state(run)
        which = request.query_params.get("which", BEST)
        path = self._folder.checkpoint(run, (LATEST,) if which == LATEST else (BEST, LATEST))
        return FileResponse(path, filename=f"{run}-{path.name}")

    async def _events(self, request: Request) -> Response:
        from starlette.responses import StreamingResponse

        run = request.path_params["run"]
        self._desk.state(run)
        return StreamingResponse(self._told(run), media_type="text/event-stream")

    async def _told(self, run: str) -> AsyncIterator[str]:
        async for update in self._desk.follow(run, beat_s=BEAT_S):
            yield ": still here\n\n" if update is None else f"data: {views.dump_update(update)}\n\n"

    async def _steer(self, request: Request) -> Response:
        event = STEERING.get(request.path_params["what"])
        if event is None:
            return _json({"error": "SettingsError", "message": f"use {', '.join(STEERING)}"}, 404)
        return _json(self._desk.steer(request.path_params["run"], event()))

    # For machines.

    async def _healthz(self, _: Request) -> Response:
        return _plain("alive\n")

    async def _readyz(self, _: Request) -> Response:
        return _plain("ready\n") if self._is_ready() else _plain("not ready\n", 503)

    async def _metrics(self, _: Request) -> Response:
        return _plain(self._desk.metrics.text().decode(), kind=CONTENT_TYPE)


async def _text(request: Request) -> str:
    """A run file, which is small."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_RUN_FILE_BYTES:
            raise SettingsError(f"a run file has no more than {MAX_RUN_FILE_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise SettingsError(f"the run file is not UTF-8: {exc}") from exc


def _weights(query: Mapping[str, str]) -> WeightsRef:
    try:
        return WeightsRef(digest=query["digest"], size=int(query["size"]))
    except (KeyError, ValueError) as exc:
        raise SettingsError("say which weights: POST /runs?digest=...&size=...") from exc


def _json(content: Mapping[str, Any], status: int = 200) -> Response:  # Any: JSON
    from starlette.responses import JSONResponse

    return JSONResponse(dict(content), status)


def _plain(text: str, status: int = 200, *, kind: str = "text/plain") -> Response:
    from starlette.responses import Response

    return Response(text, status, headers={"content-type": kind})


@asynccontextmanager
async def opened(door: Door, host: str, port: int | None) -> AsyncIterator[None]:
    """Let operators in on this port, if there is one.

    Raises:
        SettingsError: it cannot be had, or the extra is not installed.
    """
    if port is None:
        yield
        return
    try:
        import uvicorn

        app = door.app()
    except ImportError as exc:
        raise SettingsError(
            f"the controller's door needs {exc.name}: pip install 'tasuki[controller]'"
        ) from exc

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # the service has its own

    listening = _listen(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2
    )
    server = Server(config)
    serving = create_task(server.serve(sockets=[listening]))
    log.info("door open", host=host, port=listening.getsockname()[1])
    try:
        yield
    finally:
        server.should_exit = True
        try:
            await serving
        except CancelledError:
            serving.cancel()
            raise


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host))
    except OSError as exc:
        raise SettingsError(f"[http] {host}:{port} cannot be used: {exc.strerror or exc}") from exc


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET

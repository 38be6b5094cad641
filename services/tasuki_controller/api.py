"""The operators' door: what they may ask, over HTTP, for those who know the token.

FastAPI comes with the extra `controller`; `http_server` imports this module when the door opens.
Errors travel as `{"error": class, "message": text}`, so that a client ends with the same code.
Weights are streamed in both directions: their size costs no memory.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

import tasuki
from tasuki.core import run as machine
from tasuki.core.model import MOST, WeightsRef
from tasuki.errors import NotPermitted, SettingsError, TransportError
from tasuki.observe.metrics import CONTENT_TYPE
from tasuki.settings.run import RunFile
from tasuki.settings.toml import parse
from tasuki_controller import documents
from tasuki_controller.checkpoints import BEST, LATEST, Kept
from tasuki_controller.data_folder import DataFolder, verified_ledger
from tasuki_controller.kept_rows import KeptRows
from tasuki_controller.live_updates import LiveUpdate
from tasuki_controller.operations import Operations
from tasuki_controller.refusals import (
    OPENAPI,
    Answers,
    explain_all,
    refusals,
    refuse_unknown_keys,
)

MAX_RUN_FILE_BYTES = 2**20
BEAT_S = 10.0
BEARER = HTTPBearer(auto_error=False, description="What the controller's token file holds.")
STEERING: Mapping[str, Callable[[], machine.Event]] = {
    "pause": machine.PauseRequested,
    "resume": machine.ResumeRequested,
    "stop": machine.StopRequested,
}


def make_app(
    operations: Operations,
    folder: DataFolder,
    *,
    token: str,
    is_ready: Callable[[], bool],
    lacks: Callable[[], str] = lambda: "",
) -> FastAPI:
    """Everything that a controller answers to.

    Args:
        is_ready: whether operators are let in.
        lacks: what keeps turns from going on, for whoever watches over the service; empty: nothing.
    """
    app = FastAPI(
        title="Tasuki controller",
        version=tasuki.__version__,
        summary="Submit, steer and read runs of cyclic weight transfer.",
        openapi_url=OPENAPI,
        docs_url=None,  # they load scripts from elsewhere, which a hospital's network refuses
        redoc_url=None,
    )
    explain_all(app)
    known = Depends(refuse_unknown_keys)
    app.include_router(_pages(operations, lacks=lacks), dependencies=[known])
    guard = Depends(_guard(token.encode(), is_ready=is_ready))
    may_come = refusals(401, 422, 503)
    routers = (
        _submitting(operations, folder),
        _recording(operations, folder),
        _reading(operations, folder),
        _steering(operations, folder),
    )
    for router in routers:
        app.include_router(router, dependencies=[guard, known], responses=may_come)
    return app


# Which of a run's weights.

Which = Annotated[
    Literal["best", "latest"] | None,
    Query(description="Without it the best, or the latest if none was chosen."),
]
RoundEnd = Annotated[
    int | None,
    Query(description="The end of this round, from 1; 0: what the run began with.", ge=0),
]


def _guard(token: bytes, *, is_ready: Callable[[], bool]) -> Callable[..., None]:
    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        known = b"" if given is None else given.credentials.strip().encode()
        if not hmac.compare_digest(known, token):
            raise NotPermitted(
                "the controller does not know this token; the kit for operators has the right one"
            )
        if not is_ready():
            raise TransportError("not ready yet")

    return check


# Starting a run.


def _submitting(operations: Operations, folder: DataFolder) -> APIRouter:
    router = APIRouter(tags=["submit"])

    @router.post(
        "/weights",
        status_code=201,
        summary="Upload a run's first weights, streamed",
        responses=refusals(422, 507),
        openapi_extra=_body("application/octet-stream", "A safetensors container of any size."),
    )
    async def upload(request: Request) -> documents.UploadedWeights:
        weights = await operations.uploads.receive(request.stream())
        return documents.UploadedWeights(digest=weights.digest, size=weights.size)

    @router.post(
        "/runs",
        status_code=201,
        summary="Start a run from uploaded weights, or from those of another run",
        responses=refusals(404, 409, 410, 422, 500, 507),
        openapi_extra=_body("application/toml", "The run file, run.toml."),
    )
    async def submit(
        request: Request,
        digest: Annotated[
            str | None,
            Query(description="Of the uploaded weights; none if they are another run's."),
        ] = None,
        size: Annotated[
            int | None, Query(description="Of the uploaded weights, in bytes.", ge=0)
        ] = None,
    ) -> documents.RunRow:
        run_file = parse(await _text(request), RunFile, name="the run file")
        wanted, weights = run_file.weights.of_run, _weights(digest, size)
        if wanted is None and weights is not None:
            return documents.run_row(operations.submit(run_file, weights))
        if wanted is None or weights is not None:
            raise SettingsError(
                "give digest and size of uploaded weights, or [weights] initial of another run"
            )
        operations.state(wanted.run)
        kept = await run_in_threadpool(folder.weights_of, wanted)
        return documents.run_row(await operations.submit_from(run_file, wanted.run, kept))

    return router


# Reading.


def _recording(operations: Operations, folder: DataFolder) -> APIRouter:
    router = APIRouter(tags=["read"], responses=refusals(404, 410, 422, 500))

    @router.get("/runs/{run}/ledger", summary="A run's record, or the proof that it is whole")
    async def ledger(
        run: str,
        verify: Annotated[bool, Query(description="Check chain and checkpoints.")] = False,
    ) -> documents.Ledger | documents.VerifiedLedger:
        if not verify:
            return documents.Ledger(run=run, rows=await operations.rows(run))
        operations.state(run)
        found = await run_in_threadpool(folder.verify, run)
        return verified_ledger(run, found)

    @router.get("/runs/{run}/ledger/rows", summary="A run's rows as they were written, in pages")
    async def kept_rows(
        run: str,
        after: Annotated[int, Query(description="The number of a row.", ge=0, le=MOST)] = 0,
    ) -> KeptRows:
        return operations.kept_rows(run, after=after)

    return router


def _reading(operations: Operations, folder: DataFolder) -> APIRouter:
    router = APIRouter(tags=["read"], responses=refusals(404, 410, 422, 500))

    @router.get("/runs", summary="List the runs")
    async def runs(
        all: Annotated[bool, Query(description="Those too that were removed.")] = False,
    ) -> documents.RunList:
        return documents.RunList(runs=operations.runs(even_removed=all))

    @router.get("/runs/{run}", summary="Where a run stands")
    async def standing(run: str) -> documents.Standing:
        return await operations.standing(run)

    @router.get("/runs/{run}/plan", summary="What is run, and what it began with")
    async def plan(run: str) -> documents.SubmittedRun:
        return operations.submitted(run)

    @router.get("/runs/{run}/turns", summary="Every turn of a run, with all that its site reported")
    async def turns(run: str) -> documents.TurnTable:
        return await operations.turns(run)

    @router.get("/runs/{run}/scores", summary="What sites say of a run's weights")
    async def scores(
        run: str,
        metric: Annotated[str | None, Query(description="This one; else all.")] = None,
        mode: Annotated[
            Literal["max", "min"] | None, Query(description="Whether more or less is better.")
        ] = None,
    ) -> documents.Scores:
        return await operations.scores(run, metric=metric, mode=mode)

    @router.get(
        "/runs/{run}/weights",
        summary="A checkpoint's weights, streamed",
        response_class=FileResponse,
        responses=_content("application/octet-stream", "A safetensors container."),
    )
    async def weights(
        run: str,
        which: Which = None,
        round: RoundEnd = None,
    ) -> Response:
        operations.state(run)
        kept = _chosen(folder, run, which=which, round=round)
        said = {"Tasuki-Round": str(kept.round), "Tasuki-Name": kept.name}
        return FileResponse(kept.path, filename=f"{run}-{kept.path.name}", headers=said)

    @router.get(
        "/runs/{run}/events",
        summary="What happens to a run until it is over, as server-sent events",
        response_class=StreamingResponse,
        responses=_content("text/event-stream", "Each event: kind, what, outcome, state."),
    )
    async def events(run: str) -> Response:
        operations.state(run)
        return StreamingResponse(_told(operations, run), media_type="text/event-stream")

    return router


def _chosen(folder: DataFolder, run: str, *, which: str | None, round: int | None) -> Kept:
    if round is None:
        return folder.checkpoint(run, (BEST, LATEST) if which is None else (which,))
    if which is not None:
        raise SettingsError("give which or round: they name different weights")
    return folder.checkpoint_of(run, round)


async def _told(operations: Operations, run: str) -> AsyncIterator[str]:
    async for update in operations.follow(run, beat_s=BEAT_S):
        said = ": still here" if update is None else f"data: {LiveUpdate.of(update).line()}"
        yield f"{said}\n\n"


# Steering.


def _steering(operations: Operations, folder: DataFolder) -> APIRouter:
    router = APIRouter(tags=["steer"], responses=refusals(404, 422, 507))

    @router.post(
        "/roster",
        summary="Go by a newer roster, and tell every site",
        openapi_extra=_body("application/x-pem-file", "The roster, as the authority signed it."),
    )
    async def take_roster(request: Request) -> documents.TakenRoster:
        return operations.take_roster(await _text(request, what="roster"))

    @router.post(
        "/runs/{run}/rounds/{rounds}",
        summary="Let a run have so many rounds in all, be it finished",
        responses=refusals(409, 410, 500),
    )
    async def extend(run: str, rounds: Annotated[int, Path(ge=1, le=MOST)]) -> documents.SteeredRun:
        return operations.extend(run, rounds)

    @router.post(
        "/runs/{run}/evaluations",
        status_code=201,
        summary="Let all sites score the same weights, be it that the run is over",
        responses=refusals(409, 410, 507),
    )
    async def evaluate(
        run: str,
        which: Which = None,
        round: RoundEnd = None,
        digest: Annotated[str | None, Query(description="Of uploaded weights.")] = None,
        size: Annotated[
            int | None, Query(description="Of uploaded weights, in bytes.", ge=0)
        ] = None,
        split: Annotated[
            str | None,
            Query(description="The data to score on; else as the run says.", max_length=256),
        ] = None,
    ) -> documents.AskedEvaluation:
        state = operations.state(run)
        own = state.plan.evaluate.split if state.plan.evaluate else ""
        wanted, uploaded = own if split is None else split, _weights(digest, size)
        if uploaded is not None:
            if which is not None or round is not None:
                raise SettingsError("give uploaded weights or a checkpoint's, not both")
            return operations.evaluate_uploaded(run, uploaded, split=wanted)
        kept = await run_in_threadpool(partial(_chosen, folder, run, which=which, round=round))
        return await operations.evaluate(run, kept, split=wanted)

    @router.delete(
        "/runs/{run}",
        summary="Remove the weights of a run that is over; its ledger stays",
        responses=refusals(409),
    )
    async def remove(run: str) -> documents.RemovedRun:
        operations.state(run)
        freed = await run_in_threadpool(folder.checkpoints(run).size)
        return documents.RemovedRun(**dict(await operations.remove(run)), freed=freed)

    @router.post(
        "/runs/{run}/sites/{site}",
        summary="Let one more site take part, from the next round on",
    )
    async def add_site(run: str, site: str) -> documents.SteeredRun:
        return operations.add_site(run, site)

    @router.post(
        "/runs/{run}/{what}",
        summary="Pause a run when its round ends, go on with it, or end it now",
    )
    async def steer(run: str, what: Literal["pause", "resume", "stop"]) -> documents.SteeredRun:
        return operations.steer(run, STEERING[what]())

    return router


# For machines: no token, nothing that a run's members would not show.


def _pages(operations: Operations, *, lacks: Callable[[], str]) -> APIRouter:
    router = APIRouter(tags=["machines"])

    @router.get("/healthz", summary="Whether the process answers", response_class=PlainTextResponse)
    async def healthz() -> Response:
        return _plain("alive\n")

    @router.get(
        "/readyz",
        summary="Whether turns go on: it has started and reaches the broker",
        response_class=PlainTextResponse,
        responses={503: {"description": "no; the text says why"}},
    )
    async def readyz() -> Response:
        why = lacks()
        return _plain(f"not ready: {why}\n", 503) if why else _plain("ready\n")

    @router.get("/metrics", summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return _plain(operations.metrics.text().decode(), kind=CONTENT_TYPE)

    return router


# Bodies.


def _content(kind: str, meaning: str) -> Answers:
    return {200: {"description": meaning, "content": {kind: {}}}}


def _body(kind: str, meaning: str) -> dict[str, Any]:  # Any: OpenAPI
    schema = {"type": "string", "format": "binary"}
    content = {kind: {"schema": schema}}
    return {"requestBody": {"required": True, "description": meaning, "content": content}}


async def _text(request: Request, *, what: str = "run file") -> str:
    """A file that is small."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_RUN_FILE_BYTES:
            raise SettingsError(f"a {what} has no more than {MAX_RUN_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise SettingsError(f"the {what} is not UTF-8: {exc}") from exc


def _weights(digest: str | None, size: int | None) -> WeightsRef | None:
    if digest is None and size is None:
        return None
    if digest is None or size is None:
        raise SettingsError("digest and size of uploaded weights go together")
    try:
        return WeightsRef(digest=digest, size=size)
    except ValueError as exc:
        raise SettingsError(f"no such weights: {exc}") from exc


def _plain(text: str, status: int = 200, *, kind: str = "text/plain") -> Response:
    return Response(text, status, headers={"content-type": kind})

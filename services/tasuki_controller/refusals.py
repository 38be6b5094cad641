"""What the controller's HTTP interface refuses, and the one form in which it says so.

`{"error": class, "message": text}`, whoever found the mistake: we, FastAPI or the server below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from tasuki import errors
from tasuki.errors import SettingsError, TasukiError
from tasuki_controller import documents

OPENAPI = "/openapi.json"
STATUS: tuple[tuple[type[TasukiError], int], ...] = (
    (errors.NotPermitted, 401),
    (errors.UnknownRun, 404),
    (errors.WeightsRemoved, 410),
    (errors.RunExists, 409),
    (errors.NotExtended, 409),
    (errors.RunUnderWay, 409),
    (errors.SettingsError, 422),
    (errors.WeightsError, 422),
    (errors.LedgerBroken, 500),
    (errors.StorageError, 507),
    (errors.TransportError, 503),
)
_MEANING: Mapping[int, str] = {
    401: "the token is missing or wrong",
    404: "there is no such run",
    409: "the name is taken, or the run stands as that cannot be done to it",
    410: "the run was removed with its weights",
    422: "the request is wrong; the message says how",
    500: "the ledger, or a checkpoint, is not what was recorded",
    503: "the controller is not ready yet",
    507: "the controller's disk is full, or fails",
}
Answers = dict[int | str, dict[str, Any]]  # Any: OpenAPI


def refusals(*codes: int) -> Answers:
    """How OpenAPI describes these."""
    return {code: {"model": documents.Problem, "description": _MEANING[code]} for code in codes}


def explain_all(app: FastAPI) -> None:
    """Answer whatever goes wrong in this form."""
    app.add_exception_handler(TasukiError, _explain)
    app.add_exception_handler(RequestValidationError, _explain_request)
    app.add_exception_handler(HTTPException, _explain_address)
    app.add_exception_handler(Exception, _explain_bug)


def refuse_unknown_keys(request: Request) -> None:
    """What a request asks for and nobody knows is told, not left out.

    Raises:
        SettingsError: the query has a key that is not known here, or has one twice.
    """
    route = request.scope["route"]
    asked = route.dependant.query_params if isinstance(route, APIRoute) else ()
    known = [field.alias for field in asked]
    given = [key for key, _ in request.query_params.multi_items()]
    for key in given:
        if key not in known:
            there = f"known here: {', '.join(known)}" if known else "none is known here"
            raise SettingsError(f"unknown query key {key!r}; {there}")
        if given.count(key) > 1:
            raise SettingsError(f"query key {key!r} is there twice")


def _explain(_: Request, exc: Exception) -> Response:
    status = next((code for kind, code in STATUS if isinstance(exc, kind)), 500)
    return _problem(type(exc), str(exc), status)


def _explain_request(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - it was registered for these
    wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
    return _problem(SettingsError, wrong, 422)


def _explain_address(request: Request, exc: Exception) -> Response:
    """No such page, or not with this method."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - it was registered for these
    said = f"there is no {request.method} {request.url.path}; {OPENAPI} describes what there is"
    return _problem(SettingsError, said, exc.status_code, headers=exc.headers)


def _explain_bug(_: Request, exc: Exception) -> Response:
    """It is raised once more behind this answer, so that the log has it whole."""
    said = (
        f"the controller failed at this ({type(exc).__name__}); its log has more. Please report it"
    )
    return _problem(TasukiError, said, 500)


def _problem(
    kind: type[Exception], message: str, status: int, *, headers: Mapping[str, str] | None = None
) -> Response:
    content = {"error": kind.__name__, "message": message}
    return JSONResponse(content, status, headers=dict(headers or {}))

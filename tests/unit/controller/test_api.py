"""The controller's HTTP interface says in OpenAPI, and in docs/api.md, what it does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tasuki.ledger.sqlite import SqliteLedger
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Subject
from tasuki.transport.amqp import Counters
from tasuki_controller import documents
from tasuki_controller.api import OPENAPI, STATUS, make_app
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.desk import Desk
from tasuki_controller.uploads import Uploads

API = (Path(__file__).parents[3] / "docs/api.md").read_text()
ROW = re.compile(r"^\| `(GET|POST) (/\S*)` \| ([^|]+) \|", re.MULTILINE)
TOKEN = "t"  # noqa: S105 - no secret
FOR_MACHINES = {"/healthz", "/readyz", "/metrics"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    """Of a controller whose service is never asked."""
    folder = DataFolder(tmp_path)
    subject = Subject(
        service="controller", counters=Counters(), is_up=lambda: True, folder=tmp_path
    )
    desk = Desk(
        ledger=SqliteLedger(folder.ledger_path),
        uploads=Uploads(tmp_path / "uploads"),
        metrics=ControllerMetrics(subject),
        stream_bytes=1,
    )
    yield make_app(desk, folder, token=TOKEN, is_ready=lambda: True)
    desk.ledger.close()


@pytest.fixture
def described(app: FastAPI) -> dict[str, Any]:  # Any: OpenAPI
    found: dict[str, Any] = app.openapi()
    return found


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, what)
        for path, methods in described["paths"].items()
        for method, what in methods.items()
    ]


def test_the_page_lists_what_there_is(described: dict[str, Any]) -> None:
    listed = {(how, path): summary.strip() for how, path, summary in ROW.findall(API)}
    there = {(how, path): what["summary"] for how, path, what in operations(described)}
    assert there == listed
    assert OPENAPI in API


def test_operators_show_their_token_everywhere(described: dict[str, Any]) -> None:
    (scheme,) = described["components"]["securitySchemes"].items()
    assert (scheme[1]["type"], scheme[1]["scheme"]) == ("http", "bearer")
    for _, path, what in operations(described):
        assert (path in FOR_MACHINES) == ("security" not in what), path


def test_every_refusal_is_documented_with_its_shape(described: dict[str, Any]) -> None:
    known = {str(code) for _, code in STATUS}
    for _, path, what in operations(described):
        refusals = {code for code in what["responses"] if code.startswith(("4", "5"))}
        if path in FOR_MACHINES:
            continue
        assert {"401", "503"} <= refusals <= known, path
        for code in refusals:
            content = what["responses"][code]["content"]["application/json"]
            assert content["schema"]["$ref"].endswith(f"/{documents.Problem.__name__}")


def test_what_is_asked_and_answered_has_a_described_form(described: dict[str, Any]) -> None:
    for how, path, what in operations(described):
        success = what["responses"].get("200") or what["responses"]["201"]
        assert success.get("content"), path
        if (how, path) in {("POST", "/weights"), ("POST", "/runs")}:
            assert what["requestBody"]["required"] is True


RUN_FILE = 'name = "a"\ntrainer = "t"\nsites = {sites}\n{top}\n[weights]\ninitial = "x:y"\n'
HOSTILE = {
    "a site whose name leads elsewhere": ('["../x", "y"]', ""),
    "a site that is there twice": ('["y", "y"]', ""),
    "a site called as the controller": ('["controller", "y"]', ""),
    "a number without end": ('["x", "y"]', "seed = " + "9" * 5000),
    "a nest without end": ('["x", "y"]', "x = " + "[" * 20_000),
}


async def submit(app: FastAPI, run_file: str) -> httpx.Response:
    door = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=door, base_url="http://controller") as client:
        return await client.post(
            "/runs",
            params={"digest": "blake3:" + "0" * 64, "size": 1},
            content=run_file,
            headers={"Authorization": f"Bearer {TOKEN}"},
        )


@pytest.mark.parametrize("what", HOSTILE)
def test_a_run_file_of_whatever_kind_is_answered_in_words(app: FastAPI, what: str) -> None:
    """Bug: these were answered by 500, with a traceback in the controller's log."""
    sites, top = HOSTILE[what]
    answer = asyncio.run(submit(app, RUN_FILE.format(sites=sites, top=top)))
    assert (answer.status_code, answer.json()["error"]) == (422, "SettingsError")

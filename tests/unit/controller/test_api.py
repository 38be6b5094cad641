"""The controller's HTTP interface says in OpenAPI, and in docs/api.md, what it does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

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
FOR_MACHINES = {"/healthz", "/readyz", "/metrics"}


@pytest.fixture
def described(tmp_path: Path) -> dict[str, Any]:  # Any: OpenAPI
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
    app = make_app(desk, folder, token="t", is_ready=lambda: True)  # noqa: S106 - no secret
    found: dict[str, Any] = app.openapi()
    desk.ledger.close()
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

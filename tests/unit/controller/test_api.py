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

from tasuki.errors import DiskFull, LedgerBroken, StorageError, TasukiError
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Subject
from tasuki.transport.amqp import Counters
from tasuki_controller import documents
from tasuki_controller.api import make_app
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.operations import Operations
from tasuki_controller.refusals import OPENAPI, STATUS
from tasuki_controller.uploads import Uploads

API = (Path(__file__).parents[3] / "docs/api.md").read_text()
ROW = re.compile(r"^\| `(GET|POST|DELETE) (/\S*)` \| ([^|]+) \|", re.MULTILINE)
TOKEN = "t"  # noqa: S105 - no secret
FOR_MACHINES = {"/healthz", "/readyz", "/metrics"}


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[Operations]:
    """Of a controller whose service is never asked."""
    folder = DataFolder(tmp_path)
    subject = Subject(
        service="controller", counters=Counters(), is_up=lambda: True, folder=tmp_path
    )
    operations = Operations(
        ledger=SqliteLedger(folder.ledger_path),
        uploads=Uploads(tmp_path / "uploads"),
        metrics=ControllerMetrics(subject),
        stream_bytes=1,
    )
    yield operations
    operations.ledger.close()


@pytest.fixture
def app(operations: Operations, tmp_path: Path) -> FastAPI:
    return make_app(operations, DataFolder(tmp_path), token=TOKEN, is_ready=lambda: True)


@pytest.fixture
def described(app: FastAPI) -> dict[str, Any]:  # Any: OpenAPI
    found: dict[str, Any] = app.openapi()
    return found


def described_operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, what)
        for path, methods in described["paths"].items()
        for method, what in methods.items()
    ]


def test_the_page_lists_what_there_is(described: dict[str, Any]) -> None:
    listed = {(how, path): summary.strip() for how, path, summary in ROW.findall(API)}
    there = {(how, path): what["summary"] for how, path, what in described_operations(described)}
    assert there == listed
    assert OPENAPI in API


def test_operators_show_their_token_everywhere(described: dict[str, Any]) -> None:
    (scheme,) = described["components"]["securitySchemes"].items()
    assert (scheme[1]["type"], scheme[1]["scheme"]) == ("http", "bearer")
    for _, path, what in described_operations(described):
        assert (path in FOR_MACHINES) == ("security" not in what), path


def test_every_refusal_is_documented_with_its_shape(described: dict[str, Any]) -> None:
    known = {str(code) for _, code in STATUS}
    for _, path, what in described_operations(described):
        refusals = {code for code in what["responses"] if code.startswith(("4", "5"))}
        if path in FOR_MACHINES:
            continue
        assert {"401", "422", "503"} <= refusals <= known, path
        for code in refusals:
            content = what["responses"][code]["content"]["application/json"]
            assert content["schema"]["$ref"].endswith(f"/{documents.Problem.__name__}")


def test_what_is_asked_and_answered_has_a_described_form(described: dict[str, Any]) -> None:
    for how, path, what in described_operations(described):
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


def ask(app: FastAPI, method: str, path: str, *, content: str = "") -> httpx.Response:
    """One request of an operator's."""

    async def asked() -> httpx.Response:
        door = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=door, base_url="http://controller") as client:
            shown = {"Authorization": f"Bearer {TOKEN}"}
            return await client.request(method, path, content=content, headers=shown)

    return asyncio.run(asked())


@pytest.mark.parametrize("what", HOSTILE)
def test_a_run_file_of_whatever_kind_is_answered_in_words(app: FastAPI, what: str) -> None:
    """Bug: these were answered by 500, with a traceback in the controller's log."""
    sites, top = HOSTILE[what]
    path = "/runs?size=1&digest=blake3:" + "0" * 64
    answer = ask(app, "POST", path, content=RUN_FILE.format(sites=sites, top=top))
    assert (answer.status_code, answer.json()["error"]) == (422, "SettingsError")


def test_a_query_key_that_nobody_knows_is_refused_everywhere(
    app: FastAPI, described: dict[str, Any]
) -> None:
    """Bug: `?round=5` was left out, and other weights came without a word."""
    for how, path, _ in described_operations(described):
        answer = ask(app, how, f"{path.replace('{what}', 'stop')}?rounds=5")
        assert (422, "SettingsError") == (answer.status_code, answer.json()["error"]), path
        assert "unknown query key 'rounds'" in answer.json()["message"]


def test_a_query_key_that_is_there_twice_is_refused(app: FastAPI) -> None:
    answer = ask(app, "GET", "/runs/r/weights?round=1&round=2")
    assert (422, True) == (answer.status_code, "twice" in answer.json()["message"])


@pytest.mark.parametrize("query", ["round=-1", "round=last", "which=newest"])
def test_weights_that_cannot_be_named_so_are_refused(app: FastAPI, query: str) -> None:
    answer = ask(app, "GET", f"/runs/r/weights?{query}")
    assert (422, "SettingsError") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize(
    ("how", "path", "status"),
    [("GET", "/", 404), ("DELETE", "/runs", 405), ("POST", "/healthz", 405), ("GET", "/x", 404)],
)
def test_what_there_is_not_is_refused_in_the_same_form(
    app: FastAPI, how: str, path: str, status: int
) -> None:
    answer = ask(app, how, path)
    assert (status, {"error", "message"}) == (answer.status_code, set(answer.json()))
    assert f"there is no {how} {path}" in answer.json()["message"]
    assert ("allow" in answer.headers) == (status == 405)


def test_a_bug_of_the_controller_s_is_told_in_the_same_form(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Operations) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(Operations, "runs", fail)
    answer = ask(app, "GET", "/runs")
    assert (500, "TasukiError") == (answer.status_code, answer.json()["error"])
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("kind", "status"), [(StorageError, 507), (DiskFull, 507), (LedgerBroken, 500)]
)
def test_what_the_disk_does_is_told_by_a_status_that_is_documented(
    app: FastAPI, kind: type[TasukiError], status: int
) -> None:
    """Bug: of these only a full disk was."""

    def fail(_: Operations, run: str) -> None:
        raise kind(f"of {run}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Operations, "state", fail)
        answer = ask(app, "DELETE", "/runs/r")
    assert (status, kind.__name__) == (answer.status_code, answer.json()["error"])
    assert "of r" == answer.json()["message"]
    assert status in dict(STATUS).values()


def test_a_controller_without_its_broker_is_not_ready_and_says_so(operations: Operations) -> None:
    """Bug: it was ready for ever once it had started."""
    lacks = [""]
    app = make_app(
        operations,
        DataFolder(Path()),
        token=TOKEN,
        is_ready=lambda: True,
        lacks=lambda: lacks[0],
    )
    assert 200 == ask(app, "GET", "/readyz").status_code
    lacks[0] = "no connection to the broker"
    answer = ask(app, "GET", "/readyz")
    assert (503, "not ready: no connection to the broker\n") == (answer.status_code, answer.text)

"""The documentation says what the code does."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.relay import relay
from support.waiting import until
from tasuki import errors
from tasuki.core.model import CONTROLLER, Task
from tasuki.core.order import Situation
from tasuki.errors import GateRejected, TasukiError
from tasuki.wire.messages import MESSAGES
from tasuki_site import gate
from tasuki_site.trainer.result import Outcome

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
PROTOCOL = (ROOT / "docs/protocol.md").read_text()
PAGES = sorted(
    page
    for folder in (".", "docs/**", "examples/**", "compose/**")
    for page in ROOT.glob(f"{folder}/*.md")
)
ERRORS = sorted(
    (
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, TasukiError)
    ),
    key=lambda kind: kind.exit_code,
)
HEADING = re.compile(r"^### (\d+) (\w+)$", re.MULTILINE)
SECTIONS = {(int(code), name) for code, name in HEADING.findall(OPERATIONS)}


def test_the_state_diagrams_are_those_of_the_machines() -> None:
    script = ROOT / "docs/make_state_diagrams.py"

    done = subprocess.run(
        [sys.executable, script, "--check"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_exit_codes_are_unique() -> None:
    codes = Counter(kind.exit_code for kind in ERRORS)

    assert {code for code, times in codes.items() if times > 1} == set()


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_has_an_exit_code_of_its_own(kind: type[TasukiError]) -> None:
    assert "exit_code" in vars(kind)
    assert 0 < kind.exit_code < 126  # from there on codes belong to the shell


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_has_a_sentence_for_the_operator(kind: type[TasukiError]) -> None:
    assert str(kind()) == inspect.cleandoc(vars(kind)["__doc__"])
    assert str(kind()).endswith(".")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_has_a_section_that_says_what_to_do(kind: type[TasukiError]) -> None:
    assert (kind.exit_code, kind.__name__) in SECTIONS


def test_no_section_is_about_an_error_that_is_gone() -> None:
    assert {(kind.exit_code, kind.__name__) for kind in ERRORS} == SECTIONS


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_the_tree_in_the_module_has_every_error(kind: type[TasukiError]) -> None:
    assert re.search(rf"\b{kind.__name__}\b", errors.__doc__ or "")


@pytest.mark.parametrize("name", sorted(name for name in MESSAGES if "." not in name))
def test_a_message_has_a_row_in_the_protocol(name: str) -> None:
    assert f"| `{name}` |" in PROTOCOL


def shown_by_contributing(what: str) -> dict[str, Any]:  # Any: what a module holds
    """The one module on that page that has this."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if what in code]
    shown: dict[str, Any] = {"__name__": "shown"}  # Any: what a module holds
    exec(code, shown)  # noqa: S102 - our own page's
    return shown


def test_the_follower_that_contributing_shows_is_one(tmp_path: Path) -> None:
    """Added by one file and one line, and started again in the middle of a run."""
    make = shown_by_contributing("class Rounds(")["Rounds"]

    async def run() -> None:
        async with relay(tmp_path, {"rounds": 3}, followers=[make()]) as it:
            it.submit()
            await it.until(lambda state: state.round == 1)
            await it.stop(CONTROLLER)
            it.followers = [make()]
            await it.start_controller()
            await it.until_over()
            newest = it.ledger.newest()
            await until(lambda: it.ledger.position("rounds") == newest, what="it has followed")

    with capture_logs() as said:
        asyncio.run(run())
    assert [1, 2, 3] == [line["round"] for line in said if line["event"] == "round over"]


def test_the_order_policy_that_contributing_shows_is_one() -> None:
    shown = shown_by_contributing("def order(")
    rounds = [
        shown["order"](Situation(seed=1, round=round, sites=("a", "b", "c"))) for round in range(3)
    ]
    assert rounds == [("a", "b", "c"), ("c", "b", "a"), ("a", "b", "c")]


def test_the_gate_check_that_contributing_shows_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Added by one file and one line: the gate lets nothing through that it refuses."""
    shown = shown_by_contributing("def check(")
    monkeypatch.setattr(gate, "CHECKS", (shown["check"],))
    weights = tmp_path / "weights"
    for samples, passes in ((3, True), (0, False)):
        outcome = Outcome(digest="blake3:0", size=0, samples=samples, metrics={})
        candidate = gate.Candidate(
            task=Task(trainer="t"), received=weights, result=weights, outcome=outcome
        )
        with nullcontext() if passes else pytest.raises(GateRejected, match="samples=len"):
            gate.check(candidate)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    inside = [target for target in targets if "://" not in target]

    assert [target for target in inside if not _leads_somewhere(page, target)] == []


def _leads_somewhere(page: Path, target: str) -> bool:
    path, hash_sign, anchor = target.partition("#")
    aim = page.parent / path if path else page
    return aim.exists() and (not hash_sign or anchor in _anchors(aim))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

"""Alerts fire when they should and only then, and each leads to a runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.promql import (
    PROMETHEUS,
    ROOT,
    Promtool,
    alerts,
    known_series,
    labels_in,
    labels_of,
    rules,
    series_in,
)
from tasuki.observe.catalogue import REASONS_OF

CASES = sorted((Path(__file__).parent / "rules").glob("*.yml"))
ALERTS = alerts()
EXPRESSIONS = {rule.get("alert") or rule["record"]: str(rule["expr"]) for rule in rules()}
PAGE = "docs/operations.md"
QUESTIONS: list[dict[str, Any]] = [
    question
    for file in CASES
    for test in yaml.safe_load(file.read_text())["tests"]
    for question in test["promql_expr_test"]
    if "ALERTS" in question["expr"]
]


def asked(of: str, *, firing: bool) -> bool:
    """Whether a case asks for this alert and expects that it fires, or that it does not."""
    return any(
        re.search(_pattern(question["expr"]), of) and bool(_about(question, of)) is firing
        for question in QUESTIONS
    )


def _pattern(expr: str) -> str:
    found = re.search(r'alertname=~?"([^"]*)"', expr)
    return f"^({found[1]})$" if found else "^$"


def _about(question: dict[str, Any], alert: str) -> list[object]:
    """The expected samples; of a question about several alerts, those of this one."""
    samples = question["exp_samples"]
    named = [sample for sample in samples if "alertname=" in sample["labels"]]
    return [sample for sample in named if f'"{alert}"' in sample["labels"]] if named else samples


def test_prometheus_takes_its_configuration_and_every_rule(promtool: Promtool) -> None:
    done = promtool("check", "config", PROMETHEUS / "prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(promtool: Promtool, cases: Path) -> None:
    done = promtool("test", "rules", cases)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    assert asked(alert, firing=True)
    assert asked(alert, firing=False)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_it_is_and_what_to_do(alert: str) -> None:
    annotations = ALERTS[alert]["annotations"]
    page, _, anchor = annotations["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / PAGE).read_text(), re.MULTILINE)

    assert ALERTS[alert]["labels"]["severity"] in {"warning", "critical"}
    assert annotations["summary"]
    assert annotations["description"]
    assert (PAGE, alert.lower()) == (page, anchor)
    assert alert in headings


def test_no_runbook_is_about_an_alert_that_is_gone() -> None:
    headings = re.findall(r"^### (Tasuki[A-Z]\w+)$", (ROOT / PAGE).read_text(), re.MULTILINE)

    assert sorted(ALERTS) == sorted(set(headings) - {"TasukiError"})


@pytest.mark.parametrize("rule", EXPRESSIONS)
def test_a_rule_asks_for_series_that_there_are(rule: str) -> None:
    expr = EXPRESSIONS[rule]

    assert series_in(expr) - known_series() == set()
    assert [(name, label) for name, label in labels_in(expr) if label not in labels_of(name)] == []


def test_refusals_are_asked_for_by_reasons_that_there_are() -> None:
    asked_for = re.search(r'reason=~"([^"]+)"', EXPRESSIONS["TasukiMessagesRefused"])

    assert asked_for is not None
    assert set(asked_for[1].split("|")) - set().union(*REASONS_OF.values()) == set()


@pytest.mark.parametrize("rule", EXPRESSIONS)
def test_a_rule_counts_nothing_twice_where_sites_are_scraped_too(rule: str) -> None:
    """What a site shows by itself, the controller shows as well."""
    selectors = re.findall(r"\btasuki_\w+\b(\{[^}]*\})?", EXPRESSIONS[rule])

    assert [selector for selector in selectors if 'job="tasuki-' not in selector] == []

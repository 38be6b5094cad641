"""Dashboards ask for what there is, and say what they show."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.promql import GRAFANA, Promtool, known_series, labels_in, labels_of, series_in

FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
DASHBOARDS: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text()) for file in FILES}
PANELS = {
    f"{name}: {panel['title']}": panel
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
}
QUERIES = [(name, target["expr"]) for name, panel in PANELS.items() for target in panel["targets"]]
SOURCE = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
UID = SOURCE["datasources"][0]["uid"]


def test_the_dashboards_are_those_of_their_descriptions() -> None:
    script = GRAFANA / "make_dashboards.py"

    done = subprocess.run(
        [sys.executable, script, "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_there_are_three_dashboards_and_each_is_another() -> None:
    uids = Counter(dashboard["uid"] for dashboard in DASHBOARDS.values())

    assert sorted(DASHBOARDS) == ["broker", "federation", "site"]
    assert set(uids.values()) == {1}


def test_no_two_panels_of_a_dashboard_have_the_same_title() -> None:
    total = sum(
        panel["type"] != "row" for dashboard in DASHBOARDS.values() for panel in dashboard["panels"]
    )

    assert total == len(PANELS)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_whom_it_asks(panel: str) -> None:
    shown = PANELS[panel]

    assert shown["title"]
    assert shown["description"]
    assert shown["targets"]
    assert {UID} == {each["datasource"]["uid"] for each in (shown, *shown["targets"])}


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_panels_neither_overlap_nor_leave_the_page(dashboard: str) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in DASHBOARDS[dashboard]["panels"]:
        at = panel["gridPos"]
        taken.update(
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        )

    assert max(taken.values()) == 1
    assert max(x for x, _ in taken) < 24


@pytest.mark.parametrize(("panel", "expr"), QUERIES)
def test_a_panel_asks_for_series_that_there_are(panel: str, expr: str) -> None:
    assert series_in(expr) - known_series() == set()
    assert [(name, label) for name, label in labels_in(expr) if label not in labels_of(name)] == []


@pytest.mark.parametrize(("panel", "expr"), QUERIES)
def test_a_panel_counts_nothing_twice_where_sites_are_scraped_too(panel: str, expr: str) -> None:
    selectors = re.findall(r"\btasuki_\w+\b(\{[^}]*\})?", expr)

    assert [selector for selector in selectors if 'job="tasuki-' not in selector] == []


def test_prometheus_understands_every_question(promtool: Promtool, tmp_path: Path) -> None:
    numbers = enumerate(sorted({expr for _, expr in QUERIES}))
    rules = [
        {"record": f"question_{number}", "expr": expr.replace("$__rate_interval", "1m")}
        for number, expr in numbers
    ]
    file = tmp_path / "questions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "questions", "rules": rules}]}))

    done = promtool("check", "rules", file)

    assert done.returncode == 0, done.stdout + done.stderr


def test_variables_are_made_of_series_that_there_are() -> None:
    variables = [each for d in DASHBOARDS.values() for each in d["templating"]["list"]]

    assert variables
    for variable in variables:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert found is not None
        (series,) = series_in(found[1])
        assert found[2] in labels_of(series)


def test_grafana_finds_the_dashboards_where_the_provider_looks() -> None:
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/tasuki.yml").read_text())

    assert ["/var/lib/grafana/dashboards"] == [
        each["options"]["path"] for each in provider["providers"]
    ]

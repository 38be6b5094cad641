"""Does Prometheus read everything, and does every panel of every dashboard show something?"""

from __future__ import annotations

import time
from collections.abc import Mapping

from compose.engine import FOLDER
from compose.field import Field
from compose.panels import queries
from support.waiting import wait_until


def prometheus_reads_all_targets_and_rules(field: Field) -> None:
    def down() -> list[str]:
        targets = field.stack.ask("PROMETHEUS", "/api/v1/targets")["data"]["activeTargets"]
        assert targets
        return [target["scrapeUrl"] for target in targets if target["health"] != "up"]

    wait_until(lambda: not down(), what="every target is up", within_s=60, poll_s=1)
    groups = field.stack.ask("PROMETHEUS", "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    ill = [rule["name"] for rule in rules if rule["health"] == "err"]
    assert rules, "no rule is loaded"
    assert not ill, f"rules that cannot be evaluated: {ill}"
    kinds = [rule["type"] for rule in rules]
    field.say(
        f"every target is up; {kinds.count('alerting')} alerts and {kinds.count('recording')} "
        "recording rules are loaded, none in error"
    )


def await_alert(field: Field, name: str, *, within_s: float, **labels: str) -> None:
    """It fires."""
    began = time.monotonic()
    wait_until(
        lambda: _is_firing(field, name, labels), what=f"{name} fires", within_s=within_s, poll_s=1
    )
    shown = ", ".join(labels.values())
    field.say(f"alert {name} ({shown}) fires, after {time.monotonic() - began:.0f} s")


def await_quiet(field: Field, *names: str, within_s: float) -> None:
    """None of them fires any more."""
    began = time.monotonic()
    for name in names:
        wait_until(
            lambda name=name: not _is_firing(field, name, {}),  # type: ignore[misc]
            what=f"{name} is over",
            within_s=within_s,
            poll_s=1,
        )
    field.say(f"no {' or '.join(names)} any more, after {time.monotonic() - began:.0f} s")


def _is_firing(field: Field, name: str, labels: Mapping[str, str]) -> bool:
    wanted = {"alertname": name, "alertstate": "firing", **labels}
    matchers = ",".join(f'{label}="{value}"' for label, value in wanted.items())
    return bool(field.stack.query(f"ALERTS{{{matchers}}}"))


def every_panel_has_data(field: Field) -> None:
    """While a run is on; it is also the undisturbed one that others are compared with."""
    field.submit_the_usual("undisturbed")
    asked = queries(FOLDER / "grafana" / "dashboards")
    assert asked, "there are no dashboards"
    empty = list(asked)

    def all_answered() -> bool:
        # A question that was answered once is not asked again: some are about moments.
        empty[:] = [query for query in empty if not field.stack.query(query.promql)]
        return not empty

    try:
        wait_until(all_answered, what="every panel has data", within_s=120, poll_s=2)
    except TimeoutError:
        for query in empty:
            field.say(f"no data: {query.dashboard} / {query.panel}: {query.promql}")
        raise
    boards = {query.dashboard for query in asked}
    field.say(f"{len(asked)} queries of {len(boards)} dashboards all returned data")
    field.await_finish("undisturbed")

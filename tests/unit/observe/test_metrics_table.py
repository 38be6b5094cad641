"""`docs/metrics.md` lists exactly what the services show."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from support.evaluations import relay_of, score
from support.runs import Relay, plan, weights
from support.several import record_of, several
from tasuki.core import run as machine
from tasuki.core.model import CheckpointPolicy, EvaluatePolicy, OnSilent
from tasuki.observe.catalogue import BOTH, CATALOGUE, CONTROLLER, REASONS_OF, SITE, Series
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Metrics, Subject
from tasuki.observe.site import SiteMetrics
from tasuki.transport.amqp import Counters

PAGE = (Path(__file__).parents[3] / "docs/metrics.md").read_text()
ROW = re.compile(r"^\| `(tasuki_\w+)` (\|.*)\|$", re.MULTILINE)
REASON = re.compile(r"^\| `(\w+)` \| [^|]+ \| [^|]* \|$", re.MULTILINE)
TABLE = {name: [cell.strip() for cell in cells[1:].split("|")] for name, cells in ROW.findall(PAGE)}


def expected(series: Series) -> list[str]:
    """A series' row."""
    labels = " ".join(f"`{label}`" for label in series.labels)
    who = "every service" if series.by == BOTH else series.by[0]
    return [series.kind, labels, series.unit, series.meaning, who]


def test_every_series_has_its_row_and_every_row_its_series() -> None:
    assert TABLE == {name: expected(series) for name, series in CATALOGUE.items()}


def test_every_reason_has_its_row_and_every_row_its_reason() -> None:
    reasons = {reason for reasons in REASONS_OF.values() for reason in reasons}
    assert set(REASON.findall(PAGE)) == reasons | {"other"}


def show_keys(metrics: Metrics) -> None:
    """What a service shows that has a certificate and keys."""
    metrics.board.set("tasuki_certificate_expiry_timestamp_seconds", 1)
    for name in (
        "roster_number",
        "roster_expiry_timestamp_seconds",
        "card_expiry_timestamp_seconds",
    ):
        metrics.board.set(f"tasuki_{name}", 1)


def site(folder: Path) -> SiteMetrics:
    """One that has shown everything it can."""
    metrics = SiteMetrics(subject("site-1", folder), has_turn=lambda: True)
    metrics.trained(seconds=1)
    metrics.handed_over(seconds=1, size=1)
    for name in ("memory_used_bytes", "memory_total_bytes", "utilisation_ratio"):
        metrics.board.set(f"tasuki_gpu_{name}", 1, gpu="0")
    show_keys(metrics)
    return metrics


def controller(folder: Path) -> ControllerMetrics:
    metrics = ControllerMetrics(subject("controller", folder))
    show_keys(metrics)
    metrics.heard("site-1")
    metrics.dead_letters(1)
    metrics.follower_failed("report")
    metrics.stream_replicas({"tasuki.weights.site-1": 3})
    run = Relay(plan(on_silent=OnSilent.SKIP, min_sites=1, max_attempts=2))
    metrics.runs.found(run.state)
    record = run.record()
    same = replace(record.sent, digest=record.received)
    feed(metrics, run, machine.TurnFinished(record=replace(record, sent=same)))
    feed(
        metrics,
        run,
        machine.TurnFailed(id=run.state.lanes[0].relay.expected, site="b", error="GateRejected"),
    )
    feed(metrics, run, machine.LeaseExpired(id=run.state.lanes[0].relay.expected))
    evaluate(metrics)
    make_one(metrics)
    return metrics


def make_one(metrics: ControllerMetrics) -> None:
    """A run whose lanes are merged."""
    run = Relay(replace(several(), run="lanes"))
    metrics.runs.found(run.state)
    for lane in (0, 1):
        while run.state.lanes[lane].relay.holder is not None:
            feed(metrics, run, machine.TurnFinished(record=record_of(run, lane)))
        arrived = run.state.lanes[lane].relay.weights
        feed(metrics, run, machine.WeightsArrived(weights=arrived, lane=lane))
    feed(metrics, run, machine.WeightsMerged(done=1, weights=weights("merged")))


def evaluate(metrics: ControllerMetrics) -> None:
    """A run that has a best round by an evaluation which left a site out."""
    of = replace(
        plan(sites=("a", "b"), min_sites=1, max_attempts=1),
        run="evaluated",
        evaluate=EvaluatePolicy(every_n_rounds=1),
        checkpoint=CheckpointPolicy(best="accuracy"),
    )
    run = Relay(of)
    run.finish_round()
    metrics.runs.found(run.state)
    feed(metrics, run, machine.TurnFinished(record=score(run, "a")))
    id = relay_of(run, "b").expected
    feed(metrics, run, machine.TurnFailed(id=id, site="b", error="CannotEvaluate"))


def feed(metrics: ControllerMetrics, run: Relay, event: machine.Event) -> None:
    effects = run(event)
    metrics.runs.changed(run.state, event, "", effects=effects)


def subject(service: str, folder: Path) -> Subject:
    return Subject(service=service, counters=Counters(), is_up=lambda: True, folder=folder)


@pytest.mark.parametrize("who", [SITE, CONTROLLER])
def test_a_service_shows_the_series_of_the_table_and_no_others(tmp_path: Path, who: str) -> None:
    metrics: Metrics = site(tmp_path) if who == SITE else controller(tmp_path)
    found = {_name(family): family for family in metrics.collect()}
    assert found.keys() == {name for name, series in CATALOGUE.items() if who in series.by}
    for name, family in found.items():
        series = CATALOGUE[name]
        assert (family.type, family.documentation) == (series.kind, series.meaning)
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(series.labels), name


def _name(family: Metric) -> str:
    return family.name + "_total" * (family.type == "counter")

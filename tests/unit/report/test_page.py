"""A report as a page: charts that the library takes, and what is said where it is missing."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest

from support.reports import OnRecord, closes, scores, trains
from support.runs import Relay, plan
from support.several import finish_round, several
from tasuki.core import run
from tasuki.core.model import CheckpointPolicy, Cover, EvaluatePolicy, OnSilent, Plan
from tasuki.errors import SettingsError
from tasuki_report.page.chart import JSON, of_which, said
from tasuki_report.page.learning import MOST_LINES
from tasuki_report.page.render import rendered
from tasuki_report.page.view import View, view_of

PAIR = plan(sites=("a", "b"), on_silent=OnSilent.SKIP, min_sites=1)


def judged(of: Plan) -> Relay:
    """Two rounds, each evaluated, with a failure and a silence on the way."""
    relay = Relay(replace(of, evaluate=EvaluatePolicy(every_n_rounds=1)))
    for number in range(2):
        for place in range(len(of.sites)):
            if place == number == 1:
                relay.fail()
                relay.expire()
                relay(run.SiteHeard(site=of.sites[1]))
            else:
                trains(relay, received_loss=2.0 - place - number, loss=1.0 - place - number)
        closes(relay)
        assert relay.state.evaluation is not None
        for site in of.sites:
            scores(relay, site, loss=1.0 / (1 + number))
    return relay


def view(*, sites: int) -> View:
    names = tuple(f"site-{number}" for number in range(1, sites + 1))
    of = plan(sites=names, on_silent=OnSilent.SKIP, min_sites=1)
    return view_of(OnRecord(relay=judged(of)).material)


def asked(relay: Relay, *, after: int | None, split: str = "", **metrics: float) -> None:
    """An operator has all sites score a round's end, or a file."""
    event = run.EvaluationRequested(weights=relay.state.weights, after=after, split=split)
    relay(event)
    for site in relay.plan.sites:
        scores(relay, site, **metrics)


def evaluated(relay: Relay, split: str = "") -> dict[str, JSON]:
    """What is drawn of these evaluations, by its name."""
    groups = view_of(OnRecord(relay=relay).material).evaluated
    (chart,) = [group.charts[0] for group in groups if group.title == of_which("loss", split)]
    return {trace["name"]: trace for trace in chart.traces}


def test_the_best_round_is_starred_where_it_was_chosen_and_not_on_another_split() -> None:
    best = CheckpointPolicy(best="loss", best_mode="min")
    relay = judged(replace(PAIR, checkpoint=best))
    asked(relay, after=1, split="test", loss=0.25)
    assert ([2], [0.5]) == tuple(evaluated(relay)["best round"][key] for key in "xy")
    assert "best round" not in evaluated(relay, "test")


def test_an_older_round_that_is_evaluated_again_is_drawn_once_and_in_its_place() -> None:
    relay = judged(PAIR)
    asked(relay, after=1, loss=0.75)
    asked(relay, after=None, loss=9.0)
    drawn = evaluated(relay)
    for name in ("mean", "worst"):
        assert ([1, 2], [0.75, 0.5]) == (drawn[name]["x"], drawn[name]["y"])
    assert [1, 1, 2, 2] == drawn["a site"]["x"]


@pytest.mark.parametrize("sites", [2, MOST_LINES, MOST_LINES + 1])
def test_every_chart_is_one_that_the_library_knows(sites: int) -> None:
    """It names each key that it does not know."""
    shown = view(sites=sites)
    for chart in shown.charts:
        go.Figure(chart.json)
    titles = [chart.title for chart in shown.charts]
    assert "loss, evaluated" in titles
    assert ("loss: all sites together" in titles) == (sites > MOST_LINES)
    assert "Who had the weights when" in titles


def test_the_library_is_asked_for_no_more_elements_than_a_browser_bears() -> None:
    """Ten thousand spells are one path for each kind of them."""
    passing = view(sites=8).passing
    assert passing is not None
    assert len(passing.layout["shapes"]) == len(
        {shape["line"]["color"] for shape in passing.layout["shapes"]}
    )
    assert not [
        trace for trace in passing.traces if len(trace["x"]) > 3 and trace["mode"] != "none"
    ]


def test_words_of_others_are_neither_marks_nor_formulas_in_a_chart() -> None:
    assert "&lt;b&gt;&amp;lt; &#36;x&#36; \\x1b" == said("<b>&lt; $x$ \x1b")


def test_the_page_fetches_nothing_and_runs_what_it_names(tmp_path: Path) -> None:
    relay = Relay()
    trains(relay, accuracy=0.5)
    page = OnRecord(relay=relay).page(tmp_path / "r.html")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert 2 == len(re.findall("'sha256-", policy[1]))
    assert not re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(?!data:)', page)


def test_without_the_library_it_is_said_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(SettingsError, match=r"needs plotly and jinja2.*\[report\]"):
        OnRecord(relay=Relay()).page(tmp_path / "r.html")
    assert [] == list(tmp_path.iterdir())


def test_a_page_of_several_lanes_says_how_they_are_dealt_and_whose_each_turn_is() -> None:
    relay = Relay(several(wait_s=5.0))
    while not relay.state.is_over:
        finish_round(relay)
    seen = view_of(OnRecord(relay=relay).material)
    dealt = "2, each site in one; merged after each round, by samples; late after 5 s"
    assert dealt == dict(seen.facts)["lanes"]
    page = rendered(seen)
    assert "On the way all lanes were made one 2 times" in page
    assert '<th class="number">lane</th>' in page
    assert seen.passing is not None
    about = next(trace for trace in seen.passing.traces if "customdata" in trace)
    assert "1 of lane 2" in {row[1] for row in about["customdata"]}


def test_a_page_of_one_model_says_nothing_of_lanes() -> None:
    relay = Relay()
    relay.finish_round()
    seen = view_of(OnRecord(relay=relay).material)
    assert "lanes" not in dict(seen.facts)
    lineage = rendered(seen).partition('<section id="lineage">')[2]
    assert "lane" not in lineage.partition("</section>")[0]


def test_each_lane_has_its_line_in_the_row_of_a_site() -> None:
    """Bug: bars of two lanes lay on each other, where a site trains in both."""
    relay = Relay(several(sites=("a", "b"), cover=Cover.ALL, rounds=1))
    finish_round(relay)
    passing = view_of(OnRecord(relay=relay).material).passing
    assert passing is not None
    about = next(trace for trace in passing.traces if "customdata" in trace)
    found = {(lane[1], y) for lane, y in zip(about["customdata"], about["y"], strict=True)}
    assert {
        ("1 of lane 1", -0.2),
        ("2 of lane 1", 0.8),
        ("1 of lane 2", 1.2),
        ("2 of lane 2", 0.2),
    } == found
    assert "2 lines, one for each lane" in passing.caption

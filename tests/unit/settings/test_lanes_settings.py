"""What a run file says of several models at once, and what it is told that cannot be."""

from __future__ import annotations

import pytest

from support.runs import weights
from tasuki.core.model import Cover, LanesPolicy, Merge, Plan
from tasuki.core.run import Drop, SiteAdded, step, submitted
from tasuki.errors import SettingsError, TasukiError, TooFewSites, UnknownSite
from tasuki.settings.run import RunFile
from tasuki.settings.toml import checked, parse
from tasuki.wire.messages import decode, encode

TOP = 'name = "r"\nrounds = 4\ntrainer = "train:train"\norder = {order}\n'
WEIGHTS = '[weights]\ninitial = "train:make"\n'


def planned(*tables: str, order: str = '"fixed"') -> Plan:
    text = TOP.format(order=order) + WEIGHTS + "\n".join(tables)
    return parse(text, RunFile, name="run.toml").plan(["a", "b", "c", "d"])


def test_all_that_the_table_says_goes_into_the_plan_and_through_messages() -> None:
    table = 'count = 3\ncover = "all"\nmerge = "equal"\nevery_n_rounds = 2\nwait_s = 1.5'
    plan = planned(f"[lanes]\n{table}")
    expected = LanesPolicy(
        count=3, cover=Cover.ALL, merge=Merge.EQUAL, every_n_rounds=2, wait_s=1.5
    )
    assert expected == plan.lanes
    assert plan == decode(encode(plan), Plan)


def test_as_many_lanes_as_there_are_lists() -> None:
    plan = planned("[lanes]\nevery_n_rounds = 2", order='[["a", "b"], ["d"]]')
    assert (("a", "b"), ("d",)) == plan.order
    assert LanesPolicy(count=2, every_n_rounds=2) == plan.lanes
    assert plan == decode(encode(plan), Plan)


@pytest.mark.parametrize(
    ("order", "tables"),
    [
        ('"fixed"', ["[lanes]\ncount = 1"]),
        ('"fixed"', ['[lanes]\ncount = 1\nmerge = "equal"\nevery_n_rounds = 2\nwait_s = 3']),
        ('[["a", "b", "c", "d"]]', []),
    ],
)
def test_a_plan_of_one_lane_is_that_of_a_run_without_the_table(
    order: str, tables: list[str]
) -> None:
    usual = '"fixed"' if order == '"fixed"' else '["a", "b", "c", "d"]'
    assert encode(planned(order=usual)) == encode(planned(*tables, order=order))


def test_values_from_python_are_read_as_those_of_a_file() -> None:
    content = {
        "name": "r",
        "trainer": "python",
        "order": [["a"], ["b"]],
        "weights": {"initial": "x:y"},
        "lanes": {"merge": "equal"},
    }
    plan = checked(content, RunFile, name="tasuki.simulate").plan(["a", "b"])
    assert LanesPolicy(count=2, merge=Merge.EQUAL) == plan.lanes


BAD = [
    ('"fixed"', ["count = 0"], SettingsError, "lanes.count: Input should be greater"),
    ('"fixed"', ["count = 2", "every_n_rounds = 0"], SettingsError, "lanes.every_n_rounds: Input"),
    ('"fixed"', ["count = 2", "wait_s = 0"], SettingsError, "lanes.wait_s: Input"),
    ('"fixed"', ["cuont = 2"], SettingsError, "did you mean 'count'"),
    ('"fixed"', ["lanes = 2"], SettingsError, "unknown key 'lanes.lanes'; did you mean 'count'"),
    ('"fixed"', ["every = 2"], SettingsError, "did you mean 'every_n_rounds'"),
    ('"fixed"', ["count = 2", 'cover = "al"'], SettingsError, "no cover 'al'; did you mean 'all'?"),
    ('"fixed"', ["count = 2", 'merge = "sum"'], SettingsError, "known: samples, equal"),
    ('"fixed"', ['merge = "equal"'], SettingsError, "says merge and not how many lanes"),
    ('"fixed"', ["count = 5"], TooFewSites, "5 lanes and 4 sites"),
    ('["a", "b"]', ["count = 3", 'cover = "all"'], TooFewSites, "set [lanes] count = 2"),
    ('["a", "b", "c", "a"]', ["count = 2"], SettingsError, "'a' in lane 1 and in lane 2"),
    ('[["a", "b"], ["b"]]', [], SettingsError, "'b' in lane 1 and in lane 2"),
    ('[["a", "b"], ["z"]]', [], UnknownSite, "'z'"),
    ('[["a", "b"], []]', [], SettingsError, "lane 2 of the order has no site"),
    ('[["a", "b"], "c"]', [], SettingsError, "sites beside lists of sites"),
    ('[["a"], ["c"]]', ["count = 3"], SettingsError, "the order has 2 lists"),
    ('[["a"], ["c"]]', ['cover = "all"'], SettingsError, "leave cover out"),
]


@pytest.mark.parametrize(("order", "lines", "error", "says"), BAD)
def test_what_does_not_fit_together_is_told(
    order: str, lines: list[str], error: type[TasukiError], says: str
) -> None:
    with pytest.raises(error) as caught:
        planned("\n".join(["[lanes]", *lines]), order=order)
    assert says in str(caught.value)


def test_a_list_may_name_a_site_twice_in_one_lane() -> None:
    assert ("a", "b", "a") == planned("[lanes]\ncount = 2", order='["a", "b", "a"]').order
    assert 2 == planned('[lanes]\ncount = 2\ncover = "all"', order='["a", "b", "a"]').lanes.count


def test_rounds_are_evaluated_only_where_all_lanes_are_one() -> None:
    lanes = "[lanes]\ncount = 2\nevery_n_rounds = 2"
    with pytest.raises(SettingsError, match="a multiple of 2"):
        planned(lanes, "[evaluate]\nevery_n_rounds = 3")
    assert planned(lanes, "[evaluate]\nevery_n_rounds = 4").evaluate
    assert planned(lanes, "[evaluate]").evaluate
    alone = "[lanes]\ncount = 1\nevery_n_rounds = 2"
    assert planned(alone, "[evaluate]\nevery_n_rounds = 3").evaluate


@pytest.mark.parametrize("evaluate", ["", "[evaluate]"])
@pytest.mark.parametrize("metric", ["accuracy", "received_accuracy"])
def test_turns_of_lanes_say_neither_what_is_best_nor_that_a_run_has_enough(
    metric: str, evaluate: str
) -> None:
    """Bug: the best round was chosen by turns, whose scores are of no merged weights."""
    lanes = "[lanes]\ncount = 2\nevery_n_rounds = 2"
    for table in (f'[checkpoint]\nbest = "{metric}"', f'[stop]\nmetric = "{metric}"\ntarget = 1'):
        with pytest.raises(SettingsError) as caught:
            planned(lanes, table, evaluate)
        assert "speaks for its lane's model" in str(caught.value)
        assert "= 'accuracy', and [evaluate] every_n_rounds = 2" in str(caught.value)


def test_what_all_sites_say_of_merged_weights_judges_a_run_with_lanes() -> None:
    lanes, stop = "[lanes]\ncount = 2", '[stop]\nmetric = "accuracy"\ntarget = 0.9'
    best = '[checkpoint]\nbest = "accuracy"'
    assert planned(lanes, best, "[evaluate]\nevery_n_rounds = 1").checkpoint.best
    assert planned(best).checkpoint.best
    assert planned(lanes, stop, "[evaluate]\nevery_n_rounds = 1").stop
    assert planned(lanes, "[stop]\nhours = 1").stop
    assert planned(stop).stop


def test_a_site_joins_a_run_with_lanes_unless_each_has_a_list() -> None:
    dealt = submitted(planned("[lanes]\ncount = 2"), weights("first"))
    joined, _ = step(dealt, SiteAdded(site="e"))
    assert ("a", "b", "c", "d", "e") == joined.plan.sites
    listed = submitted(planned(order='[["a", "b"], ["c", "d"]]'), weights("first"))
    assert (listed, (Drop(reason="order_is_a_list"),)) == step(listed, SiteAdded(site="e"))

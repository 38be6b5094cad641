"""Hypothesis strategies for the core's nouns, made from their own annotations.

A message that is added to `wire.messages` is covered by every test that uses `messages()`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from support.runs import weights
from tasuki.core.model import MOST, Failure, OnSilent, Plan, Task, Turn, TurnId, WeightsRef
from tasuki.core.trust import AUTHORITY, Card, Roster
from tasuki.wire.messages import MESSAGES

Strategy = st.SearchStrategy[Any]  # Any: of whatever the annotation says

INTEGERS = st.integers(0, MOST)
NUMBERS = st.floats(allow_nan=False)
TEXTS = st.text(max_size=8)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,8}", fullmatch=True)
SITES = st.sampled_from(["a", "b", "c", "site-1", "site-2"])
VALUES: Strategy = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | NUMBERS | TEXTS | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
REFS = st.builds(weights, TEXTS)
PLAIN: dict[object, Strategy] = {
    NoneType: st.none(),
    bool: st.booleans(),
    bytes: st.binary(max_size=16),
    float: NUMBERS,
    int: INTEGERS,
    object: VALUES,
    str: TEXTS,
    WeightsRef: REFS,
}


_TIMES = st.tuples(INTEGERS, INTEGERS).map(sorted)
_CARDS: Strategy = st.builds(
    lambda name, signs, unseals, times, revoked: Card(
        name=name, signs=signs, unseals=unseals, begins=times[0], ends=times[1], revoked=revoked
    ),
    NAMES.filter(lambda name: name != AUTHORITY),
    st.binary(min_size=65, max_size=65),
    st.binary(min_size=32, max_size=32),
    _TIMES,
    st.none() | INTEGERS,
)
_ROSTERS: Strategy = st.builds(
    lambda name, number, times, cards: Roster(
        federation=name, number=number, issued=times[0], ends=times[1], cards=tuple(cards)
    ),
    NAMES,
    st.integers(1, MOST),
    _TIMES,
    st.lists(_CARDS, max_size=3),
)


def instances(kind: type) -> Strategy:
    """Well-formed values of one of the core's dataclasses."""
    if kind is Turn:
        return _turns()
    if kind is Plan:
        return _plans()
    if kind is WeightsRef:
        return REFS
    if kind in {Card, Roster}:
        return _CARDS if kind is Card else _ROSTERS
    return st.builds(kind, **_fields(kind))


def messages() -> Strategy:
    """Any message that there is."""
    return st.sampled_from(sorted(MESSAGES)).flatmap(lambda name: instances(MESSAGES[name]))


def _fields(kind: type) -> dict[str, Strategy]:
    hints = get_type_hints(kind)
    # What a record was written as, and what a controller signed, is not for a test to make up.
    made = {"written", "warrant"}
    names = [field.name for field in dataclasses.fields(kind) if field.name not in made]
    return {name: NAMES if name == "run" else _of(hints[name]) for name in names}


def _of(hint: Any) -> Strategy:  # Any: an annotation may be anything
    if hint in PLAIN:
        return PLAIN[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return st.one_of(*(_of(each) for each in inner))
    if origin is tuple and inner[-1] is not Ellipsis:
        return st.tuples(*map(_of, inner))
    if origin is tuple:
        return st.lists(_of(inner[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(_of(inner[0]), _of(inner[1]), max_size=3)
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    return instances(hint)


@st.composite
def _turns(draw: st.DrawFn) -> Turn:
    itinerary = tuple(draw(st.lists(SITES, min_size=1, max_size=4)))
    id = draw(instances(TurnId))
    id = dataclasses.replace(id, hop=draw(st.integers(0, len(itinerary) - 1)))
    fields = _fields(Turn) | {"id": st.just(id), "itinerary": st.just(itinerary)}
    return draw(st.builds(Turn, **fields))


def _plans() -> st.SearchStrategy[Plan]:
    fields = _fields(Plan) | {"sites": st.lists(SITES, unique=True).map(tuple)}
    return st.builds(Plan, **fields)


@st.composite
def run_plans(draw: st.DrawFn) -> Plan:
    """Plans that a run can be made from, small enough to reach their end."""
    sites = tuple("abcd"[: draw(st.integers(1, 4))])
    listed = st.lists(st.sampled_from(sites), min_size=1, max_size=4).map(tuple)
    named = st.sampled_from(["fixed", "random", "random_without_same_in_a_row"])
    failure = Failure(
        on_silent=draw(st.sampled_from(OnSilent)),
        min_sites=draw(st.integers(1, len(sites))),
        max_attempts=draw(st.integers(1, 3)),
        same_twice_ends=draw(st.booleans()),
    )
    task = Task(trainer="t", rounds=draw(st.integers(1, 3)), seed=draw(INTEGERS))
    return Plan(run="r", sites=sites, order=draw(named | listed), task=task, failure=failure)

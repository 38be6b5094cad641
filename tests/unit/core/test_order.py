"""Order policies: pure, uniform, and the same for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import permutations
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.core.order import (
    POLICIES,
    Situation,
    draws,
    itinerary,
    random_without_same_in_a_row,
)
from tasuki.core.order.draws import Draws

SITES = ("a", "b", "c", "d")
Order = tuple[str, ...]


def at(
    round: int = 0, *, sites: tuple[str, ...] = SITES, last: str | None = None, seed: int = 7
) -> Situation:
    return Situation(seed=seed, round=round, sites=sites, lasts=(last,))


class Scripted(Draws):
    """Takes its numbers from a script, and notes how many choices each draw had."""

    def __init__(self, script: list[int]) -> None:
        super().__init__(at())
        self._script = iter(script)
        self.limits: list[int] = []

    def below(self, limit: int) -> int:
        self.limits.append(limit)
        return next(self._script, 0)


class EveryDraw:
    """Runs a policy once for every way in which its draws can turn out."""

    def __init__(self) -> None:
        self._script: list[int] | None = []
        self._made: Scripted | None = None

    def __call__(self, _: Situation) -> Scripted:
        self._made = Scripted(self._script or [])
        return self._made

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> None:
        if self._made is None:
            return
        limits = self._made.limits
        script = [*(self._script or []), *[0] * len(limits)][: len(limits)]
        while script and script[-1] + 1 == limits[len(script) - 1]:
            script.pop()
        if not script:
            raise StopIteration
        script[-1] += 1
        self._script = script

    @property
    def likelihood(self) -> Fraction:
        assert self._made is not None
        product = Fraction(1)
        for limit in self._made.limits:
            product /= limit
        return product


def distribution(
    policy: Callable[[Situation], Order], situation: Situation, monkeypatch: pytest.MonkeyPatch
) -> dict[Order, Fraction]:
    """The exact likelihood of each order."""
    every = EveryDraw()
    monkeypatch.setattr(random_without_same_in_a_row, "Draws", every)
    found: dict[Order, Fraction] = {}
    for _ in every:
        order = policy(situation)
        found[order] = found.get(order, Fraction(0)) + every.likelihood
    return found


def move_to_end(situation: Situation) -> Order:
    """What others do with an unlucky first site; kept here to show that our test sees it."""
    made: Draws = vars(random_without_same_in_a_row)["Draws"](situation)
    drawn = made.permutation(situation.sites)
    if drawn[0] == situation.last:
        drawn.append(drawn.pop(0))
    return tuple(drawn)


def uniform(sites: tuple[str, ...], last: str | None) -> dict[Order, Fraction]:
    allowed = [order for order in permutations(sites) if order[0] != last]
    return {order: Fraction(1, len(allowed)) for order in allowed}


def chi_square(policy: Callable[[Situation], Order], *, rounds: int, last: str | None) -> float:
    """How far the orders of so many rounds are from all being equally frequent."""
    counts = Counter(policy(at(round, last=last)) for round in range(rounds))
    allowed = uniform(SITES, last)
    assert set(counts) <= set(allowed)
    mean = rounds / len(allowed)
    return sum((counts[order] - mean) ** 2 / mean for order in allowed)


def test_fixed_is_the_order_of_the_run_in_every_round() -> None:
    assert [SITES] * 5 == [itinerary("fixed", at(round, last="d")) for round in range(5)]


@pytest.mark.parametrize("policy", sorted(POLICIES))
@given(
    seed=st.integers(-(2**70), 2**70),
    round=st.integers(0, 10**6),
    sites=st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8).map(tuple),
    data=st.data(),
)
def test_every_policy_is_pure_and_gives_each_eligible_site_one_turn(
    policy: str, seed: int, round: int, sites: tuple[str, ...], data: st.DataObject
) -> None:
    last = data.draw(st.sampled_from((None, *sites)))
    situation = at(round, seed=seed, sites=sites, last=last)

    order = itinerary(policy, situation)

    assert sorted(sites) == sorted(order)
    assert order == itinerary(policy, at(round, seed=seed, sites=sites, last=last))


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_one_site_alone_always_has_the_turn(policy: str) -> None:
    assert ("a",) == itinerary(policy, at(3, sites=("a",), last="a"))


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_without_eligible_sites_nobody_has_a_turn(policy: str) -> None:
    assert () == itinerary(policy, at(sites=()))


def test_two_sites_alternate_so_that_nobody_trains_twice_in_a_row() -> None:
    last: str | None = None
    for round in range(20):
        order = itinerary("random_without_same_in_a_row", at(round, sites=("a", "b"), last=last))
        assert order[0] != last
        last = order[-1]


def test_a_list_is_kept_with_its_repeats() -> None:
    listed = ("b", "a", "b", "b")
    assert listed == itinerary(listed, at(4))


def test_a_listed_site_that_is_not_eligible_is_left_out_everywhere() -> None:
    assert ("a", "c") == itinerary(("b", "a", "b", "c"), at(sites=("a", "c")))


@pytest.mark.parametrize("last", [None, "a", "c", "gone"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_order_that_does_not_start_with_the_last_site_is_exactly_as_likely(
    count: int, last: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = SITES[:count]
    found = distribution(
        POLICIES["random_without_same_in_a_row"], at(sites=sites, last=last), monkeypatch
    )
    assert uniform(sites, last) == found


def test_moving_the_last_site_to_the_end_would_not_be_uniform(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = distribution(move_to_end, at(last="a"), monkeypatch)

    assert set(uniform(SITES, "a")) == set(found)
    assert uniform(SITES, "a") != found
    assert Fraction(1, 2) == sum(chance for order, chance in found.items() if order[-1] == "a")


# The 99.9 % points of chi-square: 40.8 for 17 degrees of freedom, 49.7 for 23.
@pytest.mark.parametrize(
    ("policy", "last", "bound"),
    [
        ("random", None, 49.7),
        ("random_without_same_in_a_row", None, 49.7),
        ("random_without_same_in_a_row", "a", 40.8),
        ("random_without_same_in_a_row", "d", 40.8),
    ],
)
def test_the_orders_of_many_rounds_are_uniform(policy: str, last: str | None, bound: float) -> None:
    assert chi_square(POLICIES[policy], rounds=6000, last=last) < bound


def test_the_orders_of_many_rounds_would_show_a_move_to_the_end() -> None:
    assert chi_square(move_to_end, rounds=6000, last="a") > 500


def test_a_draw_past_the_last_whole_multiple_is_drawn_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draws.Draws, "_stream", staticmethod(lambda _: iter([2**64 - 1, 5])))
    assert 2 == Draws(at()).below(3)


def test_orders_never_change_between_releases() -> None:
    """A run that goes on after an upgrade, or is repeated years later, keeps its order."""
    random = ["".join(itinerary("random", at(round))) for round in range(6)]
    without = [
        "".join(itinerary("random_without_same_in_a_row", at(round, last=drawn[0])))
        for round, drawn in enumerate(random)
    ]
    assert RANDOM == random
    assert WITHOUT_THAT_FIRST == without


RANDOM = ["dacb", "acbd", "cadb", "cdab", "adcb", "abdc"]
WITHOUT_THAT_FIRST = ["adcb", "cabd", "acdb", "dcab", "dacb", "cbda"]

"""`[lanes]` of a run file: how many models circulate at once, and whether the order fits that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from pydantic import Field, ValidationInfo, field_validator

from tasuki.core.model import Cover, EvaluatePolicy, LanesPolicy, Merge
from tasuki.core.order.lanes import dealt
from tasuki.core.scores import RECEIVED, is_evaluated
from tasuki.errors import TooFewSites
from tasuki.settings.toml import Settings
from tasuki.spelling import did_you_mean

Order = str | list[str | list[str]]
"""A policy's name, the sites of a round, or a list of them for each lane."""

_WORDS: Mapping[str, type[StrEnum]] = MappingProxyType({"cover": Cover, "merge": Merge})


class LanesTable(Settings):
    """How many models circulate at once, and when they become one."""

    instead_of: ClassVar = {"lanes": "count", "number": "count"}

    count: int = Field(default=1, ge=1)
    cover: Cover = Cover.SHARE
    merge: Merge = Merge.SAMPLES
    every_n_rounds: int = Field(default=1, ge=1)
    wait_s: float | None = Field(default=None, gt=0)

    @field_validator("cover", "merge", mode="before")
    @classmethod
    def _known_word(cls, word: object, info: ValidationInfo) -> object:
        name = info.field_name or ""
        known = list(map(str, _WORDS[name]))
        if isinstance(word, str) and word not in known:
            hint = did_you_mean(word, known, after=" ")
            raise ValueError(f"there is no {name} {word!r}; {hint}known: {', '.join(known)}")
        return word


def check_order(order: Order) -> None:
    """Raises ValueError: it lists nothing, a lane without sites, or sites among lanes."""
    if not order:
        raise ValueError("the order is empty: list at least one site")
    if isinstance(order, str):
        return
    kinds = {isinstance(each, str) for each in order}
    if len(kinds) > 1:
        raise ValueError(
            "the order has sites beside lists of sites: give sites alone, or a list for each lane"
        )
    if [] in order:
        raise ValueError(
            f"lane {order.index([]) + 1} of the order has no site: list its sites, or leave it out"
        )


def check_lanes(table: LanesTable, order: Order) -> None:
    """Raises ValueError: the order and the table do not fit together."""
    given = table.model_fields_set
    by_lane = sites_by_lane(order)
    if by_lane is None:
        if given and "count" not in given:
            raise ValueError(
                f"[lanes] says {sorted(given)[0]} and not how many lanes there are: set count, "
                "or leave the table out"
            )
        if isinstance(order, list) and table.cover is Cover.SHARE:
            _refuse_twice(dealt(listed(order), _policy(table, table.count)))
        return
    if "count" in given and table.count != len(by_lane):
        raise ValueError(
            f"[lanes] count = {table.count}, and the order has {_lists(len(by_lane))}: it has one "
            "for each lane, so leave count out"
        )
    if "cover" in given:
        raise ValueError(
            "[lanes] cover is for an order of all lanes, and here each lane has a list of its own: "
            "leave cover out"
        )
    _refuse_twice(by_lane)


def check_evaluated(table: LanesTable, order: Order, every_n_rounds: int | None) -> None:
    """Raises ValueError: rounds are to be evaluated after which there is not one model."""
    if count_of(table, order) == 1 or every_n_rounds is None:
        return
    if every_n_rounds % table.every_n_rounds:
        raise ValueError(
            f"[evaluate] every_n_rounds = {every_n_rounds} and [lanes] every_n_rounds = "
            f"{table.every_n_rounds}: all sites score what all lanes were made one of, so let "
            f"[evaluate] have a multiple of {table.every_n_rounds}"
        )


def check_judged(
    table: LanesTable,
    order: Order,
    judging: Mapping[str, str | None],
    policy: EvaluatePolicy | None,
) -> None:
    """Raises ValueError: a run is to be judged by what turns say of models that none is shipped of.

    `judging`: metrics by the keys that name them.
    """
    if count_of(table, order) == 1:
        return
    for key, metric in judging.items():
        if metric is not None and not is_evaluated(metric, policy):
            named = metric.removeprefix(RECEIVED)
            raise ValueError(
                f"{key} = {metric!r} would go by what turns say: with several lanes a turn speaks "
                "for its lane's model, not for what they are made one of. Let all sites score "
                f"that: {key} = {named!r}, and [evaluate] every_n_rounds = {table.every_n_rounds}"
            )


def check_sites(table: LanesTable, order: Order, sites: Sequence[str]) -> None:
    """Raises TooFewSites: some lane would have none."""
    count, there = count_of(table, order), len(sites)
    if isinstance(order, list):
        there = len(set(listed(order)))
    if count > there:
        only = "one site" if there == 1 else f"{there} sites"
        raise TooFewSites(
            f"{count} lanes and {only}: each lane needs one to begin with; add sites, or set "
            f"[lanes] count = {there}"
        )


def count_of(table: LanesTable, order: Order) -> int:
    """How many lanes there are."""
    by_lane = sites_by_lane(order)
    return table.count if by_lane is None else len(by_lane)


def policy_of(table: LanesTable, order: Order) -> LanesPolicy:
    """As the plan has it: of one lane there is nothing to say."""
    count = count_of(table, order)
    return LanesPolicy() if count == 1 else _policy(table, count)


def order_of(order: Order) -> str | tuple[str, ...] | tuple[tuple[str, ...], ...]:
    """As the plan has it: one lane alone is an order like any other."""
    if isinstance(order, str):
        return order
    by_lane = sites_by_lane(order)
    return listed(order) if by_lane is None or len(by_lane) == 1 else by_lane


def listed(order: Order) -> tuple[str, ...]:
    """All sites that are named one by one, lane after lane."""
    if isinstance(order, str):
        return ()
    lanes = ([each] if isinstance(each, str) else each for each in order)
    return tuple(site for lane in lanes for site in lane)


def sites_by_lane(order: Order) -> tuple[tuple[str, ...], ...] | None:
    """The sites of each lane, if the order says; None: they are dealt."""
    if isinstance(order, str):
        return None
    return tuple(tuple(each) for each in order if isinstance(each, list)) or None


def _policy(table: LanesTable, count: int) -> LanesPolicy:
    return LanesPolicy(**{**table.model_dump(), "count": count})


def _refuse_twice(lanes: Iterable[tuple[str, ...]]) -> None:
    """A site that trains two models of one round shares nothing out."""
    seen: dict[str, int] = {}
    for number, lane in enumerate(lanes, start=1):
        for site in lane:
            if seen.setdefault(site, number) != number:
                raise ValueError(
                    f"the order has {site!r} in lane {seen[site]} and in lane {number}: leave it "
                    'in one of them, or set [lanes] cover = "all" with an order of all lanes, '
                    "which takes every lane to every site"
                )


def _lists(count: int) -> str:
    return "one list" if count == 1 else f"{count} lists"

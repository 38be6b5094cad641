"""What is left to read of a run that is over."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console

from support.runs import turn
from tasuki.core.model import TurnRecord
from tasuki.core.run import Skip
from tasuki_cli.ending import MOST_ROUNDS, show_turns
from tasuki_controller.documents import BestRound

BEST = BestRound(round=2, metric="dice", mode="max", value=0.75)


def shown(
    records: Sequence[TurnRecord], *, skipped: Sequence[Skip] = (), best: BestRound | None = BEST
) -> str:
    out = io.StringIO()
    show_turns(
        Console(file=out, width=80),
        records,
        skipped,
        metric="dice",
        best=best,
        every="tasuki turns r --data d",
    )
    return out.getvalue()


def rounds(count: int) -> list[TurnRecord]:
    return [
        turn(site, round=round, hop=hop, dice=round / 100, received_dice=hop / 10)
        for round in range(count)
        for hop, site in enumerate("abc")
    ]


def test_the_best_round_is_named_with_its_value() -> None:
    said = shown(rounds(3))
    assert "best round: 2, with the highest mean dice, 0.7500\n" in said
    least = BEST.model_copy(update={"mode": "min"})
    assert "with the lowest mean dice" in shown(rounds(3), best=least)
    assert "best round" not in shown(rounds(3), best=None)


def test_few_turns_are_shown_each() -> None:
    assert 9 + 2 == len(shown(rounds(3)).splitlines())


def test_many_turns_are_shown_as_rounds_with_the_best_one_marked() -> None:
    """Bug: a run of 40 rounds ended with a table of 120 turns, and named no round."""
    said = shown(rounds(40))
    lines = said.splitlines()
    assert len(lines) < MOST_ROUNDS + 8
    (marked,) = [line.split() for line in lines if line.rstrip().endswith("best")]
    assert ["2", "3", "0.1000", "0.0100", "4.5", "best"] == marked
    assert ["40", "3", "0.1000", "0.3900", "4.5"] in [line.split() for line in lines]
    assert "the newest 20 of 40 rounds" in said
    assert "every turn: tasuki turns r --data d" in said


def test_rounds_that_lost_turns_say_how_many() -> None:
    skipped = [Skip(round=19, hop=3, site="d", reason="silent")]
    said = shown(rounds(20), skipped=skipped)
    assert "skipped" in said
    assert ["20", "3", "1"] == said.splitlines()[21].split()[:3]


def test_a_run_that_chooses_by_a_metric_that_nobody_has_shows_another() -> None:
    said = shown([turn(loss=0.5)], best=None)
    assert "trained loss" in said
    assert "0.5000" in said
    assert "trained accuracy" in shown([], best=None)


def test_a_metric_that_a_site_named_does_not_steer_the_terminal() -> None:
    name = "\x1b[2J[/red]"
    assert "\x1b" not in shown([turn(named={name: 0.5})], best=None)
    assert "\x1b" not in shown([turn(round=n, named={name: 0.5}) for n in range(50)], best=None)

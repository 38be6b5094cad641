"""What is left to read of a run: its turns, or its rounds if those are many, and the best round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from tasuki.core.model import Of, TurnRecord
from tasuki.core.run import Skip
from tasuki.core.scores import MIN, RECEIVED, round_means
from tasuki.observe.printable import one_line
from tasuki_cli.columns import Column, number, short_name, table_of
from tasuki_cli.display import turns_table
from tasuki_controller.documents import BestRound
from tasuki_controller.metric_names import metric_to_show

MOST_TURNS = 40
"""More of them are shown as rounds."""

MOST_ROUNDS = 20
"""Of more, the newest are shown, and the best."""


def show_turns(
    console: Console,
    records: Sequence[TurnRecord],
    skipped: Sequence[Skip],
    *,
    metric: str | None,
    best: BestRound | None,
    every: str,
) -> None:
    """What there is to read.

    Args:
        metric: by which the run chooses its best round, if it does.
        every: the command that shows every turn.
    """
    shown = metric_to_show(_names(records), metric) or "accuracy"
    if len(records) + len(skipped) <= MOST_TURNS:
        console.print(turns_table(records, skipped, shown))
    else:
        rounds = sorted({r.id.round for r in records} | {s.round for s in skipped})
        table = _rounds_table(records, skipped, shown, best, rounds=rounds)
        console.print(table, soft_wrap=True)
        console.print(Text(_means_said(len(rounds), every), style="dim"), soft_wrap=True)
    if best is not None:
        console.print(Text(_in_words(best)), soft_wrap=True)


def _names(records: Iterable[TurnRecord]) -> list[str]:
    return sorted({name for record in records for name in record.metrics})


def _means_said(rounds: int, every: str) -> str:
    newest = f"the newest {MOST_ROUNDS} of {rounds} rounds; " if rounds > MOST_ROUNDS else ""
    return f"{newest}numbers are means over a round's turns; every turn: {every}"


def _rounds_table(
    records: Sequence[TurnRecord],
    skipped: Sequence[Skip],
    metric: str,
    best: BestRound | None,
    *,
    rounds: Sequence[int],
) -> Text:
    """A row for each round, the best one marked; where they are many, the newest of them."""
    chosen = None if best is None else best.round - 1
    newest = list(rounds[-MOST_ROUNDS:])
    shown = newest if chosen is None or chosen in newest else [chosen, *newest]
    turns = Counter(record.id.round for record in records)
    left_out = Counter(skip.round for skip in skipped)
    counted = [Column(head="turns", cells=[str(turns[each]) for each in shown])]
    if left_out:
        counted.append(Column(head="skipped", cells=[str(left_out[each]) for each in shown]))
    return table_of(
        [
            Column(head="round", cells=[str(each + 1) for each in shown]),
            *counted,
            *_means(records, metric, shown),
            Column(head="seconds", cells=[f"{_seconds(records, each):.1f}" for each in shown]),
            Column(head="", cells=["best" if each == chosen else "" for each in shown]),
        ]
    )


def _means(records: Sequence[TurnRecord], metric: str, shown: Sequence[int]) -> list[Column]:
    means = round_means(records)
    of = {
        f"received\n{short_name(metric)}": RECEIVED + metric,
        f"trained\n{short_name(metric)}": metric,
    }
    return [
        Column(head=head, cells=[number(means.get(each, {}).get(name)) for each in shown])
        for head, name in of.items()
    ]


def _seconds(records: Sequence[TurnRecord], round: int) -> float:
    return sum(record.seconds for record in records if record.id.round == round)


def _in_words(best: BestRound) -> str:
    which = "lowest" if best.mode == MIN else "highest"
    value = number(best.value)
    of = "mean" if best.of == Of.MEAN else f"{best.of} site's"
    by = f", by evaluation ({best.sites} of {best.of_sites} sites)" if best.sites else ""
    metric = one_line(best.metric)
    return f"best round: {best.round}, with the {which} {of} {metric}, {value}{by}"

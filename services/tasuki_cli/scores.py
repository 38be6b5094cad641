"""`tasuki scores`: what sites say of a run's weights, round by round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from rich.console import Console
from rich.text import Text

from tasuki.core.scores import MAX, RECEIVED
from tasuki.observe.printable import headline, one_line
from tasuki_cli.columns import Column, how_many_fit, number, short_name, table_of
from tasuki_cli.records import Archive, print_json
from tasuki_cli.turns import MOST_NAMED
from tasuki_controller.documents import (
    EvaluatedRow,
    EvaluatedScores,
    Evaluation,
    RollingScores,
    ScoredRound,
    Scores,
)
from tasuki_controller.metric_names import metric_to_show
from tasuki_report.csv_text import NO_NUMBER

MOST_FORGETFUL = 8
Scored = ScoredRound | EvaluatedRow


def show(
    run: str, archive: Archive, *, metric: str | None, mode: str | None, as_json: bool
) -> None:
    """The rolling scores by one metric, and which others there are."""
    scores = archive.scores(run, metric=metric, mode=mode)
    if as_json:
        print_json(scores)
        return
    console = Console(highlight=False)
    if not (scores.rolling or scores.evaluations):
        console.print(Text(_nothing(run)), soft_wrap=True)
        return
    names = sorted(
        {table.metric for table in scores.evaluated} | {table.metric for table in scores.rolling}
    )
    wanted = metric_to_show(names, scores.best)
    wanted = wanted if wanted in names else next(iter(names), "")
    if scores.evaluations:
        show_evaluation(console, _by(scores, wanted))
    for each in scores.rolling:
        if each.metric == wanted:
            _show_rolling(run, each, console)
    _say_others(console, [name for name in names if name != wanted])


def _by(scores: Scores, metric: str) -> Scores:
    """Those by one metric."""
    kept = [each for each in scores.evaluated if each.metric == metric]
    return scores.model_copy(update={"evaluated": kept})


def show_evaluation(console: Console, scores: Scores) -> None:
    """What all sites say of the same weights, and who did not say anything, and why."""
    for table in scores.evaluated:
        better = "more" if table.mode == MAX else "less"
        split = f", on {one_line(table.split)}" if table.split else ""
        said = f"what all sites of {scores.run} say of the same weights by"
        console.print(Text(f"{said} {short_name(table.metric)} ({better} is better){split}"))
        first = Column(head="round", cells=_rounds_of(scores, table))
        _print_table(console, table.rows, [first], also=_without(scores))
        if len(table.rows) > 1:
            console.print(Text(_over_evaluations(table)), soft_wrap=True)
    for line in left_out(scores.evaluations):
        console.print(Text(line), style="yellow", soft_wrap=True)


def _without(scores: Scores) -> set[str]:
    """Sites that were left out at least once."""
    return {site.site for each in scores.evaluations for site in each.left_out}


def _rounds_of(scores: Scores, table: EvaluatedScores) -> list[str]:
    """Of whose end each row's weights are; the best one is marked."""
    best = scores.best_round
    chosen = best.round if best is not None and best.by == "evaluation" else None
    asked = {each.number for each in scores.evaluations if each.asked}

    def note(row: EvaluatedRow) -> str:
        if row.number in asked:
            return " asked"
        return " best" if row.round == chosen else ""

    return [f"{'file' if row.round is None else row.round}{note(row)}" for row in table.rows]


def _over_evaluations(scores: EvaluatedScores) -> str:
    """What the rows say together; `-` where there are too few of them."""
    return (
        f"forgotten since the own turn, mean over sites: {number(scores.forgotten)}; "
        f"swing of the last {_last(scores)} means: {number(scores.swing)}; "
        f"monotonicity of the means: {number(scores.monotonicity)}"
    )


def _last(scores: EvaluatedScores) -> int:
    return min(scores.swing_rounds, len({row.round for row in scores.rows} - {None}))


def left_out(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Who has not scored, nor later, and why; what was so several times is said once."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in evaluations:
        weights = "a file" if each.round is None else str(each.round)
        weights += f" on {each.split}" if each.split else ""
        later = {
            site
            for other in evaluations
            if other.number > each.number
            and (other.digest, other.split) == (each.digest, each.split)
            for site in other.scored
        }
        for site in each.left_out:
            if site.site in later:
                continue
            detail = f": {headline(site.detail)}" if site.detail else ""
            found.setdefault((site.site, f"{site.reason}{detail}"), []).append(weights)
    for (name, why), of in found.items():
        yield one_line(f"no score of round {', '.join(dict.fromkeys(of))} by {name}: {why}")


def _nothing(run: str) -> str:
    return (
        f"{run}: no site says what the weights that it received are worth: let the trainer judge "
        f"them before it trains, and report {RECEIVED}accuracy or the like; docs/scores.md has more"
    )


def _show_rolling(run: str, scores: RollingScores, console: Console) -> None:
    better = "more" if scores.mode == MAX else "less"
    console.print(
        Text(
            f"rolling scores of {run} by {short_name(scores.metric)} ({better} is better): what "
            "each site says of the weights that it received. Within a round these are different "
            "weights: no mean here judges one model."
            f"{_over_lanes(scores.rounds)}"
        )
    )
    first = Column(head="round", cells=[str(each.round) for each in scores.rounds])
    _print_table(console, scores.rounds, [first])
    console.print(Text(_over_rounds(scores)))


def _over_lanes(rounds: Sequence[ScoredRound]) -> str:
    lanes = max((score.lanes for each in rounds for score in each.sites), default=1)
    if lanes == 1:
        return ""
    return (
        f" A site receives those of up to {lanes} lanes in a round: what it says is their mean, "
        "weighted by samples; `tasuki turns` has each."
    )


def _print_table(
    console: Console,
    rows: Sequence[Scored],
    first: Sequence[Column],
    *,
    also: Set[str] = frozenset(),
) -> None:
    """As many sites as there is room for; `also`: those that may not be in any row."""
    sites = [[_site_column(site, rows)] for site in sorted({*_sites(rows), *also})]
    last = _needed(rows)
    count = how_many_fit([*first, *last], sites, width=console.width)
    shown = [column for group in sites[:count] for column in group]
    console.print(table_of([*first, *shown, *last]), soft_wrap=True)
    if count < len(sites):
        console.print(f"no room for {len(sites) - count} more sites; --json has all", style="dim")


def _sites(rounds: Sequence[Scored]) -> list[str]:
    return sorted({score.site for each in rounds for score in each.sites})


def _site_column(site: str, rounds: Sequence[Scored]) -> Column:
    return Column(head=site, cells=[_said(site, each) for each in rounds])


def _said(site: str, scored: Scored) -> str:
    found = [score.value for score in scored.sites if score.site == site]
    return _number(found[0]) if found else "-"


def _needed(rounds: Sequence[Scored]) -> list[Column]:
    return [
        Column(head="mean", cells=[_number(each.mean) for each in rounds]),
        Column(head="worst", cells=[_number(each.worst) for each in rounds]),
        Column(head="at", cells=[each.worst_site for each in rounds], is_text=True),
        Column(head="spread", cells=[_number(each.spread) for each in rounds]),
    ]


def _number(value: float | None) -> str:
    return NO_NUMBER if value is None else number(value)


def _over_rounds(scores: RollingScores) -> str:
    """What the rounds say together; `-` where there are too few of them."""
    return (
        f"forgotten since the own turn before, mean over sites: {number(scores.forgotten)}"
        f"{_forgetful(scores.rounds)}\n"
        f"swing of the last {min(scores.swing_rounds, len(scores.rounds))} means: "
        f"{number(scores.swing)}; "
        f"monotonicity of the means: {number(scores.monotonicity)}"
    )


def _forgetful(rounds: Sequence[ScoredRound]) -> str:
    """Each site's newest, the most forgetful first."""
    newest = {
        score.site: score.forgotten
        for each in rounds
        for score in each.sites
        if score.forgotten is not None
    }
    most = sorted(newest.items(), key=lambda found: (-found[1], found[0]))
    named = ", ".join(f"{site} {number(value)}" for site, value in most[:MOST_FORGETFUL])
    more = ", ..." if len(most) > MOST_FORGETFUL else ""
    return f" ({named}{more})" if named else ""


def _say_others(console: Console, names: Sequence[str]) -> None:
    if names:
        told = ", ".join(map(one_line, names[:MOST_NAMED]))
        told += f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        console.print(Text(f"--metric shows another: {told}"), style="dim")

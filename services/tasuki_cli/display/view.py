"""What is shown of a run at one moment: which sites, which numbers, which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasuki.core.run import OVER, RunState, Status
from tasuki.core.scores import MIN
from tasuki.observe.printable import one_line, shortened
from tasuki_cli.display.board import Board, rounds_done
from tasuki_cli.display.evaluation import named
from tasuki_cli.display.seen_scores import Judged, Trend
from tasuki_cli.display.turn_out import Progress, progress
from tasuki_controller.turn_now import doing, span

MOST_NEWS = 5
"""Sites that have a row since something happened there, where not all have one."""

MOST_WORST = 3
"""And since their scores are the worst."""

MOST_ROUNDS = 5
MOST_NOTICES = 6
MOST_VALUES = 5
MOST_SITE = 20
MOST_METRIC = 10
"""Characters of names, where all columns have to fit."""

HOLDS, DONE, PASSED, WAITS, ABSENT = "●", "✓", "✗", "○", " "


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRow:
    """A site: where it is in the round, its scores, its newest news in a word or two."""

    mark: str
    site: str
    scores: Mapping[Judged, Trend]
    news: str

    @property
    def holds(self) -> bool:
        return self.mark == HOLDS


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Words and numbers; those of sites are spelled out, and none is markup.

    Attributes:
        done, rounds: of how many rounds how many are done, with parts of one.
        left: how much time, in words; empty: not known, or none.
        more: sites that have no row.
        scoring: what the evaluation under way is at.
        doing: what the turn that is out is at.
        by_round: what rounds came to, the best marked.
    """

    run: str
    status: str
    head: str
    done: float
    rounds: int
    left: str
    metric: str
    less_is_better: bool
    kinds: Sequence[Judged]
    rows: Sequence[SiteRow]
    more: int
    scoring: str
    doing: str
    progress: Progress
    by_round: str
    evaluated: str
    notices: Sequence[str]
    unseen: int
    reason: str


def view_of(board: Board, *, at: float, most_sites: int, most_notices: int = MOST_NOTICES) -> View:
    """What is to be shown now of a run that was seen."""
    state = board.state
    assert state is not None  # noqa: S101 - there is nothing to show before
    kept = board.notices.newest(most_notices, now=board.now(at))
    sites = _sites_shown(board, state, most_sites)
    is_over = state.status in OVER
    now = Progress(share=None, told="", values={}) if is_over else progress(board.turn.values)
    return View(
        run=state.plan.run,
        status=state.status,
        head=_head(state),
        done=rounds_done(state),
        rounds=state.plan.task.rounds,
        left=_left(board, state, at=at),
        metric=shortened(board.scores.metric, MOST_METRIC),
        less_is_better=board.scores.mode == MIN,
        kinds=board.scores.kinds,
        rows=_rows(board, state, sites),
        more=len(_in_order(state)) - len(sites),
        scoring=_scoring(board),
        doing=_doing(board, state, at=at),
        progress=now,
        by_round=_by_round(board, state),
        evaluated=board.evaluated,
        notices=kept,
        unseen=len(board.notices) - len(kept),
        reason=one_line(state.reason) if is_over and state.status is not Status.FINISHED else "",
    )


def _head(state: RunState) -> str:
    rounds = state.plan.task.rounds
    return f"round {min(state.round + 1, rounds)} of {rounds}  {state.turns} turns accepted"


def _left(board: Board, state: RunState, *, at: float) -> str:
    if state.status in OVER:
        return ""
    seconds = board.pace.left_s(state.plan.task.rounds, at=at)
    if seconds is None or seconds < 1:  # no time that it took tells how long scores still take
        return ""
    return f"{'at most ' if state.plan.stop else ''}about {span(seconds)} left"


def _scoring(board: Board) -> str:
    if (under_way := board.evaluation) is None:
        return ""
    scored, asked = len(under_way.scores), len(under_way.now.sites)
    return f"all sites score {one_line(named(under_way.now.asked))}: {scored} of {asked} have"


def _doing(board: Board, state: RunState, *, at: float) -> str:
    if state.lanes[0].relay.holder is None:
        return ""
    holder = shortened(state.lanes[0].relay.holder, MOST_SITE)
    return doing(holder, board.turn.now(at).phase) or f"{holder} has the turn"


def _by_round(board: Board, state: RunState) -> str:
    judged, best = dict(board.scores.judged), state.best
    newest = sorted(judged)[-MOST_ROUNDS:]
    if best is not None:
        judged[best.after - 1] = best.value
        newest = sorted({*newest, best.after - 1})
    told = ", ".join(
        f"{number + 1} {judged[number]:.4g}{' (best)' if best and number + 1 == best.after else ''}"
        for number in newest
    )
    return f"{one_line(board.scores.judged_as)}: {told}" if told else ""


# Sites.


def _in_order(state: RunState) -> list[str]:
    """As they have their turns; those that have none now come last."""
    return list(dict.fromkeys((*state.lanes[0].relay.itinerary, *state.plan.sites)))


def _sites_shown(board: Board, state: RunState, most: int) -> list[str]:
    """All, or those that matter most: the holder, news, the worst, who comes next."""
    sites = _in_order(state)
    if len(sites) <= most:
        return sites
    known = set(sites)
    news = [site for site in reversed(board.notices.by_site) if site in known]
    judged = {site: board.scores.badness(site) for site in sites if board.scores.of(site)}
    worst = sorted(judged, key=lambda site: -judged[site])
    behind = state.lanes[0].relay.itinerary[state.lanes[0].relay.hop :]
    wanted = dict.fromkeys(
        [
            *filter(None, (state.lanes[0].relay.holder, board.last)),
            *news[:MOST_NEWS],
            *worst[:MOST_WORST],
            *behind,
            *sites,
        ]
    )
    chosen = set(list(wanted)[:most])
    return [site for site in sites if site in chosen]


def _rows(board: Board, state: RunState, sites: Sequence[str]) -> list[SiteRow]:
    marks, news = _marks(board, state), board.notices.by_site
    return [
        SiteRow(
            mark=marks.get(site, ABSENT),
            site=shortened(site, MOST_SITE),
            scores=board.scores.of(site),
            news=news.get(site, ""),
        )
        for site in sites
    ]


def _marks(board: Board, state: RunState) -> dict[str, str]:
    if state.status is Status.EVALUATING and (under_way := board.evaluation) is not None:
        marks = dict.fromkeys(under_way.now.sites, WAITS)
        marks |= dict.fromkeys((each.site for each in under_way.now.left_out), PASSED)
        return marks | dict.fromkeys(under_way.scores, DONE)
    marks = {
        site: DONE if hop < state.lanes[0].relay.hop else WAITS
        for hop, site in enumerate(state.lanes[0].relay.itinerary)
    }
    skipped = [skip.site for skip in state.skipped if skip.round == state.round]
    marks |= dict.fromkeys(skipped, PASSED)
    if state.lanes[0].relay.holder is not None:
        marks[state.lanes[0].relay.holder] = HOLDS
    return marks

"""What is shown of a run at one moment: which sites, which numbers, which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from tasuki.core.relay import Phase
from tasuki.core.run import OVER, LaneState, RunState, Status
from tasuki.core.scores import MIN
from tasuki.observe.printable import one_line, shortened
from tasuki_cli.display.board import MERGES, Board, rounds_done
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

NOTHING = Progress(share=None, told="", values={})
"""No turn of which anything is known."""

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
class LaneLine:
    """One lane: how far it is in the round, what its turn is at. `is_late`: not waited for."""

    name: str
    place: str
    doing: str
    progress: Progress
    is_late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Words and numbers; those of sites are spelled out, and none is markup.

    Attributes:
        done, rounds: of how many rounds how many are done, with parts of one.
        left: how much time, in words; empty: not known, or none.
        more: sites that have no row.
        scoring: what the evaluation under way is at.
        lanes: each of the models on their way; none if there is one.
        doing: what the turn that is out is at, or the run, if it has lanes.
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
    lanes: Sequence[LaneLine]
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
    now = NOTHING if is_over or state.has_lanes else progress(board.turns[0].values)
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
        lanes=_lanes(board, state, at=at),
        doing=_doing_of_all(state) if state.has_lanes else _doing(board, state, 0, at=at),
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


def _doing(board: Board, state: RunState, lane: int, *, at: float) -> str:
    if (name := state.lanes[lane].relay.holder) is None:
        return ""
    holder = shortened(name, MOST_SITE)
    return doing(holder, board.turns[lane].now(at).phase) or f"{holder} has the turn"


def _doing_of_all(state: RunState) -> str:
    return MERGES if state.status is Status.MERGING else ""


def _lanes(board: Board, state: RunState, *, at: float) -> list[LaneLine]:
    """Of several; of a run that is over there is nothing to say lane by lane."""
    if not state.has_lanes or state.status in OVER:
        return []
    return [_lane(board, state, lane, at=at) for lane in state.lanes]


def _lane(board: Board, state: RunState, lane: LaneState, *, at: float) -> LaneLine:
    relay = lane.relay
    is_out = relay.holder is not None
    return LaneLine(
        name=f"lane {relay.lane + 1}",
        place=f"{min(relay.hop + is_out, len(relay.itinerary))}/{len(relay.itinerary)}",
        doing=_doing(board, state, relay.lane, at=at) if is_out else _rests(lane),
        progress=progress(board.turns[relay.lane].values) if is_out else NOTHING,
        is_late=lane.is_late,
    )


def _rests(lane: LaneState) -> str:
    """Why no turn of it is out."""
    if lane.is_late:
        return "late: the round goes on without it"
    if not lane.itinerary:
        return "no turn in this round"
    return "done" if lane.relay.phase is Phase.DONE else "rests"


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
    planned = chain.from_iterable(lane.itinerary for lane in state.lanes)
    return list(dict.fromkeys((*planned, *state.plan.sites)))


def _sites_shown(board: Board, state: RunState, most: int) -> list[str]:
    """All, or those that matter most: who holds, news, the worst, who comes next."""
    sites = _in_order(state)
    if len(sites) <= most:
        return sites
    known = set(sites)
    news = [site for site in reversed(board.notices.by_site) if site in known]
    judged = {site: board.scores.badness(site) for site in sites if board.scores.of(site)}
    worst = sorted(judged, key=lambda site: -judged[site])
    behind = chain.from_iterable(lane.itinerary[lane.relay.hop :] for lane in state.lanes)
    wanted = dict.fromkeys(
        [
            *filter(None, (*state.holders, board.last)),
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
    turns = [
        (site, hop < lane.relay.hop)
        for lane in state.lanes
        if not lane.is_late
        for hop, site in enumerate(lane.itinerary)
    ]
    skipped = [skip.site for skip in state.skipped if skip.round == state.round]
    marks = {site: DONE if is_over else WAITS for site, is_over in turns}
    marks |= dict.fromkeys(skipped, PASSED)
    if state.has_lanes:  # whoever is done in one lane, or passed over, may have a turn in another
        marks |= dict.fromkeys((site for site, is_over in turns if not is_over), WAITS)
    return marks | dict.fromkeys(state.holders, HOLDS)

"""What operators may ask of a running controller, whatever door they come through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tasuki.core import run as machine
from tasuki.core.model import CONTROLLER, EVALUATION, Origin, WeightsRef
from tasuki.core.report import SiteBeat, SiteMeasured, SiteStarted, TurnProgressed, TurnTaken
from tasuki.core.run import RunState
from tasuki.core.run.reports import stage_said
from tasuki.errors import (
    SettingsError,
    TasukiError,
    TooFewSites,
    UnknownRun,
    UnknownSite,
    WeightsRemoved,
)
from tasuki.ledger.sqlite import Row, SqliteLedger
from tasuki.observe.controller import ControllerMetrics
from tasuki.settings.run import RunFile
from tasuki.trust.armor import unarmored
from tasuki.trust.rosters import WHAT as ROSTER
from tasuki.wire import names
from tasuki_controller import documents, history
from tasuki_controller.checkpoints import Kept
from tasuki_controller.continuing import check_evaluated, check_joined, check_over, removed
from tasuki_controller.followers.watch import Onlookers
from tasuki_controller.kept_rows import KeptRows, page
from tasuki_controller.ledger_in_words import ledger_rows
from tasuki_controller.news import HeldUp, MessageDiscarded, TurnOut, Update
from tasuki_controller.scoreboard import scores_of
from tasuki_controller.service import ControllerService
from tasuki_controller.turn_rows import turn_table
from tasuki_controller.uploads import Uploads

HEARD_S = 60.0
"""A site that has been silent for so long is not asked into a new run."""

TRANSFERS = 3
"""As many transfers of a run of one lane as a stream has to keep for a reader that was away."""


@dataclass(slots=True, kw_only=True)
class Operations:
    """Submits, steers and shows runs."""

    ledger: SqliteLedger
    uploads: Uploads
    metrics: ControllerMetrics
    stream_bytes: int
    sites: tuple[str, ...] | None = None
    onlookers: Onlookers = field(default_factory=Onlookers)
    _service: ControllerService | None = None
    _heard: dict[str, float] = field(default_factory=dict)

    @property
    def service(self) -> ControllerService:
        assert self._service is not None  # noqa: S101 - `serve` comes before any question
        return self._service

    def serve(self, service: ControllerService) -> None:
        """Ask this service from now on."""
        self._service = service
        self.metrics.runs.lease_left = service.lease_left_s
        self.metrics.runs.is_on_its_way = service.is_on_its_way
        for state in service.runs.values():
            self.metrics.runs.found(state)

    def watch(self, update: Update) -> None:
        """The service's watcher: what is told and not recorded."""
        match update.what:
            case SiteStarted(site=site) | SiteBeat(site=site):
                self._hear(site)
            case SiteMeasured(site=site, series=series):
                self._hear(site)
                self.metrics.sites.take(site, series)
            case TurnTaken(id=id, site=site) | TurnProgressed(id=id, site=site) as said:
                self._hear(site)
                if not update.outcome and id.lane < EVALUATION:
                    still_s = said.still_s if isinstance(said, TurnProgressed) else 0.0
                    phase = stage_said(said)
                    self.metrics.runs.holder_heard(id.of_lane, phase=phase, still_s=still_s)
            case MessageDiscarded(queue_kind=kind, reason=reason):
                self.metrics.refused(kind, reason)
        self.onlookers.tell(update)

    def streams(self) -> list[str]:
        """The weights' streams of the controller and of every site that it knows."""
        sites = {*(self.sites or ()), *self._heard}
        return [names.weights_stream(name) for name in (CONTROLLER, *sorted(sites))]

    def take_roster(self, text: str) -> documents.TakenRoster:
        """Go by the roster in a file, and tell every site.

        Raises:
            SettingsError: there is none in it, or it is not to be taken.
            StorageError: it cannot be kept.
        """
        try:
            issued = unarmored(text.encode(), what=ROSTER)
        except ValueError as exc:
            raise SettingsError(str(exc)) from exc
        roster = self.service.take_roster(issued)
        return documents.TakenRoster(
            number=roster.number, ends=datetime.fromtimestamp(roster.ends, UTC)
        )

    def submit(
        self, run_file: RunFile, weights: WeightsRef, *, origin: Origin | None = None
    ) -> RunState:
        """Start a run from weights that were uploaded before.

        Raises:
            SettingsError, RunExists, WeightsError: and nothing was started.
        """
        plan = replace(run_file.plan(self._sites_of(run_file)), origin=origin)
        self._check_retained(weights, lanes=plan.lanes.count)
        path = self.uploads.find(weights)
        self.service.submit(plan, path, weights)
        self.uploads.taken(weights)
        return self.state(plan.run)

    async def submit_from(self, run_file: RunFile, run: str, kept: Kept) -> RunState:
        """Start a run from a checkpoint of another, `run`.

        Raises:
            SettingsError, RunExists, UnknownRun, WeightsRemoved: and nothing was started.
        """
        try:
            weights = await self.uploads.borrow(kept, non_finite=run_file.gate.non_finite)
        except UnknownRun as exc:
            if self.state(run).removed:
                raise WeightsRemoved(removed(run)) from exc
            raise
        origin = Origin(run=run, round=kept.round, digest=kept.digest)
        try:
            return self.submit(run_file, weights, origin=origin)
        except TasukiError:
            self.uploads.taken(weights)
            raise

    def _check_retained(self, weights: WeightsRef, *, lanes: int = 1) -> None:
        """Those of all lanes may lie in one stream at once: that of the controller at least."""
        transfers = TRANSFERS + lanes - 1
        if transfers * weights.size > self.stream_bytes:
            fewer = " (one for each lane, and two), or let fewer lanes circulate"
            raise SettingsError(
                f"weights of {weights.size} bytes are too large for streams that keep "
                f"{self.stream_bytes}: provision them with {transfers} times the weights or more"
                f"{fewer if lanes > 1 else ''}"
            )

    def runs(self, *, even_removed: bool = False) -> list[documents.RunRow]:
        runs, turns = self.service.runs, self.service.turns_now
        return [
            documents.run_row(state, turns(run))
            for run, state in runs.items()
            if even_removed or not state.removed
        ]

    def state(self, run: str) -> RunState:
        """Raises UnknownRun: with those that there are."""
        found = self.service.runs.get(run)
        if found is None:
            known = ", ".join(self.service.runs) or "none"
            raise UnknownRun(f"there is no run {run!r} here; the controller has {known}")
        return found

    def submitted(self, run: str) -> documents.SubmittedRun:
        return documents.submitted_run(self.state(run), self._rows(run))

    # A long ledger takes seconds to replay: in a thread, since turns have to go on meanwhile.

    async def standing(self, run: str) -> documents.Standing:
        state, rows, turns = self.state(run), self._rows(run), self.service.turns_now(run)
        return await asyncio.to_thread(
            lambda: documents.standing(state, list(history.steps(rows)), turns)
        )

    async def rows(self, run: str) -> list[documents.LedgerRow]:
        self.state(run)
        return await asyncio.to_thread(ledger_rows, self._rows(run))

    def kept_rows(self, run: str, *, after: int) -> KeptRows:
        """Some of its rows behind one of them, as they were written."""
        self.state(run)
        return page(run, self.ledger.rows(run, after=after))

    async def turns(self, run: str) -> documents.TurnTable:
        state, rows = self.state(run), self._rows(run)

        def replayed() -> documents.TurnTable:
            steps = list(history.steps(rows))
            return turn_table(state, history.records(steps), history.merges(steps))

        return await asyncio.to_thread(replayed)

    async def scores(self, run: str, *, metric: str | None, mode: str | None) -> documents.Scores:
        """Raises SettingsError: no site says anything by this metric."""
        state, rows = self.state(run), self._rows(run)

        def replayed() -> documents.Scores:
            steps = list(history.steps(rows))
            records, evaluations = history.records(steps), history.evaluations(steps)
            return scores_of(state, records, evaluations, metric=metric, mode=mode)

        return await asyncio.to_thread(replayed)

    def _rows(self, run: str) -> list[Row]:
        """Read here: an SQLite connection stays with its thread."""
        return list(self.ledger.rows(run))

    def steer(self, run: str, event: machine.Event) -> documents.SteeredRun:
        """Pause, resume or stop a run; `outcome` says why that changed nothing, if so."""
        self.state(run)
        return self._steered(run, self.service.apply(run, event))

    def _steered(self, run: str, outcome: str) -> documents.SteeredRun:
        row = documents.run_row(self.state(run), self.service.turns_now(run))
        return documents.SteeredRun(**dict(row), outcome=outcome)

    def extend(self, run: str, rounds: int) -> documents.SteeredRun:
        """Let a run have so many rounds in all, be it finished; `outcome` as in `steer`.

        Raises:
            FewerRounds, NotExtended, WeightsRemoved: it cannot have them.
            SettingsError: it would not be submitted with them either.
        """
        state = self.state(run)
        self._check_retained(state.weights, lanes=len(state.lanes))
        return self._steered(run, self.service.extend(run, rounds))

    async def evaluate(self, run: str, kept: Kept, *, split: str) -> documents.AskedEvaluation:
        """Let all sites score the weights of a checkpoint.

        Raises:
            WeightsRemoved: nothing of the run is left but its rows.
            LedgerBroken, NonFiniteWeights, DiskFull, StorageError: they cannot be given out.
        """
        check_evaluated(self.state(run))
        weights = await self.uploads.borrow(kept, non_finite=self.state(run).plan.task.non_finite)
        return self._evaluate(run, weights, after=kept.round, split=split)

    def evaluate_uploaded(
        self, run: str, weights: WeightsRef, *, split: str
    ) -> documents.AskedEvaluation:
        """Let all sites score weights that were uploaded before.

        Raises:
            WeightsRemoved: nothing of the run is left but its rows.
            WeightsError: they were not uploaded, or are of another model.
            SettingsError: they are too large for the sites' streams.
        """
        self.uploads.find(weights)
        try:
            check_evaluated(self.state(run))
            self._check_retained(weights)
        except TasukiError:
            self.uploads.taken(weights)
            raise
        return self._evaluate(run, weights, after=None, split=split)

    def _evaluate(
        self, run: str, weights: WeightsRef, *, after: int | None, split: str
    ) -> documents.AskedEvaluation:
        path = self.uploads.find(weights)
        try:
            number = self.service.evaluate(run, weights, path, after=after, split=split)
        finally:
            self.uploads.taken(weights)
        return documents.AskedEvaluation(**dict(self._steered(run, "")), number=number)

    async def remove(self, run: str) -> documents.SteeredRun:
        """Let a run's weights go; `outcome` says that they had gone before, if so.

        Raises:
            RunUnderWay: it is not over.
            StorageError: some of them are still there; ask again.
        """
        check_over(self.state(run))
        answer = self.steer(run, machine.RunRemoved())
        await self.service.let_go(run)
        return answer

    def add_site(self, run: str, site: str) -> documents.SteeredRun:
        """Let a site take part from the next round on; `outcome` as in `steer`.

        Raises:
            UnknownSite: it was not heard of lately, so that its turns might go nowhere.
            TooManySites: a round with it would not fit into messages.
        """
        check_joined(self.state(run), site)
        if site not in self._heard_lately():
            heard = ", ".join(self._heard_lately()) or "nobody"
            raise UnknownSite(
                f"{site!r} has not been heard of in the last {HEARD_S:g} s, only {heard}: "
                "provision it and start its service first"
            )
        return self.steer(run, machine.SiteAdded(site=site))

    def follow(self, run: str, *, beat_s: float) -> AsyncIterator[Update | None]:
        """The run as it is now and whatever happens to it until it is over; None: nothing new."""
        return self.onlookers.follow(run, self._now(run), beat_s=beat_s)

    def _now(self, run: str) -> Iterator[Update]:
        """What who looks on from now on has missed."""
        state = self.state(run)
        yield Update(run=state, what=None)
        for what in self._news_of(state):
            yield Update(run=state, what=what)

    def _news_of(self, state: RunState) -> Iterator[HeldUp | TurnOut | TurnProgressed]:
        """Of the turns that are out, which is no part of the state."""
        turns = self.service.turns_now(state.plan.run)
        if held_up := turns[0].held_up:
            yield HeldUp(reason=held_up)
        for lane, turn in zip(state.lanes, turns, strict=True):
            relay = lane.relay
            if (holder := relay.holder) is None:
                continue
            yield TurnOut(held_s=turn.held_s, lane=relay.lane)
            if turn.phase:
                yield TurnProgressed(
                    id=relay.expected, site=holder, phase=turn.phase, still_s=turn.still_s
                )

    def _sites_of(self, run_file: RunFile) -> tuple[str, ...]:
        if run_file.sites is not None:
            return tuple(run_file.sites)
        if self.sites is not None:
            return self.sites
        heard = self._heard_lately()
        if not heard:
            raise TooFewSites(
                "no site has been heard of yet: start some, or name them in the run file's `sites`"
            )
        return heard

    def _heard_lately(self) -> tuple[str, ...]:
        now = asyncio.get_running_loop().time()
        return tuple(sorted(site for site, at in self._heard.items() if now - at < HEARD_S))

    def _hear(self, site: str) -> None:
        self._heard[site] = asyncio.get_running_loop().time()
        self.metrics.heard(site)

"""What operators may ask of a running controller, whatever door they come through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tasuki.core import run as machine
from tasuki.core.model import WeightsRef
from tasuki.core.report import SiteBeat, SiteStarted, TurnProgressed, TurnTaken
from tasuki.core.run import OVER, RunState
from tasuki.errors import SettingsError, TooFewSites, UnknownRun
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.observe.metrics import ControllerMetrics
from tasuki.settings.run import RunFile
from tasuki_controller import views
from tasuki_controller.service import ControllerService, Update
from tasuki_controller.uploads import Uploads

HEARD_S = 60.0
"""A site that has been silent for so long is not asked into a new run."""

TRANSFERS = 3
"""As many transfers of a run as a stream has to keep for a reader that was away."""

BEHIND = 256
"""Updates that an onlooker may be behind before it misses some; each has the whole state."""


@dataclass(slots=True, kw_only=True)
class Desk:
    """Submits, steers and shows runs."""

    ledger: SqliteLedger
    uploads: Uploads
    metrics: ControllerMetrics
    stream_bytes: int
    sites: tuple[str, ...] | None = None
    _service: ControllerService | None = None
    _heard: dict[str, float] = field(default_factory=dict)
    _onlookers: dict[str, set[asyncio.Queue[Update | None]]] = field(default_factory=dict)

    @property
    def service(self) -> ControllerService:
        assert self._service is not None  # noqa: S101 - `serve` comes before any question
        return self._service

    def serve(self, service: ControllerService) -> None:
        """Ask this service from now on."""
        self._service = service
        for state in service.runs.values():
            self._measure(state)

    def watch(self, update: Update) -> None:
        """The service's watcher."""
        match update.what:
            case SiteStarted(site=site) | SiteBeat(site=site):
                self._hear(site)
            case TurnTaken(site=site) | TurnProgressed(site=site):
                self._hear(site)
            case machine.TurnFinished(record=record):
                outcome = update.outcome or "accepted"
                self.metrics.count_turn(record.id.run, record.site, outcome)
            case machine.TurnFailed(id=id, site=site):
                self.metrics.count_turn(id.run, site, update.outcome or "failed")
        if update.run is not None:
            self._measure(update.run)
            for queue in self._onlookers.get(update.run.plan.run, set()):
                _put(queue, update)

    def submit(self, run_file: RunFile, weights: WeightsRef) -> RunState:
        """Start a run from weights that were uploaded before.

        Raises:
            SettingsError, RunExists: and nothing was started.
        """
        plan = run_file.plan(self._sites_of(run_file))
        if TRANSFERS * weights.size > self.stream_bytes:
            raise SettingsError(
                f"weights of {weights.size} bytes are too large for streams that keep "
                f"{self.stream_bytes}: provision them with {TRANSFERS} times the weights or more"
            )
        path = self.uploads.find(weights)
        self.service.submit(plan, path, weights)
        path.unlink(missing_ok=True)
        return self.state(plan.run)

    def runs(self) -> list[views.View]:
        return [views.run_row(state) for state in self.service.runs.values()]

    def state(self, run: str) -> RunState:
        """Raises UnknownRun: with those that there are."""
        found = self.service.runs.get(run)
        if found is None:
            known = ", ".join(self.service.runs) or "none"
            raise UnknownRun(f"there is no run {run!r} here; the controller has {known}")
        return found

    def standing(self, run: str) -> views.View:
        return views.standing(self.state(run), list(self.ledger.rows(run)))

    def rows(self, run: str) -> list[views.View]:
        self.state(run)
        return [views.ledger_row(row) for row in self.ledger.rows(run)]

    def steer(self, run: str, event: machine.Event) -> views.View:
        """Pause, resume or stop a run; `outcome` says why that changed nothing, if so."""
        self.state(run)
        outcome = self.service.apply(run, event)
        return {**views.run_row(self.state(run)), "outcome": outcome}

    async def follow(self, run: str, *, beat_s: float) -> AsyncIterator[Update | None]:
        """The run as it is now and whatever happens to it until it is over; None: nothing new."""
        queue: asyncio.Queue[Update | None] = asyncio.Queue(BEHIND)
        state = self.state(run)
        self._onlookers.setdefault(run, set()).add(queue)
        try:
            yield Update(run=state, what=None)
            while state.status not in OVER:
                try:
                    update = await asyncio.wait_for(queue.get(), beat_s)
                except TimeoutError:
                    yield None
                    continue
                if update is None:
                    return
                state = update.run or state
                yield update
        finally:
            self._onlookers[run].discard(queue)

    def close(self) -> None:
        """Send the onlookers home."""
        for queues in self._onlookers.values():
            for queue in queues:
                _put(queue, None)

    def _sites_of(self, run_file: RunFile) -> tuple[str, ...]:
        if run_file.sites is not None:
            return tuple(run_file.sites)
        if self.sites is not None:
            return self.sites
        now = asyncio.get_running_loop().time()
        heard = sorted(site for site, at in self._heard.items() if now - at < HEARD_S)
        if not heard:
            raise TooFewSites(
                "no site has been heard of yet: start some, or name them in the run file's `sites`"
            )
        return tuple(heard)

    def _hear(self, site: str) -> None:
        self._heard[site] = asyncio.get_running_loop().time()

    def _measure(self, state: RunState) -> None:
        if state.status in OVER:
            self.metrics.forget(state.plan.run)
        else:
            lease_s = state.plan.failure.lease_s
            self.metrics.note_holder(state.plan.run, state.holder, lease_s=lease_s)


def _put(queue: asyncio.Queue[Update | None], update: Update | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(update)

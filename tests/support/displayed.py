"""A run as a display sees it: turns that report what a test says, on a clock of its own."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from support.runs import Relay
from tasuki.core import run
from tasuki.core.model import Kind, Plan, TurnId, TurnRecord
from tasuki.core.report import TurnProgressed
from tasuki_cli.display.board import Board, Line
from tasuki_cli.display.drawing import draw
from tasuki_cli.display.view import View, view_of
from tasuki_controller.news import Update


class Displayed:
    """`lines`: what there was to say of it."""

    def __init__(self, of: Plan) -> None:
        self.relay = Relay(of)
        self.board = Board()
        self.at = 0.0
        self.lines: list[Line] = []
        self.see(None)

    def see(self, what: object, outcome: str = "") -> None:
        update = Update(run=self.relay.state, what=what, outcome=outcome)
        self.lines += self.board.take(update, at=self.at)

    def happens(self, event: run.Event) -> None:
        self.relay(event)
        self.see(event)

    def turn(self, *, took_s: float = 10.0, **metrics: float) -> TurnRecord:
        """The holder's, and the end of the round if it is the last one's."""
        self.at += took_s
        record = replace(self.relay.record(), metrics=metrics)
        self.happens(run.TurnFinished(record=record))
        if self.relay.state.status is run.Status.CLOSING:
            self.happens(run.WeightsArrived(weights=self.relay.state.weights))
        return record

    def unchanged(self, **metrics: float) -> None:
        record = replace(self.relay.record(), metrics=metrics)
        sent = replace(record.sent, digest=record.received)
        self.happens(run.TurnFinished(record=replace(record, sent=sent)))

    def fail(self, detail: str = "boom") -> None:
        self.relay.fail(detail)
        self.see(self.relay.history[-1])

    def expire(self) -> None:
        self.relay.expire()
        self.see(self.relay.history[-1])

    def log(self, **values: float) -> None:
        state = self.relay.state
        site = state.lanes[0].relay.holder or ""
        self.see(
            TurnProgressed(
                id=state.lanes[0].relay.expected, site=site, phase="training", values=values
            )
        )

    def asked(self, site: str) -> TurnId:
        """The turn in which a site is to score."""
        evaluation = self.relay.state.evaluation
        assert evaluation is not None
        return evaluation.relays[site].expected

    def score(self, site: str, *, samples: int = 10, **metrics: float) -> None:
        evaluation = self.relay.state.evaluation
        assert evaluation is not None
        weights = evaluation.asked.weights
        record = TurnRecord(
            id=self.asked(site),
            site=site,
            received=weights.digest,
            sent=weights,
            metrics=metrics,
            samples=samples,
            kind=Kind.EVALUATE,
        )
        self.happens(run.TurnFinished(record=record))

    def no_score(self, site: str, *, detail: str) -> None:
        """Until it is left out."""
        for _ in range(2):
            id = self.asked(site)
            failed = run.TurnFailed(id=id, site=site, error="TrainerRaised", detail=detail)
            self.happens(failed)

    def end(self) -> None:
        self.happens(run.StopRequested())

    @property
    def said(self) -> list[str]:
        return [f"{line.who} {line.text}" for line in self.lines]

    def view(self, *, most_sites: int = 12) -> View:
        return view_of(self.board, at=self.at, most_sites=most_sites)

    def drawn(self, *, most_sites: int = 12, width: int = 80) -> list[str]:
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(draw(self.view(most_sites=most_sites)))
        return [line.rstrip() for line in console.export_text().splitlines()]

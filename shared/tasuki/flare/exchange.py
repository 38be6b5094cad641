"""What a framework's trainer that was patched does with a turn: one of them per trainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tasuki.core.model import Budget, Kind
from tasuki.errors import TrainerError
from tasuki.flare.api import initialized
from tasuki.flare.model import FLModel
from tasuki.flare.translation import numbers_of, received_metrics

State = Mapping[str, Any]  # Any: tensors


class Exchange:
    """Receives a turn's weights once for whoever asks, and sends its result."""

    def __init__(self) -> None:
        self._received_metrics: dict[str, Any] = {}  # Any: as in `received_metrics`
        self._began_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is a turn to work on. After it was sent, models are the script's own."""
        return initialized().is_open

    @property
    def budget(self) -> Budget:
        return initialized().known_turn().budget

    @property
    def round(self) -> int:
        return initialized().known_turn().round

    @property
    def is_out_of_time(self) -> bool:
        """Whether the turn has trained for as long as the run's budget in seconds says."""
        seconds = self.budget.seconds
        return seconds is not None and time.monotonic() - self._began_s >= seconds

    def leaves_out_training(self, what: str) -> bool:
        """Whether the turn evaluates, so that a script's call to train is to do nothing."""
        return initialized().leaves_out_training(what)

    def receive(self, load: Callable[[State], object], *, what: str) -> None:
        """Load the turn's weights.

        Raises:
            TrainerError: the run is over, or the weights do not fit.
        """
        model = initialized().receive()
        if model is None:
            raise TrainerError(
                f"there is no model for {what}, because the run is over; call it inside"
                " `while flare.is_running():`"
            )
        try:
            load(model.params)
        except (RuntimeError, KeyError) as exc:
            raise TrainerError(
                f"the received weights do not fit the model of {what}; [weights] initial in the"
                f" run file needs to make the same one: {exc!s:.1500}"
            ) from exc

    def begin(self) -> None:
        """Training begins here: its seconds count, and its generators start at the turn's seed.

        What was drawn before, while a model was validated or data prepared for the first time, is
        not in what the turn draws, so that a turn that is repeated repeats itself.
        """
        initialized().seed()
        self._began_s = time.monotonic()

    def evaluated(
        self,
        metrics: Mapping[str, Any],  # Any: as the framework has them
        meta: Mapping[str, Any],  # Any: the script's own
    ) -> None:
        """Metrics of the received weights: the result of a turn that evaluates, else part of it."""
        session, numbers = initialized(), numbers_of(metrics)
        if session.known_turn().kind is Kind.EVALUATE:
            session.send(FLModel(metrics=numbers, meta=dict(meta)))
        else:
            self._received_metrics = received_metrics(numbers)

    def send(
        self,
        params: State,
        *,
        metrics: Mapping[str, Any],  # Any: as above
        meta: Mapping[str, Any],  # Any: the script's own
    ) -> None:
        """Hand on what was trained, with the metrics of both models."""
        both = {**self._received_metrics, **numbers_of(metrics)}
        self._received_metrics = {}
        initialized().send(FLModel(params=dict(params), metrics=both, meta=dict(meta)))

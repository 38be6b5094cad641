"""A script's turns, one after the other: which one it has, and what it has done about it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tasuki.core.model import Kind
from tasuki.errors import CannotEvaluate, TasukiError, TrainerError
from tasuki.flare.model import FLModel
from tasuki.flare.translation import framework_in_use, model_of, received_metrics, result_of
from tasuki.trainer import Framework, Result, Scores, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptTurn:
    """A turn with what surrounds it.

    Attributes:
        seed: seeds every generator for this turn.
        finish: hands the result on; raises a TasukiError if it cannot be.
        refuse: told why what the script does is no result, before the script is.
        leave: says that this process, whose result does not count, is through with it.
    """

    turn: Turn
    seed: Callable[[], None]
    finish: Callable[[Result | Scores], None]
    refuse: Callable[[TasukiError], None] = lambda _: None
    leave: Callable[[], None] = lambda: None


class NextTurn(Protocol):
    def __call__(self, *, timeout_s: float | None) -> ScriptTurn | None:
        """Blocks until there is a turn; None: there will be no more.

        Raises:
            TimeoutError: there is none yet.
        """


class Session:
    """What the Client API's functions work on. Not for several threads, but for `log`."""

    def __init__(
        self,
        next_turn: NextTurn,
        *,
        framework: Framework | None = None,
        is_one_of_many: bool = False,
    ) -> None:
        self.framework = framework
        self.is_one_of_many = is_one_of_many
        self.follows = False  # another process of the same turn sends its result
        self.is_initialized = False
        self._next_turn = next_turn
        self._current: ScriptTurn | None = None
        self._last: Turn | None = None  # of this run: what is asked between turns is about it
        self._model: FLModel | None = None
        self._evaluated: object = None
        self._has_sent = False
        self._has_just_scored = False
        self._not_trained: Turn | None = None
        self._was_asked = False
        self._is_over = False
        self._is_shut_down = False

    @property
    def current(self) -> Turn | None:
        """The turn whose result is still to be sent."""
        return None if self._current is None else self._current.turn

    @property
    def is_open(self) -> bool:
        """Whether there is a turn to work on, or the first one is still to be asked for."""
        return not self._is_shut_down and (self._current is not None or self._last is None)

    @property
    def has_received(self) -> bool:
        return self._model is not None

    @property
    def has_sent(self) -> bool:
        """Whether any turn has its result."""
        return self._has_sent

    def await_turn(self, *, timeout_s: float | None = None) -> ScriptTurn | None:
        """The turn to work on, as soon as there is one; None: there will be no more.

        Raises:
            TimeoutError: there is none yet.
        """
        if self._current is None and not self._is_over:
            # What a script has imported by then says what it works with.
            self.framework = self.framework or framework_in_use()
            self._current = self._next_turn(timeout_s=timeout_s)
            self._is_over = self._current is None
            self._has_just_scored &= self._is_over
            self._last = self.current or self._last
        return self._current

    def leaves_out_training(self, what: str) -> bool:
        """Whether a script that evaluates and then trains in every turn is to train nothing now.

        So it is, once, in a turn that evaluates: before its scores were sent, or right after that.

        Args:
            what: what is called to train.

        Raises:
            CannotEvaluate: in this turn it was called before, and nothing evaluates.
        """
        if self._has_just_scored:
            self._has_just_scored = False
            return True
        current = self.await_turn()
        if current is None or current.turn.kind is Kind.TRAIN:
            return False
        if current.turn is self._not_trained:
            why = CannotEvaluate(
                f"this turn evaluates, and the script has called nothing but {what}; let it"
                " evaluate the received weights before that in each turn"
            )
            current.refuse(why)
            raise why
        self._not_trained = current.turn
        return True

    def known_turn(self) -> Turn:
        """The turn that the script has or had last, or else the first, as soon as it is there.

        Raises:
            TrainerError: there was never any.
        """
        turn = self._last
        if turn is None and not self._is_shut_down:
            self.await_turn()
            turn = self._last
        if turn is None:
            raise TrainerError("this site has no turn, so that there is nothing to say about it")
        return turn

    def is_running(self) -> bool:
        if self.follows and self._current is not None and (self._model or self._was_asked):
            self._leave()  # rank 0 may be the only one that sends, or even that receives
        self._was_asked = True
        return not self._is_shut_down and self.await_turn() is not None

    def receive(self, *, timeout_s: float | None = None) -> FLModel | None:
        """This turn's model, the same one until it is sent. None: no more turns, or none yet."""
        if self._is_shut_down:
            return None
        try:
            current = self.await_turn(timeout_s=timeout_s)
        except TimeoutError:
            return None
        if current is not None and self._model is None:
            self._model = model_of(current.turn, framework=self.framework or framework_in_use())
            # Here and not earlier, so that what a script draws while it sets up, which it does in
            # its first turn only, is not in what it draws in the turn.
            current.seed()
        return self._model

    def seed(self) -> None:
        """Every generator begins where the turn begins."""
        if self._current is not None:
            self._current.seed()

    def evaluated(self, metrics: object) -> None:
        """Metrics of the received model: the result of a turn that evaluates, else part of it."""
        if self.known_turn().kind is Kind.EVALUATE:
            self.send(FLModel(metrics=metrics))
        else:
            self._evaluated = metrics

    def send(self, model: FLModel, *, clear_cache: bool = True) -> None:
        """Hand the result of this turn on. If that fails, the turn can still be finished.

        Raises:
            TrainerError: nothing was received, or the model is no result.
            TasukiError: the result cannot be handed on.
        """
        current, received = self._current, self._model
        if current is None and self._last is not None:
            raise TrainerError(
                "flare.send was called twice for one turn; call flare.receive before each send"
            )
        if current is None or received is None:
            raise TrainerError('"receive" needs to be called before sending a model')
        if self._evaluated is not None and not model.metrics:
            model.metrics = received_metrics(self._evaluated)
        if self.follows:
            self._leave()
            return
        try:
            result = result_of(current.turn, model)
        except TrainerError as exc:
            current.refuse(exc)
            raise
        current.finish(result)
        self._has_sent = True
        self._has_just_scored = current.turn.kind is Kind.EVALUATE
        self._current = self._model = self._evaluated = None
        if clear_cache:
            for each in (model, received):
                each.params = each.optimizer_params = None

    def _leave(self) -> None:
        if self._current is not None:
            self._has_just_scored = self._current.turn.kind is Kind.EVALUATE
            self._current.leave()
        self._current = self._model = self._evaluated = None
        self._was_asked = False

    def clear(self) -> None:
        """Forget the received model; the turn stays, and `receive` begins it again."""
        self._model = self._evaluated = None

    def shut_down(self) -> None:
        """The script wants no more turns."""
        self._is_shut_down = True


ATTACH_VARIABLE = "TASUKI_TRAINER"
"""In the environment of each process that a site's command started: `module:where`.

The module's `attach(where)` gives this process its session.
"""

_installed: Session | None = None


def install(session: Session | None) -> None:
    """From here on the Client API of this process works on this session."""
    global _installed
    _installed = session


def installed() -> Session:
    """The session of this process.

    Raises:
        TrainerError: it was not started by a site.
    """
    if _installed is None and (place := os.environ.get(ATTACH_VARIABLE)):
        module, _, where = place.partition(":")
        install(importlib.import_module(module).attach(where))
    if _installed is None:
        raise TrainerError(
            "this script does not run at a Tasuki site; name it as the trainer in the site's"
            " settings and start the site, or try it with `tasuki simulate`"
        )
    return _installed

"""The trainer's process: imports the site's code once, then trains turn after turn.

It may die, leak or hold the GPU without harming the service; and it ends at once when the
service does, so that no trainer of a dead service goes on.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import queue
import runpy
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tasuki.errors import MessageError, TrainerError
from tasuki.flare.session import ScriptTurn, Session, install
from tasuki.moments import UNWATCHED, Moment, Moments
from tasuki.trainer import Turn
from tasuki_site import channel
from tasuki_site.seeding import seed_everything
from tasuki_site.source import Source, load_function
from tasuki_site.spell import Spell, failure_of, write_result
from tasuki_site.stage import Stage

FAULTS_VARIABLE = "TASUKI_FAULTS"


class Service:
    """The child's end of the channel."""

    def __init__(self, connection: socket.socket, moments: Moments = UNWATCHED) -> None:
        self._connection = connection
        self._moments = moments
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._turns: queue.SimpleQueue[Spell | None] = queue.SimpleQueue()
        self._first: Spell | None = None
        self._has_first = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def first_spell(self) -> Spell | None:
        """The turn that this process was started for; `next_spell` still gives it."""
        self._has_first.wait()
        return self._first

    def next_spell(self, *, timeout_s: float | None = None) -> Spell | None:
        """Blocks until there is a turn; None: there will be no more.

        Raises:
            TimeoutError: there is none yet.
        """
        try:
            spell = self._turns.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        if spell is not None:
            self._reach(Moment.TRAINER_ASKED, spell)
        return spell

    def open(self, spell: Spell) -> Turn:
        """The turn as the site's code sees it."""
        return spell.open(self.log, loaded=partial(self._reach, Moment.TRAINER_LOADED, spell))

    def log(self, values: Mapping[str, float]) -> None:
        self._send({"log": dict(values)})

    def finish(self, spell: Spell, result: object) -> None:
        self._end_copy()
        hold_standard_descriptors()
        self._reach(Moment.TRAINER_RETURNED, spell)
        outcome = write_result(spell, result)
        self._reach(Moment.TRAINER_SAVED, spell)
        self._send(
            {
                "digest": outcome.digest,
                "size": outcome.size,
                "metrics": dict(outcome.metrics),
                "samples": outcome.samples,
            }
        )

    def fail(self, exc: BaseException) -> None:
        self._end_copy()
        error, detail = failure_of(exc)
        # Whoever ends a program by sys.exit has most often printed why.
        has_printed = isinstance(exc, SystemExit) or isinstance(exc.__cause__, SystemExit)
        self._send({"error": error, "detail": detail, "has_printed": has_printed})

    def say_begun(self, spell: Spell) -> None:
        """This process, one of several, has this turn."""
        self._send({"begun": spell.to_map()})

    def say_through(self) -> None:
        """This process, one of several, is through with its turn; no copy of it says so."""
        if os.getpid() == self._pid:
            self._send({"through": True})

    def say_gone(self, *, has_result: bool) -> None:
        """This process, one of several, ends; whether a turn's result would have been its own."""
        self._send({"gone": has_result})

    def say_ended(self) -> None:
        """This process takes no more turns; one that was given to it meanwhile was not begun."""
        self._send({"ended": True})

    def _reach(self, moment: Moment, spell: Spell) -> None:
        self._moments.reach(moment, spell.id)

    def _end_copy(self) -> None:
        """One that os.fork made has no turn to answer; the original answers it."""
        if os.getpid() != self._pid:
            said = (
                b"a copy of the trainer's process (os.fork) came out of its turn, and was ended\n"
            )
            with suppress(OSError):
                os.write(2, said)
            os._exit(0)

    def _send(self, message: Mapping[str, Any]) -> None:
        channel.flush_output()
        try:
            packed = channel.pack(message)
        except MessageError as exc:
            raise TrainerError(f"{exc}: log less at once, or fewer metrics") from exc
        with self._lock:
            self._send_packed(packed)

    def _send_packed(self, packed: bytes) -> None:
        try:
            self._connection.sendall(packed)
        except OSError as exc:
            if exc.errno != errno.EBADF:
                raise
            said = "the trainer's code closed the descriptor by which Tasuki hears from it: leave"
            with suppress(OSError):
                os.write(2, f"{said} alone what it did not open itself\n".encode())
            os._exit(1)

    def _listen(self) -> None:
        while (message := channel.receive(self._connection)) is not None:
            spell = message.get("spell")
            self._take(None if spell is None else Spell(**spell))
        # The service is gone, and with it whoever wanted this result.
        os._exit(0)

    def _take(self, spell: Spell | None) -> None:
        if not self._has_first.is_set():
            self._first = spell
            self._has_first.set()
        self._turns.put(spell)


def hold_standard_descriptors() -> None:
    """Whoever closed one gets nothing in its place that a print would write into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one


def run_function(service: Service, source: Source) -> None:
    """The function form: call it once a turn; what it raises fails that turn only."""
    stage = Stage(source)
    while (spell := service.next_spell()) is not None:
        try:
            stage.enter(spell.site, folder=spell.folder)
            function = load_function(source)  # a look-up, but for the first of a site
            seed_everything(spell.seed)
            service.finish(spell, function(service.open(spell)))
        except BaseException as exc:  # noqa: BLE001 - the trainer's code may raise anything
            service.fail(exc)


def run_script(service: Service, source: Source) -> None:
    """The script form: run it once; it asks for turns and ends by itself.

    One that ends well after a result has no loop: it is started again for the next turn. Else a
    turn that it leaves without a result fails: the one it has, or the next one.
    """
    session = Session(partial(_next_turn, service))
    install(session)
    if (first := service.first_spell()) is not None:
        # What it draws while it sets up may stay: a Dropout of Keras has a generator of its own.
        seed_everything(first.seed)
    raised = _run_to_its_end(source)
    if raised is None and session.has_sent and session.current is None:
        service.say_ended()
        return
    had_turn, had_received = session.current is not None, session.has_received
    # Told only when somebody waits for a result: the service reads one answer for each turn.
    turn = session.await_turn()
    if turn is not None:
        ended = _ended_early(turn.turn, had_turn=had_turn, had_received=had_received)
        service.fail(ended if raised is None else raised)
    if turn is not None or raised is not None:
        sys.exit(1)


def _next_turn(service: Service, *, timeout_s: float | None) -> ScriptTurn | None:
    spell = service.next_spell(timeout_s=timeout_s)
    if spell is None:
        return None
    return ScriptTurn(
        turn=service.open(spell),
        seed=partial(seed_everything, spell.seed),
        finish=partial(service.finish, spell),
    )


def _run_to_its_end(source: Source) -> BaseException | None:
    """Run a script as `python path` does, and say what it raised."""
    path = source.script
    sys.argv = source.argv
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as exc:
        if exc.code:
            with suppress(Exception):  # as below
                traceback.print_exception(exc, limit=0)
            ended = TrainerError(f"the script ended by sys.exit({exc.code!r:.200})")
            ended.__cause__ = exc
            return ended
    except BaseException as exc:  # noqa: BLE001 - the trainer's code may raise anything
        # It may be long before anybody waits for a result and is told.
        with suppress(Exception):  # where it is printed to is the script's to change
            traceback.print_exception(exc)
        return exc
    return None


def _ended_early(turn: Turn, *, had_turn: bool, had_received: bool) -> TrainerError:
    which = f"round {turn.round + 1} of {turn.rounds}"
    if had_received:
        return TrainerError(f"the script ended without flare.send for {which}")
    if had_turn:
        return TrainerError(
            f"the script ended without flare.receive and flare.send for {which}; write"
            " `while flare.is_running():` around them"
        )
    return TrainerError(
        f"the script ended without flare.send for {which}, which came after its end; write"
        " `while flare.is_running():` around flare.receive and flare.send"
    )


def _moments(script: str | None) -> Moments:
    if script is None:
        return UNWATCHED
    from tasuki.testing.faults import listening

    return listening(script, actor="trainer")


def main() -> None:
    # Ctrl-C reaches every process of a terminal; when a trainer ends is for its service to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()  # says where it was when it crashes, or is ended because it hangs
    service = Service(channel.connect(), _moments(os.environ.get(FAULTS_VARIABLE)))
    source = Source(run=sys.argv[1], folder=Path(sys.argv[2]))
    sys.path.insert(0, str(source.folder))
    if source.is_script:
        run_script(service, source)
    else:
        run_function(service, source)


if __name__ == "__main__":
    main()

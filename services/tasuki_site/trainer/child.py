"""The trainer's process: imports the site's code once, then trains turn after turn.

It may die, leak or hold the GPU without harming the service.
"""

from __future__ import annotations

import faulthandler
import os
import runpy
import signal
import sys
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path

from tasuki.core.model import Kind
from tasuki.errors import TrainerError
from tasuki.flare.session import ScriptTurn, Session, install
from tasuki.moments import UNWATCHED, Moments
from tasuki.trainer import Turn
from tasuki_site.trainer import cell, channel
from tasuki_site.trainer.connection import Connection
from tasuki_site.trainer.seeding import seed_everything
from tasuki_site.trainer.source import Source, load_function
from tasuki_site.trainer.surroundings import Surroundings

FAULTS_VARIABLE = "TASUKI_FAULTS"


def run_function(site: Connection, source: Source) -> None:
    """The function form: call it once a turn; what it raises fails that turn only."""
    surroundings = Surroundings(source)
    while (request := site.next_request()) is not None:
        try:
            surroundings.enter(request)
            # A look-up, but for the first of a site.
            function = load_function(source, Kind(request.kind))
            seed_everything(request.seed)
            site.finish(request, function(site.open(request)))
        except BaseException as exc:  # noqa: BLE001 - the trainer's code may raise anything
            site.fail(exc)


def run_script(site: Connection, source: Source) -> None:
    """The script form: run it once; it asks for turns and ends by itself.

    One that ends well after a result has no loop: it is started again for the next turn. Else a
    turn that it leaves without a result fails: the one it has, or the next one.
    """
    session = Session(partial(_next_turn, site))
    install(session)
    if (first := site.first_request()) is not None:
        # What it draws while it sets up may stay: a Dropout of Keras has a generator of its own.
        seed_everything(first.seed)
    raised = _run_to_its_end(source)
    if raised is None and session.has_sent and session.current is None:
        site.say_ended()
        return
    had_turn, had_received = session.current is not None, session.has_received
    # Told only when somebody waits for a result: the service reads one answer for each turn.
    turn = session.await_turn()
    if turn is not None:
        ended = _ended_early(turn.turn, had_turn=had_turn, had_received=had_received)
        site.fail(ended if raised is None else raised)
    if turn is not None or raised is not None:
        sys.exit(1)


def _next_turn(site: Connection, *, timeout_s: float | None) -> ScriptTurn | None:
    request = site.next_request(timeout_s=timeout_s)
    if request is None:
        return None
    return ScriptTurn(
        turn=site.open(request),
        seed=partial(seed_everything, request.seed),
        finish=partial(site.finish, request),
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
    site = Connection(channel.connect(), _moments(os.environ.get(FAULTS_VARIABLE)))
    run, folder, *evaluate = sys.argv[1:]
    source = Source(run=run, folder=Path(folder), evaluate="".join(evaluate))
    sys.path.insert(0, str(source.folder))
    cell.take(source.folder)
    if source.is_script:
        run_script(site, source)
    else:
        run_function(site, source)


if __name__ == "__main__":
    main()

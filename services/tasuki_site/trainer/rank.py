"""One of the processes that a site's command started: how `tasuki.flare` finds its site there."""

from __future__ import annotations

import atexit
import faulthandler
import os
import socket
from contextlib import suppress
from functools import partial

from tasuki.errors import TasukiError
from tasuki.flare.session import ScriptTurn, Session
from tasuki.trainer import Result, Scores
from tasuki_site.trainer import channel
from tasuki_site.trainer.connection import Connection
from tasuki_site.trainer.request import TurnRequest
from tasuki_site.trainer.seeding import seed_everything

RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
"""Where launchers say which rank a process is; one that is told nothing is the only one."""


def attach(place: str) -> Session:
    """A session with the site's launcher, which listens at this place."""
    faulthandler.enable()  # says where it was when it crashes, or is ended because it hangs
    end = channel.out_of_reach(socket.socket(socket.AF_UNIX))
    end.connect(place)
    follows = next((os.environ[name] for name in RANKS if name in os.environ), "0") != "0"
    end.sendall(channel.pack({"pid": os.getpid(), "follows": follows}))
    site = Connection(end)
    session: Session = Session(
        lambda *, timeout_s: _next_turn(site, session, timeout_s), is_one_of_many=True
    )
    session.follows = follows
    atexit.register(_say_gone, site, session, os.getpid())
    return session


def _say_gone(site: Connection, session: Session, pid: int) -> None:
    """Of those that end by themselves only rank 0 is missed; who ended well, the launcher says."""
    if os.getpid() == pid:  # else one that it forked
        with suppress(OSError):
            site.say_gone(has_result=not session.follows)


def _next_turn(site: Connection, session: Session, timeout_s: float | None) -> ScriptTurn | None:
    request = site.next_request(timeout_s=timeout_s)
    if request is None:
        return None
    site.say_begun(request)
    log = _unheard if session.follows else site.log
    return ScriptTurn(
        turn=request.open(log),
        seed=partial(seed_everything, request.seed),
        finish=partial(_finish, site, request),
        refuse=site.fail,  # the site hears the reason itself, not only that the process ended
        leave=site.say_through,
    )


def _finish(site: Connection, request: TurnRequest, result: Result | Scores) -> None:
    try:
        site.finish(request, result)
    except TasukiError as exc:
        site.fail(exc)  # as above
        raise


def _unheard(_: object) -> None:
    """Rank 0 speaks for all."""

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
from tasuki.trainer import Result
from tasuki_site import channel
from tasuki_site.child import Service
from tasuki_site.seeding import seed_everything
from tasuki_site.spell import Spell

RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
"""Where launchers say which rank a process is; one that is told nothing is the only one."""


def attach(place: str) -> Session:
    """A session with the site's launcher, which listens at this place."""
    faulthandler.enable()  # says where it was when it crashes, or is ended because it hangs
    connection = channel.out_of_reach(socket.socket(socket.AF_UNIX))
    connection.connect(place)
    follows = next((os.environ[name] for name in RANKS if name in os.environ), "0") != "0"
    connection.sendall(channel.pack({"pid": os.getpid(), "follows": follows}))
    service = Service(connection)
    session: Session = Session(
        lambda *, timeout_s: _next_turn(service, session, timeout_s), is_one_of_many=True
    )
    session.follows = follows
    atexit.register(_say_gone, service, session, os.getpid())
    return session


def _say_gone(service: Service, session: Session, pid: int) -> None:
    """Of those that end by themselves only rank 0 is missed; who ended well, the launcher says."""
    if os.getpid() == pid:  # else one that it forked
        with suppress(OSError):
            service.say_gone(has_result=not session.follows)


def _next_turn(service: Service, session: Session, timeout_s: float | None) -> ScriptTurn | None:
    spell = service.next_spell(timeout_s=timeout_s)
    if spell is None:
        return None
    service.say_begun(spell)
    log = _unheard if session.follows else service.log
    return ScriptTurn(
        turn=spell.open(log),
        seed=partial(seed_everything, spell.seed),
        finish=partial(_finish, service, spell),
        leave=service.say_through,
    )


def _finish(service: Service, spell: Spell, result: Result) -> None:
    try:
        service.finish(spell, result)
    except TasukiError as exc:
        service.fail(exc)  # the site hears the reason itself, not only that the process ended
        raise


def _unheard(_: object) -> None:
    """Rank 0 speaks for all."""

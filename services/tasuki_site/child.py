"""The trainer's process: imports the site's code once, then trains turn after turn.

It may die, leak or hold the GPU without harming the service; and it ends at once when the
service does, so that no trainer of a dead service goes on.
"""

from __future__ import annotations

import os
import queue
import runpy
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasuki import Result
from tasuki import flare
from tasuki.trainer import Turn
from tasuki_site import channel
from tasuki_site.source import Source, load_function
from tasuki_site.spell import Spell, failure_of, seed_everything, write_result


class Service:
    """The child's end of the channel."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._turns: queue.SimpleQueue[Spell | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def next_spell(self) -> Spell | None:
        """Blocks until there is a turn; None: there will be no more."""
        return self._turns.get()

    def log(self, values: Mapping[str, float]) -> None:
        self._send({"log": dict(values)})

    def finish(self, spell: Spell, result: object) -> None:
        outcome = write_result(spell, result)
        self._send(
            {
                "digest": outcome.digest,
                "size": outcome.size,
                "metrics": dict(outcome.metrics),
                "samples": outcome.samples,
            }
        )

    def fail(self, exc: BaseException) -> None:
        error, detail = failure_of(exc)
        self._send({"error": error, "detail": detail})

    def _send(self, message: Mapping[str, Any]) -> None:
        sys.stdout.flush()
        with self._lock:
            self._connection.sendall(channel.pack(message))

    def _listen(self) -> None:
        while (message := channel.receive(self._connection)) is not None:
            spell = message.get("spell")
            self._turns.put(None if spell is None else Spell(**spell))
        # The service is gone, and with it whoever wanted this result.
        os._exit(0)


def run_function(service: Service, source: Source) -> None:
    """The function form: call it once a turn; what it raises fails that turn only."""
    function: Callable[[Turn], Result] | None = None
    while (spell := service.next_spell()) is not None:
        try:
            function = function or load_function(source)
            seed_everything(spell.seed)
            service.finish(spell, function(spell.open(service.log)))
        except Exception as exc:  # noqa: BLE001 - the trainer's code may raise anything
            service.fail(exc)


def run_script(service: Service, source: Source) -> None:
    """The script form: run it once; it asks for turns and ends by itself."""
    session = flare.Session(
        next_spell=service.next_spell, log=service.log, finish=service.finish, opener=_open
    )
    flare.install(session)
    path = source.folder / source.run
    sys.argv = [str(path)]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit:
        pass
    except BaseException as exc:  # noqa: BLE001 - the trainer's code may raise anything
        service.fail(exc)
        raise
    session.close()


def main() -> None:
    connection = socket.socket(fileno=int(os.environ.pop(channel.FD_VARIABLE)))
    service = Service(connection)
    source = Source(run=sys.argv[1], folder=Path(sys.argv[2]))
    sys.path.insert(0, str(source.folder))
    if source.is_script:
        run_script(service, source)
    else:
        run_function(service, source)


if __name__ == "__main__":
    main()

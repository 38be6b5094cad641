"""A process that runs a site's own code, seen from the service: never in the service's own.

When it dies, whatever it started dies with it: left alone, a worker would keep the channel open,
and nobody would learn that the trainer is dead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tasuki.errors import TasukiError, TrainerDied
from tasuki_site.trainer import cell, channel
from tasuki_site.trainer.failure import told_error
from tasuki_site.trainer.marked_processes import end_marked
from tasuki_site.trainer.printing import Printing, Show

LAST_WORDS_S = 1.0
"""How long what a dead trainer printed is waited for: what it started may hold on to its output."""

READ_S = 0.2
"""How long it takes at most to read what has been printed."""

PRINTED = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
"""What is printed is there at once, even if the process dies by the next line."""


@dataclass(slots=True, kw_only=True)
class ChildProcess:
    """A process with a channel to it. Make one with `start`, and see to it that it is killed."""

    printing: Printing
    _process: asyncio.subprocess.Process
    _burial: asyncio.Task[None]
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    @classmethod
    async def start(
        cls,
        module: str,
        arguments: Sequence[str | Path],
        *,
        folder: Path,
        show: Show,
        mark: str | None = None,
        handed: int | None = None,
    ) -> ChildProcess:
        """Run one of our modules, which finds its end of the channel in its environment.

        Args:
            mark: see `marked_processes`: whoever carries it ends with this process.
            handed: the descriptor of functions for it: see `cell`.

        Raises:
            TrainerDied: there is no such folder any more, or no room for a process.
        """
        ours, theirs = socket.socketpair()
        own = {channel.FD_VARIABLE: str(theirs.fileno()), **cell.environment(handed)}
        passed = (theirs.fileno(),) if handed is None else (theirs.fileno(), handed)
        # A pipe of our own: asyncio would call the process alive while anyone has its pipe open.
        reading, writing = os.pipe()
        with theirs, os.fdopen(writing, "wb") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # what lies in the current folder is none of our own modules
                    "-m",
                    module,
                    *arguments,
                    cwd=folder,
                    env={**os.environ, **PRINTED, **own},
                    pass_fds=passed,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as exc:
                ours.close()
                os.close(reading)
                raise _not_started(exc, folder) from exc
        burial = asyncio.create_task(_bury(process, mark))
        reader, writer = await asyncio.open_connection(sock=ours)
        printing = Printing(reading, show)
        return cls(
            printing=printing, _process=process, _burial=burial, _reader=reader, _writer=writer
        )

    def say(self, message: channel.Map) -> None:
        self._writer.write(channel.pack(message))

    async def hear(self) -> channel.Map | None:
        """What it says next, or None when it is gone."""
        return await channel.receive_async(self._reader)

    @property
    def has_ended_well(self) -> bool:
        return self._process.returncode == 0

    async def ended_within(self, timeout_s: float) -> bool:
        """Whether it ends by itself in this time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), timeout_s)
        return self._process.returncode is not None

    async def end(self) -> str:
        """How it ended, once it has: with its exit code and the last lines that it printed."""
        code = await self._process.wait()
        await self.printing.heard_out(LAST_WORDS_S)
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += " (is there enough memory?)"
        return how

    async def stacks(self) -> str:
        """Where each of its threads is, from `faulthandler`; that ends the process."""
        self.printing.copy = []
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGABRT)
        await self.ended_within(LAST_WORDS_S)
        await self.kill()
        return "\n".join(self.printing.copy)

    async def error_told(self, message: channel.Map) -> TasukiError:
        """The error that it told of, with what it had printed if that says more."""
        detail: str = message["detail"]
        if message.get("has_printed"):
            detail = await self.with_last_lines(detail, lead="\nIt printed last:")
        return told_error(message["error"], detail)

    async def with_last_lines(self, text: str, *, lead: str = ":") -> str:
        """The same with what it had printed until now; it prints no more."""
        await self.printing.heard_out(READ_S)
        printed = self.printing.last_lines
        return f"{text}{lead}\n{printed}" if printed else text

    async def kill(self) -> None:
        """End it and all that it started, and hear out what they printed."""
        self._writer.close()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._burial
        await self.printing.heard_out(LAST_WORDS_S)


def _not_started(exc: OSError, folder: Path) -> TrainerDied:
    if not folder.is_dir():
        return TrainerDied(f"there is no folder {folder} any more, in which the code works")
    return TrainerDied(f"no process can be started for the site's code: {exc.strerror or exc}")


async def _bury(process: asyncio.subprocess.Process, mark: str | None) -> None:
    """Once it is dead, end what it started and did not end itself."""
    await process.wait()
    with suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)
    if mark is not None:
        end_marked(mark)

"""Run the site's trainer: in a process of its own that stays between turns, or in this one.

A process that stays imports torch once, not once a turn: that is what makes a hand-off take
milliseconds. It is ended when its run is over, when it is fenced, or when it misbehaves.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tasuki import errors
from tasuki.errors import TasukiError, TrainerDied, TrainerError
from tasuki.trainer import Result
from tasuki.trainer import Turn as TrainerTurn
from tasuki_site import channel
from tasuki_site.source import Source, load_function
from tasuki_site.spell import Log, Outcome, Spell, failure_of, seed_everything, write_result

FAREWELL_S = 5.0
LAST_WORDS_S = 1.0
"""How long what a dead trainer printed is waited for: what it started may hold on to its output."""

Output = Callable[[str], None]
"""Takes one line that a trainer printed."""


class Trainer(Protocol):
    """Trains one run's turns at one site, one at a time."""

    async def train(self, spell: Spell, log: Log) -> Outcome:
        """Train and write the result's file. `log` gets what the trainer reports, as it does.

        Cancelling ends the training at once.

        Raises:
            TasukiError: why there is no result.
        """

    async def close(self) -> None:
        """End it; it can be used again."""


@dataclass(slots=True)
class InProcessTrainer:
    """A function form called in a thread of this process: for many simulated sites."""

    source: Source
    _function: Callable[[TrainerTurn], Result] | None = None

    async def train(self, spell: Spell, log: Log) -> Outcome:
        loop = asyncio.get_running_loop()

        def report(values: Mapping[str, float]) -> None:
            loop.call_soon_threadsafe(log, values)

        abandoned = threading.Event()
        try:
            return await asyncio.to_thread(self._train, spell, report, abandoned)
        except asyncio.CancelledError:
            # A thread cannot be ended; what it still writes is removed by itself.
            abandoned.set()
            raise

    async def close(self) -> None:
        """Nothing runs between turns."""

    def _train(self, spell: Spell, log: Log, abandoned: threading.Event) -> Outcome:
        try:
            self._function = self._function or load_function(self.source)
            seed_everything(spell.seed)
            return write_result(spell, self._function(spell.open(log)))
        except Exception as exc:
            # The trainer's code may raise anything; it is told apart from our own errors here.
            raise _as_error(*failure_of(exc)) from exc
        finally:
            if abandoned.is_set():
                Path(spell.result).unlink(missing_ok=True)


@dataclass(slots=True)
class ChildTrainer:
    """Either form in a process of its own, started at the first turn and kept for the next.

    When that dies, whatever it started dies with it: left alone, a worker would keep the channel
    open, and nobody would learn that the trainer is dead.
    """

    source: Source
    output: Output
    _process: asyncio.subprocess.Process | None = None
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None
    _printing: asyncio.Task[None] | None = None
    _watching: asyncio.Task[None] | None = None
    _tail: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def train(self, spell: Spell, log: Log) -> Outcome:
        async with self._one_at_a_time:  # a turn may begin before the one that it replaces is gone
            try:
                if self._process is None:
                    await self._start()
                return await self._exchange(spell, log)
            except BaseException:
                # Cancelled, dead or confused: the next turn gets a new process.
                await self._kill()
                raise

    async def close(self) -> None:
        """Tell the trainer that there are no more turns, and give it a moment to end by itself."""
        if self._process is not None and self._writer is not None:
            with suppress(TimeoutError, ConnectionError):
                self._writer.write(channel.pack({"spell": None}))
                await asyncio.wait_for(self._process.wait(), FAREWELL_S)
        await self._kill()

    async def _kill(self) -> None:
        # All at once: `close` may come while a turn does this.
        process, self._process = self._process, None
        printing, self._printing = self._printing, None
        watching, self._watching = self._watching, None
        if self._writer is not None:
            self._writer.close()
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()
        if watching is not None:
            await watching
        if printing is not None:
            await _heard_out(printing)

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        # A pipe of our own: asyncio would call the process alive while anyone has its pipe open.
        reading, writing = os.pipe()
        with theirs, os.fdopen(writing, "wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what we import is never a file beside the trainer: it is found later
                "-m",
                "tasuki_site.child",
                self.source.run,
                str(self.source.folder),
                cwd=self.source.folder,
                env={**os.environ, channel.FD_VARIABLE: str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        self._watching = asyncio.create_task(_bury(self._process))
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self._tail.clear()
        self._printing = asyncio.create_task(self._print(reading))

    async def _exchange(self, spell: Spell, log: Log) -> Outcome:
        assert self._process is not None  # noqa: S101 - `_start` made all three
        assert self._reader is not None  # noqa: S101
        assert self._writer is not None  # noqa: S101
        process = self._process
        self._writer.write(channel.pack({"spell": spell.to_map()}))
        while (message := await channel.receive_async(self._reader)) is not None:
            if "log" in message:
                log(message["log"])
            elif "error" in message:
                raise _as_error(message["error"], message["detail"])
            else:
                return Outcome(**message)
        raise await self._death(process)

    async def _death(self, process: asyncio.subprocess.Process) -> TrainerDied:
        code = await process.wait()
        if self._printing is not None:
            await _heard_out(self._printing)
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += " (is there enough memory?)"
        printed = "\n".join(self._tail)
        return TrainerDied(
            f"the trainer's process {how} before it had a result"
            + (f":\n{printed}" if printed else "")
        )

    async def _print(self, descriptor: int) -> None:
        reader = asyncio.StreamReader(limit=2**20)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
        )
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    continue  # a line longer than the limit; the reader has dropped it
                if not line:
                    return
                text = line.decode(errors="replace").rstrip()
                self._tail.append(text)
                self.output(text)
        finally:
            pipe.close()


async def _bury(process: asyncio.subprocess.Process) -> None:
    """Once it is dead, end what it started and did not end itself."""
    await process.wait()
    with suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)


async def _heard_out(printing: asyncio.Task[None]) -> None:
    await asyncio.wait({printing}, timeout=LAST_WORDS_S)
    printing.cancel()


class TrainerPool:
    """A site's trainers, one a run; the longest unused is ended when there are too many."""

    def __init__(self, make: Callable[[str], Trainer], *, limit: int = 2) -> None:
        self._make = make
        self._limit = limit
        self._trainers: OrderedDict[str, Trainer] = OrderedDict()
        self._busy: Counter[str] = Counter()  # two turns of a run, while one replaces the other

    async def train(self, trainer: str, spell: Spell, log: Log) -> Outcome:
        """Train with the trainer of this name.

        Raises:
            TrainerNotFound: the site has none of that name.
            TasukiError: why there is no result.
        """
        if spell.run not in self._trainers:
            self._trainers[spell.run] = self._make(trainer)
        self._trainers.move_to_end(spell.run)
        self._busy[spell.run] += 1
        try:
            await self._make_room()
            return await self._trainers[spell.run].train(spell, log)
        finally:
            self._busy -= Counter([spell.run])  # forgets those without a turn

    async def _make_room(self) -> None:
        idle = [run for run in self._trainers if run not in self._busy]
        for run in idle[: max(0, len(self._trainers) - self._limit)]:
            await self.end(run)

    async def end(self, run: str) -> None:
        """This run needs no trainer any more."""
        if trainer := self._trainers.pop(run, None):
            await trainer.close()

    async def close(self) -> None:
        await asyncio.gather(*(self.end(run) for run in list(self._trainers)))


def _as_error(name: str, detail: str) -> TasukiError:
    """The error that a trainer's process told of, by the name of its class."""
    kind = getattr(errors, name, TrainerError)
    return kind(detail)

"""Run the site's trainer in a process of its own that stays between turns.

A process that stays imports torch once, not once a turn: that is what makes a hand-off take
milliseconds. It is ended when its run is over, when it is fenced, or when it misbehaves.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tasuki.errors import TasukiError, TrainerDied
from tasuki_site import channel
from tasuki_site.childprocess import ChildProcess
from tasuki_site.patience import Patience
from tasuki_site.room import Room, Seat
from tasuki_site.shadows import shadow_told
from tasuki_site.source import Source
from tasuki_site.spell import Log, Outcome, Spell, told_error

PARTING_S = 5.0
"""How long a trainer may take to end when its service ends, or when another run needs its place."""

FAREWELL_S = 600.0
"""How long a trainer may work on after its last turn, unless the settings say otherwise."""

Output = Callable[[Spell, str], None]
"""Takes one line that a trainer printed in this turn, or after it and before the next."""


class Trainer(Protocol):
    """Trains one run's turns at one site, one at a time."""

    async def train(self, spell: Spell, log: Log) -> Outcome:
        """Train and write the result's file. `log` gets what the trainer reports, as it does.

        Cancelling ends the training at once.

        Raises:
            TasukiError: why there is no result.
        """

    async def farewell(self) -> None:
        """There are no more turns: let it do what it does after its last one, then end it."""

    async def close(self) -> None:
        """End it soon; it can be used again."""


@dataclass(slots=True)
class ChildTrainer:
    """Any form in a process of its own, started at the first turn and kept for the next.

    The turns may be those of several sites of a simulation: see `stage`.
    """

    source: Source
    output: Output
    farewell_s: float = FAREWELL_S
    _child: ChildProcess | None = None
    _spell: Spell | None = None
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def train(self, spell: Spell, log: Log) -> Outcome:
        async with self._one_at_a_time:  # a turn may begin before the one that it replaces is gone
            try:
                while True:
                    child = await self._ready(spell)
                    if (outcome := await self._exchange(child, spell, log)) is not None:
                        return outcome
                    await child.ended_within(self.farewell_s)
                    await self._kill()
            except BaseException:
                # Cancelled, dead or confused: the next turn gets a new process.
                await self._kill()
                raise

    async def farewell(self) -> None:
        said = await self._part(self.farewell_s)
        if said is not None and self._spell is not None:
            self.output(self._spell, f"{said} after its last turn")

    async def close(self) -> None:
        await self._part(PARTING_S)

    async def _part(self, timeout_s: float) -> str | None:
        """Tell the trainer that there are no more turns; how it ended, if not well."""
        async with self._one_at_a_time:
            try:
                if self._child is None:
                    return None
                self._child.say({"spell": None})
                if not await self._child.ended_within(timeout_s):
                    return f"ended, because it still worked farewell_s = {timeout_s:g} s"
                return None if self._child.has_ended_well else await self._child.end()
            finally:
                await self._kill()

    async def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.kill()

    async def _ready(self, spell: Spell) -> ChildProcess:
        self._spell = spell
        if self._child is not None and self._child.has_ended_well:
            await self._kill()  # a script without a loop
        if self._child is None:
            self._child = await self._started(spell)
        return self._child

    async def _started(self, spell: Spell) -> ChildProcess:
        words = [self.source.at(spell.site), str(self.source.folder)]
        module, mark = "tasuki_site.child", None
        if self.source.is_command:
            module, mark = "tasuki_site.launcher", uuid.uuid4().hex
            words.append(mark)
        folder = Path(spell.folder or self.source.folder)
        return await ChildProcess.start(module, words, folder=folder, show=self._show, mark=mark)

    def _show(self, line: str) -> None:
        assert self._spell is not None  # noqa: S101 - the process was started for it
        self.output(self._spell, line)

    async def _exchange(self, child: ChildProcess, spell: Spell, log: Log) -> Outcome | None:
        """The turn's outcome; None: the script had ended well before it took this turn."""
        child.say({"spell": spell.to_map()})
        patience = Patience(spell, child)
        while (message := await patience.hear()) is not None:
            if "log" in message:
                log(message["log"])
            elif "error" in message:
                raise await _told(child, message)
            elif "ended" in message:
                return None
            else:
                return Outcome(**message)
        how = child.with_last_lines(
            f"the trainer's process {await child.end()} before it had a result"
        )
        hint = shadow_told(how, self.source.folder) if self.source.is_command else None
        raise TrainerDied(f"{how}\n{hint}" if hint else how)


async def _told(child: ChildProcess, message: channel.Map) -> TasukiError:
    """Why there is no result, with what was printed where the code itself did not say."""
    detail: str = message["detail"]
    if message.get("has_printed"):
        detail = await child.with_last_words(detail)
    error = told_error(message["error"], detail)
    if not isinstance(error, TrainerDied):
        return error
    await child.kill()  # what it printed is heard out
    return TrainerDied(child.with_last_lines(str(error)))


class TrainerPool:
    """A site's trainers, one a run. `room`: for how many processes, be they of other sites too."""

    def __init__(self, make: Callable[[str], Trainer], *, room: Room | None = None) -> None:
        self._make = make
        self._room = room or Room()
        self._trainers: dict[str, tuple[Trainer, Seat]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def train(self, trainer: str, spell: Spell, log: Log) -> Outcome:
        """Train with the trainer of this name.

        Raises:
            TrainerNotFound: the site has none of that name.
            TasukiError: why there is no result.
        """
        if spell.run not in self._trainers:
            made = self._make(trainer)
            self._trainers[spell.run] = made, Seat(run=spell.run, close=made.close)
        seated, seat = self._trainers[spell.run]
        seat.turns += 1
        try:
            await self._room.take(seat)
            return await seated.train(spell, log)
        finally:
            seat.turns -= 1

    async def end(self, run: str) -> None:
        """This run needs no trainer any more; it may take its time to say farewell."""
        if found := self._trainers.pop(run, None):
            trainer, seat = found
            self._room.leave(seat)
            task = asyncio.create_task(trainer.farewell())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def all_gone(self) -> None:
        """Returns once every trainer whose run is over has ended."""
        await asyncio.gather(*self._leaving)

    async def close(self) -> None:
        """End all of them soon."""
        await asyncio.gather(*(self._closed(run) for run in list(self._trainers)))
        if leaving := list(self._leaving):
            await asyncio.wait(leaving, timeout=PARTING_S)
            for task in leaving:
                task.cancel()
            await asyncio.wait(leaving)

    async def _closed(self, run: str) -> None:
        trainer, seat = self._trainers.pop(run)
        self._room.leave(seat)
        await trainer.close()

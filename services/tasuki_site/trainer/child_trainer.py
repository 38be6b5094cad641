"""Train in a process of its own that stays between turns.

A process that stays imports torch once, not once a turn: that is what makes a hand-off take
milliseconds. It is ended when its run is over, when it is fenced, or when it misbehaves.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tasuki.errors import TasukiError, TrainerDied
from tasuki_site.trainer.channel import Map
from tasuki_site.trainer.child_process import ChildProcess
from tasuki_site.trainer.pool import PARTING_S
from tasuki_site.trainer.request import Began, Log, TurnRequest, unnoticed
from tasuki_site.trainer.result import Outcome
from tasuki_site.trainer.shadowed_modules import shadow_told
from tasuki_site.trainer.source import Source
from tasuki_site.trainer.time_limits import TimeLimits

FAREWELL_S = 600.0
"""How long a trainer may work on after its last turn, unless the settings say otherwise."""

Output = Callable[[TurnRequest, str], None]
"""Takes one line that a trainer printed in this turn, or after it and before the next."""


@dataclass(slots=True)
class ChildTrainer:
    """Any form in a process of its own, started at the first turn and kept for the next.

    The turns may be those of several sites of a simulation: see `surroundings`.
    """

    source: Source
    output: Output
    farewell_s: float = FAREWELL_S
    _child: ChildProcess | None = None
    _request: TurnRequest | None = None
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def train(self, request: TurnRequest, log: Log, *, began: Began = unnoticed) -> Outcome:
        async with self._one_at_a_time:  # a turn may begin before the one that it replaces is gone
            began()
            try:
                while True:
                    child = await self._ready(request)
                    if (outcome := await self._exchange(child, request, log)) is not None:
                        return outcome
                    await child.ended_within(self.farewell_s)
                    await self._kill()
            except BaseException:
                # Cancelled, dead or confused: the next turn gets a new process.
                await self._kill()
                raise

    async def farewell(self) -> None:
        said = await self._part(self.farewell_s)
        if said is not None and self._request is not None:
            self.output(self._request, f"{said} after its last turn")

    async def close(self) -> None:
        await self._part(PARTING_S)

    async def _part(self, timeout_s: float) -> str | None:
        """Tell the trainer that there are no more turns; how it ended, if not well."""
        async with self._one_at_a_time:
            try:
                if self._child is None:
                    return None
                self._child.say({"request": None})
                if not await self._child.ended_within(timeout_s):
                    return f"ended, because it still worked farewell_s = {timeout_s:g} s"
                return None if self._child.has_ended_well else await self._child.end()
            finally:
                await self._kill()

    async def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.kill()

    async def _ready(self, request: TurnRequest) -> ChildProcess:
        self._request = request
        if self._child is not None and self._child.has_ended_well:
            await self._kill()  # a script without a loop
        if self._child is None:
            self._child = await self._started(request)
        return self._child

    async def _started(self, request: TurnRequest) -> ChildProcess:
        words = [self.source.at(request.site), str(self.source.folder)]
        module, mark = "tasuki_site.trainer.child", None
        if self.source.is_command:
            module, mark = "tasuki_site.trainer.launcher", uuid.uuid4().hex
            words.append(mark)
        else:
            words.append(self.source.evaluate)
        folder = Path(request.folder or self.source.folder)
        return await ChildProcess.start(
            module,
            words,
            folder=folder,
            show=self._show,
            mark=mark,
            handed=self.source.handed,
        )

    def _show(self, line: str) -> None:
        assert self._request is not None  # noqa: S101 - the process was started for it
        self.output(self._request, line)

    async def _exchange(
        self, child: ChildProcess, request: TurnRequest, log: Log
    ) -> Outcome | None:
        """The turn's outcome; None: the script had ended well before it took this turn."""
        child.say({"request": request.to_map()})
        limits = TimeLimits(request, child)
        while (message := await limits.hear()) is not None:
            if "log" in message:
                log(message["log"])
            elif "error" in message:
                raise await _told(child, message)
            elif "ended" in message:
                return None
            else:
                return Outcome(**message)
        how = await child.with_last_lines(
            f"the trainer's process {await child.end()} before it had a result"
        )
        hint = shadow_told(how, self.source.folder) if self.source.is_command else None
        raise TrainerDied(f"{how}\n{hint}" if hint else how)


async def _told(child: ChildProcess, message: Map) -> TasukiError:
    """Why there is no result, with what was printed where the code itself did not say."""
    error = await child.error_told(message)
    if not isinstance(error, TrainerDied):
        return error
    await child.kill()  # what it printed is heard out
    return TrainerDied(await child.with_last_lines(str(error)))

"""The process between a site and a command: starts it, and speaks with each of its ranks.

Every rank that calls `tasuki.flare` connects here and gets every turn. Rank 0's results and logs
go on to the site; what fails in any rank fails the turn. Nothing outlives this process: a rank
ends when its connection does, and the site ends whatever carries the mark.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasuki.flare.session import ATTACH_VARIABLE
from tasuki_site.trainer import channel
from tasuki_site.trainer.marked_processes import MARK_VARIABLE, end_marked
from tasuki_site.trainer.source import Source

ATTACH = "tasuki_site.trainer.rank"
NOTICED_S = 10.0
"""How long a launcher may take to notice that one of its ranks died."""


class Launcher:
    """One command, and the ranks of it that have connected.

    A turn is over when rank 0 has its result and every rank that has begun it is through with it.
    """

    def __init__(self, writer: asyncio.StreamWriter, mark: str) -> None:
        self._to_site = writer
        self._mark = mark
        self._said: list[channel.Map] = []  # since the command's start: ranks come when they come
        self._ranks: dict[int, asyncio.StreamWriter] = {}  # by process
        self._turn: Any = None  # Any: the request whose answer is awaited
        self._begun: set[int] = set()
        self._is_begun = False
        self._is_rank_0_gone = False
        self._result: channel.Map | None = None
        self._finished = 0
        self._missing: set[asyncio.Task[None]] = set()

    async def follow(self, reader: asyncio.StreamReader) -> None:
        """Pass on what the site says; when it is gone, so is everything here."""
        while (message := await channel.receive_async(reader)) is not None:
            if message.get("request") is not None:
                self._turn, self._result, self._is_begun = message["request"], None, False
                self._begun.clear()
            self._said.append(message)
            for rank in self._ranks.values():
                rank.write(channel.pack(message))
        end_marked(self._mark)
        os._exit(0)

    async def take_rank(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # at the end, where asyncio would print it
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await channel.receive_async(reader)
        if hello is None:
            return
        pid: int = hello["pid"]
        self._ranks[pid] = writer
        self._is_rank_0_gone &= hello["follows"]  # else this is the next one
        for message in self._said:
            writer.write(channel.pack(message))
        while (answer := await channel.receive_async(reader)) is not None:
            self._hear(pid, answer)
        del self._ranks[pid]
        if pid in self._begun:
            self._miss("a process of the command", lambda: True)

    def _hear(self, pid: int, message: channel.Map) -> None:
        if "begun" in message:
            if message["begun"] == self._turn:  # else one that came late, and is at an earlier turn
                self._is_begun = True
                self._begun.add(pid)
                self._miss_rank_0()
        elif "log" in message:
            self._to_site.write(channel.pack(message))
        elif "error" in message:
            self._answer(message)
        else:
            self._begun.discard(pid)
            self._is_rank_0_gone |= message.get("gone", False)
            if "digest" in message:
                self._result = message
            self._finish_if_through()
            self._miss_rank_0()

    def _finish_if_through(self) -> None:
        if self._result is not None and not self._begun:
            self._finished += 1
            self._answer(self._result)

    def _answer(self, message: channel.Map) -> None:
        """The first answer to a turn is the one; the site expects no other."""
        if self._turn is not None:
            self._turn = self._result = None
            self._to_site.write(channel.pack(message))

    @property
    def _lacks_rank_0(self) -> bool:
        """Then the others would wait for ever in a turn that they have begun."""
        return self._is_rank_0_gone and self._is_begun and self._result is None

    def _miss_rank_0(self) -> None:
        if self._lacks_rank_0:
            self._miss("rank 0 of the command", lambda: self._lacks_rank_0)

    def _miss(self, who: str, is_missed: Callable[[], bool]) -> None:
        self._missing.add(asyncio.create_task(self._fail_unless(who, is_missed, self._turn)))

    async def _fail_unless(self, who: str, is_missed: Callable[[], bool], turn: object) -> None:
        """Most launchers end the others by themselves, or start all of them again."""
        await asyncio.sleep(NOTICED_S)
        if self._turn is not None and self._turn is turn and is_missed():
            self._fail(f"{who} ended in the middle of the turn, and the others went on")

    def _fail(self, detail: str) -> None:
        self._answer({"error": "TrainerDied", "detail": detail})

    async def end(self, code: int) -> int:
        """The command has ended; the exit code of this process."""
        if code == 0:
            self._begun.clear()
            self._finish_if_through()
        if code == 0 and self._turn is not None and (self._is_begun or not self._finished):
            self._fail("the command ended without flare.send for its turn")
        elif code == 0:
            self._to_site.write(channel.pack({"ended": True}))
        with suppress(ConnectionError):
            await self._to_site.drain()
        return code if code >= 0 else 128 - code

    def abort(self) -> None:
        """Let every rank say where it is, and end."""
        for pid in self._ranks:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGABRT)


async def launch(source: Source, mark: str, place: str) -> int:
    """Run the command to its end."""
    reader, writer = await asyncio.open_connection(sock=channel.connect())
    launcher = Launcher(writer, mark)
    following = asyncio.create_task(launcher.follow(reader))
    asyncio.get_running_loop().add_signal_handler(signal.SIGABRT, launcher.abort)
    async with await asyncio.start_unix_server(launcher.take_rank, place):
        command: Sequence[str] = source.command
        process = await asyncio.create_subprocess_exec(
            *command, env=_environment(source, mark, place), stdin=asyncio.subprocess.DEVNULL
        )
        code = await launcher.end(await process.wait())
    following.cancel()
    return code


def _environment(source: Source, mark: str, place: str) -> dict[str, Any]:  # Any: str, all of it
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join([str(source.folder), *filter(None, known)])
    return {
        **os.environ,
        "PATH": source.programs,
        "PYTHONPATH": path,
        ATTACH_VARIABLE: f"{ATTACH}:{place}",
        MARK_VARIABLE: mark,
    }


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run, folder, mark = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="tasuki-") as place:
        source = Source(run=run, folder=Path(folder))
        sys.exit(asyncio.run(launch(source, mark, f"{place}/trainer")))


if __name__ == "__main__":
    main()

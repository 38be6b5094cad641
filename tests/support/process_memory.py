"""How much memory processes take beyond what they had when they were idle.

The peak is the kernel's own count since it was told to forget (`VmHWM`), so nothing short is
missed. What of it is anonymous, and what is pages of mapped files that the kernel may take back,
it does not keep peaks of: those are the largest that were seen by looking often.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

LOOK_S = 0.02
_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(slots=True)
class Memory:
    """One process's memory in MiB. `anon` and `file` are the largest seen, each by itself."""

    idle: float = 0.0
    idle_anon: float = 0.0
    peak: float = 0.0
    anon: float = 0.0
    file: float = 0.0

    @property
    def extra(self) -> float:
        return self.peak - self.idle

    @property
    def extra_anon(self) -> float:
        return self.anon - self.idle_anon


@dataclass
class MemoryWatch:
    """Looks at processes from `with` to its end.

    Attributes:
        found: the memory of each, by its name; read it after the end.
        trainers: the largest peak of a child of any, by the name of its parent.
    """

    pids: Mapping[str, int]
    found: dict[str, Memory] = field(default_factory=dict)
    trainers: dict[str, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        for name, pid in self.pids.items():
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak of its start
            now = status(pid)
            self.found[name] = Memory(idle=now["VmRSS"], idle_anon=now["RssAnon"])
        self._thread = threading.Thread(target=self._look_often, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _look_often(self) -> None:
        while not self._over.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        for name, pid in self.pids.items():
            memory, now = self.found[name], status(pid)
            memory.peak = now["VmHWM"]
            memory.anon = max(memory.anon, now["RssAnon"])
            memory.file = max(memory.file, now["RssFile"])
            for child in children(pid):
                with suppress(*_GONE):
                    peak = status(child).get("VmHWM", 0.0)
                    self.trainers[name] = max(self.trainers.get(name, 0.0), peak)


def status(pid: int) -> dict[str, float]:
    """What the kernel says of a process's memory, in MiB; nothing of one that has just ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) / 1024 for words in sizes}


def children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(*_GONE):
        for listed in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, listed.read_text().split())
    return found

"""Starts services again that ended, as systemd or Docker does in the field."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from support.federation import Process
from support.waiting import POLL_S


class Supervisor:
    """Keeps these processes running until its end, but for those that a test holds down."""

    def __init__(self, processes: Mapping[str, Process]) -> None:
        self._processes = processes
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Killed, and not started again before the end of this."""
        with self._lock:
            self._held.add(name)
            self._processes[name].kill()
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(name)

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            with self._lock:
                for name, process in self._processes.items():
                    if name not in self._held and not process.is_up():
                        process.start()

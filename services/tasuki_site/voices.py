"""What trainers print, in the site's log: each line names the turn in which it was said."""

from __future__ import annotations

import structlog

from tasuki_site.reports import named
from tasuki_site.source import Source
from tasuki_site.spell import Log, Outcome, Spell
from tasuki_site.trainers import ChildTrainer

log = structlog.get_logger()


class NamedTrainer:
    """A trainer in a process of its own; after a turn, it speaks of that one until the next."""

    def __init__(self, source: Source) -> None:
        self._trainer = ChildTrainer(source, self._tell)
        self._turn: dict[str, str] = {}

    async def train(self, spell: Spell, log: Log) -> Outcome:
        self._turn = named(spell.id)
        return await self._trainer.train(spell, log)

    async def close(self) -> None:
        await self._trainer.close()

    def _tell(self, line: str) -> None:
        log.info("trainer said", **self._turn, line=line)

"""What an operator must not miss: it stays, and what repeats itself is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

Key = tuple[str, ...]

MOST_KEPT = 200
"""Sites may fail in ever new words; of that many the oldest go."""

MOST_NAMED = 3


@dataclass(slots=True, kw_only=True)
class Notice:
    """Something that happened, and how often.

    Attributes:
        said: it in a line.
        sites: whom it is said of, the newest last; none: the line says so itself.
        round: in which it happened last, from 0.
        lasts: it is so now. None: it is no thing that lasts.
    """

    said: str
    sites: dict[str, None] = field(default_factory=dict)
    round: int = 0
    count: int = 0
    lasts: bool | None = None

    def in_words(self, said: str = "") -> str:
        """In a line. `said`: instead of what was said when it happened."""
        named = ", ".join(islice(reversed(self.sites), MOST_NAMED))
        if (more := len(self.sites) - MOST_NAMED) > 0:
            named += f" and {more} more"
        times = "twice" if self.count == 2 else f"{self.count} times"
        when = f"{times}, last in round" if self.count > 1 else "round"
        over = ", over" if self.lasts is False else ""
        return f"{named} {said or self.said} ({when} {self.round + 1}{over})".lstrip()


@dataclass(slots=True)
class Notices:
    """All of them, the newest last.

    Attributes:
        by_site: the newest of each site, in a word or two, the site with the newest last.
    """

    by_site: dict[str, str] = field(default_factory=dict)
    _kept: dict[Key, Notice] = field(default_factory=dict)

    def add(
        self, key: Key, said: str, *, round: int, site: str = "", lasts: bool | None = None
    ) -> None:
        """One more of those with this key: its words are the newest."""
        notice = self._kept.pop(key, None) or Notice(said=said)
        notice.said, notice.round, notice.lasts = said, round, lasts
        notice.count += 1
        if site:
            notice.sites.pop(site, None)
            notice.sites[site] = None
        self._kept[key] = notice
        if len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def mark(self, site: str, short: str) -> None:
        """What the newest news of a site is, in a word or two."""
        self.by_site.pop(site, None)
        self.by_site[site] = short

    def clear(self, site: str) -> None:
        """All is well there: what was is no news any more, though it stays a notice."""
        self.by_site.pop(site, None)

    def end(self, key: Key, *, said: str = "") -> None:
        """What lasted is over. `said`: how it was last; empty: as it was said."""
        if (notice := self._kept.get(key)) is not None and notice.lasts:
            notice.lasts, notice.said = False, said or notice.said

    def newest(self, most: int, *, now: Mapping[Key, str] = MappingProxyType({})) -> list[str]:
        """Those that last, then of the others as many as there is room for.

        Args:
            now: the words of those that change from second to second.
        """
        lasting = [key for key, each in self._kept.items() if each.lasts][-most:]
        others = [key for key, each in self._kept.items() if not each.lasts]
        shown = lasting + others[max(0, len(others) - most + len(lasting)) :]
        return [self._kept[key].in_words(now.get(key, "")) for key in shown]

    def __len__(self) -> int:
        return len(self._kept)

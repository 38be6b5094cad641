"""The federation's roster: who is a member, with which keys, as the authority says.

Everything that changes who is a member makes the next roster; those before it are kept.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from pathlib import Path

from tasuki.core.trust import Card, Roster
from tasuki.disk.writing import PUBLIC
from tasuki.errors import MessageError, SettingsError
from tasuki.settings.federation import FederationFile
from tasuki.trust.armor import armored
from tasuki.trust.rosters import WHAT, authority_in, issue, read_issued, verified
from tasuki_cli.options import OVERLAP_DAYS
from tasuki_cli.provision import cards, files
from tasuki_cli.provision.authority import Registry
from tasuki_cli.provision.cards import DAY
from tasuki_cli.provision.certificates import SLOW_CLOCKS, WARN_DAYS
from tasuki_cli.provision.layout import AUTHORITY, CA, ROSTER, ROSTERS


class Members:
    """Who is on the roster of a federation, and who will be on the next one.

    Attributes:
        created: files that were not there before, seen from `out`.
        changed: files that are other than before.
        number: of the newest roster; 0: there is none yet.

    Args:
        overlap_days: how long the cards stay good that new ones replace.
        renewed: who gets new keys, be there some or not.

    Raises:
        SettingsError: what is there is no roster.
    """

    def __init__(
        self,
        federation: FederationFile,
        out: Path,
        *,
        registry: Registry,
        overlap_days: int = OVERLAP_DAYS,
        renewed: str | None = None,
    ) -> None:
        self.created: list[str] = []
        self.changed: list[str] = []
        self.renewed = renewed
        self._federation = federation
        self._out = out
        self._registry = registry
        self._now = int(time.time())
        self._until = self._now + overlap_days * DAY
        self._newest, self.issued = self._read()
        self._cards = () if self._newest is None else self._newest.cards

    @property
    def number(self) -> int:
        return 0 if self._newest is None else self._newest.number

    def cards_of(self, name: str) -> tuple[Card, ...]:
        """Those that are good now, the newest last."""
        found = (card for card in self._cards if card.name == name and card.is_good(self._now))
        return tuple(sorted(found, key=lambda card: card.begins))

    def has_seen(self, name: str, *, signs: bytes) -> bool:
        """Whether a key that signs was on a card of this member before, be it good or not."""
        return any(card.name == name and card.signs == signs for card in self._cards)

    def admit(self, name: str, *, signs: bytes, unseals: bytes) -> None:
        """Let these be a member's keys; those that it had stay good for a while."""
        card = Card(
            name=name,
            signs=signs,
            unseals=unseals,
            begins=self._now - int(SLOW_CLOCKS.total_seconds()),
            ends=self._end(self._federation.certificates.days),
        )
        self._cards = cards.admitted(card, self._cards, until=self._until)

    def shut_out(self, names: Collection[str]) -> None:
        """Let nothing that these sign be good any more."""
        good = {card.name for card in self._cards if card.is_good(self._now)}
        self._cards = cards.shut_out(good.intersection(names), self._cards, at=self._now)

    def issue(self) -> None:
        """Sign the next roster, if it is another one than the newest, or that ends soon."""
        newest, ends = self._newest, self._end(self._federation.security.roster_days)
        if newest is None:
            name, now = self._federation.name, self._now
            newest = Roster(federation=name, number=1, issued=now, ends=ends, cards=self._cards)
            self._keep(newest)
        elif set(newest.cards) != set(self._cards) or self._ends_soon(newest):
            self._keep(newest.with_cards(self._cards, issued=self._now, ends=ends))

    def hand_out(self, kits: Iterable[str]) -> None:
        """Let these kits have the newest roster. It is no secret, and signed: it may be renewed."""
        for kit in kits:
            self._put(f"{kit}/{ROSTER}")

    def _keep(self, roster: Roster) -> None:
        issued = issue(roster, self._registry.authority.signing)
        files.make_folder(self._out / AUTHORITY / ROSTERS)
        self._newest, self.issued, self._cards = roster, issued, roster.cards
        # First among all: the number of one that was given out is never used again.
        self._put(f"{AUTHORITY}/{ROSTERS}/roster-{roster.number:04d}.pem")
        self._put(f"{AUTHORITY}/{ROSTER}")

    def _put(self, name: str) -> None:
        path = self._out / name
        is_new = not path.exists()
        if files.put(path, armored(self.issued, what=WHAT), mode=PUBLIC):
            (self.created if is_new else self.changed).append(name)

    def _read(self) -> tuple[Roster | None, bytes]:
        """The newest of those in the authority's folder that it has signed itself."""
        authority = authority_in(self._out / AUTHORITY / CA)
        folder = self._out / AUTHORITY
        found: list[tuple[Roster | None, bytes]] = []
        for path in (folder / ROSTER, *(folder / ROSTERS).glob("*.pem")):
            if not path.exists():
                continue
            issued = read_issued(path)
            try:
                found.append((verified(issued, authority), issued))
            except MessageError:
                continue  # of the authority before, which was moved away
        newest, issued = max(found, key=_number, default=(None, b""))
        if newest is not None and newest.federation != self._federation.name:
            raise SettingsError(
                f"{folder} is the authority of {newest.federation}, not of "
                f"{self._federation.name}: give --out a folder of its own"
            )
        return newest, issued

    def _ends_soon(self, roster: Roster) -> bool:
        return roster.ends < self._now + WARN_DAYS * DAY and roster.ends < self._end(WARN_DAYS + 1)

    def _end(self, days: int) -> int:
        """So many days from now; nothing outlives its authority."""
        return min(self._now + days * DAY, int(self._registry.ends.timestamp()))


def _number(found: tuple[Roster | None, bytes]) -> int:
    return 0 if found[0] is None else found[0].number

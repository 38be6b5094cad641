"""What becomes of the cards of a roster when members come, change their keys and go. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tasuki.core.trust import Card

DAY = 86400
Cards = tuple[Card, ...]


def with_keys(card: Card, cards: Iterable[Card]) -> Card | None:
    """The card of this name and these keys that is there already."""
    for one in cards:
        if (one.name, one.signs, one.unseals) == (card.name, card.signs, card.unseals):
            return one
    return None


def admitted(card: Card, cards: Cards, *, until: int) -> Cards:
    """With a member's new card; those that it had are good until then, and no longer."""
    if with_keys(card, cards) is not None:
        return cards
    return (*(_until(one, until) if one.name == card.name else one for one in cards), card)


def shut_out(names: Iterable[str], cards: Cards, *, at: int) -> Cards:
    """With nothing that these sign from then on."""
    out = set(names)
    return tuple(
        replace(card, revoked=at) if card.name in out and card.revoked is None else card
        for card in cards
    )


def _until(card: Card, until: int) -> Card:
    """A card never begins later than it ends, nor lasts longer than it did."""
    return replace(card, ends=max(card.begins, min(card.ends, until)))

"""`tasuki roster`: who is a member, with which keys and until when, and whether that is proved."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from tasuki.core.trust import Card, Roster
from tasuki.errors import MessageError, SettingsError
from tasuki.settings.controller import read_controller
from tasuki.settings.security import SecurityTable
from tasuki.settings.site import read_site
from tasuki.settings.toml import top_level
from tasuki.trust.fingerprints import fingerprint
from tasuki.trust.rosters import ENDED, KEPT, authority_in, read_issued, verified
from tasuki.trust.signing import public_bytes
from tasuki.wire.messages import decode, signed_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A roster and who signed it.

    Attributes:
        authority: the fingerprint of who has; empty: nobody was named, and nothing is proved.
    """

    roster: Roster
    authority: str


def run_roster(
    file: Path | None,
    *,
    config: Path | None,
    authority: Path | None,
    must_be_proved: bool,
    as_json: bool,
) -> None:
    """Show a roster.

    Args:
        config: whose settings name the roster and the authority, where those are not given.

    Raises:
        SettingsError: there is none, or nobody is named who should have signed it.
        MessageError: it is not of this authority, or, if it must be proved, it has ended.
    """
    shown = _found(file, config, authority, must_be_proved=must_be_proved)
    typer.echo(json.dumps(document(shown))) if as_json else _show(shown)
    if must_be_proved and shown.roster.ends <= time.time():
        raise MessageError(
            f"roster {shown.roster.number} has ended: have the authority issue the next one",
            reason=ENDED,
        )


def _found(
    file: Path | None, config: Path | None, authority: Path | None, *, must_be_proved: bool
) -> Shown:
    if config is not None:
        table, folder = _security(config)
        authority = authority or table.authority
        if file is None:
            return newest(table, folder)
    if file is None:
        raise SettingsError("name a roster, or with --config the settings that have one")
    if must_be_proved and authority is None:
        raise SettingsError("name with --authority the certificate of who should have signed it")
    return _read(file, authority)


def document(shown: Shown) -> dict[str, object]:
    """For machines; times are seconds since 1970."""
    roster, now = shown.roster, time.time()
    return {
        "federation": roster.federation,
        "number": roster.number,
        "issued": roster.issued,
        "ends": roster.ends,
        "has_ended": roster.ends <= now,
        "is_proved": bool(shown.authority),
        "authority": shown.authority,
        "members": list(roster.members(at=now)),
        "cards": [
            {
                "name": card.name,
                "begins": card.begins,
                "ends": card.ends,
                "revoked": card.revoked,
                "is_good": card.is_good(now),
                "fingerprint": _of_card(card),
            }
            for card in roster.cards
        ],
    }


def _security(config: Path) -> tuple[SecurityTable, Path]:
    """What settings say, and the folder of the service that has them."""
    if "name" in top_level(config):
        site = read_site(config, {})
        table, folder = site.security, site.folder
    else:
        controller = read_controller(config, {})
        table, folder = controller.security, controller.folder
    if not table.is_used:
        raise SettingsError(f"{config} has no [security], and so no roster")
    return table, folder


def newest(table: SecurityTable, folder: Path) -> Shown:
    """The roster that these settings go by: what came over the broker, if it is newer.

    Args:
        folder: where their service keeps that.

    Raises:
        SettingsError: there is none.
        MessageError: it is not of their authority.
    """
    paths = [path for path in (table.roster, folder / KEPT) if path is not None and path.exists()]
    if not paths:
        raise SettingsError(f"[security] roster: there is no {table.roster}; take the kit's")
    found = [_read(path, table.authority) for path in paths]
    return max(found, key=lambda shown: shown.roster.number)


def _read(file: Path, authority: Path | None) -> Shown:
    issued = read_issued(file)
    if authority is not None:
        key = authority_in(authority)
        return Shown(roster=verified(issued, key), authority=fingerprint(public_bytes(key)))
    signed = signed_in(issued)
    return Shown(roster=decode(b"" if signed is None else signed.body, Roster), authority="")


def _show(shown: Shown) -> None:
    roster, now = shown.roster, time.time()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    ended = ", and has ended" if roster.ends <= now else ""
    console.print(
        f"roster {roster.number} of {roster.federation}: issued {_day(roster.issued)}, good until "
        f"{_day(roster.ends)}{ended}"
    )
    table = Table(box=None)
    for column in ("member", "card from", "until", "", "fingerprint"):
        table.add_column(column, no_wrap=True)
    for card in roster.cards:
        state = _state(card, now)
        table.add_row(card.name, _day(card.begins), _day(card.ends), state, _of_card(card))
    console.print(table)
    proved = f"signed by the authority {shown.authority}"
    console.print(proved if shown.authority else "not proved: --authority says who should sign it")


def _state(card: Card, now: float) -> str:
    if card.revoked is not None:
        return f"revoked {_day(card.revoked)}"
    return "good" if card.is_good(now) else "ended"


def _of_card(card: Card) -> str:
    return fingerprint(card.signs + card.unseals)


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()

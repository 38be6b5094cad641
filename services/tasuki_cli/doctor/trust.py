"""[security]: what is insisted on, and whether keys, card and roster fit and last."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tasuki.core.model import CONTROLLER
from tasuki.core.trust import Card, Roster
from tasuki.errors import MessageError, SettingsError
from tasuki.settings.broker import NEXT, beside
from tasuki.settings.security import SecurityTable
from tasuki.trust.sealing import SealingKey
from tasuki.trust.signing import SigningKey
from tasuki_cli.doctor.report import Finding, Status, Step
from tasuki_cli.rosters import newest

DAY_S = 86400
WARN_DAYS = 30


def steps(table: SecurityTable, *, who: str, folder: Path) -> list[Step]:
    """In order: each needs those before it.

    Args:
        folder: where the service works, and keeps the newest roster that it has seen.
    """
    if not table.is_used:
        return [Step(name="security", look=_nothing, advice="")]
    return [
        Step(
            name="keys",
            look=partial(_keys, table),
            advice="take key and seal_key from the kit, with a mode of 600",
        ),
        Step(
            name="roster",
            look=partial(_roster, table, folder),
            advice="have whoever provisions issue the next roster (`tasuki provision`), and hand "
            "it to the controller: sites get it from there",
        ),
        Step(
            name="card",
            look=partial(_card, table, who, folder),
            advice=f"make new keys in time: `tasuki enroll {who} --renew`, or have the kit issued "
            "again",
        ),
        Step(
            name="members",
            look=partial(_members, table, who, folder),
            advice="have each renew its keys in time: `tasuki enroll NAME --renew`",
        ),
    ]


def _nothing() -> Finding:
    return Finding(
        found="no [security]: nothing is signed or sealed, and the broker is believed",
        brief="none: nothing is signed or sealed",
    )


def _keys(table: SecurityTable) -> Finding:
    _own(table)
    if exposed := table.secrets_of_all():
        said = f"everybody on this machine may read {', '.join(map(str, exposed))}"
        return Finding(found=said, status=Status.WARN)
    insists = " and ".join(table.require) or "nothing: what is not signed or sealed is taken too"
    return Finding(found=f"keys can be used; insists on {insists}")


def _roster(table: SecurityTable, folder: Path) -> Finding:
    shown = newest(table, folder)
    roster, left = shown.roster, _days(shown.roster.ends)
    if left < 0:
        raise MessageError(f"roster {roster.number} has ended on {_date(roster.ends)}")
    said = (
        f"roster {roster.number} of {roster.federation}, good until {_date(roster.ends)}, signed "
        f"by the authority {shown.authority}"
    )
    brief = f"roster {roster.number}, good until {_date(roster.ends)}"
    return Finding(found=said, status=Status.WARN if left < WARN_DAYS else Status.OK, brief=brief)


def _card(table: SecurityTable, who: str, folder: Path) -> Finding:
    signing, sealing = _own(table)
    roster = newest(table, folder).roster
    mine = [card for card in roster.cards_of(who) if card.signs == signing.public]
    if not mine:
        raise SettingsError(f"[security] key is on no card of {who} in roster {roster.number}")
    card = mine[-1]
    if card.revoked is not None:
        raise SettingsError(f"our card was revoked on {_date(card.revoked)}")
    if not card.is_good(time.time()):
        raise SettingsError(f"our card is good from {_date(card.begins)} to {_date(card.ends)}")
    if card.unseals != sealing.public:
        raise SettingsError("[security] seal_key is not the one of our card")
    waits = table.key is not None and beside(table.key)[0].exists()
    said = f"our card is good until {_date(card.ends)}"
    if waits:
        said += f"; a renewal waits for its answer ({table.key}{NEXT})"
    is_short = waits or _days(card.ends) < WARN_DAYS
    return Finding(found=said, status=Status.WARN if is_short else Status.OK)


def _members(table: SecurityTable, who: str, folder: Path) -> Finding:
    roster = newest(table, folder).roster
    names = roster.members(at=time.time())
    if CONTROLLER not in names:
        raise SettingsError(f"roster {roster.number} has no controller: nobody can give out turns")
    ends = {name: _newest_card(roster, name).ends for name in names}
    said = ", ".join(f"{name} until {_date(end)}" for name, end in ends.items())
    lost = sorted({card.name for card in roster.cards if card.revoked is not None} - set(names))
    said += f"; revoked: {', '.join(lost)}" if lost else ""
    short = [name for name, end in ends.items() if name != who and _days(end) < WARN_DAYS]
    status = Status.WARN if short and who == CONTROLLER else Status.OK
    return Finding(found=said, status=status, brief=f"{len(names)} have cards that are good")


def _newest_card(roster: Roster, name: str) -> Card:
    return roster.cards_of(name, at=time.time())[-1]


def _own(table: SecurityTable) -> tuple[SigningKey, SealingKey]:
    key, seal_key = table.key, table.seal_key
    assert key is not None and seal_key is not None  # noqa: S101, PT018 - it is used
    return SigningKey.load(_read(key), path=key), SealingKey.load(_read(seal_key), path=seal_key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise SettingsError(f"[security]: {path} cannot be read: {exc.strerror}") from exc


def _days(at: int) -> float:
    return (at - time.time()) / DAY_S


def _date(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()

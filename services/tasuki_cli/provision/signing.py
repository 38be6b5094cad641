"""Which requests are signed: each is looked at before anything is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tasuki.core.model import CONTROLLER
from tasuki.errors import SettingsError
from tasuki.settings.federation import FederationFile
from tasuki.trust.papers import Request, Written, read_request
from tasuki.trust.signing import public_key
from tasuki_cli.provision.contents import settings_of
from tasuki_cli.provision.enrolled import Enrolled
from tasuki_cli.provision.members import Members


@dataclass(frozen=True, slots=True, kw_only=True)
class Petition:
    """A request in a file."""

    path: Path
    written: Written
    request: Request

    @property
    def name(self) -> str:
        return self.request.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of it.

    Attributes:
        answer: the file to send back.
        renewed: in place of keys that the member had.
    """

    name: str
    fingerprint: str
    answer: str
    renewed: bool


def petitions(paths: Iterable[Path], federation: FederationFile) -> list[Petition]:
    """What these files ask for.

    Raises:
        SettingsError: one is damaged, of another federation, of nobody listed, or there twice.
    """
    found: list[Petition] = []
    for path in paths:
        written, request = read_request(path)
        one = Petition(path=path, written=written, request=request)
        if request.federation != federation.name:
            raise SettingsError(
                f"{path} is a request to {request.federation}, not to {federation.name}: have it "
                f"made again with --federation {federation.name}"
            )
        if one.name not in {*federation.sites, CONTROLLER}:
            raise SettingsError(
                f"{path}: {one.name} is not listed: add it to `sites` first, or have it ask under "
                "the name that is"
            )
        if twice := [other.path for other in found if other.name == one.name]:
            raise SettingsError(f"{twice[0]} and {path} are both of {one.name}: sign the right one")
        found.append(one)
    if found and not federation.has_roster:
        raise SettingsError("--sign: this federation has no roster, with [security] require = []")
    return found


def check(one: Petition, *, out: Path, enrolled: Enrolled, members: Members) -> None:
    """Whether a request can be signed.

    Raises:
        SettingsError: it was, or somebody else has its name or its keys, or does not renew them.
    """
    known = enrolled.with_digest(one.name, one.written.digest)
    if known is not None:
        if known.answer.exists():
            raise SettingsError(f"{one.path} was signed already: the answer is {known.answer}")
        return  # we were stopped half-way
    if members.has_seen(one.name, signs=one.request.signs):
        raise SettingsError(
            f"{one.path}: these keys were on a card of {one.name} before: have new ones made"
        )
    if one.request.renews:
        _check_renewal(one, members)
    elif enrolled.latest(one.name) or (out / one.name / settings_of(one.name)).exists():
        raise SettingsError(
            f"{one.path}: {one.name} is a member already. If it is the same one, it renews with "
            f"`tasuki enroll {one.name} --renew`; if it has lost its keys, shut the old ones out "
            f"first: --revoke {one.name}"
        )


def _check_renewal(one: Petition, members: Members) -> None:
    cards = members.cards_of(one.name)
    if not any(one.written.was_signed_by(public_key(card.signs)) for card in cards):
        raise SettingsError(
            f"{one.path} is not signed with a key that {one.name} has now, as a renewal is: have "
            f"it made with `tasuki enroll {one.name} --renew` in the folder that {one.name} runs "
            f"from; if its keys are lost or have ended, --revoke {one.name} and let it enrol anew"
        )

"""What is kept under `out`: the authority, its roster, who has enrolled and who is out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasuki.settings.federation import FederationFile
from tasuki_cli.provision.authority import Registry
from tasuki_cli.provision.changes import Changes
from tasuki_cli.provision.enrolled import Enrolled
from tasuki_cli.provision.kits import Kits, write_kits
from tasuki_cli.provision.members import Members
from tasuki_cli.provision.revocation import Revocations, without
from tasuki_cli.provision.signing import Answered, Petition, check


class Books:
    """All of them, for one change.

    Raises:
        SettingsError: what is there is not ours.
        StorageError: the folder cannot be written.
    """

    def __init__(self, listed: FederationFile, out: Path, changes: Changes) -> None:
        self._listed = listed
        self._out = out
        self._changes = changes
        is_needed = listed.has_own_authority or listed.has_roster
        self._registry = Registry(listed, out) if is_needed else None
        self._members = self._roster_of(self._registry)
        self.revocations = Revocations(out)
        self.enrolled = Enrolled(out)

    @property
    def federation(self) -> FederationFile:
        """Without those who are shut out."""
        return without(self._listed, self.revocations.shut_out)

    @property
    def created(self) -> list[str]:
        """Files that were not there before, seen from `out`."""
        books = (self._registry, self._members)
        return [name for book in books if book is not None for name in book.created]

    @property
    def changed(self) -> list[str]:
        return [] if self._members is None else self._members.changed

    @property
    def notes(self) -> list[str]:
        return [] if self._registry is None else self._registry.notes

    @property
    def roster(self) -> int | None:
        """Its number; None: there is none."""
        return None if self._members is None else self._members.number

    @property
    def fingerprint(self) -> str | None:
        """Of the authority; None: nothing is believed for its signature."""
        is_believed = self._members is not None and self._registry is not None
        return self._registry.fingerprint if is_believed and self._registry else None

    def check(self, asked: Sequence[Petition]) -> None:
        """Raises SettingsError: one of these cannot be signed."""
        if self._members is not None:
            for one in asked:
                check(one, out=self._out, enrolled=self.enrolled, members=self._members)

    def change(self, asked: Sequence[Petition]) -> None:
        """Record who is out, who gets new keys and who brought some."""
        changes, registry = self._changes, self._registry
        if changes.revoke is not None:
            self.revocations.shut_out_site(
                changes.revoke, registry=registry, enrolled=self.enrolled
            )
        if changes.reissue is not None:
            self.revocations.take_back(changes.reissue, registry=registry, until=changes.until)
        for one in asked:
            self._record(one)
        if self._members is not None:
            self._members.shut_out(self.revocations.shut_out)

    def write_kits(self) -> Kits:
        """Make what is missing of them, the roster that all are on, and the broker's list."""
        kits = write_kits(
            self.federation,
            self._out,
            registry=self._registry,
            members=self._members,
            enrolled=self.enrolled,
            owner=self._changes.owner,
        )
        if self._registry is not None and self._listed.has_own_authority:
            self._registry.write_revocations(self.revocations.serials)
        return kits

    def answer(self, asked: Sequence[Petition]) -> list[Answered]:
        """Write what these are sent. Their roster has to be there."""
        if self._registry is None or self._members is None:
            return []
        return [self._answer(one, self._registry, self._members) for one in asked]

    def _answer(self, one: Petition, registry: Registry, members: Members) -> Answered:
        found = self.enrolled.record(one.written, one.request)
        path = self.enrolled.reply(found, self.federation, registry=registry, issued=members.issued)
        return Answered(
            name=one.name,
            fingerprint=one.written.fingerprint,
            answer=str(path),
            renewed=one.request.renews,
        )

    def _record(self, one: Petition) -> None:
        if self.enrolled.with_digest(one.name, one.written.digest) is None:
            self.revocations.replace_all(
                one.name,
                registry=self._registry,
                enrolled=self.enrolled,
                until=self._changes.until,
            )
        self.enrolled.record(one.written, one.request)

    def _roster_of(self, registry: Registry | None) -> Members | None:
        if registry is None or not self._listed.has_roster:
            return None
        return Members(
            self._listed,
            self._out,
            registry=registry,
            overlap_days=self._changes.overlap_days,
            renewed=self._changes.reissue,
        )

"""[security]: the keys of a service, the roster that it goes by, and what it insists on."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import Field, model_validator

from tasuki.core.trust import Must
from tasuki.disk.errors import disk_errors
from tasuki.errors import MessageError, SettingsError
from tasuki.settings.broker import beside, of_all
from tasuki.settings.toml import Settings, SettingsPath
from tasuki.trust.member import Keys, Member
from tasuki.trust.rosters import OLD, Rosters, authority_in, read_issued
from tasuki.trust.sealing import SealingKey
from tasuki.trust.signing import SigningKey


class SecurityTable(Settings):
    """`authority`: the certificate of the federation's authority. `roster`: who is a member, as it
    signed it; a newer one comes over the broker and is kept in the service's folder. `key` signs,
    and is that of the certificate; `seal_key` unseals. `require`: what this service takes nothing
    without, whatever others say.
    """

    authority: SettingsPath | None = None
    roster: SettingsPath | None = None
    key: SettingsPath | None = None
    seal_key: SettingsPath | None = None
    require: list[Must] = Field(default_factory=list)

    @model_validator(mode="after")
    def _all_or_none(self) -> SecurityTable:
        given = {"authority": self.authority, "roster": self.roster}
        given |= {"key": self.key, "seal_key": self.seal_key}
        missing = [name for name, path in given.items() if path is None]
        if missing and (len(missing) < len(given) or self.require):
            raise ValueError(f"{' and '.join(missing)} missing: these four belong together")
        return self

    @property
    def is_used(self) -> bool:
        return self.key is not None

    def secrets_of_all(self) -> list[Path]:
        """Those that everyone on this machine may read."""
        there = [path for path in (self.key, self.seal_key) if path is not None]
        return of_all(*there, *(other for path in there for other in beside(path)))

    def member(self, name: str, *, folder: Path) -> Member:
        """Who signs and seals as this service.

        Args:
            folder: where it keeps the newest roster that it has seen.

        Raises:
            SettingsError: a key or the roster cannot be used.
        """
        paths = (self.authority, self.roster, self.key, self.seal_key)
        authority, roster, key, seal_key = paths
        if authority is None or roster is None or key is None or seal_key is None:
            return Member(name)
        rosters = Rosters(authority_in(authority), now=time.time, folder=folder)
        try:
            rosters.take(read_issued(roster))
        except MessageError as exc:
            if exc.reason != OLD:  # a newer one came over the broker
                raise SettingsError(f"[security] roster = {roster}: {exc}") from exc
        others = [path for path in beside(seal_key) if path.exists()]
        keys = Keys(
            signing=SigningKey.load(_read(key), path=key),
            sealing=SealingKey.load(_read(seal_key), path=seal_key),
            rosters=rosters,
            others=tuple(SealingKey.load(_read(path), path=path) for path in others),
        )
        return Member(name, keys=keys, require=self.require, now=time.time)


def _read(path: Path) -> bytes:
    with disk_errors(path):
        return path.read_bytes()

"""What provisioning is told to do beside adding what is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasuki.errors import SettingsError
from tasuki.settings.federation import BROKER, FederationFile
from tasuki_cli.options import OVERLAP_DAYS
from tasuki_cli.provision import files
from tasuki_cli.provision.layout import ENROLLED
from tasuki_cli.provision.revocation import check_reissue, check_revoke


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What provisioning does to those who have a kit already.

    Attributes:
        reissue: who gets a new password and a new certificate.
        revoke: the site that is shut out.
        sign: files with requests of those who made their keys themselves.
        overlap_days: how long the keys and the certificate stay good that a renewal replaces.
        owner: whose the files of kits are where containers run.
    """

    reissue: str | None = None
    revoke: str | None = None
    sign: tuple[Path, ...] = ()
    overlap_days: int = OVERLAP_DAYS
    owner: files.Owner = field(default_factory=files.default_owner)

    @classmethod
    def from_options(
        cls,
        *,
        reissue: str | None,
        revoke: str | None,
        owner: str | None,
        sign: Sequence[Path] = (),
        overlap_days: int = OVERLAP_DAYS,
    ) -> Changes:
        """Raises SettingsError: this is no owner."""
        changes = cls(reissue=reissue, revoke=revoke, sign=tuple(sign), overlap_days=overlap_days)
        if owner is None:
            return changes
        if re.fullmatch(r"\d+(:\d+)?", owner) is None:
            raise SettingsError(f"--owner {owner}: give numbers, as in 10001:10001")
        uid, _, gid = owner.partition(":")
        return replace(changes, owner=files.Owner(uid=int(uid), gid=int(gid or uid)))

    @property
    def until(self) -> datetime | None:
        """How long the certificate that is replaced stays good; None: no longer.

        A broker's is replaced where it is used, and who has the old one is no broker of ours.
        """
        if self.reissue == BROKER or not self.overlap_days:
            return None
        return datetime.now(UTC) + timedelta(days=self.overlap_days)

    def check(self, federation: FederationFile, out: Path) -> None:
        """Raises SettingsError: nobody of that name can be changed like this."""
        if self.reissue is not None:
            check_reissue(self.reissue, federation)
            if (out / ENROLLED / self.reissue).exists():
                raise SettingsError(
                    f"--reissue {self.reissue}: it made its keys itself, and renews them with "
                    f"`tasuki enroll {self.reissue} --renew`"
                )
        if self.revoke is not None:
            check_revoke(self.revoke, out)

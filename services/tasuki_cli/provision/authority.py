"""Who has which certificate: the authority's folder and the certificates in the kits.

Like everything of a kit a certificate is written once; what is near its end is said, and renewed
only when asked for.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from pathlib import Path

from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import PRIVATE, PUBLIC
from tasuki.settings.federation import BROKER, FederationFile
from tasuki.trust.fingerprints import fingerprint
from tasuki.trust.rosters import authority_in
from tasuki.trust.signing import public_bytes
from tasuki_cli.provision import certificates, files
from tasuki_cli.provision.certificates import Authority, Pair
from tasuki_cli.provision.layout import (
    AUTHORITY,
    AUTHORITY_PAIR,
    BROKER_LISTS,
    CA,
    CRL,
    SIGNER,
    PairNames,
    pair_of,
)


class Registry:
    """The federation's authority, made in `out/ca` when it is not there yet.

    Attributes:
        created: files that were not there before, seen from `out`.
        notes: what will need a person.

    Raises:
        SettingsError: what is there is no authority of ours.
        StorageError: the folder cannot be written.
    """

    def __init__(self, federation: FederationFile, out: Path) -> None:
        self.created: list[str] = []
        self.notes: list[str] = []
        self._federation = federation
        self._out = out
        if not (out / AUTHORITY / CA).exists():
            self._found()
        left = certificates.days_left(certificates.load(self._path_of_ca))
        if left < certificates.WARN_DAYS:
            self.notes.append(
                f"{AUTHORITY}/{CA} ends in {left} days, and with it all certificates: move "
                f"{AUTHORITY}/ away for a new authority, and --reissue everyone"
            )

    @property
    def ca(self) -> bytes:
        """The authority's certificate as PEM, for everyone to trust."""
        path = self._out / AUTHORITY / CA
        with disk_errors(path):
            return path.read_bytes()

    @property
    def fingerprint(self) -> str:
        """What members compare before they believe it."""
        return fingerprint(public_bytes(authority_in(self._path_of_ca)))

    def certify(self, user: str) -> None:
        """Let a kit have a certificate; one that it has is kept, whatever there is to say of it."""
        if not self._path(user).exists():
            self._issue(user)
        self._check(user)

    def withdraw(self, user: str) -> None:
        """Let a kit have no certificate, so that it gets a new one, of the authority of today."""
        names = pair_of(user)
        for name in (names.certificate, names.key, SIGNER, *self._trusted):
            with disk_errors(self._out / user / name):
                (self._out / user / name).unlink(missing_ok=True)

    def serial_of(self, user: str) -> int | None:
        """The serial number of the certificate that a kit has now."""
        path = self._path(user)
        return certificates.load(path).serial_number if path.exists() else None

    def write_revocations(self, serials: list[int]) -> None:
        """Let these be on the list of certificates that are no longer good, here and there.

        What is on it stays, whatever became of the record.
        """
        ours = self._out / AUTHORITY / CRL
        known = certificates.revoked_in(ours) if ours.exists() else set()
        if not ours.exists() or not known.issuperset(serials):
            revoked = sorted(known.union(serials))
            files.put(ours, self.authority.revocations(revoked), mode=PUBLIC)
            self.created.append(f"{AUTHORITY}/{CRL}")
        name = certificates.list_name(certificates.load(self._path_of_ca))
        theirs = f"{BROKER}/{BROKER_LISTS}/{name}"
        files.make_folder((self._out / theirs).parent, mode=0o755)
        with disk_errors(ours):
            content = ours.read_bytes()
        if files.put(self._out / theirs, content, mode=PUBLIC):
            self.created.append(theirs)

    @property
    def _trusted(self) -> list[str]:
        """What kits have of our authority to verify the broker with."""
        return [CA] if self._federation.has_own_authority else []

    @property
    def ends(self) -> datetime:
        """Nothing that it signs is good for longer."""
        return certificates.load(self._path_of_ca).not_valid_after_utc

    @cached_property
    def authority(self) -> Authority:
        """Only when it has to sign: its key may be kept elsewhere the rest of the time."""
        folder, days = self._out / AUTHORITY, self._federation.certificates.days
        return Authority.load(folder / CA, folder / AUTHORITY_PAIR.key, days=days)

    def _path(self, user: str) -> Path:
        return self._out / user / pair_of(user).certificate

    def _found(self) -> None:
        days = self._federation.certificates.ca_days
        pair = certificates.new_authority(self._federation.name, days=days)
        self._write(pair, AUTHORITY, AUTHORITY_PAIR)

    def _issue(self, user: str) -> None:
        if user == BROKER:
            pair = self.authority.for_server(self._federation.broker.certified)
        else:
            pair = self.authority.for_client(user)
        self._write(pair, user, pair_of(user))

    def _write(self, pair: Pair, folder: str, names: PairNames) -> None:
        files.make_folder(self._out / folder)
        # The key first: whether there is a certificate decides whether there is all of it.
        files.put(self._out / folder / names.key, pair.key, mode=PRIVATE)
        files.put(self._out / folder / names.certificate, pair.certificate, mode=PUBLIC)
        self.created += [f"{folder}/{names.key}", f"{folder}/{names.certificate}"]

    def _check(self, user: str) -> None:
        certificate = certificates.load(self._path(user))
        wrong = list(self._complaints(user, certificate))
        where = f"{user}/{pair_of(user).certificate}"
        self.notes += [f"{where} {what}; renew it with --reissue {user}" for what in wrong]

    def _complaints(self, user: str, certificate: certificates.Certificate) -> list[str]:
        wrong = []
        if not certificates.is_signed_by(certificate, certificates.load(self._path_of_ca)):
            wrong.append("is not of this federation's authority")
        left = certificates.days_left(certificate)
        if left < certificates.WARN_DAYS:
            wrong.append(f"ends in {left} days" if left >= 0 else "has ended")
        known = certificates.hosts_of(certificate)
        hosts = self._federation.broker.certified if user == BROKER else []
        if missing := [host for host in hosts if host.strip("[]") not in known]:
            wrong.append(f"is not good for {', '.join(missing)}")
        return wrong

    @property
    def _path_of_ca(self) -> Path:
        return self._out / AUTHORITY / CA

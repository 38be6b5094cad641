"""Those who made their keys themselves: their requests, and what was answered, in `out/enrolled`.

Nothing in here is a secret. Each request is kept, in a folder of its own with a number; the last
one is in force.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from tasuki.disk.writing import PUBLIC
from tasuki.errors import SettingsError
from tasuki.settings.federation import FederationFile
from tasuki.trust.papers import ANSWER, REQUEST, Answer, Request, Written, read_request
from tasuki_cli.provision import certificates, files
from tasuki_cli.provision.authority import Registry
from tasuki_cli.provision.layout import CLIENT, ENROLLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """One request that was accepted."""

    folder: Path
    written: Written
    request: Request

    @property
    def answer(self) -> Path:
        return self.folder / f"{self.request.name}-answer.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / CLIENT.certificate


class Enrolled:
    """All that were accepted, and are not shut out.

    Raises:
        SettingsError: what is there is no request.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folder = out / ENROLLED
        self._all = {name: list(self._read(name)) for name in self._names()}

    def latest(self, name: str) -> Enrolment | None:
        """What is in force for a member; None: it has not enrolled."""
        found = self._all.get(name)
        return found[-1] if found else None

    @property
    def folder(self) -> Path:
        return self._folder

    def hashes(self, name: str) -> frozenset[str]:
        """Of its passwords, as RabbitMQ keeps them; all that it ever sent."""
        return frozenset(each.request.password_hash for each in self._all.get(name, ()))

    def serials(self, name: str) -> list[int]:
        """Of its certificates, the newest last."""
        there = (each.certificate for each in self._all.get(name, ()))
        return [certificates.load(path).serial_number for path in there if path.exists()]

    def with_digest(self, name: str, digest: str) -> Enrolment | None:
        """What came of a request, if it was accepted before."""
        found = (each for each in self._all.get(name, ()) if each.written.digest == digest)
        return next(found, None)

    def record(self, written: Written, request: Request) -> Enrolment:
        """First of all, before anything is made of it. One that was recorded before stays."""
        known = self.with_digest(request.name, written.digest)
        if known is not None:
            return known
        before = self._all.setdefault(request.name, [])
        folder = self._folder / request.name / str(len(before) + 1)
        files.make_folder(folder, mode=0o755)
        path = folder / f"{request.name}-request.pem"
        files.put(path, written.armored(what=REQUEST), mode=PUBLIC)
        before.append(Enrolment(folder=folder, written=written, request=request))
        return before[-1]

    def certify(self, one: Enrolment, registry: Registry) -> str:
        """Its certificate as PEM; made once."""
        if not one.certificate.exists():
            made = registry.authority.for_key(one.request.name, one.request.key)
            files.put(one.certificate, made.public_bytes(Encoding.PEM), mode=PUBLIC)
        return files.content_of(one.certificate).decode()

    def reply(
        self, one: Enrolment, federation: FederationFile, *, registry: Registry, issued: bytes
    ) -> Path:
        """Write its answer.

        Args:
            issued: the roster that it is on.
        """
        is_ours, broker_ca = federation.has_own_authority, federation.broker.ca
        authority = registry.ca.decode()
        theirs = "" if broker_ca is None else files.content_of(broker_ca).decode()
        answer = Answer(
            federation=federation.name,
            name=one.request.name,
            request=one.written.digest,
            authority=authority,
            certificate=self.certify(one, registry) if is_ours else "",
            ca=authority if is_ours else theirs,
            roster=base64.b64encode(issued).decode(),
            settings=_settings(federation),
        )
        written = Written.of(answer, key=registry.authority.signing)
        files.put(one.answer, written.armored(what=ANSWER), mode=PUBLIC)
        return one.answer

    def move_away(self, name: str, target: Path) -> None:
        """It is shut out."""
        files.move_folder(self._folder / name, target)
        self._all.pop(name, None)

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir())

    def _read(self, name: str) -> Iterator[Enrolment]:
        folders = [path for path in (self._folder / name).iterdir() if path.name.isdecimal()]
        for folder in sorted(folders, key=lambda path: int(path.name)):
            path = folder / f"{name}-request.pem"
            if not path.exists():
                continue  # killed before anything was promised
            written, request = read_request(path)
            if request.name != name:
                raise SettingsError(f"{path} is a request of {request.name}")
            yield Enrolment(folder=folder, written=written, request=request)


def _settings(federation: FederationFile) -> dict[str, object]:
    """What a member's settings are made of; no path of ours."""
    return {
        "name": federation.name,
        "sites": federation.sites,
        "broker": federation.broker.model_dump(
            mode="json", include={"host", "hosts", "port", "scheme"}, exclude_unset=True
        ),
        "certificates": {"make": federation.has_own_authority},
        "streams": federation.streams.model_dump(mode="json"),
        "security": {"require": [str(each) for each in federation.security.require]},
    }

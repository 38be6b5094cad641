"""What each site, the controller, the operators and the broker get.

A kit is written once. From then on it is its owner's: a password is kept, an edited site.toml is
left alone, and what no longer fits federation.toml is said, not changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tasuki.core.model import CONTROLLER
from tasuki.disk.writing import PRIVATE, PUBLIC
from tasuki.settings.broker import BrokerTable, read_secret
from tasuki.settings.controller import read_controller
from tasuki.settings.federation import BROKER, OPERATOR, FederationFile
from tasuki.settings.security import SecurityTable
from tasuki.settings.site import read_site
from tasuki.trust.sealing import SealingKey
from tasuki.trust.signing import SigningKey
from tasuki_cli.provision import files, nodes
from tasuki_cli.provision.authority import Registry
from tasuki_cli.provision.contents import FOLDERS, Contents, kind_of, settings_of, texts_of
from tasuki_cli.provision.enrolled import Enrolled
from tasuki_cli.provision.layout import (
    CA,
    CLIENT,
    COMPOSE,
    CONTROLLER_SETTINGS,
    COOKIE,
    PASSWORD,
    SEAL_KEY,
    SIGNER,
    SITE,
    TOKEN,
)
from tasuki_cli.provision.members import Members
from tasuki_cli.provision.passwords import new_password
from tasuki_cli.provision.texts import render


@dataclass(slots=True)
class Kits:
    """What was found and made in the output folder.

    Attributes:
        passwords: by user of the broker; never printed, never logged.
        created: files that were not there before, seen from the output folder.
        notes: what does not fit federation.toml and was left as it is.
        removed: sites that have a kit and are no longer listed.
        hashes: of the passwords of those who made theirs themselves.
        earlier: passwords that such a one had from us before, which a broker may have yet.
        awaited: who has neither a kit nor enrolled.
    """

    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    created: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    earlier: dict[str, str] = field(default_factory=dict, repr=False)
    awaited: list[str] = field(default_factory=list)


def write_kits(
    federation: FederationFile,
    out: Path,
    *,
    registry: Registry | None,
    members: Members | None,
    enrolled: Enrolled,
    owner: files.Owner,
) -> Kits:
    """Make what is missing of every kit.

    Args:
        registry: the federation's authority; None: it has none.
        members: who is on its roster; None: it has none.
        enrolled: who made their keys themselves, and need no kit.
        owner: whose the files are where containers run.

    Raises:
        SettingsError: a kit that is there has a file that cannot be used.
        StorageError: the folder cannot be written.
    """
    kits = Kits(removed=_unlisted(federation, out))

    def is_made(user: str) -> bool:
        """Whether it has a kit of ours; if not, how it comes in is recorded."""
        if (one := enrolled.latest(user)) is not None:
            kits.hashes[user] = one.request.password_hash
            path = out / user / PASSWORD
            if path.exists():
                kits.earlier[user] = read_secret(path, what=f"the password of {user}")
                kits.notes.append(
                    f"{user} has enrolled: {user}/ is used no more, delete it unless {user} runs "
                    "from there"
                )
            if members is not None:
                members.admit(user, signs=one.request.signs, unseals=one.request.unsealing)
            return False
        if federation.security.kits or (out / user / settings_of(user)).exists():
            return True
        kits.awaited.append(user)
        return False

    writer = _Writer(federation, out, kits, registry=registry, members=members, owner=owner)
    for site in filter(is_made, federation.sites):
        writer.write_site(site)
    if is_made(CONTROLLER):
        writer.write_controller()
    writer.write_operator()
    writer.write_broker()
    writer.write_rosters()
    return kits


class _Writer:
    def __init__(
        self,
        federation: FederationFile,
        out: Path,
        kits: Kits,
        *,
        registry: Registry | None,
        members: Members | None,
        owner: files.Owner,
    ) -> None:
        self._federation = federation
        self._out = out
        self._kits = kits
        self._registry = registry
        self._certifier = registry if federation.has_own_authority else None
        self._members = members
        self._with_keys: list[str] = []
        self._ca = _trusted(federation, self._certifier)
        self._contents = Contents(federation=federation, owner=owner, has_ca=self._ca is not None)

    def write_site(self, site: str) -> None:
        self._write_secrets(site)
        self._add_service(site)
        settings = read_site(self._out / site / SITE, {})
        self._compare(site, settings.broker)
        self._compare_security(site, settings.security)

    def write_controller(self) -> None:
        self._write_secrets(CONTROLLER)
        self._add(CONTROLLER, TOKEN, new_password() + "\n", mode=PRIVATE)
        # No list of sites: it would be out of date with the next one, and the reports tell.
        self._add_service(CONTROLLER)
        settings = read_controller(self._out / CONTROLLER / CONTROLLER_SETTINGS, {})
        self._compare(CONTROLLER, settings.broker)
        self._compare_security(CONTROLLER, settings.security)

    def write_operator(self) -> None:
        """Their user of the broker, and what the controller asks of them."""
        self._write_password(OPERATOR)
        self._add_text(OPERATOR, "README.md", "operator.md")
        if not (self._out / CONTROLLER / TOKEN).exists():
            return  # the controller made it, where it runs
        token = read_secret(self._out / CONTROLLER / TOKEN, what="the operators' token")
        self._add(OPERATOR, TOKEN, token + "\n", mode=PRIVATE)
        theirs = read_secret(self._out / OPERATOR / TOKEN, what="the operators' token")
        if theirs != token:
            self._kits.notes.append(f"{OPERATOR}/{TOKEN} is not {CONTROLLER}/{TOKEN}; both kept")

    def write_broker(self) -> None:
        """One folder for every machine that it runs on."""
        files.make_folder(self._out / BROKER, mode=0o755)
        if self._certifier is not None:
            self._add(BROKER, CA, self._certifier.ca, mode=PUBLIC)
            self._certifier.certify(BROKER)
        self._add_text(BROKER, "enabled_plugins", "enabled_plugins")
        self._make_folders(BROKER, ("state",))
        has_nodes = bool(nodes.node_names(self._federation.broker))
        if has_nodes:
            self._add(BROKER, COOKIE, new_password() + "\n", mode=PRIVATE)
        self._add_text(BROKER, ".env", "node.dotenv" if has_nodes else "dotenv")
        self._add_text(BROKER, COMPOSE, f"{'node' if has_nodes else 'broker'}.compose.yaml")
        self._add_text(BROKER, "README.md", "broker.md")
        self._compare_nodes(has_nodes=has_nodes)

    def write_rosters(self) -> None:
        """Last: who is on it is known once all kits are there."""
        if self._members is not None:
            self._members.issue()
            self._members.hand_out(self._with_keys)

    def _write_secrets(self, user: str) -> None:
        # First: settings that name a password that is not there help nobody.
        self._write_password(user)
        if self._ca is not None:
            self._add(user, CA, self._ca, mode=PUBLIC)
        if self._certifier is not None:
            self._certifier.certify(user)
        if self._members is not None and self._registry is not None:
            self._write_keys(user, self._members, self._registry)

    def _write_keys(self, user: str, members: Members, registry: Registry) -> None:
        """A kit from before there were any has none until it is issued again."""
        kit = self._out / user
        is_old = (kit / settings_of(user)).exists() and not (kit / SEAL_KEY).exists()
        if is_old and members.renewed != user:
            return
        self._add(user, CLIENT.key, SigningKey.new().pem(), mode=PRIVATE)
        self._add(user, SEAL_KEY, SealingKey.new().pem(), mode=PRIVATE)
        if not self._federation.has_own_authority:
            self._add(user, SIGNER, registry.ca, mode=PUBLIC)
        if files.content_of(kit / self._contents.signer) != registry.ca:
            return  # of an authority before: nothing of ours would be good there
        members.admit(
            user,
            signs=SigningKey.load(files.content_of(kit / CLIENT.key), path=kit / CLIENT.key).public,
            unseals=SealingKey.load(files.content_of(kit / SEAL_KEY), path=kit / SEAL_KEY).public,
        )
        self._with_keys.append(user)

    def _write_password(self, user: str) -> None:
        files.make_folder(self._out / user)
        self._add(user, PASSWORD, new_password() + "\n", mode=PRIVATE)
        path = self._out / user / PASSWORD
        self._kits.passwords[user] = read_secret(path, what=f"the password of {user}")

    def _add_service(self, user: str) -> None:
        for name, template in texts_of(user).items():
            self._add_text(user, name, template)
        self._make_folders(user, FOLDERS[kind_of(user)])

    def _make_folders(self, user: str, folders: Iterable[str]) -> None:
        for name in folders:
            files.make_folder(self._out / user / name)

    def _add_text(self, user: str, name: str, template: str) -> None:
        if not (self._out / user / name).exists():
            self._add(user, name, render(template, self._contents.gaps(user)), mode=PUBLIC)

    def _add(self, user: str, name: str, content: str | bytes, *, mode: int) -> None:
        if files.add(self._out / user / name, content, mode=mode):
            self._kits.created.append(f"{user}/{name}")

    def _compare_nodes(self, *, has_nodes: bool) -> None:
        broker = self._federation.broker
        if len(broker.nodes) > 1 and not has_nodes:
            self._kits.notes.append(
                f"{BROKER}/ is for one node, and you have to join the others yourself: [broker] "
                "hosts are no machines of one node each, or have both short names and full ones"
            )
        is_for_nodes = "TASUKI_NODE" in (self._out / BROKER / COMPOSE).read_text(encoding="utf-8")
        if has_nodes != is_for_nodes:
            self._kits.notes.append(
                f"{BROKER}/{COMPOSE} is for {'several nodes' if is_for_nodes else 'one node'}; it "
                f"is kept, and with {BROKER}/.env and README.md made again if you move it away"
            )

    def _compare(self, user: str, table: BrokerTable) -> None:
        url = self._federation.url(user)
        wanted = [str(node) for node in self._federation.broker.nodes]
        if _way(table.url, has_nodes=bool(wanted)) != _way(url, has_nodes=bool(wanted)):
            self._kits.notes.append(
                f"{user}'s settings have the broker at {table.url}, not {url}; "
                "they are kept as they are"
            )
        there = [str(node) for node in table.nodes] if table.hosts else []
        if sorted(there) != sorted(wanted):
            self._kits.notes.append(
                f"{user}'s settings have [broker] hosts = {json.dumps(there)}, not "
                f"{json.dumps(wanted)}; they are kept as they are"
            )
        if self._certifier is not None and table.cert is None:
            self._kits.notes.append(
                f'{user}\'s settings have no cert = "{CLIENT.certificate}" and '
                f'key = "{CLIENT.key}" in [broker], which this broker asks for'
            )

    def _compare_security(self, user: str, table: SecurityTable) -> None:
        if self._members is None:
            return
        if why := self._why_without_card(user):
            self._kits.notes.append(
                f"{user}/ {why}, and is not on the roster: --reissue {user} gives it keys"
            )
        if not table.is_used:
            self._kits.notes.append(
                f"{user}'s settings have no [security]; add this to them: "
                + self._contents.security_table().strip().replace("\n", "; ")
            )
        elif missing := set(self._federation.security.require) - set(table.require):
            self._kits.notes.append(
                f"{user}'s settings do not require {' and '.join(sorted(missing))} in [security]; "
                "they are kept as they are"
            )

    def _why_without_card(self, user: str) -> str:
        """Empty if it has one, or if its certificate tells already."""
        if not (self._out / user / SEAL_KEY).exists():
            return "is of a time without [security]"
        is_told = user in self._with_keys or self._certifier is not None
        return "" if is_told else "is of another authority"


def _way(url: str, *, has_nodes: bool) -> tuple[str | None, ...]:
    """What has to be the same in two urls; a list of nodes stands in place of the host."""
    parts = urlsplit(url)
    return (parts.scheme, parts.username, parts.path, "" if has_nodes else parts.netloc)


def _trusted(federation: FederationFile, certifier: Registry | None) -> bytes | None:
    """Whom everyone trusts that they talk to the broker; None: whom their system trusts."""
    if certifier is not None:
        return certifier.ca
    return None if federation.broker.ca is None else files.content_of(federation.broker.ca)


def _unlisted(federation: FederationFile, out: Path) -> list[str]:
    kits = sorted(path.parent.name for path in out.glob(f"*/{SITE}"))
    return [name for name in kits if name not in federation.sites]

"""What each site, the controller and the operators get: settings, password, token.

A kit is written once. From then on it is its owner's: a password is kept, an edited site.toml is
left alone, and what no longer fits federation.toml is said, not changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tasuki.core.model import CONTROLLER
from tasuki.settings.broker import BrokerTable, read_secret
from tasuki.settings.controller import read_controller
from tasuki.settings.federation import OPERATOR, FederationFile
from tasuki.settings.site import read_site
from tasuki.wire.spool import disk_errors
from tasuki_cli.provision import files
from tasuki_cli.provision.passwords import new_password

_PASSWORD = "password"  # noqa: S105 - a file's name
_TOKEN = "token"  # noqa: S105 - a file's name
_CA = "ca.pem"
_SITE = "site.toml"
_CONTROLLER = "controller.toml"


@dataclass(slots=True)
class Kits:
    """What was found and made in the output folder.

    Attributes:
        passwords: by user of the broker; never printed, never logged.
        created: files that were not there before, seen from the output folder.
        notes: what does not fit federation.toml and was left as it is.
        removed: sites that have a kit and are no longer listed.
    """

    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    created: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def write_kits(federation: FederationFile, out: Path) -> Kits:
    """Make what is missing of every kit.

    Raises:
        SettingsError: a kit that is there has a file that cannot be used.
        StorageError: the folder cannot be written.
    """
    kits = Kits(removed=_unlisted(federation, out))
    kit = _Kit(federation, out, kits)
    for site in federation.sites:
        kit.write(site, _SITE, _site_toml(federation, site))
        _compare(read_site(out / site / _SITE, {}).broker, federation, site, kits)
    kit.write(CONTROLLER, _CONTROLLER, _controller_toml(federation))
    table = read_controller(out / CONTROLLER / _CONTROLLER, {}).broker
    _compare(table, federation, CONTROLLER, kits)
    kit.write_password(OPERATOR)
    kit.share_token()
    return kits


class _Kit:
    def __init__(self, federation: FederationFile, out: Path, kits: Kits) -> None:
        self._out = out
        self._kits = kits
        self._ca: bytes | None = None
        if federation.broker.ca is not None:
            with disk_errors(federation.broker.ca):
                self._ca = federation.broker.ca.read_bytes()

    def write(self, user: str, settings: str, content: str) -> None:
        # The password first: settings that name a password that is not there help nobody.
        self.write_password(user)
        if self._ca is not None:
            self._add(user, _CA, self._ca, mode=files.PUBLIC)
        self._add(user, settings, content, mode=files.PUBLIC)

    def write_password(self, user: str) -> None:
        files.make_folder(self._out / user)
        self._add(user, _PASSWORD, new_password() + "\n", mode=files.PRIVATE)
        path = self._out / user / _PASSWORD
        self._kits.passwords[user] = read_secret(path, what=f"the password of {user}")

    def share_token(self) -> None:
        """What the controller asks of operators, in both their folders."""
        self._add(CONTROLLER, _TOKEN, new_password() + "\n", mode=files.PRIVATE)
        token = read_secret(self._out / CONTROLLER / _TOKEN, what="the operators' token")
        self._add(OPERATOR, _TOKEN, token + "\n", mode=files.PRIVATE)
        theirs = read_secret(self._out / OPERATOR / _TOKEN, what="the operators' token")
        if theirs != token:
            self._kits.notes.append(f"{OPERATOR}/{_TOKEN} is not {CONTROLLER}/{_TOKEN}; both kept")

    def _add(self, user: str, name: str, content: str | bytes, *, mode: int) -> None:
        if files.add(self._out / user / name, content, mode=mode):
            self._kits.created.append(f"{user}/{name}")


def _unlisted(federation: FederationFile, out: Path) -> list[str]:
    kits = sorted(path.parent.name for path in out.glob(f"*/{_SITE}"))
    return [name for name in kits if name not in federation.sites]


def _compare(table: BrokerTable, federation: FederationFile, user: str, kits: Kits) -> None:
    if table.url != federation.url(user):
        kits.notes.append(
            f"{user}'s settings have the broker at {table.url}, not {federation.url(user)}; "
            "they are kept as they are"
        )


def _site_toml(federation: FederationFile, site: str) -> str:
    return f"""\
# Site {site} of federation {federation.name}. Made by `tasuki provision`; yours from now on.
name = "{site}"

{_broker_table(federation, site)}
# The code that runs may ask for by name: "train.py" (a script) or "train:train" (a function).
# [trainers.cifar10]
# run = "train.py"

# [data]
# path = "/data"
"""


def _controller_toml(federation: FederationFile) -> str:
    # No list of sites: it would be out of date with the next site, and the reports tell.
    return f"""\
# Controller of federation {federation.name}. Made by `tasuki provision`; yours from now on.
{_broker_table(federation, CONTROLLER)}
[http]
token_file = "{_TOKEN}"
"""


def _broker_table(federation: FederationFile, user: str) -> str:
    ca = "" if federation.broker.ca is None else f'ca = "{_CA}"\n'
    return f"""\
[broker]
url = "{federation.url(user)}"
password_file = "{_PASSWORD}"
{ca}"""

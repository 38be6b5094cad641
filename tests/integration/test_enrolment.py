"""Members that make their keys themselves, on a real broker: renewed, they stay connected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.broker import Broker
from support.transports import Inbox, opened, run
from support.waiting import until
from tasuki.errors import NotPermitted
from tasuki.settings.broker import BrokerTable
from tasuki.settings.site import read_site
from tasuki.transport.broker import BrokerConnection
from tasuki.wire import names
from tasuki_cli.enrolment.asking import Asked, ask, renew
from tasuki_cli.enrolment.installing import install
from tasuki_cli.provision import Admin, Changes
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.report import Report

VHOST = "clinics"


class Clinics:
    """A federation whose sites enrol; the authority's folder, and one for each site."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.out = folder / "authority"
        self.folder = folder
        (folder / "admin").write_text(broker.password())

    def provision(self, *requests: Path, apply: bool = True, revoke: str | None = None) -> Report:
        path = self.folder / "federation.toml"
        path.write_text(
            f'name = "{VHOST}"\nsites = {json.dumps(["site-1", "site-2"])}\n'
            f'[broker]\nhost = "{self.broker.host}"\nport = {self.broker.port}\n'
            f'management = "http://127.0.0.1:{self.broker.http_port}"\n'
            "[security]\nkits = false\n"
        )
        admin = Admin(user="admin", password_file=self.folder / "admin") if apply else None
        changes = Changes(sign=requests, revoke=revoke)
        return provision(path, out=self.out, admin=admin, changes=changes)

    def at(self, site: str) -> Path:
        return self.folder / site

    def enrol(self, site: str) -> None:
        self.install(ask(site, federation=VHOST, folder=self.at(site)), apply=True)

    def renew(self, site: str) -> Asked:
        return renew(site, folder=self.at(site))

    def install(self, asked: Asked, *, apply: bool) -> None:
        report = self.provision(asked.path, apply=apply)
        install(Path(report.signed[0].answer), folder=self.at(asked.name))

    def table(self, site: str) -> BrokerTable:
        table = read_site(self.at(site) / "site.toml", {}).broker
        return table.model_copy(update={"patience_s": 4.0, "retry_s": 0.2})

    def comes_in(self, site: str) -> None:
        """Whether a service that starts now gets in, and may read what is for it."""

        async def scenario() -> None:
            async with opened(BrokerConnection(self.table(site)).transport) as transport:
                await transport.consume(names.turns_queue(site), Inbox(transport))

        run(scenario())


@pytest.fixture(scope="module")
def federation_broker(rabbitmq_is_here: None) -> Iterator[Broker]:
    """Of this module alone: users are the broker's, not the vhost's."""
    with Broker() as broker:
        broker.start()
        yield broker


@pytest.fixture
def clinics(federation_broker: Broker, tmp_path: Path) -> Iterator[Clinics]:
    yield Clinics(federation_broker, tmp_path)
    listed = federation_broker.management.ask("GET", "users")
    assert isinstance(listed, list)
    for user in {user["name"] for user in listed} - {"admin"}:
        federation_broker.management.ask("DELETE", "users", user)
    federation_broker.management.ask("DELETE", "vhosts", VHOST)


def test_a_site_comes_in_with_the_password_that_it_made_itself(clinics: Clinics) -> None:
    clinics.enrol("site-1")

    clinics.comes_in("site-1")


def test_two_sites_enrol_one_after_the_other(clinics: Clinics) -> None:
    clinics.enrol("site-1")
    clinics.enrol("site-2")

    clinics.comes_in("site-1")
    clinics.comes_in("site-2")


def test_a_renewal_is_asked_for_and_nothing_changes_yet(clinics: Clinics) -> None:
    clinics.enrol("site-1")
    clinics.renew("site-1")

    clinics.comes_in("site-1")


def test_the_broker_may_have_the_new_password_first(clinics: Clinics) -> None:
    clinics.enrol("site-1")
    clinics.provision(clinics.renew("site-1").path)

    clinics.comes_in("site-1")


def test_the_site_may_have_the_new_password_first(clinics: Clinics) -> None:
    clinics.enrol("site-1")
    clinics.install(clinics.renew("site-1"), apply=False)

    clinics.comes_in("site-1")
    clinics.provision()
    clinics.comes_in("site-1")


def test_a_service_that_runs_outlives_a_renewal(clinics: Clinics) -> None:
    """Its connections hold; when they break, whatever it read at its start, it comes back in."""
    clinics.enrol("site-1")

    async def scenario() -> None:
        connection = BrokerConnection(clinics.table("site-1"))
        await connection.transport.open()
        asked = clinics.renew("site-1")
        await asyncio.to_thread(clinics.install, asked, apply=True)
        assert connection.is_up
        before = connection.hears_since
        close = ("close_all_user_connections", "site-1", "a test")
        await asyncio.to_thread(clinics.broker.ctl, *close)
        await until(
            lambda: connection.is_up and connection.hears_since != before,
            what="site-1 is back",
            within_s=60,
        )
        await connection.transport.close()

    run(scenario(), within_s=120)


def test_who_is_revoked_is_shut_out_with_all_its_passwords(clinics: Clinics) -> None:
    clinics.enrol("site-1")
    clinics.install(clinics.renew("site-1"), apply=True)
    clinics.provision(revoke="site-1")

    with pytest.raises(NotPermitted):
        clinics.comes_in("site-1")
    (clinics.at("site-1")).rename(clinics.folder / "lost")
    clinics.enrol("site-1")
    clinics.comes_in("site-1")

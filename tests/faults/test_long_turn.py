"""A turn that outlasts the broker's patience and a network that is away: P1 and P2.

Nothing about a turn waits for the broker while it trains: neither an unsettled message, whose
channel the broker would close, nor a connection that has to stay.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pytest

from support.broker import Broker
from support.federation import NO_TORCH, Federation
from support.members import EVERYTHING
from support.plain import plain_loop
from support.proxy import Proxy
from support.simulation import write_run
from support.waiting import wait_until
from tasuki.errors import SitesLeftOut

CUT_S = 60
ACK_TIMEOUT_S = 20
PRECONDITION_FAILED = 406
Rows = list[dict[str, Any]]  # Any: JSON


@dataclass
class Site:
    """One site's way to the broker, and its trainers."""

    name: str
    proxy: Proxy
    folder: Path

    def started(self) -> Rows:
        """Every start of a trainer there."""
        return self._stamps("start")

    def ended(self) -> Rows:
        return self._stamps("end")

    def go(self) -> None:
        """Let its trainer end."""
        (self.folder / f"go-{self.name}").touch()

    def _stamps(self, what: str) -> Rows:
        path = self.folder / "stamps"
        lines = path.read_text().splitlines() if path.exists() else []
        stamps = [json.loads(line) for line in lines]
        return [s for s in stamps if (s["what"], s["site"]) == (what, self.name)]


@dataclass
class Stage:
    """A federation whose sites can be cut off one by one."""

    federation: Federation
    sites: dict[str, Site]
    folder: Path

    def write(self, name: str, *order: str, failure: str, attempts: int = 3) -> Path:
        """A run of one round; each site's trainer waits for `go`."""
        folder = self.folder / name
        folder.mkdir()
        listed = ", ".join(f'"{site}"' for site in order)
        held = ", ".join(f'{site} = "go-{site}"' for site in self.sites)
        path = write_run(
            folder,
            order=f"[{listed}]",
            rounds=1,
            flag=self.folder,
            params=f"stamps = 1\nhold = {{ {held} }}",
            failure=failure,
            attempts=attempts,
        )
        path.write_text(path.read_text().replace('name = "walk"', f'name = "{name}"'))
        return path


@contextmanager
def staged(folder: Path, broker: Broker, *sites: str, **heartbeats: int) -> Iterator[Stage]:
    """These sites reach the broker through a proxy each."""
    vhost = broker.vhost()
    write_run(folder)
    # A site that is let back in has to be back before its next lease runs out.
    settings = dict.fromkeys(sites, "retry_s = 0.5")
    for site, heartbeat_s in heartbeats.items():
        settings[site.replace("_", "-")] += f"\nheartbeat_s = {heartbeat_s}"
    path = os.pathsep.join([str(NO_TORCH), os.environ.get("PYTHONPATH", "")])
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
        ways = {site: stack.enter_context(Proxy(broker.port)) for site in sites}
        ports = {site: way.port for site, way in ways.items()}
        federation = stack.enter_context(
            Federation(
                folder,
                broker,
                vhost,
                ports=ports,
                broker_settings=settings,
                require=EVERYTHING,
            )
        )
        yield Stage(
            federation, {site: Site(site, way, folder) for site, way in ways.items()}, folder
        )
    broker.drop_vhost(vhost)


def seconds_until_timeout(broker: Broker) -> float:
    """How long a consumer of this broker may hold a message before its channel is closed."""
    reasons: list[Exception] = []
    with pika.BlockingConnection(pika.URLParameters(broker.url("admin", "/"))) as connection:
        channel = connection.channel()
        channel._impl.add_on_close_callback(lambda _, reason: reasons.append(reason))  # noqa: SLF001 - the blocking twin tells nobody
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_consume(queue, lambda *_: None)
        channel.basic_publish("", queue, b"held")
        began = time.monotonic()
        while channel.is_open:
            connection.process_data_events(0.2)
            assert time.monotonic() - began < 3 * ACK_TIMEOUT_S, "no ack timeout: tests nothing"
        (reason,) = reasons
        assert isinstance(reason, pika.exceptions.ChannelClosedByBroker)
        assert reason.reply_code == PRECONDITION_FAILED
        assert "timeout" in reason.reply_text
        return time.monotonic() - began


def outcomes(rows: Rows) -> set[tuple[str, str]]:
    """Who had a turn refused, and why."""
    return {(row["turn"]["site"], row["outcome"]) for row in rows if row["outcome"]}


@pytest.mark.timeout(300)
def test_a_turn_longer_than_the_ack_timeout_and_a_cut_of_a_minute_is_trained_once(
    own_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """Two at a time: one site is disconnected and done in the cut, one hears nothing till after."""
    broker = own_broker(consumer_timeout=str(ACK_TIMEOUT_S * 1000))
    broker.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 1000).")
    with staged(tmp_path, broker, "site-1", "site-2", site_2=5) as stage:
        early, late = stage.sites["site-1"], stage.sites["site-2"]
        failure = "lease_s = 120"
        runs = [
            stage.federation.begin(stage.write(f"run-of-{site}", site, "site-3", failure=failure))
            for site in stage.sites
        ]
        for site in (early, late):
            wait_until(site.started, what=f"{site.name} trains", within_s=30)
        assert seconds_until_timeout(broker) >= ACK_TIMEOUT_S - 1
        assert not early.ended() + late.ended()

        connected = {site.name: site.proxy.connections for site in (early, late)}
        early.proxy.refuse()
        late.proxy.stall()
        cut_at = time.monotonic()
        early.go()
        wait_until(early.ended, what="site-1 has trained, in the cut")
        # What is promised is about this minute: there is nothing else to wait for.
        wait_until(lambda: time.monotonic() - cut_at >= CUT_S, what="the cut", within_s=CUT_S + 5)
        early.proxy.restore()
        late.proxy.restore()
        late.go()

        for run, site in zip(runs, (early, late), strict=True):
            assert run.finished()["digest"] == plain_loop([[site.name, "site-3"]])
            rows = stage.federation.ledger(run.name)
            events = [row["event"] for row in rows]
            assert events.count("TurnFinished") == 2
            assert not {"LeaseExpired", "TurnFailed", "SiteForgot"} & set(events)
            assert {row["turn"]["term"] for row in rows if row["turn"]} == {1}
            assert len(site.started()) == 1
            assert site.proxy.connections > connected[site.name]  # it was cut off
        (began,), (done,) = late.started(), late.ended()
        assert done["at"] - began["at"] > ACK_TIMEOUT_S + CUT_S


def test_a_result_that_comes_after_its_turn_was_skipped_is_refused_and_on_record(
    broker: Broker, tmp_path: Path
) -> None:
    with staged(tmp_path, broker, "site-1", "site-3") as stage:
        federation, site = stage.federation, stage.sites["site-1"]
        run = federation.begin(
            stage.write(
                "skipped", "site-2", "site-1", "site-3", failure='lease_s = 3\non_silent = "skip"'
            )
        )
        wait_until(site.started, what="site-1 trains", within_s=30)
        site.proxy.refuse()
        federation.await_row(run.name, "site-1 skipped: silent")
        site.go()
        wait_until(site.ended, what="site-1 has trained")
        site.proxy.restore()
        refused = ("site-3", "refused: stale_term")
        wait_until(
            lambda: refused in outcomes(federation.ledger(run.name)), what="refused", poll_s=0.5
        )
        stage.sites["site-3"].go()

        last = run.finished(code=SitesLeftOut.exit_code)
        assert last["digest"] == plain_loop([["site-2", None, "site-3"]])
        assert (last["turns"], last["skipped"]) == (2, 1)
        told = {reason for who, reason in outcomes(federation.ledger(run.name)) if who == "site-1"}
        assert told & {"stale_term", "refused: fenced"}
        assert federation.has_logged("site-3", r"dropped .*stale_term.*skipped/0")


def test_a_turn_that_was_given_out_again_ends_the_training_that_it_replaces(
    broker: Broker, tmp_path: Path
) -> None:
    with staged(tmp_path, broker, "site-1") as stage:
        federation, site = stage.federation, stage.sites["site-1"]
        failure = 'lease_s = 3\non_silent = "retry"'
        run = federation.begin(
            stage.write("again", "site-2", "site-1", "site-3", failure=failure, attempts=20)
        )
        wait_until(site.started, what="site-1 trains", within_s=30)
        site.proxy.refuse()
        federation.await_row(run.name, "issued to site-1, term 2, attempt 2")
        site.proxy.restore()
        federation.await_log("site-1", r"dropped .*fenced.*again/0 term 1 ")
        wait_until(lambda: len(site.started()) > 1, what="site-1 trains again", within_s=30)
        assert not site.ended()
        site.go()

        assert run.finished()["digest"] == plain_loop([["site-2", "site-1", "site-3"]])
        assert len(site.ended()) == 1
        assert ("site-1", "refused: fenced") in outcomes(federation.ledger(run.name))

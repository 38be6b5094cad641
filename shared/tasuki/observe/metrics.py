"""What every service counts: its build, its broker, its disk, and the messages it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

import tasuki
from tasuki.observe.board import Board
from tasuki.observe.carried import merged
from tasuki.observe.catalogue import OTHER, REASONS_OF, series_by
from tasuki.observe.certificate import certificate_expiry
from tasuki.transport.amqp import Counters
from tasuki.trust.member import NOBODY, Member

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_REFUSED = "tasuki_messages_refused_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom the numbers are about.

    Attributes:
        service: a site's name, or `controller`.
        folder: its data folder; `spool` is in it.
        lines_lost: how many lines of its log could not be written.
        certificate: what it shows the broker, if anything.
        member: the service as a member of its federation.
    """

    service: str
    counters: Counters
    is_up: Callable[[], bool]
    folder: Path | None = None
    certificate: Path | None = None
    lines_lost: Callable[[], int] = lambda: 0
    member: Member = NOBODY


class Metrics(Collector):
    """One service's numbers and the page that shows them."""

    def __init__(self, subject: Subject, *, who: str) -> None:
        self._subject = subject
        own = {"service": subject.service}
        if who != subject.service:
            own["site"] = subject.service
        self.board = Board(series_by(who), own=own)
        self.board.set("tasuki_build_info", 1, version=tasuki.__version__)
        self.board.before_reading(self._read_broker)
        if subject.folder is not None:
            self.board.before_reading(self._read_disk)
        if subject.member.keys is not None:
            self.board.before_reading(self._read_trust)
        if subject.certificate is not None:
            self._show_certificate(subject.certificate)

    def refused(self, queue_kind: str, reason: str, *, count: int = 1) -> None:
        """So many messages were dead-lettered, dropped or ignored."""
        known = reason if reason in REASONS_OF[queue_kind] else OTHER
        self.board.add(_REFUSED, count, queue_kind=queue_kind, reason=known)

    def _begin_refusals(self, *queue_kinds: str) -> None:
        """At 0, or Prometheus would not see the first one as an increase."""
        for kind in queue_kinds:
            for reason in REASONS_OF[kind]:
                self.board.add(_REFUSED, 0, queue_kind=kind, reason=reason)

    def text(self) -> bytes:
        """The page as Prometheus reads it."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        return merged(self.board)

    def _read_broker(self) -> None:
        counters, board = self._subject.counters, self.board
        board.set("tasuki_log_lines_lost_total", self._subject.lines_lost())
        board.set("tasuki_broker_up", float(self._subject.is_up()))
        for name, value in (
            ("reconnects", counters.reconnects),
            ("unanswered", counters.unanswered),
            ("blocked_seconds", counters.blocked_s),
            ("published_bytes", counters.published_bytes),
            ("delivered_bytes", counters.delivered_bytes),
            ("resent_messages", counters.resent_messages),
            ("nacked_messages", counters.nacked_messages),
        ):
            board.set(f"tasuki_broker_{name}_total", value)

    def _read_disk(self) -> None:
        folder = self._subject.folder
        if folder is None or not folder.exists():
            return
        disk = shutil.disk_usage(folder)
        self.board.set("tasuki_disk_free_bytes", disk.free)
        self.board.set("tasuki_disk_size_bytes", disk.total)
        self.board.set("tasuki_spool_bytes", _size(folder / "spool"))

    def _read_trust(self) -> None:
        keys = self._subject.member.keys
        roster = None if keys is None else keys.rosters.last
        if keys is None or roster is None:
            return
        own = [card for card in roster.cards if card.signs == keys.signing.public]
        self.board.set("tasuki_roster_number", roster.number)
        self.board.set("tasuki_roster_expiry_timestamp_seconds", roster.ends)
        ends = max((card.ends_at for card in own), default=0)
        self.board.set("tasuki_card_expiry_timestamp_seconds", ends)

    def _show_certificate(self, path: Path) -> None:
        """Once: a file that is replaced is used from the next start on."""
        expiry = certificate_expiry(path)
        if expiry is not None:
            self.board.set("tasuki_certificate_expiry_timestamp_seconds", expiry)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder from which others may be removing some."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total

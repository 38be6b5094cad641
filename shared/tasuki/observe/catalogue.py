"""Every series there is: its name, type, labels, unit and meaning, and who counts it.

`docs/metrics.md` shows the same as a table, and a test compares the two. The reasons for refusing a
message are listed too: a label that can say anything is a way to fill Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

SITE, CONTROLLER = "site", "controller"
BOTH = (SITE, CONTROLLER)

TURN_BUCKETS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 10800.0)
HANDOFF_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)

_BYTES = ("undecodable", "oversized", "unknown_version", "unknown_type", "invalid", "wrong_sender")
_UNSIGNED = ("not_signed", "bad_signature", "roster_ended", "other_run")
_UNSEALED = ("not_sealed", "bad_seal")
_LATE = ("wrong_site", "stale_term", "stale_position", "duplicate")
REASONS_OF: Mapping[str, tuple[str, ...]] = {
    "turns": (*_BYTES, *_UNSIGNED, *_UNSEALED, *_LATE, "unproved", "older_run", "newer_roster"),
    "control": (*_BYTES, *_UNSIGNED, "old_roster", "foreign_roster"),
    "reports": (
        *_BYTES,
        *_UNSIGNED,
        *_UNSEALED,
        *_LATE,
        *("not_awaited", "run_over", "unknown_run", "broken_chain", "replayed"),
    ),
    "weights": (
        *("bad_chunk", "bad_digest", "wrong_sender", "out_of_order", "duplicate"),
        *("unclaimed", "unwanted", "too_large", "disk"),
        *(*_UNSEALED, "no_seal", "bad_signature", "roster_ended"),
    ),
}
"""Why messages of each kind of queue are refused; whatever else is said counts as `other`."""

OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One name and what it means.

    Attributes:
        things: what is counted, unless the name ends with a unit.
        by: who counts it; what a site counts, the controller shows as well.
    """

    name: str
    labels: tuple[str, ...] = ()
    things: str = ""
    meaning: str
    by: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def kind(self) -> Literal["counter", "gauge", "histogram"]:
        if self.buckets:
            return "histogram"
        return "counter" if self.name.endswith("_total") else "gauge"

    @property
    def unit(self) -> str:
        base = self.name.removesuffix("_total")
        return next((unit for end, unit in _UNITS.items() if base.endswith(end)), self.things)


_UNITS = {
    "_timestamp_seconds": "seconds since 1970",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_ratio": "ratio",
}


def _both(name: str, meaning: str, *, of: str = "", more: str = "") -> Series:
    labels = ("service", *more.split())
    return Series(name=name, labels=labels, things=of, meaning=meaning, by=BOTH)


def _site(name: str, meaning: str, *, more: str = "", buckets: tuple[float, ...] = ()) -> Series:
    labels = ("site", *more.split())
    return Series(name=name, labels=labels, meaning=meaning, by=(SITE,), buckets=buckets)


def _run(name: str, meaning: str, *, of: str = "", labels: str = "run") -> Series:
    names = tuple(labels.split())
    return Series(name=name, labels=names, things=of, meaning=meaning, by=(CONTROLLER,))


_SERVICES = (
    _both("tasuki_build_info", "Always 1; `version` is the service's.", more="version"),
    _both("tasuki_broker_up", "1 while both connections to the broker are open."),
    _both(
        "tasuki_broker_reconnects_total",
        "Connections to the broker that were made again.",
        of="connections",
    ),
    _both(
        "tasuki_broker_unanswered_total",
        "Of these, those given up while they were open: the broker owed an answer for too long.",
        of="connections",
    ),
    _both(
        "tasuki_broker_blocked_seconds_total",
        "For how long the broker, short of memory or disk, took nothing.",
    ),
    _both("tasuki_broker_published_bytes_total", "Sent and confirmed by the broker."),
    _both("tasuki_broker_delivered_bytes_total", "Received from the broker."),
    _both(
        "tasuki_broker_resent_messages_total", "Sent again after a connection broke.", of="messages"
    ),
    _both(
        "tasuki_broker_nacked_messages_total",
        "Tries to send that the broker refused: a queue was full. Each is made again.",
        of="tries",
    ),
    _both(
        "tasuki_messages_refused_total",
        "Messages that were dead-lettered, dropped or ignored, and why. "
        "A few with reason `duplicate` are normal.",
        of="messages",
        more="queue_kind reason",
    ),
    _both(
        "tasuki_certificate_expiry_timestamp_seconds",
        "When the client certificate that is in use ends. Absent without one.",
    ),
    _both(
        "tasuki_roster_number",
        "The roster that the service goes by. Absent where it has no keys, as the next two are.",
        of="rosters",
    ),
    _both("tasuki_roster_expiry_timestamp_seconds", "When that roster ends."),
    _both(
        "tasuki_card_expiry_timestamp_seconds",
        "When the card of the service's own keys in it ends; 0: it has none.",
    ),
    _both(
        "tasuki_log_lines_lost_total",
        "Lines of the service's log that could not be written.",
        of="lines",
    ),
    _both("tasuki_disk_free_bytes", "Free on the disk of the data folder."),
    _both("tasuki_disk_size_bytes", "Size of the disk of the data folder."),
    _both("tasuki_spool_bytes", "Weights that lie in the spool."),
)
_SITES = (
    _site("tasuki_site_has_turn", "1 while a turn is under way."),
    _site("tasuki_turn_seconds", "How long the trainer took for a turn.", buckets=TURN_BUCKETS),
    _site(
        "tasuki_handoff_seconds",
        "From the result until the next queue had it, confirmed.",
        buckets=HANDOFF_BUCKETS,
    ),
    _site("tasuki_handoff_bytes_total", "Weights handed over."),
    _site("tasuki_gpu_memory_used_bytes", "Of each NVIDIA GPU.", more="gpu"),
    _site("tasuki_gpu_memory_total_bytes", "Of each NVIDIA GPU.", more="gpu"),
    _site("tasuki_gpu_utilisation_ratio", "How busy each NVIDIA GPU is, from 0 to 1.", more="gpu"),
)
_LANE = "run lane"
"""The lane is counted from 0, as in a turn's identity; 0 where one model circulates."""

_RUNS = (
    _run(
        "tasuki_runs",
        "Runs of the ledger by status, without those removed.",
        of="runs",
        labels="status",
    ),
    _run("tasuki_run_round", "The round under way, from 1."),
    _run("tasuki_run_rounds", "Rounds that the run has.", of="rounds"),
    _run("tasuki_run_hop", "Turns of a lane's round that are over.", of="turns", labels=_LANE),
    _run("tasuki_run_hops", "Turns planned for a lane's round.", of="turns", labels=_LANE),
    _run("tasuki_run_status", "1 for the run's status.", labels="run status"),
    _run("tasuki_run_paused", "1 while the run is paused."),
    _run("tasuki_holder", "1 for the site that has a lane's weights.", labels="run lane site"),
    _run(
        "tasuki_holder_since_timestamp_seconds",
        "Since when the holder has had this turn.",
        labels=_LANE,
    ),
    _run(
        "tasuki_holder_heard_timestamp_seconds",
        "When the holder was last heard of, or when its turn was last on its way to it.",
        labels=_LANE,
    ),
    _run(
        "tasuki_holder_moved_timestamp_seconds",
        "When the holder's turn last came on, and what it is at: `given_out`, `waiting`, `taken`, "
        "`training`, `trained`, `other`, or `unknown`.",
        labels="run lane phase",
    ),
    _run(
        "tasuki_lease_seconds",
        "How long a holder may be silent, or its turn stand still.",
        labels=_LANE,
    ),
    _run(
        "tasuki_lease_left_seconds",
        "Until the holder's lease runs out; 0 once it has.",
        labels=_LANE,
    ),
    _run("tasuki_merges_total", "How often all lanes were made one.", of="merges"),
    _run("tasuki_merge_seconds", "How long the newest merge took. Absent until there was one."),
    _run(
        "tasuki_turns_total",
        "Turns by how they ended: `accepted`, `skipped`, `failed`, `returned`, `expired`, "
        "or why a result was refused.",
        of="turns",
        labels="run site outcome",
    ),
    _run(
        "tasuki_turns_retried_total",
        "Turns that were taken back and given out again.",
        of="turns",
        labels="run site",
    ),
    _run(
        "tasuki_turns_skipped_total",
        "Turns that the run's policy passed over: `silent`, `stood_still`, `given_back`, `late` "
        "with their lane, or an error's class.",
        of="turns",
        labels="run site reason",
    ),
    _run(
        "tasuki_turns_unchanged_total",
        "Accepted turns that handed on exactly what they received.",
        of="turns",
        labels="run site",
    ),
    _run(
        "tasuki_gate_rejections_total",
        "Results that did not pass the site's gate.",
        of="turns",
        labels="run site",
    ),
    _run(
        "tasuki_site_heard_timestamp_seconds",
        "When a site was last heard of; if not yet, since when a run waits for it.",
        labels="site",
    ),
    _run(
        "tasuki_training_metric",
        "The newest value of each metric that trainers report, of the `received` "
        "or the `trained` weights.",
        labels="run site name when",
    ),
    _run(
        "tasuki_evaluation_score",
        "Of each metric of the newest planned evaluation: the `mean` over sites, weighed by their "
        "samples, and what the `worst` site says.",
        labels="run name of",
    ),
    _run(
        "tasuki_evaluation_sites",
        "Sites that `scored` in the newest planned evaluation, and those `left_out` of it.",
        of="sites",
        labels="run outcome",
    ),
    _run(
        "tasuki_evaluation_left_out",
        "1 for each site without scores in the newest planned evaluation, and why, as in "
        "`tasuki_evaluate_turns_total`.",
        labels="run site reason",
    ),
    _run(
        "tasuki_evaluate_turns_total",
        "What became of sites in evaluations that are over, an operator's included: `scored`, or "
        "why one was left out: `silent`, `stood_still`, `given_back`, `weights_lost`, "
        "`called_off`, or an error's class.",
        of="turns",
        labels="run site outcome",
    ),
    _run(
        "tasuki_best_round",
        "The round that `[checkpoint] best` names so far, from 1. Absent until there is one.",
    ),
    _run("tasuki_best_value", "What that round was chosen by: the metric's mean, or its worst."),
    _run(
        "tasuki_runs_ended_total",
        "Runs that ended since the controller started, by status.",
        of="runs",
        labels="status",
    ),
    _run(
        "tasuki_follower_failures_total",
        "Rows of the ledger that a follower did not take; no run waits for it.",
        of="rows",
        labels="follower",
    ),
    _run("tasuki_dead_letters", "Messages in the dead-letter queue.", of="messages", labels=""),
    _run(
        "tasuki_stream_replicas",
        "Nodes of the broker at which a stream can be read. Absent for a broker of one node, and "
        "while a node does not answer.",
        of="nodes",
        labels="queue",
    ),
)
CATALOGUE: Mapping[str, Series] = {each.name: each for each in (*_SERVICES, *_SITES, *_RUNS)}


def series_by(who: str) -> Iterable[Series]:
    """What a site, or the controller, counts itself."""
    return [series for series in CATALOGUE.values() if who in series.by]

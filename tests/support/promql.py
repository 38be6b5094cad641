"""Which series and labels a PromQL expression asks for, and what may be asked for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasuki.observe.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "compose/prometheus"
GRAFANA = ROOT / "compose/grafana"

Promtool = Callable[..., "subprocess.CompletedProcess[str]"]

OF_PROMETHEUS = frozenset({"up", "ALERTS"})
OF_RABBITMQ = frozenset(
    {
        "rabbitmq_alarms_free_disk_space_watermark",
        "rabbitmq_alarms_memory_used_watermark",
        "rabbitmq_build_info",
        "rabbitmq_connections",
        "rabbitmq_detailed_queue_consumers",
        "rabbitmq_detailed_queue_messages",
        "rabbitmq_detailed_queue_messages_unacked",
        "rabbitmq_detailed_raft_log_last_written_index",
        "rabbitmq_disk_space_available_bytes",
        "rabbitmq_disk_space_available_limit_bytes",
        "rabbitmq_erlang_uptime_seconds",
        "rabbitmq_global_messages_delivered_total",
        "rabbitmq_global_messages_received_total",
        "rabbitmq_global_messages_redelivered_total",
        "rabbitmq_global_messages_unroutable_dropped_total",
        "rabbitmq_global_messages_unroutable_returned_total",
        "rabbitmq_process_max_fds",
        "rabbitmq_process_open_fds",
        "rabbitmq_process_resident_memory_bytes",
        "rabbitmq_resident_memory_limit_bytes",
    }
)
"""Shown by 3.10 and 4.0 alike; tests/integration/test_broker_series.py asks a real one."""

OF_SEVERAL_NODES = frozenset({"erlang_vm_dist_node_state"})
"""Shown by a node that has others; the drill of the cluster sees them."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()")
_WORDS = {"and", "or", "unless", "offset", "bool"}
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


@cache
def rules() -> list[dict[str, Any]]:
    """Every recording rule and alert."""
    files = [yaml.safe_load((PROMETHEUS / name).read_text()) for name in _FILES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


_FILES = ("recording.yml", "alerts.yml")


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@cache
def known_series() -> frozenset[str]:
    """Whatever there is to ask for."""
    names = set(OF_PROMETHEUS | OF_RABBITMQ | OF_SEVERAL_NODES)
    for series in CATALOGUE.values():
        parts = ("_bucket", "_sum", "_count") if series.kind == "histogram" else ("",)
        names |= {series.name + part for part in parts}
    return frozenset(names | {rule["record"] for rule in rules() if "record" in rule})


def series_in(expr: str) -> set[str]:
    """Names of series; whatever is neither a word of PromQL, a function nor a label."""
    bare = _GROUPING.sub(" ", _STRING.sub('""', expr))
    bare = re.sub(r"#.*|\{[^}]*\}|\[[^\]]*\]", " ", bare)
    return {name for name in _NAME.findall(bare) if name not in _WORDS}


def labels_in(expr: str) -> set[tuple[str, str]]:
    """(series, label) for every label of ours that a matcher asks for."""
    found = re.findall(r"(tasuki_\w+)\{([^}]*)\}", _STRING.sub('""', expr))
    return {(name, label) for name, inside in found for label in _MATCHER.findall(inside)}


def labels_of(name: str) -> set[str]:
    """The labels that a series of ours has once Prometheus has read it."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    series = CATALOGUE.get(name) or CATALOGUE[base]
    return {*series.labels, "job", "instance", *(["le"] if series.kind == "histogram" else [])}

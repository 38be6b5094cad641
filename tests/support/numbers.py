"""A page of metrics as a map, read the way Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tasuki.observe.metrics import Metrics


def shown(page: Metrics | str) -> dict[str, float]:
    """`name{label="value",...}`, labels sorted -> value."""
    text = page if isinstance(page, str) else page.text().decode()
    return {
        sample.name + _labels(sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"

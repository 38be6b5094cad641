"""A site's numbers on their way through the broker, so that nobody has to reach the site.

A site packs its own series into a flat map; the controller shows them under the same names. It
believes nothing of that map: only names, labels and values that the catalogue knows get through,
and only so many, or a hostile site could fill Prometheus with series.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from tasuki.observe.catalogue import CATALOGUE, OTHER, REASONS_OF, SITE, Series

MOST_SERIES = 256
"""Of one site: twice as many as a site with eight GPUs has."""

SILENT_S = 600.0
"""A site that has been silent for so long has its series removed."""

_OWN_LABELS = frozenset({"service", "site"})
_PATTERNS = {
    "gpu": re.compile(r"[0-9]{1,2}"),
    "version": re.compile(r"[0-9A-Za-z.+-]{1,32}"),
}


def pack(families: Iterable[Metric]) -> dict[str, float]:
    """`name|label=value|...` -> value; without the labels that say whose it is."""
    return {
        "|".join((sample.name, *_kept(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def _kept(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(labels.items()) if name not in _OWN_LABELS]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    series: Series
    name: str
    labels: Mapping[str, str]
    value: float


class Carried(Collector):
    """What the sites said of themselves last."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._sites: dict[str, tuple[float, list[_Sample]]] = {}

    def take(self, site: str, packed: Mapping[str, float]) -> None:
        """In place of what this site said before. Whatever is unknown here is left out."""
        looked_at = islice(packed.items(), MOST_SERIES)
        samples = (_unpack(site, key, value) for key, value in looked_at)
        self._sites[site] = (self._now(), [sample for sample in samples if sample is not None])

    def collect(self) -> Iterator[Metric]:
        self._forget_the_silent()
        families: dict[str, Metric] = {}
        for _, samples in self._sites.values():
            for sample in samples:
                series = sample.series
                if series.name not in families:
                    name = series.name.removesuffix("_total")
                    families[series.name] = Metric(name, series.meaning, series.kind)
                families[series.name].add_sample(sample.name, dict(sample.labels), sample.value)
        yield from families.values()

    def _forget_the_silent(self) -> None:
        now = self._now()
        for site, (heard, _) in list(self._sites.items()):
            if now - heard > SILENT_S:
                del self._sites[site]


def _unpack(site: str, key: str, value: float) -> _Sample | None:
    """One series of a site's, or None if it is not one that sites have."""
    name, *pairs = key.split("|")
    series = _series_of(name)
    if series is None or not math.isfinite(value):
        return None
    labels = dict(_pair(pair) for pair in pairs)
    wanted = set(series.labels) - _OWN_LABELS | ({"le"} if name.endswith("_bucket") else set())
    if labels.keys() != wanted or len(pairs) > len(wanted):
        return None
    if not all(_may_be(label, text, series=series) for label, text in labels.items()):
        return None
    own = dict.fromkeys(_OWN_LABELS & set(series.labels), site)
    return _Sample(series=series, name=name, labels={**own, **labels}, value=value)


def _series_of(name: str) -> Series | None:
    """Which of a site's series a sample of this name belongs to."""
    found = CATALOGUE.get(name)
    if found is None:
        base, _, suffix = name.rpartition("_")
        found = CATALOGUE.get(base) if suffix in {"bucket", "sum", "count"} else None
        if found is not None and found.kind != "histogram":
            return None
    elif found.kind == "histogram":
        return None
    return found if found is not None and SITE in found.by else None


def _may_be(label: str, value: str, *, series: Series) -> bool:
    """Whether a site's series may have this label with this value."""
    match label:
        case "reason":
            return value == OTHER or any(value in reasons for reasons in REASONS_OF.values())
        case "queue_kind":
            return value in REASONS_OF
        case "le":
            return value in {*map(str, series.buckets), "+Inf"}
    pattern = _PATTERNS.get(label)
    return pattern is not None and pattern.fullmatch(value) is not None


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def merged(*collectors: Collector) -> Iterator[Metric]:
    """All families, each once: two of one name would make a page that Prometheus refuses."""
    families: dict[str, Metric] = {}
    for collector in collectors:
        for family in collector.collect():
            if family.name in families:
                families[family.name].samples.extend(family.samples)
            else:
                families[family.name] = family
    yield from families.values()

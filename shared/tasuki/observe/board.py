"""Where a service's numbers stand, by series and labels, and how they come and go.

The library's own counters cannot be set, as those of the broker's connection are, and show when
they were made. So the values are kept here, and shown through the library's families.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tasuki.observe.catalogue import Series

_Labels = tuple[str, ...]


class Board(Collector):
    """One service's numbers.

    Args:
        own: labels that need not be given, since they say which service this is.
    """

    def __init__(self, series: Iterable[Series], *, own: Mapping[str, str]) -> None:
        self._series = {each.name: each for each in series}
        self._own = own
        self._values: dict[str, dict[_Labels, float]] = {}
        self._times: dict[str, dict[_Labels, _Times]] = {}
        self._sources: list[Callable[[], None]] = []

    def before_reading(self, refresh: Callable[[], None]) -> None:
        """Call this whenever someone looks, so that it can set what is only known then."""
        self._sources.append(refresh)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        self._values.setdefault(name, {})[self._labels(name, labels)] = value

    def begin(self, name: str, value: float, /, **labels: str) -> None:
        """Set it unless it has a value."""
        self._values.setdefault(name, {}).setdefault(self._labels(name, labels), value)

    def add(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        values, key = self._values.setdefault(name, {}), self._labels(name, labels)
        values[key] = values.get(key, 0.0) + amount

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Count a value into its bucket."""
        times, key = self._times.setdefault(name, {}), self._labels(name, labels)
        if key not in times:
            times[key] = _Times(self._series[name].buckets)
        times[key].add(value)

    def forget(self, *names: str, **labels: str) -> None:
        """Forget what has all of these labels, if any, of these series or of all."""
        for name in names or list(self._values):
            values, order = self._values.get(name, {}), self._series[name].labels
            for key in list(values):
                if labels.items() <= dict(zip(order, key, strict=True)).items():
                    del values[key]

    def collect(self) -> Iterator[Metric]:
        for refresh in self._sources:
            refresh()
        for name, series in self._series.items():
            if family := self._family(name, series):
                yield family

    def _labels(self, name: str, labels: Mapping[str, str]) -> _Labels:
        given = {**self._own, **labels}
        return tuple(given[label] for label in self._series[name].labels)

    def _family(self, name: str, series: Series) -> Metric | None:
        if series.kind == "histogram":
            return self._histogram(name, series)
        values = self._values.get(name)
        if not values:
            return None
        make = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
        family: Metric = make(name, series.meaning, labels=series.labels)
        for key, value in values.items():
            shown = dict(zip(series.labels, key, strict=True))
            family.add_sample(name, shown, value)
        return family

    def _histogram(self, name: str, series: Series) -> Metric | None:
        if name not in self._times:
            return None
        family = HistogramMetricFamily(name, series.meaning, labels=series.labels)
        for key, times in self._times[name].items():
            family.add_metric(key, buckets=times.cumulated(), sum_value=times.sum)
        return family


class _Times:
    """The buckets of one histogram."""

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulated(self) -> list[tuple[str, float]]:
        bounds = [*map(str, self._bounds), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self._counts)), strict=True))

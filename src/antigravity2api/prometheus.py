"""The text forms that Prometheus reads: its own (version 0.0.4) and OpenMetrics 1.0. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics specification.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

PREFIX = "antigravity2api_"
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper ends of the histograms' buckets, in seconds; a whole answer may take 600."""
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"

CountKey = tuple[str, ...]
"""A metric's name and the values of its labels, or the values alone."""


class Metric(NamedTuple):
    """One metric. Counters end in ``_total``."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str

    @property
    def full_name(self) -> str:
        """As it is scraped."""
        return PREFIX + self.name


class Lines:
    """Samples of the metrics of a table; written in its order, metrics without samples too."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = metrics
        self._samples: dict[str, list[str]] = {name: [] for name in metrics}

    def add(self, name: str, values: CountKey, value: float) -> None:
        """One sample of a counter or gauge."""
        labels = labels_text(self._metrics[name].labels, values)
        self._samples[name].append(f"{PREFIX}{name}{f'{{{labels}}}' if labels else ''} {value!r}")

    def add_histogram(self, name: str, values: CountKey, buckets: list[int], total: float) -> None:
        """The samples of one histogram."""
        labels = labels_text(self._metrics[name].labels, values)
        count = 0
        lines = self._samples[name]
        for le, here in zip(_LE, buckets, strict=True):
            count += here
            lines.append(f'{PREFIX}{name}_bucket{{{labels},le="{le}"}} {count}')
        lines.append(f"{PREFIX}{name}_sum{{{labels}}} {total!r}")
        lines.append(f"{PREFIX}{name}_count{{{labels}}} {count}")

    def page(self, *, open_form: bool) -> tuple[str, bytes]:
        """The content type and the text; ``open_form`` is OpenMetrics."""
        out: list[str] = []
        for name, metric in self._metrics.items():
            family = PREFIX + (name.removesuffix("_total") if open_form else name)
            out.append(f"# HELP {family} {_escaped(metric.help)}")
            out.append(f"# TYPE {family} {metric.type}")
            out += self._samples[name]
        if open_form:
            out.append("# EOF")
        return (_OPEN if open_form else _TEXT), ("\n".join(out) + "\n").encode("utf-8", "replace")


_LE = (*map(repr, BOUNDS), "+Inf")


def labels_text(names: Iterable[str], values: Iterable[str]) -> str:
    """``name="value",…`` with everything escaped."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def prefers_open_metrics(accept: str) -> bool:
    """Whether an Accept header would rather have OpenMetrics than Prometheus' text."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for kind, weight in _accepted(accept):
        if kind in weights:
            weights[kind] = max(weights[kind], weight)
    return weights["application/openmetrics-text"] > 0 and (
        weights["application/openmetrics-text"] >= weights["text/plain"]
    )


def _accepted(accept: str) -> Iterator[tuple[str, float]]:
    for entry in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in entry.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        yield kind, weight

"""What the gateway counts, and its words for Prometheus. Every metric's name, labels and meaning stand in ``METRICS``.

Our own few lines of text format: the usual client library costs 170 ms and 13 MB at import, more than the rest of an
idle gateway, and a dozen times as much a request.

Labels are bounded. Most are words of our own code; a model's name is shown when the model table knows it or when it
has answered, at most ``MOST_MODELS`` of them, and is ``other`` else. No key, no account and no text of a client is
ever a label.

Several worker processes: the parent maps one piece of shared memory before it forks (``Board``), and each worker keeps
a copy of its counters in a place of its own there, renewed within a second of a change and whenever it is asked. The
worker that is asked for the metrics adds up all places. No file is written, so none can be left over, stale, or on a
full disk; the memory lives as long as the parent, so a worker that died is still counted, and the one that replaces it
goes on from its counters. What a scrape has shown was written down before: counters never go back. A worker killed
outright may take the last second of its own counts with it.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import re
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import orjson

from antigravity2api import __version__
from antigravity2api.credentials import State
from antigravity2api.gemini.usage import Usage, usage_of
from antigravity2api.prometheus import BOUNDS, PREFIX, CountKey, Lines, Metric, prefers_open_metrics
from antigravity2api.shared import Board

MOST_MODELS = 200
MOST_SERIES = 400
"""Of dialect, model, upstream and stream together; beyond it every model is ``other``."""
_MOST_COUNTS = 1000
_MOST_WORDS = 40
_MOST_CREDENTIALS = 500
_MOST_COOLDOWNS = 1000
TOKENS = ("prompt", "cached", "completion", "reasoning")
COOLING = "cooling"
STATES = (State.READY.value, COOLING, *(state.value for state in State if state is not State.READY))
OTHER = "other"
NONE = "none"
_GROUP = re.compile(r"(?=.*\*)[a-z0-9*. -]{1,60}").fullmatch
"""Models that share a quota on an upstream, as it names them (``gemini-*``); no model's name has a ``*``."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}").fullmatch
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_MARK = re.compile(r"[:.,]")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")

_SERIES = ("dialect", "model", "upstream", "stream")
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "requests_total",
            "counter",
            (*_SERIES, "status", "outcome"),
            "Generation requests that ended. outcome: ok, broken (an error event after the first byte), refused (4xx), "
            "failed (5xx), left (the client went away), cut (a limit ended it).",
        ),
        Metric("request_duration_seconds", "histogram", _SERIES, "From the request's head to the answer's end."),
        Metric("first_event_seconds", "histogram", _SERIES, "From a parsed request to the first event of its answer."),
        Metric(
            "tokens_total",
            "counter",
            (*_SERIES, "kind"),
            "Tokens as the upstream counted them; cached is a part of prompt, reasoning a part of completion.",
        ),
        Metric("requests_in_flight", "gauge", (), "Generation requests under way."),
        Metric("http_answers_total", "counter", ("status",), "Answers on every path, health checks and refusals too."),
        Metric(
            "attempts_total",
            "counter",
            ("upstream", "result"),
            "Tries at an upstream. result: ok, left, or the kind of fault.",
        ),
        Metric(
            "repairs_total",
            "counter",
            ("upstream", "repair"),
            "Requests changed and sent again after a refusal, by what was changed.",
        ),
        Metric("token_refreshes_total", "counter", ("result",), "Access tokens asked for, by result."),
        Metric(
            "credential_state",
            "gauge",
            ("upstream", "credential", "state"),
            "1 for the state that a credential is in, 0 for the others.",
        ),
        Metric(
            "credential_cooldown_seconds",
            "gauge",
            ("upstream", "credential", "pool"),
            "Seconds until a credential is asked again; pool: what the cool-down holds for. Absent when there is none.",
        ),
        Metric("database_queue", "gauge", (), "Writes that wait for the database."),
        Metric("database_lost_total", "counter", (), "Writes that were given up."),
        Metric("log_lost_total", "counter", (), "Log lines that could not be written."),
        Metric("workers", "gauge", (), "Worker processes that are counted here."),
        Metric("process_resident_memory_bytes", "gauge", (), "Resident memory of all workers (Linux)."),
        Metric("process_open_fds", "gauge", (), "Open file descriptors of all workers (Linux)."),
        Metric("process_start_time_seconds", "gauge", (), "When the gateway started, since the epoch."),
        Metric("build_info", "gauge", ("version", "python"), "Always 1; what is running."),
    )
}
WATCHED = frozenset({"database_queue", "database_lost_total", "log_lost_total"})
"""What ``Metrics.watch`` takes."""


class Seen(Protocol):
    """What is read of a request that ended (the gateway's ``Trace``)."""

    @property
    def dialect(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def upstream(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def first_event(self) -> float | None: ...
    @property
    def usage(self) -> Mapping[str, Any] | None: ...
    @property
    def fault(self) -> BaseException | None: ...


class SeenCooling(Protocol):
    """A cool-down: what it holds for (a model or a group of models; empty: everything) and until when (wall clock)."""

    @property
    def scope(self) -> str: ...
    @property
    def until(self) -> float: ...


class SeenCredential(Protocol):
    """What is read of a credential (the pool's ``View``). ``id`` is safe to show."""

    @property
    def id(self) -> str: ...
    @property
    def upstream(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def cooling(self) -> Iterable[SeenCooling]: ...


class Series:
    """What is counted for one dialect, model, upstream and way of answering."""

    __slots__ = ("duration", "duration_sum", "first", "first_sum", "results", "tokens")

    def __init__(self) -> None:
        self.results: dict[tuple[int, str], list[int]] = {}
        """Status and outcome → requests, in a cell: a tuple is hashed anew with each look."""
        self.duration = [0] * (len(BOUNDS) + 1)
        self.duration_sum = 0.0
        self.first = [0] * (len(BOUNDS) + 1)
        self.first_sum = 0.0
        self.tokens = [0, 0, 0, 0]
        """In the order of ``TOKENS``."""

    def row(self) -> list[Any]:
        """As JSON takes it."""
        results = [[*key, *cell] for key, cell in self.results.items()]
        return [results, self.duration, self.duration_sum, self.first, self.first_sum, self.tokens]

    def add(self, row: list[Any]) -> None:
        """Add what another process counted."""
        results, duration, duration_sum, first, first_sum, tokens = row
        for status, outcome, count in results:
            self.results.setdefault((status, outcome), [0])[0] += count
        self.duration = [a + b for a, b in zip(self.duration, duration, strict=True)]
        self.first = [a + b for a, b in zip(self.first, first, strict=True)]
        self.tokens = [a + b for a, b in zip(self.tokens, tokens, strict=True)]
        self.duration_sum += duration_sum
        self.first_sum += first_sum


SeriesKey = tuple[str, str, str, bool]


class Totals:
    """Counters of one process, or of several added up."""

    __slots__ = ("counts", "series")

    def __init__(self) -> None:
        self.series: dict[SeriesKey, Series] = {}
        self.counts: dict[CountKey, list[int]] = {}

    def rows(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "series": [[*key, *series.row()] for key, series in self.series.items()],
            "counts": [[*key, *cell] for key, cell in self.counts.items()],
        }

    def add(self, rows: Mapping[str, Any]) -> None:
        """Add what another process counted."""
        for dialect, model, upstream, stream, *row in rows["series"]:
            self.series.setdefault((dialect, model, upstream, stream), Series()).add(row)
        for *labels, count in rows["counts"]:
            self.counts.setdefault(tuple(labels), [0])[0] += count


class Metrics:
    """What one process counts. ``knows`` tells whether the model table has a name; ``board`` and ``place`` are given to
    a worker of several."""

    def __init__(
        self,
        knows: Callable[[str], bool],
        *,
        board: Board | None = None,
        place: int = 0,
        wall: Callable[[], float] = time.time,
        pause: float = 1.0,
    ) -> None:
        self._knows = knows
        self._board = board
        self._place = place
        self._wall = wall
        self._pause = pause
        self._totals = Totals()
        self._models: set[str] = set()
        self._words: dict[str, set[str]] = {}
        self._answers: dict[int, int] = {}
        self._running = 0
        self._started = board.started if board is not None else wall()
        self._watched: dict[str, Callable[[], int]] = {}
        self._credentials: Callable[[], Iterable[SeenCredential]] = tuple
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        if board is not None:
            self._inherit(board)

    # -- counting --------------------------------------------------------------------------------------------------

    def request_started(self) -> None:
        """A generation request was admitted."""
        self._running += 1
        if self._board is not None and self._timer is None:
            self._arm()

    def request_ended(
        self, trace: Seen | None, status: int, seconds: float, outcome: str, usage: Usage | None = None
    ) -> None:
        """A request ended: ``outcome`` is the server's word; ``trace`` is None for what generates nothing. ``usage`` is
        the trace's, for who has worked it out."""
        answers = self._answers
        answers[status] = answers.get(status, 0) + 1
        if self._board is not None and self._timer is None:
            self._arm()
        if trace is None:
            return
        self._running -= 1
        if outcome == "ok":
            if status >= 400:
                outcome = "failed" if status >= 500 else "refused"
            elif trace.fault is not None:
                outcome = "broken"
        series = self._totals.series.get((trace.dialect, trace.model, trace.upstream, trace.stream))
        if series is None:
            series = self._series_for(trace, alive=status == 200 and trace.fault is None)
        cell = series.results.get((status, outcome))
        if cell is None:
            cell = series.results[status, outcome] = [0]
        cell[0] += 1
        series.duration[bisect_left(BOUNDS, seconds)] += 1
        series.duration_sum += seconds
        first = trace.first_event
        if first is not None:
            series.first[bisect_left(BOUNDS, first)] += 1
            series.first_sum += first
        if trace.usage:
            if usage is None:
                usage = usage_of(trace.usage)
            tokens = series.tokens
            tokens[0] += usage.prompt
            tokens[1] += usage.cached
            tokens[2] += usage.completion
            tokens[3] += usage.reasoning

    def attempt_ended(self, upstream: str, result: str) -> None:
        """A try at an upstream is over: ``ok``, ``left`` (nobody waits any more), or the kind of its fault."""
        self._count(("attempts_total", upstream, result))

    def repaired(self, upstream: str, note: str) -> None:
        """A refused request was changed and goes out again; ``note`` is the repair's own (``schema:openapi``,
        ``tool.NAME:loosened``): the word before a mark tells what was changed, behind it may be a client's."""
        self._count(("repairs_total", upstream, self._word("repairs_total", _MARK.split(note, maxsplit=1)[0])))

    def refresh(self, result: str) -> None:
        """An access token was asked for: ``ok``, or the reason why there is none (``invalid_grant``)."""
        self._count(("token_refreshes_total", self._word("token_refreshes_total", result)))

    def _word(self, metric: str, text: str) -> str:
        """A text as the value of a label: one word, and not too many different ones."""
        word = _NOT_A_WORD.sub("_", _HUMP.sub("_", text).lower()).strip("_")[:40] or OTHER
        known = self._words.setdefault(metric, set())
        if word not in known:
            if len(known) >= _MOST_WORDS:
                return OTHER
            known.add(word)
        return word

    def _count(self, key: CountKey) -> None:
        counts = self._totals.counts
        cell = counts.get(key)
        if cell is not None:
            cell[0] += 1
        elif len(counts) < _MOST_COUNTS:
            counts[key] = [1]
        if self._board is not None and self._timer is None:
            self._arm()

    def _series_for(self, trace: Seen, *, alive: bool) -> Series:
        """The series of a request whose names were not met before, or whose model is not shown."""
        all_series = self._totals.series
        model = self._shown(trace.model, alive=alive)
        key = (trace.dialect, model, trace.upstream, trace.stream)
        if key not in all_series and len(all_series) >= MOST_SERIES:
            key = (trace.dialect, OTHER, trace.upstream, trace.stream)
        return all_series.setdefault(key, Series())

    def _shown(self, model: str, *, alive: bool) -> str:
        if model in self._models or not model:
            return model
        if model in (OTHER, NONE):  # words of ours: one label must not mean two things
            return OTHER
        if len(self._models) < MOST_MODELS and _NAME(model) and (alive or self._knows(model)):
            self._models.add(model)
            return model
        return OTHER

    # -- what is looked at when somebody asks ------------------------------------------------------------------------

    def watch(self, name: str, look: Callable[[], int]) -> None:
        """Ask ``look`` for one of the metrics in ``WATCHED``."""
        if name not in WATCHED:
            raise ValueError(f"{name} is not looked at")
        self._watched[name] = look

    def watch_credentials(self, look: Callable[[], Iterable[SeenCredential]]) -> None:
        """Ask ``look`` for the credentials."""
        self._credentials = look

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and text: Prometheus' own, or OpenMetrics where ``accept`` prefers it."""
        everyone = self._everyone()
        totals = Totals()
        for rows in everyone:
            totals.add(rows)
        alive = [rows for rows in everyone if _is_alive(rows["pid"])]
        lines = Lines(METRICS)
        _write_counters(lines, totals)
        self._write_gauges(lines, alive)
        return lines.page(open_form=prefers_open_metrics(accept))

    def close(self) -> None:
        """The process ends: leave its counters to the others."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._publish()

    def _everyone(self) -> list[dict[str, Any]]:
        """What each worker counted, this one first."""
        own, board = self._snapshot(), self._board
        if board is None:
            return [own]
        board.write(self._place, orjson.dumps(own))  # nothing is shown that could still be lost
        others = [rows for place in range(board.places) if place != self._place and (rows := self._at(place))]
        return [own, *others]

    def _snapshot(self) -> dict[str, Any]:
        rows = self._totals.rows()
        rows["counts"] += [["http_answers_total", str(status), count] for status, count in self._answers.items()]
        rows["counts"] += [[name, look()] for name, look in self._watched.items() if name.endswith("_total")]
        return rows | {
            "pid": os.getpid(),
            "in_flight": self._running,
            "queue": self._watched["database_queue"]() if "database_queue" in self._watched else 0,
            "cooling": [
                [view.upstream, view.id, self._pool(rest.scope), rest.until]
                for view in self._views()
                for rest in view.cooling
            ][:_MOST_COOLDOWNS],
        }

    def _views(self) -> list[SeenCredential]:
        return list(self._credentials())[:_MOST_CREDENTIALS]

    def _pool(self, name: str) -> str:
        if _GROUP(name):
            return name
        return self._shown(name, alive=False) if name else "all"

    def _write_gauges(self, lines: Lines, alive: list[dict[str, Any]]) -> None:
        now = self._wall()
        cooling: dict[tuple[str, str, str], float] = {}
        for rows in alive:  # each worker learns by itself: the longest counts
            for upstream, credential, pool, until in rows["cooling"]:
                left = until - now
                if left > cooling.get((upstream, credential, pool), 0.0):
                    cooling[upstream, credential, pool] = left
        benched = {(upstream, credential) for upstream, credential, _ in cooling}
        for view in self._views():
            state = str(view.state)
            if state == State.READY and (view.upstream, view.id) in benched:
                state = COOLING
            for word in STATES:
                lines.add("credential_state", (view.upstream, view.id, word), int(word == state))
        for labels, left in cooling.items():
            lines.add("credential_cooldown_seconds", labels, round(left, 3))
        lines.add("requests_in_flight", (), sum(rows["in_flight"] for rows in alive))
        lines.add("database_queue", (), sum(rows["queue"] for rows in alive))
        lines.add("workers", (), len(alive))
        pids = [rows["pid"] for rows in alive]
        for name, measure in (("process_resident_memory_bytes", _memory_of), ("process_open_fds", _files_of)):
            found = [value for pid in pids if (value := measure(pid)) is not None]
            if found:
                lines.add(name, (), sum(found))
        lines.add("process_start_time_seconds", (), round(self._started, 3))
        lines.add("build_info", (__version__, ".".join(map(str, sys.version_info[:3]))), 1)

    # -- several workers -------------------------------------------------------------------------------------------

    def _inherit(self, board: Board) -> None:
        """Go on where the worker that had this place left off."""
        rows = self._at(self._place)
        if rows is not None:
            self._totals.add(rows)
            self._models.update(model for _, model, *_ in self._totals.series if model not in ("", OTHER))
            for key in [key for key in self._totals.counts if key[0] == "http_answers_total"]:
                self._answers[int(key[1])] = self._totals.counts.pop(key)[0]
        self._publish()

    def _at(self, place: int) -> dict[str, Any] | None:
        data = self._board.read(place) if self._board is not None else None
        if data is None:
            return None
        rows: dict[str, Any] = orjson.loads(data)
        return rows

    def _arm(self) -> None:
        if not self._ended:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._publish()

    def _publish(self) -> None:
        if self._board is not None:
            self._board.write(self._place, orjson.dumps(self._snapshot()))


def _write_counters(lines: Lines, totals: Totals) -> None:
    for (dialect, model, upstream, stream), series in totals.series.items():
        labels = (dialect or NONE, model or NONE, upstream or NONE, "true" if stream else "false")
        results: dict[tuple[int, str], int] = {}
        for (status, outcome), (count,) in series.results.items():
            results[status // 100, outcome] = results.get((status // 100, outcome), 0) + count
        for (status, outcome), count in results.items():
            lines.add("requests_total", (*labels, f"{status}xx", outcome), count)
        lines.add_histogram("request_duration_seconds", labels, series.duration, series.duration_sum)
        if any(series.first):
            lines.add_histogram("first_event_seconds", labels, series.first, series.first_sum)
        for kind, tokens in zip(TOKENS, series.tokens, strict=True):
            if tokens:
                lines.add("tokens_total", (*labels, kind), tokens)
    for (name, *values), (count,) in sorted(totals.counts.items()):
        lines.add(name, tuple(values), count)


# --- processes -------------------------------------------------------------------------------------------------------


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _memory_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - quicker, and no path of ours
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError):
        return None


def _files_of(pid: int) -> int | None:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a list of names is all that is wanted
    except OSError:
        return None


__all__ = ["METRICS", "PREFIX", "STATES", "WATCHED", "Board", "Metric", "Metrics"]

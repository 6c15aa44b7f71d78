"""What is counted and under which names; that labels stay few whatever clients send; and that workers add up."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.credentials import State
from antigravity2api.errors import Fault, Kind
from antigravity2api.gateway import Trace
from antigravity2api.metrics import (
    METRICS,
    MOST_MODELS,
    MOST_SERIES,
    PREFIX,
    STATES,
    Board,
    Metrics,
)
from antigravity2api.pool import Cooling, View
from antigravity2api.prometheus import BOUNDS, labels_text, prefers_open_metrics

KNOWN = frozenset({"gemini-2.5-flash", "gemini-2.5-pro"})
LABELS = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"(?:,|$)')
SAMPLE = re.compile(r"([a-z0-9_]+)(?:\{(.*)\})? (\S+)")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(page: bytes) -> Samples:
    """A page of samples as Prometheus reads it; every rule of the format that we could break is checked."""
    samples: Samples = {}
    types: dict[str, str] = {}
    family = ""
    assert page.endswith(b"\n")
    for line in page.decode().splitlines():
        if line == "# EOF":
            continue
        if line.startswith("# "):
            _, word, name, text = line.split(" ", 3)
            assert re.fullmatch(r"antigravity2api_[a-z_]+", name)
            if word == "HELP":
                assert name not in types, "a family stands once"
            else:
                assert word == "TYPE" and text in ("counter", "gauge", "histogram")
                family, types[name] = name, text
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None, line
        name, text, value = match.groups()
        assert name.startswith(family), "samples stand below their family"
        labels = LABELS.findall(text or "")
        assert ",".join(f'{label}="{word}"' for label, word in labels) == (text or "")
        key = (name, frozenset(labels))
        assert key not in samples, f"twice: {line}"
        samples[key] = float(value)
    return samples


def value(samples: Samples, metric: str, **labels: str) -> float:
    """The sum of the samples of a metric that have these labels."""
    wanted = set(labels.items())
    return sum(found for (name, has), found in samples.items() if name == PREFIX + metric and wanted <= has)


def seen(model: str = "gemini-2.5-flash", **more: Any) -> Trace:
    return Trace(**({"dialect": "chat", "model": model, "upstream": "gemini"} | more))


def credential(id: str, upstream: str = "gemini", state: State = State.READY, **until: float) -> View:
    """As the pool shows it; ``until`` by scope, ``whole`` for every model."""
    names = {"whole": "", "pro": "gemini-2.5-pro", "claude": "claude-* gpt-oss-*"}
    rests = (
        Cooling(scope=names.get(scope, scope), until=end, why="limited", reason="", message="a secret sentence")
        for scope, end in until.items()
    )
    about = {"label": "me@example.com", "words": "", "message": "a secret sentence", "link": "https://secret.example"}
    return View(id=id, upstream=upstream, state=state, cooling=tuple(rests), running=0, served=0, failed=0, **about)


def fresh(**options: Any) -> Metrics:
    return Metrics(KNOWN.__contains__, **options)


def ended(
    metrics: Metrics, trace: Trace | None, status: int = 200, seconds: float = 1.0, outcome: str = "ok"
) -> Metrics:
    if trace is not None:
        metrics.request_started()
    metrics.request_ended(trace, status, seconds, outcome)
    return metrics


def scraped(metrics: Metrics) -> Samples:
    return read(metrics.render()[1])


# -- names and form ----------------------------------------------------------------------------------------------------


def test_every_metric_is_named_as_prometheus_wants_it() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", name)
        assert (metric.type == "counter") == name.endswith("_total")
        assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
        assert metric.full_name == f"antigravity2api_{name}"
        assert metric.type != "histogram" or name.endswith("_seconds")


def test_a_fresh_gateway_shows_every_family() -> None:
    kind, page = fresh().render()
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert re.findall(rb"^# TYPE (\S+)", page, re.MULTILINE) == [m.full_name.encode() for m in METRICS.values()]
    samples = read(page)
    assert value(samples, "build_info") == value(samples, "workers") == 1
    assert value(samples, "requests_in_flight") == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells these")
def test_the_process_is_measured_where_the_system_tells() -> None:
    samples = scraped(fresh())
    assert value(samples, "process_resident_memory_bytes") > 1 << 20
    assert value(samples, "process_open_fds") >= 3


def test_openmetrics_names_families_without_total_and_ends() -> None:
    metrics = ended(fresh(), seen())
    kind, page = metrics.render("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert page.endswith(b"# EOF\n")
    assert b"# TYPE antigravity2api_requests counter" in page
    assert re.search(rb"^antigravity2api_requests_total\{", page, re.MULTILINE)
    assert read(page).keys() == scraped(metrics).keys()


@pytest.mark.parametrize(
    ("accept", "open_form"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=many", False),
    ],
)
def test_the_form_that_is_preferred(accept: str, open_form: bool) -> None:
    assert prefers_open_metrics(accept) is open_form


def test_labels_are_escaped() -> None:
    assert labels_text(("a",), ('x"y\\z\n',)) == r'a="x\"y\\z\n"'


# -- requests ----------------------------------------------------------------------------------------------------------


def test_a_request_is_counted_with_its_time_and_tokens() -> None:
    metrics = fresh()
    usage = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 5,
        "cachedContentTokenCount": 60,
        "totalTokenCount": 125,
    }
    ended(metrics, seen(stream=True, first_event=0.2, usage=usage), seconds=3.0)
    samples = scraped(metrics)
    about = {"dialect": "chat", "model": "gemini-2.5-flash", "upstream": "gemini", "stream": "true"}
    assert value(samples, "requests_total", **about, status="2xx", outcome="ok") == 1
    tokens = {kind: value(samples, "tokens_total", **about, kind=kind) for kind in ("prompt", "cached", "completion")}
    assert tokens == {"prompt": 100, "cached": 60, "completion": 25}
    assert value(samples, "tokens_total", **about, kind="reasoning") == 5
    assert value(samples, "request_duration_seconds_sum", **about) == 3.0
    assert value(samples, "first_event_seconds_sum", **about) == 0.2
    assert value(samples, "http_answers_total", status="200") == 1


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.050001, 1.0, 599.9, 600.0, 601.0, 5000.0])
def test_buckets_hold_what_is_not_above_them(seconds: float) -> None:
    samples = scraped(ended(fresh(), seen(), seconds=seconds))
    for bound in BOUNDS:
        assert value(samples, "request_duration_seconds_bucket", le=repr(bound)) == (seconds <= bound)
    assert value(samples, "request_duration_seconds_bucket", le="+Inf") == 1
    assert value(samples, "request_duration_seconds_count") == 1


@pytest.mark.parametrize(
    ("status", "outcome", "fault", "shown"),
    [
        (200, "ok", None, ("2xx", "ok")),
        (200, "ok", Fault(Kind.TRUNCATED, "cut"), ("2xx", "broken")),
        (200, "left", None, ("2xx", "left")),
        (499, "left", None, ("4xx", "left")),
        (200, "cut", None, ("2xx", "cut")),
        (400, "ok", Fault(Kind.INVALID_REQUEST, "no"), ("4xx", "refused")),
        (429, "ok", Fault(Kind.RATE_LIMITED, "slow"), ("4xx", "refused")),
        (500, "ok", Fault(Kind.INTERNAL, "oops"), ("5xx", "failed")),
    ],
)
def test_how_a_request_ended(status: int, outcome: str, fault: Fault | None, shown: tuple[str, str]) -> None:
    samples = scraped(ended(fresh(), seen(fault=fault), status, outcome=outcome))
    assert value(samples, "requests_total", status=shown[0], outcome=shown[1]) == 1
    assert value(samples, "requests_total") == 1


def test_what_generates_nothing_is_counted_as_an_answer_alone() -> None:
    samples = scraped(ended(fresh(), None, 401))
    assert value(samples, "http_answers_total", status="401") == 1
    assert value(samples, "requests_total") == 0


def test_requests_under_way() -> None:
    metrics = fresh()
    metrics.request_started()
    metrics.request_started()
    assert value(scraped(metrics), "requests_in_flight") == 2
    metrics.request_ended(Trace(), 400, 0.1, "ok")
    samples = scraped(metrics)
    assert value(samples, "requests_in_flight") == 1
    assert value(samples, "requests_total", dialect="none", model="none", upstream="none", outcome="refused") == 1


# -- labels stay few ---------------------------------------------------------------------------------------------------


def test_a_model_is_named_when_the_table_knows_it_or_it_answered() -> None:
    metrics = fresh()
    ended(metrics, seen("gemini-2.5-pro", fault=Fault(Kind.OVERLOADED, "no")), 500)
    ended(metrics, seen("made-up", fault=Fault(Kind.MODEL_NOT_FOUND, "no")), 404)
    ended(metrics, seen("new-model"))
    ended(metrics, seen("new-model", fault=Fault(Kind.OVERLOADED, "no")), 500)
    samples = scraped(metrics)
    assert value(samples, "requests_total", model="gemini-2.5-pro") == 1
    assert value(samples, "requests_total", model="other") == 1
    assert value(samples, "requests_total", model="new-model") == 2


def test_many_names_become_one() -> None:
    metrics = fresh()
    for number in range(3 * MOST_MODELS):
        ended(metrics, seen(f"model-{number}"))
    samples = scraped(metrics)
    models = {dict(labels)["model"] for name, labels in samples if name == f"{PREFIX}requests_total"}
    assert len(models) == MOST_MODELS + 1
    assert value(samples, "requests_total", model="other") == 2 * MOST_MODELS


def test_series_are_bounded_altogether() -> None:
    metrics = fresh()
    for upstream in ("gemini", "vertex", "antigravity"):
        for stream in (True, False):
            for number in range(MOST_MODELS):
                ended(metrics, seen(f"model-{number}", upstream=upstream, stream=stream))
    samples = scraped(metrics)
    counted = [labels for name, labels in samples if name == f"{PREFIX}request_duration_seconds_count"]
    assert len(counted) <= MOST_SERIES + 6
    assert value(samples, "requests_total") == 6 * MOST_MODELS


@pytest.mark.parametrize("model", ["other", "none", 'a"b', "a\nb", "x" * 500, "日本", "a b", "sk-" + "é" * 40])
def test_strange_names_are_never_a_label(model: str) -> None:
    metrics = ended(ended(fresh(), seen(model)), Trace(dialect="chat", upstream="gemini"), 400)
    samples = scraped(metrics)
    assert value(samples, "requests_total", model="other") == 1
    assert value(samples, "requests_total", model="none") == 1


# -- attempts, repairs, tokens, credentials ----------------------------------------------------------------------------


def test_attempts_repairs_and_refreshes() -> None:
    metrics = fresh()
    metrics.attempt_ended("gemini", "ok")
    metrics.attempt_ended("gemini", Kind.RATE_LIMITED)
    metrics.attempt_ended("gemini", Kind.RATE_LIMITED)
    for note in ("schema:openapi", "topK:default dropped", "hosted tools:dropped", "thinkingConfig:dropped"):
        metrics.repaired("gemini", note)
    metrics.refresh("invalid_grant")
    samples = scraped(metrics)
    assert value(samples, "attempts_total", upstream="gemini", result="ok") == 1
    assert value(samples, "attempts_total", upstream="gemini", result="rate_limited") == 2
    for repair in ("schema", "top_k", "hosted_tools", "thinking_config"):
        assert value(samples, "repairs_total", upstream="gemini", repair=repair) == 1
    assert value(samples, "token_refreshes_total", result="invalid_grant") == 1


def test_a_repair_is_named_without_what_it_was_about() -> None:
    metrics = fresh()
    metrics.repaired("gemini", "tool.my_secret_tool:described, tool.another_one:left out")
    for number in range(500):
        metrics.repaired("gemini", f"made up {number}")
    page = metrics.render()[1]
    samples = read(page)
    assert value(samples, "repairs_total", repair="tool") == 1
    assert b"secret" not in page and b"another" not in page
    assert len([name for name, _ in samples if name == f"{PREFIX}repairs_total"]) <= 41


def test_counts_are_bounded_whoever_names_them() -> None:
    metrics = fresh()
    for number in range(5000):
        metrics.refresh(f"word-{number}")
        metrics.attempt_ended("gemini", f"kind-{number}")
    samples = scraped(metrics)
    assert len(samples) < 1200
    assert value(samples, "token_refreshes_total", result="other") == 5000 - 40


def test_a_credential_is_in_one_state_and_its_cool_downs_are_told() -> None:
    views = [
        credential("gemini-1"),
        credential("gemini-2", whole=1030.0, pro=1090.0, made_up=1005.0, gone=999.0),
        credential("antigravity-1", "antigravity", State.NEEDS_LOGIN, claude=1007.0),
    ]
    metrics = fresh(wall=lambda: 1000.0)
    metrics.watch_credentials(lambda: views)
    samples = scraped(metrics)
    states = {"gemini-1": "ready", "gemini-2": "cooling", "antigravity-1": "needs_login"}
    for name, state in states.items():
        for word in STATES:
            assert value(samples, "credential_state", credential=name, state=word) == (word == state)
    left = {
        pool: value(samples, "credential_cooldown_seconds", credential="gemini-2", pool=pool)
        for pool in ("all", "gemini-2.5-pro", "other")
    }
    assert left == {"all": 30, "gemini-2.5-pro": 90, "other": 5}
    assert value(samples, "credential_cooldown_seconds", credential="antigravity-1", pool="claude-* gpt-oss-*") == 7
    assert value(samples, "credential_cooldown_seconds", credential="gemini-1") == 0
    page = metrics.render()[1]
    assert b"secret" not in page and b"example.com" not in page


def test_what_is_looked_at() -> None:
    metrics = fresh()
    metrics.watch("database_queue", lambda: 7)
    metrics.watch("log_lost_total", lambda: 3)
    samples = scraped(metrics)
    assert (value(samples, "database_queue"), value(samples, "log_lost_total")) == (7, 3)
    with pytest.raises(ValueError, match="requests_total"):
        metrics.watch("requests_total", lambda: 1)


# -- several workers ---------------------------------------------------------------------------------------------------


async def test_whoever_is_asked_adds_up_all_workers() -> None:
    board = Board(3)
    workers = [fresh(board=board, place=place, pause=0) for place in range(3)]
    for count, worker in enumerate(workers, 1):
        for _ in range(count):
            ended(worker, seen(first_event=0.3))
        worker.attempt_ended("gemini", "ok")
        worker.watch("database_queue", lambda: 2)
    workers[2].request_started()
    await asyncio.sleep(0.01)
    for worker in workers:
        samples = scraped(worker)
        assert value(samples, "requests_total") == 6
        assert value(samples, "first_event_seconds_bucket", le="0.5") == 6
        assert value(samples, "http_answers_total", status="200") == 6
        assert value(samples, "attempts_total") == 3
        assert value(samples, "workers") == 3
        assert value(samples, "requests_in_flight") == 1
        assert value(samples, "database_queue") == 6


async def test_nothing_that_was_shown_is_taken_back() -> None:
    board = Board(2)
    first, second = (fresh(board=board, place=place, pause=3600) for place in range(2))
    ended(first, seen())
    assert value(scraped(first), "requests_total") == 1
    assert value(scraped(second), "requests_total") == 1
    first.close()
    second.close()


async def test_the_longest_cool_down_of_all_workers_counts_and_grows_old() -> None:
    now = [100.0]
    board = Board(2)
    first, second = (fresh(board=board, place=place, wall=lambda: now[0]) for place in range(2))
    first.watch_credentials(lambda: [credential("gemini-1", whole=130.0)])
    second.watch_credentials(lambda: [credential("gemini-1")])
    scraped(first)
    now[0] += 10
    samples = scraped(second)
    assert value(samples, "credential_cooldown_seconds", credential="gemini-1", pool="all") == 20
    assert value(samples, "credential_state", credential="gemini-1", state="cooling") == 1
    now[0] += 30
    assert value(scraped(second), "credential_state", credential="gemini-1", state="ready") == 1


def test_a_worker_that_takes_the_place_of_another_goes_on_from_its_counters() -> None:
    board = Board(2)
    for _ in range(3):
        asyncio.run(_one_life(board))
    last = fresh(board=board, place=1)
    samples = scraped(last)
    assert value(samples, "requests_total", model="gemini-2.5-flash") == 3
    assert value(samples, "requests_total", model="alive") == 3
    assert value(samples, "http_answers_total", status="200") == 6
    assert value(samples, "log_lost_total") == 6


async def _one_life(board: Board) -> None:
    worker = fresh(board=board, place=0)
    worker.watch("log_lost_total", lambda: 2)
    ended(worker, seen())
    ended(worker, seen("alive"))
    worker.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_a_killed_worker_is_still_counted_and_no_longer_measured() -> None:
    board = Board(2)
    heard, say = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the other process

        async def live() -> None:
            worker = fresh(board=board, place=0, pause=0)
            ended(worker, seen())
            worker.request_started()
            await asyncio.sleep(0.01)
            os.write(say, b"x")
            signal.pause()

        asyncio.run(live())
        os._exit(0)
    assert os.read(heard, 1) == b"x"
    worker = fresh(board=board, place=1)
    try:
        samples = scraped(worker)
        assert (value(samples, "requests_total"), value(samples, "workers")) == (1, 2)
        assert value(samples, "requests_in_flight") == 1
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(heard)
        os.close(say)
    samples = scraped(worker)
    assert (value(samples, "requests_total"), value(samples, "workers")) == (1, 1)
    assert value(samples, "requests_in_flight") == 0


def test_what_does_not_fit_leaves_the_last_word_standing() -> None:
    board = Board(2)
    assert board.read(0) is None
    assert board.write(0, b"first")
    assert board.write(1, b"another's")
    assert not board.write(0, b"x" * (Board.HALF + 1))
    assert (board.read(0), board.read(1)) == (b"first", b"another's")


def test_a_write_that_was_not_finished_leaves_the_last_word_standing(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(1)
    board.write(0, b"whole")

    class Killed:
        size = Board._HEAD.size

        def pack(self, *values: int) -> bytes:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Board, "_HEAD", Killed())
        with pytest.raises(KeyboardInterrupt):
            board.write(0, b"half")
    assert board.read(0) == b"whole"
    assert board.write(0, b"next")
    assert board.read(0) == b"next"


async def test_an_idle_worker_sets_no_timer() -> None:
    worker = fresh(board=Board(1), place=0, pause=0)
    assert list(_timers()) == []
    ended(worker, seen())
    assert len(list(_timers())) == 1
    await asyncio.sleep(0.01)
    assert list(_timers()) == []


def _timers() -> Iterator[asyncio.TimerHandle]:
    loop: Any = asyncio.get_running_loop()
    return (handle for handle in loop._scheduled if not handle.cancelled())

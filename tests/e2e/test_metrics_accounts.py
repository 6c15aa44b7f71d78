"""``/metrics`` with accounts and several workers: sums, states, rests, tries, repairs, and who may see them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fakes.client import call
from fakes.desk import CLIENT_SECRET, KEY, MODEL, Desk, account, eventually, many, says, token_of
from fakes.google_accounts import GoogleAccounts, form_of, granted, refused
from fakes.upstream import Answer, Recorded, ScriptedUpstream, as_asked, error, reason_info, retry_info, text_events

pytestmark = pytest.mark.slow

Sits = Callable[..., Desk]
SPENT = error(429, "Used up.", details=[reason_info("QUOTA_EXHAUSTED"), retry_info("5000s")])
PLANTED = "words-of-a-client-that-are-nobodys-business"


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


@pytest.fixture
def desk(google: GoogleAccounts) -> Iterator[Sits]:
    with ExitStack() as stack:
        yield lambda *args, **environ: stack.enter_context(Desk(google, *args, **environ))


def total(samples: dict[str, float], name: str, *parts: str) -> float:
    """The sum of all samples of a metric that have these labels."""
    return sum(
        value for key, value in samples.items() if key.partition("{")[0] == name and all(part in key for part in parts)
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_everything_is_counted_once(google: GoogleAccounts, desk: Sits, workers: int) -> None:
    def token(record: Recorded) -> Answer:
        name = form_of(record)["refresh_token"].rpartition("-")[2]
        return refused("invalid_grant", "Revoked.") if name == "dead" else granted(f"ya29.{name}")

    google.scripts["token"] = token
    google.scripts["streamGenerateContent"] = google.scripts["generateContent"] = lambda record: (
        SPENT if token_of(record) == "ya29.spent" else says("Hel", "lo")(record)
    )
    made = desk("--workers", str(workers))
    given = [account(f"1//0g-refresh-{name}") for name in ("good", "dead", "spent")]
    good, dead, spent = made.brings([*given, account("1//0g-refresh-off", enable=False)])[:3]
    made.serve()
    replies = many(30, lambda number: made.chat(f"Number {number}.", stream=number % 2 == 0))
    assert {reply.status for reply in replies} == {200}
    assert made.chat(messages="wrong").status == 400

    def settled(seen: dict[str, float]) -> bool:
        """Whether all is counted, and the worker that answers has learned from the other one."""
        lost = seen.get(f'credential_state{{upstream="antigravity",credential="{dead}",state="needs_login"}}')
        return lost == 1 and total(seen, "requests_total", 'outcome="ok"') == 30

    samples = eventually(made.metrics, settled)
    assert total(samples, "requests_total", 'outcome="refused"') == 1
    assert total(samples, "requests_total", 'stream="true"', f'model="{MODEL}"', 'upstream="antigravity"') == 15
    assert total(samples, "request_duration_seconds_count", f'model="{MODEL}"') == 30
    assert total(samples, "tokens_total", 'kind="completion"') == 600
    assert total(samples, "attempts_total", 'result="ok"') == 30
    assert 1 <= total(samples, "attempts_total", 'result="rate_limited"') <= 30
    assert total(samples, "token_refreshes_total", 'result="ok"') == 2
    assert 1 <= total(samples, "token_refreshes_total", 'result="invalid_grant"') <= workers
    assert (samples["workers"], samples["requests_in_flight"]) == (workers, 0)
    shown = "\n".join(name for name, value in samples.items() if value)
    states = {name: re.findall(rf'credential="{name}",state="(\w+)"', shown) for name in made.credentials()}
    assert states == {good: ["ready"], dead: ["needs_login"], spent: ["cooling"], "antigravity-4": ["disabled"]}
    assert 4900 < total(samples, "credential_cooldown_seconds", spent, 'pool="gemini-*"') <= 5000
    page = call(made.port, "GET", "/metrics", key=KEY).body.decode()
    for secret in (KEY, CLIENT_SECRET, "1//0g", "ya29", "example.com", "Number", "bright-harbor"):
        assert secret not in page


@pytest.mark.parametrize("workers", [1, 2])
def test_repairs_tries_and_strange_names(upstream: ScriptedUpstream, desk: Sits, workers: int) -> None:
    made = desk(
        "--workers",
        str(workers),
        GOOGLE_GEMINI_BASE_URL=upstream.url,
        GEMINI_API_KEY="AIza-key-of-a-test-0123456789",
        ANTIGRAVITY2API_ANTIGRAVITY="off",
        ANTIGRAVITY2API_COOLDOWN="off",
    ).serve()
    good = as_asked(text_events("Hel", "lo"))
    limit = "Unable to submit request because it has a topK value of 50 but the supported range is 1 to 41."
    upstream.play(error(400, limit))
    upstream.default = good
    assert made.chat(model="gemini-2.5-flash").status == 200
    upstream.default = error(503, "The model is overloaded.")
    assert made.chat(model="gemini-2.5-flash").status == 500
    upstream.default = error(404, f"models/{PLANTED} is not found.")
    for number in range(5):
        assert made.chat(model=f"{PLANTED}-{number}").status == 404
        assert made.chat(PLANTED, model="gemini-2.5-flash", user=PLANTED).status == 404
    samples = eventually(made.metrics, lambda seen: total(seen, "requests_total", 'outcome="refused"') == 10)
    assert total(samples, "repairs_total", 'upstream="gemini"') == 1
    assert total(samples, "attempts_total", 'result="overloaded"') == 3
    assert total(samples, "requests_total", 'model="other"') == 5
    assert total(samples, "requests_total", 'outcome="failed"') == 1
    assert PLANTED not in "\n".join(samples)


def test_who_may_see_them(desk: Sits) -> None:
    made = desk().serve()
    for path in ("/metrics", "/metrics?x=1"):
        assert call(made.port, "GET", path).status == 401
    assert call(made.port, "GET", "/metrics", key="sk-another").status == 401
    opened = desk(ANTIGRAVITY2API_METRICS_OPEN="on").serve()
    assert call(opened.port, "GET", "/metrics").status == 200
    assert call(opened.port, "GET", "/v1/models").status == 401
    reply = call(opened.port, "GET", "/metrics", headers=(("Accept", "application/openmetrics-text; version=1.0.0"),))
    assert (reply.header("content-type") or "").startswith("application/openmetrics-text")
    assert reply.body.endswith(b"# EOF\n")

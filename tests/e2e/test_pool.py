"""Five credentials of which four fail, each in its own way: every request is served, and nobody is asked in vain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fakes.client import Reply, chat
from fakes.gateway import GatewayProcess, Start
from fakes.upstream import Answer, Recorded, ScriptedUpstream, as_asked, error, reason_info, retry_info, text_events

pytestmark = pytest.mark.slow

KEYS = tuple(f"key-number-{number}" for number in range(5))
QUOTA = "type.googleapis.com/google.rpc.QuotaFailure"
DAY = {"@type": QUOTA, "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
WRONG = error(400, "API key not valid. Please pass a valid API key.", details=[reason_info("API_KEY_INVALID")])
BAD = (
    WRONG,
    error(403, "Generative Language API has not been used.", details=[reason_info("SERVICE_DISABLED")]),
    error(429, "You exceeded your current quota.", details=[DAY, retry_info("7s")]),
    error(401, "Request had invalid authentication credentials."),
)
GOOD = as_asked(text_events("Hel", "lo"))


def by_key(upstream: ScriptedUpstream, answers: dict[str, Answer | Callable[[Recorded], Answer]]) -> None:
    """Each key has an answer of its own."""
    for key, answer in answers.items():
        upstream.when(lambda record, key=key: record.header("x-goog-api-key") == key, answer)  # type: ignore[misc]


def asked(upstream: ScriptedUpstream) -> Counter[Any]:
    """How often each credential was asked."""
    return Counter(record.header("x-goog-api-key") for record in upstream.requests)


def ask(gateway: GatewayProcess, number: int) -> Reply:
    """A conversation of its own, so that none belongs to another one's credential."""
    messages = [{"role": "user", "content": f"Hello, this is number {number}."}]
    return chat(gateway.port, messages=messages, stream=number % 2 == 0)


@pytest.mark.parametrize("place", range(5))
def test_one_that_works_serves_every_request(start: Start, upstream: ScriptedUpstream, place: int) -> None:
    good = KEYS[place]
    by_key(upstream, dict(zip([key for key in KEYS if key != good], BAD, strict=True)) | {good: GOOD})
    gateway = start(keys=KEYS, max_attempts=5)
    replies = [ask(gateway, number) for number in range(40)]
    with ThreadPoolExecutor(8) as clients:
        replies += clients.map(lambda number: ask(gateway, number), range(40, 60))
    assert [(reply.status, reply.text) for reply in replies] == [(200, "Hello")] * 60
    assert asked(upstream) == dict.fromkeys(KEYS, 1) | {good: 60}, "nobody is asked again before its rest is over"


def test_three_attempts_are_enough_once_somebody_has_served(start: Start, upstream: ScriptedUpstream) -> None:
    by_key(upstream, dict.fromkeys(KEYS, GOOD))
    gateway = start(keys=KEYS)
    assert ask(gateway, 0).status == 200
    (good,) = asked(upstream)
    upstream.reset()
    by_key(upstream, dict(zip([key for key in KEYS if key != good], BAD, strict=True)) | {good: GOOD})
    for number in range(40):
        assert ask(gateway, number).status == 200, "another attempt goes to who is known to serve"
    assert asked(upstream) == dict.fromkeys(KEYS, 1) | {good: 40}


def test_a_spent_quota_is_not_asked_all_day(start: Start, upstream: ScriptedUpstream) -> None:
    by_key(upstream, {KEYS[0]: BAD[2], KEYS[1]: GOOD})
    gateway = start(keys=KEYS[:2])
    assert {ask(gateway, number).status for number in range(30)} == {200}
    assert asked(upstream) == {KEYS[0]: 1, KEYS[1]: 30}


def test_capacity_is_nobodys_fault(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(keys=KEYS[:2])
    upstream.play(error(503, "The model is overloaded. Please try again later."), *[GOOD] * 30)
    assert {ask(gateway, number).status for number in range(30)} == {200}
    assert min(asked(upstream).values()) >= 8, "both go on serving"


@pytest.mark.parametrize("answer", [*BAD, error(429, "slow down"), error(403, "The caller does not have permission")])
def test_the_only_credential_is_asked_by_every_request(
    start: Start, upstream: ScriptedUpstream, answer: Answer
) -> None:
    gateway = start()
    for _ in range(3):
        before = len(upstream.requests)
        by_key(upstream, {"first-upstream-key": answer})
        assert chat(gateway.port).status in (429, 500)
        assert len(upstream.requests) > before
        upstream.reset()
        upstream.play(GOOD)
        assert chat(gateway.port).text == "Hello"


def test_a_conversation_stays_with_one_credential(start: Start, upstream: ScriptedUpstream) -> None:
    by_key(upstream, dict.fromkeys(KEYS, GOOD))
    gateway = start(keys=KEYS)
    for _ in range(6):
        chat(gateway.port, messages=[{"role": "user", "content": "One conversation."}])
    assert list(asked(upstream).values()) == [6]
    upstream.reset()
    by_key(upstream, dict.fromkeys(KEYS, GOOD))
    for number in range(6):
        chat(gateway.port, messages=[{"role": "user", "content": f"Number {number}."}], prompt_cache_key="mine")
    assert list(asked(upstream).values()) == [6]


def test_a_restart_keeps_cool_downs(start: Start, upstream: ScriptedUpstream) -> None:
    by_key(upstream, {KEYS[0]: BAD[2], KEYS[1]: BAD[0], KEYS[2]: GOOD})
    gateway = start(keys=KEYS[:3])
    for number in range(20):
        assert ask(gateway, number).status == 200
    assert gateway.stop() == 0
    gateway.start()
    for number in range(100, 120):
        assert ask(gateway, number).status == 200
    assert asked(upstream) == {KEYS[0]: 1, KEYS[1]: 1, KEYS[2]: 40}

"""Before the first byte: what is tried again, with which credential, and what the client hears when nothing helped."""

from __future__ import annotations

import time

import pytest

from fakes.client import chat
from fakes.gateway import UPSTREAM_KEYS as KEYS
from fakes.gateway import GatewayProcess, Start, World
from fakes.upstream import (
    Answer,
    Close,
    Hang,
    Reset,
    ScriptedUpstream,
    error,
    parts_event,
    plain,
    reason_info,
    retry_info,
    sse,
    text_events,
)

pytestmark = pytest.mark.slow  # many processes; the same rules are held in one process by unit/test_gateway.py

GOOD = sse(text_events("Hel", "lo"))
BAD_KEY = error(400, "API key not valid. Please pass a valid API key.", details=[reason_info("API_KEY_INVALID")])


def used(upstream: ScriptedUpstream) -> list[str | None]:
    """The credential of each request that arrived."""
    return [request.header("x-goog-api-key") for request in upstream.requests]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "first",
    [
        error(429, "slow down"),
        error(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"),
        sse([{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}]),
        Answer(framing="raw", steps=(Reset(),)),
    ],
    ids=["429", "precondition", "error event", "reset"],
)
def test_fails_over_before_the_first_byte(
    start: Start, upstream: ScriptedUpstream, first: Answer, stream: bool
) -> None:
    gateway = start(keys=KEYS)
    upstream.play(first, GOOD)
    reply = chat(gateway.port, stream=stream)
    assert (reply.status, reply.text) == (200, "Hello")
    keys = used(upstream)
    assert len(keys) == 2
    assert len(set(keys)) == 2
    if stream:
        assert [c["choices"][0]["delta"].get("role") for c in reply.chunks].count("assistant") == 1


def test_attempts_are_bounded(world: World) -> None:
    world.upstream.play(*[error(503, "The model is overloaded.")] * 5)
    reply = chat(world.gateway.port)
    assert (reply.status, reply.error["type"], reply.error["code"]) == (500, "server_error", "upstream_overloaded")
    assert "overloaded" in reply.error["message"]
    assert reply.header("x-should-retry") == "false"
    assert len(world.upstream.requests) <= 3


@pytest.mark.parametrize(("attempts", "wanted"), [(1, 1), (5, 5)])
def test_max_attempts(start: Start, upstream: ScriptedUpstream, attempts: int, wanted: int) -> None:
    keys = tuple(f"key-{number}" for number in range(6))
    gateway = start(keys=keys, max_attempts=attempts, cooldown="off")
    upstream.play(*[error(429, "slow down")] * 8)
    assert chat(gateway.port).status == 429
    assert len(upstream.requests) == wanted


def test_all_limited_tells_when(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(keys=KEYS)
    upstream.play(*[error(429, "You exceeded your current quota.", details=[retry_info("33.2s")])] * 4)
    reply = chat(gateway.port)
    assert (reply.status, reply.error["code"]) == (429, "rate_limit_exceeded")
    assert reply.header("retry-after") == "34"
    assert reply.error["message"].endswith("Please try again in 34s.")
    assert "quota" in reply.error["message"]
    assert sorted(filter(None, used(upstream))) == sorted(KEYS)


@pytest.mark.parametrize("answer", [error(429, "no delay named"), Answer(status=429, steps=(b"<html>slow</html>",))])
def test_a_429_without_a_delay_still_names_one(world: World, answer: Answer) -> None:
    world.upstream.play(*[answer] * 4)
    reply = chat(world.gateway.port)
    assert reply.status == 429
    assert int(reply.header("retry-after") or "0") >= 1


def test_a_cooling_credential_is_left_alone(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(keys=KEYS)
    upstream.play(error(429, "slow down", details=[retry_info("60s")]), GOOD)
    assert chat(gateway.port).status == 200
    cooling = used(upstream)[0]
    upstream.play(GOOD, GOOD, GOOD)
    for _ in range(3):
        assert chat(gateway.port).status == 200
    assert cooling not in used(upstream)[1:]


def test_a_cool_down_is_for_one_model(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start()
    upstream.play(*[error(429, "slow down", details=[retry_info("60s")])] * 3)
    assert chat(gateway.port).status == 429
    before = len(upstream.requests)
    upstream.reset()
    upstream.play(GOOD)
    assert chat(gateway.port, model="gemini-2.5-flash").status == 200
    assert before <= 3


def test_a_pool_that_cools_down_as_a_whole_is_asked_all_the_same(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start()
    upstream.play(*[error(429, "slow down", details=[retry_info("60s")])] * 3)
    assert chat(gateway.port).status == 429
    upstream.reset()
    upstream.play(GOOD)
    assert chat(gateway.port).text == "Hello", "the only credential is never thrown away"


def test_cooldown_off_asks_again_at_once(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(cooldown="off", max_attempts=1)
    upstream.play(error(429, "slow down", details=[retry_info("60s")]), GOOD)
    assert chat(gateway.port).status == 429
    assert chat(gateway.port).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        error(401, "Request had invalid credentials."),
        error(403, "Permission denied.", details=[reason_info("CONSUMER_INVALID")]),
        BAD_KEY,
    ],
    ids=["401", "403", "bad key"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_credential_is_not_the_clients_fault(world: World, answer: Answer, stream: bool) -> None:
    world.upstream.play(*[answer] * 4)
    reply = chat(world.gateway.port, stream=stream)
    assert (reply.status, reply.error["type"], reply.error["code"]) == (500, "server_error", "no_upstream_credentials")
    assert KEYS[0] not in reply.body.decode()


def test_the_only_credential_stays_usable(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start()
    upstream.play(BAD_KEY)
    assert chat(gateway.port).status == 500
    upstream.play(GOOD)
    assert chat(gateway.port).status == 200


def test_a_401_is_repeated_once_unseen(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start()
    upstream.play(error(401, "Request had invalid credentials."), GOOD)
    assert chat(gateway.port).text == "Hello"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_404_stays_404(world: World, stream: bool) -> None:
    world.upstream.play(error(404, "models/my-model is not found for API version v1beta."))
    reply = chat(world.gateway.port, stream=stream, model="my-model")
    assert (reply.status, reply.error["code"], reply.error["param"]) == (404, "model_not_found", "model")
    assert "my-model" in reply.error["message"]
    assert len(world.upstream.requests) == 1


def test_a_bad_argument_is_tried_once(world: World) -> None:
    world.upstream.play(error(400, "Invalid value at 'contents[0]'"))
    reply = chat(world.gateway.port)
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert "Invalid value at 'contents[0]'" in reply.error["message"]
    assert len(world.upstream.requests) == 1


def test_a_context_that_is_too_long_has_its_code(world: World) -> None:
    world.upstream.play(
        error(400, "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576).")
    )
    reply = chat(world.gateway.port)
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "context_length_exceeded", "messages")


def test_a_redirect_is_not_followed(world: World) -> None:
    with ScriptedUpstream(default=GOOD) as elsewhere:
        moved = Answer(status=302, headers=(("Location", f"{elsewhere.url}/v1beta/models/m:generateContent"),))
        world.upstream.play(moved, moved, moved)
        reply = chat(world.gateway.port)
        assert (reply.status, reply.error["type"]) == (500, "server_error")
        assert not elsewhere.requests
        assert str(elsewhere.port) not in reply.body.decode()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=200, headers=(("Content-Type", "text/html"),), steps=(b"<html>hi</html>",)),
        Answer(status=200, headers=(("Content-Type", "text/event-stream"),)),
        Answer(status=204),
        Answer(framing="raw", steps=(b"SSH-2.0-OpenSSH\r\n", Close())),
        plain({"error": {"code": 500, "message": "hidden", "status": "INTERNAL"}}),
        sse([["a", "list"]]),
        sse([{"candidates": {"wrong": "type"}}]),
    ],
    ids=["html", "empty", "204", "no http", "error in a 200", "list event", "wrong types"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_nonsense_is_an_honest_failure(world: World, answer: Answer, stream: bool) -> None:
    world.upstream.play(*[answer] * 3)
    reply = chat(world.gateway.port, stream=stream)
    assert (reply.status, reply.error["type"]) == (500, "server_error"), reply.body
    assert isinstance(reply.error["code"], str)


def test_a_malformed_call_is_tried_once_more(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start()  # of its own: the budget for retries is shared by a gateway's requests
    malformed = {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed call: print(x)", "index": 0}
    upstream.play(sse([{"candidates": [malformed]}]), GOOD)
    assert chat(gateway.port).text == "Hello"
    upstream.reset()
    upstream.play(*[sse([{"candidates": [malformed]}])] * 3)
    reply = chat(gateway.port, stream=True)
    assert (reply.status, reply.error["code"]) == (500, "upstream_malformed_call")
    assert "print(x)" in reply.error["message"]
    assert len(upstream.requests) == 2


def test_an_empty_stop_is_tried_once_more_and_then_honest(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start()
    empty = sse([{"candidates": [{"finishReason": "STOP", "index": 0}]}])
    upstream.play(empty, GOOD)
    assert chat(gateway.port).text == "Hello"
    upstream.reset()
    upstream.play(empty, empty, empty)
    reply = chat(gateway.port)
    assert (reply.status, reply.json["choices"][0]["finish_reason"]) == (200, "stop")
    assert reply.json["choices"][0]["message"]["content"] == ""
    assert len(upstream.requests) == 2


def test_a_refused_default_is_dropped_and_a_wish_is_not(world: World) -> None:
    refused = error(
        400, "Unable to submit request because it has a topK value of 50 but the supported range is 1 to 41."
    )
    model = "gemini-2.5-flash"
    world.upstream.play(refused, GOOD)
    assert chat(world.gateway.port, model=model).status == 200
    assert [r.json["generationConfig"].get("topK") for r in world.upstream.requests] == [50, None]
    world.upstream.play(error(400, "topK value of 60 is out of range"))
    assert chat(world.gateway.port, model=model, top_k=60).status == 400


def test_a_lost_signature_is_repaired_once(world: World) -> None:
    missing = error(400, "Function call is missing a thought_signature in functionCall parts.")
    world.upstream.play(missing, GOOD)
    messages = [
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    assert chat(world.gateway.port, messages=messages, model="some-model").status == 200
    parts = world.upstream.requests[1].json["contents"][1]["parts"]
    assert parts[0]["thoughtSignature"] == "skip_thought_signature_validator"


def test_a_corrupted_signature_is_dropped_once(world: World) -> None:
    world.upstream.play(error(400, "Corrupted thought signature."), GOOD)
    signed = {"google": {"thought_signature": "b2xk"}}
    made = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": signed}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    assert chat(world.gateway.port, messages=messages, model="gemini-3.8-flash").status == 200
    sent = [r.json["contents"][1]["parts"][0]["thoughtSignature"] for r in world.upstream.requests]
    assert sent == ["b2xk", "skip_thought_signature_validator"]


def test_no_upstream_tells_how_to_add_one() -> None:
    with GatewayProcess() as gateway:
        reply = chat(gateway.port)
        assert reply.status in (500, 503)
        assert "GEMINI_API_KEY" in reply.error["message"]
        assert "GEMINI_API_KEY" in gateway.stderr


def test_a_dead_address_is_a_quick_failure(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(cooldown="off")
    upstream.stop()
    began = time.monotonic()
    reply = chat(gateway.port)
    assert (reply.status, reply.error["type"]) == (500, "server_error")
    assert time.monotonic() - began < 8


def test_a_kept_connection_that_died_is_replaced_unseen(world: World) -> None:
    world.upstream.play(plain({"candidates": parts_event({"text": "one"}, finish="STOP")["candidates"]}))
    chat(world.gateway.port)
    world.upstream.play(Answer(framing="raw", steps=(Close(),)), GOOD)
    assert chat(world.gateway.port).text == "Hello"


@pytest.mark.parametrize(("setting", "stream"), [("timeout_first_event", True), ("timeout_total", False)])
def test_an_upstream_that_stays_silent(start: Start, upstream: ScriptedUpstream, setting: str, stream: bool) -> None:
    gateway = start(max_attempts=1, **{setting: 0.2})
    upstream.play(Answer(first=(Hang(),)))
    began = time.monotonic()
    reply = chat(gateway.port, stream=stream)
    assert (reply.status, reply.error["code"]) == (500, "upstream_timeout")
    assert time.monotonic() - began < 5
    assert upstream.requests[0].gone.wait(3)

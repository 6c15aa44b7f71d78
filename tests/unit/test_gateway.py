"""The order of steps of one request: what is tried again, where and with what change, and what two upstreams share."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from antigravity2api.dialects.base import Origin
from antigravity2api.dialects.chat import ChatDialect
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gateway import Gateway, Timing, Trace
from antigravity2api.gemini.signature import ESCAPE, Signed, call_key
from antigravity2api.job import Job
from antigravity2api.pool import RetryBudget
from fakes.bench import Bench, said
from fakes.chat_answer import PNG, SIGNATURE, check_answer, chunks, event, frames, joined, make_box, text, tool
from fakes.transport import FakeResponder, FakeTransport, Play, events, refusal
from fakes.upstream import reason_info, usage_of

GOOD = events(event(text("Hel")), event(text("lo"), finish="STOP", usage=usage_of(9, 2)))
ENVELOPED = events(
    {"response": event(text("Hel"))}, {"response": event(text("lo"), finish="STOP", usage=usage_of(9, 2))}
)
OVERLOADED = refusal(503, "The model is overloaded.")
NOT_FOUND = refusal(404, "models/x is not found for API version v1beta.")
REFUSED = refusal(401, "Request had invalid credentials.")
BAD_KEY = refusal(400, "API key not valid. Please pass a valid API key.", details=[reason_info("API_KEY_INVALID")])
NO_TOP_K = refusal(
    400, "Unable to submit request because it has a topK value of 50 but the supported range is 1 to 41."
)
OTHER_SIGNATURE = "QU5PVEhFUi1TSUdOQVRVUkU="


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause before another attempt is random; here it is as good as none."""
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.001)


# -- another attempt ---------------------------------------------------------------------------------------------------

NO_ROOM = refusal(429, "No capacity available for model x.", details=[reason_info("MODEL_CAPACITY_EXHAUSTED")])
FAILURES = {
    "429": refusal(429, "slow down"),
    "503": OVERLOADED,
    "500": refusal(500, "internal"),
    "403": refusal(403, "disabled", details=[reason_info("SERVICE_DISABLED")]),
    "401": REFUSED,
    "bad key": BAD_KEY,
    "error event": events({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
    "unreachable": Play(status=0, fault=Fault(Kind.UNREACHABLE, "refused", retry=Retry.SAME)),
    "no json": Play(pieces=(b"data: {\r\n\r\n",)),
    "empty": events(event(finish="STOP")),
    "malformed call": events(event(finish="MALFORMED_FUNCTION_CALL")),
    "cut before anything": events({"usageMetadata": usage_of(9, 0)}),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("first", FAILURES.values(), ids=FAILURES)
async def test_another_credential_is_tried_before_the_first_byte(first: Play, stream: bool) -> None:
    bench = Bench(keys=2)
    bench.play(first, GOOD)
    answer = await bench.ask(stream=stream)
    assert answer.status == 200
    if stream:
        assert joined(chunks(answer.data))[0]["message"]["content"] == "Hello"
    else:
        assert said(answer) == "Hello"
    assert {each.header("x-goog-api-key") for each in bench.transport.sent} == {"secret-1", "secret-2"}
    assert bench.trace.attempts == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_without_room_is_asked_once_more_with_the_same_credential(stream: bool) -> None:
    bench = Bench(keys=3)
    bench.play(NO_ROOM, NO_ROOM, GOOD)
    assert (await bench.ask(stream=stream)).status == 200
    first, second, third = (each.header("x-goog-api-key") for each in bench.transport.sent)
    assert first == second != third


async def test_who_was_refused_before_an_overload_is_not_asked_again() -> None:
    bench = Bench(keys=2)
    bench.play(BAD_KEY, OVERLOADED, GOOD)
    assert (await bench.ask()).status == 200
    first, second, third = (each.header("x-goog-api-key") for each in bench.transport.sent)
    assert second == third != first


async def test_nothing_is_tried_again_after_the_first_byte() -> None:
    bench = Bench(keys=2)
    bench.play(events(event(text("Hel")), {"error": {"code": 503, "message": "overloaded"}}), GOOD)
    answer = await bench.ask(stream=True)
    *begun, failed = frames(answer.data)
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in begun) == "Hel"
    assert failed["error"]["code"] == "upstream_overloaded"
    assert bench.trace.attempts == len(bench.transport.sent) == 1
    assert bench.trace.fault is not None


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_attempts_are_bounded(attempts: int) -> None:
    bench = Bench(keys=6, attempts=attempts)
    bench.play(*[REFUSED] * 6)
    assert (await bench.fault()).kind is Kind.CREDENTIAL
    assert len(bench.transport.sent) == attempts


@pytest.mark.parametrize("stream", [False, True])
async def test_a_spent_budget_means_no_retry_and_requests_earn_new_ones(stream: bool) -> None:
    bench = Bench()
    budget = RetryBudget(clock=lambda: 0.0, share=0.25)
    bench.gateway._budgets["gemini"] = budget
    while budget.spend():
        pass
    for _ in range(3):
        bench.play(OVERLOADED)
        assert (await bench.fault(stream=stream)).kind is Kind.OVERLOADED
    assert len(bench.transport.sent) == 3, "one attempt each"
    bench.play(OVERLOADED, GOOD)
    assert (await bench.ask(stream=stream)).status == 200, "four requests earned one retry"
    bench.play(OVERLOADED)
    await bench.fault(stream=stream)
    assert len(bench.transport.sent) == 6


async def test_a_repair_needs_no_budget() -> None:
    bench = Bench()
    bench.gateway._budgets["gemini"] = RetryBudget(clock=lambda: 0.0, share=0.0, always_per_second=0.0)
    bench.play(NO_TOP_K, GOOD)
    assert (await bench.ask()).status == 200


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_the_total_limit_holds_during_a_back_off(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.05)
    bench = Bench(total=0.03)
    bench.play(OVERLOADED, GOOD)
    fault = await bench.fault(stream=stream)
    assert (fault.kind, fault.code) == (Kind.UPSTREAM_TIMEOUT, "upstream_timeout")
    assert len(bench.transport.sent) == 1


@pytest.mark.parametrize("limit", ["first_event", "gap", "total"])
async def test_a_silent_upstream_is_given_up(limit: str) -> None:
    bench = Bench(attempts=1, **{limit: 0.03})
    bench.play(events(event(text("Hel")), silent=True) if limit == "gap" else Play(silent=True))
    if limit == "gap":
        answer = await bench.ask(stream=True)
        assert frames(answer.data)[-1]["error"]["code"] == "upstream_timeout"
    else:
        assert (await bench.fault(stream=True)).code == "upstream_timeout"
    assert bench.transport.sent[0].closed


async def test_a_heartbeat_keeps_the_client_and_still_allows_another_attempt() -> None:
    bench = Bench(heartbeat=0.01, first_event=0.05)
    bench.play(Play(silent=True), GOOD)
    answer = await bench.ask(stream=True)
    assert answer.data.startswith(b": ")
    beats, _, rest = answer.data.partition(b"data: ")
    assert beats.strip(b"\n").startswith(b":")
    assert joined(chunks(b"data: " + rest))[0]["message"]["content"] == "Hello"
    assert len(bench.transport.sent) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_request_closes_the_exchange_and_says_goodbye(stream: bool) -> None:
    bench = Bench()
    bench.play(events(event(text("Hel")), silent=True))
    responder = FakeResponder()
    going = asyncio.create_task(bench.ask(responder, stream=stream))
    await (responder.begun if stream else bench.transport.opened).wait()
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert bench.transport.sent[0].closed
    assert bench.gateway.routes[0].pool._seats[0].running == 0
    assert responder.ended, "a client that is still there hears that the gateway stops"
    failed = frames(responder.data)[-1] if stream else responder.json
    assert failed["error"]["code"] == "shutting_down"
    assert responder.on_resume is None


async def test_a_slow_client_holds_the_upstream_back() -> None:
    bench = Bench(gap=0.02)
    bench.play(GOOD)
    responder = FakeResponder()
    responder.slow = True
    going = asyncio.create_task(bench.ask(responder, stream=True))
    await responder.begun.wait()
    (played,) = bench.transport.sent
    assert played.paused
    await asyncio.sleep(0.06)  # well past the gap: waiting for the client is not the upstream's silence
    assert not going.done()
    responder.catch_up()
    await going
    assert joined(chunks(responder.data))[0]["message"]["content"] == "Hello"


# -- lessons -----------------------------------------------------------------------------------------------------------


def top_ks(bench: Bench) -> list[Any]:
    return [sent["generationConfig"].get("topK") for sent in bench.sent]


async def test_what_a_refusal_taught_is_remembered_for_the_model() -> None:
    bench = Bench()
    bench.play(NO_TOP_K, GOOD)
    first = await bench.ask()
    assert top_ks(bench) == [50, None]
    assert "topK:default dropped" in first.headers["x-antigravity2api-applied"]
    bench.play(GOOD, GOOD)
    again = await bench.ask(stream=True)
    assert top_ks(bench)[2:] == [None], "it does not fail first another time"
    assert "topK:default dropped" in again.headers["x-antigravity2api-applied"]
    await bench.ask(model="gemini-2.5-pro")
    assert top_ks(bench)[3:] == [50], "another model"


async def test_a_clients_own_value_is_sent_whatever_was_learned() -> None:
    bench = Bench()
    bench.play(NO_TOP_K, GOOD, GOOD)
    await bench.ask()
    await bench.ask(top_k=40)
    assert top_ks(bench) == [50, None, 40]


async def test_a_repair_that_did_not_help_teaches_nothing() -> None:
    bench = Bench()
    bench.play(NO_TOP_K, refusal(400, "Invalid value at 'contents[0]'"))
    assert (await bench.fault()).kind is Kind.INVALID_REQUEST
    bench.play(GOOD)
    await bench.ask()
    assert top_ks(bench) == [50, None, 50]


async def test_a_simpler_schema_form_is_remembered() -> None:
    bench = Bench()
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}]
    bench.play(refusal(400, "Unknown name \"parametersJsonSchema\" at 'tools[0].function_declarations[0]'"), GOOD, GOOD)
    await bench.ask(tools=tools)
    await bench.ask(tools=tools)
    declared = [sent["tools"][0]["functionDeclarations"][0] for sent in bench.sent]
    assert ["parametersJsonSchema" in each for each in declared] == [True, False, False]
    assert all("parameters" in each for each in declared[1:])


async def test_a_lesson_of_one_upstream_is_not_the_others() -> None:
    bench = Bench(second=True)
    bench.play(NO_TOP_K, GOOD, NOT_FOUND)
    bench.play(ENVELOPED, host="antigravity")
    await bench.ask(model="gemini-3-flash-preview")
    await bench.ask(model="gemini-3-flash-preview")
    assert top_ks(bench) == [50, None, None, 50]
    assert bench.transport.hosts() == ["gemini"] * 3 + ["antigravity"]


async def test_what_helped_before_a_move_teaches_nothing_about_the_other_upstream() -> None:
    bench = Bench(second=True)
    bench.play(NO_TOP_K, NOT_FOUND)
    bench.play(ENVELOPED, host="antigravity")
    await bench.ask(model="gemini-3-flash-preview")
    assert top_ks(bench) == [50, None, 50]
    assert bench.gateway.learned.lessons("antigravity", "gemini-3-flash-preview") == ()


# -- two upstreams -----------------------------------------------------------------------------------------------------

MOVES = {"404": [NOT_FOUND], "401": [REFUSED, REFUSED], "bad key": [BAD_KEY], "region": [
    refusal(400, "User location is not supported for the API use.", "FAILED_PRECONDITION")
]}  # fmt: skip


def history(identity: str = "c1", signature: str | None = SIGNATURE, **message: Any) -> list[Any]:
    """A turn that waits for the model's answer to a tool result."""
    call: dict[str, Any] = {"id": identity, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    if signature is not None:
        call["extra_content"] = {"google": {"thought_signature": signature}}
    return [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call], **message},
        {"role": "tool", "tool_call_id": identity, "content": "done"},
    ]


def signatures(request: Any) -> list[str]:
    """Every signature in a request, wherever it stands."""
    parts = itertools.chain.from_iterable(content["parts"] for content in request["contents"])
    return [part["thoughtSignature"] for part in parts if "thoughtSignature" in part]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("first", MOVES.values(), ids=MOVES)
async def test_the_second_upstream_serves_what_the_first_cannot(first: list[Play], stream: bool) -> None:
    bench = Bench(second=True)
    bench.play(*first)
    bench.play(ENVELOPED, host="antigravity")
    answer = await bench.ask(model="gemini-3-flash-preview", stream=stream)
    assert bench.transport.hosts() == ["gemini"] * len(first) + ["antigravity"]
    assert (bench.trace.upstream, bench.trace.credential) == ("antigravity", "antigravity-1")
    assert b"secret-1" not in bench.transport.sent[-1].request.body
    if stream:
        assert joined(chunks(answer.data))[0]["message"]["content"] == "Hello"
    else:
        assert said(answer) == "Hello"


async def test_the_last_upstreams_refusal_is_the_answer() -> None:
    bench = Bench(second=True)
    bench.play(NOT_FOUND)
    bench.play(refusal(429, "You exceeded your current quota."), host="antigravity")
    fault = await bench.fault(model="gemini-3-flash-preview")
    assert fault.kind is Kind.RATE_LIMITED
    assert fault.retry_after is not None and fault.retry_after >= 1


async def test_a_model_that_only_one_upstream_has_stays_there() -> None:
    bench = Bench(second=True)
    bench.play(NOT_FOUND)
    assert (await bench.fault(model="gemini-2.5-flash")).kind is Kind.MODEL_NOT_FOUND
    bench.play(ENVELOPED, host="antigravity")
    await bench.ask(model="claude-sonnet-4-6")
    assert bench.transport.hosts() == ["gemini", "antigravity"]


REASONED = {"reasoning_details": [{"type": "reasoning.encrypted", "format": "google-gemini-v1", "data": SIGNATURE}]}
BODIES: dict[str, Callable[[], list[Any]]] = {
    "extra_content": history,
    "reasoning_details": lambda: history(signature=None, **REASONED),
    "memory alone": lambda: history(signature=None),
}


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
@pytest.mark.parametrize("first", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_signature_of_the_first_upstream_never_reaches_the_second(
    body: Callable[[], list[Any]], first: list[Play], stored: bool
) -> None:
    bench = Bench(second=True)
    if stored:
        bench.box.signatures.put(call_key("c1"), Signed(SIGNATURE, "gemini-3", "gemini"))
    bench.play(*first)
    bench.play(ENVELOPED, host="antigravity")
    await bench.ask(model="gemini-3-flash-preview", messages=body())
    *before, after = bench.sent
    if stored or body is not BODIES["memory alone"]:
        assert all(signatures(each) == [SIGNATURE] for each in before)
    assert signatures(after) == [ESCAPE]
    assert SIGNATURE.encode() not in bench.transport.sent[-1].request.body


async def test_a_signature_goes_home_and_nowhere_else() -> None:
    bench = Bench(second=True)
    model = "gemini-3-flash-preview"

    async def called(*answers: Play, host: str, **body: Any) -> str:
        bench.play(*answers, host=host)
        answer = await bench.ask(model=model, **body)
        return answer.json["choices"][0]["message"]["tool_calls"][0]["id"]

    ours = await called(events(event(tool("f", {}, SIGNATURE), finish="STOP")), host="gemini")
    bench.play(NOT_FOUND)
    enveloped = events({"response": event(tool("f", {}, OTHER_SIGNATURE), finish="STOP")})
    theirs = await called(enveloped, host="antigravity", messages=[{"role": "user", "content": "other"}])
    sent = len(bench.sent)
    bench.play(GOOD, GOOD)
    await bench.ask(model=model, messages=history(ours))
    await bench.ask(model=model, messages=history(theirs, OTHER_SIGNATURE))
    assert [signatures(each) for each in bench.sent[sent:]] == [[SIGNATURE], [ESCAPE]]
    bench.play(NOT_FOUND)
    bench.play(ENVELOPED, host="antigravity")
    await bench.ask(model=model, messages=history(theirs, OTHER_SIGNATURE))
    assert [signatures(each) for each in bench.sent[-2:]] == [[ESCAPE], [OTHER_SIGNATURE]]


# -- n answers ---------------------------------------------------------------------------------------------------------

ALONE = "gemini-3-flash-preview"
"""A model without ``candidateCount``."""


def one(words: str, tokens: int, finish: str = "STOP") -> Play:
    first, last = words[:2], words[2:]
    return events(event(text(first)), event(text(last), finish=finish, usage=usage_of(9, tokens)))


async def test_two_answers_of_a_model_that_gives_one_whole() -> None:
    bench = Bench()
    bench.play(one("first", 3), one("second", 4))
    answer = await bench.ask(model=ALONE, n=2)
    check_answer(answer.json)
    told = {choice["index"]: choice["message"]["content"] for choice in answer.json["choices"]}
    assert sorted(told) == [0, 1]
    assert sorted(told.values()) == ["first", "second"]
    usage = answer.json["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (9, 7, 16)
    assert all("candidateCount" not in sent.get("generationConfig", {}) for sent in bench.sent)
    assert len(bench.sent) == bench.trace.attempts == 2


async def test_two_answers_of_a_model_that_gives_one_streamed() -> None:
    bench = Bench()
    bench.play(one("first", 3), one("second", 4, "MAX_TOKENS"))
    answer = await bench.ask(model=ALONE, n=2, stream=True, stream_options={"include_usage": True})
    found = chunks(answer.data)
    choices = joined(found)
    assert {index: choice["message"]["content"] for index, choice in choices.items()} == {0: "first", 1: "second"}
    assert {index: choice["finish_reason"] for index, choice in choices.items()} == {0: "stop", 1: "length"}
    (usage,) = [chunk["usage"] for chunk in found if chunk.get("usage")]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (9, 7, 16)
    assert found[-1]["choices"] == [] and found[-1]["usage"] == usage


async def test_two_answers_of_a_model_that_gives_several_are_one_request() -> None:
    bench = Bench()
    both = [event(text("first"), finish="STOP", index=0), event(text("second"), finish="STOP", index=1)]
    bench.play(events(*both, {"usageMetadata": usage_of(9, 7)}))
    answer = await bench.ask(n=2)
    assert [choice["message"]["content"] for choice in answer.json["choices"]] == ["first", "second"]
    assert [sent["generationConfig"]["candidateCount"] for sent in bench.sent] == [2]
    assert answer.json["usage"]["total_tokens"] == 16


@pytest.mark.parametrize("stream", [False, True])
async def test_one_of_two_answers_is_tried_again_by_itself(stream: bool) -> None:
    bench = Bench(keys=2)
    bench.play(one("first", 3), OVERLOADED, one("second", 4))
    answer = await bench.ask(model=ALONE, n=2, stream=stream)
    found = joined(chunks(answer.data)) if stream else {each["index"]: each for each in answer.json["choices"]}
    assert sorted(choice["message"]["content"] for choice in found.values()) == ["first", "second"]
    assert len(bench.sent) == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_when_one_of_two_answers_fails_the_whole_does(stream: bool) -> None:
    bench = Bench(attempts=1)
    bench.play(events(event(text("begun")), silent=True), OVERLOADED)
    if stream:
        answer = await bench.ask(model=ALONE, n=2, stream=True)
        assert frames(answer.data)[-1]["error"]["code"] == "upstream_overloaded"
    else:
        assert (await bench.fault(model=ALONE, n=2)).kind is Kind.OVERLOADED
    assert bench.transport.sent[0].closed, "nobody waits for the other one"


# -- no upstream, no credential ----------------------------------------------------------------------------------------


async def test_an_only_credential_is_asked_though_it_was_refused() -> None:
    bench = Bench()
    bench.play(BAD_KEY)
    assert (await bench.fault()).kind is Kind.CREDENTIAL
    bench.play(GOOD)
    assert said(await bench.ask()) == "Hello"


async def test_without_an_upstream_the_words_tell_what_to_do() -> None:
    gateway = Gateway([], FakeTransport(), make_box(), timing=Timing())
    responder, trace = FakeResponder(), Trace()
    Job(gateway, ChatDialect(), Origin("http://x"), responder, trace).begin(b"{}")
    assert responder.over.is_set()
    assert "GEMINI_API_KEY" in responder.json["error"]["message"]
    assert trace.fault is not None
    assert trace.fault.kind is Kind.CREDENTIAL


async def test_images_are_fetched_before_the_body_is_read() -> None:
    asked: list[bytes] = []

    async def prefetch(body: bytes | bytearray) -> bytes:
        asked.append(bytes(body))
        return bytes(body).replace(b"http://picture", f"data:image/png;base64,{PNG}".encode())

    bench = Bench()
    bench.gateway.prefetch = prefetch
    bench.play(GOOD)
    image = {"type": "image_url", "image_url": {"url": "http://picture"}}
    await bench.ask(messages=[{"role": "user", "content": [image]}])
    assert len(asked) == 1
    assert PNG in orjson.dumps(bench.sent[0]).decode()


# -- answers in several pieces -----------------------------------------------------------------------------------------


def piece(words: str, finish: str | None = None, token: str | None = None, **more: Any) -> dict[str, Any]:
    made = event(text(words), finish=finish, **more) if words else event(finish=finish, **more)
    if token:
        made["candidates"][0]["continuationToken"] = token
    return made


async def told(bench: Bench, **body: Any) -> tuple[str, str]:
    """The answer's text and how it ended."""
    answer = await bench.ask(**body)
    if not body.get("stream"):
        choice = answer.json["choices"][0]
        return choice["message"]["content"], choice["finish_reason"]
    choice = joined(chunks(answer.data))[0]
    return choice["message"]["content"], choice["finish_reason"]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_pieces_of_a_long_answer_are_one_answer(stream: bool) -> None:
    bench = Bench()
    bench.play(
        events(piece("One. ", "CONTINUATION", "a", usage=usage_of(9, 2))),
        events(piece("Two. "), piece("", "CONTINUATION", "b", usage=usage_of(9, 3))),
        events(piece("Three.", "STOP", usage=usage_of(9, 4))),
    )
    assert await told(bench, stream=stream) == ("One. Two. Three.", "stop")
    assert [each.get("continuationToken") for each in bench.sent] == [None, "a", "b"]
    assert "continued:3" in bench.trace.applied
    assert bench.trace.usage["candidatesTokenCount"] == 9


@pytest.mark.parametrize("stream", [False, True])
async def test_a_piece_may_fail_and_is_tried_again(stream: bool) -> None:
    bench = Bench()
    bench.play(
        events(piece("One. ", "CONTINUATION", "a")), OVERLOADED, events(piece("Two.", "STOP", usage=usage_of(9, 4)))
    )
    assert await told(bench, stream=stream) == ("One. Two.", "stop")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_broken_stream_is_taken_up_at_its_checkpoint(stream: bool) -> None:
    bench = Bench()
    broken = events(piece("Once ", token="a"), piece("upon "))
    bench.play(
        Play(pieces=broken.pieces, fault=Fault(Kind.TRUNCATED, "cut", retry=Retry.SAME)),
        events(piece("upon a "), piece("time.", "STOP", usage=usage_of(9, 4))),
    )
    assert await told(bench, stream=stream) == ("Once upon a time.", "stop")
    assert "resumed:1" in bench.trace.applied


async def test_a_token_that_leads_nowhere_ends_the_answer_by_length() -> None:
    bench = Bench()
    bench.play(*[events(piece("More. ", "CONTINUATION", "a"))] * 2)
    assert await told(bench, stream=True) == ("More. More. ", "length")


async def test_an_upstream_without_pieces_ends_by_length() -> None:
    bench = Bench(second=True)
    bench.play(NOT_FOUND)
    bench.play(events({"response": piece("One. ", "CONTINUATION", "a")}), host="antigravity")
    assert await told(bench, model="gemini-3-flash-preview") == ("One. ", "length")

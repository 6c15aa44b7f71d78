"""Error answers in every shape seen → kind, retry advice, wait, reason, parameter, sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.upstreams.errors import classify, fault_from_event, parse_duration, read_error, spent
from antigravity2api.upstreams.params import guess_param

RPC = "type.googleapis.com/google.rpc."


def google(code: int, message: str, status: str = "INVALID_ARGUMENT", *details: dict) -> bytes:
    error = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return json.dumps({"error": error}).encode()


def info(reason: str, **metadata: str) -> dict:
    return {"@type": RPC + "ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def retry(delay: object) -> dict:
    return {"@type": RPC + "RetryInfo", "retryDelay": delay}


def quota(*ids: str) -> dict:
    return {"@type": RPC + "QuotaFailure", "violations": [{"quotaId": quota_id} for quota_id in ids]}


def judged(status: int, body: bytes, headers: dict[str, str] | None = None) -> Fault:
    fault = classify(status, headers or {}, body)
    assert fault.upstream_status == status
    assert str(fault) == fault.message != ""
    return fault


KINDS = [
    (400, google(400, "Request contains an invalid argument."), Kind.INVALID_REQUEST, Retry.NEVER),
    (422, b"{}", Kind.INVALID_REQUEST, Retry.NEVER),
    (400, google(400, "x", "INVALID_ARGUMENT", info("API_KEY_INVALID")), Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (400, google(400, "API key not valid. Please pass a valid one."), Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (400, google(400, "API key expired. Please renew the API key."), Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (400, google(400, "x", "UNAUTHENTICATED"), Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (
        400,
        google(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"),
        Kind.CREDENTIAL,
        Retry.OTHER_CREDENTIAL,
    ),
    (400, google(400, "Please enable billing.", "FAILED_PRECONDITION"), Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (400, google(400, "The file is not ACTIVE.", "FAILED_PRECONDITION"), Kind.INVALID_REQUEST, Retry.NEVER),
    (401, google(401, "no", "UNAUTHENTICATED"), Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (401, b"", Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (402, b"pay", Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (403, google(403, "no", "PERMISSION_DENIED", info("SERVICE_DISABLED")), Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (403, b"<html><title>Forbidden</title>", Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL),
    (
        403,
        google(403, "q", "PERMISSION_DENIED", info("RATE_LIMIT_EXCEEDED")),
        Kind.RATE_LIMITED,
        Retry.OTHER_CREDENTIAL,
    ),
    (404, google(404, "models/x is not found", "NOT_FOUND"), Kind.MODEL_NOT_FOUND, Retry.OTHER_UPSTREAM),
    (404, b"", Kind.MODEL_NOT_FOUND, Retry.OTHER_UPSTREAM),
    (404, google(404, "CachedContent not found", "NOT_FOUND"), Kind.INVALID_REQUEST, Retry.NEVER),
    (413, b"<html>too large</html>", Kind.TOO_LARGE, Retry.NEVER),
    (400, google(400, "Request payload size exceeds the limit: 20971520 bytes."), Kind.TOO_LARGE, Retry.NEVER),
    (429, google(429, "Resource exhausted.", "RESOURCE_EXHAUSTED"), Kind.RATE_LIMITED, Retry.OTHER_CREDENTIAL),
    (429, b"<html>slow down", Kind.RATE_LIMITED, Retry.OTHER_CREDENTIAL),
    (
        429,
        google(429, "x", "RESOURCE_EXHAUSTED", info("MODEL_CAPACITY_EXHAUSTED")),
        Kind.OVERLOADED,
        Retry.SAME,
    ),
    (499, b"", Kind.UPSTREAM_ERROR, Retry.SAME),
    (500, google(500, "An internal error has occurred.", "INTERNAL"), Kind.UPSTREAM_ERROR, Retry.SAME),
    (502, b"<html>", Kind.UPSTREAM_ERROR, Retry.SAME),
    (501, b"", Kind.UPSTREAM_ERROR, Retry.OTHER_UPSTREAM),
    (503, google(503, "The model is overloaded.", "UNAVAILABLE"), Kind.OVERLOADED, Retry.SAME),
    (529, b"", Kind.OVERLOADED, Retry.SAME),
    (504, google(504, "Deadline expired.", "DEADLINE_EXCEEDED"), Kind.UPSTREAM_TIMEOUT, Retry.SAME),
    (408, b"", Kind.UPSTREAM_TIMEOUT, Retry.SAME),
    (302, b"", Kind.BAD_ANSWER, Retry.OTHER_UPSTREAM),
    (405, b"", Kind.BAD_ANSWER, Retry.OTHER_UPSTREAM),
    (204, b"", Kind.BAD_ANSWER, Retry.SAME),
]


@pytest.mark.parametrize(("status", "body", "kind", "advice"), KINDS)
def test_status_and_reason_decide(status, body, kind, advice):
    fault = judged(status, body)
    assert (fault.kind, fault.retry) == (kind, advice)


@pytest.mark.parametrize(
    "message",
    [
        "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576).",
        "The input token count exceeds the maximum number of tokens allowed 1048576",
        "prompt is too long: 250000 tokens > 200000 maximum",
        "Input is too long for requested model.",
        "The prompt (2000000 tokens) is larger than the model's context window.",
        "This request has too many tokens.",
        "Request exceeds the maximum context length of 1048576.",
        "The total number of tokens in the request is more than the limit of 32768.",
    ],
)
def test_a_context_that_is_too_long_is_recognised_by_any_wording(message):
    fault = judged(400, google(400, message))
    assert (fault.kind, fault.param, fault.code) == (Kind.CONTEXT_LENGTH, "messages", "context_length_exceeded")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens", "max_tokens"),
        ("a maxOutputTokens value of 100000 but the supported range is from 1 to 65536", "max_tokens"),
        ("The thinking budget 99999 exceeds the maximum of 32768 tokens.", "reasoning_effort"),
        ("Thinking level MINIMAL is not supported for this model.", "reasoning_effort"),
        ("Invalid value at 'generation_config.top_k' (TYPE_INT32), \"x\"", "top_k"),
        ("Unable to submit request because it has a topP value of 3", "top_p"),
        ("it has a temperature value of 1000 but the supported range is from 0", "temperature"),
        ("Please use a valid role: user, model.", "messages"),
        ("Please ensure that function call turn comes immediately after a user turn", "messages"),
        ("Corrupted thought signature.", "messages"),
        ("Function call is missing a thought_signature in functionCall parts. Required for tools.", "messages"),
        ("messages.13.content.0.type: Expected `thinking`, but found `text`", "messages"),
        ("Unknown name \"$schema\" at 'tools[0].function_declarations[0].parameters'", "tools"),
        ("GenerateContentRequest.generation_config.response_schema: bad", "response_format"),
        ("Multiple candidates is not enabled for this model", "n"),
        ("Penalty is not enabled for presence_penalty", "presence_penalty"),
        ("Unsupported MIME type: image/tiff", "messages"),
        ("Request contains an invalid argument.", None),
        ('Invalid JSON payload received. Unknown name "foo": Cannot find field.', None),
    ],
)
def test_the_parameter_is_guessed_in_the_clients_words(message, param):
    fault = judged(400, google(400, message))
    assert fault.kind is Kind.INVALID_REQUEST
    assert fault.param == param


def test_a_field_violation_beats_the_text():
    detail = {"@type": RPC + "BadRequest", "fieldViolations": [{"field": "generation_config.stop_sequences"}]}
    assert judged(400, google(400, "temperature", "INVALID_ARGUMENT", detail)).param == "stop"
    assert guess_param(["contents[1].parts[0].inline_data.data"], "") == "messages"
    assert guess_param(["nothing.known"], "") is None


@pytest.mark.parametrize(
    ("details", "headers", "message", "seconds"),
    [
        ([retry("34.07s")], {}, "x", 34.07),
        ([retry("900ms")], {"retry-after": "5"}, "x", 0.9),
        ([retry({"seconds": "3", "nanos": 500000000})], {}, "x", 3.5),
        ([info("QUOTA_EXHAUSTED", quotaResetDelay="1h43m56s")], {}, "x", 6236.0),
        ([info("X", quotaResetDelay="479.4ms"), retry("0.5s")], {}, "x", 0.5),
        (
            [info("X", quotaResetTimeStamp="2026-11-20T09:20:49Z")],
            {"date": "Fri, 20 Nov 2026 09:19:49 GMT"},
            "x",
            60.0,
        ),
        ([], {"retry-after": "7"}, "x", 7.0),
        ([], {"retry-after": "Fri, 20 Nov 2026 11:03:45 GMT", "date": "Fri, 20 Nov 2026 11:03:40 GMT"}, "x", 5.0),
        ([], {"retry-after": "Fri, 20 Nov 2026 11:03:45 GMT"}, "x", None),
        ([], {"retry-after": "soon"}, "x", None),
        ([], {}, "Please retry in 17.2s.", 17.2),
        ([], {}, "Please retry in 830ms.", 0.83),
        ([], {}, "Your quota will reset after 1h43m56s.", 6236.0),
        ([], {}, "Please try again in 20 seconds.", 20.0),
        ([], {}, "Try again in about 2 minutes", 120.0),
        ([quota("GenerateRequestsPerMinutePerProjectPerModel")], {}, "x", 60.0),
        ([quota("GenerateRequestsPerMinutePerProjectPerModel"), retry("3s")], {}, "x", 3.0),
        ([retry("rubbish")], {}, "x", None),
        ([retry("-5s")], {}, "x", None),
        ([], {}, "x", None),
    ],
)
def test_the_wait_is_found_wherever_it_is_named(details, headers, message, seconds):
    fault = judged(429, google(429, message, "RESOURCE_EXHAUSTED", *details), headers)
    assert fault.retry_after == seconds if seconds is None else fault.retry_after == pytest.approx(seconds)


def test_a_wait_is_kept_for_an_overload_too():
    assert judged(503, google(503, "x", "UNAVAILABLE", retry("2s"))).retry_after == 2.0
    assert judged(503, b"", {"retry-after": "4"}).retry_after == 4.0


@pytest.mark.parametrize(
    ("details", "message", "gone"),
    [
        ([quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), retry("17s")], "x", True),
        ([info("RATE_LIMIT_EXCEEDED"), quota("TokensPerDay")], "x", True),
        ([info("QUOTA_EXHAUSTED")], "x", True),
        ([info("INSUFFICIENT_G1_CREDITS_BALANCE")], "x", True),
        ([], "Quota exceeded for metric: y, limit: 0, model: z", True),
        ([], "Quota exceeded for metric: y, limit: 0.5, model: z", False),
        ([quota("GenerateRequestsPerMinutePerProjectPerModel")], "x", False),
        ([info("RATE_LIMIT_EXCEEDED")], "exhausted your capacity", False),
        ([], "x", False),
    ],
)
def test_a_quota_that_is_gone_is_told_from_a_rate(details, message, gone):
    assert spent(judged(429, google(429, message, "RESOURCE_EXHAUSTED", *details))) is gone


NESTED = {"error": {"message": "the inner sentence", "status": "INVALID_ARGUMENT"}}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(NESTED),
        json.dumps([NESTED]),
        json.dumps([[NESTED]], indent=2),
        json.dumps({"error": {"code": 400, "message": json.dumps(NESTED)}}),
        json.dumps({"error": {"code": 400, "message": json.dumps([NESTED])}}),
        json.dumps({"error": {"message": "Backend said: " + json.dumps(NESTED)}}),
        json.dumps({"error": {"message": json.dumps({"type": "error", "error": {"message": "the inner sentence"}})}}),
        json.dumps({"message": "the inner sentence"}),
        json.dumps({"error": "the inner sentence"}),
        json.dumps({"error": "invalid_grant", "error_description": "the inner sentence"}),
        json.dumps({"detail": "the inner sentence"}),
        json.dumps(json.dumps(NESTED)),
        '{"error": {"message": "the inner sentence",\n ,"code": 400}}',
        '{"error": {"message": "the inner sentence", "code": 4',
        "the inner sentence",
        "<html><head><title>the inner sentence</title></head><body>x</body></html>",
        "<!doctype html><style>x{}</style><p>the inner <b>sentence</b></p>",
        "\ufeffthe inner sentence",
    ],
)
def test_the_sentence_is_found_in_any_wrapping(body):
    assert "the inner sentence" in " ".join(judged(400, body.encode()).message.split())


def test_ten_levels_are_unwrapped_and_endless_ones_end():
    body: object = {"error": {"message": "deep"}}
    for _ in range(9):
        body = {"error": {"message": json.dumps(body)}}
    assert judged(400, json.dumps(body).encode()).message == "deep"
    for _ in range(4):
        body = {"error": {"message": json.dumps(body)}}
    assert judged(400, json.dumps(body).encode()).kind is Kind.INVALID_REQUEST


def test_details_of_every_level_count():
    inner = {"error": {"code": 429, "message": "slow", "details": [retry("9s")]}}
    fault = judged(429, google(429, json.dumps(inner), "RESOURCE_EXHAUSTED", info("RATE_LIMIT_EXCEEDED")))
    assert (fault.message, fault.retry_after, fault.reason) == ("slow", 9.0, "RATE_LIMIT_EXCEEDED")


def test_nothing_at_all_still_gives_a_sentence():
    for status in (301, 400, 401, 404, 429, 500, 503):
        assert str(status) in judged(status, b" \n").message or "redirect" in judged(status, b"").message
    assert "web page" in judged(502, b"<html></html>").message


@pytest.mark.parametrize(
    ("event", "kind", "status"),
    [
        ({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}, Kind.OVERLOADED, 503),
        ({"error": {"message": "x", "status": "RESOURCE_EXHAUSTED"}}, Kind.RATE_LIMITED, 429),
        ({"error": {"code": "404", "message": "x"}}, Kind.MODEL_NOT_FOUND, 404),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, Kind.OVERLOADED, 529),
        ({"error": "boom"}, Kind.UPSTREAM_ERROR, 500),
        ({"error": {}}, Kind.UPSTREAM_ERROR, 500),
        ({"error": [1]}, Kind.UPSTREAM_ERROR, 500),
        ([{"error": {"code": 400, "message": "x"}}], Kind.INVALID_REQUEST, 400),
    ],
)
def test_an_error_inside_a_200_counts_by_its_own_code(event, kind, status):
    fault = fault_from_event(event)
    assert (fault.kind, fault.upstream_status) == (kind, status)


def test_the_sentence_is_masked_and_names_come_without_their_namespace():
    body = google(500, "default_api:get_weather failed in projects/my-proj at 10.0.0.7:80 with s3cret-key", "INTERNAL")
    fault = classify(500, {}, body, secrets=["s3cret-key"])
    assert fault.message == "get_weather failed in projects/*** at [host] with ***"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "details", "code", "status", "@type", "type", "metadata", "violations"]
            ),
            inner
            | st.sampled_from(
                [RPC + "RetryInfo", RPC + "ErrorInfo", RPC + "QuotaFailure", RPC + "Help", RPC + "BadRequest"]
            ),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(value=json_values, status=st.sampled_from([200, 204, 301, 400, 403, 404, 429, 500, 503]), cut=st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_any_body_gives_a_fault_with_words(value, status, cut):
    text = json.dumps(value).encode()
    for body in (text, text[cut:], b"[" + text):
        fault = classify(status, {"retry-after": str(cut), "date": "nonsense"}, body)
        assert fault.message
        assert 100 <= (fault.upstream_status or 0) <= 599
    fault_from_event(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("34.07s", 34.07),
        ("0s", 0.0),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("12", 12.0),
        (5, 5.0),
        ("9" * 12, 2678400.0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1x", "1s later", "x1s", None, True, [], float("nan"), "-1s"])
def test_what_is_no_duration(text):
    assert parse_duration(text) is None


def test_what_is_learned_beside_the_sentence():
    detail = {"@type": RPC + "Help", "links": [{"url": "https://a.example"}, {"description": "none"}, 3]}
    error = read_error(403, {}, google(403, "m", "PERMISSION_DENIED", detail, info("R", k="v")))
    assert (error.links, error.reason, error.metadata) == (["https://a.example"], "R", {"k": "v"})
    assert read_error(429, {}, google(429, "m", "RESOURCE_EXHAUSTED", quota("XPerDay"))).quota_ids == ["XPerDay"]

"""Faults in Chat Completions' words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antigravity2api.dialects.chat.errors import chat_error, error_object
from antigravity2api.errors import Fault, Kind

TABLE = {
    Kind.INVALID_REQUEST: (400, "invalid_request_error", None),
    Kind.CONTEXT_LENGTH: (400, "invalid_request_error", "context_length_exceeded"),
    Kind.UNAUTHORIZED: (401, "invalid_request_error", "invalid_api_key"),
    Kind.MODEL_NOT_ALLOWED: (403, "invalid_request_error", "model_not_allowed"),
    Kind.NOT_FOUND: (404, "invalid_request_error", "unknown_url"),
    Kind.METHOD_NOT_ALLOWED: (405, "invalid_request_error", None),
    Kind.MODEL_NOT_FOUND: (404, "invalid_request_error", "model_not_found"),
    Kind.REQUEST_TIMEOUT: (408, "timeout_error", "request_timeout"),
    Kind.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    Kind.UNSUPPORTED_MEDIA: (415, "invalid_request_error", None),
    Kind.CREDENTIAL: (500, "server_error", "no_upstream_credentials"),
    Kind.RATE_LIMITED: (429, "rate_limit_error", "rate_limit_exceeded"),
    Kind.UPSTREAM_ERROR: (500, "server_error", "upstream_error"),
    Kind.OVERLOADED: (500, "server_error", "upstream_overloaded"),
    Kind.UPSTREAM_TIMEOUT: (500, "server_error", "upstream_timeout"),
    Kind.UNREACHABLE: (500, "server_error", "upstream_error"),
    Kind.BAD_ANSWER: (500, "server_error", "upstream_error"),
    Kind.TRUNCATED: (500, "server_error", "upstream_stream_truncated"),
    Kind.MALFORMED_CALL: (500, "server_error", "upstream_malformed_call"),
    Kind.EMPTY: (500, "server_error", "empty_response"),
    Kind.UNAVAILABLE: (503, "server_error", "unavailable"),
    Kind.INTERNAL: (500, "server_error", "internal_error"),
}
GIVEN_UP = {kind for kind, row in TABLE.items() if row[0] == 500} - {Kind.INTERNAL}


def answer(fault: Fault) -> tuple[int, dict[str, str], dict[str, Any]]:
    status, headers, body = chat_error(fault)
    return status, {name.decode(): value.decode() for name, value in headers}, json.loads(body)["error"]


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_row(kind: Kind) -> None:
    status, headers, error = answer(Fault(kind, "What happened."))
    assert (status, error["type"], error["code"]) == TABLE[kind]
    assert headers["content-type"] == "application/json"
    assert error["message"].startswith("What happened.")
    assert set(error) == {"message", "type", "param", "code"}
    assert ("x-should-retry" in headers) == (kind in GIVEN_UP)
    assert ("retry-after" in headers) == (status in (429, 503))


def test_a_finer_code_and_the_field_at_fault() -> None:
    fault = Fault(Kind.INVALID_REQUEST, "No.", param="messages[1].content", code="invalid_type")
    _, _, error = answer(fault)
    assert (error["param"], error["code"]) == ("messages[1].content", "invalid_type")


def test_params_that_follow_from_the_kind() -> None:
    assert error_object(Fault(Kind.MODEL_NOT_FOUND, "x"))["param"] == "model"
    assert error_object(Fault(Kind.CONTEXT_LENGTH, "x"))["param"] == "messages"


@pytest.mark.parametrize(("after", "seconds"), [(None, 1), (0, 1), (0.2, 1), (6.01, 7), (30, 30), (float("inf"), 1)])
def test_rate_limits_say_when_to_come_back(after: float | None, seconds: int) -> None:
    _, headers, error = answer(Fault(Kind.RATE_LIMITED, "Too fast.", retry_after=after))
    assert headers["retry-after"] == str(seconds)
    assert error["message"] == f"Too fast. Please try again in {seconds}s."


def test_the_sentence_is_said_once() -> None:
    fault = Fault(Kind.RATE_LIMITED, "Too fast. Please try again in 7s.", retry_after=7)
    assert error_object(fault)["message"] == "Too fast. Please try again in 7s."


def test_a_used_up_quota_is_not_worth_another_try() -> None:
    status, headers, error = answer(Fault(Kind.RATE_LIMITED, "Used up.", code="insufficient_quota"))
    assert (status, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota")
    assert headers["x-should-retry"] == "false" and "retry-after" not in headers
    assert error["message"] == "Used up."


def test_an_upstreams_wait_is_passed_on() -> None:
    _, headers, _ = answer(Fault(Kind.OVERLOADED, "Busy.", retry_after=12.5))
    assert headers["retry-after"] == "13" and headers["x-should-retry"] == "false"


def test_a_message_that_is_no_text() -> None:
    _, _, error = answer(Fault(Kind.UPSTREAM_ERROR, "half \ud800 pair"))
    assert error["message"].startswith("half ")

"""Faults in Chat Completions' words: one table from kind to status, type and code.

Statuses are those that the oldest clients know (200, 400, 401, 429, 500), beside them 4xx where only they are honest.
What an upstream did wrong is 500 with a telling code, because openai-python 0.x loses the body of a 503; that status is
for the gateway's own state alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.jsontext import dumps

_NO_RETRY = (b"x-should-retry", b"false")
_BLIND_WAIT = 1
"""Seconds to wait when nobody said how long."""


@dataclass(frozen=True, slots=True)
class _Row:
    status: int
    type: str
    code: str | None
    given_up: bool = False
    """We tried what could be tried: the SDK shall not multiply our attempts by its own."""
    param: str | None = None


_INVALID = "invalid_request_error"
_SERVER = "server_error"
_TABLE: Mapping[Kind, _Row] = {
    Kind.INVALID_REQUEST: _Row(400, _INVALID, None),
    Kind.CONTEXT_LENGTH: _Row(400, _INVALID, "context_length_exceeded", param="messages"),
    Kind.UNAUTHORIZED: _Row(401, _INVALID, "invalid_api_key"),
    Kind.MODEL_NOT_ALLOWED: _Row(403, _INVALID, "model_not_allowed"),
    Kind.NOT_FOUND: _Row(404, _INVALID, "unknown_url"),
    Kind.METHOD_NOT_ALLOWED: _Row(405, _INVALID, None),
    Kind.MODEL_NOT_FOUND: _Row(404, _INVALID, "model_not_found", param="model"),
    Kind.REQUEST_TIMEOUT: _Row(408, "timeout_error", "request_timeout"),
    Kind.TOO_LARGE: _Row(413, _INVALID, "request_too_large"),
    Kind.UNSUPPORTED_MEDIA: _Row(415, _INVALID, None),
    Kind.CREDENTIAL: _Row(500, _SERVER, "no_upstream_credentials", given_up=True),
    Kind.RATE_LIMITED: _Row(429, "rate_limit_error", "rate_limit_exceeded"),
    Kind.UPSTREAM_ERROR: _Row(500, _SERVER, "upstream_error", given_up=True),
    Kind.OVERLOADED: _Row(500, _SERVER, "upstream_overloaded", given_up=True),
    Kind.UPSTREAM_TIMEOUT: _Row(500, _SERVER, "upstream_timeout", given_up=True),
    Kind.UNREACHABLE: _Row(500, _SERVER, "upstream_error", given_up=True),
    Kind.BAD_ANSWER: _Row(500, _SERVER, "upstream_error", given_up=True),
    Kind.TRUNCATED: _Row(500, _SERVER, "upstream_stream_truncated", given_up=True),
    Kind.MALFORMED_CALL: _Row(500, _SERVER, "upstream_malformed_call", given_up=True),
    Kind.EMPTY: _Row(500, _SERVER, "empty_response", given_up=True),
    Kind.UNAVAILABLE: _Row(503, _SERVER, "unavailable"),
    Kind.INTERNAL: _Row(500, _SERVER, "internal_error"),
}
_QUOTA = "insufficient_quota"


def error_object(fault: Fault) -> dict[str, Any]:
    """The ``error`` object of a body or of a stream's error frame."""
    row = _TABLE[fault.kind]
    code = fault.code or row.code
    message = fault.message
    if fault.kind is Kind.RATE_LIMITED and code != _QUOTA:
        message = _with_wait(message, _wait(fault) or _BLIND_WAIT)
    return {
        "message": message,
        "type": _QUOTA if code == _QUOTA else row.type,
        "param": fault.param if fault.param is not None else row.param,
        "code": code,
    }


def chat_error(fault: Fault) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of an answer that is nothing but a fault."""
    row = _TABLE[fault.kind]
    error = error_object(fault)
    headers = [(b"content-type", b"application/json")]
    quota = error["code"] == _QUOTA
    wait = _wait(fault)
    if wait is None and not quota and row.status in (429, 503):
        wait = _BLIND_WAIT
    if wait is not None:
        headers.append((b"retry-after", str(wait).encode("ascii")))
    if quota or row.given_up:
        headers.append(_NO_RETRY)
    return row.status, headers, dumps({"error": error})


def _wait(fault: Fault) -> int | None:
    """Whole seconds, rounded up: openai-python 0.x reads the header with ``int()``."""
    after = fault.retry_after
    return None if after is None or not math.isfinite(after) else max(1, math.ceil(after))


def _with_wait(message: str, seconds: int) -> str:
    """The sentence that agents parse; said once."""
    sentence = f"Please try again in {seconds}s."
    return message if message.endswith(sentence) else f"{message.rstrip()} {sentence}".lstrip()

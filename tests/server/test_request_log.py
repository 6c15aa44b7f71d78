"""The line of a request is JSON whatever stands in it, on one line, and says what happened."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.errors import Fault, Kind
from antigravity2api.gateway import Trace
from antigravity2api.gemini.usage import Usage
from antigravity2api.server.request_log import generation, request_line

ASKED = '"method":"POST","path":"/v1/chat/completions"'


def line(trace: Trace | None = None, usage: Usage | None = None, status: int = 200, outcome: str = "ok") -> Any:
    begun = request_line("req_1", ASKED, status, 0.0123456, 77, outcome, "192.0.2.1", ',"key":"k1"')
    text = begun + (generation(trace, usage) if trace is not None else "") + "}"
    assert "\n" not in text
    return orjson.loads(text)


def test_a_line_tells_what_was_asked_and_what_came_of_it() -> None:
    trace = Trace(dialect="chat", model="m", upstream="gemini", credential="gemini-1", stream=True, attempts=2)
    trace.first_event = 0.25
    trace.applied = ("topK:dropped", "seed:ignored")
    told = line(trace, Usage(8, 20, 0, 5))
    assert told.pop("ts").endswith("Z")
    assert told == {
        "level": "info", "event": "request", "id": "req_1", "method": "POST", "path": "/v1/chat/completions",
        "status": 200, "outcome": "ok", "ms": 12.35, "bytes": 77, "peer": "192.0.2.1", "key": "k1", "model": "m",
        "stream": True, "upstream": "gemini", "credential": "gemini-1", "attempts": 2, "first_ms": 250.0,
        "prompt_tokens": 8, "completion_tokens": 20, "reasoning_tokens": 5, "applied": "topK:dropped, seed:ignored",
    }  # fmt: skip


def test_a_failure_is_told_with_its_words() -> None:
    fault = Fault(Kind.RATE_LIMITED, "no", code="slow_down", param="messages[0]", upstream_status=429)
    told = line(Trace(model="m", fault=fault), status=429)
    assert told["outcome"] == "refused"
    assert [told[name] for name in ("fault", "code", "param", "upstream_status")] == [
        "rate_limited", "slow_down", "messages[0]", 429,
    ]  # fmt: skip
    assert line(status=500)["outcome"] == "failed"
    assert line(status=499, outcome="left")["outcome"] == "left"


@settings(max_examples=60, deadline=None)
@given(st.text(), st.text(), st.text(max_size=2000))
def test_any_text_fits_into_a_line(model: str, code: str, param: str) -> None:
    fault = Fault(Kind.INVALID_REQUEST, "no", code=code, param=param)
    told = line(Trace(model=model, upstream=model, credential=code, fault=fault, applied=(param,)))
    assert len(told["model"]) <= 4 * 1024 + 1

"""A stream says the same whether the events of its runs are parsed or known by what is around their texts."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api import attempt as attempts
from antigravity2api import ids
from antigravity2api.attempt import Attempt
from antigravity2api.dialects.chat.encoder import ChatEncoder
from antigravity2api.gemini.models import ModelTable
from antigravity2api.upstreams.antigravity import Antigravity
from antigravity2api.upstreams.base import Address
from antigravity2api.upstreams.gemini_api import GeminiApi
from fakes.chat_answer import ORIGIN, make_box, make_call

ADDRESS = Address("127.0.0.1", 1, tls=False)
_HALF = "half a pair"
"""Stands for half a surrogate pair, which only a tolerant parser reads."""
_ODD_TEXTS = [_HALF, '"}],"role":"model"', '\\"', "}]}", "\u2028", '"text":"', "7"]
_TEXT = st.text(min_size=1, max_size=8) | st.sampled_from(_ODD_TEXTS)


@st.composite
def stretches(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Several events of one form, as models write them."""
    thought, counted, index = draw(st.booleans()), draw(st.integers(0, 3)), draw(st.booleans())
    events = []
    for number in range(draw(st.integers(1, 5))):
        part: dict[str, Any] = {"text": draw(_TEXT)}
        if thought:
            part["thought"] = True
        candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}}
        if index:
            candidate["index"] = 0
        event: dict[str, Any] = {"candidates": [candidate]}
        if counted:
            tokens = draw(st.integers(0, 12)) if counted > 1 else 5
            event["usageMetadata"] = {"promptTokenCount": 8, "candidatesTokenCount": tokens, "totalTokenCount": number}
        event |= {"modelVersion": "gemini-2.5-flash", "responseId": "r1"}
        events.append(event)
    return events


_ODD = st.sampled_from(
    [
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"text": "x"}}}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "c2ln"}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}}]},
        {"usageMetadata": {"promptTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 9}},
        {"candidates": [{"finishReason": "STOP", "index": 0}], "usageMetadata": {"totalTokenCount": 77}},
        {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
    ]
)


def streamed(reads: list[bytes], upstream: Any, *, runs: bool) -> tuple[bytes, Any, Any]:
    """What a client gets of an upstream's reads, how it ended, and what was counted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "unique", lambda: "0" * 24)
        patch.setattr(ids, "now", lambda: 1764000000)
        patch.setattr(attempts, "_MOST_PAIRS", 8 if runs else 0)
        encoder = ChatEncoder(make_call(include_usage=True), ORIGIN, make_box(), upstream.name)
        out: list[bytes] = []
        ends: list[Any] = []
        sink = Attempt(upstream, encoder, lambda data, now: out.append(data), lambda: 0.0, ends.append, None, encoder)
        sink.on_head(200, {"content-type": "text/event-stream"})
        for read in reads:
            sink.on_data(read)
        sink.on_end()
        end = ends[0] and (ends[0].kind, ends[0].message)
        return b"".join(out), end, dict(encoder.usage)


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    return [whole[start:end] for start, end in pairwise(edges) if start < end]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(stretches() | st.lists(_ODD, min_size=1, max_size=1), min_size=1, max_size=5),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 5000), max_size=6),
)
def test_runs_change_nothing(parts: list[list[dict[str, Any]]], wrapped: bool, blanks: bool, places: list[int]) -> None:
    models = ModelTable.load()
    upstream = Antigravity(ADDRESS, models=models) if wrapped else GeminiApi(ADDRESS, models=models)
    events = [
        json.dumps(
            {"response": event, "traceId": "t"} if wrapped else event,
            ensure_ascii=False,
            separators=None if blanks else (",", ":"),
        )
        .encode()
        .replace(_HALF.encode(), b"\\ud83d")
        for part in parts
        for event in part
    ]
    whole = b"".join(b"data: %b\r\n\r\n" % event for event in events)
    expected = streamed([whole], upstream, runs=False)
    for reads in ([whole], [b"data: %b\r\n\r\n" % event for event in events], cut(whole, places)):
        got = streamed(reads, upstream, runs=True)
        assert got == expected

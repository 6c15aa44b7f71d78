"""A run says what parsing would have said, or nothing."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.gemini.runs import Run, common


def event(
    text: Any, tokens: int, *, thought: bool = False, blanks: bool = False, wrapped: bool = False, **more: Any
) -> bytes:
    part = {"text": text, "thought": True} if thought else {"text": text}
    candidate = {"content": {"parts": [part], "role": "model"}, "index": 0}
    usage = {"promptTokenCount": 8, "candidatesTokenCount": tokens, "totalTokenCount": 8 + tokens}
    whole: dict[str, Any] = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m-2.5", **more}
    if wrapped:
        whole = {"response": whole, "traceId": "t1"}
    return json.dumps(whole, ensure_ascii=False, separators=None if blanks else (",", ":")).encode()


def run_of(one: bytes, two: bytes, members: int = 1) -> Run | None:
    whole = json.loads(two)
    return common(one, two, whole.get("response", whole), members)


@pytest.mark.parametrize("form", [{}, {"blanks": True}, {"wrapped": True}, {"thought": True}])
@pytest.mark.parametrize("text", ["more", 'say "text": "x"', "back\\", '\\\\"', "é\u2028", "}],", "1"])
def test_the_next_events_are_known_by_what_is_around_their_text(form: dict[str, bool], text: str) -> None:
    run = run_of(event("a", 9, **form), event("b", 10, **form), 2 if form.get("thought") else 1)
    assert run is not None
    assert run.text_of(event(text, 123, **form)) == text
    assert run.text_of(event(text, 123456, **form)) == text


def test_what_differs_in_anything_else_is_not_known() -> None:
    run = run_of(event("a", 9), event("b", 10))
    assert run is not None
    plain = event("c", 11)
    for other in (
        event("c", 11, thought=True),
        event("c", 11, blanks=True),
        event("c", 11, promptFeedback={}),
        event("", 11),
        event(7, 11),
        plain.replace(b'"index":0', b'"index":1'),
        plain.replace(b'"index":0', b'"index":0,"finishReason":"STOP"'),
        plain.replace(b"11", b"-11"),
        plain.replace(b"11", b"11.5"),
        plain.replace(b"m-2.5", b"m-3"),
        plain.replace(b'"c"', b'"c","thoughtSignature":"x"'),
        plain.replace(b'"c"', b'"\\ud800"'),
        plain.replace(b'"c"', b'"\\x"'),
        plain.replace(b'"c"', b'"\xff"'),
        plain + b"1",
        plain[:-1] + b"1}",
        plain[:-1],
        b"",
    ):
        assert run.text_of(other) is None, other


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (event("a", 9), event("b", 10, thought=True)),
        (event("a", 9, responseId="x"), event("b", 10, responseId="y")),
        (event("a", 9), event("b", 10, more=1)),
        (event("a", 9, more={"text": "x"}), event("b", 10, more={"text": "x"})),
        (b"", event("b", 10)),
        (event("a", 9).replace(b'"index":0', b'"index":1'), event("b", 10)),
        (event("a", 9), event("b", 10).replace(b'"index":0', b'"index":0,"finishReason":"STOP"')),
    ],
)
def test_two_events_that_differ_begin_no_run(one: bytes, two: bytes) -> None:
    assert run_of(one, two) is None


def test_counters_may_stay_or_be_missing() -> None:
    run = run_of(event("a", 9), event("b", 9))
    assert run is not None
    assert run.text_of(event("c", 9)) == "c"
    assert run.text_of(event("c", 10)) is None
    assert run.text_of(event("c", 9) + b"}") is None
    assert run.text_of(event("c", 9)[:-1]) is None
    assert run.text_of(event("longer than before", 9)[:-1]) is None
    bare = b'{"candidates":[{"content":{"parts":[{"text":"%b"}]}}]}'
    run = run_of(bare % b"a", bare % b"b")
    assert run is not None
    assert run.text_of(bare % b"hello") == "hello"
    for cut in range(len(bare % b"hello")):
        assert run.text_of((bare % b"hello")[:cut]) is None


_COUNTER = re.compile(rb"(Count\": ?)[0-9]*")
_MARKS = [b'"', b"\\", b"}", b"]", b",", b"{", b" ", b":", b"1", b"0", b"\xff"]
_PIECES = st.sampled_from([*_MARKS, b'"text"', b'"text":', b'"usageMetadata"', b'"a"'])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_is_said_to_be_known_reads_so_when_parsed(data: st.DataObject) -> None:
    """Any event, damaged anywhere: a run that says yes says what a parser says, counters' digits apart."""
    form = data.draw(st.sampled_from([{}, {"blanks": True}, {"wrapped": True}]))
    run = run_of(event("a", 9, **form), event("b", data.draw(st.integers(9, 12)), **form))
    assert run is not None
    other = event(data.draw(st.text(max_size=4)), data.draw(st.integers(0, 2000)), **form)
    start = data.draw(st.integers(0, len(other)))
    end = start + data.draw(st.integers(0, 3))
    other = other[:start] + b"".join(data.draw(st.lists(_PIECES, max_size=3))) + other[end:]
    text = run.text_of(other)
    if text is None:
        return
    try:
        read = json.loads(other)
    except ValueError:  # a counter without digits, or with zeros in front: the next event has better ones
        usage = other.index(b'"usageMetadata"')
        read = json.loads(other[:usage] + _COUNTER.sub(rb"\g<1>1", other[usage:]))
    expected = json.loads(event(text, 0, **form))
    for whole in (read, expected):
        whole.get("response", whole).pop("usageMetadata")
    assert read == expected


@pytest.mark.parametrize("half", [b"\\ud83d", b"\xff", b"\\x"])
def test_a_text_that_only_a_tolerant_parser_reads_begins_no_run(half: bytes) -> None:
    chunk = json.loads(event("?", 10))
    assert common(event("a", 9), event("?", 10).replace(b"?", half), chunk, 1) is None
    assert common(event("?", 9).replace(b"?", half), event("b", 10), json.loads(event("b", 10)), 1) is None

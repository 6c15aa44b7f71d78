"""Any answer, however it is cut into events: the stream adds up to the whole answer, ends once, and never raises but a
``Fault``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.errors import Fault
from fakes.chat_answer import (
    PNG,
    SIGNATURE,
    check_answer,
    chunks,
    folded,
    frames,
    joined,
    make_box,
    make_call,
    streamed_or_failed,
    text,
    thought,
    tool,
    whole,
)

_LIMITS = settings(max_examples=80, deadline=None)

words = st.text(min_size=1, max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
parts = st.one_of(
    words.map(text),
    words.map(lambda said: text(said, thoughtSignature=SIGNATURE)),
    words.map(thought),
    st.builds(
        tool,
        st.sampled_from(["f", "g", "default_api.f"]),
        st.dictionaries(words, json_values, max_size=2),
        st.just(None),
    ),
    st.just(tool("f", {"a": 1}, SIGNATURE)),
    st.just({"inlineData": {"mimeType": "image/png", "data": PNG}}),
    words.map(lambda said: {"executableCode": {"language": "PYTHON", "code": said}}),
    words.map(lambda said: {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": said}}),
    st.just({"toolCall": {"id": "1", "args": {}}}),
    st.just(text("")),
)
notes = st.fixed_dictionaries(
    {},
    optional={
        "include_usage": st.booleans(),
        "single_call": st.booleans(),
        "legacy_functions": st.booleans(),
        "hide_reasoning": st.booleans(),
        "strip_fence": st.booleans(),
        "json_wrapped": st.booleans(),
        "declared": st.just(["f"]),
        "custom_tools": st.just(["g"]),
    },
)
finishes = st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "OTHER", "MALFORMED_FUNCTION_CALL", "NEW", 1, 2, 3])


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    """One candidate's parts and finish, whole and cut: texts at any character, parts into any events."""
    content = draw(st.lists(parts, max_size=6))
    finish = draw(finishes)
    usage = {"promptTokenCount": 9, "candidatesTokenCount": draw(st.integers(0, 50)), "totalTokenCount": 59}
    uncut = [{"candidates": [{"content": {"parts": content}, "finishReason": finish}], "usageMetadata": usage}]
    pieces: list[Any] = []
    for part in content:
        pieces.extend(_cut(draw, part))
    events: list[Any] = []
    while pieces:
        size = draw(st.integers(1, 3))
        events.append({"candidates": [{"content": {"role": "model", "parts": pieces[:size]}}]})
        if draw(st.booleans()):
            events[-1]["usageMetadata"] = {"promptTokenCount": 9, "totalTokenCount": 9}
        pieces = pieces[size:]
    if events and draw(st.booleans()):
        events[-1]["candidates"][0]["finishReason"] = finish
    else:
        events.append({"candidates": [{"finishReason": finish}]})
    events.append({"usageMetadata": usage})
    return uncut, events


def _cut(draw: st.DrawFn, part: dict[str, Any]) -> list[dict[str, Any]]:
    said = part.get("text")
    if not said or "thoughtSignature" in part:
        return [part]
    at = draw(st.integers(0, len(said)))
    return [{**part, "text": said[:at]}, {**part, "text": said[at:]}]


def _tried(make: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], Fault | None]:
    try:
        return make(), None
    except Fault as fault:
        return {}, fault


def _comparable(choice: dict[str, Any]) -> dict[str, Any]:
    copy = json.loads(json.dumps(choice))
    for entry in copy["message"].get("tool_calls", ()):
        entry.pop("id")
    return copy


@_LIMITS
@given(answers(), notes)
def test_a_stream_adds_up_to_the_whole_answer(answer: tuple[list[Any], list[Any]], wished: dict[str, Any]) -> None:
    uncut, events = answer
    data, fault = streamed_or_failed(events, make_call(**wished), make_box())
    expected, failed = _tried(lambda: whole(uncut, make_call(**wished), make_box()))
    if failed is not None or fault is not None:
        assert failed is not None and fault is not None and fault.kind is failed.kind
        assert "error" in frames(data)[-1] and "[DONE]" not in frames(data)
        return
    found = chunks(data)
    assert _comparable(joined(found)[0]) == _comparable(expected["choices"][0])
    told = [chunk["usage"] for chunk in found if chunk.get("usage")]
    assert told == ([expected["usage"]] if wished.get("include_usage") else [])


@_LIMITS
@given(answers())
def test_every_cut_folds_to_the_same_response(answer: tuple[list[Any], list[Any]]) -> None:
    uncut, events = answer
    expected, failed = _tried(lambda: folded(uncut))
    found, again = _tried(lambda: folded(events))
    if failed is not None or again is not None:
        assert failed is not None and again is not None and again.kind is failed.kind
        return
    for response in (expected, found):
        for candidate in response["candidates"]:
            candidate["content"]["parts"] = [
                {**part, "thought": bool(part.get("thought"))} for part in candidate["content"]["parts"]
            ]
    assert json.dumps(found["candidates"]) == json.dumps(expected["candidates"])
    assert found["usageMetadata"] == expected["usageMetadata"]


@_LIMITS
@given(answers(), st.data())
def test_a_stream_that_stops_early_never_ends_well(answer: tuple[list[Any], list[Any]], data: st.DataObject) -> None:
    _, events = answer
    for event in events:
        for candidate in event.get("candidates", ()):
            candidate.pop("finishReason", None)
    kept = events[: data.draw(st.integers(0, len(events)))]
    sent, fault = streamed_or_failed(kept, make_call(), make_box())
    assert fault is not None and fault.code == "upstream_stream_truncated"
    assert b"[DONE]" not in sent and b'"tool_calls"' not in sent and b'"finish_reason":"' not in sent


# -- anything at all ---------------------------------------------------------------------------------------------------

_KEYS = st.sampled_from(
    (
        "candidates content parts text thought thoughtSignature functionCall name args inlineData mimeType "
        "data fileData fileUri executableCode code codeExecutionResult output finishReason finishMessage "
        "index groundingMetadata groundingChunks web uri groundingSupports segment startIndex endIndex "
        "partIndex groundingChunkIndices logprobsResult chosenCandidates token logProbability topCandidates "
        "usageMetadata promptTokenCount promptTokensDetails modality tokenCount promptFeedback blockReason "
        "safetyRatings citationMetadata"
    ).split()
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**20),
    st.floats(),
    st.sampled_from(["STOP", "SAFETY", "OTHER", PNG, "audio/L16;rate=24000", "f", "", "\ud800", "a\u2028", "```"]),
    st.text(max_size=5),
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "content": st.fixed_dictionaries(
                        {},
                        optional={"parts": st.lists(st.dictionaries(_KEYS, _JSON, max_size=3) | _JSON, max_size=3)},
                    )
                    | _JSON,
                    "finishReason": st.sampled_from(["STOP", "MAX_TOKENS", 1]) | _JSON,
                    "index": _JSON,
                    "groundingMetadata": st.dictionaries(_KEYS, _JSON, max_size=3),
                    "logprobsResult": st.dictionaries(_KEYS, _JSON, max_size=3),
                    "citationMetadata": _JSON,
                },
            ),
            max_size=2,
        )
        | _JSON,
        "usageMetadata": st.dictionaries(_KEYS, _JSON, max_size=3) | _JSON,
        "promptFeedback": st.dictionaries(_KEYS, _JSON, max_size=2) | _JSON,
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_NEARLY | _JSON, max_size=4), notes, st.integers(1, 2))
def test_any_json_gives_an_answer_or_a_fault(events: list[Any], wished: dict[str, Any], candidates: int) -> None:
    call = make_call(candidates=candidates, audio={"voice": "x", "format": "wav"}, **wished)
    data, fault = streamed_or_failed(events, call, make_box())
    if fault is None:
        chunks(data)
    else:
        assert "error" in frames(data)[-1]
    try:
        answer = whole(events, call, make_box())
    except Fault:
        return
    check_answer(answer)

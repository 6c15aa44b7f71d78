"""The short ways for the usual answer say, byte for byte, what the general ways say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api import ids
from antigravity2api.dialects.chat import render
from antigravity2api.dialects.chat.encoder import ChatEncoder
from antigravity2api.errors import Fault
from antigravity2api.gemini import fold
from fakes.chat_answer import ORIGIN, SIGNATURE, make_box, make_call

_LIMITS = settings(max_examples=120, deadline=None)
_TEXTS = st.text(max_size=12) | st.sampled_from(["a\u2028b", "\x85", "\ud800", "```json\n1\n```", '{"value": 1}', "é"])
_ODD = st.none() | st.booleans() | st.sampled_from([0, 1, 0.0, "", "x", [], {}, ["x"], {"a": 1}, {"a": None}, "STOP"])
_USAGE = st.dictionaries(
    st.sampled_from(["promptTokenCount", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount"]),
    st.integers(0, 900),
    max_size=4,
)
_CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["chunk", "candidate", "content", "part"]),
        st.sampled_from(
            "candidates usageMetadata modelVersion promptFeedback content finishReason finishMessage index parts role "
            "text thought thoughtSignature safetyRatings avgLogprobs tokenCount groundingMetadata citationMetadata "
            "functionCall".split()
        ),
        _ODD | _USAGE | st.just({"blockReason": "SAFETY"}) | st.just(SIGNATURE) | st.just({"name": "f"}),
    ),
    max_size=2,
)
_NOTES = st.fixed_dictionaries(
    {},
    optional={
        "include_usage": st.booleans(),
        "strip_fence": st.booleans(),
        "json_wrapped": st.booleans(),
        "hide_reasoning": st.booleans(),
        "service_tier": st.just("flex"),
        "candidates": st.integers(1, 2),
    },
)


@st.composite
def events(draw: st.DrawFn, *, ends: bool) -> dict[str, Any]:
    """A plain answer, or a piece of one, with a change or two."""
    part: dict[str, Any] = {"text": draw(_TEXTS)}
    if not ends and draw(st.booleans()):
        part["thought"] = True
    content: dict[str, Any] = {"parts": [part], "role": "model"}
    candidate: dict[str, Any] = {"content": content}
    if ends or draw(st.integers(0, 4)) == 0:
        candidate["finishReason"] = "STOP"
    if draw(st.booleans()):
        candidate["index"] = 0
    chunk: dict[str, Any] = {"candidates": [candidate], "modelVersion": "m"}
    if draw(st.booleans()):
        chunk["usageMetadata"] = draw(_USAGE)
    changes = draw(_CHANGES)
    places = {"chunk": chunk, "candidate": candidate, "content": content, "part": part}
    for place, name, value in changes:
        if not ends and value == {"a": None}:
            continue  # an upstream that writes nulls is known by its first counters
        places[place][name] = copy.deepcopy(value)
    if draw(st.integers(0, 9)) == 0 and isinstance(chunk["candidates"], list):
        chunk["candidates"].append(draw(_ODD))
    return chunk


def _outcome(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Fault as fault:
        return fault.kind, fault.message


def _folded(chunks: list[dict[str, Any]], *, general: bool) -> Any:
    whole = fold.Fold()
    if general:
        whole._all()
    for chunk in chunks:
        whole.feed(chunk)
    return whole.response()


@_LIMITS
@given(st.lists(events(ends=True), min_size=1, max_size=2))
def test_one_event_folds_as_several_do(chunks: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(chunks)
    assert _outcome(lambda: _folded(chunks, general=False)) == _outcome(lambda: _folded(chunks, general=True))
    assert chunks == before


@_LIMITS
@given(events(ends=True), _NOTES, st.integers(1, 2))
def test_a_plain_answer_is_rendered_as_any_other(chunk: dict[str, Any], wished: dict[str, Any], copies: int) -> None:
    try:
        response = _folded([chunk], general=True)
    except Fault:
        return
    call = make_call(copies=copies, **wished)
    with pytest.MonkeyPatch.context() as patch:
        _still(patch)
        short = _outcome(lambda: render.render_chat(call, response, ORIGIN, make_box(), "gemini"))
        patch.setattr(render, "plain_choices", lambda call, text: None)
        assert short == _outcome(lambda: render.render_chat(call, response, ORIGIN, make_box(), "gemini"))


@_LIMITS
@given(st.lists(events(ends=False), max_size=5), _NOTES, st.integers(1, 2))
def test_text_under_way_is_encoded_as_any_other(
    chunks: list[dict[str, Any]], wished: dict[str, Any], copies: int
) -> None:
    call = make_call(copies=copies, **wished)
    with pytest.MonkeyPatch.context() as patch:
        _still(patch)
        short = _streamed(call, chunks, lambda encoder: encoder.feed)
        assert short == _streamed(call, chunks, lambda encoder: encoder._take)


def _streamed(call: Any, chunks: list[dict[str, Any]], way: Callable[[ChatEncoder], Callable[[Any], bytes]]) -> Any:
    """What each event gives, the end, and the usage."""
    encoder = ChatEncoder(call, ORIGIN, make_box(), "gemini")
    feed = way(encoder)
    got = []
    for chunk in chunks:
        got.append(_outcome(lambda chunk=chunk: feed(chunk)))
        if isinstance(got[-1], tuple):
            return got
    return [*got, _outcome(encoder.finish), encoder.usage]


def _still(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ids, "unique", lambda: "0" * 24)
    patch.setattr(ids, "now", lambda: 1764000000)


def test_the_usual_answers_take_the_short_way() -> None:
    part = {"text": "Hello"}
    candidate = {"content": {"parts": [part], "role": "model"}, "finishReason": "STOP", "index": 0}
    chunk = {"candidates": [candidate], "usageMetadata": {"totalTokenCount": 3}, "modelVersion": "m"}
    assert fold._plain_response(chunk) is chunk
    assert render.plain_choices(make_call(), fold.plain_text(chunk)) is not None
    for extra in ({"thought": True}, {"thoughtSignature": SIGNATURE}):
        assert fold.plain_text({"candidates": [{**candidate, "content": {"parts": [{**part, **extra}]}}]}) is None

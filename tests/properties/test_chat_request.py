"""Any JSON gives a Call or a Fault of the client's; every Call's contents stand in an order that Google accepts."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.dialects.chat.request import Plans, parse_chat
from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.jsontext import dumps
from fakes.chat_box import make_box, origin, parse
from fakes.legal_order import assert_legal

BOX = make_box()
PLANS = Plans()
MODELS = (
    "gemini-2.0-flash-exp",
    "gemini-2.5-flash",
    "gemini-3-flash-preview",
    "gemini-3.8-flash",
    "gemini-4-neon",
    "claude-sonnet-4-6",
    "some-model",
    "gemini-3-pro-image",
    "gemini-3.8-flash-tts",
)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
IDS = st.sampled_from(["call_0", "call_1", "call_2", "lost"])
NAMES = st.sampled_from(["look", "look up", "1st", "a.b", "a_b"])
TEXTS = st.sampled_from(["", " ", "hello", '{"a": 1}', "null", "[1, 2]", '{"a":', "é\u2028\U0001f600"])
PARTS = st.lists(
    st.one_of(
        TEXTS.map(lambda text: {"type": "text", "text": text}),
        st.just({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}}),
    ),
    max_size=3,
)
CONTENT = st.none() | TEXTS | PARTS
CALLS = st.lists(
    st.builds(
        lambda identity, name, arguments: {
            "id": identity,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        },
        IDS,
        NAMES,
        st.none() | TEXTS,
    ),
    max_size=3,
)
MESSAGES = st.one_of(
    st.builds(lambda content: {"role": "user", "content": content}, CONTENT),
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "developer"]), TEXTS),
    st.builds(
        lambda text, calls: {"role": "assistant", "content": text, "tool_calls": calls}, TEXTS | st.none(), CALLS
    ),
    st.builds(lambda identity, content: {"role": "tool", "tool_call_id": identity, "content": content}, IDS, CONTENT),
    st.builds(lambda name, content: {"role": "function", "name": name, "content": content}, NAMES, TEXTS | st.none()),
)
FIELDS = (
    "model", "messages", "stream", "stream_options", "temperature", "top_p", "top_k", "max_tokens", "n", "stop", "seed",
    "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
    "google", "response_format", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls",
    "reasoning_effort",
    "reasoning", "thinking", "modalities", "audio", "web_search_options", "service_tier", "user", "extra_body", "size",
    "image_config", "thinking_budget", "enable_thinking", "chat_template_kwargs", "prompt_cache_key",
)  # fmt: skip
SHAPES = JSON | st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "text", "json_schema", "allowed_tools", "x"]) | JSON},
    optional={"function": JSON, "name": JSON, "json_schema": JSON, "tools": JSON, "url": JSON, "text": JSON},
)


def _parse(body: bytes) -> Any:
    try:
        return parse_chat(body, origin(), BOX, PLANS)
    except Fault as caught:
        fault = caught
    assert fault.kind in (Kind.INVALID_REQUEST, Kind.TOO_LARGE)
    assert fault.message
    return None


def _assert_sound(call: Any) -> None:
    assert_legal(call.request["contents"], call.profile)
    dumps(call.request)
    assert all(note.isascii() and note.isprintable() for note in call.applied)


@given(st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=60, deadline=None)
def test_any_bytes_give_a_call_or_a_fault(body: bytes) -> None:
    call = _parse(body)
    assert call is None or call.request["contents"]


@given(
    st.sampled_from(MODELS),
    st.dictionaries(
        st.sampled_from(FIELDS[2:]) | st.text(max_size=5), SHAPES | st.lists(SHAPES, max_size=2), max_size=3
    ),
)
@settings(max_examples=120, deadline=None)
def test_any_value_in_any_field_gives_a_call_or_a_fault(model: str, extra: dict[str, Any]) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **extra}
    call = _parse(json.dumps(body).encode())
    if call is not None:
        _assert_sound(call)


@given(st.lists(SHAPES | st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool", "system"])},
    optional={"content": SHAPES | st.lists(SHAPES, max_size=2), "tool_calls": st.lists(SHAPES, max_size=2),
              "tool_call_id": JSON, "extra_content": JSON, "reasoning_details": JSON, "images": JSON, "audio": JSON,
              "refusal": JSON, "function_call": JSON, "name": JSON}), max_size=3))  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_any_messages_give_a_call_or_a_fault(messages: list[Any]) -> None:
    call = _parse(json.dumps({"model": "gemini-3-flash-preview", "messages": messages}).encode())
    if call is not None:
        _assert_sound(call)


@given(st.sampled_from(MODELS), st.lists(MESSAGES, min_size=1, max_size=9))
@settings(max_examples=120, deadline=None)
def test_every_history_becomes_legal(model: str, messages: list[dict[str, Any]]) -> None:
    call = _parse(json.dumps({"model": model, "messages": messages}).encode())
    if call is not None:
        _assert_sound(call)


@given(st.lists(MESSAGES, min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_no_text_of_a_history_is_lost(messages: list[dict[str, Any]]) -> None:
    for index, message in enumerate(messages):
        if isinstance(message["content"], str) and message["content"].strip() and message["role"] != "tool":
            message["content"] = f"text number {index}"
    call = _parse(json.dumps({"model": "gemini-2.5-flash", "messages": messages}).encode())
    if call is None:
        return
    sent = json.dumps(call.request)
    for message in messages:
        content = message["content"]
        if isinstance(content, str) and content.startswith("text number"):
            assert sent.count(content) == 1


@given(st.integers(-(2**80), 2**80))
@settings(max_examples=50, deadline=None)
def test_every_seed_fits_32_bits(seed: int) -> None:
    config = parse({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "x"}], "seed": seed})
    assert 0 <= config.request["generationConfig"]["seed"] < 2**31

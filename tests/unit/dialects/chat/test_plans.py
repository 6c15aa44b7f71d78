"""What a body asks beside its messages is worked out once, and never changed by a request that uses it."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from antigravity2api.dialects.base import Origin
from antigravity2api.dialects.chat.request import Plans, parse_chat
from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Call
from fakes.chat_box import make_box, origin

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {"a": {}}}}}
    for name in ("get weather", "search")
]


def parsed(plans: Plans, at: Origin | None = None, **body: Any) -> Call:
    body = {"model": "gemini-3.8-flash", "messages": [{"role": "user", "content": "x"}], **body}
    return parse_chat(orjson.dumps(body), at or origin(), make_box(), plans)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": TOOLS, "tool_choice": "required"},
        {"tools": TOOLS, "user": "u1", "stream": True, "stream_options": {"include_usage": True}},
        {"reasoning_effort": "low", "max_tokens": 100, "stop": ["END"], "logit_bias": {"1": 2}},
        {"n": 3, "model": "gemini-2.5-flash"},
        {"response_format": {"type": "json_object"}, "tools": TOOLS, "model": "gemini-2.5-flash"},
    ],
)
def test_a_known_plan_gives_the_same_call(body: dict[str, Any]) -> None:
    plans = Plans()
    first = copy.deepcopy(parsed(plans, **body))
    history = [
        {"role": "user", "content": "y"},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "odd tool!", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "z"},
    ]
    parsed(plans, **{**body, "messages": history})
    assert parsed(plans, **body) == first == parsed(Plans(), **body)


def test_only_what_belongs_to_one_request_is_left_out() -> None:
    plans = Plans()
    assert parsed(plans, user="a").affinity == "a"
    assert parsed(plans, user="b").affinity == "b"
    assert parsed(plans, temperature=0.5).request["generationConfig"]["temperature"] == 0.5
    assert parsed(plans, temperature=0.6).request["generationConfig"]["temperature"] == 0.6
    assert "metadata" in " ".join(parsed(plans, metadata={"a": "b"}).applied)
    assert parsed(plans).applied == ()


def test_the_engine_of_an_old_sdk_is_part_of_it() -> None:
    plans = Plans()
    base = origin()
    for engine in ("gemini-3.8-flash", "gemini-2.5-flash"):
        at = Origin(base.base_url, engine, base.upstream)
        assert parsed(plans, at, model=None).asked_model == engine


def test_a_refused_body_is_refused_again() -> None:
    plans = Plans()
    for _ in range(2):
        with pytest.raises(Fault, match="temperature"):
            parsed(plans, temperature=9)


def test_the_number_of_plans_is_bounded() -> None:
    plans = Plans(most=3)
    for seed in range(10):
        parsed(plans, seed=seed)
    assert len(plans) == 3


def test_an_endless_integer_is_planned_without_a_key() -> None:
    assert parse_chat(
        b'{"model":"gemini-3.8-flash","messages":[{"role":"user","content":"x"}],"seed":123456789012345678901234}',
        origin(),
        make_box(),
        Plans(),
    )

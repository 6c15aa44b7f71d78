"""A body that is only glanced at, because its like was read before, makes the same call as one read with all care."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.dialects.chat.request import Plans, parse_chat
from antigravity2api.errors import Fault
from fakes.chat_box import make_box, origin

_LARGE = ["1e20", "1" + "0" * 20, "1" + "0" * 19 + "1", "1" * 70]
_NUMBERS = st.sampled_from(["0.5", "1", "-0", "2.0", *_LARGE])
_VALUES = st.one_of(_NUMBERS, st.sampled_from(['"x"', "null", "true", "[" * 70 + "]" * 70, '{"a":[1e20]}']))
_FIELDS = st.dictionaries(st.sampled_from(["temperature", "seed", "metadata", "user", "max_tokens", "odd"]), _VALUES)
_MESSAGES = st.sampled_from(
    [
        '[{"role":"user","content":"hi"}]',
        '[{"role":"user","content":"123456789012345678901234567890 and more"}]',
        '[{"role":"user","content":[{"type":"text","text":"hi"}]}]',
        '[{"role":"user","content":"a","n":100000000000000000001}]',
        '[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"\\ud83d\\ude00"}]',
        "[]",
        '"text"',
        "[" * 200 + "]" * 200,
    ]
)


def outcome(body: bytes, plans: Plans) -> Any:
    """The call, or what was wrong."""
    try:
        call = parse_chat(body, origin(), make_box(), plans)
    except Fault as fault:
        return fault.message, fault.param, fault.code
    return call


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_FIELDS, _MESSAGES), min_size=1, max_size=4))
def test_what_was_read_before_changes_nothing(asked: list[tuple[dict[str, str], str]]) -> None:
    plans = Plans()
    for fields, messages in asked:
        extra = "".join(f',"{name}":{value}' for name, value in fields.items())
        body = f'{{"model":"gemini-2.5-flash","messages":{messages}{extra}}}'.encode()
        assert outcome(body, plans) == outcome(body, Plans())


@pytest.mark.parametrize("tail", [b"", b"  \n"])
def test_a_body_that_comes_again_makes_an_equal_call(tail: bytes) -> None:
    body = json.dumps({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]}).encode() + tail
    plans = Plans()
    assert outcome(body, plans) == outcome(body, plans)
    assert len(plans) == 1

"""The short way for messages of text alone reads them as the general way does, or leaves them to it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.dialects.chat.messages import read_messages, read_plain
from antigravity2api.dialects.chat.tools import Names
from antigravity2api.gemini.signature import Signed, text_key, thread_named
from fakes.chat_box import make_box, origin

_MODELS = ["gemini-2.5-flash", "gemini-3-pro-preview", "gemma-3-27b-it", "gemini-2.5-flash-image"]
_TEXTS = st.sampled_from(["", " ", "a", "b ", "![x](y)", "\ud800", "![x](/images/a.png)"])
_ODD = st.none() | st.just([]) | st.just([{"type": "text", "text": "x"}])
_WORDS = st.sampled_from(["a", "b", "a", "c"])
_COUNTS = st.integers(0, 1)
_MESSAGES = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "user", "assistant", "assistant", "system", "developer"]),
        "content": _TEXTS | st.text(min_size=1, max_size=5) | _ODD,
    },
    optional={"name": st.just("n")},
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(_MESSAGES, min_size=1, max_size=6), st.sampled_from(_MODELS), st.lists(st.tuples(_WORDS, _WORDS, _COUNTS))
)
def test_plain_messages_are_read_as_any_other(
    messages: list[dict[str, Any]], model: str, signed: list[tuple[str, str, int]]
) -> None:
    box = make_box()
    profile = box.models.profile(model)
    for first, text, count in signed:
        key = text_key(thread_named(first), text) + (f":{count}" if count else "")
        box.signatures.put(key, Signed("c2ln", profile.family, origin().upstream, length=len(text)))
    found = read_plain(messages, profile, box)
    if found is None:
        return
    notes: list[str] = []
    names = Names()
    assert found == read_messages(messages, profile, origin(), box, names, notes)
    assert (notes, names.back) == ([], {})


def test_the_usual_messages_take_the_short_way() -> None:
    box = make_box()
    profile = box.models.profile("gemini-2.5-flash")
    said = [("system", "s"), ("user", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")]
    found = read_plain([{"role": role, "content": text} for role, text in said], profile, box)
    assert found is not None
    assert found.system == [{"text": "s"}]
    assert found.contents == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}]},
        {"role": "user", "parts": [{"text": "d"}]},
    ]
    assert read_plain(["x"], profile, box) is None
    assert read_plain([{"role": ["user"], "content": "x"}], profile, box) is None

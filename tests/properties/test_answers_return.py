"""An answer that went out and comes back is the answer that came, part by part, whatever kind of client had it."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import HABITS
from antigravity2api.dialects.base import Origin
from antigravity2api.dialects.chat import ChatDialect
from fakes.chat_answer import chunks, event, folded, joined
from fakes.chat_box import make_box

DIALECT = ChatDialect()
ORIGINS = {"gemini-3.8-flash": "gemini", "claude-sonnet-4-6": "antigravity"}
NAMES = ("look", "move", "say")
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {"n": {}, "s": {}}}}}
    for name in NAMES
]
WORDS = st.sampled_from(["a", "Done.", " b", "c \n", "It is so.", "é✓", "\n\nx"])
ARGS = st.fixed_dictionaries({}, optional={"n": st.sampled_from([1, 2.5, 7.0]), "s": st.sampled_from(["x", "é", ""])})


def signature(number: int) -> str:
    return base64.b64encode(f"opaque and long enough, number {number}".encode()).decode()


@st.composite
def steps(draw: st.DrawFn, *, claude: bool) -> list[list[dict[str, Any]]]:
    """Answers of a model: signed thoughts where it is Claude, pieces of text, calls; signed where such models sign."""
    made = []
    number = 0
    for _ in range(draw(st.integers(1, 4))):
        parts: list[dict[str, Any]] = []
        calls = draw(st.integers(0, 3))
        if claude and draw(st.booleans()):
            number += 1
            thought = draw(st.lists(WORDS, min_size=1, max_size=3))
            parts += [{"text": text, "thought": True} for text in thought]
            parts[-1]["thoughtSignature"] = signature(number)
        texts = draw(st.lists(WORDS, min_size=0 if calls else 1, max_size=3))
        parts += [{"text": text} for text in texts]
        if not claude and texts and draw(st.booleans()):
            number += 1
            if draw(st.booleans()):
                parts.append({"text": ""})
            parts[-1]["thoughtSignature"] = signature(number)
        for place in range(calls):
            number += 1
            call = {"name": draw(st.sampled_from(NAMES)), "args": draw(ARGS), "id": f"own{number:05}"}
            parts.append({"functionCall": call})
            if not claude and place == 0:
                parts[-1]["thoughtSignature"] = signature(number)
        made.append(parts)
    return made


CUTTING = frozenset({"trims texts", "all at once"})
"""Clients that cut a text in two: a piece of one answer that says all that another one says cannot be told from it."""


def told_apart(answers: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The same answers with a number before each text."""
    numbers = itertools.count()
    return [
        [{**part, "text": f"{next(numbers)} {part['text']}"} if part.get("text") else part for part in parts]
        for parts in answers
    ]


def whole(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts as a client's history can hold them: pieces that belong together joined, the rest as it is."""
    made: list[dict[str, Any]] = []
    for part in parts:
        last = made[-1] if made else {}
        if "functionCall" not in part and last.keys() == part.keys() - {"thoughtSignature"} and "text" in last:
            thought = bool(part.get("thought"))
            if thought or "thoughtSignature" not in part:
                made[-1] = {**part, "text": last["text"] + part["text"]}
                continue
        made.append(part)
    return made


def answer(model: str, body: dict[str, Any], parts: list[dict[str, Any]], box: Any, *, streamed: bool) -> Any:
    at = Origin("http://localhost:8045", None, ORIGINS[model])
    call = DIALECT.parse(json.dumps(body).encode(), at, box)
    events = [event(part, finish="STOP" if part is parts[-1] else None) for part in parts]
    if streamed:
        encoder = DIALECT.encoder(call, at, box, at.upstream)
        return joined(chunks(b"".join([*[encoder.feed(each) for each in events], encoder.finish()])))[0]["message"]
    return json.loads(DIALECT.render(call, folded(events), at, box, at.upstream))["choices"][0]["message"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_part_comes_home(data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(sorted(ORIGINS)))
    claude = model.startswith("claude")
    answers = data.draw(steps(claude=claude))
    habit = data.draw(st.sampled_from(sorted(HABITS)))
    if habit in CUTTING:
        answers = told_apart(answers)
    box = make_box()
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Go on."}]
    for parts in answers:
        body = {"model": model, "messages": HABITS[habit](json.loads(json.dumps(messages))), "tools": TOOLS}
        message = answer(model, body, parts, box, streamed=data.draw(st.booleans()))
        messages.append(message)
        calls = message.get("tool_calls") or []
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in calls]
        if not calls:
            messages.append({"role": "user", "content": "And?"})
    body = {"model": model, "messages": HABITS[habit](json.loads(json.dumps(messages))), "tools": TOOLS}
    at = Origin("http://localhost:8045", None, ORIGINS[model])
    sent = DIALECT.parse(json.dumps(body).encode(), at, box).request["contents"]
    found = [list(content["parts"]) for content in sent if content["role"] == "model"]
    expected = [whole(parts) for parts in answers]
    assert [loosened(parts) for parts in found] == [loosened(parts) for parts in expected]


def loosened(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """White space around a text that nobody signed is the client's; so is how such a text is cut."""
    if any("text" in part and "thoughtSignature" in part and not part.get("thought") for part in parts):
        return parts
    made: list[dict[str, Any]] = []
    for part in parts:
        if part.keys() != {"text"}:
            made.append(part)
        elif made and made[-1].keys() == {"text"}:
            made[-1] = {"text": "".join((made[-1]["text"] + part["text"]).split())}
        else:
            made.append({"text": "".join(part["text"].split())})
    return made

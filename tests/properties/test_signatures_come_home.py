"""What the model signed returns on the very part it came with, whatever the client keeps of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antigravity2api.dialects.base import ChatSettings, Toolbox
from antigravity2api.dialects.chat import ChatDialect
from fakes.chat_answer import ORIGIN, SIGNATURE, TABLE, Images, Signatures, chunks, event, folded, joined, text, tool

DIALECT = ChatDialect()
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
    for name, properties in (
        ("1st tool/x", {"n": {"type": "integer"}, "s": {"type": "string"}}),
        ("plain", {"level": {"enum": [1, 2]}}),
    )
]


def ask(box: Toolbox, *history: Any, **fields: Any) -> Any:
    messages = [{"role": "user", "content": "Do it."}, *history]
    body = {"model": "gemini-3-pro-preview", "messages": messages, "tools": TOOLS, "stream": True, **fields}
    return DIALECT.parse(json.dumps(body).encode(), ORIGIN, box)


def declared(call: Any) -> list[str]:
    return [entry["name"] for entry in call.request["tools"][0]["functionDeclarations"]]


def as_it_is(message: dict[str, Any]) -> None:
    """A client that returns everything."""


def drops_unknown_fields(message: dict[str, Any]) -> None:
    for entry in message["tool_calls"]:
        entry.pop("extra_content", None)


def rewrites_ids(message: dict[str, Any]) -> None:
    drops_unknown_fields(message)
    for number, entry in enumerate(message["tool_calls"]):
        entry["id"] = f"call_{number}"


def rewrites_json_too(message: dict[str, Any]) -> None:
    rewrites_ids(message)
    for entry in message["tool_calls"]:
        arguments = json.loads(entry["function"]["arguments"])
        entry["function"]["arguments"] = json.dumps(dict(reversed(list(arguments.items()))), indent=1)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("client", [as_it_is, drops_unknown_fields, rewrites_ids, rewrites_json_too])
def test_signatures_of_calls_come_home(client: Any, streamed: bool) -> None:
    box = Toolbox(TABLE, Signatures(), Images(), ChatSettings())
    call = ask(box)
    first, second = declared(call)
    calls = [tool(first, {"n": 3.0, "s": "ü"}, SIGNATURE), tool(second, {"level": "2"})]
    events = [event(text("I will.")), event(*calls, finish="STOP")]
    if streamed:
        encoder = DIALECT.encoder(call, ORIGIN, box, "gemini")
        sent = b"".join([*[encoder.feed(item) for item in events], encoder.finish()])
        message = joined(chunks(sent))[0]["message"]
    else:
        answer = DIALECT.render(call, folded(events), ORIGIN, box, "gemini")
        message = json.loads(answer)["choices"][0]["message"]
    assert [entry["function"]["name"] for entry in message["tool_calls"]] == ["1st tool/x", "plain"]
    client(message)
    results = [{"role": "tool", "tool_call_id": entry["id"], "content": "done"} for entry in message["tool_calls"]]
    again = ask(box, message, *results)
    (turn,) = [content for content in again.request["contents"] if content["role"] == "model"]
    signed = [
        (part["functionCall"]["name"], part.get("thoughtSignature")) for part in turn["parts"] if "functionCall" in part
    ]
    assert signed == [(first, SIGNATURE), (second, None)]
    assert turn["parts"][0] == {"text": "I will."}


def test_a_signed_text_comes_home() -> None:
    box = Toolbox(TABLE, Signatures(), Images(), ChatSettings())
    call = ask(box)
    response = folded([event(text("Hello")), event(text("", thoughtSignature=SIGNATURE), finish="STOP")])
    message = json.loads(DIALECT.render(call, response, ORIGIN, box, "gemini"))["choices"][0]["message"]
    again = ask(box, message, {"role": "user", "content": "Go on."})
    (turn,) = [content for content in again.request["contents"] if content["role"] == "model"]
    assert any(part.get("thoughtSignature") == SIGNATURE for part in turn["parts"])


def test_a_signed_legacy_call_comes_home() -> None:
    box = Toolbox(TABLE, Signatures(), Images(), ChatSettings())
    functions = {"tools": None, "functions": [{"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}]}
    call = ask(box, **functions)
    response = folded([event(tool("f", {"a": "b"}, SIGNATURE), finish="STOP")])
    message = json.loads(DIALECT.render(call, response, ORIGIN, box, "gemini"))["choices"][0]["message"]
    message["function_call"].pop("extra_content")
    again = ask(box, message, {"role": "function", "name": "f", "content": "done"}, **functions)
    (turn,) = [content for content in again.request["contents"] if content["role"] == "model"]
    assert turn["parts"][0]["thoughtSignature"] == SIGNATURE

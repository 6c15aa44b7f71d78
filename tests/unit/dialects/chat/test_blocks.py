"""Calls and results that agents of Anthropic's Messages put into the content of a message."""

from __future__ import annotations

from typing import Any

import pytest

from antigravity2api.errors import Fault
from antigravity2api.gemini.memory import Keeper
from fakes.chat_box import ask, call, make_box, parse, result, user
from fakes.legal_order import assert_legal

STRICT = "gemini-3-flash-preview"
SIGNATURE = "b3BhcXVlLXRob3VnaHQtc2lnbmF0dXJl"


def contents(*messages: Any, box: Any = None) -> list[Any]:
    made = parse(ask(user("x"), *messages, model=STRICT), box or make_box(), None)
    assert_legal(made.request["contents"], made.profile)
    return list(made.request["contents"])


def signed(found: list[Any]) -> list[Any]:
    """Name or text, and signature, of what the model said."""
    return [
        (part["functionCall"]["name"] if "functionCall" in part else part.get("text"), part.get("thoughtSignature"))
        for content in found
        if content["role"] == "model"
        for part in content["parts"]
    ]


def answers(found: list[Any]) -> list[Any]:
    return [
        (part["functionResponse"]["name"], part["functionResponse"]["response"])
        for content in found
        for part in content["parts"]
        if "functionResponse" in part
    ]


def blocks(*made: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(made)}


def use(identity: str, name: str, given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": identity, "name": name, "input": given}


def told(identity: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": identity, "content": content, **more}


TEXT = {"type": "text", "text": "Let me see."}


def test_calls_and_results_may_be_blocks() -> None:
    results = [told("toolu_b", [{"type": "text", "text": "noon"}]), told("toolu_a", "no such place", is_error=True)]
    asked = blocks(TEXT, use("toolu_a", "f", {"n": 1}), use("toolu_b", "g", {}))
    found = contents(asked, {"role": "user", "content": [{"type": "text", "text": "There."}, *results]})
    assert signed(found) == [("Let me see.", None), ("f", None), ("g", None)]
    assert found[1]["parts"][1]["functionCall"]["args"] == {"n": 1}
    assert answers(found) == [("f", {"error": "no such place"}), ("g", {"output": "noon"})]
    assert found[-1]["parts"] == [{"text": "There."}]


def test_a_block_of_a_call_finds_what_was_remembered() -> None:
    box = make_box()
    Keeper(box.signatures, "gemini-3", "gemini", [{"role": "user", "parts": [{"text": "x"}]}]).call(
        "call_1", "f", {"n": 1}, {"name": "f", "args": {"n": 1}}, SIGNATURE, several=False
    )
    for identity in ("call_1", "rewritten"):
        results = {"role": "user", "content": [told(identity, "18")]}
        assert signed(contents(blocks(use(identity, "f", {"n": 1})), results, box=box)) == [("f", SIGNATURE)]


def test_a_call_that_is_told_twice_is_one() -> None:
    message = {**blocks(TEXT, use("call_1", "f", {"n": 1})), "tool_calls": [call("call_1", "f", '{"n": 1}')]}
    found = contents(message, result("call_1", "18"))
    assert [name for name, _ in signed(found)] == ["Let me see.", "f"]


def test_a_result_without_its_call_stays_visible() -> None:
    found = contents({"role": "user", "content": [told("toolu_gone", "18")]})
    assert found[-1]["parts"][-1] == {"text": "[result of toolu_gone] 18"}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "f", "input": {}},
        {"type": "bash_code_execution_tool_result", "content": {}},
        {"type": "executable_code", "executable_code": {"code": "1"}},
        {"type": "code_execution_result", "output": "1"},
    ],
)
def test_what_another_providers_own_tools_did_is_left_out_and_said(block: dict[str, Any]) -> None:
    made = parse(ask(user("x"), blocks(block, TEXT), user("y"), model=STRICT), make_box(), None)
    assert made.request["contents"][1]["parts"] == [{"text": "Let me see."}]
    assert "messages[1].content[0]:dropped" in made.applied


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (blocks(TEXT, {"type": "tool_use", "id": "a", "input": {}}), "messages[1].content[1].name"),
        (blocks(use("a", "f", [1])), "messages[1].content[0].input"),
        (blocks(use(7, "f", {})), "messages[1].content[0].id"),  # type: ignore[arg-type]
        (blocks(use("a", "f", {}), {"type": "other"}), "messages[1].content[1].type"),
        ({"role": "user", "content": [TEXT, {"type": "tool_result", "content": "x"}]}, "messages[1].content[1]"),
        ({"role": "user", "content": [told("a", [{"type": "other"}])]}, "messages[1].content[0].content[0].type"),
        ({"role": "user", "content": [told("a", "x"), {"type": "other"}]}, "messages[1].content[1].type"),
        ({"role": "user", "content": [{"type": "server_tool_use"}]}, "messages[1].content[0].type"),
    ],
)
def test_a_block_that_is_wrong_is_named(message: dict[str, Any], param: str) -> None:
    with pytest.raises(Fault) as caught:
        contents(message)
    assert (caught.value.param or "").startswith(param)

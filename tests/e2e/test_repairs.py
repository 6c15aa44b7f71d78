"""A refused request is mended once, before the first byte: the sandbox refuses, and the client sees an answer, what was
changed, and a count of it; the next request does not fail first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fakes.client import Reply, call, chat
from fakes.gateway import GatewayProcess
from fakes.sandboxes import RunningSandbox

APPLIED = "x-antigravity2api-applied"
OPEN: dict[str, Any] = {"type": "object", "properties": {"place": {"type": "string", "description": "Where"}}}
CLOSED: dict[str, Any] = OPEN | {"additionalProperties": False, "required": ["place"]}
LIST: dict[str, Any] = {"type": "object", "properties": {"ids": {"type": "array", "items": {"type": "integer"}}}}
REPAIRS = re.compile(r"antigravity2api_repairs_total\{([^}]*)\} (\d+)")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox() as made:
        yield made


@pytest.fixture
def gateway(sandbox: RunningSandbox) -> Iterator[GatewayProcess]:
    """One of its own for each test: what was learned stays with it."""
    env = {"GEMINI_API_KEY": "sandbox-key", "GOOGLE_GEMINI_BASE_URL": sandbox.url, "ANTIGRAVITY2API_MAX_ATTEMPTS": "4"}
    with GatewayProcess(env=env) as made:
        yield made


def function(name: str, schema: Any) -> Any:
    return {"type": "function", "function": {"name": name, "description": f"Does {name}", "parameters": schema}}


def tools(**schemas: Any) -> list[Any]:
    return [function(name, schema) for name, schema in schemas.items()]


def ask(gateway: GatewayProcess, fault: str, **fields: Any) -> Reply:
    reply = chat(gateway.port, "Hello!", model=f"gemini-fault-{fault}", **fields)
    assert reply.status == 200, reply.body
    return reply


def sent(sandbox: RunningSandbox, before: int) -> list[Any]:
    """The bodies that went upstream since there were so many."""
    return [seen.body for seen in sandbox.generations[before:]]


def forms(body: Any) -> dict[str, str]:
    """How each declared tool was written."""
    declared = body["tools"][0]["functionDeclarations"]
    return {each["name"]: next((key for key in each if key.startswith("parameters")), "") for each in declared}


def repairs(gateway: GatewayProcess) -> dict[str, int]:
    """What was counted, by what was changed."""
    text = call(gateway.port, "GET", "/metrics", key=gateway.key).body.decode()
    return {labels.partition('repair="')[2].rstrip('"'): int(count) for labels, count in REPAIRS.findall(text)}


@pytest.mark.parametrize("stream", [False, True])
def test_exactly_the_refused_tool_is_loosened(gateway: GatewayProcess, sandbox: RunningSandbox, stream: bool) -> None:
    before = len(sandbox.generations)
    given = tools(first=OPEN, second=OPEN, third=CLOSED, fourth=OPEN)
    reply = ask(gateway, "400-tool-keyword", tools=given, stream=stream)
    assert reply.header(APPLIED) == "tool.third:loosened"
    first, second = sent(sandbox, before)
    assert set(forms(first).values()) == {"parametersJsonSchema"}
    assert {name for name, form in forms(second).items() if form == "parameters"} == {"third"}
    assert second["tools"][0]["functionDeclarations"][:2] == first["tools"][0]["functionDeclarations"][:2]
    again = ask(gateway, "400-tool-keyword", tools=given, stream=stream)
    assert again.header(APPLIED) == "tool.third:loosened"
    assert len(sent(sandbox, before)) == 3, "it is not refused another time"
    assert repairs(gateway) == {"tool": 1}


def test_a_schema_that_stays_refused_goes_into_the_description(
    gateway: GatewayProcess, sandbox: RunningSandbox
) -> None:
    reply = ask(gateway, "400-tool-array", tools=tools(first=OPEN, lists=LIST))
    assert reply.header(APPLIED) == "tool.lists:loosened, tool.lists:reduced"
    first, lists = sandbox.generations[-1].body["tools"][0]["functionDeclarations"]
    assert "parametersJsonSchema" in first
    assert lists["parameters"]["properties"]["ids"]["type"] == "STRING"


def test_a_tool_that_is_refused_in_every_form_is_left_out(gateway: GatewayProcess, sandbox: RunningSandbox) -> None:
    reply = ask(gateway, "400-tool-refused", tools=tools(first=OPEN, refused=OPEN, last=OPEN))
    assert (reply.header(APPLIED) or "").endswith("tool.refused:dropped")
    assert list(forms(sandbox.generations[-1].body)) == ["first", "last"]


def test_several_broken_tools_are_isolated_one_after_the_other(
    gateway: GatewayProcess, sandbox: RunningSandbox
) -> None:
    reply = ask(gateway, "400-tool-keyword", tools=tools(a=CLOSED, b=OPEN, c=CLOSED))
    assert reply.header(APPLIED) == "tool.a:loosened, tool.c:loosened"
    assert forms(sandbox.generations[-1].body)["b"] == "parametersJsonSchema"


ASKED: list[Any] = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "first"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
]
ASKED[1]["tool_calls"][0]["function"]["arguments"] = "{}"
ASKED[1]["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "c29tZXRoaW5nLWVsc2U="}}
LEVEL = {"google": {"thinking_config": {"thinking_level": "minimal"}}}
REFUSALS: list[tuple[str, dict[str, Any], str, str, bool]] = [
    ("400-topk", {}, "topK:default dropped", "top_k", True),
    ("400-max-tokens", {}, "maxOutputTokens:default dropped", "max_output_tokens", True),
    ("400-thinking", {"extra_body": LEVEL}, "thinkingConfig:dropped", "thinking_config", True),
    (
        "400-mixed-tools",
        {"tools": [*tools(first=OPEN), {"type": "web_search"}]},
        "hosted tools:dropped",
        "hosted_tools",
        True,
    ),
    ("400-signature-once", {"messages": ASKED}, "signatures:dropped", "signatures", True),
    (
        "400-tool-results",
        {"messages": ASKED, "tools": tools(first=OPEN)},
        "tool results:in words",
        "tool_results",
        False,
    ),
]


@pytest.mark.parametrize(
    ("fault", "fields", "note", "counted", "learned"), REFUSALS, ids=[each[0] for each in REFUSALS]
)
def test_what_was_refused_is_mended_told_and_counted(
    gateway: GatewayProcess,
    sandbox: RunningSandbox,
    fault: str,
    fields: dict[str, Any],
    note: str,
    counted: str,
    learned: bool,
) -> None:
    before = len(sandbox.generations)
    reply = ask(gateway, fault, **fields)
    assert note in (reply.header(APPLIED) or "").split(", ")
    assert len(sent(sandbox, before)) == 2
    assert repairs(gateway) == {counted: 1}
    ask(gateway, fault, **fields)
    assert len(sent(sandbox, before)) == (3 if learned else 4), "what is known of a model does not fail first again"

"""Calls and results that stand as blocks in a message's content.

Anthropic's Messages have them there, and agents that were made for those send the same blocks to a Chat endpoint. They
become what Chat has for them; an empty text keeps each one's place, so that paths of the others stay true. Pure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from antigravity2api.dialects.chat import fields

_CALL, _RESULT = "tool_use", "tool_result"
_OF_SERVERS = frozenset({"server_tool_use", "mcp_tool_use", "executable_code", "code_execution_result"})
_RESULTS_OF_SERVERS = "_tool_result"
"""How the types of results end that a provider's own tools left in an answer."""
_NOTHING = {"type": "text", "text": ""}
_OWN = frozenset({"type", "name", "input"})


class Result(NamedTuple):
    """A tool's result that a user's message holds."""

    identity: str
    content: Any
    path: str
    failed: bool


def results_apart(content: list[Any], path: str) -> tuple[list[Result], list[Any]]:
    """The results among a user's parts, and the parts without them. Raises ``Fault``."""
    if not any(_kind(block) == _RESULT for block in content):
        return [], content
    results, rest = [], []
    for index, block in enumerate(content):
        if _kind(block) != _RESULT:
            rest.append(block)
            continue
        where = f"{path}[{index}]"
        identity = fields.required_text(block, "tool_use_id", where)
        failed = fields.boolean(block, "is_error", where) or False
        results.append(Result(identity, block.get("content"), f"{where}.content", failed))
        rest.append(_NOTHING)
    return results, rest


def calls_apart(message: dict[str, Any], path: str, applied: list[str]) -> dict[str, Any]:
    """An assistant's message with the calls of its content as ``tool_calls``. Raises ``Fault``.

    What a provider's own tools did is told in the answer's text: its blocks are nobody else's, and are left out.
    """
    content: list[Any] = message["content"]
    if not any(_kind(block) == _CALL or _is_of_server(block) for block in content):
        return message
    calls = list(fields.array(message, "tool_calls", path) or ())
    known = {call["id"] for call in calls if isinstance(call, dict) and isinstance(call.get("id"), str)}
    rest = []
    for index, block in enumerate(content):
        where = f"{path}.content[{index}]"
        if _kind(block) == _CALL:
            call = _call(block, where)
            if not call["id"] or call["id"] not in known:  # some tell their calls in both ways
                calls.append(call)
        elif _is_of_server(block):
            applied.append(f"{where}:dropped")
        else:
            rest.append(block)
            continue
        rest.append(_NOTHING)
    return {**message, "content": rest, "tool_calls": calls}


def _call(block: dict[str, Any], where: str) -> dict[str, Any]:
    given = block.get("input")
    if given is not None and not isinstance(given, dict | str):
        raise fields.wrong_type(f"{where}.input", "an object", given)
    function = {"name": fields.required_text(block, "name", where), "arguments": given}
    beside = {key: value for key, value in block.items() if key not in _OWN}
    return {**beside, "id": fields.text(block, "id", where) or "", "type": "function", "function": function}


def _kind(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if isinstance(kind, str) else ""


def _is_of_server(block: Any) -> bool:
    kind = _kind(block)
    return kind in _OF_SERVERS or kind.endswith(_RESULTS_OF_SERVERS)

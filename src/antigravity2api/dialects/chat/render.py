"""A whole Chat Completions answer: the stream's deltas, added up. There is no second mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antigravity2api import ids
from antigravity2api.dialects.base import Origin, Toolbox
from antigravity2api.dialects.chat.answer import Choice, Delta, Way, chat_usage, dumped
from antigravity2api.dialects.chat.notes import ChatNotes
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.fold import blocked, candidates_of, index_of, plain_text, truncated
from antigravity2api.gemini.types import Response
from antigravity2api.gemini.usage import Usage, estimated_usage, usage_of


def render_chat(
    call: Call,
    response: Response,
    origin: Origin,
    box: Toolbox,
    upstream: str,
    *,
    text: str | None = None,
    usage: Usage | None = None,
) -> bytes:
    """The body of a chat completion from a folded response; ``text`` and ``usage`` are its own, where they are known.

    Raises ``Fault`` where the response is none."""
    choices = plain_choices(call, text if text is not None else plain_text(response))
    if choices is None:
        choices = _choices(call, response, Way(call, origin, box, upstream, live=False))
    whole: dict[str, Any] = {
        "id": ids.completion_id(),
        "object": "chat.completion",
        "created": ids.now(),
        "model": call.asked_model,
        "choices": choices,
        "usage": chat_usage(usage or usage_of(response.get("usageMetadata") or _estimated(call, choices))),
    }
    notes = call.options
    if isinstance(notes, ChatNotes) and notes.service_tier is not None:
        whole["service_tier"] = notes.service_tier
    return dumped(whole)


def plain_choices(call: Call, text: str | None) -> list[dict[str, Any]] | None:
    """What ``_choices`` makes of an answer that is one text and goes out as it is, in one step; None for any other."""
    notes = call.options
    if text is None or (isinstance(notes, ChatNotes) and (notes.json_wrapped or notes.strip_fence)):
        return None
    message = {"role": "assistant", "content": text, "refusal": None}
    return [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]


def _choices(call: Call, response: Response, way: Way) -> list[dict[str, Any]]:
    refused = blocked(response)
    candidates = {index_of(candidate): candidate for candidate in candidates_of(response)}
    wanted = [index for index in sorted(candidates) if index < way.choices()]
    if refused is not None:
        # A refused prompt is an answer for each choice that got no candidate of its own.
        wanted = list(range(way.choices())) if call.copies > 1 or not candidates else wanted
    if not wanted:
        raise truncated()
    return [_choice(index, candidates.get(index, {}), way, refused) for index in wanted]


def _choice(index: int, candidate: Mapping[str, Any], way: Way, refused: str | None) -> dict[str, Any]:
    choice = Choice(index, way)
    deltas = choice.take(candidate)
    # Whether an empty answer may pass was decided where the response was folded.
    finish = choice.ending.judge(refused=refused, accept_empty=True)
    held, last, reason = choice.close(finish, refused)
    return {
        "index": index,
        "message": added_up([*deltas, *held, last]),
        "logprobs": choice.take_logprobs(),
        "finish_reason": reason,
    }


def added_up(deltas: list[Delta]) -> dict[str, Any]:
    """The message that a stream's deltas make, as SDKs add them up."""
    content: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    for delta in deltas:
        for name, value in delta.items():
            match name:
                case "content":
                    content.append(value)
                case "reasoning_content":
                    thoughts.append(value)
                case "tool_calls":
                    calls += [{key: item for key, item in call.items() if key != "index"} for call in value]
                case "images":
                    images += value
                case _:
                    message[name] = value
    text = "".join(content)
    # Null stands for "only calls"; an empty answer is an empty text.
    message["content"] = text if text or not (calls or "function_call" in message) else None
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    if images:
        message["images"] = images
    return message


def _estimated(call: Call, choices: list[dict[str, Any]]) -> Mapping[str, Any]:
    size = sum(len((choice["message"]["content"] or "").encode("utf-8", "replace")) for choice in choices)
    return estimated_usage(call.request, size)

"""Answers without a gateway: calls to encode for, events to feed, and a reader of what a client would get."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from antigravity2api.dialects.base import ChatSettings, Origin, StoredImage, Toolbox
from antigravity2api.dialects.chat.encoder import ChatEncoder
from antigravity2api.dialects.chat.notes import ChatNotes
from antigravity2api.dialects.chat.render import render_chat
from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.fold import Fold
from antigravity2api.gemini.models import ModelProfile, ModelTable
from antigravity2api.gemini.signature import Signed

try:  # the official types, where the official SDK is installed; the checks below hold without it
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
except ImportError:
    ChatCompletion = ChatCompletionChunk = None

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SIGNATURE = "RVhBTVBMRS1TSUdOQVRVUkU="
TABLE = ModelTable.load()
ORIGIN = Origin("http://localhost:8045", None, "gemini")
FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}


class Signatures:
    """A signature store that tests can look into."""

    def __init__(self) -> None:
        self.held: dict[str, Signed] = {}

    def put(self, key: str, signed: Signed) -> None:
        self.held[key] = signed

    def get(self, key: str) -> Signed | None:
        return self.held.get(key)

    def none_of(self, keys: Sequence[str]) -> bool:
        return all(self.get(key) is None for key in keys)


class Images:
    """An image shelf in memory; ``broken`` makes it a full disk."""

    def __init__(self) -> None:
        self.held: list[tuple[bytes, str, str | None]] = []
        self.broken = False

    def put(self, data: bytes, mime_type: str, signature: str | None) -> str:
        if self.broken:
            raise OSError("no space left")
        self.held.append((data, mime_type, signature))
        return f"/images/{len(self.held)}.{mime_type.removeprefix('image/')}"

    def get(self, path: str) -> StoredImage | None:
        return None


def make_box(**settings: Any) -> Toolbox:
    """A toolbox with empty shelves."""
    return Toolbox(TABLE, Signatures(), Images(), ChatSettings(**settings))


def make_call(*, copies: int = 1, request: Any = None, **notes: Any) -> Call:
    """A call as the request side would leave it."""
    notes = {name: frozenset(value) if name in ("declared", "custom_tools") else value for name, value in notes.items()}
    return Call(
        dialect="chat",
        operation="chat",
        asked_model="gemini-2.0-flash-exp",
        model="gemini-2.5-flash",
        profile=ModelProfile(family="gemini-3"),
        request=request or {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
        stream=True,
        options=ChatNotes(**notes),
        copies=copies,
    )


def event(*parts: Any, finish: Any = None, index: int | None = None, usage: Any = None, **extra: Any) -> dict[str, Any]:
    """One upstream event with one candidate."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, **extra}
    if finish is not None:
        candidate["finishReason"] = finish
    if index is not None:
        candidate["index"] = index
    whole: dict[str, Any] = {"candidates": [candidate]}
    if usage is not None:
        whole["usageMetadata"] = usage
    return whole


def text(words: str, **extra: Any) -> dict[str, Any]:
    return {"text": words, **extra}


def thought(words: str, **extra: Any) -> dict[str, Any]:
    return {"text": words, "thought": True, **extra}


def tool(name: str, args: Any = None, signature: str | None = None) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"name": name}}
    if args is not None:
        part["functionCall"]["args"] = args
    if signature:
        part["thoughtSignature"] = signature
    return part


def streamed(
    events: Iterable[Any], call: Call | None = None, box: Toolbox | None = None, *, accept_empty: bool = False
) -> bytes:
    """The bytes of a whole stream. Raises ``Fault`` as the encoder does."""
    encoder = ChatEncoder(call or make_call(), ORIGIN, box or make_box(), "gemini")
    encoder.accept_empty = accept_empty
    return b"".join([*[encoder.feed(item) for item in events], encoder.finish()])


def streamed_or_failed(events: Iterable[Any], call: Call, box: Toolbox) -> tuple[bytes, Fault | None]:
    """The bytes of a stream as a client gets them, an error frame included."""
    encoder = ChatEncoder(call, ORIGIN, box, "gemini")
    sent: list[bytes] = []
    try:
        sent.extend(encoder.feed(item) for item in events)
        sent.append(encoder.finish())
    except Fault as fault:
        return b"".join([*sent, encoder.fail(fault)]), fault
    return b"".join(sent), None


def folded(events: Iterable[Any], *, accept_empty: bool = False) -> dict[str, Any]:
    """The events as one response."""
    fold = Fold(accept_empty=accept_empty)
    for item in events:
        fold.feed(item)
    return fold.response()


def whole(
    events: Iterable[Any], call: Call | None = None, box: Toolbox | None = None, *, accept_empty: bool = False
) -> dict[str, Any]:
    """The parsed body of a whole answer."""
    response = folded(events, accept_empty=accept_empty)
    body = render_chat(call or make_call(), response, ORIGIN, box or make_box(), "gemini")
    answer = json.loads(body)
    check_answer(answer)
    return answer


def frames(data: bytes) -> list[Any]:
    """The data of each event: parsed, or the end marker."""
    blocks = data.decode("utf-8").split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    bodies = [block.removeprefix("data: ") for block in blocks]
    return [body if body == "[DONE]" else json.loads(body) for body in bodies]


def chunks(data: bytes) -> list[dict[str, Any]]:
    """The checked chunks of a stream that ended well."""
    found = frames(data)
    assert found.pop() == "[DONE]"
    check_stream(found)
    return found


def check_stream(found: list[dict[str, Any]]) -> None:
    """What holds for every stream, whatever the model said."""
    roles: dict[int, int] = {}
    finishes: dict[int, int] = {}
    assert found
    for chunk in found:
        assert chunk["object"] == "chat.completion.chunk"
        assert [chunk[name] for name in ("id", "created", "model")] == [
            found[0][name] for name in ("id", "created", "model")
        ]
        assert "error" not in chunk
        if ChatCompletionChunk is not None:
            _strictly(ChatCompletionChunk, chunk)
        for choice in chunk["choices"]:
            index, delta = choice["index"], choice["delta"]
            assert index not in finishes, "nothing follows a finish"
            assert None not in delta.values()
            if "role" in delta:
                roles[index] = roles.get(index, 0) + 1
            assert roles.get(index) == 1, "the role comes once and first"
            if choice["finish_reason"] is not None:
                finishes[index] = finishes.get(index, 0) + 1
                assert choice["finish_reason"] in FINISHES
    assert roles.keys() == finishes.keys() and roles


def check_answer(answer: dict[str, Any]) -> None:
    """What holds for every whole answer."""
    assert answer["object"] == "chat.completion" and answer["choices"]
    assert {"prompt_tokens", "completion_tokens", "total_tokens"} <= answer["usage"].keys()
    for choice in answer["choices"]:
        assert choice["finish_reason"] in FINISHES
        assert {"role", "content", "refusal"} <= choice["message"].keys()
        assert "logprobs" in choice
    if ChatCompletion is not None:
        _strictly(ChatCompletion, answer)


def _strictly(model: Any, value: dict[str, Any]) -> None:
    # The SDK's stream types know function tools only, though custom ones come the same way.
    if '"type":"custom"' not in json.dumps(value, separators=(",", ":")):
        model.model_validate(value, strict=True)


def joined(found: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What an SDK adds up from a stream: a choice in the shape of a whole answer, by index."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in found:
        for part in chunk["choices"]:
            choice = choices.setdefault(part["index"], {"index": part["index"], "message": {}, "logprobs": None})
            _add(choice["message"], part["delta"])
            choice["finish_reason"] = part["finish_reason"]
            if part.get("logprobs"):
                tokens = choice["logprobs"]["content"] if choice["logprobs"] else []
                choice["logprobs"] = {"content": tokens + part["logprobs"]["content"], "refusal": None}
    for choice in choices.values():
        message = choice["message"]
        message.setdefault("refusal", None)
        message.setdefault("content", None if "tool_calls" in message or "function_call" in message else "")
        for entry in message.get("tool_calls", ()):
            del entry["index"]
    return choices


def _add(target: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if name in target and isinstance(value, str):
            target[name] += value
        elif name in target and isinstance(value, dict):
            _add(target[name], value)
        elif name in target and isinstance(value, list):
            target[name] += value
        else:
            target[name] = json.loads(json.dumps(value))


def usage_chunks(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The chunks that carry usage."""
    return [chunk for chunk in found if chunk.get("usage")]

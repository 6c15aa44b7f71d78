"""A toolbox for translating without a gateway: the shipped model table, signatures and images held in dicts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from antigravity2api.dialects.base import ChatSettings, Origin, StoredImage, Toolbox
from antigravity2api.dialects.chat.request import Plans, parse_chat
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.models import ModelTable
from antigravity2api.gemini.signature import Signed

TABLE = ModelTable.load()


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
    """An image shelf that tests can fill."""

    def __init__(self) -> None:
        self.held: dict[str, StoredImage] = {}

    def put(self, data: bytes, mime_type: str, signature: str | None) -> str:
        raise AssertionError("a request stores no image")

    def get(self, path: str) -> StoredImage | None:
        return self.held.get(path)


def make_box(**settings: Any) -> Toolbox:
    """A toolbox with the given chat settings."""
    return Toolbox(TABLE, Signatures(), Images(), ChatSettings(**settings))


def origin(upstream: str = "gemini", engine: str | None = None) -> Origin:
    """A client on the default address."""
    return Origin("http://localhost:8045", engine, upstream)


def parse(body: Any, box: Toolbox | None = None, at: Origin | None = None) -> Call:
    """The call for a body given as Python data."""
    return parse_chat(json.dumps(body).encode(), at or origin(), box or make_box(), Plans())


def ask(*messages: Any, model: str = "gemini-2.5-flash-lite", **fields: Any) -> dict[str, Any]:
    """A body on a model that does not think by default, so that budgets stay as they are."""
    return {"model": model, "messages": list(messages) or [user("hi")], **fields}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any = None, *calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **fields}
    if calls:
        message["tool_calls"] = list(calls)
    return message


def call(identity: str, name: str, arguments: Any = "{}", **fields: Any) -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}, **fields}


def result(identity: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identity, "content": content, **fields}


def function(name: str, parameters: Any = None, description: str | None = None) -> dict[str, Any]:
    inner: dict[str, Any] = {"name": name}
    if description is not None:
        inner["description"] = description
    if parameters is not None:
        inner["parameters"] = parameters
    return {"type": "function", "function": inner}

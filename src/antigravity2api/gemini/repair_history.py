"""A history whose calls and results an upstream does not take as pairs, told in words instead. Pure."""

from __future__ import annotations

from typing import cast

from antigravity2api.gemini.parts import parts_of
from antigravity2api.gemini.schema_nodes import json_text
from antigravity2api.gemini.types import Content, Part


def in_words(contents: list[Content]) -> list[Content] | None:
    """The same history without a call or a result in it: each is a text at its place. None where there is none.

    A last resort: the model still reads what was called and what came of it, and no count can be wrong any more.
    """
    made = [{**content, "parts": [word for part in parts_of(content) for word in _words(part)]} for content in contents]
    kept = [cast("Content", content) for content in made if content["parts"]]
    return None if kept == contents else kept


def _words(part: Part) -> list[Part]:
    if "functionCall" in part:
        call = part["functionCall"]
        return [{"text": f"[called {call['name']} with {json_text(call.get('args') or {})}]"}]
    if "functionResponse" not in part:
        return [part]
    result = part["functionResponse"]
    response = result.get("response") or {}
    text = response.get("output") if response.keys() == {"output"} else None
    said = text if isinstance(text, str) else json_text(response)
    pictures = cast("list[Part]", list(result.get("parts") or ()))
    return [{"text": f"[result of {result['name']}] {said}"}, *pictures]

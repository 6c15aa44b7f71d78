"""Token figures: four bytes of text a token, and Google's flat price for media."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from antigravity2api.sandbox.contents import modality
from antigravity2api.sandbox.google import Json

_MEDIA = {"IMAGE": 258, "AUDIO": 320, "VIDEO": 2630, "DOCUMENT": 516, "TEXT": 258}
IMAGE_OUT = 1120
"""Tokens of one generated image."""


def text_tokens(text: str) -> int:
    """Tokens of a text; an empty one has none."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


def value_tokens(value: Any) -> int:
    """Tokens of a JSON value."""
    return text_tokens(json.dumps(value, ensure_ascii=False))


def prompt_tokens(request: Json) -> Counter[str]:
    """Tokens of a request by modality."""
    found: Counter[str] = Counter()
    contents = [*(request.get("contents") or []), request.get("systemInstruction") or {}]
    for content in contents:
        for part in content.get("parts") or []:
            _count_part(part, found)
    for key in ("tools", "toolConfig"):
        if request.get(key):
            found["TEXT"] += value_tokens(request[key])
    return found


def _count_part(part: Json, found: Counter[str]) -> None:
    for key in ("inlineData", "fileData"):
        if key in part:
            kind = modality(part[key].get("mimeType", "")) or "DOCUMENT"
            found[kind] += _MEDIA[kind]
            return
    if "text" in part:
        found["TEXT"] += text_tokens(part["text"])
        return
    rest = {key: item for key, item in part.items() if key != "thoughtSignature"}
    result = rest.get("functionResponse")
    if isinstance(result, dict) and result.get("parts"):
        for item in result["parts"]:
            _count_part(item, found)
        rest = {"functionResponse": {key: item for key, item in result.items() if key != "parts"}}
    found["TEXT"] += value_tokens(rest)


def part_tokens(part: Json) -> int:
    """Tokens of a part that the model wrote."""
    if "inlineData" in part:
        return IMAGE_OUT
    if "text" in part:
        return text_tokens(part["text"])
    return value_tokens({key: item for key, item in part.items() if key != "thoughtSignature"})


def metadata(prompt: Counter[str], answered: int, thoughts: int, tool_prompt: int, images: int = 0) -> Json:
    """``usageMetadata``: absent where zero, as on Google's wire; the total is the sum of its parts."""
    total = prompt.total()
    usage: Json = {"promptTokenCount": total}
    if answered:
        usage["candidatesTokenCount"] = answered
    usage["totalTokenCount"] = total + answered + thoughts + tool_prompt
    usage["promptTokensDetails"] = [
        {"modality": kind, "tokenCount": count}
        for kind, count in sorted(prompt.items(), key=lambda item: item[0] != "TEXT")
    ]
    if images:
        usage["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": images * IMAGE_OUT}]
    if tool_prompt:
        usage["toolUsePromptTokenCount"] = tool_prompt
        usage["toolUsePromptTokensDetails"] = [{"modality": "TEXT", "tokenCount": tool_prompt}]
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    return usage

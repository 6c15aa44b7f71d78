"""What Claude behind Cloud Code Assist refuses, in the vendor's own error body inside Google's message."""

from __future__ import annotations

import re

from antigravity2api.sandbox.config import declared
from antigravity2api.sandbox.contents import Rules, calls_of, results_of, turn_start
from antigravity2api.sandbox.google import Json, nested

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
_ID = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)


def check_claude(request: Json, rules: Rules) -> None:
    """Raise the vendor's 400 for what the Gemini rules let pass."""
    for index, content in enumerate(request["contents"]):
        if _ends_unsigned(content):
            raise nested(f"messages.{index}.content.0.thinking.signature: Field required")
    config: Json = request.get("generationConfig") or {}
    budget = (config.get("thinkingConfig") or {}).get("thinkingBudget") or 0
    if budget > 0:
        if budget < 1024:
            raise nested("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if budget >= config.get("maxOutputTokens", 0):
            raise nested("`max_tokens` must be greater than `thinking.budget_tokens`.")
        if config.get("temperature", 1) != 1 or "topK" in config:
            raise nested("`temperature` may only be set to 1 when thinking is enabled.")
        _check_thoughts_first(request["contents"])
    if "temperature" in config and "topP" in config:
        raise nested("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    for index, function in enumerate(declared(request)):
        if not _NAME.fullmatch(function.get("name", "")):
            raise nested(f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
        if not (function.get("parameters") or {}).get("properties"):
            raise nested(f"tools.{index}.custom.input_schema: object schema needs at least one property")
    for index, content in enumerate(request["contents"]):
        for part in [*calls_of(content), *results_of(content)]:
            found = (part.get("functionCall") or part.get("functionResponse") or {}).get("id", "")
            if not _ID.fullmatch(found):
                raise nested(f"messages.{index}.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")


def _ends_unsigned(content: Json) -> bool:
    """Whether a thought ends without its signature; it may come in several parts, the last of which is signed."""
    parts = content.get("parts") or []
    return any(
        part.get("thought") and "thoughtSignature" not in part and not (after or {}).get("thought")
        for part, after in zip(parts, [*parts[1:], None], strict=True)
    )


def _check_thoughts_first(contents: list[Json]) -> None:
    """With thinking on, a model content of the current turn that calls a tool begins with a signed thought."""
    for index in range(turn_start(contents), len(contents)):
        if not calls_of(contents[index]):
            continue
        first = contents[index]["parts"][0]
        if not (first.get("thought") and first.get("thoughtSignature")):
            found = "text" if "text" in first else "tool_use"
            raise nested(
                f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. "
                f"When "
                "`thinking` is enabled, a final `assistant` message must start with a thinking block."
            )

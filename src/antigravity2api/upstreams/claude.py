"""What Claude behind Antigravity wants of a Gemini-shaped request. Pure.

Google converts the request to Anthropic's Messages there, and Anthropic's rules come through: thinking has a budget and
a signed block at the start of a turn with calls, results are paired with calls by id, one sampling knob is enough.
"""

from __future__ import annotations

import re
from typing import Any

from antigravity2api.gemini.call import Call
from antigravity2api.gemini.parts import current_turn
from antigravity2api.gemini.signature import is_escape

OUTPUT_LIMIT = 64000
MIN_BUDGET = 1024
_DYNAMIC_BUDGET = 16384
_LEVEL_BUDGETS = {"MINIMAL": 1024, "LOW": 8192, "MEDIUM": 16384, "HIGH": 32768, "XHIGH": 49152}
_UNKNOWN = ("presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "candidateCount", "seed")
_BAD_ID = re.compile(r"[^A-Za-z0-9_-]")


def shaped_contents(contents: list[Any], notes: list[str]) -> list[Any]:
    """The history with signed thoughts only, thoughts before text before calls, and ids that pair."""
    return _paired(_ordered(contents, notes))


def _ordered(contents: list[Any], notes: list[str]) -> list[Any]:
    out = []
    for content in contents:
        if content.get("role") != "model":
            out.append(content)
            continue
        parts = [_without_escape(part) for part in content.get("parts", ())]
        kept = [part for part in parts if not part.get("thought") or part.get("thoughtSignature")]
        if len(kept) != len(parts):
            notes.append("unsigned thoughts")
        if kept:
            out.append({**content, "parts": sorted(kept, key=_rank)})
    return out


def _rank(part: dict[str, Any]) -> int:
    return 0 if part.get("thought") else 2 if "functionCall" in part else 1


def _without_escape(part: dict[str, Any]) -> dict[str, Any]:
    """Google's escape values stand for no thought of Claude's: it refuses them."""
    if not is_escape(part.get("thoughtSignature")):
        return part
    return {key: value for key, value in part.items() if key != "thoughtSignature"}


def without_thoughts(contents: list[Any]) -> list[Any]:
    """The history for a request that does not think: thoughts of earlier answers have no place in it."""
    out = []
    for content in contents:
        parts = content.get("parts", ())
        if content.get("role") == "model" and any(part.get("thought") for part in parts):
            kept = [part for part in parts if not part.get("thought")]
            if kept:
                out.append({**content, "parts": kept})
            continue
        out.append(content)
    return out


def _paired(contents: list[Any]) -> list[Any]:
    """Every call and its result with the same id; one that is missing is made from the call's place."""
    out = []
    waiting: list[str] = []
    for at, content in enumerate(contents):
        if content.get("role") == "model":
            waiting = []
        parts = []
        for part in content.get("parts", ()):
            key = "functionCall" if "functionCall" in part else "functionResponse"
            entry = part.get(key)
            if not isinstance(entry, dict):
                parts.append(part)
                continue
            known = _BAD_ID.sub("_", str(entry.get("id") or ""))
            if key == "functionCall":
                known = known or f"call_{at}_{len(waiting)}"
                waiting.append(known)
            elif known in waiting:
                waiting.remove(known)
            elif not known:
                known = waiting.pop(0) if waiting else f"call_{at}_{len(parts)}"
            parts.append({**part, key: {**entry, "id": known}})
        out.append({**content, "parts": parts})
    return out


def shaped_config(config: dict[str, Any], contents: list[Any], call: Call, notes: list[str]) -> dict[str, Any]:
    """The generation config for Claude: an output limit always, thinking within it, sampling that is accepted."""
    config = dict(config)
    _drop(config, _UNKNOWN, notes, silent=call.defaulted)
    limit = min(call.profile.output_limit or OUTPUT_LIMIT, OUTPUT_LIMIT)
    asked = config.get("maxOutputTokens")
    config["maxOutputTokens"] = min(asked, limit) if isinstance(asked, int) else limit
    thinking = _thinking(config.pop("thinkingConfig", None), config["maxOutputTokens"])
    if thinking is not None and not _may_think(contents):
        thinking = None
        notes.append("thinkingConfig:off without the signed thought of these calls")
    if thinking is not None:
        config["thinkingConfig"] = thinking
        _drop(config, ("temperature", "topP", "topK"), notes, silent=call.defaulted)
        return config
    ours = call.defaulted
    if "topP" in ours:
        config.pop("topP", None)
    elif "topP" in config and "temperature" in ours:
        config.pop("temperature", None)
    if "topK" in ours:
        config.pop("topK", None)
    return config


def _drop(config: dict[str, Any], keys: tuple[str, ...], notes: list[str], *, silent: frozenset[str]) -> None:
    """Leave keys out; told where the value was the client's own."""
    notes += [key for key in keys if config.pop(key, None) is not None and key not in silent]


def _thinking(config: Any, output: int) -> dict[str, Any] | None:
    """A budget of at least 1024 below the output limit; None where there is no room, or thinking is off."""
    if not isinstance(config, dict):
        return None
    made = {key: value for key, value in config.items() if key not in ("thinkingLevel", "thinkingBudget")}
    budget = config.get("thinkingBudget")
    if not isinstance(budget, int) or isinstance(budget, bool):
        level = config.get("thinkingLevel")
        if level is None:
            return None
        budget = _LEVEL_BUDGETS.get(str(level).upper(), _DYNAMIC_BUDGET)
    if budget < 0:
        budget = _DYNAMIC_BUDGET
    if budget == 0:
        return None
    budget = min(max(budget, MIN_BUDGET), output - 1)
    if budget < MIN_BUDGET:
        return None
    # Its signed thoughts are needed for the next step, whether or not the client wants to read them.
    return {**made, "thinkingBudget": budget, "includeThoughts": True}


def _may_think(contents: list[Any]) -> bool:
    """Whether every answer with calls in the current turn begins with the signed thought that Anthropic demands."""
    for content in contents[current_turn(contents) :]:
        parts = content.get("parts") or []
        if content.get("role") != "model" or not any("functionCall" in part for part in parts):
            continue
        if not (parts[0].get("thought") and parts[0].get("thoughtSignature")):
            return False
    return True

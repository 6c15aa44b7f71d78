"""What an answer cost: Google's counters in clients' terms, over a stream, over copies, and where none came. Pure.

A counter of a wrong type counts as missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

_MANY = 10**15
"""More tokens than anyone means."""
_NONE: Mapping[str, int] = MappingProxyType({})


class Usage(NamedTuple):
    """Token counts in clients' terms. ``prompt`` includes cached tokens, ``completion`` includes thoughts."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    prompt_by_modality: Mapping[str, int] = _NONE
    """Lower-case modality (``text``, ``image``, ``audio``, ``video``, ``document``) → tokens; empty when not told."""
    completion_by_modality: Mapping[str, int] = _NONE
    reported_total: int | None = None
    """The upstream's own total; differs from ``total`` where Google counts something new."""

    @property
    def total(self) -> int:
        return self.prompt + self.completion


def usage_of(meta: Mapping[str, Any], *, modalities: bool = True) -> Usage:
    """Google's counters (total = prompt + candidates + toolUsePrompt + thoughts) as ``Usage``; without ``modalities``
    for who does not look at those."""
    get = meta.get
    prompt, completion, total = get("promptTokenCount"), get("candidatesTokenCount"), get("totalTokenCount")
    if not (type(prompt) is type(completion) is type(total) is int) or not 0 < prompt <= total < _MANY > completion > 0:
        prompt, completion, total = _count(prompt), _count(completion), _count(total)
    asked = prompt
    cached = thoughts = 0
    if "toolUsePromptTokenCount" in meta:
        asked += _count(meta["toolUsePromptTokenCount"])
    if "cachedContentTokenCount" in meta:
        cached = min(_count(meta["cachedContentTokenCount"]), prompt)
    if "thoughtsTokenCount" in meta:
        thoughts = _count(meta["thoughtsTokenCount"])
        # Some backends count thoughts inside the candidates; their total gives them away.
        if total != asked + completion:
            completion += thoughts
    return Usage(
        asked,
        completion,
        cached,
        thoughts,
        _by_modality(meta["promptTokensDetails"]) if modalities and "promptTokensDetails" in meta else _NONE,
        _by_modality(meta["candidatesTokensDetails"]) if modalities and "candidatesTokensDetails" in meta else _NONE,
        total if "totalTokenCount" in meta else None,
    )


def _count(value: Any) -> int:
    if type(value) is int:
        return value if 0 < value < _MANY else 0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and 0 < value < _MANY else 0
    return 0


def _by_modality(details: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in details if isinstance(details, list) else ():
        word = entry.get("modality") if isinstance(entry, dict) else None
        if isinstance(word, str):
            name = word.lower()
            counts[name] = counts.get(name, 0) + _count(entry.get("tokenCount"))
    return counts


def counted_whole(meta: Mapping[str, Any]) -> bool:
    """Whether all is counted that a complete answer has: prompt, output and total."""
    produced = _count(meta.get("thoughtsTokenCount")) + _count(meta.get("candidatesTokenCount"))
    return produced > 0 and _count(meta.get("promptTokenCount")) > 0 and _count(meta.get("totalTokenCount")) > 0


class Tally:
    """Running totals of a stream: the last value that is there, per field; never a sum."""

    __slots__ = ("counts", "nulls")

    def __init__(self) -> None:
        self.counts: dict[str, Any] = {}
        """What is known so far. ``counts.update`` is ``add`` for an object without nulls."""
        self.nulls = False
        """Whether this upstream writes null for what is missing."""

    def add(self, meta: Any) -> None:
        """Take an event's usageMetadata, whatever it is."""
        if not isinstance(meta, dict):
            return
        if None in meta.values():
            self.nulls = True
            meta = {name: value for name, value in meta.items() if value is not None}
        self.counts.update(meta)


def combined_usage(metas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The usage of parallel calls with one prompt: the prompt of one, the output of all."""
    metas = [meta for meta in metas if meta]
    if len(metas) < 2:
        return dict(metas[0]) if metas else {}
    usages = [usage_of(meta) for meta in metas]
    completion = sum(usage.completion for usage in usages)
    thoughts = sum(usage.reasoning for usage in usages)
    by_modality: dict[str, int] = {}
    for usage in usages:
        for name, count in usage.completion_by_modality.items():
            by_modality[name] = by_modality.get(name, 0) + count
    merged = dict(metas[0])
    merged["candidatesTokenCount"] = completion - thoughts
    merged["totalTokenCount"] = usages[0].prompt + completion
    if thoughts:
        merged["thoughtsTokenCount"] = thoughts
    if by_modality:
        merged["candidatesTokensDetails"] = [
            {"modality": name.upper(), "tokenCount": count} for name, count in by_modality.items()
        ]
    return merged


def estimated_usage(request: Mapping[str, Any], output_bytes: int) -> dict[str, Any]:
    """Counters for an answer that came without any: four bytes of text a token."""
    prompt = (_text_bytes(request.get("contents")) + _text_bytes(request.get("systemInstruction")) + 3) // 4
    output = (output_bytes + 3) // 4
    return {"promptTokenCount": prompt, "candidatesTokenCount": output, "totalTokenCount": prompt + output}


def _text_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, list):
        return sum(_text_bytes(item) for item in value)
    if isinstance(value, Mapping):
        return sum(_text_bytes(item) for name, item in value.items() if name not in ("inlineData", "thoughtSignature"))
    return 0

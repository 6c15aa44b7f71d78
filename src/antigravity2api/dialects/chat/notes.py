"""What the request side of Chat Completions leaves for the answer side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatNotes:
    """The dialect's own notes on one request; stands in ``Call.options``."""

    include_usage: bool = False
    """``stream_options.include_usage``: a usage chunk is wanted."""
    legacy_functions: bool = False
    """The client declared ``functions``: calls are answered as ``message.function_call``."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Upstream tool name → the client's name."""
    declared: frozenset[str] = frozenset()
    """Upstream names of every declared tool."""
    custom_tools: frozenset[str] = frozenset()
    """The client's names of custom (free text) tools; their one argument is ``input``."""
    schemas: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """The client's tool name → its original parameters schema."""
    single_call: bool = False
    """``parallel_tool_calls: false``: only the first call of an answer is handed on."""
    strip_fence: bool = False
    """JSON was asked for by instruction: a Markdown fence around the answer is taken off."""
    json_answer: bool = False
    """``response_format`` promises JSON: the answer is checked."""
    json_told: bool = False
    """It could be asked for in words only."""
    json_schema: dict[str, Any] | None = None
    """The client's schema for it; None: any object."""
    hide_reasoning: bool = False
    """The client asked for no reasoning text in the answer."""
    audio: dict[str, Any] | None = None
    """The requested audio object (``voice``, ``format``) where the answer shall speak."""
    json_wrapped: bool = False
    """The response schema was wrapped in an object with the one property ``value``; unwrap the answer."""
    service_tier: str | None = None
    """The tier to echo, in the client's spelling, when it was honoured."""
    candidates: int = 1
    """How many choices the client asked for (``n``)."""
    modalities: tuple[str, ...] = ()
    """The client's ``modalities``, lower case."""

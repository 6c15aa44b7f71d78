"""The hub language: Gemini's own JSON (REST spelling, camelCase), typed loosely so that unknown keys survive.

A streamed event has the same type as a whole response. Source of the field names: Google's published schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict


class Blob(TypedDict):
    """Inline bytes: ``data`` is base64 in the standard alphabet."""

    mimeType: str
    data: str


class FunctionCall(TypedDict):
    """What the model wants called."""

    name: str
    args: NotRequired[dict[str, Any]]
    id: NotRequired[str]


class FunctionResponse(TypedDict):
    """What came of a call."""

    name: str
    response: dict[str, Any]
    id: NotRequired[str]
    parts: NotRequired[list[Any]]


class Part(TypedDict, total=False):
    """One data field (``text``, ``inlineData``, ``functionCall`` …) beside ``thought`` and ``thoughtSignature``."""

    text: str
    inlineData: Blob
    fileData: dict[str, str]
    functionCall: FunctionCall
    functionResponse: FunctionResponse
    executableCode: dict[str, str]
    codeExecutionResult: dict[str, str]
    thought: bool
    thoughtSignature: str


class Content(TypedDict):
    """One turn: role ``user`` or ``model``."""

    role: NotRequired[str]
    parts: list[Part]


class GenerateContentRequest(TypedDict, total=False):
    """What goes upstream, before an upstream shapes it."""

    contents: list[Content]
    systemInstruction: Content
    tools: list[dict[str, Any]]
    toolConfig: dict[str, Any]
    generationConfig: dict[str, Any]
    safetySettings: list[dict[str, Any]]
    cachedContent: str
    continuationToken: str
    serviceTier: str
    labels: dict[str, str]


Chunk = Mapping[str, Any]
"""A ``GenerateContentResponse``: one streamed event or a whole answer."""

Response = dict[str, Any]
"""A folded ``GenerateContentResponse``."""

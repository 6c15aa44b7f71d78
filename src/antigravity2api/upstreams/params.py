"""Which parameter of the client an upstream's complaint is about, guessed from Google's field names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_OPENAI_NAME = {
    "temperature": "temperature",
    "topp": "top_p",
    "topk": "top_k",
    "maxoutputtokens": "max_tokens",
    "maxtokens": "max_tokens",
    "candidatecount": "n",
    "stopsequences": "stop",
    "stopsequence": "stop",
    "presencepenalty": "presence_penalty",
    "frequencypenalty": "frequency_penalty",
    "seed": "seed",
    "responselogprobs": "logprobs",
    "logprobs": "top_logprobs",
    "responsemimetype": "response_format",
    "responseschema": "response_format",
    "responsejsonschema": "response_format",
    "thinkingconfig": "reasoning_effort",
    "thinkingbudget": "reasoning_effort",
    "thinkinglevel": "reasoning_effort",
    "includethoughts": "reasoning_effort",
    "functiondeclaration": "tools",
    "functiondeclarations": "tools",
    "parametersjsonschema": "tools",
    "googlesearch": "tools",
    "tools": "tools",
    "toolconfig": "tool_choice",
    "functioncallingconfig": "tool_choice",
    "allowedfunctionnames": "tool_choice",
    "contents": "messages",
    "systeminstruction": "messages",
    "thoughtsignature": "messages",
    "functioncall": "messages",
    "functionresponse": "messages",
    "inlinedata": "messages",
    "filedata": "messages",
    "mimetype": "messages",
    "responsemodalities": "modalities",
    "speechconfig": "audio",
    "imageconfig": "image_config",
    "aspectratio": "image_config",
    "imagesize": "image_config",
    "mediaresolution": "media_resolution",
    "cachedcontent": "cached_content",
    "servicetier": "service_tier",
    "safetysettings": "safety_settings",
}
"""Google's field without case and underscores → the name that a client of ours knows."""

_PLAIN_WORDS = frozenset({"temperature", "seed", "logprobs", "contents"})
"""Field names that are safe to recognise although they are ordinary words; ``tools`` and ``model`` are not."""

_PHRASES = (
    (re.compile(r"thinking|reasoning"), "reasoning_effort"),
    (
        re.compile(r"function (?:call|response)|valid role|(?:user|model) turn|multi-?turn|thought signature"),
        "messages",
    ),
    (re.compile(r"output tokens?"), "max_tokens"),
    (re.compile(r"stop sequences?"), "stop"),
    (re.compile(r"top[ -]?k\b"), "top_k"),
    (re.compile(r"top[ -]?p\b"), "top_p"),
    (re.compile(r"presence penalty"), "presence_penalty"),
    (re.compile(r"frequency penalty"), "frequency_penalty"),
    (re.compile(r"candidates?\b.*\b(?:count|number|multiple)|multiple candidates"), "n"),
    (re.compile(r"response (?:schema|mime type)|json mode|controlled generation"), "response_format"),
    (re.compile(r"aspect ratio|image size"), "image_config"),
    (re.compile(r"function declarations?|function calling|\btools?\b"), "tools"),
    (re.compile(r"\bmime type|\bimages?\b|inline data|base64|\bpdf\b"), "messages"),
)
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*")


def guess_param(fields: Iterable[str], text: str) -> str | None:
    """The client's name of the field that a complaint is about: from its field paths, else from its words."""
    for path in fields:
        for name in _IDENTIFIER.findall(path):
            known = _OPENAI_NAME.get(name.replace("_", "").lower())
            if known is not None:
                return known
    if re.match(r"\s*(?:messages|contents)[.\[]", text):
        return "messages"
    for name in _IDENTIFIER.findall(text[:2000]):
        if "_" in name or name[1:] != name[1:].lower() or name in _PLAIN_WORDS:
            known = _OPENAI_NAME.get(name.replace("_", "").lower())
            if known is not None:
                return known
    lowered = text[:2000].lower()
    return next((param for pattern, param in _PHRASES if pattern.search(lowered)), None)

"""What the short notes of ``x-antigravity2api-applied`` mean: one sentence each, for people. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SENTENCES: tuple[tuple[str, str], ...] = (
    (r"model:(.+)", "the upstream has the model as {0}"),
    (r"(\w+):clamped (.+)", "{0} was more than the model takes; {1} was sent"),
    (r"coerced:(.+)", "arguments of {0} had the wrong JSON type and were converted as the tool's schema says"),
    (r"invalid_arguments:(.+)", "arguments of {0} do not fit the tool's schema; they were handed on unchanged"),
    (r"response_format:asked again", "the first answer did not fit the schema; the model was told so and asked again"),
    (r"signatures:escaped", "the upstream refused a thought signature; Google's escape value took its place"),
    (r"signatures:dropped", "the upstream refused a thought signature; signatures were left out"),
    (r"thought_signature:escape value", "signatures of earlier calls are not known; Google's escape value was sent"),
    (r"thinking:off", "the upstream refused the thoughts in the history; the model answered without thinking"),
    (r"thinkingConfig:dropped", "the upstream refused the thinking setting; it was left out"),
    (r"thinkingConfig:off without .+", "thinking was off: the signed thought that these calls need is not known"),
    (r"thinkingLevel:HIGH", "the highest thinking level that the upstream knows was sent"),
    (r"thinkingConfig", "the thinking setting cannot be used with this history or model; it was left out"),
    (r"unsigned thoughts", "thoughts without their signature are refused there; they were left out of the history"),
    (r"tool results:in words", "the upstream refused how calls and results stood together; they were told in words"),
    (r"hosted tools:dropped", "tools that run at Google cannot be mixed with functions there; they were left out"),
    (r"tools:dropped", "the model takes no tools; they were left out"),
    (r"tools:renamed (.+)", "{0} tool names had characters that the upstream refuses; the client sees its own names"),
    (r"tool\.(.+):loosened", "the upstream refused the schema of tool {0}; it was sent in a looser form"),
    (r"tool\.(.+):reduced", "the upstream refused the schema of tool {0}; it went into the description as text"),
    (r"tool\.(.+):dropped", "the upstream refused tool {0} in every form; it was left out"),
    (r"response_format:prose", "the model answered in prose, also when asked again; its words were handed on"),
    (r"response_format:described", "the upstream refused the answer's schema; an instruction asked for it instead"),
    (r"response_format:emulated", "the model has no JSON mode beside tools; an instruction asked for JSON instead"),
    (r"schema:openapi", "the upstream refused JSON Schema; the schemas were sent in Google's own subset of OpenAPI"),
    (r"schema:antigravity", "the upstream refused the schemas; types, names and enums were sent, the rest in words"),
    (r"schema:(.+)", "the upstream refused the schemas in its usual form; they were sent as {0}"),
    (r"schema\.size", "the schemas were larger than the upstream takes; the deepest parts became descriptions"),
    (r"schema\.(.+)", "{0} in a schema cannot be said to the upstream; it became part of the description"),
    (r"continued:(.+)", "the answer came in {0} pieces, which were joined"),
    (r"resumed:(.+)", "the connection broke {0} times, and the answer was taken up where it had been"),
    (r"systemInstruction", "the system text became the beginning of the first message"),
    (r"(.+):thoughts are not sent back", "reasoning in the history ({0}) is not sent back to the model"),
    (r"(.+):unknown keys ignored", "{0} has keys that nobody knows; they were ignored"),
    (r"(.+):default dropped", "the upstream refused {0}, which the client had not asked for; it was left out"),
    (r"(.+):ignored", "{0} has no counterpart upstream; it was ignored"),
    (r"(.+):dropped", "{0} is refused by this model; it was left out"),
    (r"([\w.]+)", "{0} is not known to the upstream; it was left out"),
)
_IN_WORDS = {"size": "the deepest parts", "$ref": "recursion without end"}
_COMPILED = tuple((re.compile(pattern, re.DOTALL).fullmatch, sentence) for pattern, sentence in _SENTENCES)


def explained(note: str) -> str:
    """The sentence for one note; the note itself where it is none of ours."""
    for fits, sentence in _COMPILED:
        if found := fits(note):
            return sentence.format(*found.groups())
    return note


def loosened(whose: str, keywords: Iterable[str]) -> str:
    """The sentence about a schema that went upstream with less in it than the client's."""
    words = [_IN_WORDS.get(keyword, keyword) for keyword in keywords]
    return f"the upstream does not take {', '.join(words)} of {whose}; what words can say is in the description"

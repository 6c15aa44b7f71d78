"""What an answer must hold before a client gets it: calls of declared tools with sensible arguments, and JSON that was
promised. A stream asks as its parts come, a whole answer is asked here while another attempt is still possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from antigravity2api.dialects.chat import media
from antigravity2api.dialects.chat.notes import ChatNotes
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.fold import candidates_of, parts_of
from antigravity2api.gemini.repair import ASKED_AGAIN
from antigravity2api.gemini.schema import restore_args
from antigravity2api.gemini.types import Response
from antigravity2api.gemini.validation import BadStructure, Validators, Verdict

_TOOL_PREFIXES = ("default_api.", "default_api:")
"""What models put before a tool's name now and then (seen with Gemini 2.5 and 3)."""
_CUT_SHORT = frozenset({"MAX_TOKENS", "CONTINUATION"})
_SHOWN_NAME = 80


class Returned(NamedTuple):
    """A model's call as the client gets it."""

    upstream_name: str
    name: str
    args: Any
    note: str | None
    """What has to be said about the arguments."""


def returned_call(call: Mapping[str, Any], notes: ChatNotes, validators: Validators, reason: str | None) -> Returned:
    """A call with the client's name and types. Raises ``Fault`` MALFORMED_CALL for one that nobody shall execute.

    ``reason`` is the candidate's finish reason: a call that the length limit cut is the client's to judge.
    """
    upstream_name = _bare_name(call["name"], notes)
    name = notes.names.get(upstream_name, upstream_name)
    args = call.get("args") or {}
    schema = notes.schemas.get(name)
    restored: Any = restore_args(args, None) if schema is None else validators.restored(args, schema)
    custom = name in notes.custom_tools
    verdict = Verdict.FINE
    if schema is not None and not (custom and args):
        if not restored and reason not in _CUT_SHORT and validators.demands(schema):
            raise _malformed(f"it called the tool {name[:_SHOWN_NAME]!r} without the arguments that it requires")
        restored, verdict = validators.settle(restored, schema)
    if verdict is Verdict.FINE:
        return Returned(upstream_name, name, restored, None)
    word = "coerced" if verdict is Verdict.COERCED else "invalid_arguments"
    return Returned(upstream_name, name, restored, f"{word}:{upstream_name}")


def _bare_name(name: str, notes: ChatNotes) -> str:
    """A called tool's upstream name, without a prefix that was never declared with it."""
    declared = notes.declared
    bare = name
    while bare not in declared and bare.startswith(_TOOL_PREFIXES):
        bare = bare[len(_TOOL_PREFIXES[0]) :]
    return bare if bare in declared else name


def _malformed(what: str, reason: str = "MALFORMED_FUNCTION_CALL") -> Fault:
    return Fault(
        Kind.MALFORMED_CALL,
        f"The upstream model produced a malformed answer: {what}.",
        code="upstream_malformed_call",
        retry=Retry.SAME,
        reason=reason,
    )


def structured(text: str, notes: ChatNotes, validators: Validators, *, copies: int = 1) -> str:
    """The text of an answer that was asked to be JSON. Raises ``BadStructure`` where it is not what was promised.

    Prose of a model that writes JSON by itself is a refusal or an explanation, and goes out as it is.
    """
    try:
        return validators.structured(text, notes.json_schema)
    except BadStructure as bad:
        if bad.prose and not notes.json_told:
            return text
        if copies > 1:  # the question is the copies' common one: it cannot speak of one answer
            bad.retry = Retry.SAME
        raise


def _checked_text(text: str, call: Call, notes: ChatNotes, validators: Validators) -> str | None:
    """A note on a whole answer that was asked to be JSON. Raises ``BadStructure`` as ``structured``, and for prose as
    long as the model was not asked again."""
    structured(text, notes, validators, copies=call.copies)
    try:
        validators.structured(text, notes.json_schema)
    except BadStructure:
        if ASKED_AGAIN in call.applied or call.copies > 1:
            return "response_format:prose"
        raise
    return None


def check_chat(call: Call, response: Response, validators: Validators) -> tuple[str, ...]:
    """What is to be said about a whole answer. Raises ``Fault`` where it must not go to the client."""
    notes = call.options
    if not isinstance(notes, ChatNotes) or not (notes.declared or notes.schemas or notes.json_answer):
        return ()
    said: list[str] = []
    for candidate in candidates_of(response):
        reason = candidate.get("finishReason")
        parts = parts_of(candidate)
        calls = [part["functionCall"] for part in parts if part.get("functionCall") is not None]
        only_first = notes.single_call or notes.legacy_functions
        for made in calls[:1] if only_first else calls:
            note = returned_call(made, notes, validators, reason).note
            if note is not None:
                said.append(note)
        if notes.json_answer and not calls and reason == "STOP":
            text = "".join(part["text"] for part in parts if part.get("text") and not part.get("thought"))
            note = _checked_text(media.without_fence(text), call, notes, validators)
            if note is not None:
                said.append(note)
    return tuple(dict.fromkeys(said))

"""Streamed events into one answer, and the one place for the rules of how an answer ends.

Encoders use ``Ending`` and the readers below event by event; ``Fold`` is the same over a whole answer. A wrong type in
the structure of an answer is a ``Fault``; in its side data (ratings, counters, citations) it counts as missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.types import Chunk, Response
from antigravity2api.gemini.usage import Tally, combined_usage, counted_whole

MAX_CANDIDATES = 128


class Finish(StrEnum):
    """How a complete candidate ended."""

    STOP = "stop"
    LENGTH = "length"
    FILTER = "filter"


_LENGTH = frozenset({"MAX_TOKENS", "CONTINUATION"})
_FILTER = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
_MALFORMED = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "TOO_MANY_TOOL_CALLS"})
_MISSING_SIGNATURE = "MISSING_THOUGHT_SIGNATURE"
_KNOWN = _LENGTH | _FILTER | _MALFORMED | {"STOP", _MISSING_SIGNATURE}
_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
# Above 5 the Gemini API and Vertex AI number their enums differently, so those count as unknown words.
_NUMBERS = {0: _UNSPECIFIED, 1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}


def bad_answer(message: str) -> Fault:
    """The upstream's JSON is not shaped like an answer."""
    return Fault(Kind.BAD_ANSWER, f"The upstream sent an answer that makes no sense: {message}.", retry=Retry.SAME)


def truncated() -> Fault:
    """The answer stopped without saying that it is complete."""
    return Fault(
        Kind.TRUNCATED,
        "The upstream model stopped in the middle of the answer.",
        code="upstream_stream_truncated",
        retry=Retry.SAME,
    )


# -- reading an event --------------------------------------------------------------------------------------------------


def candidates_of(chunk: Chunk) -> list[dict[str, Any]]:
    """The candidates of an event, each an object; none where the key is missing."""
    if type(chunk) is not dict and not isinstance(chunk, Mapping):
        raise bad_answer("an event is no object")
    candidates = chunk.get("candidates")
    if candidates is None:
        return []
    if not isinstance(candidates, list):
        raise bad_answer("candidates is no list")
    for candidate in candidates:
        if not isinstance(candidate, dict):
            raise bad_answer("a candidate is no object")
    return candidates


def index_of(candidate: Mapping[str, Any]) -> int:
    """A candidate's index; 0 is often left out."""
    index = candidate.get("index")
    if index is None or (type(index) is int and 0 <= index < MAX_CANDIDATES):
        return index or 0
    if isinstance(index, float) and index.is_integer():
        index = int(index)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < MAX_CANDIDATES:
        raise bad_answer("a candidate's index is no small number")
    return index


def parts_of(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The checked parts of a candidate; content and parts may be missing or null."""
    content = candidate.get("content")
    if content is None:
        return []
    if not isinstance(content, dict):
        raise bad_answer("content is no object")
    parts = content.get("parts")
    if parts is None:
        return []
    if not isinstance(parts, list):
        raise bad_answer("parts is no list")
    for part in parts:
        _check_part(part)
    return parts


def _check_part(part: Any) -> None:
    if not isinstance(part, dict):
        raise bad_answer("a part is no object")
    text = part.get("text")
    if text is not None:
        if not isinstance(text, str):
            raise bad_answer("text is no string")
        if len(part) == 1:
            return
    for name in _OBJECTS & part.keys():
        value = part[name]
        if value is not None and not isinstance(value, dict):
            raise bad_answer(f"{name} is no object")
    call = part.get("functionCall")
    if call is not None:
        if not isinstance(call.get("name"), str) or not call["name"]:
            raise bad_answer("a function call has no name")
        if not isinstance(call.get("args"), dict | None):
            raise bad_answer("a function call's args are no object")
    blob = part.get("inlineData")
    if blob is not None and not isinstance(blob.get("data"), str | None):
        raise bad_answer("inlineData.data is no string")


_OBJECTS = frozenset({"functionCall", "inlineData", "fileData", "executableCode", "codeExecutionResult"})
_SILENT = frozenset({"text", "thought", "thoughtSignature"})


def signature_of(part: Mapping[str, Any]) -> str | None:
    """A part's thought signature, if it has one."""
    signature = part.get("thoughtSignature")
    return signature if isinstance(signature, str) and signature else None


def joins(before: Mapping[str, Any] | None, part: Mapping[str, Any]) -> bool:
    """Whether ``part`` may be merged into the part before it: both plain text of one kind, neither signed."""
    if before is None or not _plain(before) or not (before is part or _plain(part)):
        return False
    return bool(before.get("thought")) == bool(part.get("thought"))


def _plain(part: Mapping[str, Any]) -> bool:
    return isinstance(part.get("text"), str) and (len(part) == 1 or (len(part) == 2 and "thought" in part))


def blocked(chunk: Chunk) -> str | None:
    """Why the prompt was refused, in the upstream's word (and sentence, where it gives one)."""
    feedback = chunk.get("promptFeedback")
    if not isinstance(feedback, dict):
        return None
    reason = feedback.get("blockReason")
    if isinstance(reason, bool) or not isinstance(reason, str | int) or reason in ("", 0):
        return None
    message = feedback.get("blockReasonMessage")
    return f"{reason}: {message}" if isinstance(message, str) and message else str(reason)


# -- how it ended ------------------------------------------------------------------------------------------------------


class Ending:
    """What one candidate showed so far and how it says it ended; ``judge`` turns that into a finish or a fault."""

    __slots__ = ("calls", "message", "other", "output", "reason", "thoughts")

    def __init__(self) -> None:
        self.reason: str | None = None
        self.message: str | None = None
        self.output = False
        """Something that an answer consists of, a call included."""
        self.calls = False
        self.thoughts = False
        self.other = False
        """A part that is nothing to show, such as a tool that ran at the upstream."""

    def see(self, part: Mapping[str, Any]) -> None:
        """Note what a part is."""
        if len(part) == 1 and part.get("text"):
            self.output = True
            return
        if part.get("functionCall") is not None:
            self.calls = self.output = True
        if part.get("thought"):
            self.thoughts = self.thoughts or bool(part.get("text"))
        elif part.get("text"):
            self.output = True
        for name, value in part.items():
            if name not in _SILENT and value is not None:
                self.other = True
                self.output = self.output or (name in _OBJECTS and not part.get("thought"))

    def note(self, candidate: Mapping[str, Any]) -> None:
        """Take over finishReason and finishMessage. Raises ``Fault`` at once when the answer is malformed."""
        message = candidate.get("finishMessage")
        if isinstance(message, str) and message:
            self.message = message
        word = _word(candidate.get("finishReason"))
        if word is None or (word not in _KNOWN and self.reason in _KNOWN):
            return
        self.reason = word
        if word in _MALFORMED:
            raise self._malformed()
        if word == _MISSING_SIGNATURE:
            raise Fault(
                Kind.UPSTREAM_ERROR,
                self._tell("The upstream model missed a thought signature in the conversation"),
                code="upstream_error",
                retry=Retry.REPAIRED,
                reason=_MISSING_SIGNATURE,
            )

    def judge(
        self,
        *,
        refused: str | None = None,
        accept_empty: bool = False,
        thoughts_may_end: Mapping[str, Any] | None = None,
    ) -> Finish:
        """How the candidate ended, now that nothing follows. Raises ``Fault`` where it did not end well.

        ``refused`` is the prompt's block reason. ``accept_empty`` lets a natural end without any part pass.
        ``thoughts_may_end`` is the usage of a cleanly ended answer whose backend leaves out the finish of turns that
        consist of thoughts (an Antigravity habit); None elsewhere.
        """
        reason = self.reason
        if reason in _FILTER:
            return Finish.FILTER
        if reason in _LENGTH:
            return Finish.LENGTH
        if reason is None:
            return self._unfinished(refused, thoughts_may_end)
        if reason == "STOP":
            if accept_empty or self.output or self.thoughts or self.other:
                return Finish.STOP
            raise Fault(
                Kind.EMPTY, "The upstream model returned an empty answer.", code="empty_response", retry=Retry.SAME
            )
        if self.output:
            return Finish.STOP
        raise Fault(Kind.EMPTY, self._tell(f"The upstream model gave no answer ({reason})"), code="empty_response")

    def _unfinished(self, refused: str | None, usage: Mapping[str, Any] | None) -> Finish:
        if refused is not None:
            return Finish.FILTER
        if usage is not None and self.thoughts and not self.output and counted_whole(usage):
            return Finish.STOP
        raise truncated()

    def _malformed(self) -> Fault:
        return Fault(
            Kind.MALFORMED_CALL,
            self._tell(f"The upstream model produced a malformed answer ({self.reason})"),
            code="upstream_malformed_call",
            retry=Retry.SAME,
            reason=self.reason,
        )

    def _tell(self, sentence: str) -> str:
        return f"{sentence}: {self.message}" if self.message else f"{sentence}."


def _word(reason: Any) -> str | None:
    """The finish reason as a word; some surfaces send the enum's number."""
    if reason is None or reason == "" or (type(reason) is str and reason in _KNOWN):
        return reason or None
    if isinstance(reason, float) and reason.is_integer():
        reason = int(reason)
    if isinstance(reason, bool) or not isinstance(reason, str | int):
        raise bad_answer("finishReason is no word")
    if isinstance(reason, str):
        if not (reason.isascii() and reason.isdigit() and len(reason) < 4):
            return reason.upper()
        reason = int(reason)
    return _NUMBERS.get(reason, str(reason))


# -- side data that grows over a stream --------------------------------------------------------------------------------


def merged_lists(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """Two metadata objects of one candidate as one: lists grow, sent anew in full or in pieces; the rest: the last."""
    merged = dict(older)
    for name, value in newer.items():
        before = merged.get(name)
        if isinstance(value, list) and isinstance(before, list) and value[: len(before)] != before:
            merged[name] = before + value
        elif value is not None:
            merged[name] = value
    return merged


def merged_grounding(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """As ``merged_lists``; a support's chunk numbers stay right where chunks are appended."""
    before, added = older.get("groundingChunks"), newer.get("groundingChunks")
    supports = newer.get("groundingSupports")
    appended = isinstance(before, list) and isinstance(added, list) and added[: len(before)] != before
    if not appended or not isinstance(supports, list) or not isinstance(before, list):
        return merged_lists(older, newer)
    moved = [_moved_support(support, len(before)) for support in supports]
    return merged_lists(older, {**newer, "groundingSupports": moved})


def _moved_support(support: Any, by: int) -> Any:
    indices = support.get("groundingChunkIndices") if isinstance(support, dict) else None
    if not isinstance(indices, list):
        return support
    return {**support, "groundingChunkIndices": [index + by for index in indices if isinstance(index, int)]}


def merged_logprobs(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """Log probabilities come per event, for the tokens of that event."""
    merged = {**older, **newer}
    for name in ("chosenCandidates", "topCandidates"):
        before, added = older.get(name), newer.get(name)
        if isinstance(before, list) and isinstance(added, list):
            merged[name] = before + added
    return merged


_MERGERS = {
    "groundingMetadata": merged_grounding,
    "logprobsResult": merged_logprobs,
    "citationMetadata": merged_lists,
    "urlContextMetadata": merged_lists,
}


# -- the whole answer --------------------------------------------------------------------------------------------------


class _Candidate:
    """One candidate being put together."""

    __slots__ = ("ending", "extra", "parts", "texts")

    def __init__(self) -> None:
        self.ending = Ending()
        self.parts: list[dict[str, Any]] = []
        self.texts: list[str] = []
        """The text of the last part, as long as plain text follows plain text."""
        self.extra: dict[str, Any] = {}

    def add(self, candidate: Mapping[str, Any]) -> None:
        for part in parts_of(candidate):
            self.ending.see(part)
            if _plain(part) and not part["text"]:
                continue
            if joins(self.parts[-1] if self.parts else None, part):
                self.texts.append(part["text"])
                continue
            self._close_text()
            self.parts.append(dict(part))
            self.texts = [part["text"]] if _plain(part) else []
        self.ending.note(candidate)
        for name, value in candidate.items():
            if value is None or name in ("content", "finishReason", "finishMessage", "index"):
                continue
            merge = _MERGERS.get(name)
            if merge is not None and not isinstance(value, Mapping):
                continue
            self.extra[name] = merge(self.extra.get(name, {}), value) if merge is not None else value

    def _close_text(self) -> None:
        if len(self.texts) > 1:
            self.parts[-1]["text"] = "".join(self.texts)

    def folded(self, index: int) -> dict[str, Any]:
        self._close_text()
        self.texts = []
        whole = {
            "content": {"role": "model", "parts": self.parts},
            "index": index,
            **self.extra,
        }
        if self.ending.reason is not None:
            whole["finishReason"] = self.ending.reason
        if self.ending.message:
            whole["finishMessage"] = self.ending.message
        return whole


class _Folding:
    """Any answer being put together, event by event."""

    __slots__ = ("candidates", "refused", "rest", "tally")

    def __init__(self) -> None:
        self.candidates: dict[int, _Candidate] = {}
        self.refused: str | None = None
        self.rest: dict[str, Any] = {}
        self.tally = Tally()

    def feed(self, chunk: Chunk) -> None:
        candidates = candidates_of(chunk)
        self.tally.add(chunk.get("usageMetadata"))
        self.refused = blocked(chunk) or self.refused
        for name, value in chunk.items():
            if value is None or name in ("candidates", "usageMetadata"):
                continue
            # Model and id repeat on each event, and the first is the answer's.
            if name not in ("modelVersion", "responseId", "createTime") or name not in self.rest:
                self.rest[name] = value
        for candidate in candidates:
            index = index_of(candidate)
            if index not in self.candidates:
                self.candidates[index] = _Candidate()
            self.candidates[index].add(candidate)

    def response(self, *, accept_empty: bool, thoughts_may_end: bool) -> Response:
        usage = dict(self.tally.counts)
        if not self.candidates and self.refused is None:
            raise truncated()
        folded = []
        for index, candidate in sorted(self.candidates.items()):
            candidate.ending.judge(
                refused=self.refused,
                accept_empty=accept_empty,
                thoughts_may_end=usage if thoughts_may_end else None,
            )
            folded.append(candidate.folded(index))
            if candidate.ending.reason is None and self.refused is None:
                folded[-1]["finishReason"] = "STOP"
        response: Response = {}
        if folded:
            response["candidates"] = folded
        if usage:
            response["usageMetadata"] = usage
        return {**response, **self.rest}


class Fold:
    """Folds the events of one answer (one event, where it came whole) into a single response.

    ``accept_empty`` and ``thoughts_may_end``: see ``Ending.judge``; both may be set until ``response`` is called.
    """

    __slots__ = ("_first", "_folding", "_plain", "accept_empty", "text", "thoughts_may_end")

    def __init__(self, *, accept_empty: bool = False, thoughts_may_end: bool = False) -> None:
        self.accept_empty = accept_empty
        self.thoughts_may_end = thoughts_may_end
        self._folding: _Folding | None = None
        self._first: Chunk = {}
        self._plain: Response | None = None
        """What the first event makes where it is a whole plain answer and nothing follows."""
        self.text: str | None = None
        """``plain_text`` of the answer, where that is known already."""

    @property
    def usage(self) -> Mapping[str, Any]:
        """The merged usageMetadata so far."""
        return dict(self._all().tally.counts)

    def feed(self, chunk: Chunk) -> None:
        """Take one event. Raises ``Fault`` for wrong types and as soon as a finish is malformed."""
        if self._folding is None and self._plain is None:
            text = plain_text(chunk)
            plain = self._plain = None if text is None else _plain_response(chunk)
            if plain is not None:
                self._first = chunk
                self.text = text
                return
        self._all().feed(chunk)

    def response(self) -> Response:
        """The whole answer. Raises ``Fault`` where it is cut, malformed or empty."""
        if self._plain is not None:
            return self._plain
        return self._all().response(accept_empty=self.accept_empty, thoughts_may_end=self.thoughts_may_end)

    def _all(self) -> _Folding:
        """The general way, which also takes what was set aside for the short one."""
        folding = self._folding
        if folding is None:
            folding = self._folding = _Folding()
            if self._plain is not None:
                self._plain = self.text = None
                folding.feed(self._first)
        return folding


_PLAIN = frozenset({"content", "finishReason", "index", "safetyRatings", "avgLogprobs", "tokenCount"})


def plain_text(response: Chunk) -> str | None:
    """The text of an answer that is nothing else: one candidate with one unsigned text, which ended by itself.

    None for any other answer, however little is between them. A short way for the usual answer may be taken on this
    word alone: there is nothing more to check, to judge or to show.
    """
    try:
        (candidate,) = response["candidates"]
        (part,) = candidate["content"]["parts"]
        text = part["text"]
        index = candidate.get("index", 0)
        if (
            len(part) == 1
            and type(text) is str
            and text
            and candidate["finishReason"] == "STOP"
            and type(index) is int
            and index == 0
            and (len(candidate) == 2 or candidate.keys() <= _PLAIN)
            and "promptFeedback" not in response
        ):
            return text
    except (KeyError, TypeError, ValueError, AttributeError):
        pass  # of another shape
    return None


def _plain_response(chunk: Chunk) -> Response | None:
    """An event that is a plain text (``plain_text``), where it already reads as ``_Folding`` would write it; else
    None."""
    if type(chunk) is not dict or None in chunk.values():
        return None
    (candidate,) = chunk["candidates"]
    content, usage = candidate["content"], chunk.get("usageMetadata")
    if len(content) != 2 or content.get("role") != "model" or type(usage) is not dict:
        return None
    if not usage or None in usage.values() or None in candidate.values():
        return None
    if "index" in candidate:
        return chunk
    return {**chunk, "candidates": [{**candidate, "index": 0}]}


def merge_copies(responses: Sequence[Response]) -> Response:
    """Parallel answers to one request as one answer with a candidate each."""
    merged: Response = {}
    candidates = []
    for number, response in enumerate(responses):
        merged = {**response, **merged}
        candidates += [{**candidate, "index": number} for candidate in response.get("candidates") or ()]
    merged.pop("candidates", None)
    merged.pop("usageMetadata", None)
    if candidates:
        merged["candidates"] = candidates
    usage = combined_usage([response.get("usageMetadata") or {} for response in responses])
    if usage:
        merged["usageMetadata"] = usage
    return merged

"""One Chat Completions stream: Gemini's events in, complete frames out.

Invariants: id, created and model are the same in every chunk; each choice sends its role once, with its first visible
delta; ``finish_reason`` is null until the one finish chunk of a choice; a chunk without choices (usage) goes out only
when it was asked for; the end marker comes last and never after an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from antigravity2api import ids
from antigravity2api.dialects.base import Origin, Toolbox
from antigravity2api.dialects.chat.answer import Choice, Delta, Way, chat_usage, dumped
from antigravity2api.dialects.chat.errors import error_object
from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.fold import Finish, blocked, candidates_of, index_of, truncated
from antigravity2api.gemini.jsontext import escape_line_separators
from antigravity2api.gemini.types import Chunk
from antigravity2api.gemini.usage import Tally, combined_usage, estimated_usage, usage_of

_dumps = orjson.dumps
_DONE = b"data: [DONE]\n\n"
_PING = b": ping\n\n"
_FIRST = 0
_PLAIN = frozenset({"content", "index", "safetyRatings", "tokenCount", "avgLogprobs"})
"""Keys of a candidate that is nothing but text under way."""


def frame(data: bytes) -> bytes:
    """One event. The three Unicode line ends that JSON leaves bare are escaped: some clients split lines on them."""
    return b"data: " + escape_line_separators(data) + b"\n\n"


class ChatEncoder:
    """Implements ``dialects.base.Encoder``. ``accept_empty`` and ``thoughts_may_end``: see ``gemini.fold.Ending``."""

    __slots__ = (
        "_choices",
        "_copies",
        "_counts",
        "_head",
        "_last_index",
        "_notes",
        "_refused",
        "_run_head",
        "_run_length",
        "_run_tail",
        "_spoke",
        "_tail",
        "_tallies",
        "_tally",
        "_texts",
        "_way",
        "accept_empty",
        "thoughts_may_end",
    )

    def __init__(self, call: Call, origin: Origin, box: Toolbox, upstream: str) -> None:
        self.accept_empty = False
        self.thoughts_may_end = False
        self._way = way = Way(call, origin, box, upstream, live=True)
        self._notes = notes = way.notes
        self._choices: dict[int, Choice] = {}
        self._spoke: set[int] = set()
        """Choices whose role went out."""
        self._refused: str | None = None
        self._tally = tally = Tally()
        self._counts = tally.counts
        self._copies = call.copies
        self._tallies: dict[int, Tally] = {}
        self._last_index = 0
        self._run_length = 0 if call.copies > 1 or notes.json_wrapped or notes.strip_fence else 1
        """How many keys a part has that continues what is under way: 1 a text, 2 a thought; 0 where neither is."""
        self._texts: list[str] | None = None
        """Where the text under way is kept; None before anything came."""
        self._head = _head(call.asked_model, notes.service_tier)
        self._tail = tail = b'],"usage":null}\n\n' if notes.include_usage else b"]}\n\n"
        self._run_head = b""
        self._run_tail = b'},"finish_reason":null}' + tail

    @property
    def usage(self) -> Mapping[str, Any]:
        """The merged usageMetadata so far; with copies, the prompt once and the output of all."""
        if self._copies == 1:
            return self._counts
        return combined_usage([tally.counts for _, tally in sorted(self._tallies.items())])

    @property
    def applied(self) -> Sequence[str]:
        """What has to be said about the answer so far."""
        return self._way.applied

    def feed(self, chunk: Chunk) -> bytes:
        """The frames of one event; ``b""`` while there is nothing to show. Raises ``Fault``."""
        # The hot path: one more piece of the text (or thought) that is under way, and nothing else in the event.
        run = self._run_length
        if run:
            try:
                (candidate,) = chunk["candidates"]
                (part,) = candidate["content"]["parts"]
                text = part["text"]
                meta = chunk.get("usageMetadata")
                size = len(candidate)
                if (
                    len(part) == run
                    and (run == 1 or part["thought"] is True)
                    and type(text) is str
                    and text
                    and (size == 1 or (size == 2 and candidate["index"] is _FIRST) or _under_way(candidate))
                    and (type(meta) is dict or meta is None)
                    and "promptFeedback" not in chunk
                ):
                    if self._texts is None:
                        return self._begin(text, meta)
                    if meta is not None:
                        counts = self._counts
                        counts |= meta
                    return self.more(text)
            except (KeyError, TypeError, ValueError, AttributeError):
                pass  # not that simple, or not right: looked at closely below
        return self._take(chunk)

    @property
    def members(self) -> int:
        """How many members a part has whose text may go to ``more``."""
        return self._run_length if self._texts is not None else 0

    def more(self, text: str) -> bytes:
        """The frame of one more piece of what is under way."""
        data = _dumps(text)
        if not text.isascii() and ("\u2028" in text or "\u2029" in text or "\x85" in text):
            data = escape_line_separators(data)
        self._texts.append(text)  # type: ignore[union-attr]  # there is one, where something is under way
        return self._run_head + data + self._run_tail

    def counted(self, meta: Any) -> None:
        """The counters of events whose texts went to ``more``."""
        self._tally.add(meta)

    def finish(self) -> bytes:
        """Held calls and texts, a finish chunk for each choice, usage if asked, the end marker. Raises ``Fault``."""
        endings = [(choice, self._judged(choice)) for choice in self._all_choices()]
        out: list[bytes] = []
        for choice, finish in endings:
            self._close(choice, finish, out)
        if self._notes.include_usage:
            out.append(self._usage_chunk())
        out.append(_DONE)
        self._run_length = 0
        return b"".join(out)

    def fail(self, fault: Fault) -> bytes:
        """The error frame that every client raises on; no end marker follows."""
        return frame(dumped({"error": error_object(fault)}))

    def ping(self) -> bytes:
        """A comment line."""
        return _PING

    def _begin(self, text: str, meta: Any) -> bytes:
        """The first frame of an answer that begins with plain text, as ``_take`` makes it."""
        data = escape_line_separators(_dumps(text))
        choice = self._choices[0] = Choice(0, self._way)
        choice.begin(text)
        self._spoke.add(0)
        self._tally.add(meta)
        if self._tally.nulls:
            self._run_length = 0
        self._texts = choice.texts
        self._run_head = self._head + b'{"index":0,"delta":{"content":'
        return self._head + b'{"index":0,"delta":{"role":"assistant","content":' + data + self._run_tail

    # -- events ----------------------------------------------------------------------------------------------------

    def _take(self, chunk: Chunk) -> bytes:
        candidates = candidates_of(chunk)
        self._refused = blocked(chunk) or self._refused
        out: list[bytes] = []
        wanted = self._way.choices()
        for candidate in candidates:
            self._last_index = index_of(candidate)
            # openai-node refuses a choice beyond the n that was asked for.
            if self._last_index < wanted:
                self._take_candidate(candidate, out)
        self._count(chunk.get("usageMetadata"))
        self._run_length = 0
        if 0 in self._choices:
            self._go_on(self._choices[0])
        return b"".join(out)

    def _go_on(self, choice: Choice) -> None:
        """Find out whether more of the same may follow without a close look."""
        if self._copies > 1 or self._tally.nulls or choice.ending.reason is not None:
            self._run_length = 0
            return
        run = self._run_length = choice.run_length
        if run:
            self._texts = choice.texts if run == 1 else choice.thoughts
            name = b"content" if run == 1 else b"reasoning_content"
            self._run_head = self._head + b'{"index":0,"delta":{"' + name + b'":'

    def _take_candidate(self, candidate: Mapping[str, Any], out: list[bytes]) -> None:
        choice = self._choices.get(self._last_index)
        if choice is None:
            choice = self._choices[self._last_index] = Choice(self._last_index, self._way)
        deltas = choice.take(candidate)
        if not deltas:
            return
        logprobs = choice.take_logprobs()
        out += [self._chunk(choice, delta, None, logprobs if delta is deltas[-1] else None) for delta in deltas]

    def _count(self, meta: Any) -> None:
        if self._copies == 1:
            self._tally.add(meta)
        elif meta is not None:
            self._tallies.setdefault(self._last_index, Tally()).add(meta)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _all_choices(self) -> list[Choice]:
        """Every choice that has to end. A refused prompt is an answer for each that was asked for."""
        if self._refused is None and self._choices.keys() == {0} and self._copies == 1:
            return [self._choices[0]]
        due = range(self._copies) if self._refused is None else range(self._way.choices())
        if self._refused is not None and self._choices and self._copies == 1:
            due = range(0)
        for index in due:
            if index not in self._choices:
                if self._refused is None:
                    raise truncated()
                self._choices[index] = Choice(index, self._way)
        return [choice for _, choice in sorted(self._choices.items())]

    def _judged(self, choice: Choice) -> Finish:
        return choice.ending.judge(
            refused=self._refused,
            accept_empty=self.accept_empty,
            thoughts_may_end=self.usage if self.thoughts_may_end else None,
        )

    def _close(self, choice: Choice, finish: Finish, out: list[bytes]) -> None:
        deltas, last, reason = choice.close(finish, self._refused)
        if not deltas and choice.index not in self._spoke:
            deltas = [{"content": ""}]
        out += [self._chunk(choice, delta, None, None) for delta in deltas]
        out.append(self._chunk(choice, last, reason, choice.take_logprobs()))

    def _chunk(self, choice: Choice, delta: Delta, reason: str | None, logprobs: dict[str, Any] | None) -> bytes:
        if choice.index not in self._spoke:
            self._spoke.add(choice.index)
            delta = {"role": "assistant", **delta}
        body: dict[str, Any] = {"index": choice.index, "delta": delta, "finish_reason": reason}
        if logprobs is not None:
            body["logprobs"] = logprobs
        return self._head + escape_line_separators(dumped(body)) + self._tail

    def _usage_chunk(self) -> bytes:
        meta = self.usage
        if not meta:
            texts = (text for choice in self._choices.values() for text in choice.texts)
            size = sum(len(text.encode("utf-8", "replace")) for text in texts)
            meta = estimated_usage(self._way.call.request, size)
        return self._head + b'],"usage":' + dumped(chat_usage(usage_of(meta))) + b"}\n\n"


def _head(model: str, tier: str | None) -> bytes:
    """Everything that is the same in all chunks of a stream."""
    named = _dumps(model) if model.isascii() else escape_line_separators(dumped(model))
    if tier is not None:
        named += b',"service_tier":' + escape_line_separators(dumped(tier))
    start = f'data: {{"id":"{ids.completion_id()}","object":"chat.completion.chunk","created":{ids.now()},"model":'
    return start.encode("ascii") + named + b',"choices":['


def _under_way(candidate: Mapping[str, Any]) -> bool:
    index = candidate.get("index")
    return candidate.keys() <= _PLAIN and (index is None or (type(index) is int and index == 0))

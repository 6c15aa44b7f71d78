"""Answers that come in several pieces: ``finishReason: CONTINUATION`` with a token, and checkpoints within a stream.

A long answer ends a piece with a token; the same request with that token goes on where it stopped. A token may also
come in the middle of a piece: when the connection breaks after it, the answer can be taken up from there, and what was
shown since is generated once more. (Source: Google's documentation of long outputs, ai.google.dev and
cloud.google.com.)

The consumer of the chunks sees one answer: no end between the pieces, no text twice, counters that are the sum. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.fold import candidates_of, index_of, parts_of
from antigravity2api.gemini.types import Chunk

TOKEN = "continuationToken"  # noqa: S105 - the name of a field
"""What a candidate holds that this module has to see; others may pass it by until the first one came."""
MOST_PIECES = 64
"""An answer of more pieces than that goes round in circles."""
MOST_RESUMED = 3
"""How often a broken connection is taken up without a new token."""
_OTHER = "other"
_WHOLE = ("STOP", "MAX_TOKENS")
"""Ends that say: this was all. A filter's end is told as what it is."""
_SIGNED = "signed"
"""Behind a text that had a signature."""
_SUMS = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount", "totalTokenCount")


class Continuation:
    """The pieces of one answer. Made when the first token is seen; ``take`` gets every chunk from then on."""

    __slots__ = ("_before", "_breaks", "_latest", "_pieces", "_resumed", "_since", "_skip", "_usage", "ended", "token")

    def __init__(self) -> None:
        self.token: str | None = None
        """Where the answer can be taken up."""
        self.ended = False
        """Whether the piece under way said that it is not the last one."""
        self._pieces = 1
        self._breaks = 0
        self._resumed = 0
        """How often the token under way was taken up."""
        self._since: list[tuple[str, str]] = []
        """Kind and text of what was shown since the token."""
        self._skip: list[tuple[str, str]] = []
        """What of it has to come again before anything is new."""
        self._before: dict[str, int] = {}
        """Counters of the pieces that are over."""
        self._usage: dict[str, int] = {}
        self._latest: str | None = None
        """The token that the piece under way was asked with."""

    def take(self, chunk: Chunk) -> Chunk:
        """A chunk as the consumer shall see it. Raises ``Fault`` where a repeated piece says something else."""
        candidates = candidates_of(chunk)
        shown = [self._candidate(candidate) for candidate in candidates]
        out: dict[str, Any] = {**chunk}
        if candidates:
            out["candidates"] = shown
        if type(usage := chunk.get("usageMetadata")) is dict:
            out["usageMetadata"] = self._counted(usage)
        return out

    def next_piece(self) -> str | None:
        """The token to go on with after a piece that said so; None where going on would lead nowhere."""
        token, self.ended = self.token if self.ended else None, False
        if token is None or self._pieces >= MOST_PIECES or token == self._latest:
            return None
        self._pieces += 1
        self._resumed = 0
        self._skip.clear()
        self._begin(token)
        return token

    def resume(self) -> str | None:
        """The token to go on with after a broken connection; None without one, or when it did not help before."""
        if self.token is None:
            return None
        self._resumed = self._resumed + 1 if self.token == self._latest else 1
        if self._resumed > MOST_RESUMED:
            return None
        self._breaks += 1
        # What is still to be skipped was not repeated yet; what was shown since comes again as well.
        self._skip = [*self._since]
        self._begin(self.token)
        return self.token

    def notes(self) -> tuple[str, ...]:
        """What was done, for the client and the log."""
        return (f"continued:{self._pieces}",) * (self._pieces > 1) + (f"resumed:{self._breaks}",) * (self._breaks > 0)

    def _begin(self, token: str) -> None:
        self._latest = token
        self._before = self._usage
        self._usage = dict(self._before)

    def _candidate(self, candidate: dict[str, Any]) -> dict[str, Any]:
        if index_of(candidate) != 0:  # only a single answer is ever continued
            return candidate
        made = {name: value for name, value in candidate.items() if name != TOKEN}
        if parts := parts_of(candidate):
            made["content"] = {**candidate["content"], "parts": self._unseen(parts)}
        token = candidate.get(TOKEN)
        if isinstance(token, str) and token:
            self.token = token
            self._since.clear()
            self._skip.clear()
            if candidate.get("finishReason") == "CONTINUATION":
                self.ended = True
                made.pop("finishReason")
        elif self._skip and candidate.get("finishReason") in _WHOLE and any(kind != _SIGNED for kind, _ in self._skip):
            raise _differs()
        return made

    def _unseen(self, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The parts without what was shown before the connection broke."""
        out = []
        for part in parts:
            new = self._rest_of(part) if self._skip else part
            if new is None:
                continue
            said = _said(new)
            if said[1]:
                self._since.append(said)
            if said[0] != _OTHER and "thoughtSignature" in new:
                self._since.append((_SIGNED, ""))
            out.append(new)
        return out

    def _rest_of(self, part: dict[str, Any]) -> dict[str, Any] | None:
        kind, text = _said(part)
        if kind == _OTHER:
            return self._whole(part, text)
        while text and self._skip:
            known, seen = self._skip[0]
            if known == _SIGNED:  # it is shown with its part; the same text may come in other pieces now
                del self._skip[0]
                continue
            if known != kind:
                raise _differs()
            size = min(len(text), len(seen))
            if text[:size] != seen[:size]:
                raise _differs()
            text, seen = text[size:], seen[size:]
            if seen:
                self._skip[0] = (kind, seen)
            else:
                del self._skip[0]
        if text:
            return {**part, "text": text}
        if "thoughtSignature" not in part:
            return None
        if not self._skip:
            return {**part, "text": ""}
        # It was shown, or belongs to a part that was shown without: nothing is signed twice, or in another place.
        if self._skip[0][0] == _SIGNED:
            del self._skip[0]
        return None

    def _whole(self, part: dict[str, Any], said: str) -> dict[str, Any] | None:
        """A call or a picture: the same one again, as long as not everything was repeated."""
        while self._skip and self._skip[0][0] == _SIGNED:
            del self._skip[0]
        if not self._skip:
            return part
        if self._skip[0] != (_OTHER, said):
            raise _differs()
        del self._skip[0]
        return None

    def _counted(self, usage: Mapping[str, Any]) -> dict[str, Any]:
        out = dict(usage)
        for name in _SUMS:
            value = usage.get(name)
            if type(value) is int:
                out[name] = self._usage[name] = self._before.get(name, 0) + value
        return out


def _said(part: Mapping[str, Any]) -> tuple[str, str]:
    """What kind of text a part goes on with, and the text; or what the part is, as a whole."""
    text = part.get("text")
    if not isinstance(text, str):
        return _OTHER, repr(part)
    return "thought" if part.get("thought") else "text", text


def _differs() -> Fault:
    return Fault(
        Kind.TRUNCATED,
        "The connection to the upstream broke, and the answer that it gave again was another one.",
        code="upstream_stream_truncated",
        retry=Retry.SAME,
    )

"""Google's grounding as OpenAI's annotations: byte offsets in the text become character offsets in ``content``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any


class Insert(str):
    """Text in ``content`` that is ours and not the model's (image links, code fences)."""

    __slots__ = ()


def cite(grounding: Mapping[str, Any], fragments: Sequence[str], marks: Mapping[int, int]) -> list[dict[str, Any]]:
    """One ``url_citation`` for each support and web source it names.

    ``fragments`` is the content in order; ``marks`` tells at which fragment a part (by its number) begins.
    """
    chunks = _list(grounding.get("groundingChunks"))
    supports = [support for support in _list(grounding.get("groundingSupports")) if isinstance(support, Mapping)]
    if not chunks or not supports:
        return []
    text = _Text(fragments, marks)
    spans = [(support, text.span(support.get("segment"))) for support in supports]
    text.locate({offset for _, span in spans if span for offset in span})
    found = []
    for support, span in spans:
        if span is None:
            continue
        start, end = text.characters(*span)
        for number in _list(support.get("groundingChunkIndices")):
            source = _web_source(chunks, number)
            if source is not None:
                citation = {"start_index": start, "end_index": end, **source}
                found.append({"type": "url_citation", "url_citation": citation})
    return found


def _web_source(chunks: Sequence[Any], number: Any) -> dict[str, str] | None:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(chunks):
        return None
    chunk = chunks[number]
    web = chunk.get("web") if isinstance(chunk, Mapping) else None
    uri = web.get("uri") if isinstance(web, Mapping) else None
    if not isinstance(web, Mapping) or not isinstance(uri, str) or not uri:
        return None
    title = web.get("title") or web.get("domain")
    return {"title": title if isinstance(title, str) else uri, "url": uri}


class _Text:
    """What the model said, in bytes, beside the content that holds it."""

    def __init__(self, fragments: Sequence[str], marks: Mapping[int, int]) -> None:
        said: list[str] = []
        at_fragment = [0]
        characters = shift = 0
        self._inserts: list[int] = []
        self._shifts: list[int] = []
        for fragment in fragments:
            if isinstance(fragment, Insert):
                shift += len(fragment)
                self._inserts.append(characters)
                self._shifts.append(shift)
            else:
                said.append(fragment)
                characters += len(fragment)
            at_fragment.append(characters)
        self._said = "".join(said)
        self._bytes = self._said.encode("utf-8", "replace")
        self._starts = {part: at_fragment[mark] for part, mark in marks.items() if mark < len(at_fragment)}
        self._at: dict[int, int] = {}

    def span(self, segment: Any) -> tuple[int, int] | None:
        """The byte range of a segment, or None when it names no text of this answer.

        Offsets are within a part by the documentation, but count over the whole text in answers of several parts as
        they come; the quoted text tells which.
        """
        if not isinstance(segment, Mapping):
            return None
        start, end = segment.get("startIndex") or 0, segment.get("endIndex")
        if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end:
            return None
        quoted = segment.get("text")
        wanted = quoted.encode("utf-8", "replace") if isinstance(quoted, str) else b""
        part = segment.get("partIndex") or 0
        before = self._said[: self._starts.get(part, 0)] if isinstance(part, int) else ""
        bases = (len(before.encode("utf-8", "replace")), 0)
        for base in bases:
            if wanted and self._bytes[base + start : base + end] == wanted:
                return base + start, base + end
        place = self._bytes.find(wanted) if wanted else -1
        if place >= 0:
            return place, place + len(wanted)
        base = bases[0]
        return (base + start, min(base + end, len(self._bytes))) if base + start < len(self._bytes) else None

    def locate(self, offsets: set[int]) -> None:
        """Work out the characters of all byte offsets in one walk over the text."""
        characters = behind = 0
        for offset in sorted(offsets):
            at = offset
            while 0 < at < len(self._bytes) and self._bytes[at] & 0xC0 == 0x80:
                at -= 1  # inside a character: its beginning
            characters += len(self._bytes[behind:at].decode("utf-8", "replace"))
            behind = at
            self._at[offset] = characters

    def characters(self, start: int, end: int) -> tuple[int, int]:
        """A byte range as character offsets in the content, end exclusive."""
        first, last = self._at[start], self._at[end]
        return self._shifted(first), self._shifted(max(last - 1, first)) + (1 if last > first else 0)

    def _shifted(self, character: int) -> int:
        place = bisect_right(self._inserts, character)
        return character + (self._shifts[place - 1] if place else 0)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

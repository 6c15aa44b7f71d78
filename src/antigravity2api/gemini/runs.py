"""Events of a stream that differ in nothing but their text and counters. Pure.

A model writes hundreds of them in a row. Parsing each for the one text in it, and looking at every member again, is the
largest part of what an event costs; and all that is left to find out, once two were read with all care, is whether the
next one is the same around its text. A ``Run`` is what such a pair has in common, byte by byte. It says yes only where
parsing would have given the same members with the same values, but for digits in ``usageMetadata``; any other event is
for who parses it. Counters stand in each event for the whole answer, so those of the last one are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_loads = orjson.loads
_DIGITS = b"0123456789"
_TEXT = b'"text"'
_COUNTERS = b'"usageMetadata"'
_PLAIN = frozenset({"content", "index", "safetyRatings", "tokenCount", "avgLogprobs"})
_LONGEST_AROUND = 4096


class Run:
    """What the events of a run have in common; made by ``common``."""

    __slots__ = ("_after", "_around", "_bare", "_before", "_last", "_rest", "_start", "_tail")

    def __init__(self, before: bytes, after: bytes, middle: bytes, last: bytes) -> None:
        self._before = before
        """Up to the text."""
        self._after = after
        """From the text's closing quote to the first counter that grows."""
        self._bare = middle.translate(None, _DIGITS)
        """The growing counters and what stands between them, without digits."""
        self._last = last
        """All that follows."""
        self._start = len(before)
        self._around = len(after)
        self._rest = -len(last)
        self._tail = len(after) + len(middle) + len(last)
        """How much followed the text lately: it changes only where a counter gets another digit."""

    def text_of(self, event: bytes) -> str | None:
        """The text of an event of this run; None for any other event, right or wrong."""
        start = self._start
        if event[:start] != self._before or event[self._rest :] != self._last:
            return None
        end = len(event) - self._tail
        middle = end + self._around
        if end < start or event[end:middle] != self._after:
            # JSON has no bare quote within a string, so the first place that reads so is the text's end, or none is.
            end = event.find(self._after, start)
            middle = end + self._around
            if end < 0 or middle > len(event) + self._rest:
                return None
            self._tail = len(event) - end
        if event[middle : self._rest].translate(None, _DIGITS) != self._bare:
            return None
        try:
            text = _loads(event[start : end + 1])
        except ValueError:
            return None
        return text if type(text) is str and text else None


def common(one: bytes, two: bytes, chunk: Mapping[str, Any], members: int) -> Run | None:
    """The run that two events in a row begin; None where they do not.

    ``chunk`` is what ``two`` says, ``members`` how many its only part has: 1 for a text, 2 for a thought.
    """
    text = _only_text(chunk, members)
    if text is None:
        return None
    first, second = _place(one), _place(two)
    if first is None or second is None or _string(two[second[0] : second[1]]) != text:
        return None
    before, tail = two[: second[0]], two[second[1] - 1 :]
    other = one[first[1] - 1 :]
    if one[: first[0]] != before or len(before) + len(tail) > _LONGEST_AROUND or not tail.endswith(b"}"):
        return None
    if tail == other:
        return Run(before, tail[:-1], b"", tail[-1:])
    start, stop = _differing(tail, other)
    middle = tail[start:stop]
    counters = tail.find(_COUNTERS)
    if not 0 < counters < start or not middle[:1].isdigit() or not middle[-1:].isdigit():
        return None
    run = Run(before, tail[:start], middle, tail[stop:])
    return run if run.text_of(one) is not None and run.text_of(two) == text else None


def _only_text(chunk: Mapping[str, Any], members: int) -> str | None:
    """The text of an event that is nothing but one more piece of it (``members`` as in ``common``)."""
    try:
        (candidate,) = chunk["candidates"]
        (part,) = candidate["content"]["parts"]
        if candidate.keys() <= _PLAIN and candidate.get("index", 0) == 0 and "promptFeedback" not in chunk:
            text = part["text"]
            return text if len(part) == members and type(text) is str and text else None
    except (KeyError, TypeError, ValueError, AttributeError):
        pass  # of another shape
    return None


def _place(event: bytes) -> tuple[int, int] | None:
    """Where the value of the first ``text`` begins and ends, quotes included."""
    start = event.find(_TEXT)
    if start < 0 or event.find(_TEXT, start + 1) >= 0:
        return None
    start += len(_TEXT)
    while event[start : start + 1] in (b" ", b":"):
        start += 1
    end = start
    while True:
        end = event.find(b'"', end + 1)
        if end < 0:
            return None
        if (end - len(event[:end].rstrip(b"\\"))) % 2 == 0:
            return (start, end + 1) if event[start : start + 1] == b'"' else None


def _string(data: bytes) -> Any:
    """A JSON text's value; None for one that only a more tolerant parser reads."""
    try:
        return _loads(data)
    except ValueError:
        return None


def _differing(one: bytes, other: bytes) -> tuple[int, int]:
    """The part of ``one`` outside which ``other`` is the same; whole numbers, so that others fit as well."""
    start = _alike(one, other)
    while start and one[start - 1 : start].isdigit():
        start -= 1
    same = _alike(one[start:][::-1], other[start:][::-1])
    while same and one[len(one) - same : len(one) - same + 1].isdigit():
        same -= 1
    return start, len(one) - same


def _alike(one: bytes, other: bytes) -> int:
    """How many bytes two texts have in common at their beginnings."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low

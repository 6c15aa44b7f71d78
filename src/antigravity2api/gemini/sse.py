"""Bytes of an upstream's answer → complete JSON texts. Pure, bounded, linear in the bytes however they are cut.

Google streams ``data: {…}`` events with CRLF line ends; but a failure half-way can come as pretty-printed JSON between
them, a request without ``alt=sse`` is answered by one JSON array, and a unary answer is one object. What comes is
decided anew at each position: a line that begins with a brace or bracket is raw JSON; what is neither JSON nor a field
of an event stream is handed out as it is, so that the caller's JSON parser fails on it instead of the text being lost.
"""

from __future__ import annotations

import re
from itertools import accumulate, count
from operator import indexOf, sub

import orjson

from antigravity2api.errors import Fault, Kind, Retry

MAX_EVENT = 64 << 20
"""Bytes of one event; a generated picture is several megabytes."""

_BOM = b"\xef\xbb\xbf"
_DONE = b"[DONE]"
_SHORT = 16
_CR, _LF, _QUOTE, _BACKSLASH = 13, 10, 34, 92
_OPEN, _CLOSE = b"{[", b"}]"
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes(2 if byte in _OPEN else 0 for byte in range(256))
_MARK = re.compile(rb'["\[\]{}]')
_NOT_BLANK = re.compile(rb"[^ \t]")
_ELEMENT = re.compile(rb"[^ \t\r\n,]")
_IGNORED = re.compile(rb":|(?:event|id|retry)\Z|[a-z][a-z0-9_-]*:")
"""Comments, and fields that carry nothing for us; an unknown field is ignored as the standard asks."""

_LINES, _VALUE, _ELEMENTS = range(3)


class EventReader:
    """Feed it what was read, get JSON texts in order; ``flush`` at the end gives what had no end of its own.

    Raises ``Fault`` BAD_ANSWER when one event grows past ``max_event`` bytes.
    """

    __slots__ = (
        "_array",
        "_data",
        "_depth",
        "_escaped",
        "_held",
        "_max",
        "_mode",
        "_no_lf",
        "_out",
        "_parts",
        "_size",
        "_skip_lf",
        "_string",
        "idle",
    )

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max = max_event
        self.idle = True
        """At the beginning of an event with nothing collected: whole events can be cut out of a read at once, and what
        ``one_event`` finds in a read needs not be fed."""
        self._held: bytes | None = b""
        """The first bytes, as long as they may be a byte order mark."""
        self._mode = _LINES
        self._parts: list[bytes] = []
        """The unfinished line or JSON value, as it came."""
        self._data: list[bytes] = []
        """The data lines of the unfinished event."""
        self._size = 0
        """Bytes in ``_parts`` and ``_data``."""
        self._skip_lf = False
        """The last read ended with a CR; a LF at the start of the next one belongs to it."""
        self._array = False
        self._depth = 0
        self._string = False
        self._escaped = False
        self._no_lf = False
        self._out: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The JSON texts that ``data`` completes."""
        if self.idle and len(data) <= self._max:
            # The usual read is one whole event, or several, or a whole body.
            events = _whole_events(data) if data[:6] == b"data: " else _whole_body(data)
            if events is not None:
                self._held = None
                return events
        if self._held is not None:
            data = self._held + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._held = data
                self.idle = not data
                return []
            data = data.removeprefix(_BOM)
            self._held = None
        if not data:
            return []
        self._read(data)
        self.idle = self._mode == _LINES and not (self._parts or self._data or self._skip_lf)
        return self._take()

    def flush(self) -> list[bytes]:
        """What is left at the end of the stream, whether it looks complete or not. Nothing is fed afterwards."""
        if self.idle:
            return []
        if self._held:
            self._parts.append(self._held)
        if self._mode == _LINES:
            if self._parts:
                self._end_line(b"".join(self._parts))
            self._dispatch()
        elif self._parts:
            self._out.append(b"".join(self._parts))
        self._held = None
        self._parts.clear()
        return self._take()

    def _take(self) -> list[bytes]:
        events, self._out = self._out, []
        return events

    def _read(self, data: bytes) -> None:
        pos = 1 if self._skip_lf and data[0] == _LF else 0
        self._skip_lf = self._no_lf = False
        size = len(data)
        tried = looked = False
        while pos < size:
            if self._mode == _VALUE:
                pos = self._walk_value(data, pos) if self._array or looked else self._look_at_value(data, pos)
                looked = True
            elif self._mode == _ELEMENTS:
                pos = self._between_elements(data, pos)
            elif tried or self._parts or self._data:
                pos = self._read_line(data, pos)
            else:
                tried = True  # once a read, so that odd events do not make it quadratic
                end = max(data.rfind(b"\r\n\r\n", pos) + 4, data.rfind(b"\n\n", pos) + 2)
                fits = pos < end <= pos + self._max and data.startswith(b"data: ", pos)
                events = _whole_events(data[pos:end]) if fits else None
                if events is not None:
                    self._out += events
                    pos = end

    # -- lines -----------------------------------------------------------------------------------------------------

    def _read_line(self, data: bytes, pos: int) -> int:
        """Take one line, or the beginning of one, and return where the next begins."""
        if not self._parts:
            found = _NOT_BLANK.search(data, pos)
            if found is None:
                return len(data)
            pos = found.start()
            if data[pos] in _OPEN:
                self._dispatch()
                return self._begin_json(data, pos)
        lf = -1 if self._no_lf else data.find(b"\n", pos)
        if lf < 0:
            self._no_lf = True  # not looked for again in this read
        cr = data.find(b"\r", pos, lf) if lf >= 0 else data.find(b"\r", pos)
        end = cr if cr >= 0 else lf
        self._grow((end if end >= 0 else len(data)) - pos)
        if end < 0:
            self._parts.append(data[pos:])
            return len(data)
        line = data[pos:end]
        if self._parts:
            self._parts.append(line)
            line = b"".join(self._parts)
            self._parts.clear()
        self._end_line(line)
        if data[end] == _LF:
            return end + 1
        if end + 1 < len(data):
            return end + 2 if data[end + 1] == _LF else end + 1
        self._skip_lf = True
        return end + 1

    def _end_line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
            return
        if not line:
            self._dispatch()
        elif line == b"data":
            self._data.append(b"")
        elif not _IGNORED.match(line):
            self._dispatch()
            self._out.append(line)
        if not self._data:
            self._size = 0

    def _dispatch(self) -> None:
        if not self._data:
            return
        event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        if len(event) > _SHORT or event.strip() not in (b"", _DONE):
            self._out.append(event)

    # -- raw JSON --------------------------------------------------------------------------------------------------

    def _begin_json(self, data: bytes, pos: int) -> int:
        if data.startswith(b"[", pos) and not self._array:
            self._array = True
            self._mode = _ELEMENTS
            return pos + 1
        self._mode = _VALUE
        self._depth = 0
        self._string = self._escaped = False
        return pos

    def _between_elements(self, data: bytes, pos: int) -> int:
        found = _ELEMENT.search(data, pos)
        if found is None:
            return len(data)
        pos = found.start()
        if data[pos] in _OPEN:
            return self._begin_json(data, pos)
        self._array = False
        self._mode = _LINES  # the array's end, or text that is no object: a line like any other
        return pos + 1 if data.startswith(b"]", pos) else pos

    def _look_at_value(self, data: bytes, pos: int) -> int:
        """The usual raw value fills the read and ends with it, or goes on: seen by counting, without a walk."""
        block = data[pos + 1 :] if self._escaped else data[pos:]
        if block.find(b'\\"') >= 0:
            block = block.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = block.split(b'"')
        brackets = b"".join(pieces[self._string :: 2]).translate(None, _NOT_BRACKETS)
        depth = self._depth
        opened = brackets.count(b"{") + brackets.count(b"[")
        closed = len(brackets) - opened
        zero = -1 if depth and closed < depth else _value_end(brackets, depth)
        if zero >= 0:
            end = max(data.rfind(b"}"), data.rfind(b"]")) + 1
            if zero == len(brackets) - 1 and not data[end:].strip():
                self._depth = 0
                return self._end_value(data, pos, end)
            return self._walk_value(data, pos)
        rest = data[pos:]
        self._depth = depth + opened - closed
        self._escaped = bool((len(block) - len(block.rstrip(b"\\"))) & 1)
        self._string ^= not len(pieces) & 1
        self._grow(len(rest))
        self._parts.append(rest)
        return len(data)

    def _walk_value(self, data: bytes, pos: int) -> int:
        """Find the exact end of a value among others."""
        begin, size = pos, len(data)
        while pos < size:
            if self._escaped:
                self._escaped = False
                pos += 1
            elif self._string:
                quote = data.find(b'"', pos)
                end = quote if quote >= 0 else size
                odd = _backslashes_before(data, pos, end) & 1
                pos = end
                if quote < 0:
                    self._escaped = bool(odd)
                else:
                    pos += 1
                    self._string = bool(odd)
            else:
                found = _MARK.search(data, pos)
                if found is None:
                    break
                pos = found.end()
                mark = data[pos - 1]
                if mark == _QUOTE:
                    self._string = True
                    continue
                self._depth += 1 if mark in _OPEN else -1
                if self._depth == 0:
                    return self._end_value(data, begin, pos)
        self._grow(size - begin)
        self._parts.append(data[begin:])
        return size

    def _end_value(self, data: bytes, begin: int, end: int) -> int:
        self._grow(end - begin)
        self._parts.append(data[begin:end])
        self._out.append(b"".join(self._parts))
        self._parts.clear()
        self._size = 0
        self._mode = _ELEMENTS if self._array else _LINES
        return end

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._max:
            raise Fault(
                Kind.BAD_ANSWER, f"The upstream sent an event of more than {self._max >> 20} MB.", retry=Retry.NEVER
            )


def one_event(data: bytes) -> bytes | None:
    """The JSON text of a read that is exactly one event as Google writes it; None for any other read.

    Good where a reader is ``idle``, which stays as it is.
    """
    if data.startswith(b"data: ") and data.endswith(b"\r\n\r\n"):
        text = data[6:-4]
        if len(text) > _SHORT and _LF not in text and _CR not in text:
            return text
    return None


def _whole_events(data: bytes) -> list[bytes] | None:
    """The events of a read that is nothing but ``data: …`` lines with blank lines behind them; None for all else.

    JSON has no raw line break inside a string, so no line end within the events proves the shape.
    """
    if data[-4:] == b"\r\n\r\n":
        text, between = data[6:-4], b"\r\n\r\ndata: "
    elif data[-2:] == b"\n\n":
        text, between = data[6:-2], b"\n\ndata: "
    else:
        return None
    # What is short may be the end marker, or blank.
    if _LF not in text:
        return [text] if _CR not in text and len(text) > _SHORT else None
    events = text.split(between)
    text = b"".join(events)
    return None if _LF in text or _CR in text or min(map(len, events)) <= _SHORT else events


def _whole_body(data: bytes) -> list[bytes] | None:
    """The value of a read that is one JSON object and white space behind it; None for all else."""
    body = data.rstrip(b"\r\n\t ")
    if body[:1] != b"{" or body[-1:] != b"}":
        return None
    try:
        orjson.loads(body)  # quicker than any look at it from here
    except orjson.JSONDecodeError:
        return None
    return [body]


def _value_end(brackets: bytes, depth: int) -> int:
    """At which of the brackets a value ends that begins at ``depth``; -1 where it goes on."""
    try:
        return indexOf(map(sub, accumulate(brackets.translate(_STEPS)), count(1 - depth)), 0)
    except ValueError:
        return -1


def _backslashes_before(data: bytes, start: int, end: int) -> int:
    """How many backslashes stand directly before ``end``, none counted before ``start``."""
    at = end
    while at > start and data[at - 1] == _BACKSLASH:
        at -= 1
    return end - at

"""Request bodies by their framing: a counted one and a strict chunked one. Bytes in, bytes out; no sockets, no clock.

Both take the bytes as they come, cut anywhere, and hand back what follows the body. A body is kept once, in one buffer
that grows in place; ``take`` gives it away. The chunked reader allows what RFC 9112 section 7.1 writes, and less: a
lenient end of a chunk is how one request becomes two.
"""

from __future__ import annotations

import re

SIZE_LINE_LIMIT = 4 * 1024
EXTENSION_LIMIT = 64 * 1024
"""Bytes of chunk extensions in a whole body; nobody sends any."""
TRAILER_LIMIT = 8 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16}+)((?:;[\t\x20-\x7e\x80-\xff]*+)?+)\r\n")
_SIZE_BEGINS = re.compile(rb"(?:[0-9A-Fa-f]{1,16}+(?:;[\t\x20-\x7e\x80-\xff]*+)?+\r?+)?+")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n")

_IN_SIZE, _IN_DATA, _AFTER_DATA, _IN_TRAILERS = range(4)


class BodyError(Exception):
    """A body that is refused, with the status that says so; the connection ends after it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class FixedBody:
    """A body of a known length. With ``keep`` off it is counted and thrown away."""

    __slots__ = ("_buffer", "_keep", "_length", "received")

    def __init__(self, length: int, *, keep: bool = True) -> None:
        self.received = 0
        self._length = length
        self._keep = keep
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes; None while the body goes on, else what follows it."""
        missing = self._length - self.received
        rest: bytes | None = None
        if len(data) >= missing:
            data, rest = data[:missing], data[missing:]
        self.received += len(data)
        if self._keep:
            self._buffer += data
        return rest

    def take(self) -> bytearray:
        """The whole body, once."""
        body, self._buffer = self._buffer, bytearray()
        return body


class ChunkedBody:
    """A chunked body of at most ``limit`` bytes. ``feed`` raises ``BodyError``. With ``keep`` off it is thrown away."""

    __slots__ = ("_buffer", "_extensions", "_keep", "_left", "_limit", "_line", "_state", "_trailers", "received")

    def __init__(self, limit: int, *, keep: bool = True) -> None:
        self.received = 0
        self._limit = limit
        self._keep = keep
        self._buffer = bytearray()
        self._state = _IN_SIZE
        self._line = b""
        self._left = 0
        self._extensions = 0
        self._trailers = 0

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes; None while the body goes on, else what follows it."""
        if self._line:
            data = self._line + data
            self._line = b""
        position = 0
        end = len(data)
        while position < end:
            state = self._state
            if state == _IN_DATA:
                position = self._data(data, position, end)
                continue
            if state == _AFTER_DATA:
                after = self._after_data(data, position)
            elif state == _IN_SIZE:
                after = self._size(data, position)
            else:
                after = self._trailer(data, position)
                if after is not None and self._state == _IN_SIZE:
                    return data[after:]
            if after is None:
                self._line = data[position:]
                return None
            position = after
        return None

    def take(self) -> bytearray:
        """The whole body, once."""
        body, self._buffer = self._buffer, bytearray()
        return body

    def _data(self, data: bytes, position: int, end: int) -> int:
        stop = min(end, position + self._left)
        if self._keep:
            with memoryview(data) as view:
                self._buffer += view[position:stop]
        self.received += stop - position
        self._left -= stop - position
        if self._left == 0:
            self._state = _AFTER_DATA
        return stop

    def _after_data(self, data: bytes, position: int) -> int | None:
        ending = data[position : position + 2]
        if ending == b"\r\n":
            self._state = _IN_SIZE
            return position + 2
        if ending != b"\r":
            raise BodyError(400, "A chunk of the body does not end where its size says.")
        return None

    def _size(self, data: bytes, position: int) -> int | None:
        newline = data.find(b"\n", position, position + SIZE_LINE_LIMIT + 2)
        if newline < 0:
            line = data[position : position + SIZE_LINE_LIMIT + 2]
            if len(line) > SIZE_LINE_LIMIT or _SIZE_BEGINS.fullmatch(line) is None:
                raise BodyError(400, "The size of a chunk is not a plain hexadecimal number.")
            return None
        match = _SIZE.fullmatch(data, position, newline + 1)
        if match is None or newline + 1 - position > SIZE_LINE_LIMIT:
            raise BodyError(400, "The size of a chunk is not a plain hexadecimal number.")
        size = int(match[1], 16)
        self._extensions += len(match[2])
        if self._extensions > EXTENSION_LIMIT:
            raise BodyError(400, "The body's chunk extensions are too long.")
        if size > self._limit - self.received:
            raise BodyError(413, f"The request's body is larger than {self._limit} bytes.")
        self._left = size
        self._state = _IN_DATA if size else _IN_TRAILERS
        return newline + 1

    def _trailer(self, data: bytes, position: int) -> int | None:
        """Trailers are checked, counted and dropped: a field that arrives after the decision must not change it."""
        newline = data.find(b"\n", position, position + TRAILER_LIMIT)
        if newline < 0:
            if self._trailers + len(data) - position >= TRAILER_LIMIT:
                raise BodyError(400, "The body's trailer is too long.")
            return None
        length = newline + 1 - position
        self._trailers += length
        if self._trailers > TRAILER_LIMIT:
            raise BodyError(400, "The body's trailer is too long.")
        if length == 2 and data[position] == 0x0D:
            self._state = _IN_SIZE
        elif _TRAILER.fullmatch(data, position, newline + 1) is None:
            raise BodyError(400, "The body's trailer is not made of header fields.")
        return newline + 1

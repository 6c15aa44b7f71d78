"""One HTTP/1.1 connection to an upstream: a request out, its answer pushed to a sink. No pool and no dialling here.

Everything happens inside the loop's callbacks: the bytes of one read become one ``on_data``, and no task wakes for
them. The answer's own framing decides how it ends; a connection that closes earlier ends it as a fault.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum, auto
from functools import lru_cache
from typing import Protocol

import httptools

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.upstreams.base import Sink

MAX_HEAD = 64 << 10
MAX_DECODED = 64 << 20
"""What a compressed answer may become: it is not asked for, and a few kilobytes could fill the memory."""

_SMALL_BODY = 64 << 10
_PIECE = 256 << 10
_DECODED_PIECE = 1 << 20
_BETWEEN, _WITHIN = "between chunks", "within a chunk"


def _chunk_head(whole: int) -> bytes:
    """How a chunk of so many bytes in all begins, as servers write it; more than so many bytes where none can have
    that length."""
    for digits in (1, 2, 3):
        head = b"%x\r\n" % max(0, whole - digits - 4)
        if len(head) == digits + 2 and head[0] != ord("0"):
            return head
    return bytes(whole + 1)


_SMALL_CHUNK = 4096
_CHUNK_HEADS = tuple(_chunk_head(size) for size in range(_SMALL_CHUNK))
_USUAL_NAMES = {
    name: name.decode("ascii").lower()
    for name in (
        b"Alt-Svc",
        b"Cache-Control",
        b"Content-Encoding",
        b"Content-Length",
        b"Content-Type",
        b"Date",
        b"Retry-After",
        b"Server",
        b"Server-Timing",
        b"Transfer-Encoding",
        b"Vary",
        b"X-Content-Type-Options",
        b"X-Frame-Options",
        b"X-XSS-Protection",
    )
}
"""Header names as servers usually spell them, and as they are known here."""


class Holder(Protocol):
    """Who uses a connection for one exchange."""

    sink: Sink

    def completed(self, connection: Connection, *, reusable: bool) -> None:
        """The answer is whole and its last bytes were delivered."""

    def broken(self, connection: Connection, fault: Fault, *, unanswered: bool) -> None:
        """The exchange failed; ``unanswered``: no byte of an answer had come."""


class Framing(Enum):
    """How the end of an answer is known."""

    MARKED = auto()
    UNTIL_CLOSE = auto()


class Connection(asyncio.Protocol):
    """A connection that serves one exchange at a time, and then perhaps another."""

    __slots__ = (
        "_blocked",
        "_body",
        "_body_end",
        "_complete",
        "_decoder",
        "_extra",
        "_flow",
        "_framing",
        "_fresh",
        "_fruitless",
        "_head_size",
        "_headers",
        "_holder",
        "_interim",
        "_keep_alive",
        "_kept",
        "_later",
        "_marks",
        "_offset",
        "_parser",
        "_received",
        "_rest",
        "_status",
        "_told",
        "_transport",
        "closed",
        "idle_since",
        "on_body",
        "on_chunk_complete",
        "on_chunk_header",
        "paused",
        "served",
    )

    def __init__(self, later: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._later = later
        """Takes what came as a whole soon, instead of at once."""
        self._kept: tuple[int, dict[str, str], bytes] | None = None
        """A whole answer that waits for its turn."""
        self._transport: asyncio.Transport | None = None
        self._holder: Holder | None = None
        self._rest: memoryview | None = None
        self._offset = 0
        self._blocked = False
        self.paused = False
        self._body: list[bytes] = []
        self.on_body = self._body.append
        """For the parser: a piece of the body costs no call of ours."""
        self._marks = deque((_BETWEEN, _WITHIN))
        """In front: where in a chunked body the parser stands. It turns this over itself, again without a call of ours:
        at the head of a chunk, and at its end."""
        self.on_chunk_header = self.on_chunk_complete = self._marks.rotate
        self._flow: Callable[[bytes], None] | None = None
        """Who takes the body, while it comes in chunks that need no parser (``_flows``)."""
        self.closed = False
        self.served = 0
        """How many answers it has carried."""
        self.idle_since = 0.0
        # One parser for all answers of the connection: it begins anew by itself after each that may have a successor.
        self._parser = httptools.HttpResponseParser(self)
        self._fresh = True
        """Whether nothing of the answer under way has come."""
        self._reset()

    def _reset(self) -> None:
        self._status = 0
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._fruitless = 0
        self._interim = False
        self._keep_alive = False
        self._framing = Framing.MARKED
        self._decoder: Decoder | None = None
        self._told = False
        self._complete = False
        self._extra = False
        self._body_end = 0
        """With ``_extra``: how much of what the parser gave is still this answer's body."""
        self._received = False
        self._flow = None
        if self._marks[0] is not _BETWEEN:
            self._marks.rotate()
        self._body.clear()

    # -- what the transport does with it -----------------------------------------------------------------------------

    @property
    def reused(self) -> bool:
        """Whether it has carried an answer before: such a connection may be dead without our knowing."""
        return self.served > 0

    @property
    def usable(self) -> bool:
        """Whether another request may go out on it."""
        return not self.closed and self._transport is not None and not self._transport.is_closing()

    def send(self, head: bytes, body: bytes, holder: Holder) -> None:
        """Send one request for ``holder``."""
        transport = self._transport
        if transport is None:
            raise RuntimeError("the connection was never made")
        self._holder = holder
        if not self._fresh:
            self._fresh = True
            self._reset()
        if len(body) <= _SMALL_BODY:
            transport.write(head + body)
            return
        transport.write(head)
        self._rest = memoryview(body)
        self._offset = 0
        self._pump()

    def pause(self) -> None:
        """Stop reading."""
        if not self.paused and self.usable and self._transport is not None:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.paused and self.usable and self._transport is not None:
            self.paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; the holder hears nothing more."""
        self._holder = None
        self._kept = None
        self._rest = None
        self._flow = None
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def attach(self, transport: asyncio.BaseTransport) -> None:
        """The transport it reads and writes on, where the loop does not tell by itself (after a proxy's CONNECT)."""
        self.connection_made(transport)

    # -- what the loop tells -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport reads and writes

    def data_received(self, data: bytes) -> None:
        flow = self._flow
        if flow is not None:
            # The usual read of a stream is exactly one chunk: nothing that a parser has to be asked about.
            size = len(data)
            if size < _SMALL_CHUNK:
                head = _CHUNK_HEADS[size]
                if data.startswith(head) and data.endswith(b"\r\n"):
                    flow(data[len(head) : -2])
                    return
            self._flow = None
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        """A read that is not known to be simple."""
        holder = self._holder
        if holder is None:  # bytes that nobody asked for
            self.abort()
            return
        if self._fresh and self._came_whole(data):
            return
        failed = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            failed = True
        if not self._told:
            self._received = True
            if not self._tell_head(holder, len(data), failed=failed):
                return
        body = self._body
        if self._extra:
            del body[self._body_end :]
        if body:
            self._fruitless = 0
            piece = body[0] if len(body) == 1 else b"".join(body)
            body.clear()
            if self._decoder is None:
                holder.sink.on_data(piece)
            else:
                self._decode(holder, self._decoder, piece)
            if self._holder is not holder:  # the sink has had enough
                return
        elif not self._complete and self._fruitless_read(len(data)):
            self._fail(_bad("The upstream's answer has a trailer that is too large."))
            return
        if self._complete:
            self._end(holder)
        elif failed:
            self._fail(_bad("The upstream's answer is not valid HTTP."))
        elif self._flows():
            self._flow = holder.sink.on_data

    def _flows(self) -> bool:
        """Whether the parser may be left out as long as whole chunks come: it stands between two of them, and would
        find itself there again behind each, none the wiser."""
        return (
            self._marks[0] is _BETWEEN
            and self._decoder is None
            and not self._extra
            and self._headers.get("transfer-encoding") == "chunked"
        )

    def _came_whole(self, data: bytes) -> bool:
        """Whether the first bytes are a whole answer, which then needs nothing more; else the parser gets them."""
        if self._kept is not None:  # bytes that nobody asked for, behind one that waits
            self._take_whole()
            self.abort()
            return True
        self._kept = _usual_answer(data)
        if self._kept is None:
            self._fresh = False
            return False
        if self._later is None:
            self._take_whole()
        else:
            self._later(self._take_whole)
        return True

    def _take_whole(self) -> None:
        """An answer that came in one read, taken without the parser, which has seen nothing of it."""
        holder, answer, self._kept = self._holder, self._kept, None
        if holder is None or answer is None:  # it was given up, or has been taken
            return
        status, headers, body = answer
        sink = holder.sink
        try:
            sink.on_head(status, headers)
            if body and self._holder is holder:
                sink.on_data(body)
        except Exception as error:
            self._told = True
            self._lost(error)
            raise
        if self._holder is not holder:  # the sink has had enough
            return
        self._keep_alive = True
        self._end(holder)

    def eof_received(self) -> bool:
        self._lost(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._lost(exc)
        self._transport = None

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._pump()

    # -- what the parser tells -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete and not self._extra:
            self._extra = True
            self._body_end = len(self._body)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:  # trailers carry nothing for us
            return
        self._head_size += len(name) + len(value) + 4
        key = _USUAL_NAMES.get(name) or name.decode("latin-1").lower()
        text = value.decode("latin-1").strip()
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        if self._status:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._interim = True
            self._headers = {}
            return
        self._status = status
        self._keep_alive = self._parser.should_keep_alive()  # only here does the parser know
        headers = self._headers
        marked = "content-length" in headers or "transfer-encoding" in headers
        if not marked and status not in (204, 304):
            self._framing = Framing.UNTIL_CLOSE

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._complete = True

    # -- the answer ----------------------------------------------------------------------------------------------------

    def _tell_head(self, holder: Holder, size: int, *, failed: bool) -> bool:
        """Hand the head on when it is there; False when nothing further shall be done with this read."""
        if self._head_size > MAX_HEAD or (not self._status and self._fruitless_read(size)):
            self._fail(_bad("The head of the upstream's answer is too large."))
            return False
        if not self._status:
            if failed:
                self._fail(_bad("The upstream did not answer in HTTP."))
            return False
        encoding = self._headers.get("content-encoding")
        if encoding and encoding.lower() != "identity":
            encoding = encoding.lower()
            if encoding not in Decoder.KNOWN:
                self._fail(_bad("The upstream's answer is compressed in a way that was not asked for."))
                return False
            self._decoder = Decoder()
        self._told = True
        holder.sink.on_head(self._status, self._headers)
        return self._holder is holder

    def _fruitless_read(self, size: int) -> bool:
        """Count bytes that are neither a whole head nor body; True when there are too many of them in a row."""
        self._fruitless += size
        return self._fruitless > MAX_HEAD

    def _decode(self, holder: Holder, decoder: Decoder, data: bytes) -> None:
        try:
            for piece in decoder.pieces(data):
                holder.sink.on_data(piece)
                if self._holder is not holder:
                    return
        except DecodeError as error:
            self._fail(_bad(str(error)))

    def _end(self, holder: Holder) -> None:
        """The answer is whole by its own framing."""
        transport = self._transport
        if self._decoder is not None and not self._decoder.whole:
            self._fail(_bad("The upstream's compressed answer is incomplete."))
            return
        reusable = (
            self._keep_alive
            and self._framing is Framing.MARKED
            and not self._extra
            and self._rest is None
            and not self.closed
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )
        self._holder = None
        self._rest = None
        self.served += 1
        if not reusable:
            self.abort()
        holder.completed(self, reusable=reusable)

    def _fail(self, fault: Fault) -> None:
        holder, unanswered = self._holder, not self._received
        self.abort()
        if holder is not None:
            holder.broken(self, fault, unanswered=unanswered)

    def _lost(self, exc: Exception | None) -> None:
        if self._kept is not None:
            self._take_whole()
        holder = self._holder
        if holder is None:
            self.closed = True
            return
        if not self._told:
            how = "was reset" if isinstance(exc, ConnectionError) else "was closed"
            when = "in the middle of an answer's head" if self._received else "before it answered"
            text = f"The connection to the upstream {how} {when}."
            self._fail(Fault(Kind.UNREACHABLE, text, retry=Retry.SAME))
        elif self._framing is Framing.UNTIL_CLOSE and exc is None:
            self._end(holder)
        else:
            self._fail(Fault(Kind.TRUNCATED, "The upstream's answer broke off before its end.", retry=Retry.SAME))

    # -- the request ---------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Write pieces of a large body as long as the socket takes them."""
        while self._rest is not None and not self._blocked and self._transport is not None and self.usable:
            piece = self._rest[self._offset : self._offset + _PIECE]
            self._offset += len(piece)
            if self._offset >= len(self._rest):
                self._rest = None
            self._transport.write(piece)


_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)").fullmatch
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})(?: [\t\x20-\x7e\x80-\xff]{0,100})?").fullmatch
_DIGITS = re.compile("[0-9]{1,8}").fullmatch
_HEX = re.compile(rb"[0-9A-Fa-f]{1,8}").fullmatch
_UNUSUAL = frozenset({"connection", "content-encoding", "trailer", "upgrade"})
_LONGEST_LINE = 256
_MOST_LINES = 32


def _usual_answer(data: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """Status, headers and body of the whole answer that a read is, if it is one of the usual form and nothing else: a
    plain head, a body of the length it says or in one chunk, and a connection that stays open. None for whatever else;
    the parser decides then.

    The parser calls us for each field and part; servers repeat most lines of their heads, so a look at each line is a
    quarter cheaper for the dozen fields that Google sends.
    """
    if data[-2:] == b"\r\n" and data[-5:] != b"0\r\n\r\n":  # the beginning of a stream
        return None
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    status = _status(first)
    if status is None or len(lines) > _MOST_LINES:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        field = _field(line) if len(line) <= _LONGEST_LINE else None
        if field is None:
            return None
        headers[field[0]] = field[1]
    if len(headers) != len(lines) or not _UNUSUAL.isdisjoint(headers):
        return None
    start = end + 4
    length = headers.get("content-length")
    if "transfer-encoding" in headers:
        if length is not None or headers["transfer-encoding"] != "chunked":
            return None
        body = _one_chunk(data, start)
        return None if body is None else (status, headers, body)
    if length is None or _DIGITS(length) is None or start + int(length) != len(data):
        return None
    return status, headers, data[start:]


@lru_cache(32)
def _status(line: bytes) -> int | None:
    """The status of an answer that may have a body and is the last one; None for any other first line."""
    match = _STATUS(line)
    status = int(match[1]) if match is not None else 0
    return status if status >= 200 and status not in (204, 304) else None


@lru_cache(512)
def _field(line: bytes) -> tuple[str, str] | None:
    """Lower-case name and value of a header line; None for one of an unusual form."""
    match = _FIELD(line)
    return None if match is None else (match[1].decode("ascii").lower(), match[2].decode("latin-1").rstrip(" \t"))


def _one_chunk(data: bytes, start: int) -> bytes | None:
    """The body that begins at ``start``, if it is one chunk and the last one behind it."""
    line = data.find(b"\r\n", start, start + 10)
    if line < 0 or _HEX(data, start, line) is None:
        return None
    first = line + 2
    last = first + int(data[start:line], 16)
    return data[first:last] if data[last:] == b"\r\n0\r\n\r\n" else None


class DecodeError(Exception):
    """A compressed answer is corrupt or too large."""


class Decoder:
    """gzip and deflate, piece by piece and bounded."""

    KNOWN = frozenset({"gzip", "x-gzip", "deflate"})

    __slots__ = ("_inflate", "_left", "_seen")

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its own head
        self._left = MAX_DECODED
        self._seen = False

    @property
    def whole(self) -> bool:
        """Whether the compressed stream has ended (or never began)."""
        return self._inflate.eof or not self._seen

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes, one megabyte at a time. Raises ``DecodeError``."""
        full = False
        while data or full:
            if self._inflate.eof:
                if not data.startswith(b"\x1f\x8b"):  # padding behind the end
                    return
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
            piece, data = self._step(data)
            full = len(piece) == _DECODED_PIECE and not self._inflate.eof
            self._left -= len(piece)
            if self._left < 0:
                raise DecodeError(f"The upstream's compressed answer is larger than {MAX_DECODED >> 20} MB.")
            if piece:
                yield piece

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            piece = self._inflate.decompress(data, _DECODED_PIECE)
        except zlib.error:
            if self._seen:
                raise DecodeError("The upstream's compressed answer is corrupt.") from None
            # "deflate" without the zlib wrapper is a common mistake of servers.
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                piece = self._inflate.decompress(data, _DECODED_PIECE)
            except zlib.error:
                raise DecodeError("The upstream's compressed answer is corrupt.") from None
        self._seen = True
        return piece, self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail


def _bad(message: str) -> Fault:
    return Fault(Kind.BAD_ANSWER, message, retry=Retry.SAME)

"""A small HTTP/1.1 listener of the sandbox's own, because a well-behaved server cannot be made to misbehave.

It reads requests strictly enough to notice a broken gateway and lets the handler write any bytes. Not for production:
the gateway's own server is ``antigravity2api.server``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import cast

MAX_HEAD = 64 * 1024
_HIGH_WATER = 256 * 1024
_REASONS = {
    200: "OK",
    204: "No Content",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Left(Exception):
    """The client has gone; nothing more can be said to it."""


class BadHttp(Exception):
    """The bytes are no request that can be served; the connection ends after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head. Header names are lower case."""

    method: str
    target: str
    version: str
    headers: dict[str, str]


def response_head(status: int, headers: Iterable[tuple[str, str]], *, version: str = "HTTP/1.1") -> bytes:
    """The bytes of a head, blank line included."""
    lines = [f"{version} {status} {_REASONS.get(status, 'Unknown')}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    """One chunk of ``Transfer-Encoding: chunked``."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _parse_head(raw: bytes) -> Head:
    lines = raw.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadHttp(400, "The request line cannot be read.")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadHttp(400, "A header line cannot be read.")
        name = name.lower()
        if name in headers and name in ("content-length", "host", "authorization", "x-goog-api-key"):
            raise BadHttp(400, f"The header {name} stands twice.")
        headers[name] = value.strip()
    if "content-length" in headers and "transfer-encoding" in headers:
        raise BadHttp(400, "Content-Length and Transfer-Encoding cannot stand together.")
    return Head(words[0], words[1], words[2], headers)


class Connection(asyncio.Protocol):
    """One accepted connection; the handler is called for each request and may write whatever it likes."""

    def __init__(
        self, handler: Callable[[Connection, Head], Awaitable[None]], open_connections: set[Connection]
    ) -> None:
        self._handler = handler
        self._open = open_connections
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._wanted = 0
        self.gone = False
        self.ended = False
        """The client has sent its last byte: it closed, or half-closed."""
        self.keep_alive = True
        self.served = 0
        """Requests answered on this connection before the present one."""
        self.task: asyncio.Task[None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)
        self.task = asyncio.get_running_loop().create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > self._wanted + _HIGH_WATER and self._transport is not None:
            self._transport.pause_reading()
        self._changed.set()

    def eof_received(self) -> bool:
        self.ended = True
        self._changed.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = self.ended = True
        self._open.discard(self)
        self._changed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # the handler's side

    async def write(self, data: bytes) -> None:
        """Send bytes as they are, waiting while the client reads slowly."""
        if self.gone or self._transport is None:
            raise Left
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()
            if self.gone:
                raise Left

    async def pause(self, seconds: float) -> None:
        """Wait, unless the client leaves first; no time at all lets others have a turn."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        deadline = asyncio.get_running_loop().time() + seconds
        while not self.ended:
            rest = deadline - asyncio.get_running_loop().time()
            if rest <= 0:
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), rest)
        raise Left

    def close(self) -> None:
        """An orderly end after what was written."""
        self.keep_alive = False
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """A hard end: the client sees ``ECONNRESET``."""
        self.keep_alive = False
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and not self.gone:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def discard(self, seconds: float) -> None:
        """End our side, then swallow what still comes: closing over unread bytes would destroy the answer."""
        self.keep_alive = False
        if self._transport is not None and not self.gone and self._transport.can_write_eof():
            self._transport.write_eof()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not self.ended and loop.time() < deadline:
            await self._more(len(self._buffer) + 1, deadline - loop.time())
            self._buffer.clear()

    async def read_body(self, head: Head, limit: int) -> bytes:
        """The request's whole body, unpacked if it was gzipped."""
        if head.headers.get("expect", "").lower() == "100-continue":
            await self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        encoding = head.headers.get("transfer-encoding")
        if encoding is not None:
            if encoding.lower() != "chunked":
                raise BadHttp(400, "Only the chunked transfer encoding is known.")
            body = await self._read_chunks(limit)
        elif "content-length" in head.headers:
            body = await self._read_exact(_length(head.headers["content-length"], limit))
        elif head.method == "POST":
            raise BadHttp(411, "POST requests require a Content-length header.")
        else:
            return b""
        if head.headers.get("content-encoding", "identity") == "gzip":
            return _gunzip(body, limit)
        return body

    async def _run(self) -> None:
        try:
            while self.keep_alive:
                raw = await self._read_until(b"\r\n\r\n", MAX_HEAD)
                if not raw:
                    break
                head = _parse_head(raw)
                wish = head.headers.get("connection", "").lower()
                self.keep_alive = wish != "close" and (head.version != "HTTP/1.0" or wish == "keep-alive")
                await self._handler(self, head)
                self.served += 1
        except BadHttp as error:
            self.keep_alive = False
            body = f"<!DOCTYPE html><title>Error {error.status}</title><p>{error.message}\n".encode()
            headers = [
                ("content-type", "text/html; charset=UTF-8"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            with contextlib.suppress(Left):
                await self.write(response_head(error.status, headers) + body)
                await self.discard(1.0)
        except Left:
            pass
        except Exception as error:  # noqa: BLE001 - a bug of the sandbox shall be seen, and end only this connection
            asyncio.get_running_loop().call_exception_handler({"message": "the sandbox failed", "exception": error})
        finally:
            self.close()

    async def _more(self, wanted: int, seconds: float | None = None) -> bool:
        """Wait for more bytes; False at the end of what the client sends."""
        self._wanted = wanted
        if self.ended:
            return False
        self._changed.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _read_until(self, mark: bytes, limit: int) -> bytes:
        """Bytes before ``mark`` (which is consumed), or nothing when the client closed instead."""
        seen = 0
        while True:
            at = self._buffer.find(mark, max(0, seen - len(mark)))
            if at > limit or (at < 0 and len(self._buffer) > limit):
                raise BadHttp(431, "The request's head is too large.")
            if at >= 0:
                data = bytes(self._buffer[:at])
                del self._buffer[: at + len(mark)]
                return data
            seen = len(self._buffer)
            if not await self._more(limit):
                return b""

    async def _read_exact(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not await self._more(size):
                raise Left
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._wanted = 0
        return data

    async def _read_chunks(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        total = 0
        while True:
            line = await self._read_until(b"\r\n", 1024)
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                raise BadHttp(400, "A chunk size cannot be read.") from None
            total += size
            if size < 0 or total > limit:
                raise BadHttp(413, "Your client issued a request that was too large.")
            if size == 0:
                while await self._read_until(b"\r\n", MAX_HEAD):
                    pass
                return b"".join(pieces)
            pieces.append(await self._read_exact(size))
            if await self._read_exact(2) != b"\r\n":
                raise BadHttp(400, "A chunk does not end where it should.")


def _length(text: str, limit: int) -> int:
    if not (text.isascii() and text.isdigit()):
        raise BadHttp(400, "Content-Length is no number.")
    if int(text) > limit:
        raise BadHttp(413, "Your client issued a request that was too large.")
    return int(text)


def _gunzip(body: bytes, limit: int) -> bytes:
    unpack = zlib.decompressobj(31)
    try:
        data = unpack.decompress(body, limit + 1)
    except zlib.error:
        raise BadHttp(400, "The gzip body cannot be read.") from None
    if len(data) > limit:
        raise BadHttp(413, "Your client issued a request that was too large.")
    if not unpack.eof:
        raise BadHttp(400, "The gzip body ends too early.")
    return data

"""The answer to one request as a handler writes it: head, pieces, end; straight to the transport."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from antigravity2api.server.answer import has_no_body
from antigravity2api.server.base import Head, Headers
from antigravity2api.server.service import Service

_JOIN_LIMIT = 16 * 1024
"""Up to here a head and a body are joined into one write."""
_SMALL_CHUNK = 4096
_CHUNK_HEADS = tuple(b"%x\r\n" % size for size in range(_SMALL_CHUNK))
"""Ready, because a format is most of what a small piece would cost here."""
_LEFT_STATUS = 499
"""For the log: the client left before any status was sent (nginx's habit)."""
_SILENT, _RAW, _FRAMED = range(3)


class Wire(Protocol):
    """What an answer asks of its connection."""

    service: Service

    def soon(self, callback: Callable[[], None]) -> None:
        """Run a callback after what runs now."""

    def finish(self) -> None:
        """Close after a complete answer."""

    def close(self) -> None:
        """Close once what was written has left."""

    def reset(self) -> None:
        """Close so that the client sees an error whatever the framing."""

    def left(self, answer: Answer) -> None:
        """Who worked for the answer does so no more."""


class Answer:
    """The answer to one request: the ``Responder`` that handlers get. What is written after its end, or after the
    client has left, is dropped."""

    __slots__ = (
        "_connection",
        "_flowing",
        "_mode",
        "_waiting",
        "_write",
        "began",
        "done",
        "entered",
        "head",
        "keep",
        "left",
        "on_resume",
        "outcome",
        "paused",
        "sent_bytes",
        "started",
        "status",
    )

    def __init__(self, connection: Wire, write: Callable[[bytes], None], head: Head, *, keep: bool) -> None:
        self.head = head
        self.keep = keep
        self.began = time.monotonic()
        self.started = False
        self.done = False
        self.entered = False
        self.left = False
        self.paused = False
        self.on_resume: Callable[[], None] | None = None
        self.sent_bytes = 0
        self.status = _LEFT_STATUS
        self.outcome = "ok"
        self._connection = connection
        self._write = write
        self._mode = _RAW
        self._waiting = b""
        self._flowing = False
        """Whether a piece needs nothing but its frame: the head has left, and the end has not come."""

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer with Content-Length."""
        if self.done:
            return
        silent = has_no_body(status)
        head = self._begin(status, headers, b"" if silent else b"content-length: %d\r\n" % len(body))
        if silent or self.head.method == "HEAD":
            body = b""
        size = self.sent_bytes = len(body)
        if size <= _JOIN_LIMIT:
            self._write(head + body)
        else:
            self._write(head)
            self._write(body)
        self._complete()

    def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer. It leaves with the first piece, or by itself if none is written at once."""
        if self.done:
            return
        framed = self.head.version != "1.0"
        framing = b"transfer-encoding: chunked\r\n" if framed else b""
        if has_no_body(status):
            self._mode, framing = _SILENT, b""
        elif self.head.method == "HEAD":
            self._mode = _SILENT
        elif framed:
            self._mode = _FRAMED
        else:
            self.keep = False  # the end of the connection is the end of the body
        self._waiting = self._begin(status, headers, framing)
        self._connection.soon(self._flush)

    def write(self, data: bytes) -> None:
        """One piece of a streamed answer, one write to the socket."""
        if not data:
            return
        if self._flowing:
            size = len(data)
            self.sent_bytes += size
            self._write((_CHUNK_HEADS[size] if size < _SMALL_CHUNK else b"%x\r\n" % size) + data + b"\r\n")
            return
        if self.done:
            return
        mode = self._mode
        if mode == _SILENT:
            return
        if not self.started:
            raise RuntimeError("a piece was written before the answer's head")
        self.sent_bytes += len(data)
        if mode == _FRAMED:
            self._flowing = True
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._waiting:
            data = self._waiting + data
            self._waiting = b""
        self._write(data)

    def end(self) -> None:
        """The end of a streamed answer."""
        if self.done:
            return
        if not self.started:
            raise RuntimeError("an answer ended before its head")
        tail = self._waiting + b"0\r\n\r\n" if self._mode == _FRAMED else self._waiting
        if tail:
            self._write(tail)
        self._complete()

    def abort(self) -> None:
        """Drop the connection so that the client sees a cut, not an end. What was written before still leaves, where
        the framing tells a cut from an end."""
        if self.done:
            return
        self.done = True
        self._flowing = False
        self.outcome = "cut"
        if self._mode == _FRAMED and self.started:
            self._flush_waiting()
            self._connection.close()
        else:
            self._connection.reset()

    def leave(self) -> None:
        """Nobody works for this answer any more."""
        if not self.left:
            self.left = True
            self._connection.left(self)

    @property
    def ends_with_connection(self) -> bool:
        """Whether an end of the connection would look like the end of the answer."""
        return self.started and self._mode == _RAW

    def forsake(self, outcome: str) -> None:
        """The connection is lost: nothing can be written any more."""
        if self.done:
            return
        self.done = True
        self._flowing = False
        self.outcome = outcome

    def _begin(self, status: int, headers: Headers, framing: bytes) -> bytes:
        if self.started:
            raise RuntimeError("an answer was started twice")
        self.started = True
        self.status = status
        service = self._connection.service
        if service.draining:
            self.keep = False
        if not self.keep:
            framing += b"connection: close\r\n"
        elif self.head.version == "1.0":
            framing += b"connection: keep-alive\r\n"
        return service.heads.head(time.time(), status, self.head.request_id, headers, framing)

    def _complete(self) -> None:
        self.done = True
        self._flowing = False
        if not self.keep:
            self._connection.finish()

    def _flush(self) -> None:
        if not self.done:
            self._flush_waiting()

    def _flush_waiting(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            self._write(waiting)

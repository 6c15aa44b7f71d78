"""One client connection: heads and bodies in, answers out, in order, each wait bounded.

    head ─► admit ─┬─ refused: answer now, the body unread; read on a while so that the answer is seen, not a reset
                   └─ body ─► handler ─► answer ─► next head, or close

A handler writes straight to the transport: no queue stands between. A coroutine runs as a task; the busiest handlers
need none, and go on in callbacks. One timer a connection covers every
wait; it is moved only when it has to ring earlier, else it looks at the deadline when it rings.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any, NamedTuple, cast

from antigravity2api import ids
from antigravity2api.server.base import Admission, Handler, Head, Refusal, Running
from antigravity2api.server.body import BodyError, ChunkedBody, FixedBody
from antigravity2api.server.head import CHUNKED, HeadError, Request, check_partial
from antigravity2api.server.responder import Answer
from antigravity2api.server.service import Service

PIPELINE_LIMIT = 64 * 1024
"""Bytes of later requests kept while one runs; a client that sends more gets no answer to them."""
IGNORED_BODY_LIMIT = 1024 * 1024
"""Bytes of a body that are read past where none is expected."""
LINGER_LIMIT = 64 * 1024 * 1024
"""Bytes read past after a refusal."""

_WRITE_HIGH = 64 * 1024
_WRITE_LOW = 16 * 1024
_RATE = 64 * 1024
_TICK = 0.002
"""A timer may ring this much early."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_HEAD, _BODY, _RUN, _LINGER, _CLOSING, _GONE = range(6)


class Upload(NamedTuple):
    """A body on its way in, and what comes after it."""

    body: FixedBody | ChunkedBody
    handler: Handler
    answer: Answer


class Connection(asyncio.Protocol):
    """The protocol of one accepted connection."""

    __slots__ = (
        "_answer",
        "_blank",
        "_deadline",
        "_eof",
        "_flooded",
        "_fresh",
        "_local",
        "_partial",
        "_paused",
        "_peer",
        "_pending",
        "_read_past",
        "_since",
        "_state",
        "_timer",
        "_timer_at",
        "_transport",
        "_unread",
        "_upload",
        "_waiting",
        "_work",
        "_write_until",
        "service",
    )

    _transport: asyncio.Transport

    def __init__(self, service: Service) -> None:
        self.service = service
        self._state = _HEAD
        self._peer = ""
        self._local = ""
        self._partial: bytearray | None = None
        self._pending: bytearray | None = None
        self._upload: Upload | None = None
        self._answer: Answer | None = None
        self._work: Running | None = None
        self._fresh = True
        self._blank = False
        self._eof = False
        self._paused = False
        self._flooded = False
        self._unread = False
        self._read_past = 0
        self._since = 0.0
        self._waiting = 0
        self._write_until = math.inf
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted: the head's time runs from here."""
        self._transport = cast("asyncio.Transport", transport)
        service = self.service
        if not service.enter(self):
            self._state = _GONE
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH, low=_WRITE_LOW)
        self._arm(service.loop.time() + service.limits.head)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, a body, a later request, or of nothing any more."""
        try:
            state = self._state
            if state <= _BODY:
                self._feed(data)
            elif state == _RUN:
                self._store(data)
            elif state == _LINGER:
                self._read_past += len(data)
                if self._read_past > LINGER_LIMIT:
                    self._transport.abort()
        except Exception as error:  # noqa: BLE001 - ends this connection alone, with a report
            self._broken(error)

    def eof_received(self) -> bool:
        """The client has closed its side. A running answer still has the grace time; True keeps our side open."""
        self._eof = True
        if self._state == _RUN or (self._state == _HEAD and self._pending):
            self._arm(min(self._deadline, self.service.loop.time() + self.service.limits.grace))
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: whoever still works for it is told at once."""
        self._state = _GONE
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._partial = self._pending = self._upload = None
        self._forsake("left")
        self.service.leave(self)

    def pause_writing(self) -> None:
        """The client reads too slowly: its writer is told, and the limit runs."""
        self._paused = True
        if self._answer is not None:
            self._answer.paused = True
        if self._state <= _RUN:
            self._arm(min(self._deadline, self._look_at_reader()))

    def resume_writing(self) -> None:
        """The client reads again."""
        self._paused = False
        answer = self._answer
        try:
            if answer is not None:
                answer.paused = False
            if self._state == _RUN:
                if not self._eof:
                    self._deadline = math.inf
                if answer is not None and answer.on_resume is not None and not answer.done:
                    answer.on_resume()
            elif self._state == _HEAD and not self._partial:
                self._rest()
                self._go_on()
        except Exception as error:  # noqa: BLE001 - ends this connection alone, with a report
            self._broken(error)

    # What answers and the register call.

    def soon(self, callback: Callable[[], None]) -> None:
        """Run a callback after what runs now."""
        self.service.loop.call_soon(callback)

    def finish(self) -> None:
        """Close after a complete answer. While the client may still be sending, a plain close would reset the
        connection and take the answer with it: close our side only, and read past the rest for a while."""
        if self._state >= _LINGER:
            return
        if self._eof or not (self._unread or self._pending):
            self.close()
            return
        self._state = _LINGER
        self._drop_input()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._arm(self.service.loop.time() + self.service.limits.linger)

    def close(self) -> None:
        """Close once what was written has left, within the write limit."""
        if self._state >= _CLOSING:
            return
        self._state = _CLOSING
        self._arm(self._look_at_reader())
        self._transport.close()

    def reset(self) -> None:
        """Close so that the client sees an error whatever the framing: by a reset instead of an end."""
        if self._state == _GONE:
            return
        self._state = _CLOSING
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):  # the client may have closed it first
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def drop(self) -> None:
        """Close without a word, to make room."""
        self._state = max(self._state, _CLOSING)
        self._transport.abort()

    def drain(self) -> None:
        """Close if nothing is under way; else after the answer."""
        if self._state == _HEAD and not self._partial and not self._pending:
            self.close()

    def interrupt(self) -> None:
        """Cancel the running request, which may still say so to its client."""
        if self._work is not None:
            self._work.cancel()

    def left(self, answer: Answer) -> None:
        """A handler is through. One that was before it had returned is settled by who called it."""
        if self._work is not None:
            self._settle(answer)

    def cut(self) -> None:
        """End it, whatever is under way."""
        if self._state == _GONE:
            return
        self._forsake("cut")
        self.drop()

    # Input.

    def _feed(self, data: bytes) -> None:
        """Take heads and bodies in order, until a request runs or the input is used up."""
        while data:
            state = self._state
            if self._upload is not None:
                data = self._take_body(data, self._upload)
            elif state == _RUN or (state == _HEAD and self._paused):
                self._store(data)
                return
            elif state == _HEAD:
                try:
                    data = self._take_head(data)
                except HeadError as error:
                    self._refuse_head(error.status, error.message)
                    return
            else:
                return

    def _store(self, data: bytes) -> None:
        pending = self._pending
        if pending is None:
            pending = self._pending = bytearray()
        if not self._flooded:
            pending += data
        if len(pending) > PIPELINE_LIMIT:
            # Reading has to go on: it is the only way to see that the client leaves. What it sent too much is dropped,
            # and with it the connection once the running answer is out.
            self._flooded = self._unread = True
            pending.clear()
            if self._answer is not None:
                self._answer.keep = False

    def _drop_input(self) -> None:
        self._partial = self._pending = self._upload = None

    def _take_head(self, data: bytes) -> bytes:
        """Take the bytes of a head, and if it is whole begin its request; returns what is left."""
        partial = self._partial
        if partial is None:
            end = data.find(b"\r\n\r\n")
            if end > 0 and data[0] != 0x0D:
                return self._begin(data[: end + 4], data[end + 4 :])
            partial = self._partial = bytearray()
            if not self._fresh:
                self.service.idle.pop(self, None)
                self._arm(min(self._deadline, self.service.loop.time() + self.service.limits.head))
        seen = len(partial)
        partial += data
        if not self._blank and partial.startswith(b"\r\n"):  # RFC 9112 section 2.2: one empty line before a head
            self._blank = True
            del partial[:2]
            seen = max(0, seen - 2)
        end = partial.find(b"\r\n\r\n", max(0, seen - 3))
        if end < 0:
            check_partial(partial, seen)
            return b""
        self._partial = None
        return self._begin(bytes(partial[: end + 4]), bytes(partial[end + 4 :]))

    def _begin(self, raw: bytes, rest: bytes) -> bytes:
        """Begin the request of a whole head; returns what is left of ``rest``."""
        service = self.service
        if not self._peer:
            self._learn_names()
        request = service.repeats.read(raw, self._peer, self._local, ids.request_id())
        if self._fresh:
            self._fresh = False
            service.unspoken.pop(self, None)
        else:
            service.idle.pop(self, None)
        self._blank = False
        head = request.head
        answer = self._answer = Answer(self, self._transport.write, head, keep=request.keep_alive)
        try:
            verdict = service.app.admit(head)
        except Exception as error:  # noqa: BLE001 - the client gets an answer whatever fails
            service.report("the application failed to admit a request", error)
            verdict = service.refusal(500, head, "Internal server error.")
        if isinstance(verdict, Refusal):
            return self._turn_down(answer, verdict, _past_body(request.length, rest))
        return self._expect_body(request, verdict, answer, rest)

    def _expect_body(self, request: Request, verdict: Admission, answer: Answer, rest: bytes) -> bytes:
        length = request.length
        if length == 0:
            self._start(verdict.handler, b"", answer)
            return rest
        limit = verdict.max_body or IGNORED_BODY_LIMIT
        keep = verdict.max_body > 0
        if length > limit:
            refusal = self.service.refusal(413, request.head, f"The request's body is larger than {limit} bytes.")
            return self._turn_down(answer, refusal, _past_body(length, rest))
        if 0 < length <= len(rest):
            self._start(verdict.handler, rest[:length] if keep else b"", answer)
            return rest[length:]
        body = ChunkedBody(limit, keep=keep) if length == CHUNKED else FixedBody(length, keep=keep)
        self._upload = Upload(body, verdict.handler, answer)
        self._state = _BODY
        self._since = self.service.loop.time()
        self._arm(self._since + self.service.limits.body)
        if request.expects and not rest:
            self._transport.write(_CONTINUE)
        return rest

    def _take_body(self, data: bytes, upload: Upload) -> bytes:
        """Take the bytes of a body, and if it is whole start its handler; returns what is left."""
        try:
            rest = upload.body.feed(data)
        except BodyError as error:
            refusal = self.service.refusal(error.status, upload.answer.head, error.message)
            return self._turn_down(upload.answer, refusal, None)
        if rest is None:
            return b""
        self._upload = None
        self._start(upload.handler, upload.body.take(), upload.answer)
        return rest

    # Requests.

    def _start(self, handler: Handler, body: bytes | bytearray, answer: Answer) -> None:
        self._state = _RUN
        if not (self._eof or self._paused):
            self._deadline = math.inf
        self.service.starting.add(self._begin_work, handler, body, answer)

    def _begin_work(self, handler: Handler, body: bytes | bytearray, answer: Answer) -> None:
        if answer.done:  # the client left before its turn came
            return
        service = self.service
        try:
            # The body is in the handler's frame alone, so that it can be freed while the answer is still on its way.
            work = handler(answer.head, body, answer)
        except Exception as error:  # noqa: BLE001 - the client gets an answer whatever fails
            service.report("a handler failed", error)
            self._failed(answer)
            self._settle(answer)
            return
        running: Running
        if isinstance(work, CoroutineType):
            running = service.loop.create_task(self._run(work, answer))  # type: ignore[assignment]  # cancel answers
        elif answer.left:
            self._settle(answer)
            return
        else:
            running = work  # type: ignore[assignment]  # what is no coroutine
            answer.entered = True
        self._work = running
        service.running.add(running)

    async def _run(self, work: Coroutine[Any, Any, None], answer: Answer) -> None:
        try:
            if answer.done:  # the client left before the task began
                work.close()
                return
            answer.entered = True
            await work
        except asyncio.CancelledError:
            answer.abort()
        except Exception as error:  # noqa: BLE001 - the client gets an answer whatever fails
            self.service.report("a handler failed", error)
            self._failed(answer)
        finally:
            answer.leave()

    def _failed(self, answer: Answer) -> None:
        if answer.started:
            answer.abort()
            return
        refusal = self.service.refusal(500, answer.head, "Internal server error.")
        answer.send(refusal.status, refusal.headers, refusal.body)

    def _settle(self, answer: Answer) -> None:
        """A request has ended: tell the application, and go on with the next."""
        service = self.service
        work, self._work, self._answer = self._work, None, None
        try:
            if not answer.done:
                service.report("a handler returned without an answer", None)
                self._failed(answer)
            self._tell(answer)
            if self._state == _RUN:
                self._rest()
                if self._pending or self._eof or service.draining:
                    self._go_on()
        except Exception as error:  # noqa: BLE001 - ends this connection alone, with a report
            self._broken(error)
        if work is not None:
            service.running.discard(work)
            if service.draining:
                service.settle()

    def _rest(self) -> None:
        """Between two requests."""
        self._state = _HEAD
        limits, now = self.service.limits, self.service.loop.time()
        deadline = now + (limits.grace if self._eof else limits.keepalive)
        if self._paused:
            deadline = min(deadline, self._look_at_reader())
        self._arm(deadline)
        self.service.idle[self] = None

    def _go_on(self) -> None:
        """Take up what arrived meanwhile, or close if nothing is to come."""
        if self.service.draining or (self._eof and not self._pending):
            self.finish()
            return
        if self._paused or not self._pending:
            return
        data = bytes(self._pending)
        self._pending = None
        self._feed(data)
        if self._eof and self._state <= _BODY and not self._pending:
            self.close()

    def _turn_down(self, answer: Answer, refusal: Refusal, rest: bytes | None) -> bytes:
        """Answer without a handler. ``rest`` is what follows the body, None if the body has not arrived: then the
        connection ends. Returns what is left to take."""
        if rest is None:
            answer.keep = False
            self._unread = True
            self._upload = None
        answer.send(refusal.status, refusal.headers, refusal.body)
        self._answer = None
        self._tell(answer)
        if self._state > _RUN:
            return b""
        self._rest()
        return rest or b""

    def _refuse_head(self, status: int, message: str) -> None:
        self._partial = None
        self._learn_names()
        head = Head("-", "-", "-", "", "1.1", {}, self._peer, self._local, ids.request_id(), {})
        answer = Answer(self, self._transport.write, head, keep=False)
        self._turn_down(answer, self.service.refusal(status, None, message), None)

    def _forsake(self, outcome: str) -> None:
        """Nothing can be answered any more: stop who works for it, at once."""
        answer, work = self._answer, self._work
        if answer is None or answer.done:
            return
        answer.forsake(outcome)
        if self._state != _GONE:
            self._state = _CLOSING
            if answer.ends_with_connection:
                self.reset()
            else:
                self._transport.abort()
        if work is None:
            self._answer = None
            self._tell(answer)
        elif answer.entered:
            work.cancel()

    def _tell(self, answer: Answer) -> None:
        service = self.service
        seconds = time.monotonic() - answer.began
        service.booking.add(service.book, answer.head, answer.status, answer.sent_bytes, seconds, answer.outcome)

    def _broken(self, error: Exception) -> None:
        self.service.report("a connection failed", error)
        self._transport.abort()

    def _learn_names(self) -> None:
        peer = self._transport.get_extra_info("peername")
        local = self._transport.get_extra_info("sockname")
        self._peer = peer[0] if isinstance(peer, tuple) else "-"
        if isinstance(local, tuple):
            host, port = local[:2]
            self._local = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    # Time.

    def _arm(self, deadline: float) -> None:
        self._deadline = deadline
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self.service.loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._upload is not None and not self._paused:
            self._deadline = self._since + self.service.limits.body + self._upload.body.received / _RATE
        if self.service.loop.time() + _TICK >= self._deadline:
            try:
                self._expired()
            except Exception as error:  # noqa: BLE001 - ends this connection alone, with a report
                self._broken(error)
        elif self._deadline < math.inf:
            self._arm(self._deadline)

    def _expired(self) -> None:
        state, answer = self._state, self._answer
        if (state == _CLOSING or (self._paused and not self._eof)) and self._still_reads():
            return
        if state == _HEAD and self._partial:
            self._refuse_head(408, "The request's header took too long.")
        elif state == _HEAD and not self._transport.get_write_buffer_size():
            self.close()
        elif self._upload is not None and answer is not None and not self._paused:
            refusal = self.service.refusal(408, answer.head, "The request's body took too long.")
            self._turn_down(answer, refusal, None)
        elif state == _RUN and answer is not None and not answer.done:
            self._forsake("left" if self._eof else "cut")
        else:
            self._transport.abort()

    def _look_at_reader(self) -> float:
        """Begin to watch a client that does not read; returns when to look again. In all it gets the write limit, and
        more for a large answer: a slow line is not a client that has stopped."""
        waiting = self._waiting = self._transport.get_write_buffer_size()
        now, limit = self.service.loop.time(), self.service.limits.write
        self._write_until = now + limit + max(0, waiting - 4 * _RATE) / _RATE
        return now + limit

    def _still_reads(self) -> bool:
        """Whether a slow client has taken some of what waits since it was looked at, and has time left."""
        waiting, now = self._transport.get_write_buffer_size(), self.service.loop.time()
        if waiting >= self._waiting or now >= self._write_until:
            return False
        self._waiting = waiting
        self._arm(min(self._write_until, now + self.service.limits.write))
        return True


def _past_body(length: int, rest: bytes) -> bytes | None:
    """What follows a body that shall not be read, if all of it is here already; else None."""
    if length != CHUNKED:
        return rest[length:] if len(rest) >= length else None
    try:
        return ChunkedBody(PIPELINE_LIMIT, keep=False).feed(rest)
    except BodyError:
        return None

"""One try at one upstream: bytes in, chunks to a consumer, and how it ended.

Everything here runs inside the transport's callback: no task wakes for an event, nothing is awaited between the
upstream's bytes and the client's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.jsontext import loads_upstream
from antigravity2api.gemini.sse import EventReader
from antigravity2api.gemini.types import Chunk
from antigravity2api.upstreams.base import Exchange, Upstream

_ERROR_BODY_LIMIT = 1 << 20


class Consumer(Protocol):
    """Where an attempt's chunks go: an encoder (streamed) or a fold (whole)."""

    def feed(self, chunk: Chunk) -> bytes: ...

    def finish(self) -> bytes: ...


class Attempt:
    """A ``Sink`` for one upstream exchange. ``done`` resolves to None or to the ``Fault`` that ended it."""

    __slots__ = (
        "_clock",
        "_consumer",
        "_deliver",
        "_error_body",
        "_headers",
        "_reader",
        "_status",
        "_upstream",
        "done",
        "events",
        "exchange",
        "since",
    )

    def __init__(
        self, upstream: Upstream, consumer: Consumer, deliver: Callable[[bytes], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._upstream = upstream
        self._consumer = consumer
        self._deliver = deliver
        self._clock = loop.time
        self._reader = EventReader()
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._error_body: bytearray | None = None
        self.done: asyncio.Future[Fault | None] = loop.create_future()
        self.exchange: Exchange | None = None
        self.events = 0
        """How many events arrived; the first one ends the wait for the first."""
        self.since = loop.time()
        """When the upstream last gave an event; the request's own time before that."""

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._headers = headers
        if status != 200:
            self._error_body = bytearray()

    def on_data(self, data: bytes) -> None:
        if self.done.done():
            return
        if self._error_body is not None:
            if len(self._error_body) < _ERROR_BODY_LIMIT:
                self._error_body += data
            return
        try:
            self._take(self._reader.feed(data))
        except Exception as error:  # noqa: BLE001 - nothing may escape into the socket's callback
            self.settle(_as_fault(error))

    def on_end(self) -> None:
        if self.done.done():
            return
        try:
            if self._error_body is not None:
                raise self._upstream.classify(self._status, self._headers, bytes(self._error_body))
            self._take(self._reader.flush())
            self._finish()
        except Exception as error:  # noqa: BLE001 - as above
            self.settle(_as_fault(error))

    def on_error(self, fault: Fault) -> None:
        if self.done.done():
            return
        if self._error_body is not None:
            fault = self._upstream.classify(self._status, self._headers, bytes(self._error_body))
        elif fault.kind is Kind.TRUNCATED and self.events:
            # A break behind the last event costs nothing: the consumer knows whether the answer was complete.
            try:
                self._finish()
            except Exception:  # noqa: BLE001 - the break is the better explanation
                self.settle(fault)
            return
        self.settle(fault)

    def settle(self, fault: Fault | None) -> None:
        """End the attempt; whatever still arrives is not read."""
        if not self.done.done():
            self.done.set_result(fault)
            if fault is not None and self.exchange is not None:
                self.exchange.close()

    def _finish(self) -> None:
        tail = self._consumer.finish()
        if tail:
            self._deliver(tail)
        self.settle(None)

    def _take(self, events: list[bytes]) -> None:
        if not events:
            return
        self.since = self._clock()
        feed = self._consumer.feed
        unwrap = self._upstream.unwrap
        pieces: list[bytes] = []
        try:
            for text in events:
                piece = feed(unwrap(_decode(text)))
                self.events += 1
                if piece:
                    pieces.append(piece)
        finally:  # what came before a broken event is the client's
            if pieces:
                self._deliver(pieces[0] if len(pieces) == 1 else b"".join(pieces))


def _as_fault(error: Exception) -> Fault:
    if isinstance(error, Fault):
        return error
    fault = Fault(Kind.INTERNAL, "The gateway failed to translate the upstream's answer.")
    fault.__cause__ = error
    return fault


def _decode(text: bytes) -> object:
    try:
        return loads_upstream(text)
    except ValueError:
        raise Fault(
            Kind.BAD_ANSWER, "The upstream sent an event that is not readable JSON.", retry=Retry.SAME
        ) from None

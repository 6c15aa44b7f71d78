"""One try at one upstream: bytes in, chunks to a consumer, and how it ended.

Everything here runs inside the transport's callback: no task wakes for an event, nothing is awaited between the
upstream's bytes and the client's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from orjson import loads

from antigravity2api.dialects.base import Encoder
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.continuation import TOKEN, Continuation
from antigravity2api.gemini.fold import Fold, truncated
from antigravity2api.gemini.jsontext import loads_upstream
from antigravity2api.gemini.runs import Run, common
from antigravity2api.gemini.sse import EventReader, one_event
from antigravity2api.gemini.types import Chunk, Response
from antigravity2api.upstreams.base import Exchange, Upstream

_ERROR_BODY_LIMIT = 1 << 20
_MOST_PAIRS = 8
_LEFT_THERE: Chunk = {"candidates": [{"finishReason": "CONTINUATION", "index": 0}]}
"""The end of a piece after which nothing follows, though the upstream said so."""


class Consumer(Protocol):
    """Where an attempt's chunks go: an encoder (streamed) or a fold (whole)."""

    @property
    def feed(self) -> Callable[[Chunk], bytes | None]:
        """Takes one chunk; gives what can be sent to the client."""

    def finish(self) -> bytes:
        """The end of the chunks; gives what is still to be sent."""


class Attempt:
    """A ``Sink`` for one upstream exchange. ``ended`` hears once how it ended: None, or a ``Fault``. ``encoder`` is the
    consumer where that is a stream's own, which takes the texts of a run by themselves."""

    __slots__ = (
        "_before",
        "_clock",
        "_deliver",
        "_encoder",
        "_ended",
        "_error_body",
        "_feed",
        "_finish",
        "_headers",
        "_more",
        "_over",
        "_pairs",
        "_reader",
        "_run",
        "_status",
        "_uncounted",
        "_unwrap",
        "_upstream",
        "begun",
        "events",
        "exchange",
        "first_at",
        "following",
        "since",
        "story",
    )

    def __init__(
        self,
        upstream: Upstream,
        consumer: Consumer,
        deliver: Callable[[bytes, float], None],
        clock: Callable[[], float],
        ended: Callable[[Fault | None], None],
        story: Continuation | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self._upstream = upstream
        self._deliver = deliver
        self._clock = clock
        self._ended = ended
        self._reader: EventReader | None = None
        # What every event needs is looked up once.
        self._unwrap = upstream.unwrap if story is None else self._unwrap_piece
        self._feed = consumer.feed
        self._finish = consumer.finish
        self._encoder = encoder
        self._more = encoder.more if encoder is not None else _nothing
        self._run: Run | None = None
        """What the next events may have in common with the last two."""
        self._before: bytes | None = None
        """The last event, where it was parsed."""
        self._pairs = _MOST_PAIRS if encoder is not None else 0
        """How often two events may be compared in vain."""
        self._uncounted: bytes | None = None
        """The last event of a run, whose counters are looked at when somebody asks for them."""
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._error_body: bytearray | None = None
        self._over = False
        self.exchange: Exchange | None = None
        self.events = 0
        """How many events arrived; the first one ends the wait for the first."""
        self.begun = self.since = clock()
        """When the upstream last gave an event; the request's own time before that."""
        self.first_at: float | None = None
        """When it gave the first one."""
        self.story = story
        """The pieces of the answer, where it comes in several."""
        self.following: str | None = None
        """The token to ask for the next piece with, once this one has ended well."""

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._headers = headers
        if status != 200:
            self._error_body = bytearray()

    def on_data(self, data: bytes) -> None:
        if self._over:
            return
        try:
            reader = self._reader
            if reader is None:
                self._take_first(data)
            elif not reader.idle:
                self._take(reader.feed(data))
            elif (text := one_event(data)) is not None:
                self._take_one(text)
            else:
                self._take(reader.feed(data))
        except Exception as error:  # noqa: BLE001 - nothing may escape into the socket's callback
            self.settle(as_fault(error))

    def _take_first(self, data: bytes) -> None:
        """As long as it is not known to be a stream."""
        if self._error_body is None:
            self._take(self._read_first(data))
        elif len(self._error_body) < _ERROR_BODY_LIMIT:
            self._error_body += data

    def on_end(self) -> None:
        if self._over:
            return
        try:
            if self._error_body is not None:
                raise self._refusal()
            if self._reader is not None:
                self._take(self._reader.flush())
            self._complete()
        except Exception as error:  # noqa: BLE001 - as above
            self.settle(as_fault(error))

    def on_error(self, fault: Fault) -> None:
        if self._over:
            return
        if self._error_body is not None:
            fault = self._refusal()
        elif fault.kind is Kind.TRUNCATED and self.events:
            # A break behind the last event costs nothing: the consumer knows whether the answer was complete.
            try:
                self._complete()
            except Exception:  # noqa: BLE001 - the break is the better explanation
                self.settle(fault)
            return
        self.settle(fault)

    def expire(self, fault: Fault) -> None:
        """A limit is over. An error whose body never ends is still that error; an answer that had ended was complete,
        though its connection stayed open."""
        if self._error_body is not None:
            fault = self._refusal()
        elif self.events and not self._over:
            try:
                self._complete()
            except Exception:  # noqa: BLE001 - it was not complete, and the limit says why
                self.settle(fault)
            return
        self.settle(fault)

    def _refusal(self) -> Fault:
        try:
            return self._upstream.classify(self._status, self._headers, bytes(self._error_body or b""))
        except Exception as error:  # noqa: BLE001 - as above
            return as_fault(error)

    def settle(self, fault: Fault | None) -> None:
        """End the attempt; whatever still arrives is not read."""
        if self._over:
            return
        self._over = True
        self.count_last()
        if fault is not None and self.exchange is not None:
            self.exchange.close()
        self._ended(fault)

    def _complete(self) -> None:
        if self.story is not None:
            ended = self.story.ended
            self.following = self.story.next_piece()
            if self.following is not None:
                self.settle(None)
                return
            if ended and (piece := self._feed(_LEFT_THERE)):
                self._deliver(piece, self._clock())
        if self._uncounted is not None:
            self._catch_up()
        tail = self._finish()
        if tail:
            self._deliver(tail, self._clock())
        self.settle(None)

    def _read_first(self, data: bytes) -> list[bytes]:
        """Read as long as all that came is whole answers, each in a read of its own: they need no reader to find their
        ends, and would be parsed twice by one."""
        if data[:1] == b"{" and data.rstrip()[-1:] == b"}":
            try:
                loaded = loads(data)
            except ValueError:
                pass  # the beginning of one, or a broken one
            else:
                now = self._now()
                chunk = self._unwrap(loaded)
                piece = self._feed(self._as_told(chunk))
                self.events += 1
                if piece:
                    self._deliver(piece, now)
                return []
        reader = self._reader = EventReader()
        return reader.feed(data)

    def _now(self) -> float:
        now = self.since = self._clock()
        if self.first_at is None:
            self.first_at = now
        return now

    def _take_one(self, event: bytes) -> None:
        """An event that came alone, which is the rule where a model thinks while it writes: ``_take``, without what
        only several need."""
        now = self.since = self._clock()
        run = self._run
        text = run.text_of(event) if run is not None else None
        if text is None:
            piece = self._take_whole(event, now)
        else:
            self._uncounted = event
            self.events += 1
            piece = self._more(text)
        if piece:
            self._deliver(piece, now)

    def _take(self, events: list[bytes]) -> None:
        """The events of one read leave in one write."""
        if not events:
            return
        now = self._now()
        pieces: list[bytes] = []
        run = self._run
        try:
            for event in events:
                if run is not None and (text := run.text_of(event)) is not None:
                    self._uncounted = event
                    self.events += 1
                    pieces.append(self._more(text))
                    continue
                piece = self._take_whole(event, now)
                run = self._run
                if piece:
                    pieces.append(piece)
        finally:  # what came before a broken event is the client's
            if pieces:
                self._deliver(b"".join(pieces), now)

    def _take_whole(self, event: bytes, now: float) -> bytes | None:
        """An event that has to be parsed; gives what can be sent to the client."""
        if self._uncounted is not None:
            self._catch_up()
            self._pairs = _MOST_PAIRS  # the last run was worth the look
        if not self.events:
            self.first_at = now
        try:
            loaded = loads(event)
        except ValueError:
            loaded = _tolerated(event)
        chunk = self._as_told(self._unwrap(loaded))
        piece = self._feed(chunk)
        self.events += 1
        if self._pairs:
            self._look_for_run(event, chunk)
        return piece

    def _look_for_run(self, event: bytes, chunk: Chunk) -> None:
        """Whether this event and the one before it begin a run (``gemini.runs``)."""
        encoder, before, self._before, self._run = self._encoder, self._before, event, None
        if encoder is None or self.story is not None or not encoder.members:
            self._before = None
        elif before is not None:
            self._run = common(before, event, chunk, encoder.members)
            self._pairs -= 1

    def count_last(self) -> None:
        """Let the consumer know all counters so far, if they can be read."""
        if self._uncounted is not None:
            with suppress(Fault):
                self._catch_up()

    def _catch_up(self) -> None:
        """Count what the last event of a run said. Raises ``Fault`` where that cannot be read."""
        event, self._uncounted = self._uncounted, None
        if event is not None and self._encoder is not None:
            try:
                loaded = loads(event)
            except ValueError:
                loaded = _tolerated(event)
            self._encoder.counted(self._unwrap(loaded).get("usageMetadata"))

    def _as_told(self, chunk: Chunk) -> Chunk:
        """A chunk as the consumer shall see it: from the first token on every one is looked at."""
        if not _has_token(chunk) or self.story is not None or not self._upstream.continues:
            return chunk
        self.story = Continuation()
        self._unwrap = self._unwrap_piece
        return self.story.take(chunk)

    def _unwrap_piece(self, event: Any) -> Chunk:
        assert self.story is not None  # noqa: S101 - for the type checker
        return self.story.take(self._upstream.unwrap(event))


def as_fault(error: Exception) -> Fault:
    """``error`` itself, or an INTERNAL fault that has it as its cause."""
    if isinstance(error, Fault):
        return error
    fault = Fault(Kind.INTERNAL, "The gateway failed to translate the upstream's answer.")
    fault.__cause__ = error
    return fault


def _has_token(chunk: Chunk) -> bool:
    try:
        return TOKEN in chunk["candidates"][0]
    except (KeyError, IndexError, TypeError):
        return False


def _nothing(text: str) -> bytes:
    """Takes the text of no run: there is none without an encoder."""
    return b""


def _tolerated(text: bytes) -> Any:
    """An event that is not quite JSON. Raises ``Fault`` for one that is none at all."""
    try:
        return loads_upstream(text)
    except ValueError:
        fault = Fault(Kind.BAD_ANSWER, "The upstream sent an event that is not readable JSON.", retry=Retry.SAME)
        raise fault from None


class Whole:
    """Collects a whole answer; the mapping to the dialect is made from the folded response."""

    __slots__ = ("_check", "_fold", "feed", "response", "text")

    def __init__(self, fold: Fold, check: Callable[[Response], None]) -> None:
        self._fold = fold
        self._check = check
        self.feed = fold.feed
        self.response: Response = {}
        self.text: str | None = None
        """The answer's text where it is nothing else (``fold.plain_text``) and somebody has looked."""

    def finish(self) -> bytes:
        """Nothing to send; the answer is in ``response`` now. Raises ``Fault`` where it is not fit for the client."""
        response = self._fold.response()
        self._check(response)
        self.response = response
        self.text = self._fold.text
        return b""


class Copy:
    """One of several streams that share an encoder: its only candidate gets the copy's index."""

    __slots__ = ("_encoder", "_ended", "_index")

    def __init__(self, encoder: Encoder, index: int) -> None:
        self._encoder = encoder
        self._index = index
        self._ended = False

    def feed(self, chunk: Chunk) -> bytes:
        """As the encoder's."""
        candidates = chunk.get("candidates")
        if not candidates:  # usage alone: an entry that says whose it is
            candidates = [{}]
        if isinstance(candidates, list):
            moved = [{**entry, "index": self._index} for entry in candidates if isinstance(entry, dict)]
            self._ended = self._ended or any(entry.get("finishReason") for entry in moved)
            chunk = {**chunk, "candidates": moved}
        self._ended = self._ended or "promptFeedback" in chunk
        return self._encoder.feed(chunk)

    def finish(self) -> bytes:
        """Nothing yet: the encoder ends when every copy has. A cut copy is known at once. Raises ``Fault``."""
        if not self._ended:
            raise truncated()
        return b""

"""``FakeTransport``: scripted answers in the test's own loop, no socket; ``FakeResponder`` keeps what it is given."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from antigravity2api.errors import Fault
from antigravity2api.server.base import Headers
from antigravity2api.upstreams.base import Address, HttpRequest, Sink
from fakes.upstream import error_object, frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One answer: a head and pieces, each in a turn of the loop of its own; then its end, a fault, or silence."""

    status: int = 200
    pieces: tuple[bytes, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    silent: bool = False


def events(*made: Any, **play: Any) -> Play:
    """An event stream, one piece an event; it serves a whole answer as well."""
    return Play(pieces=tuple(frame(event) for event in made), **play)


def refusal(status: int, message: str, word: str | None = None, details: Any = None) -> Play:
    """Google's error object."""
    body = orjson.dumps({"error": error_object(status, message, word, details)})
    return Play(status=status, headers={"content-type": "application/json"}, pieces=(body,))


class Played:
    """A request as it was sent, and the exchange that answers it."""

    def __init__(self, host: str, request: HttpRequest) -> None:
        self.host = host
        self.request = request
        self.closed = False
        self.over = False
        """Whether the answer was heard to its end."""
        self.paused = False

    @property
    def json(self) -> Any:
        """The body that went upstream."""
        return orjson.loads(self.request.body)

    def header(self, name: str) -> str | None:
        """The header of that name."""
        return next((value for key, value in self.request.headers if key.lower() == name.lower()), None)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True


class FakeTransport:
    """Plays the answers queued for a host, first in first out; a request without one fails the test."""

    def __init__(self, **answers: list[Play]) -> None:
        self.sent: list[Played] = []
        self.opened = asyncio.Event()
        """Set with the first request."""
        self._queues = {host: deque(plays) for host, plays in answers.items()}

    def play(self, host: str, *answers: Play) -> None:
        """Queue answers."""
        self._queues.setdefault(host, deque()).extend(answers)

    def hosts(self) -> list[str]:
        """Where each request went, in order."""
        return [played.host for played in self.sent]

    def open(self, address: Address, request: HttpRequest, sink: Sink) -> Played:
        played = Played(address.host, request)
        self.sent.append(played)
        self.opened.set()
        answer = self._queues[address.host].popleft()
        steps: list[Callable[[], None]] = []
        if answer.status and not (answer.silent and not answer.pieces):
            steps.append(lambda: sink.on_head(answer.status, answer.headers))
        steps.extend(_data(sink, piece) for piece in answer.pieces)
        if not answer.silent:
            steps.append(lambda: _end(played, sink, answer.fault))
        _next(played, deque(steps))
        return played

    async def close(self) -> None:
        """Nothing is open."""


def _data(sink: Sink, piece: bytes) -> Callable[[], None]:
    return lambda: sink.on_data(piece)


def _end(played: Played, sink: Sink, fault: Fault | None) -> None:
    played.over = True
    if fault is None:
        sink.on_end()
    else:
        sink.on_error(fault)


def _next(played: Played, steps: deque[Callable[[], None]]) -> None:
    """Take one step a turn, unless nobody listens or the reader is paused."""

    def step() -> None:
        if played.closed:
            return
        if not played.paused:
            steps.popleft()()
        if steps:
            loop.call_soon(step)

    loop = asyncio.get_running_loop()
    if steps:
        loop.call_soon(step)


class FakeResponder:
    """Keeps head and bytes; ``slow`` makes every write the one that the client is too slow for."""

    def __init__(self) -> None:
        self.started = False
        self.paused = False
        self.on_resume: Callable[[], None] | None = None
        self.sent_bytes = 0
        self.status = 0
        self.headers: dict[str, str] = {}
        self.data = b""
        self.ended = False
        self.slow = False
        self.begun = asyncio.Event()
        """Set with the first byte."""
        self.over = asyncio.Event()
        """Set when nobody works for the answer any more."""

    @property
    def json(self) -> Any:
        """A whole answer."""
        return orjson.loads(self.data)

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        self.start(status, headers)
        self.write(body)
        self.end()

    def start(self, status: int, headers: Headers) -> None:
        assert not self.started, "a second head"
        self.started = True
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}

    def write(self, data: bytes) -> None:
        assert self.started and not self.ended
        self.data += data
        self.sent_bytes += len(data)
        self.paused = self.slow
        self.begun.set()

    def end(self) -> None:
        assert not self.ended, "a second end"
        self.ended = True

    def abort(self) -> None:
        self.ended = True

    def leave(self) -> None:
        assert not self.over.is_set(), "left twice"
        self.over.set()

    def catch_up(self) -> None:
        """The client has read everything."""
        self.slow = self.paused = False
        if self.on_resume is not None:
            self.on_resume()

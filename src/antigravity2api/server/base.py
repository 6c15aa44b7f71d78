"""The seam between the HTTP server and the application: a parsed request in, a responder to write to."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

Headers = list[tuple[bytes, bytes]]


class Head(NamedTuple):
    """A request's head, already checked. ``path`` is percent-decoded once; header names are lower case, values
    latin-1. Content-Length may be missing among them: framing is the server's."""

    method: str
    target: str
    path: str
    query: str
    version: str
    headers: Mapping[str, str]
    peer: str
    """The client's address, for the log."""
    local: str
    """``host:port`` the connection arrived at, for links when there is no Host header."""
    request_id: str
    memo: dict[str, Any]
    """What the application worked out for a head of exactly these fields. The same object may come again with other
    requests, of other connections too; so nothing of one request belongs here."""


class Responder(Protocol):
    """The answer to one request. Each answer gets ``x-request-id`` and the safe headers from the server; a handler
    gives content type and body. What is written after ``send``, ``end`` or ``abort`` is dropped."""

    on_resume: Callable[[], None] | None
    """Called when a client that read too slowly goes on."""

    @property
    def started(self) -> bool:
        """Whether a head has gone out."""

    @property
    def paused(self) -> bool:
        """True while the client reads too slowly."""

    @property
    def sent_bytes(self) -> int:
        """What went out so far."""

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer with Content-Length."""

    def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer (chunked, or until close on HTTP/1.0)."""

    def write(self, data: bytes) -> None:
        """One piece of a streamed answer, one write to the socket."""

    def end(self) -> None:
        """The end of a streamed answer."""

    def abort(self) -> None:
        """Drop the connection so that the client sees a cut, not an end."""

    def leave(self) -> None:
        """The last word of a ``Running``: nothing of it works for this request any more."""


class Running(Protocol):
    """A request that runs in callbacks, without a task of its own; ``Responder.leave`` says when it is over."""

    def cancel(self) -> None:
        """The client has left, or the gateway stops: give everything back, end the answer if that is still possible,
        and leave, now or soon."""


class Handler(Protocol):
    """What the application does with an admitted request: a coroutine, which is run as a task, or a ``Running`` that
    has begun already. Cancelled when the client leaves.

    A body that came in several pieces is handed on in the buffer it was collected in."""

    def __call__(
        self, head: Head, body: bytes | bytearray, responder: Responder
    ) -> Coroutine[Any, Any, None] | Running: ...


class Refusal(NamedTuple):
    """The answer to a head whose body shall not be read."""

    status: int
    headers: Headers
    body: bytes


class Admission(NamedTuple):
    """A head that may go on: who handles it, and how large a body it may have (0: none is expected, one is ignored)."""

    handler: Handler
    max_body: int


class Application(Protocol):
    """What the server serves."""

    def admit(self, head: Head) -> Admission | Refusal:
        """Key, route, method, content type and encoding, decided on the head alone. Synchronous and quick."""

    def refuse(self, status: int, head: Head | None, message: str) -> Refusal:
        """The error body for what the server itself turns down (400, 408, 413, 414, 417, 431, 505, 503)."""

    def finished(self, head: Head, status: int, sent_bytes: int, seconds: float, outcome: str) -> None:
        """Called once after each request: ``ok``, ``left`` (the client went away) or ``cut`` (a limit ended it)."""

"""A ``Responder`` that keeps what the client gets, for requests whose bodies the operator wants to see."""

from __future__ import annotations

from collections.abc import Callable

from antigravity2api.journal import Capture, Journal
from antigravity2api.server.base import Headers, Responder


class CapturedResponder:
    """Passes everything on; the journal gets the bodies when the request leaves."""

    def __init__(self, responder: Responder, capture: Capture, journal: Journal) -> None:
        self._responder = responder
        self._capture = capture
        self._journal = journal

    @property
    def started(self) -> bool:
        """Whether a head has gone out."""
        return self._responder.started

    @property
    def paused(self) -> bool:
        """Whether the client reads too slowly."""
        return self._responder.paused

    @property
    def sent_bytes(self) -> int:
        """What went out so far."""
        return self._responder.sent_bytes

    @property
    def on_resume(self) -> Callable[[], None] | None:
        """Whom to call when the client reads again."""
        return self._responder.on_resume

    @on_resume.setter
    def on_resume(self, call: Callable[[], None] | None) -> None:
        self._responder.on_resume = call

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        self._capture.status = status
        self._capture.answer.add(body)
        self._responder.send(status, headers, body)

    def start(self, status: int, headers: Headers) -> None:
        self._capture.status = status
        self._responder.start(status, headers)

    def write(self, data: bytes) -> None:
        self._capture.answer.add(data)
        self._responder.write(data)

    def end(self) -> None:
        self._responder.end()

    def abort(self) -> None:
        self._responder.abort()

    def leave(self) -> None:
        self._responder.leave()
        self._journal.keep(self._capture)

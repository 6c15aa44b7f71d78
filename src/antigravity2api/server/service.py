"""What all connections of one process share: the application, the limits, and the register of who is connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from antigravity2api.server.answer import AnswerHeads
from antigravity2api.server.base import Application, Head, Refusal, Running
from antigravity2api.server.repeats import Repeats
from antigravity2api.together import Together

Report = Callable[[str, BaseException | None], None]
"""Where the server tells the log what went wrong inside; never called for what a client did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long the server waits for what, in seconds, and how many it serves at once."""

    head: float = 10.0
    """A request's head: from accept on a fresh connection, from its first byte on a used one."""
    body: float = 30.0
    """A request's body, plus one for each 64 KB of it received."""
    keepalive: float = 60.0
    """A connection between two requests."""
    write: float = 60.0
    """A client that does not read, plus one for each 64 KB waiting beyond the first 256 KB."""
    drain: float = 30.0
    """Running requests at shutdown."""
    grace: float = 1.0
    """A client that has closed its side: it may still be reading."""
    linger: float = 5.0
    """Reading on after a refusal, so that the client gets to see it."""
    max_connections: int | None = None
    """None: as many as the process' file descriptors allow."""


class Member(Protocol):
    """What the register asks of a connection."""

    def drop(self) -> None:
        """Close without a word."""

    def drain(self) -> None:
        """Close if nothing is under way; else after the answer."""

    def interrupt(self) -> None:
        """Cancel what is under way; it may still have its last word."""

    def cut(self) -> None:
        """End it, whatever is under way."""


class Service:
    """The shared state of one process' connections; made within the running loop."""

    __slots__ = (
        "_emptied",
        "app",
        "booking",
        "capacity",
        "connections",
        "draining",
        "heads",
        "idle",
        "limits",
        "loop",
        "repeats",
        "report",
        "running",
        "starting",
        "unspoken",
    )

    def __init__(self, app: Application, limits: Limits, report: Report, capacity: int) -> None:
        self.app = app
        self.limits = limits
        self.report = report
        self.capacity = capacity
        self.heads = AnswerHeads()
        self.repeats = Repeats()
        self.draining = False
        self.connections: set[Member] = set()
        self.unspoken: dict[Member, None] = {}
        """Connections without a whole head so far, oldest first."""
        self.idle: dict[Member, None] = {}
        """Connections between two requests, longest idle first."""
        self.running: set[Running] = set()
        """Who works for a request; tasks among them, which the loop itself would not keep alive."""
        self._emptied = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.starting = Together(self.loop)
        """Requests that have come as a whole."""
        self.booking = Together(self.loop)
        """Requests that have ended."""

    def enter(self, connection: Member) -> bool:
        """Register a fresh connection; False when it has to go. One that asks for nothing makes room for it."""
        if self.draining:
            self.connections.add(connection)  # until it has gone
            return False
        if len(self.connections) >= self.capacity and not self._shed():
            return False
        self.connections.add(connection)
        self.unspoken[connection] = None
        return True

    def leave(self, connection: Member) -> None:
        """Forget a connection that has ended."""
        self.connections.discard(connection)
        self.unspoken.pop(connection, None)
        self.idle.pop(connection, None)
        self.settle()

    def settle(self) -> None:
        """While draining: wake whoever waits for the last connection and request to end."""
        if self.draining and not self.connections and not self.running:
            self._emptied.set()

    async def empty(self) -> None:
        """Once draining: wait until no connection is open and no request runs."""
        self.settle()
        await self._emptied.wait()

    def refusal(self, status: int, head: Head | None, message: str) -> Refusal:
        """The application's words for a refusal, or none if it has none."""
        try:
            return self.app.refuse(status, head, message)
        except Exception as error:  # noqa: BLE001 - the client gets an answer whatever fails
            self.report("the application failed to word a refusal", error)
            return Refusal(status, [(b"content-type", b"text/plain")], message.encode())

    def book(self, head: Head, status: int, sent_bytes: int, seconds: float, outcome: str) -> None:
        """Tell the application that a request has ended."""
        try:
            self.app.finished(head, status, sent_bytes, seconds, outcome)
        except Exception as error:  # noqa: BLE001 - the client has its answer whatever fails
            self.report("the application failed to book a request", error)

    def _shed(self) -> bool:
        for waiting in (self.unspoken, self.idle):
            for victim in waiting:
                self.leave(victim)
                victim.drop()
                return True
        return False

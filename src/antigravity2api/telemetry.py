"""One structured line per event on stderr. The hot path only appends to a bounded queue; a thread writes.

Nothing secret is given to this module: callers pass names and numbers. Values are cut, control characters escaped, and
a message that repeats is written at most once a second.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from typing import Any, Protocol

import orjson


class Journal(Protocol):
    """Where lines are kept as well; called from the log's thread, and raises nothing."""

    def write(self, lines: bytes) -> None: ...

    def tidy(self) -> None:
        """Called now and then while there is nothing to write."""


LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_FIELD_LIMIT = 1024
_QUEUE_LIMIT = 20_000
_LAST_WORDS = 2.0
_QUIET = 600.0
"""Seconds without a line after which the journal may look after what is too old."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def clean(text: str) -> str:
    """``text`` without control characters and at most 1 KB long, safe for a terminal."""
    if len(text) > _FIELD_LIMIT:
        text = text[:_FIELD_LIMIT] + "…"
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


class Log:
    """A line writer. ``lost`` counts lines that found the queue full or could not be written."""

    def __init__(self, *, fd: int = 2, level: str = "info", journal: Journal | None = None) -> None:
        self._fd = fd
        self._journal = journal
        self._floor = LEVELS[level]
        self._queue: deque[bytes] = deque(maxlen=_QUEUE_LIMIT)
        self._unsaid: deque[bytes] = deque(maxlen=_QUEUE_LIMIT)
        """Lines for the journal that are below the level of what is said."""
        self._wake = threading.Event()
        self._woken = False
        """Whether the thread was told since it last looked; asking the event itself costs more."""
        self._stop = False
        self._thread: threading.Thread | None = None
        self._last: dict[str, float] = {}
        self.lost = 0

    def start(self) -> None:
        """Begin writing from a thread (after a fork, in the process that logs)."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._stop = True
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=_LAST_WORDS)
            if thread.is_alive():  # nobody reads the pipe: the process must end all the same
                return
        self._flush()

    def request(self, line: bytes) -> None:
        """The line of a finished request, its end included; it holds no free text that was not cleaned."""
        if self._floor <= 20:
            queue = self._queue
            if len(queue) == _QUEUE_LIMIT:
                self.lost += 1
            queue.append(line)
            if not self._woken:
                self._call()
        elif self._journal is not None:
            self._unsaid.append(line)
            self._call()

    def event(self, level: str, message: str, **fields: Any) -> None:
        """Anything else worth a line; the same message at most once a second."""
        if LEVELS[level] < self._floor:
            return
        now = time.monotonic()
        if now - self._last.get(message, -1.0) < 1.0:
            return
        if len(self._last) > 500:
            self._last.clear()
        self._last[message] = now
        line: dict[str, Any] = {"ts": stamp(), "level": level, "event": clean(message)}
        for name, value in fields.items():
            line[name] = clean(value) if isinstance(value, str) else value
        self._put(orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE))

    def _put(self, line: bytes) -> None:
        if len(self._queue) == _QUEUE_LIMIT:
            self.lost += 1
        self._queue.append(line)
        self._call()

    def _call(self) -> None:
        if not self._woken:
            self._woken = True
            self._wake.set()

    def _taken(self) -> bytes:
        lines = []
        while self._unsaid:
            lines.append(self._unsaid.popleft())
        return b"".join(lines)

    def _run(self) -> None:
        while not self._stop:
            if not self._wake.wait(_QUIET):
                if self._journal is not None:
                    self._journal.tidy()
                continue
            if not self._stop:
                time.sleep(0.1)  # lines of a busy moment go out in one write
            self._wake.clear()
            self._woken = False  # before looking: what is queued from here on wakes again
            self._flush()

    def _flush(self) -> None:
        queue = self._queue
        lines = []
        while queue:
            lines.append(queue.popleft())
        whole = b"".join(lines)
        if self._journal is not None and (kept := whole + self._taken()):
            self._journal.write(kept)
        data = memoryview(whole)
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError:  # a full disk or a closed pipe costs neither the answer nor the process
                self.lost += len(lines)
                return


_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))


class _Clock:
    """ISO 8601 in UTC with milliseconds; the calendar is worked out once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return self._text + _MILLISECONDS[int((now - second) * 1000)]


stamp = _Clock()

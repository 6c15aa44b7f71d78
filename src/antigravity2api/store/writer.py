"""The one thread of a process that may wait for the database: late writes, housekeeping, and getting well again.

No error leaves it. What cannot be written stays in a bounded queue and is tried again; the operator hears of it once
when it begins and once when it is over.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from antigravity2api.store import database

Report = Callable[[str, str, str], None]
"""Level, event, reason."""
Statement = tuple[str, Sequence[Any]]
Chore = Callable[[sqlite3.Connection], None]
"""Housekeeping; commits its own slices and may raise sqlite3.Error."""

_TROUBLE = "the database cannot be used, memory serves until it can"
_BACK = "the database can be used again"
_REPLACED = "the database was replaced by a new one"
_UNWRITTEN = "what waited for the database is not in it"
_BATCH = 100
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 10.0
_LONGEST_PAUSE_LOCKED = 1.0
_LAST_WORDS = 2.0
"""Seconds that a shutdown waits for what is queued."""


class Writer:
    """The thread; it starts with the first thing to do. ``lost`` counts statements that were given up.

    The log is folded into the file every ``settle`` seconds at most, chores are done every ``rest`` seconds at most,
    both only after something was written.
    """

    def __init__(
        self,
        path: Path,
        report: Report,
        *,
        chores: Sequence[Chore] = (),
        limit: int = 10_000,
        busy: float = 1.0,
        settle: float = 2.0,
        rest: float = 60.0,
    ) -> None:
        self._path = path
        self._report = report
        self._chores = list(chores)
        self._queue: deque[Statement] = deque(maxlen=limit)
        self._lock = threading.Lock()
        self._limit = limit
        self._busy = busy
        self._settle = settle
        self._rest = rest
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._touched = False
        self._suspect = False
        self._locked = False
        self._trouble: str | None = None
        self._next_checkpoint = 0.0
        self._next_chores = 0.0
        self.lost = 0

    @property
    def waiting(self) -> int:
        """Statements that are not written yet."""
        return len(self._queue)

    def submit(self, sql: str, parameters: Sequence[Any]) -> None:
        """Write this soon; when the queue is full the oldest goes."""
        with self._lock:
            if len(self._queue) == self._limit:
                self.lost += 1
            self._queue.append((sql, parameters))
        self._call()

    def touched(self) -> None:
        """Somebody else in this process wrote: the log wants to be folded into the file before long."""
        if not self._touched:
            self._touched = True
            self._call()

    def suspect(self) -> None:
        """Somebody met a damaged file: have a look."""
        self._suspect = True
        self._call()

    def add_chore(self, chore: Chore) -> None:
        """Housekeeping, at most once in a while and only when something was written."""
        self._chores.append(chore)

    def close(self) -> None:
        """Write what can be written now and end the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS)
            if self._thread.is_alive():
                connection = self._connection
                if connection is not None:
                    connection.interrupt()
                self._thread.join(_LAST_WORDS)
            self._thread = None

    def _call(self) -> None:
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="database", daemon=True)
            self._thread.start()
        if not self._wake.is_set():
            self._wake.set()

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            self._wake.wait(self._until_checkpoint())
            self._wake.clear()
            if self._turn():
                pause = _FIRST_PAUSE
                continue
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_LOCKED if self._locked else _LONGEST_PAUSE)
            self._wake.set()
        if self._queue and not self._turn():
            self._report("warning", _UNWRITTEN, f"{len(self._queue)} entries: {self._trouble}")
        self._drop()

    def _until_checkpoint(self) -> float | None:
        return max(0.0, self._next_checkpoint - time.monotonic()) if self._touched else None

    def _turn(self) -> bool:
        """Do what there is to do; False when the database did not let us."""
        try:
            self._connect()
            while self._queue:
                self._write_batch()
            self._keep_house()
        except Exception as error:  # noqa: BLE001 - a thread that ends would leave everything waiting for ever
            self._failed(error)
            return False
        if self._trouble is not None:
            self._trouble = None
            self._report("info", _BACK, "")
        return True

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._file != database.identity(self._path):
            self._drop()  # replaced by another process, or taken away
        if self._connection is None or self._suspect:
            self._drop()
            begun = database.prepare(self._path, busy=self._busy, suspect=self._suspect)
            self._suspect = False
            if begun is not None:
                self._report("error", _REPLACED, begun.words(self._path))
            self._connection = database.connect_known(self._path, busy=self._busy)
            self._file = database.identity(self._path)
        return self._connection

    def _write_batch(self) -> None:
        connection = self._connect()
        batch = list(islice(self._queue.copy(), _BATCH))
        with database.transaction(connection):
            for sql, parameters in batch:
                try:
                    connection.execute(sql, parameters)
                except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, ValueError, OverflowError):
                    self.lost += 1  # it will not fit the next time either
        with self._lock:
            for statement in batch:
                if self._queue and self._queue[0] is statement:  # a full queue has dropped some by itself
                    self._queue.popleft()
        self._touched = True

    def _keep_house(self) -> None:
        now = time.monotonic()
        if not self._touched or now < self._next_checkpoint:
            return
        connection = self._connect()
        self._next_checkpoint = now + self._settle
        self._touched = False
        try:
            if now >= self._next_chores:
                for chore in self._chores:
                    chore(connection)
                self._next_chores = now + self._rest
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except BaseException:
            self._touched = True
            raise

    def _failed(self, error: Exception) -> None:
        if database.is_damage(error):
            self._suspect = True
        self._locked = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        if not self._locked:
            self._drop()
        if self._trouble is None and not self._stop.is_set():
            self._report("warning", _TROUBLE, str(error))
        self._trouble = str(error)

    def _drop(self) -> None:
        connection, self._connection, self._file = self._connection, None, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                self._report("debug", "a database connection did not close", str(error))

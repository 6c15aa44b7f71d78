"""The database in a running gateway, as its event loop uses it: quick or not at all, and never an error.

Reads and writes here cost some ten microseconds. Whatever would take longer (a lock, a slow disk, a broken file) is
left to the writer thread, and for a while nothing is tried from the loop.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from antigravity2api.store import database
from antigravity2api.store.database import DatabaseError
from antigravity2api.store.writer import Chore, Report, Writer

_PATIENCE = 0.005
"""Seconds that the event loop waits for a lock."""
_SLOW = 0.05
_SLOW_IN_A_ROW = 3
"""So many writes that took so long show a disk that should not be waited for; one may be a busy processor."""
_BREAK = 1.0
"""Seconds without another try after a failure or slow writes."""
_BREATH = 0.25
"""The same after a lock."""
_LOOK_AGAIN = 1.0
"""How often the file is looked at: another process may have replaced it."""
_LARGEST = 256 << 10
"""Bytes that are written at once; more goes through the thread."""


class LiveDatabase:
    """To be made in the process that uses it, and used from one thread. No method raises what the database does."""

    def __init__(
        self, path: Path, report: Report, *, writer: Writer | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._writer = writer or Writer(path, report)
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._opened = 0
        self._look_again = 0.0
        self._write_after = 0.0
        self._read_after = 0.0
        self._slow = 0

    @property
    def waiting(self) -> int:
        """Writes that are not in the file yet."""
        return self._writer.waiting

    @property
    def lost(self) -> int:
        """Writes that were given up."""
        return self._writer.lost

    def add_chore(self, chore: Chore) -> None:
        """Housekeeping that the writer thread does now and then."""
        self._writer.add_chore(chore)

    def write(self, sql: str, parameters: Sequence[Any], size: int = 0) -> None:
        """Write now when that is quick, so that other processes see it on return, else soon."""
        begun = self._clock()
        if size > _LARGEST or begun < self._write_after or self._writer.waiting:
            self._writer.submit(sql, parameters)
            return
        try:
            self._connected(begun).execute(sql, parameters)
        except (sqlite3.Error, DatabaseError, OSError, ValueError) as error:
            self._write_after = self._clock() + self._failed(error)
            self._writer.submit(sql, parameters)
            return
        self._writer.touched()
        ended = self._clock()
        self._slow = self._slow + 1 if ended - begun > _SLOW else 0
        if self._slow >= _SLOW_IN_A_ROW:
            self._slow = 0
            self._write_after = ended + _BREAK

    def read(self, sql: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
        """The first row, or None: where there is none, and where the database cannot tell now."""
        now = self._clock()
        if now < self._read_after:
            return None
        try:
            found: tuple[Any, ...] | None = self._connected(now).execute(sql, parameters).fetchone()
        except (sqlite3.Error, DatabaseError, OSError, ValueError) as error:
            self._read_after = self._clock() + self._failed(error)
            return None
        return found

    def version(self) -> tuple[int, int] | None:
        """Another value after every write that was not made here, and in another file; None where it cannot be told."""
        found = self.read("PRAGMA data_version", ())
        return None if found is None else (self._opened, found[0])

    def close(self) -> None:
        """Write what is waiting, and let go of the file."""
        self._writer.close()
        self._drop()

    def _connected(self, now: float) -> sqlite3.Connection:
        if now >= self._look_again:
            self._look_again = now + _LOOK_AGAIN
            if self._connection is not None and self._file != database.identity(self._path):
                self._drop()
        connection = self._connection
        if connection is None:
            connection = database.connect_known(self._path, busy=_PATIENCE)
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # syncing the disk is the thread's work
            self._connection, self._file = connection, database.identity(self._path)
            self._opened += 1
        return connection

    def _failed(self, error: Exception) -> float:
        """Let the thread look into it; how long nothing is to be tried here."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            return _BREATH
        self._drop()
        if database.is_damage(error):
            self._writer.suspect()
        else:
            self._writer.touched()  # it finds out, says so, and makes a file that is missing
        return _BREAK

    def _drop(self) -> None:
        connection, self._connection, self._file = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

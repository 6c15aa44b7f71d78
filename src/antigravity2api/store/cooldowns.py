"""Cool-downs that outlive the process and are shared by all workers of a machine: a small table, read as a whole.

Writes leave at once or through the writer thread and are never waited for. What cannot be read is as if nobody rested:
a credential is then asked once too often.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from antigravity2api.credentials import CoolDown
from antigravity2api.store.database import transaction
from antigravity2api.store.live import LiveDatabase

MAX_ROWS = 2000
"""What is read, and kept: the ones written last."""
KEPT = 86_400.0
"""Seconds that a row stays after it is over, for those who look at it later."""
_ABSURD = 32 * 86_400.0
"""No quota is named longer; a wall clock was wrong."""
_SLICE = 200
_PUT = (
    "INSERT INTO cooldowns (credential, scope, until, strikes, reason, updated) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (credential, scope) DO UPDATE SET until = excluded.until, strikes = excluded.strikes, "
    "reason = excluded.reason, updated = excluded.updated"
)
_TURN = "SELECT count(*), total(updated), total(until), total(strikes) FROM cooldowns"
_ROWS = "SELECT credential, scope, until, strikes, reason, updated FROM cooldowns ORDER BY updated DESC LIMIT ?"
_ALL = (
    "SELECT json_group_array(json_array(credential, scope, until, strikes, reason, updated)) "
    "FROM (SELECT * FROM cooldowns ORDER BY updated DESC LIMIT ?)"
)
"""All rows in one, as that is what a live database reads."""
_OVER = "SELECT rowid FROM cooldowns WHERE max(until, updated) < ?1 - ?2 OR until > ?1 + ?3 LIMIT ?4"
_TOO_MANY = "SELECT rowid FROM cooldowns ORDER BY updated DESC LIMIT -1 OFFSET ?"


class Cooldowns:
    """A ``pool.Memory`` in the database. No method raises what the database does."""

    def __init__(self, live: LiveDatabase, *, wall: Callable[[], float] = time.time) -> None:
        self._live = live
        self._wall = wall
        self._turn: tuple[Any, ...] | None = None
        live.add_chore(self.prune)

    def put(self, row: CoolDown) -> None:
        """Remember one, in the place of an older one; with ``until`` 0 it is over for every worker."""
        self._live.write(_PUT, row)

    def rows(self) -> list[CoolDown]:
        """What is remembered, the newest first; nothing while the database cannot tell."""
        found = self._live.read(_ALL, (MAX_ROWS,))
        try:
            return list(_sound(orjson.loads(found[0]))) if found is not None else []
        except (orjson.JSONDecodeError, TypeError):
            return []

    def news(self) -> list[CoolDown]:
        """``rows`` if anybody wrote since the last call, else nothing; for a look every second."""
        turn = self._live.read(_TURN, ())
        if turn is None or turn == self._turn:
            return []
        self._turn = turn
        return self.rows()

    def prune(self, connection: sqlite3.Connection) -> None:
        """Remove what is long over, and what is too much, in slices. Raises sqlite3.Error."""
        over = connection.execute(_OVER, (self._wall(), KEPT, _ABSURD, MAX_ROWS)).fetchall()
        gone = over or connection.execute(_TOO_MANY, (MAX_ROWS,)).fetchall()
        for at in range(0, len(gone), _SLICE):
            with transaction(connection):
                connection.executemany("DELETE FROM cooldowns WHERE rowid = ?", gone[at : at + _SLICE])


def stored(connection: sqlite3.Connection) -> list[CoolDown]:
    """What is remembered, for a command beside a running gateway. Raises sqlite3.Error."""
    return list(_sound(connection.execute(_ROWS, (MAX_ROWS,)).fetchall()))


def _sound(rows: Iterable[Any]) -> Iterable[CoolDown]:
    """The rows whose columns are what they should be; a damaged page can hold anything."""
    kinds: tuple[Any, ...] = (str, str, (int, float), int, str, (int, float))
    for row in rows:
        if isinstance(row, list | tuple) and len(row) == len(kinds) and all(map(isinstance, row, kinds)):
            yield CoolDown(*row)

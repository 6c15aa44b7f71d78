"""Thought signatures that outlive the process and are shared by all workers of a machine.

Memory answers first. What it does not know may have been put by another worker or before a restart, so the database is
asked; it keeps no key, only its SHA-256.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from hashlib import sha256

from antigravity2api.gemini.signature import MemorySignatures, Signed
from antigravity2api.store.database import transaction
from antigravity2api.store.live import LiveDatabase

TTL = 86_400.0
MAX_ROWS = 200_000
MAX_BYTES = 256 << 20
_ROW = 200
"""Bytes that a row costs beside its signature."""
_SLICE = 200
"""Rows removed in one transaction: the lock is held for a millisecond."""
_PUT = "INSERT OR REPLACE INTO signatures (key, signature, family, upstream, created) VALUES (?, ?, ?, ?, ?)"
_OLDEST = "SELECT id, created <= ?, length(signature) FROM signatures ORDER BY id LIMIT ?"
_GET = "SELECT signature, family, upstream, created FROM signatures WHERE key = ?"


class DurableSignatures:
    """A ``SignatureStore`` in the database; ``put`` is visible to other workers on return, except while the database
    is busy or broken. What ``realm`` names is kept apart: made-up signatures never reach a real upstream."""

    def __init__(
        self,
        live: LiveDatabase,
        *,
        memory: MemorySignatures | None = None,
        realm: str = "",
        ttl: float = TTL,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._live = live
        self._memory = MemorySignatures(ttl=ttl) if memory is None else memory
        self._realm = realm.encode() + b"\0"
        self._ttl = ttl
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._wall = wall
        live.add_chore(self.prune)

    def put(self, key: str, signed: Signed) -> None:
        """Remember ``signed`` under ``key``, here and for the other workers."""
        self._memory.put(key, signed)
        signature = signed.signature
        if not signature.isascii():
            return  # no signature of Google's; a client would get it back from memory
        row = (self._digest(key), signature.encode(), signed.family, signed.upstream, int(self._wall()))
        self._live.write(_PUT, row, len(signature))

    def get(self, key: str) -> Signed | None:
        """What was remembered under ``key`` by any worker and is not too old, or None."""
        found = self._memory.get(key)
        if found is not None:
            return found
        row = self._live.read(_GET, (self._digest(key),))
        if row is None:
            return None
        signature, family, upstream, created = row
        if not isinstance(signature, bytes) or not isinstance(created, int):
            return None  # a damaged page can hold anything
        age = max(0.0, self._wall() - created)
        if age >= self._ttl:
            return None
        signed = Signed(signature.decode("ascii", "replace"), family, upstream)
        self._memory.put(key, signed, age=age)
        return signed

    def prune(self, connection: sqlite3.Connection) -> None:
        """Remove what is too old or too much, the oldest first, in slices. Raises sqlite3.Error."""
        horizon = self._wall() - self._ttl
        rows, size = connection.execute("SELECT count(*), total(length(signature)) FROM signatures").fetchone()
        size += rows * _ROW
        while True:
            gone = []
            for identity, expired, length in connection.execute(_OLDEST, (horizon, _SLICE)).fetchall():
                if expired or rows > self._max_rows or size > self._max_bytes:
                    gone.append((identity,))
                    rows -= 1
                    size -= length + _ROW
            if not gone:
                return
            with transaction(connection):
                connection.executemany("DELETE FROM signatures WHERE id = ?", gone)

    def _digest(self, key: str) -> bytes:
        return sha256(self._realm + key.encode("utf-8", "surrogatepass")).digest()

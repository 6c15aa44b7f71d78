"""Thought signatures that outlive the process and are shared by all workers of a machine.

Memory answers first. What it does not know may have been put by another worker or before a restart, so the database is
asked; it keeps no key, only its SHA-256. Words of a conversation (thoughts that have to go back with their signature)
are encrypted under the key of their row, which only the client's next request can name.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import orjson

from antigravity2api.gemini.signature import MemorySignatures, Signed
from antigravity2api.store.database import transaction
from antigravity2api.store.live import LiveDatabase

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TTL = 86_400.0
MAX_ROWS = 200_000
MAX_BYTES = 256 << 20
_ROW = 200
"""Bytes that a row costs beside its signature."""
_SLICE = 200
"""Rows removed in one transaction: the lock is held for a millisecond."""
_PUT = (
    "INSERT OR REPLACE INTO signatures (key, signature, family, upstream, created, beside, sealed)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_TOTAL = "SELECT count(*), total(length(signature) + ifnull(length(sealed), 0)) FROM signatures"
_OLDEST = "SELECT id, created <= ?, length(signature) + ifnull(length(sealed), 0) FROM signatures ORDER BY id LIMIT ?"
_GET = "SELECT signature, family, upstream, created, beside, sealed FROM signatures WHERE key = ?"
_NONCE = 12
_MOST_ABSENT = 5_000
_GLANCE = 0.5
"""Seconds between two looks at whether somebody else has written: each costs two locks."""


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._memory = MemorySignatures(ttl=ttl) if memory is None else memory
        self._realm = realm.encode() + b"\0"
        self._ttl = ttl
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._wall = wall
        self._clock = clock
        self._look_at = 0.0
        self._absent: dict[str, None] = {}
        """Keys that the database did not have in the version named next."""
        self._absent_in: tuple[int, int] | None = None
        live.add_chore(self.prune)

    def put(self, key: str, signed: Signed) -> None:
        """Remember ``signed`` under ``key``, here and for the other workers."""
        self._memory.put(key, signed)
        self._absent.pop(key, None)
        signature = signed.signature
        if not signature.isascii():
            return  # no signature of Google's; a client would get it back from memory
        beside = _beside(signed)
        sealed = self._seal(key, signed.hidden) if signed.hidden else None
        now = int(self._wall())
        row = (self._digest(key), signature.encode(), signed.family, signed.upstream, now, beside, sealed)
        self._live.write(_PUT, row, len(signature) + len(sealed or b""))

    def get(self, key: str) -> Signed | None:
        """What was remembered under ``key`` by any worker and is not too old, or None."""
        found = self._memory.get(key)
        if found is not None:
            return found
        row = self._live.read(_GET, (self._digest(key),))
        if row is None:
            return None
        signature, family, upstream, created, beside, sealed = row
        if not isinstance(signature, bytes) or not isinstance(created, int):
            return None  # a damaged page can hold anything
        age = max(0.0, self._wall() - created)
        if age >= self._ttl:
            return None
        hidden = self._unsealed(key, sealed) if isinstance(sealed, bytes) else ""
        signed = _with_beside(Signed(signature.decode("ascii", "replace"), family, upstream, hidden=hidden), beside)
        self._memory.put(key, signed, age=age)
        return signed

    def none_of(self, keys: Sequence[str]) -> bool:
        """Whether nothing is remembered under any of ``keys``.

        A conversation asks for all its earlier texts with every turn, and most were never signed: what was not there is
        not looked for again until somebody else has written, which is noticed within half a second.
        """
        absent, memory = self._absent, self._memory
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _GLANCE
            version = self._live.version()
            if version != self._absent_in or len(absent) > _MOST_ABSENT:
                absent.clear()
                self._absent_in = version
        unknown = []
        for key in keys:
            if memory.get(key) is not None:
                return False
            if key not in absent:
                unknown.append(key)
        return not unknown or self._has_none_of(unknown)

    def _has_none_of(self, keys: list[str]) -> bool:
        for key in keys:
            if self.get(key) is not None:
                return False
        # Not where the database could not answer, or was written to meanwhile.
        if self._absent_in is not None and self._live.version() == self._absent_in:
            self._absent.update(dict.fromkeys(keys))
        return True

    def prune(self, connection: sqlite3.Connection) -> None:
        """Remove what is too old or too much, the oldest first, in slices. Raises sqlite3.Error."""
        horizon = self._wall() - self._ttl
        rows, size = connection.execute(_TOTAL).fetchone()
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

    def _cipher(self, key: str) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - few conversations need it

        return AESGCM(sha256(b"seal\0" + self._realm + key.encode("utf-8", "surrogatepass")).digest())

    def _seal(self, key: str, text: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher(key).encrypt(nonce, text.encode("utf-8", "surrogatepass"), None)

    def _unsealed(self, key: str, sealed: bytes) -> str:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above

        try:
            return self._cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], None).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            return ""  # a damaged page


def _beside(signed: Signed) -> bytes | None:
    """All that is no signature and no word of the conversation; None where there is nothing."""
    row = (signed.call_id, signed.step, signed.place, signed.length, signed.mark, *signed.edges)
    return orjson.dumps(row) if any(row) else None


def _with_beside(signed: Signed, beside: object) -> Signed:
    if not isinstance(beside, bytes):
        return signed
    try:
        call_id, step, place, length, mark, before, behind = orjson.loads(beside)
    except (TypeError, ValueError):
        return signed  # a damaged page
    texts = (call_id, step, mark, before, behind)
    if not (all(isinstance(text, str) for text in texts) and type(place) is int and type(length) is int):
        return signed
    return replace(signed, call_id=call_id, step=step, place=place, length=length, mark=mark, edges=(before, behind))

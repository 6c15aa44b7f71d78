"""The stored credentials: encrypted rows of the database, for commands and for a gateway off its event loop.

Every change is one transaction that is on the disk when the method returns; afterwards the snapshot beside the database
is renewed. Other processes see a change by ``revision``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from antigravity2api.credentials import CoolDown, Record, Sort, State
from antigravity2api.forms import UPSTREAMS
from antigravity2api.store import cooldowns, database, keep
from antigravity2api.store.database import DatabaseError, transaction
from antigravity2api.store.secrets import Secrets, SecretsError

T = TypeVar("T")
_Row = Sequence[Any]
CHANGEABLE = frozenset(
    {"enabled", "state", "message", "link", "project", "location", "label", "weight", "priority", "secret"}
)
_COLUMNS = (
    *("id", "upstream", "sort", "label", "project", "location", "enabled", "weight", "priority", "state", "message"),
    *("link", "changed", "secret"),
)
"""In the order of the statements below."""
_ALL = """SELECT id, upstream, sort, label, project, location, enabled, weight, priority, state, message, link, changed,
secret FROM credentials ORDER BY position, id"""
_ONE = """SELECT id, upstream, sort, label, project, location, enabled, weight, priority, state, message, link, changed,
secret FROM credentials WHERE id = ?"""
_INSERT = """INSERT INTO credentials (id, upstream, sort, label, project, location, enabled, weight, priority, state,
message, link, changed, secret, position)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(position), 0) + 1 FROM credentials))"""
_UPDATE = """UPDATE credentials SET label = ?, project = ?, location = ?, enabled = ?, weight = ?, priority = ?,
state = ?, message = ?, link = ?, changed = ?, secret = ? WHERE id = ?"""
_TOUCH = "UPDATE counters SET value = value + 1 WHERE name = 'revision'"
_LONGEST_WORDS = 2000
_PATIENCE = 0.005
"""Seconds that ``revision`` waits for a lock."""
_DOUBT = 10.0
"""Seconds between two looks at a file that something is wrong with."""


class VaultError(Exception):
    """The stored credentials cannot be read or changed now; the message is a sentence for the operator."""


class Vault:
    """Made in the process that uses it; any thread may call it. Methods raise VaultError and nothing else.

    It may wait for locks and for the disk, so an event loop calls it from a thread; ``revision`` alone never waits.
    The database is made with the first change; until then there are no credentials and no file.
    """

    def __init__(
        self, path: Path, secrets: Secrets, *, busy: float = 5.0, wall: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._secrets = secrets
        self._busy = busy
        self._wall = wall
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._looking = threading.Lock()
        self._looker: sqlite3.Connection | None = None
        self._looked_at: tuple[int, int] | None = None
        self._revision = 0
        self._doubt_after = 0.0
        self._opened: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self._news: list[str] = []
        self._snapshot_trouble = ""
        self._snapshot_checked = False

    # -- reading ---------------------------------------------------------------------------------------------------

    def records(self) -> list[Record]:
        """What can be read, in the order it was added; what cannot is named by ``problems``."""
        return self._load()[0]

    def problems(self) -> list[str]:
        """One sentence for each credential that cannot be read, and for whatever else the operator has to know."""
        unreadable = self._load()[1]
        return [*unreadable.values(), *self.news()]

    def news(self) -> list[str]:
        """What happened to the database and its snapshot since this was made, in sentences."""
        with self._lock:
            return [*self._news, *filter(None, [self._snapshot_trouble])]

    def unreadable(self) -> dict[str, str]:
        """Ids of credentials that cannot be read, with a sentence each."""
        return self._load()[1]

    def cooldowns(self) -> list[CoolDown]:
        """What a gateway remembers of rests, for a command beside it."""
        return self._read(cooldowns.stored, [])

    def revision(self) -> int:
        """A number that grows with every change by any process; 0 without a database.

        Never waits and never raises, for an event loop: while the database is busy it is the number seen last, and -1
        says now and then that something is wrong with the file, which ``records`` looks into.
        """
        with self._looking:
            try:
                return self._seen_revision()
            except (sqlite3.Error, DatabaseError, OSError, ValueError) as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                    return self._revision
                self._look_away()
                now = time.monotonic()
                if now < self._doubt_after:
                    return self._revision
                self._doubt_after = now + _DOUBT
                return -1

    def _seen_revision(self) -> int:
        file = database.identity(self._path)
        if file is None and not keep.snapshot_path(self._path).is_file():
            self._look_away()
            return 0
        if self._looker is None or self._looked_at != file:
            self._look_away()
            self._looker, self._looked_at = database.connect(self._path, busy=_PATIENCE), file
        self._revision = _revision(self._looker)
        return self._revision

    def _look_away(self) -> None:
        looker, self._looker = self._looker, None
        if looker is not None:
            with contextlib.suppress(sqlite3.Error):
                looker.close()

    def get(self, identity: str) -> Record | None:
        """One credential, or None when there is none of that id or it cannot be read."""
        row = self._read(lambda connection: connection.execute(_ONE, (identity,)).fetchone(), None)
        if row is None:
            return None
        try:
            return self._record(row)
        except SecretsError:
            return None

    def find(self, record: Record) -> Record | None:
        """The stored credential of the same account or with the same key."""
        return next((one for one in self.records() if is_same(one, record)), None)

    # -- changing --------------------------------------------------------------------------------------------------

    def add(self, record: Record, *, taken: Iterable[str] = ()) -> Record:
        """Store a credential. An empty id is filled in (``antigravity-2``), apart from ids that are ``taken``.

        The same account or key once more renews the one that is there: its secret, and its state unless the terms
        closed it.
        """
        record = _marked(_tidy(record))
        if record.id and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", record.id):
            raise VaultError(f"{record.id!r} is no id: letters, digits and . _ - are.")
        others = frozenset(taken)

        def work(connection: sqlite3.Connection) -> Record:
            rows = connection.execute(_ALL).fetchall()
            self._refuse_strange_key(rows)
            for row in rows:
                with contextlib.suppress(SecretsError):
                    found = self._record(row)
                    if is_same(found, record):
                        return self._store(connection, found, _renewed(found, record))
            ids = {row[0] for row in rows}
            if record.id in ids:
                raise VaultError(f"there is a credential {record.id} already.")
            identity = record.id or _new_id(connection, record.upstream, ids | others)
            made = dataclasses.replace(record, id=identity, stored=True, changed=self._wall())
            connection.execute(_INSERT, (*_values(made), self._seal(made)))
            connection.execute(_TOUCH)
            return made

        return self._change(work)

    def change(self, identity: str, **fields: Any) -> Record:
        """Change some fields of a credential, as it is by then: read, changed and written in one transaction.

        ``secret`` is merged into what is stored: give only the keys that change, None to drop one. What two processes
        write about different keys is both kept. Without a difference nothing is written.
        """
        if wrong := fields.keys() - CHANGEABLE:
            raise VaultError(f"{', '.join(sorted(wrong))} of a credential cannot be changed.")

        def work(connection: sqlite3.Connection) -> Record:
            found = self._known(connection, identity)
            wanted = dict(fields)
            if "secret" in wanted:
                both = {**found.secret, **wanted["secret"]}
                wanted["secret"] = {key: value for key, value in both.items() if value is not None}
            return self._store(connection, found, _tidy(dataclasses.replace(found, **wanted)))

        return self._change(work)

    def remove(self, identity: str) -> bool:
        """Forget a credential, also one that cannot be read; False when there is none of that id."""

        def work(connection: sqlite3.Connection) -> bool:
            gone = connection.execute("DELETE FROM credentials WHERE id = ?", (identity,)).rowcount > 0
            if gone:
                connection.execute("DELETE FROM cooldowns WHERE credential = ?", (identity,))
                connection.execute("DELETE FROM model_lists WHERE credential = ?", (identity,))
                connection.execute(_TOUCH)
                self._opened.pop(identity, None)
            return gone

        return self._change(work)

    def rotate(self, new: Secrets) -> int:
        """Encrypt everything that can be read with the key of ``new``, and go on with that; how many were.

        Raises VaultError too when the snapshot could not be renewed: its secrets still need the old key.
        """

        def work(connection: sqlite3.Connection) -> int:
            count = 0
            for row in connection.execute(_ALL).fetchall():
                identity, envelope = row[0], row[-1]
                with contextlib.suppress(SecretsError):
                    if new.is_current(envelope):
                        continue
                    plain = self._secrets.open(identity, envelope)
                    sealed = new.seal(identity, plain)
                    connection.execute("UPDATE credentials SET secret = ? WHERE id = ?", (sealed, identity))
                    count += 1
            if count:
                connection.execute(_TOUCH)
            return count

        with self._lock:
            count = self._change(work)
            self._secrets = new
            self._opened.clear()
            if self._snapshot_trouble:
                raise VaultError(self._snapshot_trouble)
            return count

    def restore(self, kept: keep.Kept) -> list[Record]:
        """The credentials in a snapshot's rows, as far as they can be decrypted; nothing is stored."""
        found = []
        for row in kept.tables["credentials"]:
            with contextlib.suppress(SecretsError, KeyError):
                found.append(_from_row([row[name] for name in _COLUMNS], self._opened_secret(row)))
        return found

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._drop()
        with self._looking:
            self._look_away()

    # -- rows ------------------------------------------------------------------------------------------------------

    def _load(self) -> tuple[list[Record], dict[str, str]]:
        rows: list[_Row] = self._read(lambda connection: connection.execute(_ALL).fetchall(), [])
        records, problems = [], {}
        for row in rows:
            try:
                records.append(self._record(row))
            except SecretsError as error:
                problems[row[0]] = _unreadable(row[0], error)
                continue
            if self._opened[row[0]][0] != row[-1]:
                problems[row[0]] = (
                    f"the credential {row[0]} was encrypted with another key than the one in {self._secrets.where} "
                    "since this process read it: "
                    + ("put the new key there." if self._secrets.follows else "start again with the new key.")
                )
        if rows and not self._snapshot_checked:
            self._snapshot_if_old()
        return records, problems

    def _record(self, row: _Row) -> Record:
        """A record from its row. Raises SecretsError; a process that has read it before goes on with what it knows."""
        identity, envelope = row[0], bytes(row[-1])
        with self._lock:
            before = self._opened.get(identity)
            if before is not None and before[0] == envelope:
                return _from_row(row, before[1])
            try:
                secret = self._plain(identity, envelope)
            except SecretsError:
                if before is None:
                    raise
                return _from_row(row, before[1])
            self._opened[identity] = (envelope, secret)
            return _from_row(row, secret)

    def _plain(self, identity: str, envelope: bytes) -> dict[str, Any]:
        found = json.loads(self._secrets.open(identity, envelope))
        if not isinstance(found, dict):
            raise SecretsError("its entry is damaged")
        return found

    def _opened_secret(self, row: keep.Row) -> dict[str, Any]:
        return self._plain(row["id"], row["secret"])

    def _known(self, connection: sqlite3.Connection, identity: str) -> Record:
        row = connection.execute(_ONE, (identity,)).fetchone()
        if row is None:
            raise VaultError(f"there is no stored credential {identity}.")
        try:
            return _from_row(row, self._plain(identity, row[-1]))  # never from memory: what is written must be true
        except SecretsError as error:
            raise VaultError(_unreadable(identity, error)) from error

    def _store(self, connection: sqlite3.Connection, found: Record, wanted: Record) -> Record:
        if wanted == found:
            return found
        made = dataclasses.replace(wanted, changed=self._wall())
        values = _values(made)
        connection.execute(_UPDATE, (*values[3:], self._seal(made), made.id))
        connection.execute(_TOUCH)
        return made

    def _seal(self, record: Record) -> bytes:
        return self._secrets.seal(record.id, json.dumps(dict(record.secret)).encode())

    def _refuse_strange_key(self, rows: list[_Row]) -> None:
        """With a key that opens none of what is there, nothing is added: it is the wrong one."""
        if rows and not any(self._secrets.knows(row[-1]) for row in rows):
            raise VaultError(
                f"the stored credentials were encrypted with another key than the one in {self._secrets.where}: "
                "put back that key, or remove those credentials first (`credentials remove`)."
            )

    # -- the file --------------------------------------------------------------------------------------------------

    def _read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        with self._lock:
            if not self._path.is_file() and not keep.snapshot_path(self._path).is_file():
                self._drop()
                return nothing
            return self._tried(work)

    def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def whole(connection: sqlite3.Connection) -> tuple[T, bool]:
            before = _revision(connection)
            with transaction(connection):
                result = work(connection)
            return result, _revision(connection) != before

        with self._lock:
            result, changed = self._tried(whole)
            if changed:
                self._snapshot()
            return result

    def _tried(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do it; a damaged file is replaced by one with the same credentials, and it is done there."""
        try:
            try:
                return work(self._connected())
            except sqlite3.DatabaseError as error:
                if not database.is_damage(error):
                    raise
                self._drop()
                self._note(database.prepare(self._path, busy=self._busy, suspect=True))
                return work(self._connected())
        except (sqlite3.Error, DatabaseError, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                self._drop()
            raise VaultError(f"the stored credentials in {self._path} are out of reach: {error}") from error
        except SecretsError as error:
            raise VaultError(str(error)) from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._file != database.identity(self._path):
            self._drop()
        if self._connection is None:
            self._note(database.prepare(self._path, busy=self._busy))
            connection = database.connect_known(self._path, busy=self._busy)
            connection.execute("PRAGMA synchronous = FULL")  # a change is on the disk when it is told
            self._connection, self._file = connection, database.identity(self._path)
        return self._connection

    def _note(self, begun: database.Begun | None) -> None:
        if begun is not None:
            self._news.append(begun.words(self._path))

    def _drop(self) -> None:
        connection, self._connection, self._file = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _snapshot(self) -> None:
        """Renew the snapshot, with what is there by the time that it is our turn."""
        path = keep.snapshot_path(self._path)
        try:
            with database.alone(self._path):
                kept = keep.collect(self._connected(), database.latest())
                keep.write_snapshot(path, kept)
        except (sqlite3.Error, DatabaseError, OSError) as error:
            self._snapshot_trouble = f"the snapshot of the credentials, {path}, could not be renewed: {error}."
        else:
            self._snapshot_trouble = ""
            self._snapshot_checked = True

    def _snapshot_if_old(self) -> None:
        """A process that was killed may have left the snapshot one change behind."""
        with self._lock:
            self._snapshot_checked = True
            try:
                before = keep.read_snapshot(keep.snapshot_path(self._path))
            except keep.SnapshotError:
                before = None
            now = self._read(_revision, 0)
            if before is None or before.revision < now:
                self._snapshot()
            elif before.revision > now:
                self._news.append(
                    f"the database {self._path} is older than its snapshot: unless you restored a copy, fetch what it "
                    f"lacks with `credentials import {keep.snapshot_path(self._path)}`."
                )


# --- values ----------------------------------------------------------------------------------------------------------


def is_same(one: Record, other: Record) -> bool:
    """Whether two records are the same account or key of the same upstream."""
    if one.upstream != other.upstream or one.sort is not other.sort:
        return False
    if one.sort in (Sort.SERVICE_ACCOUNT, Sort.DEFAULT):
        key = "client_email" if one.sort is Sort.SERVICE_ACCOUNT else "file"
        places = (one.project, one.location) == (other.project, other.location)
        return one.secret.get(key) == other.secret.get(key) and places
    if one.sort is Sort.OAUTH_USER and _account(one) and _account(one) == _account(other):
        return True
    key = {Sort.OAUTH_USER: "refresh_token", Sort.ACCESS_TOKEN: "access_token"}.get(one.sort, "key")
    return one.secret.get(key) == other.secret.get(key)


def _account(record: Record) -> str:
    """The e-mail address of a user, where it is known."""
    told = record.secret.get("email") or (record.label if "@" in record.label else "")
    return str(told).strip().lower()


def _renewed(found: Record, given: Record) -> Record:
    """What a credential becomes that is added once more."""
    closed = found.state is State.DISABLED_BY_TERMS
    secret = {**found.secret, **given.secret}
    if given.project and not given.secret.get("project_unverified"):
        secret.pop("project_unverified", None)
    return dataclasses.replace(
        found,
        secret=secret,
        label=given.label or found.label,
        project=given.project or found.project,
        location=given.location or found.location,
        state=found.state if closed else given.state,
        message=found.message if closed else given.message,
        link=found.link if closed else given.link,
    )


def _marked(record: Record) -> Record:
    """A login with a mark of its own: refresh tokens change, and by the mark a new login is told from a renewed one."""
    if record.sort is not Sort.OAUTH_USER:
        return record
    return dataclasses.replace(record, secret={**record.secret, "login": os.urandom(8).hex()})


def _tidy(record: Record) -> Record:
    """A record that the database can hold. Raises VaultError for one that nobody can use."""
    if record.upstream not in UPSTREAMS:
        raise VaultError(f"there is no upstream {record.upstream!r}.")
    if not 1 <= record.weight <= 100:
        raise VaultError("the weight of a credential is a whole number from 1 to 100.")
    return dataclasses.replace(
        record,
        label=_clean(record.label),
        message=_clean(record.message),
        link=_clean(record.link),
        state=State(record.state),
        sort=Sort(record.sort),
    )


def _clean(text: str) -> str:
    """One line, without what a terminal or the database could not take."""
    kept = "".join(character if character.isprintable() else " " for character in text[:_LONGEST_WORDS])
    return kept.encode("utf-8", "replace").decode("utf-8").strip()


def _values(record: Record) -> tuple[Any, ...]:
    return (
        record.id,
        record.upstream,
        record.sort.value,
        record.label,
        record.project,
        record.location,
        int(record.enabled),
        record.weight,
        record.priority,
        record.state.value,
        record.message,
        record.link,
        record.changed,
    )


def _from_row(row: _Row, secret: Mapping[str, Any]) -> Record:
    """Raises SecretsError for a row that a release to come has written, or a damaged one."""
    identity, upstream, sort, label, project, location, enabled, *rest = row[:13]
    weight, priority, state, message, link, changed = rest
    try:
        return Record(
            id=identity,
            upstream=upstream,
            sort=Sort(sort),
            secret=secret,
            label=label,
            project=project,
            location=location,
            enabled=bool(enabled),
            weight=int(weight),
            priority=int(priority),
            stored=True,
            state=State(state),
            message=message,
            link=link,
            changed=float(changed),
        )
    except (ValueError, TypeError) as error:
        raise SecretsError("this release does not know its kind or state") from error


def _new_id(connection: sqlite3.Connection, upstream: str, taken: set[str] | frozenset[str]) -> str:
    name = f"number {upstream}"
    row = connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
    number = (row[0] if row else 0) + 1
    while f"{upstream}-{number}" in taken:
        number += 1
    connection.execute("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", (name, number))
    return f"{upstream}-{number}"


def _revision(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM counters WHERE name = 'revision'").fetchone()
    return int(row[0]) if row else 0


def _unreadable(identity: str, error: Exception) -> str:
    reason = str(error).rstrip(".")
    return f"the credential {identity} cannot be read: {reason}. Put back its key, or remove it (`credentials remove`)."

"""Rows that must outlive a damaged database: a snapshot of them beside it, and what can be read from the damage.

Everything else in the database is a cache. Secrets are encrypted in the rows, so they are in the snapshot as well.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from antigravity2api.store.files import replace_file

Row = Mapping[str, Any]
TABLES = {"credentials": "id", "counters": "name"}
"""What is kept: table → the column that names a row."""
_SELECT = {"credentials": "SELECT * FROM credentials", "counters": "SELECT * FROM counters"}
_BY_NUMBER = {
    "credentials": "SELECT * FROM credentials WHERE rowid = ?",
    "counters": "SELECT * FROM counters WHERE rowid = ?",
}
_INSERT = {
    "credentials": """INSERT OR REPLACE INTO credentials VALUES (:id, :position, :upstream, :sort, :label, :project,
:location, :enabled, :weight, :priority, :state, :message, :link, :changed, :secret)""",
    "counters": "INSERT OR REPLACE INTO counters VALUES (:name, :value)",
}
"""Rows come back at the version that they stood in; a step that changes these tables brings its own statements."""
SUFFIX = ".credentials.bak"
MARK = "antigravity2api credentials snapshot"
_LEAP = 1000
"""How far the revision goes on when rows come back: no process may take them for what it has seen last."""
_MOST_ROWIDS = 20_000
_MOST_BYTES = 64 << 20


class SnapshotError(Exception):
    """A snapshot cannot be used; the message is the end of a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The durable rows of one moment, and the version of the database they stood in."""

    version: int
    tables: Mapping[str, tuple[Row, ...]]
    whole: bool = True
    """Nothing was out of reach."""

    @property
    def revision(self) -> int:
        """How often anything was changed until then."""
        return next((int(row["value"]) for row in self.tables["counters"] if row["name"] == "revision"), 0)

    @property
    def credentials(self) -> int:
        """How many there are."""
        return len(self.tables["credentials"])


def snapshot_path(database: Path) -> Path:
    """Where the snapshot of a database is."""
    return database.with_name(database.name + SUFFIX)


# --- the snapshot ----------------------------------------------------------------------------------------------------


def collect(connection: sqlite3.Connection, version: int) -> Kept:
    """The durable rows as of now. Raises sqlite3.Error."""
    connection.execute("BEGIN")
    try:
        return Kept(version, {table: tuple(_rows(connection, _SELECT[table])) for table in TABLES})
    finally:
        connection.execute("COMMIT")


def _rows(connection: sqlite3.Connection, statement: str, *values: int) -> Iterator[Row]:
    cursor = connection.execute(statement, values)
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def write_snapshot(path: Path, kept: Kept) -> None:
    """Replace the snapshot; one that is newer or cannot be read is put aside, not lost. Raises OSError."""
    try:
        before = read_snapshot(path)
    except SnapshotError:
        path.replace(path.with_name(f"{path.name}.unreadable"))
    else:
        if before is not None and before.revision > kept.revision:
            path.replace(path.with_name(f"{path.name}.revision-{before.revision}"))
    body = json.dumps(
        {"what": MARK, "version": kept.version, "tables": kept.tables},
        default=lambda blob: {"base64": base64.b64encode(blob).decode()},
    ).encode()
    replace_file(path, body + b"\n" + sha256(body).hexdigest().encode() + b"\n")


def read_snapshot(path: Path) -> Kept | None:
    """What the snapshot holds; None where there is none. Raises SnapshotError."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SnapshotError("it is too large")
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(f"it cannot be read ({error.strerror})") from error
    return parse_snapshot(raw)


def parse_snapshot(raw: bytes) -> Kept:
    """A snapshot from its bytes. Raises SnapshotError for anything that is not a whole one."""
    body, _, rest = raw.partition(b"\n")
    if rest.strip() != sha256(body).hexdigest().encode():
        raise SnapshotError("it is damaged or cut off")
    try:
        found = json.loads(body, object_hook=_blob)
        tables = {table: tuple(row for row in found["tables"][table] if _plausible(table, row)) for table in TABLES}
        return Kept(int(found["version"]), tables)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SnapshotError("it is no snapshot") from error


def _blob(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value


# --- rows back into a database ---------------------------------------------------------------------------------------


def insert(connection: sqlite3.Connection, kept: Kept) -> int:
    """Put the rows into a new database of their version; how many credentials it got. Raises sqlite3.Error."""
    for table in TABLES:
        for row in kept.tables[table]:
            with contextlib.suppress(sqlite3.IntegrityError, sqlite3.ProgrammingError):  # half a row; others are whole
                connection.execute(_INSERT[table], row)
    connection.execute("UPDATE counters SET value = value + ? WHERE name = 'revision'", (_LEAP,))
    return int(connection.execute("SELECT count(*) FROM credentials").fetchone()[0])


def merged(snapshot: Kept | None, salvaged: Kept | None) -> Kept | None:
    """The best of both: what the damaged file had, where it is the newer one, and the snapshot for what it lost."""
    if snapshot is None or salvaged is None:
        return snapshot or salvaged
    if salvaged.revision <= snapshot.revision or salvaged.version != snapshot.version:
        return snapshot
    if salvaged.whole:
        return salvaged
    tables = {}
    for table, key in TABLES.items():
        rows = {row[key]: row for row in (*snapshot.tables[table], *salvaged.tables[table])}
        tables[table] = tuple(rows.values())
    return Kept(salvaged.version, tables, whole=False)


# --- what a damaged file still tells ---------------------------------------------------------------------------------


def salvage(path: Path) -> Kept | None:
    """The durable rows that can be read from a damaged database; None when it tells nothing. Raises OSError.

    A copy is read: opening the file itself would change it, and it is evidence.
    """
    import shutil  # noqa: PLC0415 - with what it brings, 0.4 MB for a day that may never come
    import tempfile  # noqa: PLC0415 - as above

    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.salvage-", dir=path.parent))  # 0700
    try:
        copy = folder / "copy.db"
        shutil.copyfile(path, copy)
        log = path.with_name(path.name + "-wal")
        if log.is_file():
            shutil.copyfile(log, folder / "copy.db-wal")
        with closing(sqlite3.connect(f"file:{quote(str(copy))}?mode=rw", uri=True, isolation_level=None)) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            return _salvaged(connection)
    except sqlite3.Error:
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _salvaged(connection: sqlite3.Connection) -> Kept | None:
    version = connection.execute("SELECT max(version) FROM schema_version").fetchone()[0]
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not isinstance(version, int) or not names >= set(TABLES):
        # A file from before there were credentials has lost none.
        return Kept(0, dict.fromkeys(TABLES, ())) if isinstance(version, int) and version < 2 else None
    tables = {}
    whole = True
    for table, key in TABLES.items():
        rows, complete = _reachable(connection, table)
        tables[table] = tuple({row[key]: row for row in rows if _plausible(table, row)}.values())
        whole = whole and complete and len(tables[table]) == len(rows)
    return Kept(version, tables, whole)


def _reachable(connection: sqlite3.Connection, table: str) -> tuple[list[Row], bool]:
    """All rows that one can get at, around the damage; and whether there was none."""
    rows: list[Row] = []
    if _take(rows, lambda: _rows(connection, _SELECT[table])):
        return rows, True
    for rowid in range(1, _MOST_ROWIDS):
        _take(rows, lambda rowid=rowid: _rows(connection, _BY_NUMBER[table], rowid))  # type: ignore[misc]
    return rows, False


def _take(into: list[Row], source: Callable[[], Iterable[Row]]) -> bool:
    try:
        into.extend(source())
    except (sqlite3.Error, ValueError, OverflowError):
        return False
    return True


def _plausible(table: str, row: Any) -> bool:
    """Whether it can be a row of ours: a damaged page can hold anything."""
    if not isinstance(row, dict):
        return False
    if table == "counters":
        return isinstance(row.get("name"), str) and isinstance(row.get("value"), int)
    words = ("id", "upstream", "sort", "label", "state", "message", "link")
    return all(isinstance(row.get(word), str) for word in words) and isinstance(row.get("secret"), bytes)

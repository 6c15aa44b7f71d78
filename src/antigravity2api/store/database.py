"""The database as a file: where it is, making and upgrading it, backups, and what happens to a damaged one.

Nothing here is for the time of a request; what a running gateway does with the file is in ``live``.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from antigravity2api.store import keep
from antigravity2api.store.keep import Kept, SnapshotError

PREFIX = "sqlite:///"
MIGRATIONS = Path(__file__).with_name("migrations")
USUAL_NAME = "antigravity2api.db"
_MAGIC = b"SQLite format 3\0"
_MOST_ASIDE = 3
"""So many damaged files may lie beside the database; more would only fill a disk that is failing."""
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_COMPANIONS = ("-wal", "-shm")
_LONGEST_WAIT = 5.0
"""Seconds that a process waits for another one that makes, upgrades or replaces the file."""


class DatabaseError(Exception):
    """The database cannot be used as it is; the message is a sentence for the operator."""


class DatabaseRefused(DatabaseError):
    """What only the operator can change: an address that we do not take, another program's file, a newer version."""


def database_path(url: str) -> Path:
    """The file behind a ``sqlite:///PATH``; a relative one starts at the working directory. Raises DatabaseRefused."""
    if not url.startswith(PREFIX):
        raise DatabaseRefused("PostgreSQL comes in a later release; use sqlite:///PATH.")
    name = url.removeprefix(PREFIX)
    if not name or name.endswith("/") or name.startswith(":"):
        raise DatabaseRefused("the database needs a file, as in sqlite:///PATH: worker processes share it.")
    return Path(name).absolute()


# --- connections -----------------------------------------------------------------------------------------------------


def connect(path: Path, *, busy: float) -> sqlite3.Connection:
    """A connection to a file that is there, in autocommit, waiting ``busy`` seconds for locks. Raises sqlite3.Error."""
    uri = f"file:{quote(str(path))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=busy, isolation_level=None, check_same_thread=False)
    try:
        # With a write-ahead log this outlives a crash of the process; a power cut may cost the last moments.
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_known(path: Path, *, busy: float) -> sqlite3.Connection:
    """As ``connect``, for a database of this release's version only. Raises DatabaseError for any other."""
    connection = connect(path, busy=busy)
    try:
        found = version_of(connection)
        if found != latest():
            raise DatabaseError(f"the database {path} has version {found}, and this release works with {latest()}.")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the right to write from the start."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # some errors have rolled back already
            connection.execute("ROLLBACK")
        raise


def is_damage(error: BaseException | None) -> bool:
    """Whether an error says that the file is no sound database, rather than locked, full or out of reach."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGE


def is_sound(path: Path, *, busy: float = 5.0) -> bool:
    """Whether the whole file is a sound database. Raises sqlite3.Error for troubles of another kind."""
    try:
        with closing(connect(path, busy=busy)) as connection:
            return bool(connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return False
        raise


def identity(path: Path) -> tuple[int, int] | None:
    """What tells this file from another one that takes its name later; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


# --- versions --------------------------------------------------------------------------------------------------------


def migrations() -> list[tuple[int, Path]]:
    """Version → file of every step, in order."""
    return sorted((int(file.name.partition("_")[0]), file) for file in MIGRATIONS.glob("[0-9]*_*.sql"))


def latest() -> int:
    """The version that this release works with."""
    return migrations()[-1][0]


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a database, 0 for an empty one. Raises DatabaseRefused where another program's tables are."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "schema_version" in names:
        return int(connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0])
    if names:
        raise DatabaseRefused("the database file holds tables of another program; choose another file.")
    return 0


def upgrade(path: Path, *, busy: float = 5.0) -> tuple[int, int]:
    """Make the file where it is missing and bring it to the latest version; ``(before, now)``.

    Raises DatabaseRefused for a newer database, sqlite3.Error and OSError for what the machine refuses.
    """
    with alone(path):
        try:
            before, now, _ = _upgrade(path, busy)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                _refuse_foreign(path)
            raise
    return before, now


def _upgrade(path: Path, busy: float, kept: Kept | None = None) -> tuple[int, int, Begun | None]:
    """Where the file is new it begins with ``kept``, or else with the snapshot beside it."""
    _make_private(path)
    with closing(connect(path, busy=busy)) as connection:
        before = version_of(connection)
        now = latest()
        if before > now:
            raise DatabaseRefused(
                f"the database {path} was made by a newer release (version {before}, this one knows up to {now}): "
                "start that release, or restore a backup."
            )
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode = WAL")
        if before == now:
            return before, now, None
        begun = Begun()
        if before == 0 and kept is None:
            try:
                kept = keep.read_snapshot(keep.snapshot_path(path))
            except SnapshotError as error:
                begun = Begun(trouble=f"the snapshot {keep.snapshot_path(path)} cannot be used: {error}")
        if kept is not None and kept.version > now:
            begun = Begun(trouble=f"{keep.snapshot_path(path)} was made by a newer release")
            kept = None
        count = _migrate(connection, kept)
        if count:
            begun = Begun(credentials=count)
    return before, now, begun if begun != Begun() else None


def _make_private(path: Path) -> None:
    """The file for its owner alone, before anything is in it; the companions take over its mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        found = path.stat()
        if os.name == "posix" and found.st_mode & 0o077 and found.st_uid == os.geteuid() and path.is_file():
            with closing(connect(path, busy=_LONGEST_WAIT)) as connection:
                version_of(connection)  # another program's file keeps its mode
            path.chmod(0o600)


def _refuse_foreign(path: Path) -> None:
    """A wrong address must cost nobody a file: what nothing says is a database of ours is left as it is.

    A damaged one of ours may have lost its first page: its name, log, snapshot or an earlier one say whose it is.
    """
    if path.name == USUAL_NAME or keep.snapshot_path(path).exists() or _damaged_before(path):
        return
    if any(path.with_name(path.name + suffix).exists() for suffix in _COMPANIONS):
        return
    # Only now, and only a file that SQLite could not read: closing one that is in use gives up this process's locks.
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            return
    raise DatabaseRefused(f"{path} is no SQLite database: it was left as it is; choose another file for the database.")


def _damaged_before(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{glob.escape(path.name)}.corrupt-*[0-9Z]"))


def _migrate(connection: sqlite3.Connection, kept: Kept | None = None) -> int:
    """Every missing step in one transaction: all of them, or none; rows that come back join at their own version.

    Returns how many credentials came back.
    """
    count = 0
    with transaction(connection):
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL)"
        )
        before = version_of(connection)  # again: another process may have been quicker
        for version, file in migrations():
            if version > before:
                for statement in statements(file.read_text(encoding="utf-8")):
                    connection.execute(statement)
                connection.execute("INSERT INTO schema_version VALUES (?, ?)", (version, int(time.time())))
                if before == 0 and kept is not None and version == kept.version:
                    count = keep.insert(connection, kept)
    return count


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one; ``executescript`` would end the transaction."""
    so_far = ""
    for line in script.splitlines(keepends=True):
        so_far += line
        if sqlite3.complete_statement(so_far):
            yield so_far
            so_far = ""
    if re.sub(r"--.*", "", so_far).strip():
        raise DatabaseError("a migration ends in the middle of a statement.")


# --- starting, and damaged files -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begun:
    """A new database was begun where one had been; what became of the old one and of the credentials in it."""

    aside: Path | None = None
    """Where a damaged file went."""
    credentials: int = 0
    """So many came back."""
    trouble: str = ""
    """Why they could not come back, or whether all did cannot be told."""

    def words(self, path: Path) -> str:
        """What the operator is told."""
        snapshot = keep.snapshot_path(path)
        if self.aside is None:
            said = f"the database {path} was missing and a new one was begun"
        else:
            said = f"the database was damaged: a new one was begun, the old one is now {self.aside}"
        if self.credentials:
            said += f"; its {self.credentials} stored credentials were taken over"
            if self.aside is None:
                return f"{said} from {snapshot} (to begin without them, remove both files while nothing uses them)."
            if not self.trouble:
                return f"{said}."
        if not self.trouble:
            return f"{said}."
        source = self.aside or snapshot
        return (
            f"{said}; credentials that were stored in it may be lost: {self.trouble}. They are in {source}, if "
            "anywhere: restore a copy that `db backup` made, or add them again (`credentials import`, `login`)."
        )


def prepare(path: Path, *, busy: float = 5.0, suspect: bool = False) -> Begun | None:
    """Make the database ready; a damaged one is moved aside for a new one, into which its credentials are taken over.

    With ``suspect`` the whole file is checked. Returns what happened to an old one. Raises as ``upgrade``.
    """
    with alone(path):
        if not (suspect and path.is_file() and not is_sound(path, busy=busy)):
            try:
                return _upgrade(path, busy)[2]
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
        _refuse_foreign(path)
        return _replace(path, busy)


def _replace(path: Path, busy: float) -> Begun:
    """A new file for a damaged one. What is worth keeping is in the snapshot before anything is moved."""
    snapshot = keep.snapshot_path(path)
    trouble = ""
    try:
        before = keep.read_snapshot(snapshot)
    except SnapshotError as error:
        before, trouble = None, f"the snapshot {snapshot} cannot be used: {error}"
    salvaged = keep.salvage(path)
    kept = keep.merged(before, salvaged)
    if kept is None:
        trouble = trouble or "nothing in it could be read, and there is no snapshot of them"
    elif kept is salvaged and not kept.whole:
        trouble = trouble or "not all of it could be read"
    elif kept is salvaged:
        trouble = ""
    if kept is not None and kept.credentials and kept is not before:
        keep.write_snapshot(snapshot, kept)
    aside = set_aside(path)
    _, _, begun = _upgrade(path, busy, kept)
    found = begun or Begun()
    return Begun(aside, found.credentials, found.trouble or trouble)


class Warned(NamedTuple):
    """What the operator is told at the start, and whether stored credentials are lost, as far as that is known."""

    text: str
    lost: bool = False


def at_start(path: Path) -> list[Warned]:
    """``prepare`` when the gateway starts; warnings for the operator. Raises DatabaseRefused.

    A file or a machine in trouble is no reason not to serve: memory does until it is over.
    """
    try:
        if not path.parent.is_dir():
            raise DatabaseRefused(f"the database cannot be made: there is no directory {path.parent}.")
        if path.is_dir():
            raise DatabaseRefused(f"the database cannot be made: {path} is a directory.")
        begun = prepare(path, busy=0.25)
    except DatabaseRefused:
        raise
    except (sqlite3.Error, DatabaseError, OSError) as error:
        return [Warned(f"the database {path} cannot be used now ({error}); memory serves until it can.")]
    return [] if begun is None else [Warned(begun.words(path), bool(begun.trouble) and not begun.credentials)]


def set_aside(path: Path) -> Path:
    """Move a damaged database, with its log, to a name beside it. Nothing is ever deleted. Raises DatabaseError."""
    if len(_damaged_before(path)) >= _MOST_ASIDE:
        raise DatabaseError(
            f"the database {path} is damaged, and {_MOST_ASIDE} damaged ones lie beside it already: "
            "check the disk, then move those (and this one) away."
        )
    base = f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    target, count = path.with_name(base), 1
    while target.exists():
        count += 1
        target = path.with_name(f"{base}-{count}")
    path.rename(target)
    for suffix in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
    return target


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time, by a lock on the directory; it ends with the process, however that ends."""
    try:
        import fcntl  # noqa: PLC0415 - only Unix has it
    except ImportError:
        yield
        return
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        end = time.monotonic() + _LONGEST_WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise DatabaseError("another process is making the database ready.") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


# --- backups ---------------------------------------------------------------------------------------------------------


def backup(path: Path, target: Path, *, replace: bool = False) -> int:
    """Copy a database that may be in use to one file, sound and complete as of one moment; its size.

    Raises DatabaseRefused, DatabaseError where the copy is not sound, FileExistsError unless ``replace``, sqlite3.Error
    and OSError.
    """
    if path.exists() and target.exists() and path.samefile(target):
        raise DatabaseRefused("the backup cannot be the database itself.")
    if target.exists() and not replace:
        raise FileExistsError(errno.EEXIST, "is there already", str(target))
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(connect(path, busy=5.0)) as source, closing(connect(draft, busy=5.0)) as copy:
            source.backup(copy)  # in one step: a snapshot, and writers are not held up
            copy.execute("PRAGMA journal_mode = DELETE")
            if copy.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise DatabaseError(f"the database {path} is damaged; no backup was made.")
        handle = os.open(draft, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        draft.replace(target)
    finally:
        for suffix in ("", "-journal", *_COMPANIONS):
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)
    return target.stat().st_size

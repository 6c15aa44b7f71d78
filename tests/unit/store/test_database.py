"""The database file: making, versions, privacy, damage and backups."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.store import database
from antigravity2api.store.database import DatabaseError, DatabaseRefused
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.writer import Writer
from fakes import programs

PUT = "INSERT OR REPLACE INTO signatures (key, signature, family, upstream, created) VALUES (?, ?, 'f', 'u', ?)"


def eventually(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)


def row(number: int) -> tuple[bytes, bytes, int]:
    return b"%032d" % number, b"signature", int(time.time())


def count(path: Path) -> int:
    with closing(database.connect(path, busy=1)) as connection:
        return int(connection.execute("SELECT count(*) FROM signatures").fetchone()[0])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "a b?#%/antigravity2api.db"  # a name that an URI would read in another way
    made.parent.mkdir()
    database.upgrade(made)
    return made


# --- where it is -----------------------------------------------------------------------------------------------------


def test_the_path_of_a_url(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert database.database_path("sqlite:////var/lib/x.db") == Path("/var/lib/x.db")
    assert database.database_path("sqlite:///x/y.db") == tmp_path / "x/y.db"


@pytest.mark.parametrize("url", ["postgresql://u:p@host/db", "postgres://host/db"])
def test_postgres_is_for_later(url):
    with pytest.raises(DatabaseRefused, match="later release") as refused:
        database.database_path(url)
    assert "u:p" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", "sqlite:///folder/"])
def test_a_database_needs_a_file(url):
    with pytest.raises(DatabaseRefused, match="file"):
        database.database_path(url)


# --- versions --------------------------------------------------------------------------------------------------------


def test_migrations_are_numbered_without_gaps():
    assert [number for number, _ in database.migrations()] == list(range(1, database.latest() + 1))


def test_a_new_database(tmp_path):
    path = tmp_path / "new.db"
    assert database.upgrade(path) == (0, database.latest())
    assert database.upgrade(path) == (database.latest(), database.latest())
    with closing(database.connect_known(path, busy=1)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        versions = connection.execute("SELECT version FROM schema_version ORDER BY version").fetchall()
    assert versions == [(number,) for number, _ in database.migrations()]


def test_an_empty_file_is_a_new_database(tmp_path):
    (tmp_path / "x.db").touch()
    assert database.upgrade(tmp_path / "x.db")[0] == 0


def test_steps_are_done_in_order_and_all_or_none(tmp_path, monkeypatch):
    steps = tmp_path / "migrations"
    steps.mkdir()
    (steps / "0001_one.sql").write_text("-- with a ; in a comment\nCREATE TABLE one (x);\n")
    (steps / "0002_two.sql").write_text("ALTER TABLE one ADD COLUMN y;\nINSERT INTO one VALUES (1, 'a;b');\n")
    monkeypatch.setattr(database, "MIGRATIONS", steps)
    path = tmp_path / "x.db"
    assert database.upgrade(path) == (0, 2)
    (steps / "0003_three.sql").write_text("CREATE TABLE three (x);\nINSERT INTO one VALUES (2, 'c');\nNONSENSE;\n")
    with pytest.raises(sqlite3.OperationalError):
        database.upgrade(path)
    with closing(database.connect(path, busy=1)) as connection:
        assert database.version_of(connection) == 2
        assert connection.execute("SELECT * FROM one").fetchall() == [(1, "a;b")]
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'three'").fetchone() is None
    (steps / "0003_three.sql").write_text("CREATE TABLE three (x);\n")
    assert database.upgrade(path) == (2, 3)
    (steps / "0004_four.sql").write_text("CREATE TABLE four (x)\n")
    with pytest.raises(DatabaseError, match="middle of a statement"):
        database.upgrade(path)


def test_a_newer_database_is_refused_and_left_alone(path):
    with closing(database.connect(path, busy=1)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 0)")
    for use in (database.upgrade, database.prepare, database.at_start):
        with pytest.raises(DatabaseRefused, match=r"newer release \(version 99"):
            use(path)
    with pytest.raises(DatabaseError):
        database.connect_known(path, busy=1)
    assert [file.name for file in path.parent.iterdir() if "corrupt" in file.name] == []


def test_another_programs_database_is_refused(tmp_path):
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(DatabaseRefused, match="another program"):
        database.at_start(path)


UPGRADES = """
import sys
from pathlib import Path
from antigravity2api.store import database
print(database.upgrade(Path(sys.argv[1]))[1])
"""
PREPARES = UPGRADES.replace("upgrade(Path(sys.argv[1]))[1]", "prepare(Path(sys.argv[1]))")


def test_many_processes_make_it_at_once(tmp_path):
    path = tmp_path / "x.db"
    running = [programs.start(UPGRADES, path) for _ in range(4)]
    assert {programs.finish(one) for one in running} == {f"{database.latest()}\n"}
    assert database.is_sound(path)


# --- privacy ---------------------------------------------------------------------------------------------------------


def test_the_files_are_the_owners_alone(tmp_path):
    path = tmp_path / "x.db"
    before = os.umask(0)
    try:
        database.upgrade(path)
        with closing(database.connect(path, busy=1)) as connection:
            connection.execute(PUT, row(1))
            assert {file.name for file in tmp_path.iterdir()} == {"x.db", "x.db-wal", "x.db-shm"}
            assert {mode(file) for file in tmp_path.iterdir()} == {0o600}
        database.backup(path, tmp_path / "copy.db")
    finally:
        os.umask(before)
    assert mode(tmp_path / "copy.db") == 0o600


def test_a_file_that_others_could_read_is_closed_to_them(path):
    path.chmod(0o644)
    database.upgrade(path)
    assert mode(path) == 0o600


# --- starting, and damage --------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(DatabaseRefused, match="no directory"):
        database.at_start(tmp_path / "nowhere/x.db")
    with pytest.raises(DatabaseRefused, match="is a directory"):
        database.at_start(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"not a database at all" * 400,
        lambda raw: raw[:5000],
        lambda raw: raw[:100] + b"\xa5" * (len(raw) - 100),
        lambda raw: b"\0" * len(raw),
    ],
    ids=["foreign", "cut", "pages", "zeroes"],
)
def test_a_damaged_file_is_moved_aside(path, spoil):
    with closing(database.connect(path, busy=1)) as connection:
        connection.executemany(PUT, [row(number) for number in range(200)])
    spoiled = spoil(path.read_bytes())
    path.write_bytes(spoiled)
    ((warning, lost),) = database.at_start(path)
    (aside,) = path.parent.glob("*.corrupt-*")
    assert str(aside) in warning
    assert lost, "no snapshot says what was in it"
    assert re.fullmatch(r".*\.corrupt-\d{8}T\d{6}Z", aside.name)
    assert aside.read_bytes() == spoiled
    assert count(path) == 0
    assert database.at_start(path) == []


def test_a_failing_disk_is_not_filled_with_damaged_files(path):
    for _ in range(3):
        path.write_bytes(b"x" * 4096)
        assert database.prepare(path) is not None
    path.write_bytes(b"x" * 4096)
    with pytest.raises(DatabaseError, match="check the disk"):
        database.prepare(path)
    ((warning, lost),) = database.at_start(path)
    assert "memory serves" in warning
    assert not lost
    assert path.read_bytes() == b"x" * 4096


def test_processes_that_find_the_same_damage_move_it_once(path):
    path.write_bytes(b"x" * 8192)
    running = [programs.start(PREPARES, path) for _ in range(4)]
    moved = [programs.finish(one) for one in running]
    assert sum(aside != "None\n" for aside in moved) == 1
    assert len(list(path.parent.glob("*.corrupt-*Z"))) == 1
    assert database.is_sound(path)


def test_a_start_does_not_wait_for_a_locked_database(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute(PUT, row(1))
        begun = time.monotonic()
        database.at_start(path)
        assert time.monotonic() - begun < 1


FORBIDDEN = """
import os, sys
from pathlib import Path
from antigravity2api.store import database
from antigravity2api.store.live import LiveDatabase
path = Path(sys.argv[1])
known = database.migrations()
database.migrations = lambda: known  # the source may be out of reach for another user
if os.geteuid() == 0:
    os.seteuid(65534)
print(database.at_start(path))
live = LiveDatabase(path, lambda *about: print(about))
live.write("INSERT INTO signatures VALUES (1, x'00', x'00', '', '', 0)", ())
print(live.read("SELECT 1", ()))
live.close()
"""


@pytest.mark.parametrize("there", [False, True], ids=["no file", "a file"])
def test_a_directory_that_cannot_be_written(there):
    folder = Path(tempfile.mkdtemp())  # another user can get there, unlike to pytest's own
    if there:
        database.upgrade(folder / "x.db")
        (folder / "x.db").chmod(0o444)
    folder.chmod(0o555)
    try:
        said = programs.run(FORBIDDEN, folder / "x.db")
    finally:
        shutil.rmtree(folder)
    assert "memory serves until it can" in said
    assert "'what waited for the database is not in it'" in said


# --- backups ---------------------------------------------------------------------------------------------------------


def test_a_backup_while_somebody_writes(path, tmp_path):
    stop = threading.Event()

    def write() -> None:
        with closing(database.connect(path, busy=5)) as connection:
            number = 0
            while not stop.is_set():
                connection.execute(PUT, row(number))
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: count(path) > 50)
        target = tmp_path / "copy.db"
        assert database.backup(path, target) == target.stat().st_size
    finally:
        stop.set()
        writer.join()
    assert database.is_sound(target)
    assert 50 < count(target) <= count(path)
    assert sorted(file.name for file in tmp_path.iterdir() if "copy" in file.name) == ["copy.db"]


def test_a_backup_replaces_nothing_unasked(path, tmp_path):
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(FileExistsError):
        database.backup(path, target)
    assert target.read_text() == "precious"
    database.backup(path, target, replace=True)
    assert count(target) == 0
    with pytest.raises(DatabaseRefused):
        database.backup(path, path, replace=True)


def test_a_damaged_database_gives_no_backup(path, tmp_path):
    with closing(database.connect(path, busy=1)) as connection:
        connection.executemany(PUT, [row(number) for number in range(300)])
    raw = bytearray(path.read_bytes())
    raw[8192:16384] = b"\xa5" * 8192
    path.write_bytes(raw)
    with pytest.raises((DatabaseError, sqlite3.DatabaseError)):
        database.backup(path, tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy*"))


# --- in a running gateway --------------------------------------------------------------------------------------------


class Story:
    """What was reported."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def __call__(self, level: str, event: str, reason: str) -> None:
        self.events.append((level, event, reason))

    def __contains__(self, words: str) -> bool:
        return any(words in event for _, event, _ in self.events)


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def live(path, story):
    writer = Writer(path, story, busy=0.05, settle=0.02, rest=0.02)
    made = LiveDatabase(path, story, writer=writer)
    yield made
    made.close()


def test_what_is_written_is_seen_at_once_elsewhere(path, live):
    live.write(PUT, row(1))
    assert count(path) == 1
    assert live.read("SELECT signature FROM signatures", ()) == (b"signature",)
    assert live.read("SELECT signature FROM signatures WHERE id = 77", ()) is None


def test_what_is_large_goes_through_the_thread(path, live):
    live.write(PUT, row(1), size=1 << 20)
    eventually(lambda: count(path) == 1)


def test_a_slow_disk_is_left_to_the_thread(path, story):
    times = iter(range(1000))
    live = LiveDatabase(path, story, clock=lambda: next(times) / 10)
    for number in range(3):
        live.write(PUT, row(number))
        assert count(path) == number + 1
    held = sqlite3.connect(path, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    live.write(PUT, row(9))
    assert live.waiting == 1
    held.execute("ROLLBACK")
    held.close()
    eventually(lambda: live.waiting == 0)
    live.close()
    assert count(path) == 4


def test_a_locked_database_costs_milliseconds_and_loses_nothing(path, live, story):
    live.write(PUT, row(0))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        for number in range(1, 2000):
            live.write(PUT, row(number))
        assert time.monotonic() - begun < 1
        assert live.read("SELECT count(*) FROM signatures", ()) == (1,)
        eventually(lambda: "cannot be used" in story)
        other.execute("ROLLBACK")
    eventually(lambda: live.waiting == 0)
    assert count(path) == 2000
    eventually(lambda: "can be used again" in story)
    assert [level for level, _, _ in story.events] == ["warning", "info"]


def test_the_queue_is_bounded(path, story):
    writer = Writer(path, story, limit=10, busy=0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for number in range(25):
            writer.submit(PUT, row(number))
        assert (writer.waiting, writer.lost) == (10, 15)
        other.execute("ROLLBACK")
    eventually(lambda: writer.waiting == 0)
    writer.close()
    with closing(database.connect(path, busy=1)) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM signatures ORDER BY key")]
    assert keys == [row(number)[0] for number in range(15, 25)]


def test_a_statement_that_cannot_fit_holds_up_no_other(path, story):
    writer = Writer(path, story)
    writer.submit(PUT, (b"x", None, 1))
    writer.submit(PUT, (b"x", 1 << 80, 1))
    writer.submit(PUT, row(1))
    eventually(lambda: writer.waiting == 0)
    writer.close()
    assert (count(path), writer.lost, story.events) == (1, 2, [])


def test_closing_writes_what_is_waiting(path, story):
    writer = Writer(path, story)
    for number in range(1200):
        writer.submit(PUT, row(number))
    writer.close()
    assert count(path) == 1200
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name], "the log is folded in at the end"


def test_closing_does_not_wait_for_a_lock_for_long(path, story):
    writer = Writer(path, story, busy=0.5)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        writer.submit(PUT, row(1))
        begun = time.monotonic()
        writer.close()
        assert time.monotonic() - begun < 3


def test_no_thread_before_there_is_work(path, story):
    before = threading.active_count()
    live = LiveDatabase(path, story)
    assert live.read("SELECT 1", ()) == (1,)
    assert threading.active_count() == before
    live.close()


def test_the_log_stays_small(path, live):
    wal = path.with_name(path.name + "-wal")
    for number in range(3000):
        live.write(PUT, row(number))
        if number % 300 == 299:
            time.sleep(0.03)
    assert wal.stat().st_size < 16 << 20
    with closing(database.connect(path, busy=1)) as connection:
        eventually(lambda: connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0] == 0)


def test_a_file_that_goes_bad_while_in_use_is_replaced(path, live, story):
    for number in range(400):
        live.write(PUT, row(number))
    live.close()
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + b"\xa5" * (len(raw) - 4096))
    writer = Writer(path, story, busy=0.05, settle=0.02)
    again = LiveDatabase(path, story, writer=writer)
    again.write(PUT, row(1))
    eventually(lambda: "replaced by a new one" in story)
    eventually(lambda: again.waiting == 0)
    again.close()
    assert count(path) == 1
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


def test_a_file_that_is_taken_away_is_made_anew(path, story):
    clock = [0.0]
    live = LiveDatabase(path, story, writer=Writer(path, story, settle=0.02), clock=lambda: clock[0])
    live.write(PUT, row(1))
    for file in list(path.parent.iterdir()):
        file.unlink()
    clock[0] += 5
    live.write(PUT, row(2))
    eventually(lambda: path.exists() and live.waiting == 0)
    clock[0] += 5
    live.write(PUT, row(3))
    assert count(path) == 2
    live.close()


FILLS_THE_DISK = """
import resource, sys, time
from pathlib import Path
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.writer import Writer

def eventually(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)

path, put, events = Path(sys.argv[1]), sys.argv[2], []
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20_000, hard))
live = LiveDatabase(path, print, writer=Writer(path, lambda *about: events.append(about), busy=0.05, settle=0.02))
for number in range(100):
    live.write(put, (b"%032d" % number, b"s" * 1000, 1))
eventually(lambda: events)
assert live.waiting
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
eventually(lambda: not live.waiting and len(events) > 1)
live.close()
print([(level, event) for level, event, _ in events])
"""


def test_a_full_disk_is_said_once_and_survived(path):
    """A limit on the size of files fails writes as a full disk does."""
    said = programs.run(FILLS_THE_DISK, path, PUT)
    assert said.count("cannot be used") == 1
    assert said.count("can be used again") == 1
    assert count(path) == 100


# --- a wrong address costs nobody a file ------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [database.upgrade, database.prepare, database.at_start])
def test_a_file_of_another_kind_is_refused_and_left_as_it_is(tmp_path: Path, begin: Callable[[Path], object]) -> None:
    path = tmp_path / "accounts.txt"
    path.write_text("root:x:0:0\n" * 100)
    path.chmod(0o644)
    with pytest.raises(DatabaseRefused, match="is no SQLite database: it was left as it is"):
        begin(path)
    assert path.read_text() == "root:x:0:0\n" * 100
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("begin", [database.upgrade, database.prepare, database.at_start])
def test_another_programs_database_keeps_its_mode(tmp_path: Path, begin: Callable[[Path], object]) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (x)")
        connection.commit()
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(DatabaseRefused, match="another program"):
        begin(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("sign", ["-wal", ".credentials.bak", ".corrupt-20260101T000000Z"])
def test_a_damaged_file_with_a_sign_that_it_is_ours_is_replaced(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "gateway.db"
    path.write_bytes(b"x" * 4096)
    (tmp_path / f"gateway.db{sign}").write_bytes(b"")
    begun = database.prepare(path)
    assert begun is not None
    assert begun.aside is not None
    assert begun.aside.read_bytes() == b"x" * 4096

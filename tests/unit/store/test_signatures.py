"""Signatures in the database: shared, kept over restarts, bounded, and never in the way."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.gemini.signature import MemorySignatures, Signed, concealed
from antigravity2api.store import database
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.signatures import DurableSignatures
from antigravity2api.store.writer import Writer
from fakes import programs

SIGNED = Signed("c2lnbmF0dXJl", "gemini-3", "gemini")


def eventually(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)


def silent(level: str, event: str, reason: str) -> None:
    """Nobody listens."""


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "x.db"
    database.upgrade(made)
    return made


@pytest.fixture
def store(path):
    """Makes stores as separate workers have them; keyword arguments are the store's."""
    lives = []

    def make(**options) -> DurableSignatures:
        live = LiveDatabase(path, silent, writer=Writer(path, silent, settle=0.02, rest=0.02))
        lives.append(live)
        return DurableSignatures(live, **options)

    yield make
    for live in lives:
        live.close()


def test_what_is_not_there_is_known_until_another_worker_writes(store):
    now = 1.0
    one, other = store(), store(clock=lambda: now)
    asked = []
    get = other.get
    other.get = lambda key: asked.append(key) or get(key)
    assert other.none_of(["a", "b"])
    assert other.none_of(["b", "a", "c"])
    assert asked == ["a", "b", "c"]
    one.put("b", SIGNED)
    one.put("e", SIGNED)
    assert not other.none_of(["e"]), "what was never asked for is looked up at once"
    now += 0.5
    assert not other.none_of(["a", "b"])
    assert one.none_of(["a"])
    one.put("a", SIGNED)
    assert not one.none_of(["a"])
    now += 0.5
    assert not other.none_of(["c", "a"])


def test_another_worker_has_it_at_once(store):
    one, other = store(), store()
    assert other.get("call:x") is None
    one.put("call:x", SIGNED)
    assert other.get("call:x") == SIGNED
    assert one.get("call:y") is None


def test_the_last_one_put_counts(store):
    one, other = store(), store()
    one.put("args:x", SIGNED)
    later = Signed("bGF0ZXI=", "gemini-3", "antigravity")
    one.put("args:x", later)
    assert other.get("args:x") == later


def test_what_was_found_is_in_memory_from_then_on(store, path):
    store().put("call:x", SIGNED)
    other = store()
    assert other.get("call:x") == SIGNED
    path.write_bytes(b"")
    assert other.get("call:x") == SIGNED


def test_realms_are_apart(store):
    store(realm="sandbox").put("args:x", SIGNED)
    assert store().get("args:x") is None
    assert store(realm="sandbox").get("args:x") == SIGNED


def test_keys_are_not_kept(store, path):
    store().put('call:{"secret": "argument"}', SIGNED)
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"argument" not in kept
    assert SIGNED.signature.encode() in kept


@pytest.mark.parametrize("key", ["", "call:\ud800", "call:\0", "text:" + "ü" * 5000])
def test_any_key(store, key):
    store().put(key, SIGNED)
    assert store().get(key) == SIGNED


def test_an_odd_signature_stays_in_memory(store):
    odd = Signed("\ud800ü", "f", "u")
    one = store()
    one.put("call:x", odd)
    assert one.get("call:x") == odd
    assert store().get("call:x") is None


@pytest.mark.parametrize("columns", ["signature = 'text'", "created = 'never'", "created = 1.5", "family = x'ff'"])
def test_a_strange_row_is_no_error(store, path, columns):
    store().put("call:x", SIGNED)
    with closing(database.connect(path, busy=1)) as connection:
        connection.execute("UPDATE signatures SET " + columns)
    found = store().get("call:x")
    assert found is None or isinstance(found, Signed)


def test_they_expire(store):
    wall, clock = [1_000_000.0], [0.0]
    options = {"ttl": 100.0, "wall": lambda: wall[0]}
    memory = MemorySignatures(ttl=100.0, clock=lambda: clock[0])
    store(**options).put("call:x", SIGNED)
    wall[0] += 90
    other = store(memory=memory, **options)
    assert other.get("call:x") == SIGNED
    wall[0] += 11
    clock[0] += 11
    assert other.get("call:x") is None, "memory does not make it live longer"
    assert store(**options).get("call:x") is None


def test_a_clock_that_went_back_loses_nothing(store):
    wall = [1_000_000.0]
    store(wall=lambda: wall[0]).put("call:x", SIGNED)
    wall[0] -= 500_000
    assert store(wall=lambda: wall[0]).get("call:x") == SIGNED


def left(path: Path) -> list[int]:
    with closing(database.connect(path, busy=1)) as connection:
        return [identity for (identity,) in connection.execute("SELECT id FROM signatures ORDER BY id")]


def pruned(store, path, **options) -> list[int]:
    """The ids that are left of 1000 after pruning by another worker."""
    filler = store()
    for number in range(1000):
        filler.put(f"call:{number}", SIGNED)
    eventually(lambda: len(left(path)) == 1000)
    live = LiveDatabase(path, silent)
    with closing(database.connect(path, busy=1)) as connection:
        DurableSignatures(live, **options).prune(connection)
    return left(path)


def test_rows_are_bounded_and_the_oldest_go(store, path):
    assert pruned(store, path, max_rows=300) == list(range(701, 1001))


def test_bytes_are_bounded(store, path):
    assert pruned(store, path, max_bytes=100 * (len(SIGNED.signature) + 200)) == list(range(901, 1001))


def test_old_rows_are_removed(store, path):
    assert pruned(store, path, wall=lambda: time.time() + 90_000) == []


def test_nothing_is_removed_without_need(store, path):
    assert len(pruned(store, path)) == 1000


def test_the_thread_prunes_by_itself(store, path):
    one = store(max_rows=50)
    for number in range(400):
        one.put(f"call:{number}", SIGNED)
    eventually(lambda: one.put("call:again", SIGNED) or len(left(path)) <= 50)
    assert one.get("call:again") == SIGNED


def test_a_locked_database_is_not_waited_for(store, path):
    one = store()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        for number in range(500):
            one.put(f"call:{number}", SIGNED)
            assert one.get(f"call:{number}") == SIGNED
        assert time.monotonic() - begun < 0.5
        other.execute("ROLLBACK")
    eventually(lambda: len(left(path)) == 500)


def test_without_a_database_memory_serves(tmp_path):
    live = LiveDatabase(tmp_path / "nowhere" / "x.db", silent)
    store = DurableSignatures(live)
    store.put("call:x", SIGNED)
    assert store.get("call:x") == SIGNED
    assert store.get("call:y") is None
    live.close()


PUTS_MANY = """
import sys
from pathlib import Path
from antigravity2api.gemini.signature import Signed
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.signatures import DurableSignatures
live = LiveDatabase(Path(sys.argv[1]), print)
store = DurableSignatures(live)
for number in range(300):
    store.put(f"call:{sys.argv[2]}-{number}", Signed("c2lnbmF0dXJl", "gemini-3", "gemini"))
live.close()
"""


def test_processes_that_write_at_the_same_time_lose_nothing(path, store):
    running = [programs.start(PUTS_MANY, path, worker) for worker in range(3)]
    assert [programs.finish(one) for one in running] == ["", "", ""]
    reader = store()
    assert all(reader.get(f"call:{worker}-{number}") for worker in range(3) for number in range(300))


LIVES = """
import os, random, signal, sys, time
from pathlib import Path
from antigravity2api.gemini.signature import Signed
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.signatures import DurableSignatures
from antigravity2api.store.writer import Writer

path, chance = Path(sys.argv[1]), random.Random(4)

def write(life, tell):
    writer = Writer(path, print, settle=0.001, rest=0.001)
    live = LiveDatabase(path, print, writer=writer)
    store = DurableSignatures(live, max_rows=2000)
    number = 0
    while True:
        store.put(f"call:{life}-{number}", Signed("c2lnbmF0dXJl" * 50, "f", "u"))
        if not live.waiting:
            os.write(tell, number.to_bytes(4, "big"))
        number += 1

for life in range(20):
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write(life, tell)
        finally:
            os._exit(1)
    os.close(tell)
    promised = os.read(hear, 4)
    time.sleep(chance.random() / 50)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    while said := os.read(hear, 1 << 16):
        promised = said[-4:]
    os.close(hear)
    live = LiveDatabase(path, print)
    found = DurableSignatures(live).get(f"call:{life}-{int.from_bytes(promised, 'big')}")
    live.close()
    print("kept" if found else "lost")
"""


def test_kill_9_leaves_a_sound_file_that_has_what_was_promised(path):
    """Twenty lives of a process that writes and prunes as fast as it can, each killed in the middle."""
    assert programs.run(LIVES, path) == "kept\n" * 20
    assert database.is_sound(path)
    assert not list(path.parent.glob("*.corrupt-*"))


IDLES = """
import sys, threading
from pathlib import Path
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.signatures import DurableSignatures
DurableSignatures(LiveDatabase(Path(sys.argv[1]), print))
print(threading.active_count())
"""


def test_without_signatures_the_file_is_never_touched(path):
    """Starting and idling open no connection and no thread."""
    assert programs.run(IDLES, path) == "1\n"
    assert [file.name for file in path.parent.iterdir()] == ["x.db"]


# --- what stands beside a signature -----------------------------------------------------------------------------------

WORDS = "a thought about canaries"
WHOLE = Signed(
    "c2lnbmF0dXJl", "claude", "antigravity", call_id="toolu_1", step="abc", place=2, length=7, mark="00ff",
    edges=("\n", " "), hidden=concealed([(WORDS, "dGhvdWdodA==")], {"level": "canary"}),
)  # fmt: skip


def test_everything_beside_a_signature_comes_back(store):
    one, other = store(), store()
    one.put("call:x", WHOLE)
    assert other.get("call:x") == WHOLE


def test_words_of_a_conversation_are_in_the_file_only_encrypted(store, path):
    one = store()
    one.put("call:x", WHOLE)
    one.put("call:y", SIGNED)
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"toolu_1" in kept
    assert b"canar" not in kept and b"dGhvdWdodA" not in kept
    with closing(sqlite3.connect(path)) as connection:
        (sealed,) = connection.execute("SELECT sealed FROM signatures WHERE sealed IS NOT NULL").fetchone()
        connection.execute("UPDATE signatures SET sealed = ?", (sealed,))
        connection.commit()
    other = store()
    assert other.get("call:x").hidden == WHOLE.hidden
    assert other.get("call:y").hidden == "", "another row's key does not open it"


@pytest.mark.parametrize("damage", [b"", b"x", b"[]", b"\xff" * 40, b"[1,2,3,4,5,6,7]", b'{"a":1}'])
@pytest.mark.parametrize("column", ["beside", "sealed"])
def test_a_damaged_page_beside_a_signature_costs_no_more_than_that(store, path, damage, column):
    store().put("call:x", WHOLE)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE signatures SET {column} = ?", (damage,))
        connection.commit()
    found = store().get("call:x")
    assert (found.signature, found.family) == (WHOLE.signature, WHOLE.family)


def test_what_is_sealed_counts_for_the_bound(store, path):
    made = store(max_bytes=20_000)
    for number in range(20):
        made.put(f"call:{number}", replace(WHOLE, hidden=concealed([("x" * 5_000, "cw==")])))
    with closing(database.connect_known(path, busy=1)) as connection:
        made.prune(connection)
        left = connection.execute("SELECT count(*) FROM signatures").fetchone()[0]
    assert 0 < left <= 4

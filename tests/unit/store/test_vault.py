"""Stored credentials: what goes in comes out, encrypted on the disk, and several processes may write."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import threading
from contextlib import closing

import pytest

from antigravity2api.credentials import Record, Sort, State
from antigravity2api.store import database, keep
from antigravity2api.store.secrets import Secrets
from antigravity2api.store.vault import Vault, VaultError
from fakes import programs

KEY = "a-passphrase-of-some-length"
PLANTED = "AIza-planted-secret-0123456789"


def gemini(key: str = PLANTED, **more) -> Record:
    return Record(**{"id": "", "upstream": "gemini", "sort": Sort.API_KEY, "secret": {"key": key}, **more})


def user(refresh: str = "1//refresh", **more) -> Record:
    secret = {"refresh_token": refresh, "access_token": "ya29.first", "expires_at": 1.0}
    return Record(**{"id": "", "upstream": "antigravity", "sort": Sort.OAUTH_USER, "secret": secret, **more})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "antigravity2api.db"


@pytest.fixture
def open_vault(path):
    made = []

    def open_one(text: str | None = KEY, **more) -> Vault:
        vault = Vault(path, Secrets(path.with_name("secret.key"), text=text), wall=lambda: 1000.0, **more)
        made.append(vault)
        return vault

    yield open_one
    for vault in made:
        vault.close()


@pytest.fixture
def vault(open_vault):
    return open_vault()


def everything_on_disk(folder) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


# --- one process -----------------------------------------------------------------------------------------------------


def test_nothing_stored_is_no_file(vault, path):
    assert (vault.records(), vault.problems(), vault.revision()) == ([], [], 0)
    assert vault.get("gemini-1") is None
    assert list(path.parent.iterdir()) == []


def test_what_goes_in_comes_out(vault, open_vault):
    given = gemini(
        id="my-key",
        label="Zoë",
        project="p",
        location="global",
        enabled=False,
        weight=7,
        priority=-2,
        state=State.NEEDS_VERIFICATION,
        message="verify",
        link="https://x/",
    )
    made = vault.add(given)
    assert made.stored
    assert made.changed == 1000.0
    assert open_vault().records() == [made] == [vault.get("my-key")]
    assert dict(made.secret) == {"key": PLANTED}
    assert PLANTED not in repr(made)


def test_ids_are_made_and_never_used_twice(vault):
    assert [vault.add(gemini(f"key-{n}")).id for n in range(3)] == ["gemini-1", "gemini-2", "gemini-3"]
    assert vault.remove("gemini-3")
    assert not vault.remove("gemini-3")
    assert vault.add(gemini("key-9")).id == "gemini-4"
    assert vault.add(gemini("key-10"), taken=["gemini-5", "gemini-6"]).id == "gemini-7"
    assert vault.add(user()).id == "antigravity-1"
    assert [record.id for record in vault.records()] == [
        "gemini-1",
        "gemini-2",
        "gemini-4",
        "gemini-7",
        "antigravity-1",
    ]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (gemini(id="../x"), "is no id"),
        (gemini(id="a b"), "is no id"),
        (gemini(weight=0), "weight"),
        (gemini(weight=101), "weight"),
        (gemini(upstream="other"), "no upstream"),
    ],
)
def test_what_nobody_could_use_is_refused(vault, record, words):
    with pytest.raises(VaultError, match=words):
        vault.add(record)
    assert vault.records() == []


def test_the_same_id_for_something_else_is_refused(vault):
    vault.add(gemini("one", id="mine"))
    with pytest.raises(VaultError, match="already"):
        vault.add(gemini("two", id="mine"))


@pytest.mark.parametrize(
    ("first", "again", "same"),
    [
        (gemini("k"), gemini("k"), True),
        (gemini("k"), gemini("other"), False),
        (gemini("k"), gemini("k", upstream="vertex", sort=Sort.EXPRESS_KEY), False),
        (user("a"), user("a"), True),
        (user("a"), user("b"), False),
        (user("a", label="Me@example.com"), user("b", label="me@example.com"), True),
        (user("a", label="me"), user("b", label="me"), False),
    ],
)
def test_the_same_account_or_key_is_stored_once(vault, first, again, same):
    one, two = vault.add(first), vault.add(again)
    assert (one.id == two.id) is same
    assert len(vault.records()) == (1 if same else 2)


def test_adding_an_account_once_more_renews_it(vault):
    made = vault.add(user("old", label="me@x", project="mine", weight=5))
    vault.change(made.id, state=State.NEEDS_LOGIN, message="expired", enabled=False)
    again = vault.add(user("new", label="me@x"))
    assert (again.id, again.state, again.message, again.project) == (made.id, State.READY, "", "mine")
    assert (again.enabled, again.weight) == (False, 5)
    assert again.secret["refresh_token"] == "new"
    assert again.secret["login"] != made.secret["login"], "it is told from a token that was renewed"


def test_an_account_that_the_terms_closed_stays_so(vault):
    made = vault.add(user("old", label="me@x"))
    vault.change(made.id, state=State.DISABLED_BY_TERMS, message="no")
    again = vault.add(user("new", label="me@x"))
    assert (again.state, again.message) == (State.DISABLED_BY_TERMS, "no")


def test_a_change_merges_into_what_is_there_by_then(vault, open_vault):
    made = vault.add(user())
    other = open_vault()
    other.change(made.id, secret={"refresh_token": "rotated"}, label="by another")
    changed = vault.change(made.id, secret={"access_token": "ya29.second", "expires_at": None}, state=State.NO_PROJECT)
    mark = made.secret["login"]
    assert dict(changed.secret) == {"refresh_token": "rotated", "access_token": "ya29.second", "login": mark}
    assert (changed.label, changed.state) == ("by another", State.NO_PROJECT)
    assert other.get(made.id) == changed


def test_the_revision_grows_with_changes_alone(vault, open_vault):
    made = vault.add(gemini())
    seen = open_vault()
    before = seen.revision()
    assert before > 0
    vault.change(made.id, label=made.label)
    vault.add(gemini())
    assert seen.revision() == before
    vault.change(made.id, label="new")
    assert seen.revision() == before + 1
    vault.remove(made.id)
    assert seen.revision() == before + 2


def test_the_revision_is_told_while_another_thread_waits_for_the_database(vault, path):
    vault.add(gemini())
    before = vault.revision()
    with closing(database.connect(path, busy=1)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=lambda: vault.change("gemini-1", label="x"))
        waiting.start()
        assert vault.revision() == before
        other.execute("ROLLBACK")
    waiting.join()
    assert vault.revision() == before + 1


def test_the_revision_asks_for_a_look_when_the_file_is_in_trouble(vault, path):
    made = vault.add(gemini())
    before = vault.revision()
    vault.close()
    spoil(path, SPOILS["foreign"])
    assert [vault.revision() for _ in range(3)] == [-1, before, before]
    assert vault.records() == [made]
    assert vault.revision() > before


def test_wrong_changes_are_refused(vault):
    made = vault.add(gemini())
    with pytest.raises(VaultError, match="cannot be changed"):
        vault.change(made.id, upstream="vertex")
    with pytest.raises(VaultError, match="no stored credential"):
        vault.change("gemini-9", label="x")
    with pytest.raises(VaultError, match="weight"):
        vault.change(made.id, weight=1000)


def test_what_an_upstream_says_is_made_harmless(vault):
    made = vault.add(gemini())
    told = vault.change(made.id, message="a\x1b[31m\nb\ud800" + "x" * 5000)
    assert told.message.startswith("a [31m b")
    assert len(told.message) <= 2000
    assert vault.get(made.id) == told


def test_removing_forgets_what_was_learned_about_it(vault, path):
    made = vault.add(gemini())
    with closing(database.connect(path, busy=1)) as connection:
        connection.execute("INSERT INTO cooldowns VALUES (?, '', 1, 1, 'quota', 1)", (made.id,))
        connection.execute("INSERT INTO model_lists VALUES ('gemini', ?, 1, x'00')", (made.id,))
        vault.remove(made.id)
        assert connection.execute("SELECT * FROM cooldowns").fetchall() == []
        assert connection.execute("SELECT * FROM model_lists").fetchall() == []


# --- at rest ---------------------------------------------------------------------------------------------------------


def test_no_file_holds_a_secret(vault, path, tmp_path):
    made = vault.add(gemini(PLANTED))
    vault.add(user("1//planted-refresh"))
    vault.change(made.id, secret={"key": f"{PLANTED}-2"})
    database.backup(path, tmp_path / "copy.db")
    names = {file.name for file in tmp_path.iterdir()}
    assert {"antigravity2api.db", "antigravity2api.db-wal", "copy.db", "antigravity2api.db.credentials.bak"} <= names
    raw = everything_on_disk(tmp_path)
    assert b"gemini-1" in raw
    for planted in (PLANTED, "1//planted-refresh", "ya29.first", KEY):
        assert planted.encode() not in raw
        assert planted.encode().hex().encode() not in raw
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_the_wrong_key_fails_closed(vault, open_vault, path):
    made = vault.add(gemini())
    before = path.with_name("antigravity2api.db.credentials.bak").read_bytes()
    wrong = open_vault("some-other-passphrase")
    assert wrong.records() == []
    (problem,) = wrong.problems()
    assert made.id in problem
    assert "another key than the one in ANTIGRAVITY2API_SECRET_KEY" in problem
    assert wrong.get(made.id) is None
    with pytest.raises(VaultError, match="another key"):
        wrong.change(made.id, label="x")
    with pytest.raises(VaultError, match="put back that key"):
        wrong.add(gemini("another"))
    assert open_vault().records() == [made]
    assert path.with_name("antigravity2api.db.credentials.bak").read_bytes() == before


def test_a_lost_key_file_is_not_replaced_while_credentials_need_it(open_vault, path):
    made = open_vault(None).add(gemini())
    key = path.with_name("secret.key")
    key.rename(key.with_name("elsewhere"))
    fresh = open_vault(None)
    assert fresh.records() == []
    assert "is missing" in fresh.problems()[0]
    with pytest.raises(VaultError):
        fresh.add(gemini("another"))
    assert not key.exists()
    key.with_name("elsewhere").rename(key)
    assert fresh.records() == [made]
    assert fresh.problems() == []


def test_one_unreadable_credential_does_not_hide_the_others(vault, path):
    for number in range(3):
        vault.add(gemini(f"key-{number}"))
    vault.close()
    with closing(database.connect(path, busy=1)) as connection:
        connection.execute("UPDATE credentials SET secret = x'00' WHERE id = 'gemini-2'")
    fresh = Vault(path, Secrets(path.with_name("secret.key"), text=KEY))
    assert [record.id for record in fresh.records()] == ["gemini-1", "gemini-3"]
    assert list(fresh.unreadable()) == ["gemini-2"]
    assert fresh.add(gemini("key-9")).id == "gemini-4"
    assert fresh.remove("gemini-2")
    assert fresh.problems() == []
    fresh.close()


def test_a_state_of_a_release_to_come_is_not_misread(vault, path):
    vault.add(gemini())
    with closing(database.connect(path, busy=1)) as connection:
        connection.execute("UPDATE credentials SET state = 'on_holiday'")
    assert vault.records() == []
    assert "does not know" in vault.problems()[0]


def test_rotation(vault, open_vault):
    made = [vault.add(gemini(f"key-{number}")) for number in range(3)]
    before = vault.revision()
    new = open_vault("the-new-passphrase-is-long")
    assert vault.rotate(new._secrets) == 3
    assert vault.revision() == before + 1
    assert vault.records() == made == new.records()
    assert open_vault().records() == []
    assert vault.rotate(new._secrets) == 0


def test_a_process_with_the_old_key_goes_on_with_what_it_knows(vault, open_vault):
    made = vault.add(gemini())
    running = open_vault()
    assert running.records() == [made]
    vault.rotate(open_vault("the-new-passphrase-is-long")._secrets)
    assert running.records() == [made]
    assert "start again with the new key" in running.problems()[0]
    with pytest.raises(VaultError):
        running.change(made.id, label="x")


def test_a_rotation_leaves_what_it_cannot_read(vault, path, open_vault):
    vault.add(gemini("one"))
    vault.add(gemini("two"))
    with closing(database.connect(path, busy=1)) as connection:
        connection.execute("UPDATE credentials SET secret = ? WHERE id = 'gemini-2'", (b"\1" + b"x" * 60,))
    assert vault.rotate(open_vault("the-new-passphrase-is-long")._secrets) == 1
    assert list(vault.unreadable()) == ["gemini-2"]


# --- several processes, and interruptions ----------------------------------------------------------------------------

WRITES = """
import sys
from pathlib import Path
from antigravity2api.credentials import Record, Sort
from antigravity2api.store.secrets import Secrets
from antigravity2api.store.vault import Vault
path, name, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
vault = Vault(path, Secrets(path.with_name("secret.key"), text="a-passphrase-of-some-length"))
for number in range(1, rounds + 1):
    vault.change("mine", secret={name: number})
    vault.add(Record(id="", upstream="gemini", sort=Sort.API_KEY, secret={"key": f"{name}-{number}"}))
"""


def test_what_two_processes_write_is_all_there(vault, path):
    vault.add(user(id="mine"))
    before = vault.revision()
    running = [programs.start(WRITES, path, name, 15) for name in ("one", "two")]
    for one in running:
        programs.finish(one)
    assert vault.revision() == before + 60
    mine = vault.get("mine")
    assert mine is not None
    assert (mine.secret["one"], mine.secret["two"], mine.secret["refresh_token"]) == (15, 15, "1//refresh")
    ids = [record.id for record in vault.records()]
    assert len(ids) == len(set(ids)) == 31
    kept = keep.read_snapshot(keep.snapshot_path(path))
    assert kept is not None
    assert (kept.revision, kept.credentials) == (vault.revision(), 31)


LOOPS = """
import itertools, sys
from pathlib import Path
from antigravity2api.credentials import Record, Sort
from antigravity2api.store.secrets import Secrets
from antigravity2api.store.vault import Vault
path = Path(sys.argv[1])
vault = Vault(path, Secrets(path.with_name("secret.key")))
first = int(vault.get("mine").label)
for number in itertools.count(first + 1):
    vault.change("mine", label=str(number), secret={"access_token": f"token-{number}"})
    print(number, flush=True)
    extra = vault.add(Record(id="", upstream="gemini", sort=Sort.API_KEY, secret={"key": f"key-{number}"}))
    vault.remove(extra.id)
"""


def killed_while_it_writes(path, rounds: int) -> None:
    vault = Vault(path, Secrets(path.with_name("secret.key")))
    vault.add(user(id="mine", label="0"))
    vault.change("mine", secret={"access_token": "token-0"})
    vault.close()
    for turn in range(rounds):
        running = programs.start(LOOPS, path)
        told = 0
        try:
            assert running.stdout is not None
            for _ in range(1 + turn % 3):
                told = int(running.stdout.readline())
        finally:
            running.kill()
            rest, trouble = running.communicate()
        assert trouble == ""
        told = max([told, *map(int, rest.split())])
        fresh = Vault(path, Secrets(path.with_name("secret.key")))
        mine = fresh.get("mine")
        assert mine is not None
        assert told <= int(mine.label) <= told + 1
        assert mine.secret["access_token"] == f"token-{mine.label}"
        assert mine.secret["refresh_token"] == "1//refresh"
        assert fresh.problems() == []
        kept = keep.read_snapshot(keep.snapshot_path(path))
        assert kept is not None
        assert kept.revision == fresh.revision()
        fresh.close()
    assert len(list(path.parent.iterdir())) <= 6


def test_a_kill_at_any_moment_leaves_old_or_new(path):
    killed_while_it_writes(path, 9)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ninety_kills(path):
    killed_while_it_writes(path, 90)


ROTATES = """
import sys
from pathlib import Path
from antigravity2api.store.secrets import Secrets
from antigravity2api.store.vault import Vault
path = Path(sys.argv[1])
secrets = Secrets(path.with_name("secret.key"))
vault = Vault(path, secrets)
while True:
    with secrets.rotation() as new:
        vault.rotate(new)
    print("turned", flush=True)
"""


def test_a_kill_during_rotation_leaves_every_credential_readable(path):
    vault = Vault(path, Secrets(path.with_name("secret.key")))
    made = [vault.add(gemini(f"key-{number}")) for number in range(5)]
    vault.close()
    for turn in range(6):
        running = programs.start(ROTATES, path)
        try:
            assert running.stdout is not None
            for _ in range(turn % 3 + 1):
                assert running.stdout.readline() == "turned\n"
        finally:
            running.kill()
            running.communicate()
        fresh = Vault(path, Secrets(path.with_name("secret.key")))
        assert fresh.records() == made
        kept = keep.read_snapshot(keep.snapshot_path(path))
        assert kept is not None
        assert len(fresh.restore(kept)) == 5
        fresh.close()


def test_a_database_that_is_locked_is_said_and_tried_again(vault, open_vault, path):
    made = vault.add(gemini())
    hasty = open_vault(busy=0.01)
    assert hasty.records() == [made]
    with closing(database.connect(path, busy=1)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(VaultError, match="locked"):
            hasty.change(made.id, label="x")
        assert hasty.records() == [made]
        other.execute("ROLLBACK")
    assert hasty.change(made.id, label="x").label == "x"


def test_threads_may_share_one(vault):
    made = vault.add(user())

    def write(name: str) -> None:
        for number in range(10):
            vault.change(made.id, secret={name: number})

    threads = [threading.Thread(target=write, args=(f"thread-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = vault.get(made.id)
    assert found is not None
    assert [found.secret[f"thread-{number}"] for number in range(4)] == [9] * 4


def test_a_database_of_the_release_before_is_upgraded(path, tmp_path, monkeypatch, open_vault):
    real = database.MIGRATIONS
    older = tmp_path / "older"
    older.mkdir()
    shutil.copy(real / "0001_signatures.sql", older)
    monkeypatch.setattr(database, "MIGRATIONS", older)
    assert database.upgrade(path) == (0, 1)
    monkeypatch.setattr(database, "MIGRATIONS", real)
    vault = open_vault()
    assert vault.records() == []
    assert vault.add(gemini()).id == "gemini-1"
    assert vault.problems() == []


# --- damage ----------------------------------------------------------------------------------------------------------


def spoil(path, how) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.write_bytes(how(path.read_bytes()))


SPOILS = {
    "foreign": lambda raw: b"not a database at all" * 400,
    "cut": lambda raw: raw[:5000],
    "pages": lambda raw: raw[:100] + b"\xa5" * (len(raw) - 100),
    "zeroes": lambda raw: b"\0" * len(raw),
    "schema whole": lambda raw: raw[:4096] + b"\xa5" * (len(raw) - 4096),
    "empty": lambda raw: b"",
}


@pytest.mark.parametrize("how", SPOILS.values(), ids=SPOILS)
def test_a_damaged_database_gives_its_credentials_to_the_new_one(vault, path, how):
    made = [vault.add(gemini(f"key-{number}")) for number in range(3)]
    before = vault.revision()
    vault.close()
    spoil(path, how)
    ((warning, lost),) = database.at_start(path)
    assert "3 stored credentials were taken over" in warning
    assert not lost
    assert database.at_start(path) == []
    fresh = Vault(path, Secrets(path.with_name("secret.key"), text=KEY))
    assert fresh.records() == made
    assert fresh.problems() == []
    assert fresh.revision() > before
    assert fresh.add(gemini("another")).id == "gemini-4"
    fresh.close()


def test_without_a_snapshot_the_damaged_file_is_read(vault, path):
    made = [vault.add(gemini(f"key-{number}")) for number in range(3)]
    with closing(database.connect(path, busy=1)) as connection:
        connection.executemany(
            "INSERT INTO signatures (key, signature, family, upstream, created) VALUES (?, zeroblob(900), '', '', 0)",
            [(b"%d" % number,) for number in range(400)],
        )
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'signatures'").fetchone()[0]
    vault.close()
    keep.snapshot_path(path).unlink()
    spoil(path, lambda raw: raw[: (page - 1) * 4096] + b"\xa5" * 4096 + raw[page * 4096 :])
    begun = database.prepare(path, suspect=True)
    assert begun is not None
    assert (begun.credentials, begun.trouble) == (3, "")
    fresh = Vault(path, Secrets(path.with_name("secret.key"), text=KEY))
    assert fresh.records() == made
    fresh.close()


def test_what_the_snapshot_missed_comes_from_the_damaged_file(vault, path):
    snapshot = keep.snapshot_path(path)
    vault.add(gemini("key-0"))
    before = snapshot.read_bytes()
    vault.add(gemini("key-1"))
    newest = vault.records()
    vault.close()
    snapshot.write_bytes(before)  # the process was killed between the change and its snapshot
    spoil(path, lambda raw: raw + b"\xa5" * 4096)
    with closing(database.connect(path, busy=1)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'signatures'").fetchone()[0]
    spoil(path, lambda raw: raw[: (page - 1) * 4096] + b"\xa5" * 4096 + raw[page * 4096 :])
    assert database.prepare(path, suspect=True) is not None
    fresh = Vault(path, Secrets(path.with_name("secret.key"), text=KEY))
    assert fresh.records() == newest
    fresh.close()


@pytest.mark.parametrize("snapshot", [b"half", None], ids=["half a snapshot", "no snapshot"])
def test_when_nothing_can_be_saved_it_says_where_it_is_and_how_to_go_on(vault, path, snapshot):
    vault.add(gemini())
    vault.close()
    if snapshot is None:
        keep.snapshot_path(path).unlink()
    else:
        keep.snapshot_path(path).write_bytes(snapshot)
    spoil(path, SPOILS["foreign"])
    ((warning, lost),) = database.at_start(path)
    (aside,) = path.parent.glob("antigravity2api.db.corrupt-*Z")
    for words in (str(aside), "may be lost", "db backup", "credentials import"):
        assert words in warning
    assert lost
    assert aside.read_bytes() == SPOILS["foreign"](b"")
    if snapshot is not None:
        assert keep.snapshot_path(path).read_bytes() == snapshot
        vault.add(gemini())
        assert path.with_name("antigravity2api.db.credentials.bak.unreadable").read_bytes() == snapshot


@pytest.mark.parametrize("function", ["write_snapshot", "set_aside", "_upgrade", "_migrate"])
@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "no snapshot"])
def test_a_replacement_that_is_interrupted_loses_nothing(vault, path, monkeypatch, function, snapshot):
    made = [vault.add(gemini(f"key-{number}")) for number in range(3)]
    with closing(database.connect(path, busy=1)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'signatures'").fetchone()[0]
    vault.close()
    if not snapshot:
        keep.snapshot_path(path).unlink()
    spoil(path, lambda raw: raw[: (page - 1) * 4096] + b"\xa5" * 4096 + raw[page * 4096 :])
    owner = keep if function == "write_snapshot" else database
    real = getattr(owner, function)

    def interrupted(*arguments):
        if function == "set_aside":
            real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, function, interrupted)
    if not (function == "write_snapshot" and snapshot):
        with pytest.raises(KeyboardInterrupt):
            database.prepare(path, suspect=True)
    monkeypatch.undo()
    database.prepare(path, suspect=True)
    fresh = Vault(path, Secrets(path.with_name("secret.key"), text=KEY))
    assert fresh.records() == made
    fresh.close()


def test_a_lost_database_begins_with_its_snapshot(vault, path):
    made = vault.add(gemini())
    vault.close()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    fresh = Vault(path, Secrets(path.with_name("secret.key"), text=KEY))
    assert fresh.records() == [made]
    assert "was missing" in fresh.problems()[0]
    fresh.close()


def test_damage_that_a_running_process_meets_is_mended(vault, path):
    made = [vault.add(gemini(f"key-{number}")) for number in range(3)]
    vault.close()
    spoil(path, SPOILS["schema whole"])
    assert vault.records() == made
    assert "3 stored credentials were taken over" in vault.problems()[0]


def test_an_older_database_does_not_overwrite_a_newer_snapshot(vault, path, tmp_path):
    vault.add(gemini("key-0"))
    database.backup(path, tmp_path / "copy.db")
    vault.add(gemini("key-1"))
    vault.change("gemini-1", label="newest")
    vault.close()
    newest = keep.snapshot_path(path).read_bytes()
    (tmp_path / "copy.db").replace(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    fresh = Vault(path, Secrets(path.with_name("secret.key"), text=KEY))
    assert len(fresh.records()) == 1
    assert "is older than its snapshot" in fresh.problems()[0]
    fresh.change("gemini-1", label="go on")
    (aside,) = tmp_path.glob("antigravity2api.db.credentials.bak.revision-*")
    assert aside.read_bytes() == newest
    kept = keep.read_snapshot(aside)
    assert kept is not None
    assert [record.secret["key"] for record in fresh.restore(kept)] == ["key-0", "key-1"]
    fresh.close()


def test_a_snapshot_that_cannot_be_written_is_said_and_the_change_kept(vault, open_vault, path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keep, "replace_file", full)
    made = vault.add(gemini())
    assert "No space left" in vault.problems()[0]
    assert open_vault().get(made.id) == made
    monkeypatch.undo()
    vault.change(made.id, label="x")
    assert vault.problems() == []


def test_a_snapshot_cut_at_any_byte_is_no_snapshot(vault, path):
    vault.add(gemini())
    raw = keep.snapshot_path(path).read_bytes()
    assert keep.parse_snapshot(raw).credentials == 1
    for length in range(len(raw) - 1):
        with pytest.raises(keep.SnapshotError):
            keep.parse_snapshot(raw[:length])
    assert json.loads(raw.splitlines()[0])["version"] == database.latest()


def test_a_snapshot_of_a_newer_release_is_left_alone(vault, path):
    vault.add(gemini())
    vault.close()
    snapshot = keep.snapshot_path(path)
    kept = keep.read_snapshot(snapshot)
    assert kept is not None
    keep.write_snapshot(snapshot, keep.Kept(99, kept.tables))
    path.unlink()
    ((warning, lost),) = database.at_start(path)
    assert "newer release" in warning
    assert lost
    assert snapshot.is_file()

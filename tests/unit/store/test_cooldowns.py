"""Cool-downs in the database: kept over restarts, seen by other workers, bounded, and never in the way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.credentials import CoolDown, Record, State, memory_key
from antigravity2api.errors import Fault, Kind
from antigravity2api.store import cooldowns, database
from antigravity2api.store.cooldowns import Cooldowns
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.writer import Writer
from fakes.pools import MODEL, NOW, Bench, Clock, bench, record

DAY = 86400.0
LIMITED = Fault(Kind.RATE_LIMITED, "You exceeded it.", retry_after=600)
SPENT = Fault(Kind.RATE_LIMITED, "Gone.", retry_after=5 * DAY, reason="QUOTA_EXHAUSTED")
REFUSED = Fault(Kind.CREDENTIAL, "Bad key.", reason="API_KEY_INVALID", upstream_status=400)
Make = Callable[[], Cooldowns]


def silent(level: str, event: str, reason: str) -> None:
    """Nobody listens."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "x.db"
    database.upgrade(made)
    return made


@pytest.fixture
def wall() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(path: Path, wall: Clock) -> Iterator[Make]:
    """Makes stores as separate workers have them."""
    lives = []

    def make() -> Cooldowns:
        live = LiveDatabase(path, silent, writer=Writer(path, silent, settle=0.02, rest=0.02))
        lives.append(live)
        return Cooldowns(live, wall=wall)

    yield make
    for live in lives:
        live.close()


def row(name: str = "a", scope: str = MODEL, left: float = 60.0, **fields: Any) -> CoolDown:
    given = {"strikes": 1, "reason": "limited : x", "updated": NOW}
    return CoolDown(credential=name, scope=scope, until=NOW + left, **(given | fields))


def worker(store: Make, *records: Record | str, **options: Any) -> Bench:
    """A pool with a store of its own."""
    return bench(*(records or ("a", "b")), memory=store(), **options)


# -- the table ---------------------------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_put(store: Make) -> None:
    one, other = store(), store()
    assert one.rows() == []
    rows = [row("a"), row("ü", "other", 90.5, updated=NOW - 1)]
    for each in rows:
        one.put(each)
    assert other.rows() == rows
    newer = row("a", left=120, strikes=4, updated=NOW + 1)
    other.put(newer)
    assert one.rows() == [newer, rows[1]]


def test_news_is_what_anybody_wrote_since_the_last_look(store: Make) -> None:
    one, other = store(), store()
    assert one.news() == []
    other.put(row())
    assert one.news() == [row()]
    assert one.news() == []
    other.put(row(strikes=2))
    assert [each.strikes for each in one.news()] == [2]
    one.put(row(left=-NOW, strikes=0))
    assert [each.until for each in other.news()] == [0.0]


def test_a_command_reads_them_beside_the_gateway(store: Make, path: Path) -> None:
    store().put(row())
    with closing(database.connect_known(path, busy=1.0)) as connection:
        assert cooldowns.stored(connection) == [row()]


def test_what_is_over_or_absurd_or_too_much_goes(store: Make, path: Path, wall: Clock, monkeypatch: Any) -> None:
    monkeypatch.setattr(cooldowns, "MAX_ROWS", 3)
    made = store()
    made.put(row("a", "over", -2 * DAY, updated=NOW - 3 * DAY))
    made.put(row("a", "absurd", 400 * DAY))
    made.put(row("a", "taken back", -NOW, updated=NOW - 2 * DAY))
    for number in range(5):
        made.put(row("b", str(number), updated=NOW + number))
    with closing(database.connect_known(path, busy=1.0)) as connection:
        for _ in range(3):
            made.prune(connection)
    assert {each.scope for each in made.rows()} == {"2", "3", "4"}


@pytest.mark.parametrize("damage", ["DROP TABLE cooldowns", "UPDATE cooldowns SET until = 'soon', scope = 3"])
def test_a_table_that_cannot_be_read_is_as_if_nobody_rested(store: Make, path: Path, damage: str) -> None:
    made = store()
    made.put(row())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(damage)
        connection.commit()
    assert made.rows() == []
    made.put(row("b"))
    assert made.news() in ([], [row("b")])


def test_a_locked_database_holds_nobody_up(store: Make, path: Path) -> None:
    made = store()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        pool = bench("a", "b", memory=made)
        pool.of("a", LIMITED)
        assert pool.ask() == "b"
        other.execute("ROLLBACK")


# -- over a restart ----------------------------------------------------------------------------------------------------


def restarted(store: Make, *records: Record | str, seconds: float = 0.0, **options: Any) -> Bench:
    """The same credentials in a new process, some time later; its monotonic clock begins anew."""
    made = worker(store, *records, now=NOW + seconds, **options)
    assert made.clock.now == 1000.0
    return made


def test_a_restart_keeps_cool_downs(store: Make) -> None:
    before = worker(store)
    before.of("a", LIMITED)
    before.of("b", SPENT, "other")
    after = restarted(store, seconds=100)
    assert {after.ask() for _ in range(3)} == {"b"}
    assert {after.ask(None, "other") for _ in range(3)} == {"a"}
    (cool,) = after.view("a").cooling
    assert (cool.scope, cool.why, cool.message, cool.until) == (MODEL, "limited", "You exceeded it.", NOW + 600)
    (cool,) = after.view("b").cooling
    assert (cool.why, cool.reason, cool.until) == ("spent", "QUOTA_EXHAUSTED", pytest.approx(NOW + 5 * DAY))
    after.later(501)
    assert {after.ask() for _ in range(4)} == {"a", "b"}


def test_a_restart_keeps_how_often_it_failed(store: Make) -> None:
    before = worker(store)
    for _ in range(3):
        before.of("a", REFUSED)
        before.later(200)
    after = restarted(store, seconds=600)
    assert after.view("a").words == "ready"
    after.of("a", REFUSED)
    assert after.view("a").cooling[0].until - after.wall.now == 240, "the fourth time, not the first"


def test_who_served_starts_clean(store: Make) -> None:
    before = worker(store)
    before.of("a", LIMITED)
    before.later(601)
    before.of("a", None)
    after = restarted(store, seconds=602)
    assert after.view("a").words == "ready"
    after.of("a", Fault(Kind.RATE_LIMITED, "x"))
    assert after.view("a").cooling[0].until - after.wall.now == 2


@pytest.mark.parametrize(
    ("fault", "jump", "left"),
    [
        (LIMITED, -DAY, 600),  # the clock was a day ahead: no longer than it was named
        (SPENT, -DAY, 5 * DAY),
        (SPENT, 4 * DAY, DAY),
        (LIMITED, DAY, 0),
        (SPENT, 400 * DAY, 0),
    ],
)
def test_a_wall_clock_that_jumped(store: Make, fault: Fault, jump: float, left: float) -> None:
    worker(store).of("a", fault)
    after = restarted(store, seconds=jump)
    cooling = after.view("a").cooling
    assert (cooling[0].until - after.wall.now if cooling else 0.0) == pytest.approx(left)


@pytest.mark.parametrize(
    ("stored", "left"),
    [
        (row(left=10 * 3600, reason="limited : x", updated=NOW - 3600), 6 * 3600),
        (row(left=10 * 3600, reason="spent X: x"), 10 * 3600),
        (row(left=40 * DAY, reason="spent X: x"), 0),
        (row(left=float("nan"), reason="spent X: x"), 0),
        (row(left=60, reason=""), 60),
        (row(left=60, strikes=-5), 60),
        (row(left=60, updated=NOW + 1000), 0),  # it never lasted
    ],
)
def test_rows_that_cannot_be_true(stored: CoolDown, left: float) -> None:
    pool = bench("a", "b")
    pool.pool.merge([stored._replace(credential=memory_key(record("a"))), row("somebody else")])
    cooling = pool.view("a").cooling
    assert (cooling[0].until - NOW if cooling else 0.0) == pytest.approx(left)


def test_another_key_in_the_same_place_is_another_credential(store: Make) -> None:
    before = worker(store, record("gemini-1", secret={"key": "old"}), "b")
    before.of("gemini-1", SPENT)
    after = restarted(store, record("gemini-1", secret={"key": "new"}), "b")
    assert after.view("gemini-1").words == "ready"
    assert {each.credential for each in store().rows()} == {memory_key(record("gemini-1", secret={"key": "old"}))}
    assert "old" not in memory_key(record("x", secret={"key": "old"}))


BANNED = Fault(Kind.CREDENTIAL, "Disabled for violation of terms.", reason="TOS_VIOLATION", upstream_status=403)


def test_a_closed_account_of_the_configuration_stays_closed(store: Make) -> None:
    before, beside = worker(store), worker(store)
    before.of("a", BANNED)
    beside.pool.merge(store().rows())
    after = restarted(store, seconds=20 * DAY)
    for pool in (beside, after):
        view = pool.view("a")
        assert (view.words, view.message) == ("disabled by terms", BANNED.message)
        assert pool.pool.pick(MODEL, ["b"]) is None
    assert restarted(store, record("a", secret={"key": "another"}), "b").view("a").words == "ready"


def test_a_closed_account_of_the_store_is_as_its_state_says(store: Make) -> None:
    worker(store, record("a", stored=True), "b").of("a", BANNED)
    again = restarted(store, record("a", stored=True, secret={"key": "new login"}), "b")
    assert again.view("a").words == "ready"
    closed = restarted(store, record("a", stored=True, state=State.DISABLED_BY_TERMS), "b")
    assert closed.view("a").words == "disabled by terms"


def test_an_account_of_the_store_keeps_its_cool_downs_with_a_new_login(store: Make) -> None:
    before = worker(store, record("antigravity-1", stored=True, secret={"key": "1"}), "b")
    before.of("antigravity-1", SPENT)
    after = restarted(store, record("antigravity-1", stored=True, secret={"key": "2"}), "b")
    assert after.view("antigravity-1").cooling


def test_nothing_is_kept_or_used_with_cool_downs_off(store: Make) -> None:
    worker(store, cooldown=False).of("a", LIMITED)
    assert store().rows() == []
    worker(store).of("a", LIMITED)
    off = worker(store, cooldown=False)
    off.pool.merge(store().rows())
    assert {off.ask() for _ in range(4)} == {"a", "b"}


# -- other workers -----------------------------------------------------------------------------------------------------


def test_another_worker_sees_it_at_its_next_look(store: Make) -> None:
    mine, its = store(), store()
    one, other = bench("a", "b", memory=mine), bench("a", "b", memory=its)
    one.of("a", LIMITED)
    other.pool.merge(its.news())
    assert {other.ask() for _ in range(3)} == {"b"}
    other.later(10)
    other.of("a", None)  # it was asked all the same, and served
    one.later(11)
    one.pool.merge(mine.news())
    assert one.view("a").words == "ready"


def test_what_is_known_here_and_newer_stays(store: Make) -> None:
    pool = bench("a", "b")
    key = memory_key(record("a"))
    pool.later(50)
    pool.of("a", LIMITED)
    pool.pool.merge([row(key, left=5)])
    pool.pool.merge([row(key, left=-NOW, strikes=0)])
    assert pool.view("a").cooling[0].until == NOW + 650
    pool.pool.merge([row(key, left=-NOW, strikes=0, updated=NOW + 51)])
    assert not pool.view("a").cooling


def test_a_storm_of_failures_is_one_row_and_few_writes() -> None:
    written = []

    class Counting:
        def rows(self) -> list[CoolDown]:
            return []

        def put(self, each: CoolDown) -> None:
            written.append(each)

    pool = bench("a", "b", memory=Counting())
    leases = [pool.lease(MODEL, "b") for _ in range(200)]
    for lease in leases:
        lease.release(LIMITED)
        pool.later(0.001)
    assert len(written) == 1


def test_no_secret_is_written(store: Make, path: Path) -> None:
    pool = worker(store, record("a", secret={"key": "top-secret-value"}))
    pool.of("a", REFUSED)
    pool.of("a", Fault(Kind.CREDENTIAL, "Verify.", reason="VALIDATION_REQUIRED"))
    assert pool.view("a").state is State.NEEDS_VERIFICATION
    files = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert b"API_KEY_INVALID" in files
    assert b"top-secret-value" not in files

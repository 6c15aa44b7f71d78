"""The pool serves while anything can serve, and nobody is benched for good."""

from __future__ import annotations

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.call import Credential
from antigravity2api.pool import Pool, RetryBudget


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(count: int, *, cooldown: bool = True) -> tuple[Pool, Clock]:
    clock = Clock()
    return Pool([Credential(f"k{i}", f"secret{i}") for i in range(count)], clock=clock, cooldown=cooldown), clock


def served(pool: Pool, model: str = "m") -> str:
    lease = pool.pick(model)
    assert lease is not None
    lease.release(None)
    return lease.credential.id


def fail(pool: Pool, fault: Fault, model: str = "m") -> str:
    lease = pool.pick(model)
    assert lease is not None
    lease.release(fault)
    return lease.credential.id


def test_credentials_take_turns() -> None:
    pool, _ = make(3)
    assert [served(pool) for _ in range(6)] == ["k0", "k1", "k2", "k0", "k1", "k2"]


def test_a_quota_bench_is_per_model_and_ends() -> None:
    pool, clock = make(2)
    assert fail(pool, Fault(Kind.RATE_LIMITED, "quota", retry_after=30)) == "k0"
    assert [served(pool) for _ in range(3)] == ["k1", "k1", "k1"]
    assert {served(pool, "other") for _ in range(2)} == {"k0", "k1"}
    clock.now += 31
    assert {served(pool) for _ in range(2)} == {"k0", "k1"}


def test_a_refused_key_is_benched_for_every_model_and_longer_each_time() -> None:
    pool, clock = make(2)
    assert fail(pool, Fault(Kind.CREDENTIAL, "no")) == "k0"
    assert served(pool, "a") == served(pool, "b") == "k1"
    clock.now += 31
    while (lease := pool.pick("m")) is not None and lease.credential.id != "k0":
        lease.release(None)
    assert lease is not None
    lease.release(Fault(Kind.CREDENTIAL, "still no"))
    clock.now += 31
    assert {served(pool) for _ in range(4)} == {"k1"}


def test_the_only_credential_is_always_asked() -> None:
    pool, _ = make(1)
    fail(pool, Fault(Kind.CREDENTIAL, "no"))
    fail(pool, Fault(Kind.RATE_LIMITED, "quota", retry_after=3600))
    assert served(pool) == "k0"


def test_when_all_are_benched_the_first_to_come_back_is_asked() -> None:
    pool, _ = make(2)
    fail(pool, Fault(Kind.RATE_LIMITED, "quota", retry_after=100))
    fail(pool, Fault(Kind.RATE_LIMITED, "quota", retry_after=50))
    assert pool.free_in("m") == 50
    assert served(pool) == "k1"


def test_tried_credentials_are_left_out() -> None:
    pool, _ = make(2)
    assert pool.pick("m", {"k0", "k1"}) is None
    lease = pool.pick("m", {"k0"})
    assert lease is not None and lease.credential.id == "k1"


def test_without_cooldown_nothing_is_learned() -> None:
    pool, _ = make(2, cooldown=False)
    fail(pool, Fault(Kind.RATE_LIMITED, "quota", retry_after=100))
    assert [served(pool) for _ in range(2)] == ["k1", "k0"]


def test_other_failures_bench_nobody() -> None:
    pool, _ = make(2)
    for kind in (Kind.UPSTREAM_ERROR, Kind.OVERLOADED, Kind.INVALID_REQUEST, Kind.EMPTY):
        fail(pool, Fault(kind, "x"))
    assert pool.free_in("m") == 0


def test_a_lease_counts_once() -> None:
    pool, _ = make(1)
    lease = pool.pick("m")
    assert lease is not None
    lease.release(None)
    lease.release(Fault(Kind.CREDENTIAL, "late"))
    assert pool.free_in("m") == 0


def test_a_secret_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Credential("k", "top-secret-value")).replace("secret=", "")


def test_the_retry_budget_allows_ten_a_second_and_a_fifth_of_the_requests() -> None:
    clock = Clock()
    budget = RetryBudget(clock=clock)
    assert sum(budget.spend() for _ in range(50)) == 10
    for _ in range(25):
        budget.earn()
    assert sum(budget.spend() for _ in range(50)) == 5
    clock.now += 0.5
    assert sum(budget.spend() for _ in range(50)) == 5

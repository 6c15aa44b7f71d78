"""The pool serves while anything can serve, nobody rests for good, and leases count once."""

from __future__ import annotations

from antigravity2api.credentials import Sort, State
from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.call import Credential
from antigravity2api.pool import RetryBudget, static_ready
from fakes.pools import MODEL, Clock, Notebook, bench, record

QUOTA = Fault(Kind.RATE_LIMITED, "slow down", retry_after=30)
REFUSED = Fault(Kind.CREDENTIAL, "no", reason="API_KEY_INVALID", upstream_status=400)


def test_credentials_take_turns() -> None:
    pool = bench("a", "b", "c")
    assert [pool.ask() for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_a_rest_is_for_one_model_and_ends() -> None:
    pool = bench("a", "b")
    assert pool.ask(QUOTA) == "a"
    assert [pool.ask() for _ in range(3)] == ["b", "b", "b"]
    assert {pool.ask(None, "other") for _ in range(2)} == {"a", "b"}
    pool.later(31)
    assert {pool.ask() for _ in range(2)} == {"a", "b"}


def test_a_rest_is_for_the_whole_quota_group() -> None:
    pool = bench("a", "b", quota_group=lambda model: model.partition("-")[0])
    pool.ask(QUOTA, "gemini-3-pro")
    assert {pool.ask(None, "gemini-3-flash") for _ in range(3)} == {"b"}
    assert {pool.ask(None, "claude-opus") for _ in range(2)} == {"a", "b"}


def test_a_refused_key_rests_for_every_model_and_longer_each_time() -> None:
    pool = bench("a", "b")
    pool.of("a", REFUSED)
    assert pool.ask(None, "one") == pool.ask(None, "two") == "b"
    pool.later(31)
    pool.of("a", REFUSED)
    pool.later(31)
    assert {pool.ask() for _ in range(4)} == {"b"}
    pool.later(30)
    assert {pool.ask() for _ in range(4)} == {"a", "b"}


def test_the_only_credential_is_always_asked() -> None:
    pool = bench("a")
    for fault in (REFUSED, QUOTA, Fault(Kind.CREDENTIAL, "no", reason="invalid_grant", upstream_status=403)):
        pool.ask(fault)
    assert pool.ask() == "a"


def test_when_all_rest_the_first_to_come_back_is_asked() -> None:
    pool = bench("a", "b")
    pool.of("a", Fault(Kind.RATE_LIMITED, "quota", retry_after=100))
    pool.of("b", Fault(Kind.RATE_LIMITED, "quota", retry_after=50))
    assert pool.pool.free_in(MODEL) == 50
    assert pool.ask() == "b"


def test_tried_credentials_are_left_out() -> None:
    pool = bench("a", "b")
    assert pool.pool.pick(MODEL, {"a", "b"}) is None
    assert pool.ask(None, MODEL, "a") == "b"
    alone = bench("a")
    assert alone.pool.pick(MODEL, ["a"]) is None
    assert alone.ask(None, MODEL, "a", again=True) == "a"


def test_a_failure_that_was_not_the_credentials_asks_it_again_rather_than_one_that_rests() -> None:
    pool = bench("a", "b", "c")
    pool.of("b", QUOTA)
    assert pool.ask(None, MODEL, "a", again=True) == "c", "an untried one that is free comes first"
    pool.of("c", QUOTA)
    assert pool.ask(None, MODEL, "a", again=True) == "a"
    assert pool.ask(None, MODEL, "a") in {"b", "c"}
    assert pool.ask(None, MODEL, "a", "b", "c", again=True) == "a"


def test_without_cooldown_nothing_is_learned() -> None:
    pool = bench("a", "b", cooldown=False)
    pool.ask(QUOTA)
    pool.ask(Fault(Kind.CREDENTIAL, "login", reason="invalid_grant"))
    assert [pool.ask() for _ in range(2)] == ["a", "b"]
    assert pool.states == []


def test_a_closed_account_is_closed_without_cooldown_too() -> None:
    pool = bench("a", "b", cooldown=False)
    pool.of("a", Fault(Kind.CREDENTIAL, "closed", reason="TOS_VIOLATION"))
    assert [pool.ask() for _ in range(3)] == ["b", "b", "b"]
    assert pool.states == [("a", State.DISABLED_BY_TERMS, "closed", "")]


def test_a_closed_account_stays_closed_after_a_restart_without_cooldown_unless_it_is_another_one() -> None:
    memory = Notebook()
    pool = bench("a", "b", "c", cooldown=False, memory=memory)
    pool.of("a", Fault(Kind.CREDENTIAL, "closed", reason="TOS_VIOLATION"))
    pool.of("b", QUOTA)
    pool.of("b", REFUSED)
    again = bench("a", "b", cooldown=False, memory=memory)
    assert [again.ask() for _ in range(3)] == ["b", "b", "b"]
    assert again.view("a").state is State.DISABLED_BY_TERMS
    assert again.view("a").message == "closed"
    other = bench(record("a", secret={"key": "another"}), "b", cooldown=False, memory=memory)
    assert [other.ask() for _ in range(2)] == ["a", "b"]


def test_without_cooldown_no_rest_of_an_earlier_process_counts() -> None:
    memory = Notebook()
    bench("a", "b", memory=memory).of("a", QUOTA)
    assert len(memory.kept) == 1
    again = bench("a", "b", cooldown=False, memory=memory)
    assert [again.ask() for _ in range(4)] == ["a", "b", "a", "b"]


def test_a_server_in_trouble_lets_nobody_rest() -> None:
    pool = bench("a", "b")
    for kind in Kind:
        if kind not in (Kind.CREDENTIAL, Kind.RATE_LIMITED):
            pool.ask(Fault(kind, "x", retry_after=60))
    assert pool.pool.free_in(MODEL) == 0
    assert not any(view.cooling for view in pool.pool.views())


def test_a_lease_counts_once() -> None:
    pool = bench("a")
    lease = pool.lease()
    assert pool.view("a").running == 1
    lease.release(None)
    lease.release(REFUSED)
    lease.drop()
    view = pool.view("a")
    assert (view.running, view.served, view.failed) == (0, 1, 0)
    assert pool.pool.free_in(MODEL) == 0


def test_a_dropped_lease_is_no_judgement() -> None:
    pool = bench("a")
    pool.ask(REFUSED)
    pool.lease().drop()
    view = pool.view("a")
    assert (view.running, view.served, view.failed) == (0, 0, 1)
    assert view.cooling


def test_the_clients_own_mistakes_are_nobodys_failure() -> None:
    pool = bench("a")
    pool.ask(Fault(Kind.INVALID_REQUEST, "x"))
    pool.ask(Fault(Kind.UPSTREAM_ERROR, "x"))
    assert pool.view("a").failed == 1


def test_a_token_that_has_to_be_fetched_is_put_into_the_lease() -> None:
    asked = []

    def ready(of):
        asked.append(of.id)

    pool = bench(record("a", sort=Sort.OAUTH_USER, secret={"refresh_token": "r"}), ready=ready)
    lease = pool.lease()
    assert lease.credential is None
    assert lease.record.id == "a"
    lease.credential = Credential("a", "fetched")
    lease.release(None)
    assert asked == ["a"]


def test_a_key_needs_no_asking() -> None:
    pool = bench("a", ready=lambda of: Credential(of.id, of.secret["key"]))
    assert pool.lease().credential is pool.lease().credential


def test_static_credentials_carry_what_the_record_has() -> None:
    assert static_ready(record("a")) == Credential("a", "secret-a")
    token = record("t", sort=Sort.ACCESS_TOKEN, secret={"access_token": "x"}, project="p")
    assert static_ready(token) == Credential("t", "x", "p")
    assert static_ready(record("o", sort=Sort.OAUTH_USER, secret={"refresh_token": "r"})) is None


def test_an_empty_pool_says_why() -> None:
    pool = bench()
    assert pool.pool.pick(MODEL) is None
    assert len(pool.pool) == 0
    assert pool.pool.free_in(MODEL) == 0
    assert "No credential" in pool.pool.nobody().message
    off = bench(record("a", enabled=False))
    assert off.pool.pick(MODEL) is None
    assert "disabled" in off.pool.nobody().message
    closed = bench(record("a", state=State.DISABLED_BY_TERMS, message="Terms were broken."))
    fault = closed.pool.nobody()
    assert (fault.kind, fault.reason) == (Kind.CREDENTIAL, "TOS_VIOLATION")
    assert "Terms were broken." in fault.message


def test_a_secret_is_in_no_repr() -> None:
    pool = bench(record("k", secret={"key": "top-secret-value"}))
    lease = pool.lease()
    for shown in (lease.credential, lease.record, pool.pool.views(), pool.pool.explain(MODEL)):
        assert "top-secret" not in repr(shown)


def test_the_retry_budget_allows_ten_a_second_and_a_fifth_of_the_requests() -> None:
    clock = Clock(1000.0)
    budget = RetryBudget(clock=clock)
    assert sum(budget.spend() for _ in range(50)) == 10
    for _ in range(25):
        budget.earn()
    assert sum(budget.spend() for _ in range(50)) == 5
    clock.now += 0.5
    assert sum(budget.spend() for _ in range(50)) == 5

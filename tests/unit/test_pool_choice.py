"""Who is asked: priority, load, turns, affinity; and what of it holds whatever happens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.affinity import affinity_of, distance, mark
from antigravity2api.credentials import Record, Sort, State
from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.models import PERMISSIVE
from fakes.pools import MODEL, Bench, bench, record

QUOTA = Fault(Kind.RATE_LIMITED, "slow down", retry_after=60)
REFUSED = Fault(Kind.CREDENTIAL, "no", reason="API_KEY_INVALID", upstream_status=400)


def shares(pool: Bench, requests: int, **options: Any) -> Counter[str]:
    """Who serves so many requests, one after the other."""
    return Counter(pool.ask(None, MODEL, **options) for _ in range(requests))


# -- priority, weight, load --------------------------------------------------------------------------------------------


def test_a_better_priority_comes_first_and_those_of_one_share() -> None:
    pool = bench(record("late", priority=5), record("a", priority=1), record("b", priority=1))
    assert shares(pool, 4) == {"a": 2, "b": 2}
    pool.of("a", QUOTA)
    pool.of("b", QUOTA)
    assert shares(pool, 3) == {"late": 3}
    pool.later(61)
    pool.of("a", None)
    pool.of("b", None)
    assert "late" not in shares(pool, 4)


def test_weights_are_shares_of_the_requests() -> None:
    pool = bench(record("one", weight=1), record("three", weight=3))
    assert shares(pool, 40) == {"one": 10, "three": 30}


def test_who_has_less_to_do_is_asked() -> None:
    pool = bench(record("one", weight=1), record("three", weight=3))
    counted = Counter(pool.lease().record.id for _ in range(40))
    assert counted == {"one": 10, "three": 30}
    assert pool.view("three").running == 30


def test_one_that_was_away_does_not_get_everything_that_it_missed() -> None:
    pool = bench("a", "b")
    pool.of("a", QUOTA)
    assert shares(pool, 50) == {"b": 50}
    pool.later(61)
    assert shares(pool, 10) == {"a": 5, "b": 5}


def test_after_a_rest_one_request_finds_out_for_all() -> None:
    pool = bench("a", "b")
    pool.of("a", REFUSED)
    pool.later(31)
    leases = [pool.lease() for _ in range(6)]
    names = [lease.record.id for lease in leases]
    assert names.count("a") == 1
    leases[names.index("a")].release(None)
    assert pool.ask() == "a"


def test_another_attempt_goes_to_one_that_has_served_since_it_failed() -> None:
    pool = bench("bad", "worse", "good")
    for name in ("bad", "worse"):
        pool.of(name, REFUSED)
    pool.later(31)
    assert pool.ask(REFUSED, MODEL, "bad") == "good"


# -- affinity ----------------------------------------------------------------------------------------------------------


def home(pool: Bench, name: str) -> str:
    """Where a conversation belongs."""
    return pool.ask(None, MODEL, affinity=name)


def test_a_conversation_stays_with_its_credential() -> None:
    pool = bench(*"abcde")
    for name in map(str, range(20)):
        assert len({home(pool, name) for _ in range(5)}) == 1
    spread = Counter(home(pool, str(number)) for number in range(1000))
    assert min(spread.values()) > 140
    again = bench(*"edcba")
    assert all(home(pool, str(number)) == home(again, str(number)) for number in range(100))


def test_weights_are_shares_of_the_conversations() -> None:
    pool = bench(record("one", weight=1), record("four", weight=4))
    spread = Counter(home(pool, str(number)) for number in range(2000))
    assert spread["four"] == pytest.approx(1600, abs=80)


def test_a_conversation_escapes_from_who_rests_was_tried_or_needs_somebody() -> None:
    for trouble in (QUOTA, REFUSED, Fault(Kind.CREDENTIAL, "x", reason="VALIDATION_REQUIRED")):
        pool = bench(*"abc")
        first = home(pool, "chat")
        second = pool.ask(None, MODEL, first, affinity="chat")
        assert second != first
        pool.of(first, trouble)
        assert home(pool, "chat") == second
    pool.of(first, None)
    assert home(pool, "chat") == first, "and comes back"


def test_a_conversation_escapes_from_who_is_overloaded() -> None:
    pool = bench(*"abc")
    first = home(pool, "chat")
    held = [pool.lease(MODEL, affinity="chat") for _ in range(4)]
    names = [lease.record.id for lease in held]
    assert names[:3] == [first] * 3
    assert names[3] != first
    for lease in held:
        lease.release(None)
    assert home(pool, "chat") == first


def test_a_common_key_of_all_clients_does_not_pile_up_on_one() -> None:
    pool = bench(*"abcd")
    running = Counter(pool.lease(MODEL, affinity="everybody").record.id for _ in range(100))
    assert max(running.values()) < 50


def test_affinity_looks_at_the_best_priority_only() -> None:
    pool = bench(record("a", priority=1), record("b", priority=1), record("c", priority=2))
    assert "c" not in {home(pool, str(number)) for number in range(50)}


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=8, unique=True),
    keys=st.lists(st.text(max_size=12), min_size=1, max_size=10),
    data=st.data(),
)
def test_others_come_and_go_without_moving_a_conversation(
    names: list[str], keys: list[str], data: st.DataObject
) -> None:
    pool = bench(*names)
    homes = {key: home(pool, key) for key in keys}
    gone = data.draw(st.sampled_from(names))
    fewer = [record(name) for name in names if name != gone]
    pool.pool.update(fewer)
    for key, before in homes.items():
        if before != gone:
            assert home(pool, key) == before
    pool.pool.update([*fewer, record("new one of all"), record(gone)])
    for key, before in homes.items():
        assert home(pool, key) in (before, "new one of all")


def test_distances_are_the_same_everywhere() -> None:
    assert distance(mark("x"), mark("y"), 1.0) == 2 * distance(mark("x"), mark("y"), 0.5)
    assert distance(1, 1, 1.0) > 0


def a_call(affinity: str | None = None, *texts: str, system: str = "") -> Call:
    request: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": text}]} for text in texts]}
    if system:
        request["systemInstruction"] = {"parts": [{"text": system}]}
    return Call("chat", "chat", "m", "m", PERMISSIVE, request, stream=False, affinity=affinity)  # type: ignore[arg-type]


def test_what_names_a_conversation() -> None:
    said = a_call("user-7", "hi")
    assert affinity_of("  mine ", said) == "header mine"
    assert affinity_of(None, said) == affinity_of("   ", said) == "key user-7"
    plain = a_call(None, "hi", "more", system="You are.")
    assert affinity_of(None, plain) == affinity_of(None, a_call(None, "hi", system="You are."))
    assert affinity_of(None, plain) != affinity_of(None, a_call(None, "hello", system="You are."))
    assert affinity_of(None, plain) != affinity_of(None, a_call(None, "hi", system="You were."))
    assert affinity_of(None, a_call(None)) is None
    assert len(affinity_of("x" * 9000, plain) or "") < 600
    assert affinity_of("\ud800", plain) is not None and mark("\ud800")


# -- whatever happens --------------------------------------------------------------------------------------------------


def _limited(delay: float | None, reason: str) -> Fault:
    return Fault(Kind.RATE_LIMITED, "slow", retry_after=delay, reason=reason or None)


FAULTS = st.one_of(
    st.none(),
    st.builds(
        _limited,
        st.one_of(st.none(), st.floats(0, 1e7)),
        st.sampled_from(["", "QUOTA_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "RequestsPerDay"]),
    ),
    st.sampled_from(["API_KEY_INVALID", "invalid_grant", "VALIDATION_REQUIRED", "PROJECT_MISSING"]).map(
        lambda reason: Fault(Kind.CREDENTIAL, "no", reason=reason)
    ),
    st.sampled_from([Kind.OVERLOADED, Kind.EMPTY, Kind.INVALID_REQUEST]).map(lambda kind: Fault(kind, "x")),
)


@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(1, 5),
    steps=st.lists(st.tuples(FAULTS, st.floats(0, 4000), st.sampled_from(["m", "n"]), st.booleans()), max_size=30),
)
def test_an_untried_credential_is_always_found(count: int, steps: list[tuple[Fault | None, float, str, bool]]) -> None:
    names = [f"k{number}" for number in range(count)]
    pool = bench(*names)
    held = []
    for fault, seconds, model, hold in steps:
        tried: list[str] = []
        for _ in names:  # a request may ask each of them, in whatever state they are
            lease = pool.pool.pick(model, tried, "chat" if hold else None)
            assert lease is not None
            assert lease.credential is not None
            assert lease.record.id not in tried
            tried.append(lease.record.id)
            if hold:
                held.append(lease)
            else:
                lease.release(fault)
        assert pool.pool.pick(model, tried) is None
        assert pool.pool.pick(model) is not None
        assert len(pool.pool) == count
        assert 0 <= pool.pool.free_in(model) <= 31 * 86400
        assert [name for name, _ in pool.pool.explain(model)][:1] != []
        pool.later(seconds)
    for lease in held:
        lease.release(None)


@settings(max_examples=60, deadline=None)
@given(faults=st.lists(FAULTS, min_size=1, max_size=30))
def test_the_only_credential_is_asked_whatever_it_answered(faults: list[Fault | None]) -> None:
    pool = bench("a")
    for fault in faults:
        assert pool.ask(fault) == "a"


@settings(max_examples=60, deadline=None)
@given(bad=st.lists(FAULTS.filter(lambda fault: fault is not None), min_size=4, max_size=4), turns=st.integers(5, 30))
def test_one_that_works_serves_for_all(bad: list[Fault], turns: int) -> None:
    pool = bench(*"abcde")
    outcome = dict(zip("abcd", bad, strict=True)) | {"e": None}
    for turn in range(turns):
        tried: list[str] = []
        while True:
            name = pool.lease(MODEL, *tried)
            fault = outcome[name.record.id]
            name.release(fault)
            tried.append(name.record.id)
            if fault is None:
                break
        teaching = [fault for fault in bad if fault.kind in (Kind.CREDENTIAL, Kind.RATE_LIMITED)]
        if turn > 4 and len(teaching) == len(bad):
            assert len(tried) <= 2, "who failed is known: one may be tried again after its rest, then the good one"
        pool.later(40)


# -- worth another attempt ---------------------------------------------------------------------------------------------


def test_another_attempt_is_worth_it_where_it_could_go_better() -> None:
    pool = bench("a", "b", "c")
    assert pool.pool.worth(MODEL, ["a"])
    pool.of("b", QUOTA)
    pool.of("c", Fault(Kind.RATE_LIMITED, "gone", reason="QUOTA_EXHAUSTED"))
    assert not pool.pool.worth(MODEL, ["a"]), "both would only say it again"
    assert pool.pool.worth(MODEL, [])
    assert pool.pool.worth("other", ["a"])
    pool.later(61)
    assert pool.pool.worth(MODEL, ["a"])
    pool.of("b", REFUSED)
    assert pool.pool.worth(MODEL, ["a"]), "it may have been mended"
    assert not pool.pool.worth(MODEL, ["a", "b", "c"])


# -- changes while it runs ---------------------------------------------------------------------------------------------


def names(pool: Bench) -> set[str]:
    return {pool.ask() for _ in range(6)}


def test_a_reload_keeps_the_health_of_who_stays() -> None:
    pool = bench("a", "b")
    pool.of("a", QUOTA)
    pool.pool.update([record("a", label="renamed"), record("b"), record("c")])
    assert names(pool) == {"b", "c"}
    assert pool.view("a").label == "renamed"
    assert pool.view("a").cooling


def test_who_was_removed_or_switched_off_is_not_asked() -> None:
    pool = bench("a", "b", "c")
    lease = pool.lease(MODEL, "b", "c")
    pool.pool.update([record("b"), record("c", enabled=False)])
    assert names(pool) == {"b"}
    assert pool.view("c").words == "disabled by the operator"
    lease.release(Fault(Kind.CREDENTIAL, "x", reason="invalid_grant"))
    assert pool.states == [], "what is gone has no state"
    pool.pool.update([])
    assert pool.pool.pick(MODEL) is None


@pytest.mark.parametrize(
    ("changes", "mended"),
    [({"secret": {"key": "new"}}, True), ({"project": "p"}, True), ({"label": "x"}, False), ({"weight": 3}, False)],
)
def test_a_new_secret_begins_anew(changes: dict[str, Any], mended: bool) -> None:
    pool = bench("a", "b")
    pool.of("a", REFUSED)
    pool.of("a", QUOTA, "other")
    pool.pool.update([record("a", **changes), record("b")])
    assert ("a" in names(pool)) is mended
    assert {pool.ask(None, "other") for _ in range(4)} == {"b"}, "a quota is the account's"
    if "secret" in changes:
        assert pool.lease(MODEL, "b").credential.secret == "new"  # type: ignore[union-attr]


def test_an_access_token_that_was_renewed_is_no_new_secret() -> None:
    def account(token: str, refresh: str = "r") -> Record:
        return record("a", sort=Sort.OAUTH_USER, secret={"refresh_token": refresh, "access_token": token})

    pool = bench(account("1"), "b")
    pool.of("a", Fault(Kind.CREDENTIAL, "revoked", reason="invalid_grant"))
    pool.pool.update([account("2"), record("b")])
    assert pool.view("a").state is State.NEEDS_LOGIN
    pool.pool.update([account("3", refresh="another"), record("b")])
    assert pool.view("a").words == "ready"


def test_who_is_in_no_trouble_is_spare() -> None:
    pool = bench("a", "b")
    assert pool.pool.spare(MODEL)
    assert not pool.pool.spare(MODEL, ["a", "b"])
    pool.of("a", QUOTA)
    assert not pool.pool.spare(MODEL, ["b"])
    assert pool.pool.spare("other", ["b"]), "a quota is for its models"
    pool.later(7 * 3600)
    assert not pool.pool.spare(MODEL, ["b"]), "a rest that is over proves nothing yet"
    pool.of("a", None)
    assert pool.pool.spare(MODEL, ["b"])


def test_what_the_gateway_writes_down_itself_is_nothing_new() -> None:
    def account(project: str | None, *, refresh: str = "r", login: str = "1", unverified: bool = True) -> Record:
        secret = {"refresh_token": refresh, "login": login} | ({"project_unverified": True} if unverified else {})
        return record("a", upstream="antigravity", sort=Sort.OAUTH_USER, secret=secret, project=project)

    pool = bench(account("made-up"), "b")
    pool.of("a", Fault(Kind.CREDENTIAL, "Closed.", reason="TOS_VIOLATION"))
    pool.pool.update([account("found", refresh="rotated", unverified=False), record("b")])
    assert pool.view("a").state is State.DISABLED_BY_TERMS
    pool.pool.update([account("by-a-person", refresh="rotated"), record("b")])
    assert pool.view("a").words == "ready"
    pool.of("a", Fault(Kind.CREDENTIAL, "revoked", reason="invalid_grant"))
    pool.pool.update([account("by-a-person", refresh="another", login="2"), record("b")])
    assert pool.view("a").words == "ready"


def test_a_state_that_somebody_stored_counts() -> None:
    pool = bench("a", "b")
    pool.pool.update([record("a", state=State.NEEDS_VERIFICATION, message="Verify.", link="https://x"), record("b")])
    view = pool.view("a")
    assert (view.words, view.message, view.link) == ("needs verification", "Verify.", "https://x")
    assert names(pool) == {"b"}
    pool.pool.update([record("a"), record("b")])
    assert names(pool) == {"a", "b"}
    assert pool.states == [], "it is no news"


def test_a_state_that_is_not_stored_yet_survives_a_reload() -> None:
    pool = bench("a", "b")
    pool.of("a", Fault(Kind.CREDENTIAL, "Verify.", reason="VALIDATION_REQUIRED"))
    pool.pool.update([record("a", label="x"), record("b")])
    assert pool.view("a").state is State.NEEDS_VERIFICATION
    pool.pool.update([record("a", label="x", state=State.NEEDS_VERIFICATION, message="Verify."), record("b")])
    assert pool.view("a").message == "Verify."


def test_switching_on_again_forgives() -> None:
    pool = bench("a", "b")
    pool.of("a", REFUSED)
    pool.pool.update([record("a", enabled=False), record("b")])
    pool.pool.update([record("a"), record("b")])
    assert names(pool) == {"a", "b"}


# -- for people --------------------------------------------------------------------------------------------------------


def test_explain_says_who_would_serve_and_why_not_the_others() -> None:
    pool = bench(
        record("off", enabled=False),
        record("banned", state=State.DISABLED_BY_TERMS, message="Terms."),
        record("login", state=State.NEEDS_LOGIN, message="Revoked."),
        "cooling",
        record("second", priority=2),
        "first",
    )
    pool.of("cooling", Fault(Kind.RATE_LIMITED, "You exceeded it.", retry_after=60))
    told = pool.pool.explain(MODEL)
    assert [name for name, _ in told] == ["first", "second", "cooling", "login", "off", "banned"]
    words = dict(told)
    assert words["first"] == "would serve"
    assert words["second"] == "ready, priority 2"
    assert words["cooling"] == "cooling until 2026-11-18 11:07:40Z (rate limit): You exceeded it."
    assert words["login"] == "needs login: Revoked."
    assert words["off"] == "disabled by the operator"
    assert words["banned"] == "disabled by terms: Terms."
    assert dict(pool.pool.explain("other"))["cooling"].startswith(("would serve", "ready"))


def test_explain_is_a_dry_run() -> None:
    pool = bench("a", "b")
    assert pool.pool.explain(MODEL) == pool.pool.explain(MODEL)
    assert pool.pool.explain(MODEL)[0][0] == pool.ask()


def test_explain_when_nothing_is_well() -> None:
    pool = bench("a")
    pool.ask(Fault(Kind.RATE_LIMITED, "gone", reason="QUOTA_EXHAUSTED"))
    ((name, words),) = pool.pool.explain(MODEL)
    assert name == "a"
    assert words.startswith("would be asked all the same, nothing better is left: cooling until")
    assert words.endswith("(quota used up): gone")


def test_views_tell_what_rests() -> None:
    pool = bench("a")
    pool.ask(QUOTA, "one")
    pool.ask(Fault(Kind.RATE_LIMITED, "gone", reason="QUOTA_EXHAUSTED"), "two")
    view = pool.view("a")
    assert view.words == "cooling until 2026-11-18 11:11:40Z for two and 1 more (quota used up)"
    assert {cool.scope for cool in view.cooling} == {"one", "two"}
    assert (view.upstream, view.served, view.failed) == ("gemini", 0, 2)

"""Every row of the error tables: what it teaches about the credential, for how long, and what a person reads."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from antigravity2api import cooling
from antigravity2api.credentials import State
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.upstreams.antigravity import Antigravity, quota_group
from antigravity2api.upstreams.base import Address
from antigravity2api.upstreams.errors import classify
from fakes.pools import MODEL, NOW, Bench, bench

DAY = 86400.0
PACIFIC = ZoneInfo("America/Los_Angeles")
TO_MIDNIGHT = datetime.fromtimestamp(NOW, PACIFIC).replace(hour=0, minute=0, second=0).timestamp() + DAY - NOW
CLOUD = "cloudcode-pa.googleapis.com"


def detail(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


def info(reason: str, **metadata: str) -> dict[str, Any]:
    return detail("ErrorInfo", reason=reason, domain=CLOUD, metadata=metadata)


def wait(text: str) -> dict[str, Any]:
    return detail("RetryInfo", retryDelay=text)


def quota(identity: str) -> dict[str, Any]:
    return detail("QuotaFailure", violations=[{"quotaId": identity}])


def body(status: int, message: str, *details: Any, word: str = "") -> bytes:
    return orjson.dumps({"error": {"code": status, "message": message, "status": word, "details": list(details)}})


def gemini(status: int, message: str, *details: Any, word: str = "") -> Fault:
    return classify(status, {}, body(status, message, *details, word=word))


def cloud(status: int, message: str, *details: Any, headers: dict[str, str] | None = None) -> Fault:
    upstream = Antigravity(Address("cloudcode-pa.googleapis.com", 443, tls=True))
    return upstream.classify(status, headers or {}, body(status, message, *details))


def classify_page(status: int, page: bytes) -> Fault:
    return Antigravity(Address("cloudcode-pa.googleapis.com", 443, tls=True)).classify(status, {}, page)


def rest(fault: Fault, name: str = "a", model: str = MODEL) -> tuple[Bench, Any]:
    """A pool of two whose first credential met the fault, and its rest if it has one."""
    pool = bench("a", "b", quota_group=quota_group)
    pool.of(name, fault, model)
    cool = pool.view(name).cooling
    return pool, cool[0] if cool else None


DATE = format_datetime(datetime.fromtimestamp(NOW, UTC), usegmt=True)
RESET_AT = datetime.fromtimestamp(NOW + 7 * DAY, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
LIMITS = {
    # what Gemini's own clients make of a 429
    "no quota at all": (gemini(429, "Quota exceeded, limit: 0", wait("24s")), "spent", 300),
    "a day's quota": (
        gemini(429, "q", quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), wait("9s")),
        "spent",
        TO_MIDNIGHT,
    ),
    "a day's quota, named otherwise": (gemini(429, "q", quota("DailyTokens")), "spent", TO_MIDNIGHT),
    "a minute's quota": (gemini(429, "q", quota("GenerateRequestsPerMinutePerProjectPerModel")), "limited", 60),
    "a minute's quota with a delay": (gemini(429, "q", quota("RequestsPerMinute"), wait("34.07s")), "limited", 34.07),
    "a delay": (gemini(429, "q", wait("900ms")), "limited", 0.9),
    "a delay in words": (gemini(429, "You exceeded your quota. Please retry in 12.5s."), "limited", 12.5),
    "nothing": (
        gemini(429, "Resource has been exhausted (e.g. check quota).", word="RESOURCE_EXHAUSTED"),
        "backoff",
        2,
    ),
    "a page": (classify(429, {}, b"<html><title>Sorry: automated queries</title></html>"), "backoff", 2),
    "a header that names a month": (classify(429, {"retry-after": "2592000"}, b""), "limited", 6 * 3600),
    # Cloud Code Assist
    "a short limit": (
        cloud(429, "exhausted your capacity", info("RATE_LIMIT_EXCEEDED", quotaResetDelay="479.4ms")),
        "limited",
        0.4794,
    ),
    "a longer limit": (cloud(429, "exhausted", info("RATE_LIMIT_EXCEEDED", quotaResetDelay="4m")), "limited", 240),
    "a limit of hours": (
        cloud(429, "exhausted", info("RATE_LIMIT_EXCEEDED", quotaResetDelay="1h43m56s")),
        "spent",
        6236,
    ),
    "a limit of days": (
        cloud(429, "Resets in 108h48m29s", info("QUOTA_EXHAUSTED", quotaResetDelay="108h48m29s"), wait("391709s")),
        "spent",
        391709,
    ),
    "a reset longer than the delay": (
        cloud(429, "q", info("QUOTA_EXHAUSTED", quotaResetDelay="2h"), wait("0.5s")),
        "spent",
        7200,
    ),
    "a reset as a time": (
        cloud(429, "q", info("QUOTA_EXHAUSTED", quotaResetTimeStamp=RESET_AT), headers={"date": DATE}),
        "spent",
        7 * DAY,
    ),
    "a reset as a time, from a server that does not tell its own": (
        cloud(429, "q", info("QUOTA_EXHAUSTED", quotaResetTimeStamp=RESET_AT)),
        "spent",
        7 * DAY,
    ),
    "a reset as a time that is over": (
        cloud(429, "q", info("QUOTA_EXHAUSTED", quotaResetTimeStamp="2020-01-01T00:00:00Z")),
        "spent",
        300,
    ),
    "a reset as a time that is none": (
        cloud(429, "q", info("QUOTA_EXHAUSTED", quotaResetTimeStamp="soon")),
        "spent",
        300,
    ),
    "a reset that is near": (cloud(429, "q", info("QUOTA_EXHAUSTED", quotaResetDelay="100s")), "spent", 100),
    "a quota without a reset": (cloud(429, "q", info("QUOTA_EXHAUSTED")), "spent", 300),
    "a limit without a delay": (cloud(429, "q", info("RATE_LIMIT_EXCEEDED")), "backoff", 2),
    "credits": (cloud(429, "q", info("INSUFFICIENT_G1_CREDITS_BALANCE")), "spent", 300),
    "an absurd reset": (cloud(429, "q", info("QUOTA_EXHAUSTED", quotaResetDelay="99999h")), "spent", 31 * DAY),
}


@pytest.mark.parametrize(("fault", "why", "seconds"), LIMITS.values(), ids=LIMITS)
def test_a_limit_lets_the_credential_rest_for_the_quota_group(fault: Fault, why: str, seconds: float) -> None:
    assert fault.kind is Kind.RATE_LIMITED
    pool, cool = rest(fault)
    assert (cool.scope, cool.why) == ("gemini-*", why)
    assert cool.until - NOW == pytest.approx(seconds, abs=0.01)
    assert pool.pool.free_in("gemini-3-pro") == 0, "the other one is free"
    assert {pool.ask() for _ in range(3)} == {"b"}
    assert {pool.ask(None, "claude-sonnet-4-5") for _ in range(2)} == {"a", "b"}
    assert pool.states == [], "a limit is no state"
    assert pool.view("a").state is State.READY
    assert pool.view("a").words.startswith("cooling until 2026-")


REFUSALS = {
    "a wrong key": gemini(400, "API key not valid. Please pass a valid API key.", info("API_KEY_INVALID")),
    "an expired key": gemini(400, "API key expired.", info("API_KEY_INVALID")),
    "a region": gemini(400, "User location is not supported for the API use.", word="FAILED_PRECONDITION"),
    "a token": gemini(401, "Request had invalid credentials.", word="UNAUTHENTICATED"),
    "a key's restriction": gemini(403, "Blocked.", info("API_KEY_IP_ADDRESS_BLOCKED"), word="PERMISSION_DENIED"),
    "a service that is off": gemini(403, "Enable it.", info("SERVICE_DISABLED"), word="PERMISSION_DENIED"),
    "a suspended consumer": gemini(403, "Suspended.", info("CONSUMER_SUSPENDED"), word="PERMISSION_DENIED"),
    "billing": gemini(403, "Billing.", info("BILLING_DISABLED"), word="PERMISSION_DENIED"),
    "no key": gemini(403, "Method doesn't allow unregistered callers.", word="PERMISSION_DENIED"),
    "a perimeter": cloud(403, "Request is prohibited.", info("SECURITY_POLICY_VIOLATED")),
    "terms that are to be accepted": cloud(403, "You must accept the Terms of Service before you use this API."),
    "a page of somebody on the way": classify_page(403, b"<html><h1>You don't have permission</h1></html>"),
    "a client": gemini(401, "The OAuth client was not found.", info("invalid_client")),
}


@pytest.mark.parametrize("fault", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_lets_the_credential_rest_for_everything_and_is_no_state(fault: Fault) -> None:
    assert fault.kind is Kind.CREDENTIAL
    pool, cool = rest(fault)
    assert (cool.scope, cool.why, cool.until - NOW) == ("", "refused", 30)
    assert {pool.ask(None, model) for model in ("gemini-3-pro", "claude-sonnet-4-5")} == {"b"}
    view = pool.view("a")
    assert (view.state, view.message) == (State.READY, fault.message)
    assert view.words.endswith("(refused)")
    assert pool.states == []
    pool.later(31)
    assert {pool.ask() for _ in range(2)} == {"a", "b"}, "nobody is shut out for good by one refusal"
    assert pool.view("a").words == "ready"


VERIFY = "https://accounts.google.com/signin/continue?plt=AKgnsbt"
APPEAL = "https://support.google.com/accounts/contact/appeal"
STATES = {
    "verification": (
        cloud(403, "Verify your account.", info("VALIDATION_REQUIRED", validation_link=VERIFY)),
        State.NEEDS_VERIFICATION,
        VERIFY,
        "needs verification",
    ),
    "verification, spelled otherwise": (
        cloud(403, "Verify.", info("VALIDATION_REQUIRED", validation_url=VERIFY)),
        State.NEEDS_VERIFICATION,
        VERIFY,
        "needs verification",
    ),
    "verification with help": (
        cloud(403, "Verify.", info("VALIDATION_REQUIRED"), detail("Help", links=[{"url": VERIFY}])),
        State.NEEDS_VERIFICATION,
        VERIFY,
        "needs verification",
    ),
    "a ban": (
        cloud(403, "Disabled for violation of Terms of Service.", info("X", appeal_url=APPEAL)),
        State.DISABLED_BY_TERMS,
        APPEAL,
        "disabled by terms",
    ),
    "a ban in words": (
        cloud(403, "This account was disabled for violating our Terms of Service."),
        State.DISABLED_BY_TERMS,
        "",
        "disabled by terms",
    ),
    "a project": (
        cloud(403, "The caller does not have permission on the project."),
        State.NO_PROJECT,
        "",
        "no project",
    ),
    "a project that is not theirs": (
        cloud(403, "Permission denied on resource project bold-owl-1.", info("CONSUMER_INVALID")),
        State.NO_PROJECT,
        "",
        "no project",
    ),
    "no project": (
        Fault(Kind.CREDENTIAL, "It has no project.", reason="PROJECT_MISSING"),
        State.NO_PROJECT,
        "",
        "no project",
    ),
    "no refresh token": (
        Fault(Kind.CREDENTIAL, "Log in again.", reason="CREDENTIAL_MALFORMED"),
        State.NEEDS_LOGIN,
        "",
        "needs login",
    ),
    "a login": (
        Fault(Kind.CREDENTIAL, "Token has been revoked.", reason="invalid_grant"),
        State.NEEDS_LOGIN,
        "",
        "needs login",
    ),
}


@pytest.mark.parametrize(("fault", "state", "link", "words"), STATES.values(), ids=STATES)
def test_what_a_person_has_to_mend_is_a_state(fault: Fault, state: State, link: str, words: str) -> None:
    pool, _ = rest(fault)
    assert pool.states == [("a", state, fault.message, link)]
    view = pool.view("a")
    assert (view.state, view.words, view.message, view.link) == (state, words, fault.message, link)
    assert fault.message
    pool.later(30 * DAY)
    assert {pool.ask() for _ in range(4)} == {"b"}, "time alone does not mend it"


@pytest.mark.parametrize(
    "fault", [fault for fault, state, *_ in STATES.values() if state is not State.DISABLED_BY_TERMS]
)
def test_who_needs_somebody_is_asked_when_nothing_else_is_left_and_heals_by_serving(fault: Fault) -> None:
    pool, _ = rest(fault)
    pool.of("b", gemini(429, "q", wait("60s")))
    assert pool.ask(gemini(503, "x")) == "b", "one that only rests comes first"
    assert pool.ask(None, MODEL, "b") == "a"
    assert pool.view("a").words == "ready"
    assert pool.states[1:] == [("a", State.READY, "", "")]
    assert pool.ask() == "a", "b rests still"


def test_a_closed_account_is_never_asked_again() -> None:
    fault = STATES["a ban"][0]
    assert fault.retry is Retry.OTHER_UPSTREAM, "no other account of the operator is tried for this request"
    pool, _ = rest(fault)
    assert pool.pool.pick(MODEL, ["b"]) is None
    assert len(pool.pool) == 1
    pool.pool.report("a", None)
    assert pool.view("a").state is State.DISABLED_BY_TERMS
    alone = bench("a")
    alone.ask(fault)
    assert alone.pool.pick(MODEL) is None
    assert "Terms of Service" in alone.pool.nobody().message


NEITHER = {
    "capacity": cloud(429, "No capacity available for model", info("MODEL_CAPACITY_EXHAUSTED"), wait("60s")),
    "capacity, spelled otherwise": cloud(503, "No capacity", info("MODEL_CAPACITY_EXCEEDED")),
    "overload": gemini(503, "The model is overloaded. Please try again later.", word="UNAVAILABLE"),
    "an internal error": gemini(500, "An internal error has occurred.", word="INTERNAL"),
    "a deadline": gemini(504, "Deadline.", word="DEADLINE_EXCEEDED"),
    "cancelled": gemini(499, "Cancelled.", word="CANCELLED"),
    "a model": gemini(404, "models/x is not found", word="NOT_FOUND"),
    "an argument": gemini(400, "Invalid value at 'contents'", word="INVALID_ARGUMENT"),
    "too long": gemini(400, "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
    "too large": gemini(413, "Payload too large"),
}


@pytest.mark.parametrize("fault", NEITHER.values(), ids=NEITHER)
def test_what_is_not_about_the_credential_teaches_nothing(fault: Fault) -> None:
    pool, cool = rest(fault)
    assert cool is None
    assert pool.view("a").words == "ready"
    assert {pool.ask() for _ in range(2)} == {"a", "b"}


# -- how long ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "pauses"),
    [
        (gemini(429, "no details"), [2, 4, 8, 16, 32, 60, 60]),
        (cloud(429, "q", info("QUOTA_EXHAUSTED")), [300, 600, 1200, 2400, 3600, 3600]),
        (gemini(401, "no"), [30, 60, 120, 240, 480, 600, 600]),
        (Fault(Kind.CREDENTIAL, "The token endpoint failed.", reason="HTTP_500"), [5, 10, 20, 40, 60, 60]),
        (gemini(429, "q", wait("7s")), [7, 7, 7]),
    ],
    ids=["back-off", "spent", "refused", "no token", "named"],
)
def test_pauses_that_nobody_names_grow_and_a_success_ends_them(fault: Fault, pauses: list[float]) -> None:
    pool = bench("a")
    seen = []
    for _ in pauses:
        pool.ask(fault)
        seen.append(pool.pool.free_in(MODEL))
        pool.later(seen[-1] + 0.001)
    assert seen == pytest.approx(pauses)
    pool.ask()
    pool.ask(fault)
    assert pool.pool.free_in(MODEL) == pytest.approx(pauses[0])


def test_failures_of_one_moment_are_one_failure() -> None:
    pool = bench("a")
    leases = [pool.lease() for _ in range(20)]
    for lease in leases:
        lease.release(gemini(429, "no details"))
    assert pool.pool.free_in(MODEL) == 2


def test_a_success_that_began_before_the_failure_proves_nothing() -> None:
    pool = bench("a", "b")
    early = pool.lease(MODEL, "b")
    pool.of("a", gemini(429, "q", wait("60s")))
    early.release(None)
    assert pool.view("a").cooling
    late = pool.lease(MODEL, "b")
    late.release(None)
    assert not pool.view("a").cooling


@pytest.mark.parametrize(
    ("local", "hours"),
    [
        ("2026-11-18T03:00:00", 21.0),
        ("2026-03-07T12:00:00", 12.0),
        ("2026-03-08T00:30:00", 22.5),  # summer time begins
        ("2026-11-01T00:30:00", 24.5),  # and ends
        ("2026-07-01T23:59:00", 1 / 60),
    ],
)
def test_a_days_quota_comes_back_at_midnight_pacific_time(local: str, hours: float) -> None:
    now = datetime.fromisoformat(local).replace(tzinfo=PACIFIC).timestamp()
    pool = bench("a", now=now)
    pool.ask(gemini(429, "q", quota("GenerateRequestsPerDayPerProject")))
    assert pool.pool.free_in(MODEL) == pytest.approx(hours * 3600, abs=1)


def test_a_days_quota_refused_just_after_midnight_is_yesterdays() -> None:
    now = datetime(2026, 11, 18, 0, 1, tzinfo=PACIFIC).timestamp()
    pool = bench("a", now=now)
    pool.ask(gemini(429, "q", quota("GenerateRequestsPerDayPerProject")))
    assert pool.pool.free_in(MODEL) == 300, "a clock that is ahead of Google's costs minutes, not a day"


def test_midnight_without_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    import zoneinfo

    def missing(name: str) -> None:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", missing)
    since, ahead = cooling.midnight(NOW)
    assert since + ahead == DAY
    assert ahead == pytest.approx(TO_MIDNIGHT)


def test_many_models_do_not_pile_up() -> None:
    pool = bench("a")
    for number in range(3000):
        pool.ask(gemini(429, "q", wait("1s")), f"model-{number}")
        pool.later(0.01)
    assert len(pool.view("a").cooling) <= 1001
    seat = pool.pool._all["a"]
    assert len(seat.rests) <= 1001


def test_a_report_from_elsewhere_counts_like_a_request() -> None:
    pool = bench("a", "b")
    pool.pool.report("a", gemini(401, "no"))
    pool.pool.report("nobody", gemini(401, "no"))
    assert {pool.ask() for _ in range(2)} == {"b"}
    pool.pool.report("a", None)
    assert {pool.ask() for _ in range(2)} == {"a", "b"}


def test_a_suspended_users_link_is_for_the_operator() -> None:
    fault = gemini(
        403, "Enable it first.", info("SERVICE_DISABLED", activationUrl="https://console.cloud.google.com/x")
    )
    assert fault.link == "https://console.cloud.google.com/x"
    assert fault.link not in fault.message
    assert gemini(403, "x", info("SERVICE_DISABLED", activationUrl="javascript:alert(1)")).link is None


def test_error_events_inside_a_200_are_explained_as_well() -> None:
    upstream = Antigravity(Address("cloudcode-pa.googleapis.com", 443, tls=True))
    event = orjson.loads(body(403, "Verify.", info("VALIDATION_REQUIRED", validation_link=VERIFY)))
    with pytest.raises(Fault) as caught:
        upstream.unwrap(event)
    assert (caught.value.kind, caught.value.link) == (Kind.CREDENTIAL, VERIFY)


def test_quota_groups_of_code_assist() -> None:
    assert quota_group("gemini-3-pro") == quota_group("gemini-2.5-flash")
    assert quota_group("claude-opus-4-5") == quota_group("gpt-oss-120b-medium") != quota_group("gemini-3-pro")
    assert quota_group("something-else") == "something-else"


def test_a_rest_that_is_long_over_is_forgotten() -> None:
    pool = bench("a", "b")
    pool.of("a", gemini(429, "q", wait("60s")), "a model that is never asked for again")
    pool.later(2 * 3600)
    pool.of("a", None)
    assert not pool.pool._all["a"].troubled


@pytest.mark.parametrize("body", ["{}", "<html><title>Sorry...</title><h1>We're sorry</h1>... but {}</html>"])
def test_a_blocked_address_is_no_credentials_fault_and_asks_no_other_one(body: str) -> None:
    words = "your computer or network may be sending automated queries."
    fault = classify(429, {}, body.format(words).encode())
    assert (fault.kind, fault.retry, fault.reason) == (Kind.RATE_LIMITED, Retry.OTHER_UPSTREAM, "ADDRESS_BLOCKED")
    assert "automated queries" in fault.message
    _, cool = rest(fault)
    assert (cool.why, cool.until - NOW) == ("backoff", 2)


def test_a_limit_of_something_that_is_no_model_teaches_nothing() -> None:
    pool = bench("a")
    pool.pool.report("a", gemini(429, "q", wait("60s")))
    assert pool.view("a").words == "ready"

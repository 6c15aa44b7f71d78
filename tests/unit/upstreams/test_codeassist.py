from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from antigravity2api.credentials import State
from antigravity2api.errors import Fault
from antigravity2api.upstreams import codeassist
from antigravity2api.upstreams.codeassist import Account, Onboard, Refused, Settled
from antigravity2api.upstreams.errors import read_error
from fakes.google_accounts import FREE, STANDARD, account, buckets, models, newcomer, operation

AGENT = "antigravity2api/0"
HONEST = {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "PLUGIN_UNSPECIFIED"}


def ineligible(code: str, words: str = "", **more: Any) -> dict[str, Any]:
    return {"reasonCode": code, "reasonMessage": words, "tierId": "standard-tier", "tierName": "Standard", **more}


# -- requests ----------------------------------------------------------------------------------------------------------


def test_requests_say_honestly_who_asks() -> None:
    request = codeassist.load_request("ya29.x", None, agent=AGENT)
    assert (request.method, request.target) == ("POST", "/v1internal:loadCodeAssist")
    assert orjson.loads(request.body) == {"metadata": HONEST}
    assert dict(request.headers) == {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": AGENT,
        "Authorization": "Bearer ya29.x",
    }


def test_a_project_is_named_twice() -> None:
    body = orjson.loads(codeassist.load_request("t", "p-1", agent=AGENT).body)
    assert body == {"cloudaicompanionProject": "p-1", "metadata": {**HONEST, "duetProject": "p-1"}}


def test_the_free_tier_never_gets_a_project() -> None:
    free = orjson.loads(codeassist.onboard_request("t", Onboard("free-tier", "p-1"), agent=AGENT).body)
    assert free == {"tierId": "free-tier", "metadata": HONEST}
    other = orjson.loads(codeassist.onboard_request("t", Onboard("standard-tier", "p-1"), agent=AGENT).body)
    assert other["cloudaicompanionProject"] == "p-1"
    assert other["metadata"]["duetProject"] == "p-1"


@pytest.mark.parametrize("name", ["operations/abc-1", "projects/1/locations/global/operations/x~1"])
def test_an_operation_is_asked_for_by_its_name(name: str) -> None:
    request = codeassist.operation_request("t", name, agent=AGENT)
    assert (request.method, request.target, request.body) == ("GET", f"/v1internal/{name}", b"")


@pytest.mark.parametrize(
    "name", ["", "/", "../x", "a/../b", "a//b", "a b", "a?b=c", "a#b", "a\r\nX: y", "http://h/x", "ä"]
)
def test_an_operation_whose_name_is_no_path_is_not_asked_for(name: str) -> None:
    with pytest.raises(Fault):
        codeassist.operation_request("t", name, agent=AGENT)


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("project", ["p-1", {"id": "p-1"}, {"id": "p-1", "name": "Other"}, " p-1 "])
def test_a_project_is_a_text_or_an_object(project: Any) -> None:
    assert codeassist.read_account(account(project=project)).project == "p-1"


@pytest.mark.parametrize("project", [None, "", 7, [], {}, {"id": 7}, "a b", "a/b", "x" * 200])
def test_what_is_no_project_is_none(project: Any) -> None:
    assert codeassist.read_account({**account(), "cloudaicompanionProject": project}).project is None


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"currentTier": None, "allowedTiers": None, "ineligibleTiers": None, "paidTier": None},
        {"currentTier": [], "allowedTiers": {}, "ineligibleTiers": "x", "paidTier": 7},
        {"allowedTiers": [None, 7, {"id": 7, "isDefault": True}], "ineligibleTiers": [None, 7]},
    ],
)
def test_an_account_of_wrong_types_is_a_newcomer(value: dict[str, Any]) -> None:
    found = codeassist.read_account(value)
    assert (found.tier, found.project, found.offered) == ("", None, "legacy-tier")


def test_the_paid_tier_is_the_one_that_counts() -> None:
    assert codeassist.read_account(account(paidTier={"id": "g1-pro-tier"})).effective_tier == "g1-pro-tier"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"7", b"{"])
def test_an_answer_that_is_no_object_is_a_fault(body: bytes) -> None:
    with pytest.raises(Fault):
        codeassist.read_object(body)


def test_a_missing_share_is_none_left_and_a_missing_quota_is_unknown() -> None:
    found = {one.id: one for one in codeassist.read_models(models())}
    assert set(found) == {"gemini-3-flash", "claude-sonnet-4-6", "gpt-oss-120b-medium"}, "the editor's own are hidden"
    assert found["gemini-3-flash"].remaining == 0.82
    assert found["gemini-3-flash"].input_limit == 1048576
    assert found["gemini-3-flash"].reset is not None
    assert found["claude-sonnet-4-6"].remaining == 0.0
    assert found["gpt-oss-120b-medium"].remaining is None


@pytest.mark.parametrize(
    ("share", "left"), [(0.5, 0.5), (1, 1.0), (0, 0.0), (-1, 0.0), (7, 1.0), ("x", 0.0), (None, 0.0), (True, 0.0)]
)
def test_a_share_is_between_none_and_all(share: Any, left: float) -> None:
    (found,) = codeassist.read_models({"models": {"m": {"quotaInfo": {"remainingFraction": share}}}})
    assert found.remaining == left


@pytest.mark.parametrize("value", [{}, {"models": None}, {"models": []}, {"models": {"m": None, "n": 7}}])
def test_a_list_without_models_is_empty(value: dict[str, Any]) -> None:
    assert codeassist.read_models(value) == []


def test_buckets() -> None:
    first, second = codeassist.read_buckets(buckets())
    assert (first.id, first.amount, first.unit, first.remaining) == ("gemini-3-pro", 840, "requests", 0.84)
    assert (second.id, second.remaining, second.amount) == ("gemini-2.5-pro", 0.0, None)
    assert second.reset == datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    assert codeassist.read_buckets({"buckets": [None, 7, {}]}) == []


def test_an_operation_is_under_way_done_or_failed() -> None:
    assert codeassist.read_operation(operation(done=False)).done is False
    done = codeassist.read_operation(operation(done=True))
    assert (done.done, done.project, done.error) == (True, "bright-harbor-414", None)
    failed = codeassist.read_operation({"name": "operations/1", "done": True, "error": {"code": 9, "message": "no"}})
    assert failed.error == {"code": 9, "message": "no"}
    assert codeassist.read_operation({"done": "yes", "response": 7}).done is False


# -- decisions ---------------------------------------------------------------------------------------------------------


def plan(value: dict[str, Any], configured: str | None = None, *, trusted: bool = True) -> Any:
    return codeassist.plan(codeassist.read_account(value), configured, trusted=trusted)


def test_a_known_account_works_in_its_own_project() -> None:
    assert plan(account()) == Settled("bright-harbor-414")
    assert plan(account(), "p-1") == Settled("bright-harbor-414")


def test_the_operators_project_serves_where_google_names_none() -> None:
    assert plan(account(project=None), "p-1") == Settled("p-1")


def test_an_imported_project_serves_only_where_projects_are_the_users() -> None:
    assert plan(account(project=None, currentTier=STANDARD), "p-1", trusted=False) == Settled("p-1")
    assert isinstance(plan(account(project=None), "p-1", trusted=False), Refused)


def test_no_project_is_made_up() -> None:
    found = plan(account(project=None, ineligibleTiers=[ineligible("UNSUPPORTED_LOCATION", "Not in your location.")]))
    assert isinstance(found, Refused)
    assert found.state is State.NO_PROJECT
    assert "Not in your location." in found.message


def test_a_newcomer_is_taken_into_the_default_tier() -> None:
    assert plan(newcomer()) == Onboard("free-tier", None)
    assert plan(newcomer(), "p-1") == Onboard("free-tier", None)
    standard = {"allowedTiers": [{**FREE, "isDefault": False}, {**STANDARD, "isDefault": True}]}
    assert plan(standard, "p-1") == Onboard("standard-tier", "p-1")
    assert isinstance(plan(standard), Refused)
    assert isinstance(plan(standard, "p-1", trusted=False), Refused)


def test_without_a_default_tier_it_is_the_legacy_one() -> None:
    assert plan({"allowedTiers": []}, "p-1") == Onboard("legacy-tier", "p-1")
    found = plan({"allowedTiers": []})
    assert isinstance(found, Refused)
    assert found.state is State.NO_PROJECT


@pytest.mark.parametrize("value", [newcomer(), account(project=None)])
def test_a_verification_comes_with_its_page(value: dict[str, Any]) -> None:
    tier = ineligible("VALIDATION_REQUIRED", "Verify your account.", validationUrl="https://accounts.google.com/v")
    found = plan({**value, "ineligibleTiers": [tier]})
    assert found == Refused(State.NEEDS_VERIFICATION, "Verify your account.", "https://accounts.google.com/v")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "http://x/", "https://a b/", "https://x/" + "y" * 2000, 7, None]
)
def test_a_page_that_is_no_https_address_is_not_shown(url: Any) -> None:
    found = plan(newcomer(ineligibleTiers=[ineligible("VALIDATION_REQUIRED", "Verify.", validationUrl=url)]))
    assert isinstance(found, Refused)
    assert found.link == ""


def test_tiers_that_one_cannot_have_do_not_matter_beside_one_that_one_can() -> None:
    assert plan(newcomer(ineligibleTiers=[ineligible("UNSUPPORTED_LOCATION")])) == Onboard("free-tier", None)


def test_a_perimeter_stands_for_a_paid_seat() -> None:
    assert codeassist.plan(codeassist.behind_perimeter(), "p-1") == Settled("p-1")
    assert isinstance(codeassist.plan(codeassist.behind_perimeter(), None), Refused)


@pytest.mark.parametrize(("project", "fine"), [(None, True), ("p-1", True), ("123456789", False), ("a b", False)])
def test_a_project_number_is_refused(project: str | None, *, fine: bool) -> None:
    found = codeassist.check_project(project)
    assert (found is None) is fine
    if found is not None:
        assert found.state is State.NO_PROJECT


# -- refusals ----------------------------------------------------------------------------------------------------------


def refusal(status: int, message: str, word: str = "", reason: str | None = None, **metadata: str) -> Refused | None:
    error: dict[str, Any] = {"code": status, "message": message, "status": word}
    if reason:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}
        error["details"] = [info]
    return codeassist.refusal(read_error(status, {}, orjson.dumps({"error": error})))


def test_a_closed_account_shows_where_to_appeal() -> None:
    words = "This service has been disabled in this account for violation of Terms of Service."
    found = refusal(403, words, "PERMISSION_DENIED", "TOS_VIOLATION", appeal_url="https://example.com/appeal")
    assert found == Refused(State.DISABLED_BY_TERMS, words, "https://example.com/appeal")
    bare = refusal(403, words)
    assert bare is not None
    assert bare.state is State.DISABLED_BY_TERMS


def test_a_verification_shows_where() -> None:
    found = refusal(403, "Verify.", "", "VALIDATION_REQUIRED", validation_link="https://accounts.google.com/v")
    assert found == Refused(State.NEEDS_VERIFICATION, "Verify.", "https://accounts.google.com/v")


@pytest.mark.parametrize(
    ("status", "word", "reason"),
    [
        (403, "PERMISSION_DENIED", None),
        (403, "PERMISSION_DENIED", "SERVICE_DISABLED"),
        (403, "PERMISSION_DENIED", "USER_PROJECT_DENIED"),
        (400, "FAILED_PRECONDITION", None),
    ],
)
def test_a_project_that_is_refused(status: int, word: str, reason: str | None) -> None:
    found = refusal(status, "The caller does not have permission.", word, reason)
    assert found is not None
    assert found.state is State.NO_PROJECT


def test_what_only_sounds_like_it_is_no_closed_account() -> None:
    found = refusal(403, "Accept the Terms of Service of this API first.", "PERMISSION_DENIED", "TOS_NOT_ACCEPTED")
    assert found is None
    page = read_error(403, {}, b"<html><title>Forbidden</title>You have no permission. Terms of Service</html>")
    assert codeassist.refusal(page) is None, "somebody on the way said it, and no account is to blame"


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_what_passes_by_itself_is_no_state(status: int) -> None:
    assert refusal(status, "Something.") is None


def test_a_refusal_shows_no_token() -> None:
    error = read_error(403, {}, b'{"error": {"message": "Token ya29.secret-token-x is not allowed"}}')
    found = codeassist.refusal(error, ("ya29.secret-token-x",))
    assert found is not None
    assert "secret-token" not in found.message


def test_an_account_has_a_short_form() -> None:
    assert Account(tier="a").effective_tier == "a"

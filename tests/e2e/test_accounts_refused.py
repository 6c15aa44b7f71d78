"""What Google says about an account while it serves: 401, 403 and 429 of the antigravity upstream, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fakes.desk import KEY, Desk, account, eventually, generated, many, says, token_of
from fakes.google_accounts import PROJECT, GoogleAccounts, form_of, granted
from fakes.google_accounts import account as loaded
from fakes.upstream import Answer, Recorded, error, plain, reason_info, retry_info

pytestmark = pytest.mark.slow

Sits = Callable[..., Desk]
DOMAIN = {"domain": "cloudcode-pa.googleapis.com"}
UNAUTHENTICATED = error(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
PERMISSION = error(
    403, "Permission 'cloudaicompanion.instances.completeCode' denied: the caller does not have permission"
)
LINK = "https://accounts.google.com/signin/continue?sarp=1&scc=1"
VERIFY = error(
    403,
    "Verify your account to continue.",
    details=[
        reason_info("VALIDATION_REQUIRED") | DOMAIN | {"metadata": {"validation_link": LINK}},
        {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "Verify", "url": LINK}]},
    ],
)
APPEAL = "https://forms.gle/appeal-of-a-test"
CLOSED_WORDS = "This service has been disabled in this account for violation of Terms of Service."
CLOSED = error(
    403,
    f"{CLOSED_WORDS} Please submit an appeal to continue using this product.",
    details=[reason_info("TOS_VIOLATION") | DOMAIN | {"metadata": {"appeal_url": APPEAL}}],
)
GONE = "Your quota will reset after 1h43m56s."
SPENT = error(
    429,
    f"You have exhausted your capacity on this model. {GONE}",
    details=[
        reason_info("QUOTA_EXHAUSTED") | DOMAIN | {"metadata": {"quotaResetDelay": "1h43m56s"}},
        retry_info("6236s"),
    ],
)


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


@pytest.fixture
def desk(google: GoogleAccounts) -> Iterator[Sits]:
    with ExitStack() as stack:
        yield lambda *args, **environ: stack.enter_context(Desk(google, *args, **environ))


def generates(google: GoogleAccounts, script: Callable[[Recorded], Answer]) -> None:
    """Streamed and not, this is the answer."""
    google.scripts["streamGenerateContent"] = google.scripts["generateContent"] = script


def tokens_by_account(google: GoogleAccounts) -> None:
    """The token of an account has the last word of its refresh token in it; each brings another refresh token."""

    def grant(record: Recorded) -> Answer:
        name = form_of(record)["refresh_token"].rpartition("-")[2]
        return granted(f"ya29.{name}", refresh=f"1//0g-renewed-{len(google.requests)}-{name}")

    google.scripts["token"] = grant


def who(records: list[Recorded]) -> list[str]:
    return [token_of(record).removeprefix("ya29.") for record in records]


# -- 401 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_refused_token_is_renewed_once_and_the_client_sees_nothing(
    google: GoogleAccounts, desk: Sits, stream: bool
) -> None:
    generates(
        google,
        lambda record: UNAUTHENTICATED if token_of(record) == "ya29.withdrawn" else says("Hel", "lo")(record),
    )
    made = desk()
    made.brings([account("1//0g-refresh-first", access="ya29.withdrawn", expired=False)])
    made.serve()
    replies = many(30, lambda number: made.chat(f"Number {number}.", stream=stream))
    assert {(reply.status, reply.text) for reply in replies} == {(200, "Hello")}
    assert len(google.token_requests) == 1
    assert made.chat().status == 200
    assert token_of(generated(google)[-1]) == "ya29.token-1"
    assert made.state("antigravity-1") == "ready"
    assert made.credentials()["antigravity-1"]["cooling"] == []


def test_a_401_for_ever_ends_soon_and_keeps_nobody_from_being_asked(google: GoogleAccounts, desk: Sits) -> None:
    generates(google, lambda record: UNAUTHENTICATED)
    made = desk()
    made.brings([account("1//0g-refresh-first")])
    made.serve()
    for _ in range(3):
        before, tokens = len(generated(google)), len(google.token_requests)
        reply = made.chat()
        assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
        assert 1 <= len(generated(google)) - before <= 3, "asked, and not too often"
        assert len(google.token_requests) - tokens <= 2
    generates(google, says("Hel", "lo"))
    assert made.chat().status == 200
    assert made.state("antigravity-1") == "ready"


def test_a_bare_access_token_has_nothing_to_renew(google: GoogleAccounts, desk: Sits) -> None:
    generates(google, lambda record: UNAUTHENTICATED)
    made = desk(ANTIGRAVITY_ACCESS_TOKEN="ya29.bare-token", ANTIGRAVITY_PROJECT="my-project-1").serve()
    reply = made.chat()
    assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
    assert google.token_requests == []
    assert len(generated(google)) <= 3
    generates(google, says("Hel", "lo"))
    assert made.chat().status == 200
    assert generated(google)[-1].json["project"] == "my-project-1"


# -- 403 ---------------------------------------------------------------------------------------------------------------


def test_a_project_that_is_refused_is_looked_for_once_more(google: GoogleAccounts, desk: Sits) -> None:
    projects = iter(["stale-harbor-1", "fresh-harbor-2"])
    google.scripts["loadCodeAssist"] = lambda record: plain(loaded(project=next(projects)))
    generates(
        google, lambda record: PERMISSION if record.json["project"] == "stale-harbor-1" else says("Hel", "lo")(record)
    )
    made = desk()
    made.brings([account("1//0g-refresh-first", projectId="useful-fuze-a1b2c")])
    made.serve()
    reply = made.chat()
    assert (reply.status, reply.text) == (200, "Hello"), reply.body
    assert [record.json["project"] for record in generated(google)] == ["stale-harbor-1", "fresh-harbor-2"]
    assert made.chat().status == 200
    row = made.credentials()["antigravity-1"]
    assert (row["project"], row["state"]) == ("fresh-harbor-2", "ready")
    assert len(google.asked("loadCodeAssist")) == 2


def test_a_refused_project_that_was_found_for_a_bare_token_is_looked_for_once_more(
    google: GoogleAccounts, desk: Sits
) -> None:
    projects = iter(["stale-harbor-1", "fresh-harbor-2"])
    google.scripts["loadCodeAssist"] = lambda record: plain(loaded(project=next(projects)))
    generates(
        google, lambda record: PERMISSION if record.json["project"] == "stale-harbor-1" else says("Hel", "lo")(record)
    )
    made = desk(ANTIGRAVITY_ACCESS_TOKEN="ya29.bare-token").serve()
    for _ in range(2):
        reply = made.chat()
        assert (reply.status, reply.text) == (200, "Hello"), reply.body
    assert [record.json["project"] for record in generated(google)] == ["stale-harbor-1", *["fresh-harbor-2"] * 2]
    assert len(google.asked("loadCodeAssist")) == 2


def test_a_project_of_the_configuration_is_the_operators_own(google: GoogleAccounts, desk: Sits) -> None:
    generates(google, lambda record: PERMISSION)
    made = desk(ANTIGRAVITY_ACCESS_TOKEN="ya29.bare-token", ANTIGRAVITY_PROJECT="my-project-1").serve()
    assert made.chat().error["code"] == "no_upstream_credentials"
    assert google.asked("loadCodeAssist") == []


def test_a_project_that_stays_refused_says_so(google: GoogleAccounts, desk: Sits) -> None:
    generates(google, lambda record: PERMISSION)
    made = desk()
    made.brings([account("1//0g-refresh-first")])
    made.serve()
    for _ in range(5):
        reply = made.chat()
        assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
    assert len(google.asked("loadCodeAssist")) <= 2, "not with every request"
    row = eventually(made.credentials, lambda rows: rows["antigravity-1"]["state"] == "no_project")["antigravity-1"]
    assert "permission" in row["message"]
    assert PROJECT not in reply.body.decode()
    generates(google, says("Hel", "lo"))
    assert made.chat().status == 200, "it is asked all the same, and may have been mended"
    eventually(made.credentials, lambda rows: rows["antigravity-1"]["state"] == "ready")


def test_an_account_without_a_project_says_why(google: GoogleAccounts, desk: Sits) -> None:
    tier = {"reasonCode": "UNSUPPORTED_LOCATION", "reasonMessage": "Your location is not supported.", "tierId": "f"}
    google.scripts["loadCodeAssist"] = plain(loaded(project=None, ineligibleTiers=[tier]))
    made = desk()
    made.brings([account("1//0g-refresh-first", projectId="useful-fuze-a1b2c")])
    made.serve()
    for _ in range(4):
        reply = made.chat()
        assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
    assert "Your location is not supported." in reply.error["message"]
    assert generated(google) == []
    assert len(google.asked("loadCodeAssist")) == 1
    row = made.credentials()["antigravity-1"]
    assert (row["state"], "location is not supported" in row["message"]) == ("no_project", True)


def test_an_account_that_has_to_be_verified_shows_the_page(google: GoogleAccounts, desk: Sits) -> None:
    tokens_by_account(google)
    generates(google, lambda record: VERIFY if token_of(record) == "ya29.first" else says("Hel", "lo")(record))
    made = desk()
    first, second = made.brings([account("1//0g-refresh-first"), account("1//0g-refresh-second")])
    made.serve()
    replies = [made.chat(f"Number {number}.") for number in range(12)]
    assert {reply.status for reply in replies} == {200}
    assert who(generated(google)).count("first") == 1
    row = eventually(made.credentials, lambda rows: rows[first]["state"] == "needs_verification")[first]
    assert row["link"] == LINK
    assert LINK in made.cli("credentials", "list").stdout
    assert (made.state(first), made.state(second)) == ("needs_verification", "ready")
    made.gateway.stop()
    made.serve()
    assert made.state(first) == "needs_verification"
    generates(google, says("Hel", "lo"))
    made.cli("credentials", "enable", first)
    eventually(lambda: made.state(first), lambda state: state == "ready")


def test_the_only_account_is_asked_again_after_a_verification(google: GoogleAccounts, desk: Sits) -> None:
    generates(google, lambda record: VERIFY)
    made = desk()
    (first,) = made.brings([account("1//0g-refresh-first")])
    made.serve()
    reply = made.chat()
    assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
    assert LINK not in reply.error["message"], "the page is the account owner's; `credentials list` shows it"
    eventually(made.credentials, lambda rows: rows[first]["state"] == "needs_verification")
    generates(google, says("Hel", "lo"))
    assert made.chat().status == 200
    row = eventually(made.credentials, lambda rows: rows[first]["state"] == "ready")[first]
    assert (row["message"], row["link"]) == ("", "")


@pytest.mark.parametrize("stream", [True, False])
def test_a_closed_account_is_not_gone_round(google: GoogleAccounts, desk: Sits, stream: bool) -> None:
    tokens_by_account(google)
    generates(google, lambda record: CLOSED if token_of(record) == "ya29.first" else says("Hel", "lo")(record))
    made = desk()
    first, second = made.brings([account("1//0g-refresh-first"), account("1//0g-refresh-second")])
    made.cli("credentials", "set", second, "--priority", "1")
    made.serve()
    reply = made.chat(stream=stream)
    assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
    assert CLOSED_WORDS[:60] in reply.error["message"]
    assert who(generated(google)) == ["first"], "no other account for that request"
    row = eventually(made.credentials, lambda rows: rows[first]["state"] == "disabled_by_terms")[first]
    assert row["link"] == APPEAL
    assert made.state(first) == "disabled_by_terms"

    made.gateway.kill()
    made.serve()
    made.cli("credentials", "disable", second)
    eventually(lambda: made.state(second), lambda state: state == "disabled")
    asked = len(google.requests)
    for _ in range(3):
        reply = made.chat(stream=stream)
        assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
        assert CLOSED_WORDS[:40] in reply.error["message"]
    assert len(google.requests) == asked, "never asked again, not even for a token"
    made.cli("credentials", "enable", second)
    eventually(lambda: made.chat(stream=stream).status, lambda status: status == 200)
    assert who(generated(google)).count("first") == 1


def test_an_account_that_is_closed_at_its_first_look(google: GoogleAccounts, desk: Sits) -> None:
    tokens_by_account(google)
    google.scripts["loadCodeAssist"] = lambda record: (
        CLOSED if token_of(record) == "ya29.first" else plain(loaded(project=PROJECT))
    )
    made = desk()
    first, second = made.brings([account("1//0g-refresh-first"), account("1//0g-refresh-second")])
    made.cli("credentials", "set", second, "--priority", "1")
    made.serve()
    reply = made.chat()
    assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
    assert generated(google) == []
    eventually(made.credentials, lambda rows: rows[first]["state"] == "disabled_by_terms")
    asked = len(google.asked("loadCodeAssist"))
    assert made.chat().status == 200
    assert who(google.asked("loadCodeAssist")[asked:]) == ["second"]


# -- 429 ---------------------------------------------------------------------------------------------------------------

CLAUDE, GPT, GEMINI = "claude-sonnet-4-6", "gpt-oss-120b-medium", "gemini-3-flash"


def test_a_quota_is_shared_by_a_group_of_models(google: GoogleAccounts, desk: Sits) -> None:
    tokens_by_account(google)
    spent = {("first", CLAUDE), ("first", GPT)}

    def answer(record: Recorded) -> Answer:
        model = record.json["model"]
        return SPENT if (who([record])[0], model) in spent else says("Hel", "lo", model=model)(record)

    generates(google, answer)
    made = desk()
    first, second = made.brings([account("1//0g-refresh-first"), account("1//0g-refresh-second")])
    made.serve()

    def asked(model: str, count: int = 12) -> list[str]:
        before = len(generated(google))
        assert {made.chat(f"Number {number}.", model=model).status for number in range(count)} == {200}
        return who(generated(google)[before:])

    assert asked(CLAUDE).count("first") == 1
    assert set(asked(GPT)) == {"second"}, "the quota is one with Claude's"
    assert set(asked(GEMINI)) == {"first", "second"}
    (rest,) = made.credentials()[first]["cooling"]
    assert rest["scope"] == "claude-* gpt-oss-*"
    left = next(value for name, value in made.metrics().items() if name.startswith("credential_cooldown_seconds"))
    assert 6000 < left <= 6240
    made.gateway.stop()
    made.serve()
    assert set(asked(GPT)) == {"second"}, "and a restart does not forget it"
    assert set(asked(CLAUDE)) == {"second"}

    explained = made.cli("models", "--explain", CLAUDE).stdout
    assert f"antigravity with {second}" in explained
    assert "cooling until" in explained
    assert "quota used up" in explained
    made.cli("credentials", "disable", second)
    eventually(lambda: made.state(second), lambda state: state == "disabled")
    reply = made.chat(model=CLAUDE)
    assert (reply.status, 6000 < float(reply.header("retry-after") or 0) <= 6240) == (429, True)
    assert KEY not in made.gateway.stderr
